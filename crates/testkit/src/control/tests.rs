use super::crypt::iv_v2;
use super::*;
use crate::clock::Time;
use crate::input::InputPacket;
use crate::stream::Ending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const KEY: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Seals and opens one golden message in both modes.
fn golden(kind: u16, payload: &str, sequence: u32, direction: Direction, v2: &str, legacy: &str) {
    let payload = hex::decode(payload).unwrap();
    for (mode, golden) in [(CipherMode::V2, v2), (CipherMode::Legacy, legacy)] {
        let cipher = Cipher::new(mode, &KEY);
        assert_eq!(hex::encode(cipher.seal(direction, sequence, kind, &payload)), golden);
        let opened = cipher.open(direction, &hex::decode(golden).unwrap());
        assert_eq!(opened, Ok((sequence, kind, payload.clone())));
    }
}

#[test]
fn golden_frames_of_section_8() {
    use Direction::{ClientToHost, HostToClient};
    golden(
        0x0302,
        "0000",
        0,
        ClientToHost,
        "01001a000000000022302723537811166cb9bfead7dad4575cd629f5cafe",
        "01001a0000000000566c8363e380dad031b24ee56ee40bb6021579f6ebbe",
    );
    golden(
        0x0206,
        "0000000a0300000000418001 0000".replace(' ', "").as_str(),
        258,
        ClientToHost,
        "0100260002010000a1e1cfff184170261a09b36657000c2ad8e4e1af4f2833a3470de2997cfca5ad0076",
        "01002600020100005a018c0ec2a9fb62aa56da31426df9bf77f944fb443f02e49e29d0d075047d11a736",
    );
    golden(
        0x010b,
        "00000000010034 12cdab".replace(' ', "").as_str(),
        0,
        HostToClient,
        "01002200000000000060e7ba17f11a7d3ce7c8078049503df0dd40da4f38e822c98f9186a90a",
        "0100220000000000c84672d74e9fc20f1ee59a28102e308e0b1771f6ebbef477e0313ba43195",
    );
    golden(
        0x0109,
        "80030023",
        1,
        HostToClient,
        "01001c00010000007c12155b31ad22d098eb08ed2c5f5d8628320370093d85fb",
        "01001c000100000025cd26d49560a079a086acb30a314c35ee523ad739dcd6ba",
    );
    assert_eq!(hex::encode(iv_v2(ClientToHost, 258)), "020100000000000000004343");
}

#[test]
fn damaged_frames_are_told_apart() {
    let cipher = Cipher::new(CipherMode::V2, &KEY);
    let good = cipher.seal(Direction::HostToClient, 3, 0x0109, &[1, 2, 3, 4]);
    let open = |frame: &[u8]| cipher.open(Direction::HostToClient, frame).unwrap_err();
    assert_eq!(open(&good[..20]), FrameError::Length);
    assert_eq!(open(&[&good[..], &[0]].concat()), FrameError::Length);
    let change = |at: usize| {
        let mut frame = good.clone();
        frame[at] ^= 2;
        frame
    };
    assert_eq!(open(&change(0)), FrameError::OuterType(3));
    assert_eq!(open(&change(4)), FrameError::Tag);
    assert_eq!(open(&change(30)), FrameError::Tag);
    assert!(matches!(cipher.open(Direction::ClientToHost, &good), Err(FrameError::Tag)));
}

#[test]
fn client_messages_have_the_bytes_and_channels_of_the_table() {
    let encoded = |message: ClientMessage| {
        let out = message.encode();
        (out.kind, hex::encode(out.payload), out.channel)
    };
    assert_eq!(encoded(ClientMessage::Start), (0x0302, "0000".into(), 0));
    assert_eq!(encoded(ClientMessage::StartB), (0x0307, "00".into(), 0));
    assert_eq!(encoded(ClientMessage::RequestIdr), (0x0302, "0000".into(), 1));
    assert_eq!(encoded(ClientMessage::Ping), (0x0200, "0400000000000000".into(), 0));
    assert_eq!(encoded(ClientMessage::AcknowledgeLongTerm(5)), (0x0350, "0500000000000000".into(), 1));
    let invalidate = ClientMessage::Invalidate { first: 7, last: 0x109 };
    assert_eq!(encoded(invalidate), (0x0301, "070000000000000009010000000000000000000000000000".into(), 1));
    assert_eq!(
        encoded(ClientMessage::Input(InputPacket::EnableHaptics)),
        (0x0206, "000000060d0000000100".into(), 0)
    );
}

