//! Foreign bytes on every port while a client streams: each gets its protocol's answer or nothing, and the stream goes on.

use crate::lab::{Lab, PATIENCE, Viewer, now, wait_for};
use lumen_testkit::input::{Contact, PadState};
use lumen_testkit::{Codec, InputPacket, StreamRequest};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::time::Duration;

fn tcp(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(15))).expect("set");
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn foreign_bytes_on_every_port_do_not_touch_a_stream() {
    let lab = Lab::start("");
    let client = lab.paired(0);
    let stream = lab.launch(&client, "testcard", &StreamRequest::new(640, 360, 30));
    let mut viewer = Viewer::new(Codec::H264);
    viewer.watch(&stream, 3);

    let mut noise = Vec::new();
    let mut state = 0x2545_f491_4f6c_dd1du64;
    for _ in 0..4096 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.push(state as u8);
    }
    let long_line = [b"GET /serverinfo?".as_slice(), &[b'a'; 40_000], b" HTTP/1.1\r\n\r\n"].concat();
    let http: [&[u8]; 9] = [
        b"",
        b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /pair HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n",
        b"GET /pair?phrase=getservercert&salt=zz&clientcert=zz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /pair?clientchallenge=00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /launch?appid=1&mode=99999999999x1x1 HTTP/1.1\r\nHost: x\r\n\r\n",
        &long_line,
        &noise,
    ];
    for request in http {
        let answer = tcp(lab.base_port, request);
        let text = String::from_utf8_lossy(&answer);
        assert!(!text.contains("status_code=\"200\"") || !text.contains("paired>1"), "{text}");
    }
    let rtsp: [&[u8]; 6] = [
        b"",
        b"OPTIONS * RTSP/1.0\r\n\r\n",
        b"SETUP streamid=audio RTSP/1.0\r\nCSeq: 99999999999999999999\r\n\r\n",
        b"ANNOUNCE x RTSP/1.0\r\nCSeq: 1\r\nContent-length: 4294967295\r\n\r\n",
        &[0x80, 0xff, 0xff, 0xff, 0, 0, 0, 1],
        &noise,
    ];
    for request in rtsp {
        assert!(!String::from_utf8_lossy(&tcp(lab.base_port + 21, request)).contains(" 200 "));
    }
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    for port in [lab.base_port + 9, lab.base_port + 10, lab.base_port + 11] {
        for length in [0, 1, 4, 20, 52, 1400] {
            let _ = socket.send_to(&noise[..length], (Ipv4Addr::LOCALHOST, port));
        }
        let _ = socket.send_to(b"PING", (Ipv4Addr::LOCALHOST, port));
    }
    // Slow and silent peers on every TCP port.
    let silent: Vec<_> = [lab.base_port, lab.base_port - 5, lab.base_port + 21]
        .map(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connects"))
        .into_iter()
        .collect();
    // Control messages that make no sense, well sealed.
    for (kind, payload) in
        [(0x0206u16, &b"\x00\x00\x00\x05"[..]), (0x0301, b"\x01"), (0x5502, b"xx"), (0xffff, b"")]
    {
        stream.send_control(kind, payload, 0).expect("queued");
    }
    stream.invalidate(u32::MAX - 1, u32::MAX).expect("queued");

    let codes = viewer.codes.len();
    viewer.watch(&stream, codes + 10);
    assert_eq!(stream.violations(), []);
    assert!(client.server_info().expect("answers").current_game != 0);
    assert_eq!(stream.ending(), None);
    drop(silent);
    let panics = lab.log().matches("panicked").count();
    assert_eq!(panics, 0, "{}", lab.log());
    stream.disconnect(PATIENCE);
}

/// A packet of 0x0206: size, magic, body.
fn raw(magic: u32, body: &[u8], channel: u8) -> InputPacket {
    let size = u32::try_from(4 + body.len()).expect("short").to_be_bytes();
    InputPacket::Raw { bytes: [&size, &magic.to_le_bytes(), body].concat(), channel }
}

