//! A host in miniature for the tests of the whole client, written from the protocol text like everything here: one
//! app, one session, dummy pictures. It is no model for a real host: it trusts its input.
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::client::HostAddress;
use crate::identity::Identity;

mod http;
mod media;
mod rtsp;

/// What the host saw and what it shall do.
#[derive(Debug, Default)]
pub struct Log {
    /// Paths of HTTP requests, with the query.
    pub requests: Vec<String>,
    /// Certificates of paired clients.
    pub paired: Vec<Vec<u8>>,
    /// Session key, key id, corever given.
    pub session: Option<Session>,
    /// First lines of RTSP requests.
    pub rtsp: Vec<String>,
    /// ENet connect data.
    pub connects: Vec<u32>,
    /// Channel, type, payload of control messages.
    pub control: Vec<(u8, u16, Vec<u8>)>,
    /// ENet disconnects seen.
    pub disconnects: usize,
    /// Pings on the video and audio port.
    pub video_pings: Vec<Vec<u8>>,
    pub audio_pings: Vec<Vec<u8>>,
    /// Addresses that video pings came from.
    pub video_peers: Vec<SocketAddr>,
    /// Messages to send to the client, sealed by the control thread.
    pub to_client: Vec<(u16, Vec<u8>)>,
    /// Forget the session's peers, as after a restart of the stream.
    pub encrypt_video: bool,
    pub silent_video: bool,
    pub announce: String,
}

#[derive(Debug, Clone)]
pub struct Session {
    pub key: [u8; 16],
    pub encrypted_rtsp: bool,
    pub control_v2: bool,
    pub video: bool,
    pub packet_size: usize,
}

pub struct TestHost {
    pub address: HostAddress,
    pub log: Arc<Mutex<Log>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Ports that the pieces tell each other.
#[derive(Debug, Clone, Copy)]
struct Ports {
    https: u16,
    rtsp: u16,
    video: u16,
    control: u16,
    audio: u16,
}

pub const PING: &str = "0123456789abcdef";
pub const CONNECT_DATA: u32 = 0xcafe_f00d;

impl TestHost {
    /// Starts it; `pin` is what the user types in.
    pub fn start(pin: &'static str) -> TestHost {
        let tcp = || TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (http, https, rtsp) = (tcp(), tcp(), tcp());
        let (video, control, audio) = (udp(), udp(), udp());
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let udp_port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
        let ports = Ports {
            https: port(&https),
            rtsp: port(&rtsp),
            video: udp_port(&video),
            control: udp_port(&control),
            audio: udp_port(&audio),
        };
        let address = HostAddress { ip: "127.0.0.1".parse().unwrap(), http_port: port(&http) };
        let log = Arc::new(Mutex::new(Log::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let host = Identity::test_key(1);
        let web = http::Web::new(host, pin, ports, Arc::clone(&log));
        let mut threads = Vec::new();
        for (listener, secure) in [(http, false), (https, true)] {
            let (web, stop) = (web.clone(), Arc::clone(&stop));
            threads.push(std::thread::spawn(move || web.run(&listener, secure, &stop)));
        }
        let (rtsp_log, rtsp_stop) = (Arc::clone(&log), Arc::clone(&stop));
        threads.push(std::thread::spawn(move || rtsp::run(&rtsp, ports, &rtsp_log, &rtsp_stop)));
        let (media_log, media_stop) = (Arc::clone(&log), Arc::clone(&stop));
        threads.push(std::thread::spawn(move || media::run(video, control, audio, &media_log, &media_stop)));
        TestHost { address, log, stop, threads }
    }

    /// Waits until the log satisfies the condition.
    pub fn wait(&self, what: &str, mut holds: impl FnMut(&Log) -> bool) {
        let deadline = crate::clock::now() + std::time::Duration::from_secs(15);
        while !holds(&self.log.lock().unwrap()) {
            assert!(crate::clock::now() < deadline, "the host never saw: {what}");
            std::thread::park_timeout(std::time::Duration::from_millis(2));
        }
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() && !std::thread::panicking() {
                panic!("a thread of the test host panicked");
            }
        }
    }
}

/// The next connection, `None` once the host stops.
fn accept(listener: &TcpListener, stop: &AtomicBool) -> Option<std::net::TcpStream> {
    listener.set_nonblocking(true).unwrap();
    while !stop.load(Ordering::Relaxed) {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false).unwrap();
            stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
            return Some(stream);
        }
        std::thread::park_timeout(std::time::Duration::from_millis(1));
    }
    None
}
