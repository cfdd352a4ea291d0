use super::framing::iv;
use super::response::number;
use super::*;
use crate::request::{EncryptionWish, Generation, StreamRequest};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener};

const KEY: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const SEALED_REQUEST: &str = "800000660000000168b5b12432cb8e2e412b872a46a51e3a9fe452003a42126629e9a38df3e5ba69a1abdae54db4096793128c2f908f8f9d3020facd1557180ae8b351849ce52c58abeb8e9b7c4f02f8d7f8a9ca29bf268920b175a9e60e05a0693312d74d2861c5e81816295c8c854c86548e87d9d68c57be7198fabd0d";
const SEALED_ANSWER: &str = "8000001c00000001f1734c68fca6356daf5717bc54c6f6a2600872b43a271f6b4fc685cedf9a7cb84351077c0cc521456e1d06e9";
const OFFER: &str = "a=x-ss-general.featureFlags:3\na=x-ss-general.encryptionSupported:7\n\
    a=x-ss-general.encryptionRequested:1\na=x-nv-video[0].refPicInvalidation:1\nsprop-parameter-sets=AAAAAU\n\
    a=rtpmap:98 AV1/90000\na=fmtp:97 surround-params=21101\na=fmtp:97 surround-params=642012453\n";

fn handshake(request: &StreamRequest, generation: Generation) -> Handshake {
    let target = Target::parse("rtspenc://192.168.1.10:48010");
    Handshake::new(request, generation, target, IpAddr::V4(Ipv4Addr::new(192, 168, 1, 10)))
}

fn high_quality() -> StreamRequest {
    let mut request = StreamRequest::new(1280, 720, 60);
    request.audio.high_quality = true;
    request
}

