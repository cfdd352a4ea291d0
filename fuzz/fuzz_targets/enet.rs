//! The screen alone, and the control host with a client whose handshake is real and whose datagrams are not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lumen_media::Timestamp;
use lumen_net::Path;
use lumen_net::enet::screen::{MAX_COMMANDS, MAX_DATAGRAM, MIN_MESSAGE, messages, screen};
use lumen_net::enet::{ControlConfig, ControlEvent, ControlHost};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Takes values off the front of the input; zeros when it is empty.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

struct Driver {
    host: ControlHost,
    now: Timestamp,
    /// Slot and session bits of the newest answered connection.
    header: [u8; 2],
    connections: u32,
    connected: bool,
}

impl Driver {
    fn feed(&mut self, port: u8, bytes: &[u8]) {
        let remote = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 5000 + u16::from(port % 4));
        if screen(bytes).is_ok() {
            assert!(bytes.len() <= MAX_DATAGRAM);
            assert!(messages(bytes).count() <= MAX_COMMANDS);
            assert!(messages(bytes).all(|message| message.len() >= MIN_MESSAGE));
        } else {
            // What is refused may be walked all the same.
            let _ = messages(bytes).count();
        }
        self.host.datagram(Path::to(remote), bytes, self.now);
        self.drain(port);
    }

    fn drain(&mut self, port: u8) {
        let mut acknowledge = None;
        while let Some(transmit) = self.host.poll_transmit() {
            let bytes = transmit.bytes;
            // An answer to a connection attempt: sent-time header, then verify-connect.
            if bytes.len() >= 12 && bytes[0] & 0x80 != 0 && bytes[4] & 0x0f == 3 {
                self.header = [0x80 | (bytes[11] & 3) << 4 | bytes[8] & 0x0f, bytes[9]];
                let sent_time = [bytes[2], bytes[3]];
                let [high, low] = self.header;
                acknowledge =
                    Some([high, low, 0, 0, 1, 0xff, 0, 1, bytes[6], bytes[7], sent_time[0], sent_time[1]]);
            }
        }
        while let Some(event) = self.host.poll_event() {
            self.connected |= matches!(event, ControlEvent::Connected { .. });
            if let ControlEvent::Roaming { peer, path, .. } = event
                && self.now.as_nanos().is_multiple_of(2)
            {
                self.host.confirm(peer, path);
            }
        }
        if let Some(bytes) = acknowledge {
            self.feed(port, &bytes);
        }
    }

    fn connect(&mut self, port: u8, data: u8) {
        self.connections += 1;
        let mut bytes = vec![0x8f, 0xff, 0, 1, 0x82, 0xff, 0, 1, 0, 0, 0xff, 0xff];
        for value in [900, 65536, 48, 0, 0, 5000, 2, 2, self.connections, u32::from(data % 4)] {
            bytes.extend(value.to_be_bytes());
        }
        self.feed(port, &bytes);
    }

    fn tick(&mut self, time: Duration) {
        self.now = self.now + time;
        self.host.tick(self.now);
        self.drain(0);
    }
}

fuzz_target!(|data: &[u8]| {
    let now = Timestamp::from_nanos(3_000_000_000);
    let mut driver = Driver {
        host: ControlHost::new(ControlConfig::default(), now),
        now,
        header: [0x80, 0],
        connections: 0,
        connected: false,
    };
    (1..4).for_each(|data| driver.host.expect(data));
    driver.connect(0, 1);
    assert!(driver.connected, "the handshake below the input is whole");
    let mut input = Input(data);
    while !input.0.is_empty() {
        let (op, port) = (input.byte(), input.byte());
        match op % 8 {
            0 => driver.connect(port, input.byte()),
            1 => driver.tick(Duration::from_millis(u64::from(port))),
            2 => {
                let length = usize::from(input.byte());
                let bytes = input.take(length);
                driver.feed(port, bytes);
            }
            // Commands of the newest connection, raw behind a good header.
            3..=5 => {
                let length = usize::from(input.byte());
                let mut bytes = driver.header.to_vec();
                bytes.extend([0, input.byte()]);
                bytes.extend(input.take(length));
                driver.feed(port, &bytes);
            }
            // A whole message with chosen command, channel and sequence.
            6 => {
                let command = [6u8, 7, 9][usize::from(input.byte()) % 3] | input.byte() & 0xc0;
                let mut bytes = driver.header.to_vec();
                bytes.extend([0, 1, command, input.byte(), input.byte(), input.byte()]);
                if command & 0x0f != 6 {
                    bytes.extend([input.byte(), input.byte()]);
                }
                bytes.extend([0, MIN_MESSAGE as u8]);
                bytes.extend([7; MIN_MESSAGE]);
                driver.feed(port, &bytes);
            }
            _ => {
                let header = input.byte();
                driver.header[0] = header;
            }
        }
    }
    for _ in 0..(16_000 / 100) {
        driver.tick(Duration::from_millis(100));
    }
    assert_eq!(driver.host.slots_in_use(), 0, "slots return");
});
