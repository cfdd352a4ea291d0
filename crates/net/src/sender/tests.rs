use super::*;
use std::net::UdpSocket;

const PATIENCE: Duration = Duration::from_secs(20);

fn receiver() -> (UdpSocket, Path) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    socket.set_read_timeout(Some(PATIENCE)).expect("valid");
    let path = Path::to(socket.local_addr().expect("bound"));
    (socket, path)
}

fn sender(interval: Duration) -> FrameSender {
    let port = Arc::new(UdpPort::bind(0).expect("some port"));
    FrameSender::new(port, PacerConfig::default(), interval)
}

fn packets(count: usize, bytes: usize) -> Vec<u8> {
    (0..count * bytes).map(|at| (at / bytes) as u8).collect()
}

#[test]
fn a_frame_arrives_whole_in_order_and_is_counted() {
    let (socket, path) = receiver();
    let mut sender = sender(Duration::from_millis(16));
    let report = sender.send_frame(&packets(38, 1408), &Destination { path, packet_bytes: 1408 });
    assert_eq!((report.packets, report.lost), (38, 0));
    // Two gaps of 16 packets at the floor of 250 Mbit/s lie between the first and the last group.
    assert!(report.done.since(report.ready) >= Duration::from_micros(1400), "paced, not a burst");
    let mut buffer = [0u8; 2048];
    for number in 0..38 {
        assert_eq!(socket.recv(&mut buffer).expect("arrives"), 1408);
        assert_eq!(buffer[0], number);
    }
    let counts = sender.stats().counts();
    assert_eq!((counts.frames, counts.packets, counts.bytes, counts.lost), (1, 38, 38 * 1408, 0));
}

#[test]
fn packets_that_cannot_leave_are_counted_and_the_stream_goes_on() {
    let (socket, good) = receiver();
    let mut sender = sender(Duration::from_millis(16));
    // The source address belongs to nobody here.
    let bad = Path { local: Some("192.0.2.77".parse().expect("address")), ..good };
    let report = sender.send_frame(&packets(20, 600), &Destination { path: bad, packet_bytes: 600 });
    assert_eq!((report.packets, report.lost), (20, 20));
    let report = sender.send_frame(&packets(2, 600), &Destination { path: good, packet_bytes: 600 });
    assert_eq!(report.lost, 0);
    assert_eq!(socket.recv(&mut [0; 2048]).expect("arrives"), 600);
    assert_eq!(sender.stats().counts().lost, 20);
}

#[test]
fn a_backlog_beyond_one_interval_is_counted() {
    let (_socket, path) = receiver();
    let mut sender = FrameSender::new(
        Arc::new(UdpPort::bind(0).expect("some port")),
        PacerConfig { ceiling: 20_000_000, ..PacerConfig::default() },
        Duration::from_millis(1),
    );
    // One group takes 9 ms at this ceiling, nine intervals.
    for _ in 0..2 {
        sender.send_frame(&packets(16, 1408), &Destination { path, packet_bytes: 1408 });
    }
    assert_eq!(sender.stats().counts().backlogged, 1);
}

#[test]
fn sleeping_ends_after_the_deadline() {
    let deadline = clock::now() + Duration::from_millis(2);
    sleep_until(deadline);
    assert!(clock::now() >= deadline);
    sleep_until(Timestamp::from_nanos(0));
}
