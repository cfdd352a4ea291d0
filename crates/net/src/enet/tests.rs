//! The control host against a stock ENet peer on a simulated network with a made-up clock.

use super::*;
use rusty_enet::PacketKind;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// A small, seeded generator: the simulation must repeat itself.
pub(super) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}

/// What the network does to datagrams, in percent.
#[derive(Clone, Copy)]
pub(super) struct Weather {
    loss: u64,
    reorder: u64,
    duplicate: u64,
}

pub(super) const CALM: Weather = Weather { loss: 0, reorder: 0, duplicate: 0 };
pub(super) const STORM: Weather = Weather { loss: 10, reorder: 10, duplicate: 2 };

pub(super) type Stock = Host<ReadWrite<SocketAddr, Infallible>>;

/// A client as the protocol text describes it: 48 channels, MTU 900, timeouts 2/10000/10000.
pub(super) struct Client {
    pub(super) enet: Stock,
    pub(super) clock: Arc<AtomicU64>,
    pub(super) address: SocketAddr,
    pub(super) alive: bool,
    pub(super) connected: bool,
    pub(super) disconnected: Option<u32>,
    pub(super) received: Vec<Vec<u8>>,
}

impl Client {
    fn new(address: &str, connect_data: u32, seed: u32, now: Timestamp) -> Self {
        let clock = Arc::new(AtomicU64::new(millis(now)));
        let theirs = clock.clone();
        let settings = HostSettings {
            peer_limit: 1,
            channel_limit: CHANNELS,
            time: Box::new(move || Duration::from_millis(theirs.load(Ordering::Relaxed))),
            seed: Some(seed),
            ..Default::default()
        };
        let mut enet = Host::new(ReadWrite::new(), settings).expect("valid settings");
        enet.set_mtu(900).expect("valid");
        let peer = enet.connect(server(), CHANNELS, connect_data).expect("a free slot");
        peer.set_timeout(2, 10_000, 10_000);
        Self {
            enet,
            clock,
            address: address.parse().expect("address"),
            alive: true,
            connected: false,
            disconnected: None,
            received: Vec::new(),
        }
    }

    fn service(&mut self, now: Timestamp) {
        self.clock.store(millis(now), Ordering::Relaxed);
        loop {
            match self.enet.service() {
                Ok(Some(Event::Connect { peer, .. })) => {
                    peer.set_timeout(2, 10_000, 10_000);
                    self.connected = true;
                }
                Ok(Some(Event::Disconnect { data, .. })) => self.disconnected = Some(data),
                Ok(Some(Event::Receive { packet, .. })) => self.received.push(packet.data().to_vec()),
                Ok(None) => break,
                Err(never) => match never {},
            }
        }
        self.enet.flush();
    }

    fn send(&mut self, channel: u8, bytes: &[u8], kind: PacketKind) {
        self.enet.peer_mut(PeerID(0)).send(channel, &Packet::new(bytes, kind)).expect("connected");
    }

    fn reliable(&mut self, channel: u8, bytes: &[u8]) {
        self.send(channel, bytes, PacketKind::Reliable);
    }
}

fn server() -> SocketAddr {
    "192.0.2.1:47999".parse().expect("address")
}

fn start() -> Timestamp {
    Timestamp::from_nanos(77_000_000_000)
}

/// A message as long as the shortest real one, numbered.
fn message(number: u32) -> Vec<u8> {
    let mut bytes = vec![0x5a; MIN];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    bytes
}

const MIN: usize = screen::MIN_MESSAGE;

fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// A datagram under way.
pub(super) struct Flight {
    pub(super) to_host: bool,
    client: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

pub(super) struct Net {
    pub(super) host: ControlHost,
    pub(super) clients: Vec<Client>,
    pub(super) now: Timestamp,
    pub(super) weather: Weather,
    pub(super) random: Random,
    pub(super) flights: BTreeMap<(Timestamp, u64), Flight>,
    pub(super) count: u64,
    pub(super) events: Vec<ControlEvent>,
    /// Play the owner that decrypts: confirm whoever asks.
    pub(super) confirm: bool,
}

impl Net {
    pub(super) fn new(weather: Weather, seed: u64) -> Self {
        Self {
            host: ControlHost::new(ControlConfig::default(), start()),
            clients: Vec::new(),
            now: start(),
            weather,
            random: Random(seed),
            flights: BTreeMap::new(),
            count: 0,
            events: Vec::new(),
            confirm: false,
        }
    }

