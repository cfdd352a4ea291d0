use super::*;
use crate::crypto::SessionKey;
use crate::ping::PingPayload;
use crate::sdp::tests::captured;
use crate::sdp::{AudioQuality, Encryption, HostFeatures};
use crate::serverinfo::CodecModes;
use proptest::prelude::*;
use std::net::IpAddr;

const KEY: SessionKey = SessionKey::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
const OPTIONS: &str = "OPTIONS rtspenc://192.168.1.10:48010 RTSP/1.0\r\nCSeq: 1\r\nX-GS-ClientVersion: 14\r\n\
                       Host: 192.168.1.10\r\n\r\n";
const SEALED_OPTIONS: &str = "800000660000000168b5b12432cb8e2e412b872a46a51e3a9fe452003a42126629e9a38df3e5ba69a1abdae5\
    4db4096793128c2f908f8f9d3020facd1557180ae8b351849ce52c58abeb8e9b7c4f02f8d7f8a9ca29bf268920b175a9e60e05a0693312d74d\
    2861c5e81816295c8c854c86548e87d9d68c57be7198fabd0d";

fn peer() -> IpAddr {
    "192.168.1.20".parse().unwrap()
}

fn config(seal: bool) -> HandshakeConfig {
    HandshakeConfig {
        seal: seal.then_some(KEY),
        peer: peer(),
        features: HostFeatures {
            codecs: CodecModes::H264,
            pen_touch: false,
            controller_touch: false,
            encryption_supported: Encryption::ALL,
            encryption_requested: Encryption::CONTROL_V2,
            encryption_required: Encryption::NONE,
            ref_pic_invalidation: false,
        },
        ports: StreamPorts { video: 47998, control: 47999, audio: 48000 },
        ping_payload: PingPayload::from_random([0xab; 8]),
        connect_data: 0xdead_beef,
        token: "5eed".into(),
    }
}

fn assemble(bytes: &[u8]) -> Incoming {
    match Assembler::new().push(bytes) {
        Progress::Complete(incoming) => incoming,
        other => panic!("{other:?}"),
    }
}

fn request(line: &str, headers: &str, body: &str) -> Incoming {
    let length = if body.is_empty() { String::new() } else { format!("Content-length: {}\r\n", body.len()) };
    assemble(format!("{line} RTSP/1.0\r\nCSeq: 3\r\n{headers}{length}\r\n{body}").as_bytes())
}

/// Sends a request and returns the response's text and its event.
fn ask(handshake: &mut Handshake, incoming: &Incoming) -> (String, Option<RtspEvent>) {
    let exchange = handshake.receive(incoming, peer()).unwrap();
    let text = String::from_utf8(handshake.encode(&exchange.response)).unwrap();
    (text, exchange.event)
}

#[test]
fn the_golden_sealed_request_opens_in_pieces_of_one_byte() {
    let bytes = hex::decode(SEALED_OPTIONS).unwrap();
    let mut assembler = Assembler::new();
    let (last, rest) = bytes.split_last().unwrap();
    for byte in rest {
        assert_eq!(assembler.push(&[*byte]), Progress::NeedMore);
    }
    let Progress::Complete(Incoming::Sealed(message)) = assembler.push(&[*last]) else { panic!() };
    let mut seal = seal::Seal::new(&KEY);
    assert_eq!(seal.open(&message).unwrap(), OPTIONS.as_bytes());
    assert_eq!(seal.open(&message), Err(RtspError::NotOpened), "a replay");
}

