//! RTSP of the test host (protocol text §5).
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes128Gcm, Nonce};

use super::{CONNECT_DATA, Log, PING, Ports};

pub fn run(listener: &TcpListener, ports: Ports, log: &Mutex<Log>, stop: &AtomicBool) {
    let mut answered = 0;
    while let Some(mut stream) = super::accept(listener, stop) {
        let Some(session) = log.lock().unwrap().session.clone() else { continue };
        let text = match session.encrypted_rtsp {
            true => read_sealed(&mut stream, &session.key),
            false => read_plain(&mut stream),
        };
        let first = text.lines().next().unwrap().to_owned();
        if first.starts_with("OPTIONS") {
            answered = 0;
        }
        answered += 1;
        let reply = reply(&first, &text, ports, log);
        let wire = match session.encrypted_rtsp {
            true => seal(&session.key, answered, reply.as_bytes()),
            false => reply.into_bytes(),
        };
        log.lock().unwrap().rtsp.push(first);
        stream.write_all(&wire).unwrap();
    }
}

fn reply(first: &str, text: &str, ports: Ports, log: &Mutex<Log>) -> String {
    let sequence = text.split("CSeq: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let head = format!("RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\n");
    let setup = |port: u16, extra: &str| {
        format!("{head}Session: T0KEN;timeout = 90\r\nTransport: server_port={port}\r\n{extra}\r\n\r\n")
    };
    let mut log = log.lock().unwrap();
    match first.split(' ').nth(1).unwrap() {
        "streamid=audio/0/0" => setup(ports.audio, &format!("X-SS-Ping-Payload: {PING}")),
        "streamid=video/0/0" => setup(ports.video, &format!("X-SS-Ping-Payload: {PING}")),
        "streamid=control/13/0" if first.starts_with("SETUP") => {
            setup(ports.control, &format!("X-SS-Connect-Data: {CONNECT_DATA}"))
        }
        _ if first.starts_with("DESCRIBE") => {
            let supported = if log.encrypt_video { 7 } else { 5 };
            format!(
                "{head}\r\na=x-ss-general.featureFlags:3\na=x-ss-general.encryptionSupported:{supported}\n"
            )
        }
        _ if first.starts_with("ANNOUNCE") => {
            let value = |name: &str| -> u32 {
                let found = text.split(&format!("a={name}:")).nth(1);
                found.map_or(0, |rest| rest.split(' ').next().unwrap().parse().unwrap())
            };
            let enabled = value("x-ss-general.encryptionEnabled");
            log.announce = text.to_owned();
            let session = log.session.as_mut().unwrap();
            session.control_v2 = enabled & 1 != 0;
            session.video = enabled & 2 != 0;
            session.packet_size = value("x-nv-video[0].packetSize") as usize;
            format!("{head}\r\n")
        }
        _ => format!("{head}\r\n"),
    }
}

fn read_plain(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut byte = [0];
    while !text.ends_with("\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        text.push(byte[0] as char);
    }
    if let Some(rest) = text.split("Content-length: ").nth(1) {
        let length: usize = rest.split("\r\n").next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        text.push_str(std::str::from_utf8(&body).unwrap());
    }
    text
}

fn iv(sequence: u32, direction: u8) -> [u8; 12] {
    let mut iv = [0; 12];
    iv[..4].copy_from_slice(&sequence.to_le_bytes());
    iv[10..].copy_from_slice(&[direction, b'R']);
    iv
}

fn read_sealed(stream: &mut TcpStream, key: &[u8; 16]) -> String {
    let mut head = [0; 24];
    stream.read_exact(&mut head).unwrap();
    let length = u32::from_be_bytes([head[0] & 0x7f, head[1], head[2], head[3]]) as usize;
    let sequence = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    body.extend_from_slice(&head[8..]);
    let nonce = iv(sequence, b'C');
    let plain = Aes128Gcm::new(key.into()).decrypt(Nonce::from_slice(&nonce), body.as_slice()).unwrap();
    String::from_utf8(plain).unwrap()
}

fn seal(key: &[u8; 16], sequence: u32, plain: &[u8]) -> Vec<u8> {
    let nonce = iv(sequence, b'H');
    let sealed = Aes128Gcm::new(key.into()).encrypt(Nonce::from_slice(&nonce), plain).unwrap();
    let (body, tag) = sealed.split_at(plain.len());
    let length = 0x8000_0000 | plain.len() as u32;
    [&length.to_be_bytes()[..], &sequence.to_be_bytes(), tag, body].concat()
}
