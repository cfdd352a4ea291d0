use super::*;
use std::net::UdpSocket;

fn run(link: &mut Link, count: u32) -> Vec<u32> {
    let mut out = Vec::new();
    for index in 0..count {
        let now = Time(u64::from(index) * 1_000_000);
        link.push(&index.to_be_bytes(), now);
        out.extend(drain(link, now));
    }
    out.extend(drain(link, Time(u64::MAX)));
    out
}

fn drain(link: &mut Link, now: Time) -> Vec<u32> {
    let datagrams = std::iter::from_fn(|| link.pop(now));
    datagrams.map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap())).collect()
}

#[test]
fn a_clean_link_keeps_everything_in_order() {
    let out = run(&mut Link::new(1, Impairment::default()), 1000);
    assert_eq!(out, (0..1000).collect::<Vec<_>>());
}

#[test]
fn the_same_seed_gives_the_same_network() {
    let rough = Profile::rough(7, 0.1).down;
    let first = run(&mut Link::new(7, rough), 5000);
    assert_eq!(first, run(&mut Link::new(7, rough), 5000));
    assert_ne!(first, run(&mut Link::new(8, rough), 5000));
}

#[test]
fn ten_per_cent_means_ten_per_cent() {
    let mut link = Link::new(3, Profile::rough(3, 0.1).down);
    let out = run(&mut link, 20_000);
    let statistics = link.statistics();
    assert_eq!(statistics.received, 20_000);
    for count in [statistics.dropped, statistics.duplicated, statistics.reordered] {
        assert!((1500..2500).contains(&count), "{statistics:?}");
    }
    assert_eq!(out.len() as u64, statistics.forwarded);
    assert!(out.windows(2).any(|pair| pair[1] < pair[0]), "nothing was overtaken");
}

#[test]
fn delay_rate_and_queue_act_on_virtual_time() {
    let delay = Duration::from_millis(20);
    // 1000 bytes at 8 Mbit/s take 1 ms.
    let limited =
        Impairment { delay, rate: Some(8_000_000), queue: Duration::from_millis(5), ..Impairment::default() };
    let mut link = Link::new(1, limited);
    for _ in 0..20 {
        link.push(&[0; 1000], Time(0));
    }
    assert_eq!(link.next_due(), Some(Time(21_000_000)));
    assert!(link.pop(Time(20_999_999)).is_none());
    assert!(link.pop(Time(21_000_000)).is_some());
    assert!(link.pop(Time(21_000_000)).is_none());
    assert_eq!(std::iter::from_fn(|| link.pop(Time(u64::MAX))).count(), 5);
    assert_eq!(link.statistics().dropped, 14);
}

#[test]
fn a_blackout_drops_all_and_ends() {
    let mut link = Link::new(1, Impairment::default());
    link.set(Impairment::default(), true);
    link.push(&[1], Time(0));
    link.set(Impairment::default(), false);
    link.push(&[2], Time(0));
    assert_eq!(link.pop(Time(0)), Some(vec![2]));
    assert_eq!(link.pop(Time(0)), None);
}

#[test]
fn the_relay_carries_both_directions_and_forgets_nothing() {
    let host = UdpSocket::bind("127.0.0.1:0").unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    for socket in [&host, &client] {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    }
    let relay = Relay::start(&[host.local_addr().unwrap()], Profile::default()).unwrap();
    let entrance = relay.entrances()[0];
    let mut buffer = [0; 64];
    for round in 0..10u8 {
        client.send_to(&[round], entrance).unwrap();
        let (length, from) = host.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], [round]);
        host.send_to(&[round, round], from).unwrap();
        let (length, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], from), (&[round, round][..], entrance));
    }
    // A client that moves to another port gets the answers there.
    let moved = UdpSocket::bind("127.0.0.1:0").unwrap();
    moved.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    moved.send_to(&[99], entrance).unwrap();
    let (_, from) = host.recv_from(&mut buffer).unwrap();
    host.send_to(&[100], from).unwrap();
    moved.recv_from(&mut buffer).unwrap();
    assert_eq!(buffer[0], 100);
    assert_eq!(relay.statistics().forwarded, 22);
}