#[test]
fn the_golden_sealed_response() {
    let sealed = seal::Seal::new(&KEY).seal(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n");
    assert_eq!(
        hex::encode(sealed),
        "8000001c00000001f1734c68fca6356daf5717bc54c6f6a2600872b43a271f6b4fc685cedf9a7cb84351077c0cc521456e1d06e9"
    );
}

#[test]
fn a_sealed_handshake_answers_sealed() {
    let mut handshake = Handshake::new(config(true));
    let exchange = handshake.receive(&assemble(&hex::decode(SEALED_OPTIONS).unwrap()), peer()).unwrap();
    let sealed = handshake.encode(&exchange.response);
    assert_eq!(sealed[..8], [0x80, 0, 0, (sealed.len() - 24) as u8, 0, 0, 0, 1]);
    let plain = request("OPTIONS rtsp://x:1", "", "");
    assert_eq!(handshake.receive(&plain, peer()), Err(RtspError::WrongFraming));
    let mut plain_handshake = Handshake::new(config(false));
    let sealed = assemble(&hex::decode(SEALED_OPTIONS).unwrap());
    assert_eq!(plain_handshake.receive(&sealed, peer()), Err(RtspError::WrongFraming));
}

#[test]
fn a_whole_plain_handshake() {
    let mut handshake = Handshake::new(config(false));
    let (text, event) =
        ask(&mut handshake, &request("OPTIONS rtsp://0.0.0.0:48010", "Host: 0.0.0.0\r\n", ""));
    assert!(text.starts_with("RTSP/1.0 200 OK\r\nCSeq: 3\r\n"), "{text}");
    assert_eq!(event, None);

    let (text, _) = ask(&mut handshake, &request("DESCRIBE rtsp://0.0.0.0:48010", "", ""));
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, config(false).features.describe());

    let (text, _) = ask(&mut handshake, &request("SETUP streamid=audio/0/0", "", ""));
    assert_eq!(
        text,
        "RTSP/1.0 200 OK\r\nCSeq: 3\r\nSession: 5eed;timeout = 90\r\nTransport: server_port=48000\r\n\
         X-SS-Ping-Payload: abababababababab\r\n\r\n"
    );
    let (text, _) = ask(&mut handshake, &request("SETUP streamid=video/0/0", "Session: 5eed\r\n", ""));
    assert!(text.contains("\r\nTransport: server_port=47998\r\nX-SS-Ping-Payload: abababababababab\r\n"));
    let (text, _) = ask(&mut handshake, &request("SETUP streamid=control/13/0", "Session: 5eed\r\n", ""));
    assert!(text.contains("\r\nTransport: server_port=47999\r\nX-SS-Connect-Data: 3735928559\r\n"));

    let announce =
        request("ANNOUNCE streamid=control/13/0", "Session: 5eed\r\nHost: 0.0.0.0\r\n", &captured());
    let (text, event) = ask(&mut handshake, &announce);
    assert_eq!(text, "RTSP/1.0 200 OK\r\nCSeq: 3\r\n\r\n");
    let Some(RtspEvent::Announced(parameters)) = event else { panic!("{event:?}") };
    assert_eq!((parameters.width, parameters.audio.quality), (1280, AudioQuality::Normal));
    assert_eq!(ask(&mut handshake, &announce).1, None, "asked again: answered, but not news");

    let (_, event) = ask(&mut handshake, &request("PLAY /", "Session: 5eed\r\n", ""));
    assert_eq!(event, Some(RtspEvent::Play));
    let (text, event) = ask(&mut handshake, &request("PLAY streamid=audio", "Session: 5eed\r\n", ""));
    assert!(text.starts_with("RTSP/1.0 200"));
    assert_eq!(event, None);
    let (_, event) = ask(&mut handshake, &request("TEARDOWN /", "Session: 5eed\r\n", ""));
    assert_eq!(event, Some(RtspEvent::Teardown));
}

#[test]
fn older_names_of_streams() {
    let mut handshake = Handshake::new(config(false));
    for (target, port) in
        [("streamid=audio", 48000), ("streamid=video", 47998), ("streamid=control/1/0", 47999)]
    {
        let (text, _) = ask(&mut handshake, &request(&format!("SETUP {target}"), "", ""));
        assert!(text.contains(&format!("server_port={port}\r\n")), "{text}");
    }
    let (_, event) = ask(&mut handshake, &request("ANNOUNCE streamid=video", "", &captured()));
    assert!(matches!(event, Some(RtspEvent::Announced(_))));
}

#[test]
fn stereo_is_of_high_quality_unless_the_host_is_zero() {
    for (host, quality) in [("0.0.0.0", AudioQuality::Normal), ("192.168.1.10", AudioQuality::High)] {
        let mut handshake = Handshake::new(config(false));
        let headers = format!("Host: {host}\r\n");
        ask(&mut handshake, &request("DESCRIBE rtsp://x:48010", &headers, ""));
        let (_, event) = ask(&mut handshake, &request("ANNOUNCE streamid=video", "", &captured()));
        let Some(RtspEvent::Announced(parameters)) = event else { panic!() };
        assert_eq!(parameters.audio.quality, quality);
    }
}

#[test]
fn refusals_have_their_status_and_a_header() {
    let mut handshake = Handshake::new(config(false));
    let mut status = |line: &str, headers: &str, body: &str| {
        let (text, event) = ask(&mut handshake, &request(line, headers, body));
        assert!(text.contains("\r\nCSeq: 3\r\n"), "{text}");
        assert_eq!(event, None);
        text[9..12].to_owned()
    };
    assert_eq!(status("PLAY /", "", ""), "455");
    assert_eq!(status("SETUP streamid=mic/0/0", "", ""), "404");
    assert_eq!(status("SETUP nothing", "", ""), "404");
    assert_eq!(status("RECORD /", "", ""), "501");
    assert_eq!(status("ANNOUNCE streamid=video", "", "v=0\r\n"), "400");
    let hevc = captured().replace("bitStreamFormat:0", "bitStreamFormat:1");
    assert_eq!(status("ANNOUNCE streamid=video", "", &hevc), "400");
}