    pub(super) fn client(&mut self, address: &str, data: u32) -> usize {
        let seed = self.random.next() as u32 | 1;
        self.clients.push(Client::new(address, data, seed, self.now));
        self.clients.len() - 1
    }

    /// A connected client and its key.
    pub(super) fn connect(&mut self, address: &str, data: u32) -> (usize, PeerKey) {
        self.host.expect(data);
        let client = self.client(address, data);
        let before = self.events.len();
        self.run_until(Duration::from_secs(8), |net| {
            net.clients[client].connected && net.events[before..].iter().any(is_connected)
        });
        let peer = self.events[before..].iter().find_map(|event| match event {
            ControlEvent::Connected { peer, .. } => Some(*peer),
            _ => None,
        });
        (client, peer.expect("connected"))
    }

    fn put(&mut self, to_host: bool, client: SocketAddr, bytes: &[u8]) {
        if self.random.percent(self.weather.loss) {
            return;
        }
        for _ in 0..1 + u32::from(self.random.percent(self.weather.duplicate)) {
            let mut delay = 2_000;
            if self.random.percent(self.weather.reorder) {
                delay += 5_000 + self.random.next() % 25_000;
            }
            self.count += 1;
            let at = self.now + Duration::from_micros(delay);
            self.flights.insert((at, self.count), Flight { to_host, client, bytes: bytes.to_vec() });
        }
    }

    fn step(&mut self) {
        self.now = self.now + Duration::from_millis(1);
        while let Some((&key, _)) = self.flights.first_key_value().filter(|((at, _), _)| *at <= self.now) {
            let flight = self.flights.remove(&key).expect("just seen");
            if flight.to_host {
                self.host.datagram(Path::to(flight.client), &flight.bytes, self.now);
                self.drain_host();
            } else if let Some(client) =
                self.clients.iter_mut().find(|c| c.address == flight.client && c.alive)
            {
                client.enet.socket_mut().write(server(), flight.bytes);
            }
        }
        self.host.tick(self.now);
        self.drain_host();
        for index in 0..self.clients.len() {
            if !self.clients[index].alive {
                continue;
            }
            self.clients[index].service(self.now);
            let address = self.clients[index].address;
            while let Some((_, bytes)) = self.clients[index].enet.socket_mut().read() {
                self.put(true, address, &bytes);
            }
        }
    }

    pub(super) fn drain_host(&mut self) {
        loop {
            while let Some(Transmit { path, bytes }) = self.host.poll_transmit() {
                self.put(false, path.remote, &bytes);
            }
            let Some(event) = self.host.poll_event() else { break };
            if let ControlEvent::Roaming { peer, path, .. } = &event
                && self.confirm
            {
                assert!(self.host.confirm(*peer, *path));
            }
            self.events.push(event);
        }
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&Net) -> bool) {
        let end = self.now + limit;
        while !done(self) {
            assert!(self.now < end, "not within {limit:?}; events {:?}", self.events);
            self.step();
        }
    }

    fn messages(&self) -> Vec<Vec<u8>> {
        let bytes = |event: &ControlEvent| match event {
            ControlEvent::Message { bytes, .. } => Some(bytes.clone()),
            _ => None,
        };
        self.events.iter().filter_map(bytes).collect()
    }

    fn disconnects(&self) -> Vec<(PeerKey, DisconnectReason)> {
        let found = |event: &ControlEvent| match event {
            ControlEvent::Disconnected { peer, reason } => Some((*peer, *reason)),
            _ => None,
        };
        self.events.iter().filter_map(found).collect()
    }
}

fn is_connected(event: &ControlEvent) -> bool {
    matches!(event, ControlEvent::Connected { .. })
}

#[test]
fn a_client_connects_with_its_data_and_messages_flow_both_ways() {
    let mut net = Net::new(CALM, 1);
    let (client, peer) = net.connect("198.51.100.7:5000", 0xdead_beef);
    let path = Path::to("198.51.100.7:5000".parse().expect("address"));
    let expected = ControlEvent::Connected { peer, connect_data: 0xdead_beef, path, replaces: None };
    assert_eq!(net.events, [expected]);
    net.clients[client].reliable(1, &message(1));
    net.host.send(peer, b"feedback").expect("connected");
    net.run_until(Duration::from_secs(1), |net| {
        net.messages().len() == 1 && net.clients[client].received.len() == 1
    });
    assert_eq!(net.messages(), [message(1)]);
    assert_eq!(net.clients[client].received, [b"feedback".to_vec()]);
    assert_eq!(net.host.stats(), ControlStats::default(), "nothing of a stock client is refused");
    assert!(net.host.round_trip(peer).expect("connected").mean < Duration::from_millis(500));
}

