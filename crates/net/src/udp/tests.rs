use super::*;
use lumen_media::Timestamp;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

/// Long enough for any machine; a test that hangs fails here.
const PATIENCE: Duration = Duration::from_secs(20);

fn client(bind: &str, port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((bind, 0)).expect("loopback");
    socket.set_read_timeout(Some(PATIENCE)).expect("valid");
    socket.connect((bind, port)).expect("loopback");
    socket
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0u8; 2048];
    let length = socket.recv(&mut buffer).expect("a datagram in time");
    buffer[..length].to_vec()
}

fn collecting(port: &Arc<UdpPort>) -> (Reader, Receiver<(Path, Vec<u8>)>) {
    let (sender, receiver) = channel();
    let handler = move |path: Path, bytes: &[u8], _: Timestamp| {
        // The test may have ended.
        let _ = sender.send((path, bytes.to_vec()));
    };
    (Reader::spawn(port.clone(), "test-reader", handler).expect("a thread"), receiver)
}

#[test]
fn answers_leave_from_the_address_that_was_asked() {
    let port = Arc::new(UdpPort::bind(0).expect("some port"));
    let (_reader, arrived) = collecting(&port);
    // Connected sockets refuse answers from elsewhere, so both receive only if the source is right.
    for address in ["127.0.0.1", "127.0.0.2"] {
        let client = client("127.0.0.1", port.port());
        client.connect((address, port.port())).expect("loopback");
        client.send(b"ping").expect("sent");
        let (path, bytes) = arrived.recv_timeout(PATIENCE).expect("arrives");
        assert_eq!((path.remote, &bytes[..]), (client.local_addr().expect("bound"), &b"ping"[..]));
        assert_eq!(path.local, Some(address.parse().expect("address")));
        port.send(&path, b"pong").expect("sent");
        assert_eq!(receive(&client), b"pong");
    }
}

#[test]
fn ipv6_and_ipv4_share_the_port() {
    let port = Arc::new(UdpPort::bind(0).expect("some port"));
    if !port.ipv6() || UdpSocket::bind("[::1]:0").is_err() {
        eprintln!("left out: this machine has no IPv6 loopback");
        return;
    }
    let (_reader, arrived) = collecting(&port);
    let client = client("::1", port.port());
    client.send(b"six").expect("sent");
    let (path, _) = arrived.recv_timeout(PATIENCE).expect("arrives");
    assert_eq!(path.remote, client.local_addr().expect("bound"));
    assert_eq!(path.local, Some("::1".parse().expect("address")));
    let run: Vec<u8> = (0..3000u32).map(|i| i as u8).collect();
    assert_eq!(port.send_run(&path, &run, 1000).lost, 0);
    for part in run.chunks(1000) {
        assert_eq!(receive(&client), part);
    }
}

#[test]
fn a_run_arrives_as_equal_datagrams_with_and_without_gso() {
    for gso in [true, false] {
        let mut port = UdpPort::bind(0).expect("some port");
        if !gso {
            port.runs = Runs::new(port.port(), 1);
        }
        let client = client("127.0.0.1", port.port());
        let path = Path::to(client.local_addr().expect("bound"));
        let run: Vec<u8> = (0..1408 * 20 + 100).map(|i| (i / 1408) as u8).collect();
        let report = port.send_run(&path, &run, 1408);
        assert_eq!(report.lost, 0);
        if !gso {
            assert_eq!(report.calls, 21);
        } else if port.gso() {
            assert_eq!(report.calls, 1, "the kernel takes the run in one call");
        }
        for part in run.chunks(1408) {
            assert_eq!(receive(&client), part);
        }
    }
}

#[test]
fn a_datagram_that_cannot_leave_does_not_end_runs() {
    let port = UdpPort::bind(0).expect("some port");
    let client = client("127.0.0.1", port.port());
    let path = Path::to(client.local_addr().expect("bound"));
    let offered = port.gso();
    // From an address that this machine does not have: the kernel refuses datagrams and runs alike.
    let gone = Path { local: Some("192.0.2.123".parse().expect("address")), ..path };
    port.send(&gone, b"x").expect_err("not our address");
    for _ in 0..5 {
        assert_eq!(port.send_run(&gone, &[0; 3000], 1000), RunReport { calls: 0, lost: 3 });
    }
    assert_eq!(port.gso(), offered);
    let run: Vec<u8> = (0..3000u32).map(|i| i as u8).collect();
    let report = port.send_run(&path, &run, 1000);
    assert_eq!(report, RunReport { calls: if offered { 1 } else { 3 }, lost: 0 });
    for part in run.chunks(1000) {
        assert_eq!(receive(&client), part);
    }
}