#[test]
fn the_host_can_refuse_what_the_protocol_allows() {
    let mut handshake = Handshake::new(config(false));
    let exchange = handshake.receive(&request("ANNOUNCE streamid=video", "", &captured()), peer()).unwrap();
    let refused = exchange.response.refused(503, "no encoder\r\nfor this");
    assert_eq!(refused.to_bytes(), b"RTSP/1.0 503 no encoder  for this\r\nCSeq: 3\r\n\r\n");
}

#[test]
fn the_router_finds_the_launch_by_key_and_by_address() {
    let mut router = Router::new();
    let incoming = assemble(&hex::decode(SEALED_OPTIONS).unwrap());
    assert_eq!(router.receive(&incoming, peer()).unwrap_err(), RtspError::Nobody);

    let other_key = HandshakeConfig { seal: Some(SessionKey::new([9; 16])), ..config(true) };
    router.insert(1, Handshake::new(config(true)));
    router.insert(2, Handshake::new(other_key));
    router.insert(3, Handshake::new(config(false)));
    let (key, exchange) = router.receive(&incoming, peer()).unwrap();
    assert_eq!(key, 1);
    assert!(router.encode(key, &exchange.response).unwrap()[0] & 0x80 != 0);

    let newer = HandshakeConfig { token: "newer".into(), ..config(false) };
    router.insert(4, Handshake::new(newer));
    let key_of = |router: &mut Router<i32>, headers: &str, from: &str| {
        let plain = request("OPTIONS rtsp://x:1", headers, "");
        router.receive(&plain, from.parse().unwrap()).map(|(key, _)| key).ok()
    };
    assert_eq!(key_of(&mut router, "", "192.168.1.20"), Some(4), "the newest");
    assert_eq!(key_of(&mut router, "Session: 5eed\r\n", "::ffff:192.168.1.20"), Some(3), "by its token");
    assert_eq!(key_of(&mut router, "Session: unknown\r\n", "192.168.1.20"), None);
    assert_eq!(key_of(&mut router, "", "192.168.1.21"), None);
    router.remove(1);
    assert!(router.receive(&incoming, peer()).is_err());
}

#[test]
fn what_is_no_message_is_told_early() {
    let bad = |bytes: &[u8]| match Assembler::new().push(bytes) {
        Progress::Bad(error) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(bad(&[b'A'; MAX_MESSAGE + 1]), RtspError::TooLong);
    assert_eq!(bad(&[0x80, 0, 0x40, 1]), RtspError::TooLong);
    assert_eq!(bad(&[0xff; 4]), RtspError::TooLong);
    assert_eq!(bad(b"GET / HTTP/1.1\r\n\r\n"), RtspError::Malformed);
    assert_eq!(bad(b"\r\n\r\n"), RtspError::Malformed);
    assert_eq!(bad(b"PLAY / RTSP/1.0\r\nno colon\r\n\r\n"), RtspError::Malformed);
    assert_eq!(bad(b"PLAY / RTSP/1.0\r\nContent-length: -1\r\n\r\n"), RtspError::Malformed);
    assert_eq!(bad(b"PLAY / RTSP/1.0\r\nContent-length: 99999\r\n\r\n"), RtspError::TooLong);
    assert_eq!(bad(b"PLAY / RTSP/1.0\r\nContent-length: 18446744073709551615\r\n\r\n"), RtspError::TooLong);
    let many = "A: b\r\n".repeat(MAX_HEADERS + 1);
    assert_eq!(bad(format!("PLAY / RTSP/1.0\r\n{many}\r\n").as_bytes()), RtspError::TooManyHeaders);
    assert_eq!(Assembler::new().push(&[]), Progress::NeedMore);
    let mut spent = Assembler::new();
    assert!(spent.is_empty());
    assert!(matches!(spent.push(b"PLAY / RTSP/1.0\r\nCSeq: 1\r\n\r\n"), Progress::Complete(_)));
    assert_eq!(spent.push(b"more"), Progress::Bad(RtspError::Malformed), "one request per connection");
}

proptest! {
    /// Cutting a message anywhere, any number of times, changes nothing.
    #[test]
    fn pieces_of_any_size(cuts in prop::collection::vec(0usize..200, 0..6), body in "[ -~]{0,80}") {
        let message = format!("ANNOUNCE / RTSP/1.0\r\nCSeq: 6\r\nContent-length: {}\r\n\r\n{body}", body.len());
        let whole = assemble(message.as_bytes());
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % message.len()).collect();
        cuts.extend([0, message.len()]);
        cuts.sort_unstable();
        let mut assembler = Assembler::new();
        let mut last = Progress::NeedMore;
        for pair in cuts.windows(2) {
            prop_assert_eq!(&last, &Progress::NeedMore);
            if pair[0] != pair[1] {
                last = assembler.push(&message.as_bytes()[pair[0]..pair[1]]);
            }
        }
        prop_assert_eq!(last, Progress::Complete(whole));
    }
}