#[test]
fn strangers_take_no_slot_and_get_no_answer() {
    let mut net = Net::new(CALM, 2);
    net.host.expect(5);
    net.host.expect(0);
    let wrong = net.client("198.51.100.7:5000", 6);
    let none = net.client("198.51.100.8:5000", 0);
    net.run(Duration::from_secs(3));
    assert!(!net.clients[wrong].connected && !net.clients[none].connected);
    assert_eq!((net.host.slots_in_use(), net.events.len()), (0, 0));
    assert!(net.host.stats().refused_connects >= 4, "{:?}", net.host.stats());
    net.host.expect_address("::ffff:198.51.100.8".parse().expect("address"));
    net.run_until(Duration::from_secs(8), |net| {
        net.clients[none].connected && net.events.iter().any(is_connected)
    });
    assert!(!net.clients[wrong].connected);
}

#[test]
fn reliable_messages_keep_their_order_on_all_channels_in_bad_weather() {
    let mut net = Net::new(STORM, 3);
    let (client, peer) = net.connect("198.51.100.7:5000", 9);
    for round in 0..30u32 {
        for channel in 0..CHANNELS as u32 {
            net.clients[client].reliable(channel as u8, &message(channel << 16 | round));
        }
        net.host.send(peer, &round.to_le_bytes()).expect("connected");
        net.run(Duration::from_millis(20));
    }
    net.run_until(Duration::from_secs(30), |net| {
        net.messages().len() == 30 * CHANNELS && net.clients[client].received.len() == 30
    });
    for channel in 0..CHANNELS as u32 {
        let rounds: Vec<_> = net
            .messages()
            .iter()
            .map(|m| number(m))
            .filter(|n| n >> 16 == channel)
            .map(|n| n & 0xffff)
            .collect();
        assert_eq!(rounds, (0..30).collect::<Vec<_>>(), "channel {channel}");
    }
    let feedback: Vec<_> = net.clients[client].received.iter().map(|bytes| number(bytes)).collect();
    assert_eq!(feedback, (0..30).collect::<Vec<_>>());
    assert_eq!(net.host.stats().refused_datagrams, 0);
}

#[test]
fn unreliable_between_reliable_and_three_thousand_unsequenced() {
    let mut net = Net::new(CALM, 4);
    let (client, _) = net.connect("198.51.100.7:5000", 9);
    for pair in 0..100u32 {
        net.clients[client].reliable(5, &message(2 * pair));
        net.clients[client].send(5, &message(2 * pair + 1), PacketKind::Unreliable { sequenced: true });
        net.run(Duration::from_millis(4));
    }
    net.run(Duration::from_millis(200));
    assert_eq!(net.messages().len(), 200);
    net.events.clear();
    for report in 0..3000u32 {
        net.clients[client].send(0, &message(report), PacketKind::Unreliable { sequenced: false });
        net.run(Duration::from_millis(1));
    }
    net.run(Duration::from_millis(200));
    assert_eq!(net.messages().len(), 3000);
}

#[test]
fn a_silent_client_is_dead_after_ten_seconds() {
    let mut net = Net::new(CALM, 5);
    let (client, peer) = net.connect("198.51.100.7:5000", 9);
    net.run(Duration::from_secs(2));
    net.clients[client].reliable(0, &message(1));
    net.run(Duration::from_millis(5));
    assert_eq!(net.messages(), [message(1)]);
    net.clients[client].alive = false;
    let died = net.now;
    net.run_until(Duration::from_secs(12), |net| !net.disconnects().is_empty());
    assert_eq!(net.disconnects(), [(peer, DisconnectReason::TimedOut)]);
    let took = net.now.since(died);
    assert!(took >= Duration::from_millis(9_990) && took <= Duration::from_secs(11), "{took:?}");
    assert_eq!(net.host.slots_in_use(), 0);
    assert_eq!(net.host.send(peer, b"x"), Err(ControlSendError::Gone(peer)));
    assert_eq!(net.host.next_tick(net.now), None);
}

#[test]
fn an_idle_connection_stays() {
    let mut net = Net::new(STORM, 6);
    net.connect("198.51.100.7:5000", 9);
    net.run(Duration::from_secs(60));
    assert_eq!(net.disconnects(), []);
}

