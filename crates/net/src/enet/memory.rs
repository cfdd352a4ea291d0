//! What hostile peers can make the host hold, by count of bytes on the heap.

use super::tests::{CALM, Net};
use super::*;
use crate::sys::heap;
use proptest::prelude::*;
use std::net::SocketAddr;

/// What the host may hold for all peers together.
const BOUND: isize = 16 << 20;
/// What one call may add to that, its events and datagrams included.
const BOUND_OF_A_CALL: isize = 4 << 20;

const RELIABLE: u8 = 0x86;
const UNRELIABLE: u8 = 7;

/// All slots taken by clients that were let in and then turned hostile.
struct Siege {
    net: Net,
    peers: Vec<(PeerKey, SocketAddr)>,
    /// The most that a call added.
    call: isize,
}

impl Siege {
    fn new() -> Self {
        let mut net = Net::new(CALM, 21);
        let slots = net.host.slots.len();
        let mut peers = Vec::new();
        for client in 0..slots {
            let (index, key) = net.connect(&format!("198.51.100.{client}:5000"), 100 + client as u32);
            peers.push((key, net.clients[index].address));
        }
        net.clients.clear();
        net.events.clear();
        net.flights.clear();
        Self { net, peers, call: 0 }
    }

    /// A datagram as the connected peer `index` would send it, with its session bits.
    fn datagram(&mut self, index: usize, commands: &[u8], count: impl Fn(&mut ControlHost)) {
        let (key, address) = self.peers[index];
        let slot = self.net.host.slots.resolve(key).expect("connected");
        let session = self.net.host.slots.peer(slot).and_then(|peer| peer.session).expect("connected");
        let header = 0x8000 | u16::from(session) << 12 | slot as u16;
        let mut bytes = header.to_be_bytes().to_vec();
        bytes.extend([0, 1]);
        bytes.extend(commands);
        let (now, net) = (self.net.now, &mut self.net);
        let rise = heap::rise(|| net.host.datagram(Path::to(address), &bytes, now));
        self.call = self.call.max(rise);
        count(&mut self.net.host);
    }

    /// The owner takes everything off, as the reader does after each datagram.
    fn drained(host: &mut ControlHost) {
        while host.poll_transmit().is_some() {}
        while host.poll_event().is_some() {}
    }
}

/// A message of `length` bytes: reliable number `sequence` of a channel, or an unreliable one behind it.
fn message(kind: u8, channel: u8, sequence: u16, length: usize) -> Vec<u8> {
    let mut bytes = vec![kind, channel];
    bytes.extend(sequence.to_be_bytes());
    if kind == UNRELIABLE {
        bytes.extend([0, 1]);
    }
    bytes.extend((length as u16).to_be_bytes());
    bytes.resize(bytes.len() + length, 0x5a);
    bytes
}

/// As many of them as a datagram takes, from `first` on.
fn burst(kind: u8, channel: u8, first: u16, length: usize) -> (Vec<u8>, u16) {
    let size = message(kind, channel, 0, length).len();
    let count = ((screen::MAX_DATAGRAM - 4) / size).min(screen::MAX_COMMANDS) as u16;
    let commands = (first..first + count).flat_map(|sequence| message(kind, channel, sequence, length));
    (commands.collect(), count)
}

/// The first message of every channel never comes, so that ENet keeps all that follow: as many as it can be made to.
fn withhold(kind: u8, length: usize) {
    let mut siege = Siege::new();
    let before = heap::held();
    let mut stood = before;
    for index in 0..siege.peers.len() {
        for channel in 0..CHANNELS as u8 {
            let mut next = 2;
            // Far more in all than ENet may keep, and on each channel within the numbers that it looks at.
            while next < 500 {
                let (commands, count) = burst(kind, channel, next, length);
                siege.datagram(index, &commands, Siege::drained);
                next += count;
                stood = stood.max(heap::held());
            }
        }
    }
    let grown = stood - before;
    assert!(grown > 1 << 20, "the attack works at all: {grown}");
    assert!(grown < BOUND, "{grown} bytes held");
    // The missing messages come: everything is handed out, and nothing stays.
    for index in 0..siege.peers.len() {
        for channel in 0..CHANNELS as u8 {
            siege.datagram(index, &message(RELIABLE, channel, 1, screen::MIN_MESSAGE), Siege::drained);
        }
    }
    assert!(siege.call < BOUND_OF_A_CALL, "{} bytes added by a call", siege.call);
    for &(peer, _) in &siege.peers {
        siege.net.host.reset(peer);
    }
    Siege::drained(&mut siege.net.host);
    let left = heap::held() - before;
    assert!(left < 1 << 20, "{left} bytes stay after everybody left");
}

#[test]
fn the_smallest_withheld_messages_are_bounded() {
    withhold(RELIABLE, screen::MIN_MESSAGE);
}

#[test]
fn the_largest_withheld_messages_are_bounded() {
    withhold(RELIABLE, screen::MAX_DATAGRAM - 10);
}

#[test]
fn unreliable_messages_behind_a_withheld_one_are_bounded() {
    withhold(UNRELIABLE, screen::MIN_MESSAGE);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_mixture_of_commands_makes_the_host_grow(
        bursts in prop::collection::vec(
            (any::<u8>(), prop_oneof![Just(RELIABLE), Just(UNRELIABLE)], 0u8..50, any::<u16>(), 28usize..600),
            1..400,
        ),
    ) {
        let mut siege = Siege::new();
        let before = heap::held();
        for (index, kind, channel, first, length) in bursts {
            let index = usize::from(index) % siege.peers.len();
            if siege.net.host.path(siege.peers[index].0).is_none() {
                continue;
            }
            let (commands, _) = burst(kind, channel, first.min(u16::MAX - 40), length);
            siege.datagram(index, &commands, Siege::drained);
            prop_assert!(heap::held() - before < BOUND);
        }
        prop_assert!(siege.call < BOUND_OF_A_CALL);
    }
}
