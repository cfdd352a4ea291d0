//! Hostile and broken peers: whatever they do, slots return and the events of a connection make sense.

use super::tests::{CALM, Net, STORM};
use super::*;
use proptest::prelude::*;
use std::net::SocketAddr;

/// One thing that a hostile or broken peer may do.
#[derive(Clone, Debug)]
enum Op {
    Wait(u16),
    Connect {
        port: u8,
        data: u8,
    },
    Kill(u8),
    Leave(u8),
    Message {
        client: u8,
        channel: u8,
        length: u16,
    },
    Close(u8),
    Reset(u8),
    /// The last datagram of a client again, with one byte changed and perhaps cut, from some port.
    Mangle {
        port: u8,
        at: u16,
        value: u8,
        cut: u16,
    },
    Raw {
        port: u8,
        bytes: Vec<u8>,
    },
    Command {
        slot: u8,
        session: u8,
        number: u8,
        flags: u8,
        body: Vec<u8>,
    },
    Roam {
        client: u8,
        port: u8,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1u16..800).prop_map(Op::Wait),
        3 => (0u8..4, 1u8..4).prop_map(|(port, data)| Op::Connect { port, data }),
        1 => any::<u8>().prop_map(Op::Kill),
        1 => any::<u8>().prop_map(Op::Leave),
        3 => (any::<u8>(), 0u8..60, 0u16..600).prop_map(|(client, channel, length)| Op::Message { client, channel, length }),
        1 => any::<u8>().prop_map(Op::Close),
        1 => any::<u8>().prop_map(Op::Reset),
        3 => (0u8..4, any::<u16>(), any::<u8>(), any::<u16>())
            .prop_map(|(port, at, value, cut)| Op::Mangle { port, at, value, cut }),
        1 => (0u8..4, prop::collection::vec(any::<u8>(), 0..100)).prop_map(|(port, bytes)| Op::Raw { port, bytes }),
        3 => (0u8..4, 0u8..4, 0u8..16, 0u8..4, prop::collection::vec(prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 0..60))
            .prop_map(|(slot, session, number, flags, body)| Op::Command { slot, session, number, flags, body }),
        1 => (any::<u8>(), 0u8..4).prop_map(|(client, port)| Op::Roam { client, port }),
    ]
}

fn port_address(port: u8) -> SocketAddr {
    SocketAddr::new("198.51.100.7".parse().expect("ip"), 5000 + u16::from(port))
}

impl Net {
    fn apply(&mut self, op: Op, last: &mut Vec<u8>) {
        let clients = self.clients.len();
        let pick = |index: u8| usize::from(index) % clients.max(1);
        let known: Vec<PeerKey> = self
            .events
            .iter()
            .filter_map(|event| match event {
                ControlEvent::Connected { peer, .. } => Some(*peer),
                _ => None,
            })
            .collect();
        match op {
            Op::Wait(ms) => self.run(Duration::from_millis(ms.into())),
            Op::Connect { port, data } => {
                self.clients.retain(|client| client.address != port_address(port));
                self.client(&port_address(port).to_string(), data.into());
            }
            Op::Kill(client) if clients > 0 => self.clients[pick(client)].alive = false,
            Op::Leave(client) if clients > 0 => {
                self.clients[pick(client)].enet.peer_mut(PeerID(0)).disconnect_later(1);
            }
            Op::Message { client, channel, length } if clients > 0 => {
                let packet = Packet::reliable(vec![3; usize::from(length)]);
                // Refused before the connection stands, which is part of the game.
                let _ = self.clients[pick(client)].enet.peer_mut(PeerID(0)).send(channel, &packet);
            }
            Op::Close(peer) if !known.is_empty() => {
                self.host.close(known[usize::from(peer) % known.len()], 1)
            }
            Op::Reset(peer) if !known.is_empty() => self.host.reset(known[usize::from(peer) % known.len()]),
            Op::Mangle { port, at, value, cut } => {
                if let Some(flight) = self.flights.values().find(|flight| flight.to_host) {
                    last.clone_from(&flight.bytes);
                }
                let mut bytes = last.clone();
                if !bytes.is_empty() {
                    let len = bytes.len();
                    bytes[usize::from(at) % len] = value;
                    bytes.truncate(len - usize::from(cut) % len / 4);
                }
                self.host.datagram(Path::to(port_address(port)), &bytes, self.now);
            }
            Op::Raw { port, bytes } => self.host.datagram(Path::to(port_address(port)), &bytes, self.now),
            Op::Command { slot, session, number, flags, body } => {
                let mut bytes = vec![0x80 | session << 4, slot, 0, 1, number | flags << 6, 0, 0, 1];
                bytes.extend(body);
                self.host.datagram(Path::to(port_address(slot)), &bytes, self.now);
            }
            Op::Roam { client, port } if clients > 0 => {
                let index = pick(client);
                self.clients[index].address = port_address(port);
            }
            _ => {}
        }
        self.drain_host();
    }

    /// Every key is announced once, ends at most once, and speaks only in between.
    fn check_lives(&self) {
        let mut alive = HashSet::new();
        let mut seen = HashSet::new();
        for event in &self.events {
            match event {
                ControlEvent::Connected { peer, replaces, .. } => {
                    assert!(seen.insert(*peer), "announced twice");
                    if let Some(replaced) = replaces {
                        assert!(alive.remove(replaced), "replaced a connection that was gone");
                    }
                    alive.insert(*peer);
                }
                ControlEvent::Message { peer, .. } | ControlEvent::Roaming { peer, .. } => {
                    assert!(seen.contains(peer), "spoke before it was announced");
                }
                ControlEvent::Disconnected { peer, .. } => {
                    assert!(seen.contains(peer), "ended before it was announced");
                    alive.remove(peer);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn slots_always_return(ops in prop::collection::vec(op(), 1..60), seed in any::<u64>(), confirm: bool) {
        let mut net = Net::new(STORM, seed);
        net.confirm = confirm;
        for data in 1..4 {
            net.host.expect(data);
        }
        let mut last = Vec::new();
        for op in ops {
            net.apply(op, &mut last);
            net.check_lives();
        }
        net.clients.clear();
        // Half-open 3.5 s, connected 10 to 11 s, backed-off retransmissions a little more.
        net.run(Duration::from_secs(16));
        net.check_lives();
        prop_assert_eq!(net.host.slots_in_use(), 0);
        prop_assert_eq!(net.host.next_tick(net.now), None);
        for slot in 0..net.host.slots.len() {
            prop_assert_eq!(net.host.enet.peer(PeerID(slot)).state(), PeerState::Disconnected);
        }
        // And a fresh client gets in. In a calm network: ENet gives a handshake three attempts in 3.5 s.
        net.weather = CALM;
        net.connect("198.51.100.9:5000", 77);
    }
}