#[test]
fn the_clients_disconnect_is_told_with_its_data() {
    let mut net = Net::new(STORM, 7);
    let (client, peer) = net.connect("198.51.100.7:5000", 9);
    net.clients[client].reliable(0, &message(1));
    net.clients[client].enet.peer_mut(PeerID(0)).disconnect_later(42);
    net.run_until(Duration::from_secs(5), |net| !net.disconnects().is_empty());
    assert_eq!(net.messages(), [message(1)]);
    assert_eq!(net.disconnects(), [(peer, DisconnectReason::ByPeer { data: 42 })]);
    net.run_until(Duration::from_secs(20), |net| net.clients[client].disconnected.is_some());
}

#[test]
fn closing_delivers_what_is_queued_and_then_the_data() {
    let mut net = Net::new(STORM, 8);
    let (client, peer) = net.connect("198.51.100.7:5000", 9);
    for round in 0..20u32 {
        net.host.send(peer, &round.to_le_bytes()).expect("connected");
    }
    net.host.close(peer, 7);
    assert_eq!(net.host.send(peer, b"late"), Err(ControlSendError::Gone(peer)));
    net.run_until(Duration::from_secs(3), |net| !net.disconnects().is_empty());
    assert_eq!(net.disconnects(), [(peer, DisconnectReason::Closed)]);
    assert_eq!(net.clients[client].received.len(), 20);
    assert_eq!(net.clients[client].disconnected, Some(7));
}

#[test]
fn closing_ends_after_two_seconds_without_an_answer() {
    let mut net = Net::new(CALM, 9);
    let (client, peer) = net.connect("198.51.100.7:5000", 9);
    net.clients[client].alive = false;
    net.host.close(peer, 7);
    let asked = net.now;
    net.run_until(Duration::from_secs(3), |net| !net.disconnects().is_empty());
    assert!(net.now.since(asked) >= Duration::from_secs(2));
    assert_eq!((net.disconnects(), net.host.slots_in_use()), (vec![(peer, DisconnectReason::Closed)], 0));
}

#[test]
fn a_reconnect_from_the_same_address_replaces_the_lingering_peer() {
    let mut net = Net::new(STORM, 10);
    let (old, old_peer) = net.connect("198.51.100.7:5000", 9);
    net.clients[old].alive = false;
    net.clients.clear();
    let (new, new_peer) = net.connect("198.51.100.7:5000", 9);
    assert_ne!(old_peer, new_peer);
    assert!(
        matches!(net.events.last(), Some(ControlEvent::Connected { replaces: Some(replaced), .. }) if *replaced == old_peer)
    );
    net.clients[new].reliable(0, &message(3));
    net.run_until(Duration::from_secs(3), |net| net.messages() == [message(3)]);
    net.run(Duration::from_secs(12));
    assert_eq!((net.disconnects(), net.host.slots_in_use()), (vec![], 1));
    assert_eq!(net.host.send(old_peer, b"x"), Err(ControlSendError::Gone(old_peer)));
}

#[test]
fn a_roaming_client_keeps_its_connection_once_it_is_confirmed() {
    let mut net = Net::new(STORM, 11);
    net.confirm = true;
    let (client, peer) = net.connect("198.51.100.7:5000", 9);
    net.clients[client].address = "203.0.113.99:6000".parse().expect("address");
    for round in 0..20u32 {
        net.clients[client].reliable(2, &message(round));
        net.host.send(peer, &round.to_le_bytes()).expect("connected");
        net.run(Duration::from_millis(100));
    }
    net.run_until(Duration::from_secs(10), |net| {
        net.messages().len() == 20 && net.clients[client].received.len() == 20
    });
    let order: Vec<_> = net.messages().iter().map(|m| number(m)).collect();
    assert_eq!(order, (0..20).collect::<Vec<_>>());
    assert_eq!(net.host.path(peer).map(|path| path.remote), Some(net.clients[client].address));
    assert_eq!(net.disconnects(), []);
}