#[test]
fn runs_longer_than_a_call_may_carry_are_split() {
    let port = UdpPort::bind(0).expect("some port");
    let client = client("127.0.0.1", port.port());
    let path = Path::to(client.local_addr().expect("bound"));
    let run = vec![7u8; 150 * 100];
    assert_eq!(port.send_run(&path, &run, 100).lost, 0);
    for _ in 0..150 {
        assert_eq!(receive(&client).len(), 100);
    }
    assert_eq!(port.send_run(&path, &run, 0), RunReport::default());
    assert_eq!(port.send_run(&path, &[], 100), RunReport::default());
}

#[test]
fn packets_above_the_mtu_are_fragmented_not_refused() {
    let port = UdpPort::bind(0).expect("some port");
    let v4 = sockopt::ip_mtu_discover(&port.socket).expect("an option of every UDP socket");
    assert_eq!(v4, sockopt::Ipv4PathMtuDiscovery::DONT);
    if port.ipv6() {
        let v6 = sockopt::ipv6_mtu_discover(&port.socket).expect("an option of every IPv6 socket");
        assert_eq!(v6, sockopt::Ipv6PathMtuDiscovery::DONT);
    }
    // Loopback carries it in one piece; what matters is that nothing on the way says "too large".
    let client = client("127.0.0.1", port.port());
    let path = Path::to(client.local_addr().expect("bound"));
    port.send(&path, &[1; 65_000]).expect("sent");
    let mut buffer = vec![0u8; 70_000];
    assert_eq!(client.recv(&mut buffer).expect("arrives"), 65_000);
}

#[test]
fn a_taken_port_is_named_with_its_holder() {
    let first = UdpPort::bind(0).expect("some port");
    match UdpPort::bind(first.port()) {
        Err(BindError::InUse { transport: Transport::Udp, port, holder: Some(holder) }) => {
            assert_eq!((port, holder.pid), (first.port(), std::process::id()));
        }
        other => panic!("expected the holder's name, got {other:?}"),
    }
}

#[test]
fn an_ipv4_only_port_refuses_ipv6_peers_with_an_error() {
    let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([0, 0, 0, 0], 0)).into()).expect("some port");
    let port = UdpPort::from_socket(socket).expect("a port");
    assert!(!port.ipv6());
    let path = Path::to("[::1]:9".parse().expect("address"));
    assert_eq!(port.send(&path, b"x").expect_err("no way there").kind(), io::ErrorKind::NetworkUnreachable);
    let client = client("127.0.0.1", port.port());
    port.send(&Path::to(client.local_addr().expect("bound")), b"four").expect("sent");
    assert_eq!(receive(&client), b"four");
}

/// Counts how often it is looked after; asks for a deadline some times.
struct Idle {
    calls: std::sync::mpsc::Sender<()>,
    timed: usize,
}

impl PortHandler for Idle {
    fn datagram(&mut self, _: Path, _: &[u8], _: Timestamp) {}

    fn idle(&mut self, now: Timestamp) -> Option<Timestamp> {
        // The test may have ended.
        let _ = self.calls.send(());
        self.timed = self.timed.checked_sub(1)?;
        Some(now + Duration::from_millis(1))
    }
}

#[test]
fn idle_comes_at_the_start_at_deadlines_and_when_woken_and_drop_ends_the_thread() {
    let port = Arc::new(UdpPort::bind(0).expect("some port"));
    let (calls, called) = channel();
    let reader = Reader::spawn(port.clone(), "test-idle", Idle { calls, timed: 3 }).expect("a thread");
    for _ in 0..4 {
        called.recv_timeout(PATIENCE).expect("the start and three deadlines");
    }
    assert!(called.try_recv().is_err(), "no deadline, no call");
    reader.wake();
    called.recv_timeout(PATIENCE).expect("woken");
    reader.waker().wake();
    called.recv_timeout(PATIENCE).expect("woken");
    let begun = clock::now();
    drop(reader);
    assert!(clock::now().since(begun) < PATIENCE);
    assert_eq!(Arc::strong_count(&port), 1, "the thread has let go of the port");
    assert_eq!(called.recv_timeout(PATIENCE), Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
}
