use super::*;
use std::io::{Read, Write};
use std::net::TcpStream as Client;

const PATIENCE: Duration = Duration::from_secs(20);

/// Answers a head that is complete with its length; closes on "bye".
fn handler(received: &[u8], ends: Ends) -> Progress {
    assert_eq!(ends.remote.ip(), ends.local, "loopback talks to itself, normalised");
    if received.starts_with(b"bye") {
        Progress::Close
    } else if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
        Progress::Reply(format!("RTSP/1.0 200 OK\r\nLength: {}\r\n\r\n", end + 4).into_bytes())
    } else {
        Progress::NeedMore
    }
}

struct Running {
    server: Option<RtspServer>,
    port: u16,
    runtime: tokio::runtime::Runtime,
}

impl Running {
    fn start(config: RtspConfig) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = crate::bind::tcp(0).expect("some port");
        let port = listener.local_addr().expect("bound").port();
        let entered = runtime.enter();
        let server = Some(RtspServer::spawn(listener, config, handler).expect("served"));
        drop(entered);
        Self { server, port, runtime }
    }

    fn connect(&self) -> Client {
        let client = Client::connect(("127.0.0.1", self.port)).expect("accepted");
        client.set_read_timeout(Some(PATIENCE)).expect("valid");
        client
    }

    fn stats(&self) -> &RtspStats {
        self.server.as_ref().expect("runs").stats()
    }
}

fn answer(client: &mut Client) -> String {
    let mut text = String::new();
    client.read_to_string(&mut text).expect("an answer and a FIN, no reset");
    text
}

/// Waits until `done`; panics when that takes too long.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let end = lumen_media::clock::now() + PATIENCE;
    while !done() {
        assert!(lumen_media::clock::now() < end, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_request_in_pieces_is_answered_and_closed_with_a_fin() {
    let running = Running::start(RtspConfig::default());
    let mut client = running.connect();
    client.set_nodelay(true).expect("valid");
    for piece in [&b"OPTIONS x RTSP/1.0\r"[..], b"\nCSeq: 1\r\n", b"\r", b"\n"] {
        client.write_all(piece).expect("taken");
    }
    assert_eq!(answer(&mut client), "RTSP/1.0 200 OK\r\nLength: 31\r\n\r\n");
    eventually("counted", || running.stats().answered() == 1);
}

#[test]
fn bytes_behind_the_request_do_not_reset_the_answer() {
    let running = Running::start(RtspConfig::default());
    for _ in 0..20 {
        let mut client = running.connect();
        client.write_all(b"OPTIONS x\r\n\r\n").expect("taken");
        client.write_all(&[b'x'; 20_000]).expect("taken");
        assert_eq!(answer(&mut client), "RTSP/1.0 200 OK\r\nLength: 13\r\n\r\n");
    }
}

#[test]
fn silent_probes_are_tolerated_and_closing_needs_no_answer() {
    let running = Running::start(RtspConfig::default());
    drop(running.connect());
    let mut closing = running.connect();
    closing.write_all(b"bye").expect("taken");
    assert_eq!(answer(&mut closing), "");
    let mut client = running.connect();
    client.write_all(b"a\r\n\r\n").expect("taken");
    assert!(answer(&mut client).starts_with("RTSP/1.0 200"));
    assert_eq!((running.stats().expired(), running.stats().refused()), (0, 0));
}

#[test]
fn slow_silent_and_oversized_clients_are_closed() {
    let config = RtspConfig {
        deadline: Duration::from_millis(300),
        idle: Duration::from_millis(100),
        max_request: 1000,
        ..RtspConfig::default()
    };
    let running = Running::start(config);
    let mut silent = running.connect();
    assert_eq!(silent.read(&mut [0; 10]).expect("closed with a FIN"), 0);
    let mut oversized = running.connect();
    oversized.write_all(&[b'x'; 1001]).expect("taken");
    let ended = oversized.read(&mut [0; 10]);
    assert!(matches!(ended, Ok(0) | Err(_)), "closed");
    let mut slow = running.connect();
    slow.set_nodelay(true).expect("valid");
    // A byte every few milliseconds is never idle, but the deadline holds.
    eventually("a slow client is closed", || {
        std::thread::sleep(Duration::from_millis(20));
        slow.write_all(b"x").is_err()
    });
    eventually("all three counted", || running.stats().expired() == 3);
}

#[test]
fn one_address_has_few_places_and_gives_them_back() {
    let config = RtspConfig { connections_per_address: 2, ..RtspConfig::default() };
    let running = Running::start(config);
    let held = [running.connect(), running.connect()];
    let mut third = running.connect();
    assert!(matches!(third.read(&mut [0; 10]), Ok(0) | Err(_)), "closed at once");
    assert_eq!(running.stats().refused(), 1);
    drop(held);
    eventually("places return", || {
        let mut client = running.connect();
        let mut text = String::new();
        client.write_all(b"a\r\n\r\n").is_ok() && client.read_to_string(&mut text).is_ok() && !text.is_empty()
    });
}

#[test]
fn one_network_of_ipv6_counts_as_one_address() {
    let config = RtspConfig { connections_per_address: 2, ..RtspConfig::default() };
    let shared = Arc::new(Shared { config, handler, stats: Arc::default(), open: Mutex::default() });
    let take = |text: &str| Place::take(&shared, text.parse().expect("an address"));
    let held = [take("2001:db8:0:1::1"), take("2001:db8:0:1:ffff::2")];
    assert!(held.iter().all(Option::is_some));
    assert!(take("2001:db8:0:1::3").is_none(), "the same /64");
    assert!(take("2001:db8:0:2::1").is_some(), "the next /64");
    let others = [take("192.0.2.1"), take("192.0.2.2"), take("192.0.2.1")];
    assert!(others.iter().all(Option::is_some), "IPv4 addresses count one by one");
    drop((held, others));
    assert!(shared.open.lock().expect("whole").is_empty(), "nothing is remembered of who left");
}

#[test]
fn dropping_the_server_closes_the_port_and_its_connections() {
    let mut running = Running::start(RtspConfig::default());
    let mut open = running.connect();
    open.write_all(b"half a request").expect("taken");
    running.server = None;
    assert!(matches!(open.read(&mut [0; 10]), Ok(0) | Err(_)), "closed");
    eventually("the port is free", || crate::bind::tcp(running.port).is_ok());
    drop(running.runtime);
}
