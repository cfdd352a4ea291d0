//! Foreign bytes on every port while a client streams: each gets its protocol's answer or nothing, and the stream goes on.

use crate::lab::{Lab, PATIENCE, Viewer};
use lumen_testkit::{Codec, StreamRequest};
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
