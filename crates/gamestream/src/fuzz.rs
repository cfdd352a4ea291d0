//! Bodies of the fuzz targets, here so that every build checks them. Each takes what a stranger or a client could send
//! and asserts what must hold for any bytes.

use crate::Time;
use crate::api::Endpoint;
use crate::control::{ClientMessage, ControlCipher, HostMessage, Termination};
use crate::crypto::SessionKey;
use crate::input::InputPacket;
use crate::launch::{LaunchKind, LaunchRequest};
use crate::pairing::{Begin, HostIdentity, PairingTable, Step};
use crate::ping::{Ping, PingPayload};
use crate::query::Query;
use crate::rtsp::{Assembler, Handshake, HandshakeConfig, Progress, Router, StreamPorts};
use crate::sdp::{AudioQuality, ControlEncryption, Encryption, HostFeatures, StreamParameters};
use crate::serverinfo::CodecModes;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const KEY: SessionKey = SessionKey::new([7; 16]);
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const FEATURES: HostFeatures = HostFeatures {
    codecs: CodecModes::H264,
    pen_touch: true,
    controller_touch: true,
    encryption_supported: Encryption::ALL,
    encryption_requested: Encryption::CONTROL_V2,
    encryption_required: Encryption::NONE,
    ref_pic_invalidation: false,
};

/// A request target of the HTTP API: path, `?`, query.
pub fn query(data: &[u8]) {
    let mut halves = data.splitn(2, |&b| b == b'?');
    let path = halves.next().unwrap_or_default();
    let _ = std::str::from_utf8(path).map(Endpoint::from_path);
    let Ok(query) = Query::parse(halves.next().unwrap_or_default()) else { return };
    for kind in [LaunchKind::Launch, LaunchKind::Resume] {
        match LaunchRequest::parse(&query, kind) {
            Ok(request) => assert_eq!(request.app.is_some(), kind == LaunchKind::Launch),
            Err(error) => assert!(!error.message.is_empty() && error.to_xml().contains("status_code")),
        }
    }
}

/// Pairing requests of a few peers, one a line: a digit for the peer, a character for what the host's person does, the
/// query. `identity` is the host's.
pub fn pairing(identity: &HostIdentity, data: &[u8]) {
    let mut table = PairingTable::new();
    let mut now = Time::ZERO;
    for line in data.split(|&b| b == b'\n').take(64) {
        let [peer, person, raw @ ..] = line else { continue };
        let peer = IpAddr::from([10, 0, 0, peer & 3]);
        now += Duration::from_millis(u64::from(*person) * 10);
        if person & 1 == 1
            && let Some(waiting) = table.waiting(now).first()
        {
            let _ = table.provide_pin(waiting.id, "1234", "fuzz", identity, now);
        }
        let Ok(query) = Query::parse(raw) else { continue };
        match Step::of(&query) {
            Step::Begin => match table.begin(&query, peer, now) {
                Begin::Waiting { id, .. } if person & 2 == 2 => assert!(table.abandon(id, now)),
                Begin::Waiting { .. } => {}
                Begin::Refused { response_xml } => assert!(!response_xml.contains("plaincert")),
            },
            Step::Phase => {
                let outcome = table.phase(&query, peer, identity, [person.wrapping_add(1); 32], now);
                // Nobody can sign for a certificate that is not in the corpus.
                assert!(outcome.paired.is_none() || outcome.response_xml.contains("<paired>1</paired>"));
            }
            Step::Confirm => drop(table.unpair(peer, now)),
            Step::Unknown => drop(table.expire(now)),
        }
        assert!(table.waiting(now).len() <= 16);
    }
}

/// Bytes of TCP connections to the RTSP port: the first byte says how they are cut; connections end where the assembler
/// says so.
pub fn rtsp(data: &[u8]) {
    let Some((&cut, data)) = data.split_first() else { return };
    let mut router = Router::new();
    for (key, seal) in [(1, None), (2, Some(KEY))] {
        router.insert(
            key,
            Handshake::new(HandshakeConfig {
                seal,
                peer: PEER,
                features: FEATURES,
                ports: StreamPorts { video: 1, control: 2, audio: 3 },
                ping_payload: PingPayload::from_random([1; 8]),
                connect_data: 5,
                token: "token".to_owned(),
            }),
        );
    }
    let mut assembler = Assembler::new();
    for piece in data.chunks(usize::from(cut).max(1)) {
        match assembler.push(piece) {
            Progress::NeedMore => continue,
            Progress::Bad(_) => {}
            Progress::Complete(incoming) => {
                if let Ok((key, exchange)) = router.receive(&incoming, PEER) {
                    let reply = router.encode(key, &exchange.response).unwrap_or_default();
                    let head = String::from_utf8_lossy(&reply);
                    assert!(key == 2 || head.starts_with("RTSP/1.0 ") && head.contains("\r\nCSeq: "));
                }
            }
        }
        assembler = Assembler::new();
    }
}

/// The body of an ANNOUNCE.
pub fn sdp(data: &[u8]) {
    match StreamParameters::parse(data, &FEATURES, AudioQuality::High) {
        Ok(parameters) => {
            assert!(parameters.refresh_mhz() > 0 && parameters.slices > 0);
            for fec in [0, 20, 80, 81, 255] {
                let ceiling = parameters.configured_kbps.unwrap_or(parameters.maximum_kbps);
                assert!(parameters.encoder_kbps(fec) <= ceiling);
            }
        }
        Err(error) => assert!(matches!(error.status(), 400 | 403)),
    }
}

/// A control frame from the network, and the same bytes as if they had been sealed with the right key. Also what comes
/// to the media ports.
pub fn control(data: &[u8]) {
    let _ = Ping::parse(data);
    for encryption in [ControlEncryption::V2, ControlEncryption::Legacy] {
        let mut cipher = ControlCipher::new(&KEY, encryption);
        assert!(cipher.open(data).is_err(), "nobody can seal without the key");
        let sealed = cipher.seal(&HostMessage::Termination(Termination::Graceful));
        assert_eq!(sealed.len(), 32);
    }
    let _ = ClientMessage::decode(data);
}

/// An input packet.
pub fn input(data: &[u8]) {
    if let Ok(InputPacket::MousePosition(position)) = InputPacket::decode(data) {
        let (x, y) = position.normalised();
        assert!((0.0..=1.0).contains(&x) && (0.0..=1.0).contains(&y));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        /// The bodies run in every test run, if not for as long.
        #[test]
        fn bodies_hold_for_some_bytes(data in prop::collection::vec(any::<u8>(), 0..300)) {
            super::query(&data);
            super::rtsp(&data);
            super::sdp(&data);
            super::control(&data);
            super::input(&data);
        }
    }
}