#[test]
fn an_unconfirmed_address_neither_steers_replies_nor_reaches_enet() {
    let mut net = Net::new(CALM, 12);
    let (client, peer) = net.connect("198.51.100.7:5000", 9);
    let blind: SocketAddr = "203.0.113.66:1".parse().expect("address");
    let mut shown = 0;
    for session in 0..4u16 {
        let head = (0x8000 | session << 12).to_be_bytes();
        let mut disconnect = head.to_vec();
        disconnect.extend([0, 1, 0x44, 0xff, 0, 1, 0, 0, 0, 0]);
        let mut data = head.to_vec();
        data.extend([0, 1, 0x86, 0x00, 0, 1, 0, 28]);
        data.extend(message(666));
        for datagram in [disconnect, data] {
            net.host.datagram(Path::to(blind), &datagram, net.now);
            assert_eq!(net.host.poll_transmit(), None, "no answer to a stranger");
        }
        while let Some(event) = net.host.poll_event() {
            assert!(matches!(event, ControlEvent::Roaming { path, ref messages, .. }
                if path.remote == blind && messages == &[message(666)]));
            shown += 1;
        }
    }
    assert_eq!(shown, 1, "only with the right session bits");
    net.clients[client].reliable(0, &message(1));
    net.host.send(peer, b"still here").expect("connected");
    net.run_until(Duration::from_secs(1), |net| {
        net.messages() == [message(1)] && net.clients[client].received.len() == 1
    });
    for _ in 0..10_000 {
        let mut data = 0x8000u16.to_be_bytes().to_vec();
        data.extend([0, 1, 0x86, 0x00, 0, 1, 0, 28]);
        data.extend(message(666));
        for session in 0..4u8 {
            data[0] = 0x80 | session << 4;
            net.host.datagram(Path::to(blind), &data, net.now);
        }
    }
    let events = std::iter::from_fn(|| net.host.poll_event()).count();
    assert!(events <= 10, "a flood is looked at sparingly: {events}");
    assert!(net.host.stats().dropped_roaming > 9_000);
}

#[test]
fn half_open_connections_are_few_and_forgotten() {
    let mut net = Net::new(CALM, 13);
    net.host.expect(9);
    for port in 0..40u16 {
        // Real first datagrams from many ports, never followed up.
        let mut client = Client::new("198.51.100.7:1", 9, 1000 + u32::from(port), net.now);
        client.service(net.now);
        let (_, bytes) = client.enet.socket_mut().read().expect("a connect request");
        let from = SocketAddr::new("198.51.100.7".parse().expect("ip"), 2000 + port);
        net.host.datagram(Path::to(from), &bytes, net.now);
    }
    assert_eq!(net.host.slots_in_use(), HALF_OPEN_PER_ADDRESS);
    assert_eq!(net.host.stats().crowded_connects, 38);
    // Another address is not locked out meanwhile.
    net.connect("198.51.100.8:5000", 9);
    net.run_until(Duration::from_secs(5), |net| net.host.slots_in_use() == 1);
    assert_eq!(net.disconnects(), [], "a half-open connection was never announced");
}

#[test]
fn a_session_that_ended_during_the_handshake_is_not_announced() {
    let mut net = Net::new(CALM, 14);
    net.host.expect(9);
    net.client("198.51.100.7:5000", 9);
    net.run_until(Duration::from_secs(1), |net| net.host.slots_in_use() == 1);
    net.host.unexpect(9);
    net.run(Duration::from_secs(5));
    assert_eq!((net.events.len(), net.host.slots_in_use()), (0, 0));
}

#[test]
fn a_peer_that_does_not_listen_cannot_make_the_queue_grow() {
    let mut net = Net::new(CALM, 15);
    let (client, peer) = net.connect("198.51.100.7:5000", 9);
    net.clients[client].alive = false;
    let results: Vec<_> = (0..MAX_UNHEARD + 10).map(|_| net.host.send(peer, &[0; 40])).collect();
    assert!(results[..MAX_UNHEARD as usize - 1].iter().all(Result::is_ok));
    assert_eq!(results.last(), Some(&Err(ControlSendError::Backlog(peer))));
    assert_eq!(net.host.send(peer, &[0; MAX_MESSAGE + 1]), Err(ControlSendError::TooLong(MAX_MESSAGE + 1)));
}

#[test]
fn clock_jumps_lose_nothing() {
    let mut net = Net::new(CALM, 16);
    // 2³² ms after the clock's start is 5 s away.
    net.now = Timestamp::from_nanos(((1u64 << 32) - 5_000) * 1_000_000);
    net.host = ControlHost::new(ControlConfig::default(), net.now);
    let (client, _) = net.connect("198.51.100.7:5000", 9);
    for round in 0..100u32 {
        net.clients[client].reliable(0, &message(round));
        net.run(Duration::from_millis(100));
    }
    assert_eq!(net.messages().len(), 100);
    assert_eq!(net.disconnects(), []);
}