#[test]
fn input_that_makes_no_sense_is_said_once_and_the_rest_arrives() {
    let lab = Lab::start("");
    let client = lab.paired(0);
    let stream = lab.launch(&client, "testcard", &StreamRequest::new(1280, 720, 60));
    let mut viewer = Viewer::new(Codec::H264);
    viewer.watch(&stream, 3);
    let touch = |event, x, y| InputPacket::Touch {
        event,
        rotation: 0,
        pointer: 3,
        x,
        y,
        pressure: f32::NAN,
        major: f32::INFINITY,
        minor: -1.0,
    };
    for _ in 0..20 {
        for packet in [
            // Text that is no UTF-8, none at all, and a zero.
            raw(0x17, &[0xff, 0xfe, 0x80], 2),
            raw(0x17, &[], 2),
            InputPacket::Text("\0".into()),
            // Places outside, and parts of nothing.
            InputPacket::MousePosition { x: -300, y: 9000, width: 1280, height: 720 },
            InputPacket::MousePosition { x: 5, y: 5, width: 1, height: 1 },
            touch(Contact::Down, f32::NAN, f32::INFINITY),
            touch(Contact::Down, -3.0, 70.0),
            touch(Contact::Up, f32::NAN, 0.0),
            // A key and a button that do not exist, and an unknown packet.
            InputPacket::key(true, 0xff),
            InputPacket::MouseButton { down: true, button: 200 },
            raw(0x7777_7777, &[1, 2, 3], 0),
            // A gamepad that was never announced, and one with a number that there is not.
            InputPacket::Pad(PadState { number: 9, ..PadState::default() }),
            InputPacket::PadMotion { number: 200, kind: 1, axes: [f32::NAN, 0.0, 0.0] },
            // Sizes that are not true.
            InputPacket::Raw { bytes: b"\x00\x00\xff\xff\x03\x00\x00\x00".to_vec(), channel: 2 },
            InputPacket::Raw { bytes: vec![0; 3], channel: 2 },
            raw(0x03, &[0x80], 2),
        ] {
            stream.send_input(packet).expect("queued");
        }
    }
    let logged = |fits: &dyn Fn(&serde_json::Value) -> bool| lab.input_log().iter().any(fits);
    for down in [true, false] {
        stream.send_input(InputPacket::key(down, 0x41)).expect("queued");
    }
    wait_for("a key after all that", PATIENCE, || {
        logged(&|event| event["code"] == 30 && event["state"] == "released").then_some(())
    });
    assert!(
        logged(&|event| event["type"] == "pointer_motion" && event["x"] == 0.0),
        "what lies outside lands on the edge"
    );
    let codes = viewer.codes.len();
    viewer.watch(&stream, codes + 10);
    assert_eq!((stream.violations(), stream.ending()), (vec![], None));
    let log = lab.log();
    for said in ["a control message was dropped", "values mean nothing", "that is not known"] {
        assert_eq!(log.matches(said).count(), 1, "{said}:\n{log}");
    }
    assert!(!log.contains("panicked"), "{log}");
    // Each kind once at most.
    let warnings = log.lines().filter(|line| line.contains(" WARN ")).count();
    assert!(warnings <= 8, "{warnings} warnings:\n{log}");
}

/// 10,000 events a second for two seconds to the built-in desktop: keys and buttons arrive all, motion as its sum.
#[test]
fn a_flood_loses_no_key_and_no_button() {
    let lab = Lab::start("");
    let client = lab.paired(0);
    let stream = lab.launch(&client, "testcard", &StreamRequest::new(1280, 720, 60));
    Viewer::new(Codec::H264).watch(&stream, 3);
    let began = now();
    let rounds = 2000;
    for round in 1..=rounds {
        let step = if round % 2 == 0 { 3 } else { -3 };
        for _ in 0..6 {
            stream.send_input(InputPacket::MouseMove { dx: step, dy: step }).expect("queued");
        }
        for packet in [
            InputPacket::key(true, 0x41),
            InputPacket::MouseButton { down: true, button: 3 },
            InputPacket::MouseButton { down: false, button: 3 },
            InputPacket::key(false, 0x41),
        ] {
            stream.send_input(packet).expect("queued");
        }
        // By the clock: who was late catches up.
        std::thread::sleep((began + Duration::from_millis(1) * round).saturating_duration_since(now()));
    }
    println!("{:.0} events a second", f64::from(rounds * 10) / (now() - began).as_secs_f64());
    let count = |kind: &str, state: &str| {
        let log = lab.input_log();
        log.iter().filter(|event| event["type"] == kind && event["state"] == state).count()
    };
    let seen = || {
        [("key", "pressed"), ("key", "released"), ("button", "pressed"), ("button", "released")]
            .map(|(kind, state)| count(kind, state))
    };
    let wanted = [rounds as usize; 4];
    let deadline = now() + PATIENCE;
    while seen() != wanted {
        assert!(now() < deadline, "{:?} of {wanted:?}; {}", seen(), lab.status()["sessions"][0]["input"]);
        std::thread::sleep(Duration::from_millis(50));
    }
    let input = lab.status()["sessions"][0]["input"].clone();
    println!("input by {input}");
    assert_eq!(input["dropped"], 0, "{input}");
}

#[test]
fn modes_outside_sane_limits_are_refused_with_the_reason() {
    let lab = Lab::start("");
    let client = lab.paired(0);
    let app = lab.app(&client, "testcard");
    for request in [
        StreamRequest::new(300, 180, 60),
        StreamRequest::new(1280, 100, 60),
        StreamRequest::new(7682, 4320, 60),
        StreamRequest::new(1280, 720, 5),
        StreamRequest::new(1280, 720, 500),
    ] {
        let error = client.launch(app, &request, &Default::default()).expect_err("refused");
        let said = error.to_string();
        assert!(said.contains("outside"), "{said}");
    }
    assert!(lab.app_processes().is_empty());
    assert_eq!(client.server_info().expect("answers").current_game, 0);
}

#[test]
fn a_missing_app_refuses_the_launch_with_the_remedy() {
    let lab = Lab::start("[[apps]]\ntitle = \"gone\"\ncommand = [\"no-such-program\"]\n");
    let client = lab.paired(0);
    let app = lab.app(&client, "gone");
    let error =
        client.launch(app, &StreamRequest::new(640, 360, 30), &Default::default()).expect_err("refused");
    let said = error.to_string();
    assert!(said.contains("no-such-program") && said.contains("Install"), "{said}");
    assert_eq!(client.server_info().expect("answers").current_game, 0);
    // And the next launch works.
    let stream = lab.launch(&client, "testcard", &StreamRequest::new(640, 360, 30));
    Viewer::new(Codec::H264).watch(&stream, 3);
}
