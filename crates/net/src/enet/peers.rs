//! The slots of a control host and who sits in them. The states are drawn in `docs/design/control-peers.md`.

use crate::path::Path;
use lumen_media::Timestamp;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Names one connection for as long as it lives. A slot that is used again gets another generation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerKey {
    slot: u8,
    generation: u32,
}

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerKey({self})")
    }
}

/// The address that ENet sees: one number per connection, wherever the client really is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Logical(u64);

impl rusty_enet::Address for Logical {
    fn same_host(&self, other: &Self) -> bool {
        self == other
    }

    fn same(&self, other: &Self) -> bool {
        self == other
    }

    fn is_broadcast(&self) -> bool {
        false
    }
}

/// Where in its life a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Answered, but the client has not shown yet that it got the answer.
    HalfOpen,
    /// Messages flow.
    Connected,
    /// The host ends it; given up at `until`.
    Closing { until: Timestamp },
}

/// Limits how often datagrams from unproven addresses are looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    left: u32,
    refilled: Timestamp,
}

impl Bucket {
    const PER_WINDOW: u32 = 10;
    const WINDOW: Duration = Duration::from_millis(100);

    pub(super) fn take(&mut self, now: Timestamp) -> bool {
        if now.since(self.refilled) >= Self::WINDOW {
            *self = Bucket { left: Self::PER_WINDOW, refilled: now };
        }
        let allowed = self.left > 0;
        self.left -= u32::from(allowed);
        allowed
    }
}

/// One connection.
#[derive(Clone, Debug)]
pub(super) struct SlotPeer {
    pub(super) logical: Logical,
    pub(super) path: Path,
    pub(super) phase: Phase,
    connect_id: u32,
    connect_data: u32,
    /// Known once the host has answered.
    pub(super) session: Option<u8>,
    pub(super) heard_disconnect: bool,
    /// Messages sent since the last datagram from the peer.
    pub(super) unheard: u32,
    pub(super) roaming: Bucket,
    /// The newest datagram from an unproven address.
    pub(super) held: Option<(Path, Vec<u8>)>,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    generation: u32,
    peer: Option<SlotPeer>,
}

/// How many connections are not yet established.
pub(super) struct HalfOpen {
    pub(super) same_network: usize,
    pub(super) total: usize,
}

/// All slots; the index is ENet's.
#[derive(Debug)]
pub(super) struct SlotTable {
    slots: Vec<Slot>,
    next_logical: u64,
}

impl SlotTable {
    pub(super) fn new(count: usize) -> Self {
        Self { slots: vec![Slot::default(); count], next_logical: 1 }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn in_use(&self) -> usize {
        self.slots.iter().filter(|slot| slot.peer.is_some()).count()
    }

    pub(super) fn key(&self, slot: usize) -> PeerKey {
        // At most 255 slots exist.
        PeerKey { slot: slot as u8, generation: self.slots[slot].generation }
    }

    pub(super) fn resolve(&self, key: PeerKey) -> Option<usize> {
        let slot = self.slots.get(usize::from(key.slot))?;
        (slot.peer.is_some() && slot.generation == key.generation).then_some(usize::from(key.slot))
    }

    pub(super) fn peer(&self, slot: usize) -> Option<&SlotPeer> {
        self.slots.get(slot)?.peer.as_ref()
    }

    pub(super) fn peer_mut(&mut self, slot: usize) -> Option<&mut SlotPeer> {
        self.slots.get_mut(slot)?.peer.as_mut()
    }

    pub(super) fn by_logical(&mut self, logical: Logical) -> Option<&mut SlotPeer> {
        self.slots.iter_mut().filter_map(|slot| slot.peer.as_mut()).find(|peer| peer.logical == logical)
    }

    /// A connection that has no slot yet.
    pub(super) fn newcomer(&mut self, path: Path, connect_id: u32, connect_data: u32) -> SlotPeer {
        let logical = Logical(self.next_logical);
        self.next_logical += 1;
        SlotPeer {
            logical,
            path,
            phase: Phase::HalfOpen,
            connect_id,
            connect_data,
            session: None,
            heard_disconnect: false,
            unheard: 0,
            roaming: Bucket { left: Bucket::PER_WINDOW, refilled: Timestamp::default() },
            held: None,
        }
    }

    pub(super) fn occupy(&mut self, slot: usize, peer: SlotPeer) {
        debug_assert!(self.slots[slot].peer.is_none(), "ENet gave a slot twice");
        let slot = &mut self.slots[slot];
        slot.generation = slot.generation.wrapping_add(1);
        slot.peer = Some(peer);
    }

    /// False if nobody was there.
    pub(super) fn vacate(&mut self, slot: usize) -> bool {
        self.slots[slot].peer.take().is_some()
    }

    /// Whether this very request was answered already.
    pub(super) fn repeated_connect(&self, remote: SocketAddr, connect_id: u32) -> bool {
        self.peers().any(|(_, peer)| peer.path.remote == remote && peer.connect_id == connect_id)
    }

    /// Other established connections of the client in `slot`: same connect data, or same address without data.
    pub(super) fn same_client(&self, slot: usize) -> Vec<usize> {
        let Some(own) = self.peer(slot) else { return Vec::new() };
        self.peers()
            .filter(|&(other, peer)| {
                other != slot
                    && !matches!(peer.phase, Phase::HalfOpen)
                    && peer.connect_data == own.connect_data
                    && (own.connect_data != 0 || peer.path.remote.ip() == own.path.remote.ip())
            })
            .map(|(other, _)| other)
            .collect()
    }

    pub(super) fn half_open(&self, address: IpAddr) -> HalfOpen {
        let half_open = || self.peers().filter(|(_, peer)| matches!(peer.phase, Phase::HalfOpen));
        HalfOpen {
            same_network: half_open()
                .filter(|(_, peer)| same_network(peer.path.remote.ip(), address))
                .count(),
            total: half_open().count(),
        }
    }

    fn peers(&self) -> impl Iterator<Item = (usize, &SlotPeer)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| Some((index, slot.peer.as_ref()?)))
    }
}

/// One subscriber's addresses: an IPv4 address, or a /64.
fn same_network(a: IpAddr, b: IpAddr) -> bool {
    match (a, b) {
        (IpAddr::V6(a), IpAddr::V6(b)) => a.octets()[..8] == b.octets()[..8],
        (a, b) => a == b,
    }
}