#[test]
fn golden_frames_of_section_5() {
    let request = handshake(&high_quality(), Generation::Current).next_request().unwrap();
    assert_eq!(request.text.len(), 102);
    let mut cipher = Cipher::new(&KEY);
    assert_eq!(hex::encode(cipher.seal(request.text.as_bytes())), SEALED_REQUEST);
    let answer = cipher.open(&hex::decode(SEALED_ANSWER).unwrap()).unwrap();
    assert_eq!(answer, b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n");
    assert_eq!(hex::encode(iv(1, b'C')), "010000000000000000004352");
    assert_eq!(hex::encode(iv(1, b'H')), "010000000000000000004852");
}

#[test]
fn damaged_frames_are_refused() {
    let sealed = hex::decode(SEALED_ANSWER).unwrap();
    assert!(Cipher::new(&KEY).open(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n").unwrap_err().contains("plain"));
    assert!(Cipher::new(&KEY).open(&[&sealed[..], b"x"].concat()).is_err());
    assert!(Cipher::new(&KEY).open(&sealed[..30]).is_err());
    let mut again = Cipher::new(&KEY);
    again.open(&sealed).unwrap();
    assert!(again.open(&sealed).unwrap_err().contains("sequence 1, not 2"));
    let mut broken = sealed.clone();
    broken[30] ^= 1;
    assert!(Cipher::new(&KEY).open(&broken).unwrap_err().contains("tag"));
}

#[test]
fn answers_are_read_with_the_clients_quirks() {
    let parse = |text: &str| Response::parse(text.as_bytes());
    let good = parse("RTSP/1.0 200 OK\r\nCSeq: 3\r\nSession: x;timeout = 90\r\n\r\nbody").unwrap();
    assert_eq!(
        (good.code, good.header("Session"), good.body.as_str()),
        (200, Some("x;timeout = 90"), "body")
    );
    assert_eq!(good.header("session"), None);
    for bad in [
        "RTSP/1.0 200 OK\r\n\r\n",
        "RTSP/1.0 200\r\nCSeq: 1\r\n\r\n",
        "RTSP/1.0 200 \r\nCSeq: 1\r\n\r\n",
        "RTSP/1.0 200 OK\r\nCSeq:1\r\n\r\n",
        "RTSP/1.0 200 OK\r\nCSeq:  1\r\n\r\n",
        "RTSP/1.0 200 OK\r\nCSeq: \r\n\r\n",
        "RTSP/1.0 200 OK\r\nCSeq: 1\r\n",
        "HTTP/1.1 200 OK\r\nCSeq: 1\r\n\r\n",
    ] {
        assert!(parse(bad).is_err(), "{bad:?}");
    }
    assert_eq!(
        ["12;x", "0x1F", "010", "0", "x", ""].map(number),
        [Some(12), Some(31), Some(8), Some(0), None, None]
    );
}

/// Answers of a host that offers everything.
fn answers() -> Vec<String> {
    let setup = |n: u32, port: u16, extra: &str| {
        format!(
            "RTSP/1.0 200 OK\r\nCSeq: {n}\r\nSession: DEADBEEF;timeout = 90\r\nTransport: server_port={port}\r\n{extra}\r\n\r\n"
        )
    };
    vec![
        "RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n".into(),
        format!("RTSP/1.0 200 OK\r\nCSeq: 2\r\n\r\n{OFFER}"),
        setup(3, 58_000, "X-SS-Ping-Payload: 0123456789abcdef"),
        setup(4, 57_998, "X-SS-Ping-Payload: fedcba9876543210"),
        setup(5, 57_999, "X-SS-Connect-Data: 0xdeadbeef"),
        "RTSP/1.0 200 OK\r\nCSeq: 6\r\n\r\n".into(),
        "RTSP/1.0 200 OK\r\nCSeq: 7\r\n\r\n".into(),
    ]
}

fn run_through(handshake: &mut Handshake) -> Vec<String> {
    let mut requests = Vec::new();
    for answer in answers() {
        requests.push(handshake.next_request().unwrap().text);
        handshake.answer(answer.as_bytes()).unwrap();
    }
    assert_eq!(handshake.next_request(), None);
    requests
}

#[test]
fn the_seven_requests_in_order() {
    let mut current = handshake(&high_quality(), Generation::Current);
    let requests = run_through(&mut current);
    let lines: Vec<&str> = requests.iter().map(|text| text.lines().next().unwrap()).collect();
    assert_eq!(
        lines,
        [
            "OPTIONS rtspenc://192.168.1.10:48010 RTSP/1.0",
            "DESCRIBE rtspenc://192.168.1.10:48010 RTSP/1.0",
            "SETUP streamid=audio/0/0 RTSP/1.0",
            "SETUP streamid=video/0/0 RTSP/1.0",
            "SETUP streamid=control/13/0 RTSP/1.0",
            "ANNOUNCE streamid=control/13/0 RTSP/1.0",
            "PLAY / RTSP/1.0",
        ]
    );
    assert!(!requests[2].contains("Session:"));
    assert!(requests[3..].iter().all(|text| text.contains("\r\nSession: DEADBEEF\r\n")));
    let known = current.negotiated();
    assert_eq!((known.audio_port, known.video_port, known.control_port), (58_000, 57_998, 57_999));
    assert_eq!(known.audio_ping.as_ref(), Some(b"0123456789abcdef"));
    assert_eq!(known.video_ping.as_ref(), Some(b"fedcba9876543210"));
    assert_eq!(known.connect_data, 0xdead_beef);
    assert!(known.offer.invalidation && known.offer.hevc && known.offer.av1);
    assert_eq!(known.offer.surround, ["21101", "642012453"]);
    assert_eq!(known.announcement.encryption_enabled, 1);
}

#[test]
fn normal_quality_hides_the_host() {
    let request = handshake(&StreamRequest::new(640, 360, 30), Generation::Current).next_request().unwrap();
    assert!(request.text.starts_with("OPTIONS rtsp://0.0.0.0:48010 RTSP/1.0\r\n"));
    assert!(request.text.contains("\r\nHost: 0.0.0.0\r\n"));
}

#[test]
fn the_announce_body_is_that_of_appendix_c() {
    let golden = include_str!("../../fixtures/golden_announce.txt");
    let mut request = StreamRequest::new(1280, 720, 60);
    request.bitrate_kbps = 20_000;
    request.encryption = EncryptionWish { video: true, audio: true };
    let offer = Offer::parse(OFFER);
    let announcement = Announcement::decide(&request, &offer, Generation::Current);
    assert_eq!(announcement.encryption_enabled, 7);
    let body =
        announce_body(&request, &announcement, Generation::Current, IpAddr::V4(Ipv4Addr::LOCALHOST), 57_998);
    let expected: String = golden
        .lines()
        .map(|line| match &line[..2] {
            "a=" => format!("{line} \r\n"),
            "m=" => format!("{line}  \r\n"),
            _ => format!("{line}\r\n"),
        })
        .collect();
    assert_eq!(body, expected);
}

#[test]
fn encryption_is_decided_as_section_11_says() {
    let decide = |video, audio, supported, requested| {
        let mut request = StreamRequest::new(640, 360, 30);
        request.encryption = EncryptionWish { video, audio };
        let offer =
            Offer { encryption_supported: supported, encryption_requested: requested, ..Offer::default() };
        let decided = Announcement::decide(&request, &offer, Generation::Current);
        (decided.encryption_enabled, decided.audio_encrypted, decided.packet_size)
    };
    assert_eq!(decide(false, false, 7, 0), (1, false, 1392));
    assert_eq!(decide(true, true, 7, 0), (7, true, 1360));
    assert_eq!(decide(true, true, 1, 0), (1, true, 1392));
    assert_eq!(decide(false, false, 7, 6), (7, true, 1360));
    // Requested without supported misses exactly the willing clients.
    assert_eq!(decide(true, false, 1, 2), (1, false, 1392));
    assert_eq!(decide(false, false, 1, 2), (3, false, 1360));
}

#[test]
fn the_older_generation_knows_no_extensions() {
    let mut request = StreamRequest::new(640, 360, 30);
    request.encryption = EncryptionWish { video: true, audio: true };
    let mut old = handshake(&request, Generation::Legacy61);
    let requests = run_through(&mut old);
    assert!(!requests[5].contains("x-ml-general") && !requests[5].contains("x-ss-"));
    assert!(requests[5].contains("a=x-nv-general.featureFlags:167 \r\n"));
    assert!(requests[5].contains("a=x-nv-video[0].packetSize:1392 \r\n"));
    let known = old.negotiated();
    assert_eq!((known.audio_ping, known.video_ping, known.connect_data), (None, None, 0));
    assert!(!known.announcement.control_v2());
}

#[test]
fn refusals_and_missing_fields_end_the_handshake() {
    let start = || handshake(&high_quality(), Generation::Current);
    let refused = start().answer(b"RTSP/1.0 454 Session Not Found\r\nCSeq: 1\r\n\r\n").unwrap_err();
    assert!(matches!(refused, RtspError::Code { request: "OPTIONS", code: 454 }));
    let mut no_body = start();
    no_body.answer(answers()[0].as_bytes()).unwrap();
    assert!(no_body.answer(b"RTSP/1.0 200 OK\r\nCSeq: 2\r\n\r\n").is_err());
    let mut no_session = start();
    no_session.answer(answers()[0].as_bytes()).unwrap();
    no_session.answer(answers()[1].as_bytes()).unwrap();
    assert!(no_session.answer(b"RTSP/1.0 200 OK\r\nCSeq: 3\r\nTransport: server_port=1\r\n\r\n").is_err());
}

#[test]
fn session_urls() {
    let parse = |url: &str| {
        let target = Target::parse(url);
        (target.port, target.encrypted)
    };
    assert_eq!(parse("rtspenc://[fe80::1]:50021"), (50_021, true));
    assert_eq!(parse("rtsp://host:48010"), (48_010, false));
    assert_eq!(parse("rtsp://host"), (48_010, false));
}

#[test]
fn the_driver_opens_one_connection_per_request() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let host = std::thread::spawn(move || {
        let mut seen = Vec::new();
        for answer in answers() {
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = String::new();
            let mut byte = [0];
            while !text.ends_with("\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                text.push(byte[0] as char);
            }
            if let Some(at) = text.find("Content-length: ") {
                let length = number(&text[at + 16..]).unwrap() as usize;
                let mut body = vec![0; length];
                stream.read_exact(&mut body).unwrap();
                text.push_str(std::str::from_utf8(&body).unwrap());
            }
            seen.push(text);
            stream.write_all(answer.as_bytes()).unwrap();
        }
        seen
    });
    let mut handshake = handshake(&high_quality(), Generation::Current);
    let mut audio_steps = Vec::new();
    run(&mut handshake, address, None, |handshake| {
        audio_steps.push(handshake.audio_is_set_up());
        Ok(())
    })
    .unwrap();
    assert_eq!(audio_steps, [false, false, true, true, true, true, true]);
    let seen = host.join().unwrap();
    assert_eq!(seen.len(), 7);
    assert!(seen[5].ends_with("m=video 57998  \r\n"));
}
