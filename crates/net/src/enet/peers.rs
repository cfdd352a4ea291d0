//! The slots of a control host and who sits in them. The states are drawn in `docs/design/control-peers.md`.

use super::DisconnectReason;
use crate::path::{Path, network};
use lumen_media::Timestamp;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A client that was not heard for so long is gone (protocol text §8.6); it speaks every 100 ms.
const SILENCE: Duration = Duration::from_secs(10);

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

impl SlotPeer {
    /// Notes a datagram that ENet is about to be shown.
    pub(super) fn hear(&mut self, disconnects: bool, now: Timestamp) {
        self.heard_disconnect |= disconnects;
        self.heard = now;
        self.unheard = 0;
    }

    /// Why this connection is over at `now`, if it is: acknowledgements of a silent peer are waited for in doubling
    /// steps, which alone may take ENet 20 s to notice.
    pub(super) fn overdue(&self, now: Timestamp) -> Option<DisconnectReason> {
        match self.phase {
            Phase::Closing { until } => (until <= now).then_some(DisconnectReason::Closed),
            _ => (now.since(self.heard) >= SILENCE).then_some(DisconnectReason::TimedOut),
        }
    }
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
    /// The datagram that accepted the client, and when it was last sent; dropped once the connection stands.
    pub(super) answer: Option<(Vec<u8>, Timestamp)>,
    pub(super) heard_disconnect: bool,
    /// When the last datagram that ENet was shown came.
    pub(super) heard: Timestamp,
    /// Messages sent since then.
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

    /// Takes a time in which nobody looked off everybody's silence.
    pub(super) fn forgive(&mut self, gap: Duration) {
        for peer in self.slots.iter_mut().filter_map(|slot| slot.peer.as_mut()) {
            peer.heard = peer.heard + gap;
        }
    }

    pub(super) fn by_logical(&mut self, logical: Logical) -> Option<&mut SlotPeer> {
        self.slots.iter_mut().filter_map(|slot| slot.peer.as_mut()).find(|peer| peer.logical == logical)
    }

    /// A connection that has no slot yet.
    pub(super) fn newcomer(
        &mut self,
        path: Path,
        (connect_id, connect_data): (u32, u32),
        now: Timestamp,
    ) -> SlotPeer {
        let logical = Logical(self.next_logical);
        self.next_logical += 1;
        SlotPeer {
            logical,
            path,
            phase: Phase::HalfOpen,
            connect_id,
            connect_data,
            session: None,
            answer: None,
            heard_disconnect: false,
            heard: now,
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

    /// Who asked with this very request before.
    pub(super) fn repeated_connect(&self, remote: SocketAddr, connect_id: u32) -> Option<usize> {
        self.peers()
            .find(|(_, peer)| peer.path.remote == remote && peer.connect_id == connect_id)
            .map(|(slot, _)| slot)
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
                .filter(|(_, peer)| network(peer.path.remote.ip()) == network(address))
                .count(),
            total: half_open().count(),
        }
    }

    fn peers(&self) -> impl Iterator<Item = (usize, &SlotPeer)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| Some((index, slot.peer.as_ref()?)))
    }
}
