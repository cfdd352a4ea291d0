//! Control, video and audio ports of the test host (protocol text §6, §8).
use std::net::{SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusty_enet::{Event, Host, HostSettings, Packet};

use super::Log;
use crate::clock;
use crate::control::{Cipher, CipherMode, Direction};
use crate::video::reference::Packetizer;
use crate::video::tests::{key_picture, predicted_picture};

const FRAME_INTERVAL: Duration = Duration::from_millis(10);

struct Stream {
    cipher: Cipher,
    sequence: u32,
    packetizer: Packetizer,
    wants_idr: bool,
    connected: Option<rusty_enet::PeerID>,
    peer: Option<SocketAddr>,
}

pub fn run(video: UdpSocket, control: UdpSocket, audio: UdpSocket, log: &Mutex<Log>, stop: &AtomicBool) {
    video.set_nonblocking(true).unwrap();
    audio.set_nonblocking(true).unwrap();
    let settings = HostSettings {
        peer_limit: 4,
        channel_limit: 48,
        time: Box::new(|| Duration::from_nanos(clock::now().nanos())),
        ..HostSettings::default()
    };
    let mut enet = Host::new(control, settings).unwrap();
    let mut stream: Option<Stream> = None;
    let mut next_frame = clock::now();
    while !stop.load(Ordering::Relaxed) {
        serve_control(&mut enet, &mut stream, log);
        let mut buffer = [0; 64];
        while let Ok((length, _)) = audio.recv_from(&mut buffer) {
            log.lock().unwrap().audio_pings.push(buffer[..length].to_vec());
        }
        while let Ok((length, from)) = video.recv_from(&mut buffer) {
            let mut log = log.lock().unwrap();
            log.video_pings.push(buffer[..length].to_vec());
            log.video_peers.push(from);
            if let Some(stream) = &mut stream {
                stream.peer = Some(from);
            }
        }
        if clock::now() >= next_frame {
            next_frame = clock::now() + FRAME_INTERVAL;
            send_frame(&video, &mut stream, log);
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

fn serve_control(enet: &mut Host<UdpSocket>, stream: &mut Option<Stream>, log: &Mutex<Log>) {
    while let Some(event) = enet.service().unwrap() {
        let mut log = log.lock().unwrap();
        match event {
            Event::Connect { peer, data } => {
                log.connects.push(data);
                let session = log.session.clone().unwrap();
                let mode = if session.control_v2 { CipherMode::V2 } else { CipherMode::Legacy };
                let mut packetizer = Packetizer::new(session.packet_size);
                packetizer.key = session.video.then_some(session.key);
                *stream = Some(Stream {
                    cipher: Cipher::new(mode, &session.key),
                    sequence: 0,
                    packetizer,
                    wants_idr: true,
                    connected: Some(peer.id()),
                    peer: None,
                });
            }
            Event::Disconnect { .. } => {
                log.disconnects += 1;
                *stream = None;
            }
            Event::Receive { channel_id, packet, .. } => {
                let Some(stream) = stream else { continue };
                let (_, kind, payload) = stream.cipher.open(Direction::ClientToHost, packet.data()).unwrap();
                stream.wants_idr |= kind == 0x0302;
                log.control.push((channel_id, kind, payload));
            }
        }
    }
    if let Some(Stream { cipher, sequence, connected: Some(peer), .. }) = stream {
        for (kind, payload) in std::mem::take(&mut log.lock().unwrap().to_client) {
            let frame = cipher.seal(Direction::HostToClient, *sequence, kind, &payload);
            *sequence += 1;
            enet.peer_mut(*peer).send(0, &Packet::reliable(frame.as_slice())).unwrap();
        }
    }
    enet.flush();
}

fn send_frame(socket: &UdpSocket, stream: &mut Option<Stream>, log: &Mutex<Log>) {
    if log.lock().unwrap().silent_video {
        return;
    }
    let Some(Stream { peer: Some(peer), packetizer, wants_idr, .. }) = stream else { return };
    let (data, kind) = match std::mem::take(wants_idr) {
        true => (key_picture(20_000), 2),
        false => (predicted_picture(6_000), 1),
    };
    let timestamp = (clock::now().nanos() / 100_000 * 9) as u32;
    for datagram in packetizer.frame(&data, kind, 5, timestamp) {
        // A client that has gone is no failure of the host.
        socket.send_to(&datagram, *peer).ok();
    }
}