#[test]
fn host_messages_decode_and_short_ones_read_as_zero() {
    let decode = |kind, payload: &str| HostMessage::decode(kind, &hex::decode(payload).unwrap());
    let rumble = HostMessage::Rumble { controller: 1, low: 0x1234, high: 0xabcd };
    assert_eq!(decode(0x010b, "0000000001003412cdab"), rumble);
    assert_eq!(
        decode(0x5500, "010002000300"),
        HostMessage::TriggerRumble { controller: 1, left: 2, right: 3 }
    );
    let motion = HostMessage::MotionState { controller: 1, rate_hz: 200, kind: 2 };
    assert_eq!(decode(0x5501, "0100c80002"), motion);
    assert_eq!(decode(0x5502, "0100ff8001"), HostMessage::Led { controller: 1, rgb: [255, 128, 1] });
    let mut metadata = [0; 13];
    metadata[0] = 0x1234;
    assert_eq!(decode(0x010e, "013412"), HostMessage::HdrMode { enabled: true, metadata });
    assert_eq!(decode(0x0109, "80030023"), HostMessage::Termination(0x8003_0023));
    assert_eq!(decode(0x7777, "01"), HostMessage::Unknown { kind: 0x7777, payload: vec![1] });
    assert_eq!(decode(0x010b, ""), HostMessage::Rumble { controller: 0, low: 0, high: 0 });
}

#[test]
fn termination_codes_become_client_results() {
    let result = |code, frames| client_result(code, frames).client_result();
    assert_eq!(result(0x8003_0023, true), 0);
    assert_eq!(result(0x8003_0023, false), -102);
    assert_eq!(result(0x800e_9403, true), -104);
    assert_eq!(result(0x800e_9302, true), -103);
    assert_eq!(client_result(0x8000_4005, true), Ending::HostError(0x8000_4005));
}

/// A host in the test: plain ENet as protocol text §8.1 allows, frames opened by hand.
struct TestHost {
    enet: rusty_enet::Host<rusty_enet::ReadWrite<SocketAddr, std::convert::Infallible>>,
    now: Arc<AtomicU64>,
    cipher: Cipher,
    connects: Vec<u32>,
    messages: Vec<(u8, u32, u16, Vec<u8>)>,
    disconnects: usize,
}

impl TestHost {
    fn new(mode: CipherMode) -> Self {
        let now = Arc::new(AtomicU64::new(1));
        let clock = Arc::clone(&now);
        let settings = rusty_enet::HostSettings {
            peer_limit: 4,
            channel_limit: 48,
            time: Box::new(move || Duration::from_nanos(clock.load(Ordering::Relaxed))),
            ..Default::default()
        };
        TestHost {
            enet: rusty_enet::Host::new(rusty_enet::ReadWrite::new(), settings).unwrap(),
            now,
            cipher: Cipher::new(mode, &KEY),
            connects: Vec::new(),
            messages: Vec::new(),
            disconnects: 0,
        }
    }

    fn service(&mut self, now: Time) {
        self.now.store(now.nanos() + 5_000_000, Ordering::Relaxed);
        while let Some(event) = self.enet.service().unwrap() {
            match event {
                rusty_enet::Event::Connect { data, .. } => self.connects.push(data),
                rusty_enet::Event::Disconnect { .. } => self.disconnects += 1,
                rusty_enet::Event::Receive { channel_id, packet, .. } => {
                    let (sequence, kind, payload) =
                        self.cipher.open(Direction::ClientToHost, packet.data()).unwrap();
                    self.messages.push((channel_id, sequence, kind, payload));
                }
            }
        }
        self.enet.flush();
    }

    fn send(&mut self, bytes: &[u8]) {
        self.enet.peer_mut(rusty_enet::PeerID(0)).send(0, &rusty_enet::Packet::reliable(bytes)).unwrap();
    }
}

struct Wire {
    client: Session,
    host: TestHost,
    now: Time,
    client_address: SocketAddr,
    host_address: SocketAddr,
    first_datagram: Vec<u8>,
}

impl Wire {
    fn new(mode: CipherMode) -> Self {
        let client_address = "127.0.0.1:5000".parse().unwrap();
        let host_address = "127.0.0.1:47999".parse().unwrap();
        let now = Time(0);
        let client = Session::connect(host_address, 0xfeed_beef, mode, &KEY, now);
        let host = TestHost::new(mode);
        Wire { client, host, now, client_address, host_address, first_datagram: Vec::new() }
    }

    /// Runs both for `span` of virtual time in steps of 5 ms.
    fn run(&mut self, span: Duration) -> Vec<Happening> {
        let mut happenings = Vec::new();
        let end = self.now + span;
        while self.now < end {
            self.now = self.now + Duration::from_millis(5);
            self.client.tick(self.now);
            while let Some((_, datagram)) = self.client.poll_transmit() {
                if self.first_datagram.is_empty() {
                    self.first_datagram = datagram.clone();
                }
                self.host.enet.socket_mut().write(self.client_address, datagram);
            }
            self.host.service(self.now);
            while let Some((_, datagram)) = self.host.enet.socket_mut().read() {
                self.client.datagram(self.host_address, &datagram, self.now);
            }
            happenings.extend(std::iter::from_fn(|| self.client.poll_happening()));
        }
        happenings
    }
}

#[test]
fn a_session_starts_pings_and_ends_as_the_text_says() {
    for mode in [CipherMode::V2, CipherMode::Legacy] {
        let mut wire = Wire::new(mode);
        let happenings = wire.run(Duration::from_millis(1000));
        assert_eq!(happenings, [Happening::Connected]);
        assert_eq!(wire.host.connects, [0xfeed_beef]);
        // §8.1: the first CONNECT datagram.
        let first = &wire.first_datagram;
        assert_eq!(first.len(), 52);
        assert_eq!(first[..2], [0x8f, 0xff]);
        assert_eq!(first[4..8], [0x82, 0xff, 0x00, 0x01]);
        assert_eq!(first[12..16], 900u32.to_be_bytes());
        assert_eq!(first[16..20], 65_536u32.to_be_bytes());
        assert_eq!(first[20..24], 48u32.to_be_bytes());
        assert_eq!(first[24..32], [0; 8]);
        assert_eq!(first[32..44], [5000u32.to_be_bytes(), 2u32.to_be_bytes(), 2u32.to_be_bytes()].concat());
        assert_eq!(first[48..52], 0xfeed_beefu32.to_be_bytes());

        let kinds: Vec<u16> = wire.host.messages.iter().map(|message| message.2).collect();
        assert_eq!(kinds[..3], [0x0302, 0x0307, 0x0200]);
        let sequences: Vec<u32> = wire.host.messages.iter().map(|message| message.1).collect();
        assert_eq!(sequences, (0..sequences.len() as u32).collect::<Vec<_>>());
        let pings = kinds.iter().filter(|kind| **kind == 0x0200).count();
        assert!((9..=11).contains(&pings), "{pings} pings in a second");

        wire.client.send(&ClientMessage::Input(InputPacket::key(true, 0x41)));
        wire.client.send(&ClientMessage::RequestIdr);
        let cipher = Cipher::new(mode, &KEY);
        let rumble = [0, 0, 0, 0, 1, 0, 2, 0, 3, 0];
        wire.host.send(&cipher.seal(Direction::HostToClient, 0, 0x010b, &rumble));
        wire.host.send(&[1, 2, 3]);
        wire.host.send(&cipher.seal(Direction::HostToClient, 1, 0x0109, &[0x80, 0x03, 0x00, 0x23]));
        let happenings = wire.run(Duration::from_millis(100));
        assert_eq!(
            happenings,
            [
                Happening::Message(HostMessage::Rumble { controller: 1, low: 2, high: 3 }),
                Happening::Rejected(FrameError::Length.to_string()),
                Happening::Message(HostMessage::Termination(0x8003_0023)),
            ]
        );
        let input: Vec<(u8, u16)> = wire
            .host
            .messages
            .iter()
            .map(|message| (message.0, message.2))
            .filter(|m| m.1 != 0x0200)
            .collect();
        assert_eq!(input[2..], [(2, 0x0206), (1, 0x0302)]);

        wire.client.disconnect(wire.now);
        wire.run(Duration::from_millis(200));
        assert!(wire.client.is_over());
        assert_eq!(wire.host.disconnects, 1);
    }
}

#[test]
fn reports_wait_for_the_ping() {
    let mut wire = Wire::new(CipherMode::V2);
    wire.run(Duration::from_millis(200));
    let before = wire.host.messages.len();
    wire.client.send(&ClientMessage::Report(Default::default()));
    wire.run(Duration::from_millis(100));
    let new: Vec<u16> = wire.host.messages[before..].iter().map(|message| message.2).collect();
    assert_eq!(new, [0x0200, 0x5502]);
}

#[test]
fn a_silent_host_is_given_up_after_ten_seconds() {
    let mut wire = Wire::new(CipherMode::V2);
    wire.run(Duration::from_millis(500));
    let start = wire.now;
    loop {
        wire.now = wire.now + Duration::from_millis(10);
        wire.client.tick(wire.now);
        while wire.client.poll_transmit().is_some() {}
        match wire.client.poll_happening() {
            Some(Happening::Disconnected(_)) => break,
            Some(other) => panic!("{other:?}"),
            None => assert!(wire.now.since(start) < Duration::from_secs(13), "never given up"),
        }
    }
    assert!(wire.now.since(start) > Duration::from_secs(9));
}
