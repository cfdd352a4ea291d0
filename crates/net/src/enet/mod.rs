//! The ENet control stream, sans-IO (protocol text §8.1, §8.6).
//!
//! [`ControlHost`] wraps an ENet host behind [`screen`](mod@screen). After every call that takes time, drain
//! [`ControlHost::poll_transmit`] and [`ControlHost::poll_event`] until both answer `None`, and call
//! [`ControlHost::tick`] again no later than [`ControlHost::next_tick`] says.
//!
//! # Addresses
//! ENet knows a peer by one logical address for as long as its slot lives; the real [`Path`] is kept beside it. A
//! datagram for a connected slot that arrives from elsewhere never reaches ENet: nothing in it is authenticated, and a
//! blind sender who guesses slot and session bits could end the session or eat its sequence numbers. Instead its
//! messages are shown as [`ControlEvent::Roaming`]; once the owner has decrypted one that is newer than all it has seen
//! it calls [`ControlHost::confirm`], and from then on the new path is the peer's. Until then answers go to the old one.
//!
//! # Who may connect
//! Only connect data announced by [`ControlHost::expect`], or, for clients that send none (protocol text §8.1), the
//! addresses announced by [`ControlHost::expect_address`]. Everybody else gets no answer and takes no slot.

mod event;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod memory;
mod peers;
pub mod screen;
#[cfg(test)]
mod tests;

use crate::path::Path;
use lumen_media::Timestamp;
use peers::{Logical, Phase, SlotPeer, SlotTable};
use rusty_enet::{Event, Host, HostSettings, Packet, PeerID, PeerState, ReadWrite};
use screen::Screened;
use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use event::{ControlEvent, ControlSendError, ControlStats, DisconnectReason, RoundTrip, Transmit};
pub use peers::PeerKey;

/// Channels that clients use (protocol text §8.1).
const CHANNELS: usize = 48;
/// Longest message of the host, in bytes: never fragmented, whatever MTU a client asked for (576 at least).
pub const MAX_MESSAGE: usize = 512;
/// Data of one peer that waits for what was lost before it, in bytes: seconds of input. ENet needs six times as much
/// memory where all messages are the shortest, which for 16 peers is below 16 MB.
const WAITING_DATA: usize = 128 * 1024;
/// How often ENet's timers are looked after while a peer exists.
const TICK: Duration = Duration::from_millis(5);
/// Time without a tick beyond which the peers are not to blame for their silence.
const STALL: Duration = Duration::from_secs(1);
/// How long [`ControlHost::close`] waits for the peer's acknowledgement.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);
/// Unanswered connection attempts of one address (of one /64 for IPv6). A client makes one at a time.
const HALF_OPEN_PER_ADDRESS: usize = 2;
/// Shortest time between two answers to one connection attempt.
const ANSWER_SPACING: Duration = Duration::from_millis(50);
/// Messages sent since the peer was last heard. At the 10 s that ENet waits this is far above any feedback rate.
const MAX_UNHEARD: u32 = 2048;
/// ENet's timeout of a free slot, so that a half-open connection is forgotten after 3.5 s: limit, minimum, maximum (ms).
const TIMEOUT_HALF_OPEN: (u32, u32, u32) = (2, 2_000, 2_000);
/// ENet's timeout of a connected peer (protocol text §8.6): dead after 10 s.
const TIMEOUT_CONNECTED: (u32, u32, u32) = (2, 10_000, 10_000);

/// Limits of a [`ControlHost`].
#[derive(Clone, Copy, Debug)]
pub struct ControlConfig {
    /// Peers at a time, lingering ones included; 1 to 255.
    pub slots: u8,
}

impl Default for ControlConfig {
    fn default() -> Self {
        Self { slots: 16 }
    }
}

/// The host's end of all control streams.
pub struct ControlHost {
    enet: Host<ReadWrite<Logical, Infallible>>,
    /// Milliseconds, read by ENet.
    clock: Arc<AtomicU64>,
    now: Timestamp,
    slots: SlotTable,
    expected_data: HashSet<u32>,
    expected_addresses: HashSet<IpAddr>,
    events: VecDeque<ControlEvent>,
    transmits: VecDeque<Transmit>,
    stats: ControlStats,
}

/// An ENet event without its borrow of the host.
enum Raw {
    Connect(usize, u32),
    Disconnect(usize, u32),
    Message(usize, Vec<u8>),
}

impl ControlHost {
    /// A host without peers.
    pub fn new(config: ControlConfig, now: Timestamp) -> Self {
        let slots = usize::from(config.slots.max(1));
        let clock = Arc::new(AtomicU64::new(millis(now)));
        let time = {
            let clock = clock.clone();
            Box::new(move || Duration::from_millis(clock.load(Ordering::Relaxed)))
        };
        let settings =
            HostSettings { peer_limit: slots, channel_limit: CHANNELS, time, ..Default::default() };
        let mut enet = Host::new(ReadWrite::new(), settings)
            .unwrap_or_else(|_| unreachable!("slots and channels are above zero and the socket is a queue"));
        // Bounds of what a peer may make ENet hold; smaller than the defaults, larger than any real message.
        let limits = enet.set_maximum_packet_size(16 * 1024).and(enet.set_maximum_waiting_data(WAITING_DATA));
        debug_assert!(limits.is_ok(), "both are above zero");
        for slot in 0..slots {
            let (limit, minimum, maximum) = TIMEOUT_HALF_OPEN;
            enet.peer_mut(PeerID(slot)).set_timeout(limit, minimum, maximum);
        }
        Self {
            enet,
            clock,
            now,
            slots: SlotTable::new(slots),
            expected_data: HashSet::new(),
            expected_addresses: HashSet::new(),
            events: VecDeque::new(),
            transmits: VecDeque::new(),
            stats: ControlStats::default(),
        }
    }

    /// Lets clients in that connect with this data. 0 stands for none and is never expected.
    pub fn expect(&mut self, connect_data: u32) {
        if connect_data != 0 {
            self.expected_data.insert(connect_data);
        }
    }

    /// Ends [`ControlHost::expect`]; who is connected stays.
    pub fn unexpect(&mut self, connect_data: u32) {
        self.expected_data.remove(&connect_data);
    }

    /// Lets clients in that send no connect data, if they come from this address. The caller keeps this for sessions
    /// whose client lacks the feature flag 0x02 (protocol text §8.1).
    pub fn expect_address(&mut self, address: IpAddr) {
        self.expected_addresses.insert(crate::path::normalise_ip(address));
    }

    /// Ends [`ControlHost::expect_address`]; who is connected stays.
    pub fn unexpect_address(&mut self, address: IpAddr) {
        self.expected_addresses.remove(&crate::path::normalise_ip(address));
    }

    /// Takes a datagram that arrived on the control port.
    pub fn datagram(&mut self, path: Path, bytes: &[u8], now: Timestamp) {
        // Timers first, so that the slots below are those of this moment.
        self.tick(now);
        match screen::screen(bytes) {
            Err(refusal) => {
                self.stats.refused_datagrams += 1;
                tracing::trace!(%path, %refusal, "control datagram refused");
            }
            Ok(Screened::Connect { connect_id, data }) => self.connect(path, bytes, connect_id, data),
            Ok(Screened::Peer { slot, session, disconnects }) => {
                self.peer_datagram(path, bytes, usize::from(slot), (session, disconnects));
            }
        }
    }

    /// Looks after ENet's timers.
    pub fn tick(&mut self, now: Timestamp) {
        let gap = now.since(self.now);
        if gap >= STALL {
            // This process stood still; what the peers sent meanwhile still waits in the socket.
            self.slots.forgive(gap);
        }
        self.now = self.now.max(now);
        self.clock.store(millis(self.now), Ordering::Relaxed);
        for slot in 0..self.slots.len() {
            let Some(state) = self.slots.peer(slot) else { continue };
            if let Some(reason) = state.overdue(self.now) {
                let announced = !matches!(state.phase, Phase::HalfOpen);
                self.enet.peer_mut(PeerID(slot)).reset();
                self.retire(slot, announced.then_some(reason));
            }
        }
        self.service(None);
    }

    /// When to call [`ControlHost::tick`] next, counted from `now`; `None` while there is no peer.
    pub fn next_tick(&self, now: Timestamp) -> Option<Timestamp> {
        (self.slots.in_use() > 0).then(|| now + TICK)
    }

    /// Queues a message, reliable on channel 0 (protocol text §8.1). It leaves with the next drain.
    ///
    /// # Errors
    /// [`ControlSendError`]; the message is not sent then.
    pub fn send(&mut self, peer: PeerKey, bytes: &[u8]) -> Result<(), ControlSendError> {
        if bytes.len() > MAX_MESSAGE {
            return Err(ControlSendError::TooLong(bytes.len()));
        }
        let slot = self.slots.resolve(peer).ok_or(ControlSendError::Gone(peer))?;
        let state = self.slots.peer_mut(slot).filter(|state| matches!(state.phase, Phase::Connected));
        let state = state.ok_or(ControlSendError::Gone(peer))?;
        if state.unheard >= MAX_UNHEARD {
            return Err(ControlSendError::Backlog(peer));
        }
        state.unheard += 1;
        let sent = self.enet.peer_mut(PeerID(slot)).send(0, &Packet::reliable(bytes));
        self.enet.flush();
        self.drain();
        sent.map_err(|_| ControlSendError::Gone(peer))
    }

    /// Ends a connection after everything queued was acknowledged. [`ControlEvent::Disconnected`] follows, at the
    /// latest 2 s from now. A client that was told of the end by a message leaves by itself (protocol text §10.3): give
    /// it a second first.
    pub fn close(&mut self, peer: PeerKey, data: u32) {
        let until = self.now + CLOSE_PATIENCE;
        let Some(slot) = self.slots.resolve(peer) else { return };
        if let Some(state) = self.slots.peer_mut(slot).filter(|state| matches!(state.phase, Phase::Connected))
        {
            state.phase = Phase::Closing { until };
            self.enet.peer_mut(PeerID(slot)).disconnect_later(data);
            self.service(None);
        }
    }

    /// Forgets a peer at once. The client is not told and no event follows.
    pub fn reset(&mut self, peer: PeerKey) {
        if let Some(slot) = self.slots.resolve(peer) {
            self.enet.peer_mut(PeerID(slot)).reset();
            self.retire(slot, None);
        }
    }

    /// Moves a peer to the path from which it proved itself, see [`ControlEvent::Roaming`]. False if it is gone.
    pub fn confirm(&mut self, peer: PeerKey, path: Path) -> bool {
        let now = self.now;
        let Some(slot) = self.slots.resolve(peer) else { return false };
        let Some(state) = self.slots.peer_mut(slot) else { return false };
        tracing::info!(%peer, from = %state.path, to = %path, "control peer moved");
        state.path = path;
        let logical = state.logical;
        if let Some((held_path, bytes)) = state.held.take().filter(|(held, _)| held.remote == path.remote) {
            state.path = held_path;
            let disconnects = matches!(screen::screen(&bytes), Ok(Screened::Peer { disconnects: true, .. }));
            state.hear(disconnects, now);
            self.enet.socket_mut().write(logical, bytes);
            self.service(None);
        }
        true
    }

    /// When the last datagram of a connection came, whatever was in it.
    pub fn heard(&self, peer: PeerKey) -> Option<Timestamp> {
        self.slots.resolve(peer).and_then(|slot| self.slots.peer(slot)).map(|state| state.heard)
    }

    /// Where a peer is.
    pub fn path(&self, peer: PeerKey) -> Option<Path> {
        self.slots.resolve(peer).and_then(|slot| self.slots.peer(slot)).map(|state| state.path)
    }

    /// Quality of the way to a peer.
    pub fn round_trip(&self, peer: PeerKey) -> Option<RoundTrip> {
        let slot = self.slots.resolve(peer)?;
        let state = self.enet.peer(PeerID(slot));
        Some(RoundTrip {
            mean: state.round_trip_time(),
            variance: state.round_trip_time_variance(),
            sent: state.packets_sent(),
            lost: state.packets_lost(),
        })
    }

    /// Slots in use, half-open and closing ones included.
    pub fn slots_in_use(&self) -> usize {
        self.slots.in_use()
    }

    /// What was dropped so far.
    pub fn stats(&self) -> ControlStats {
        self.stats
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<ControlEvent> {
        self.events.pop_front()
    }

    fn connect(&mut self, path: Path, bytes: &[u8], connect_id: u32, data: u32) {
        if let Some(slot) = self.slots.repeated_connect(path.remote, connect_id) {
            self.repeat_answer(slot);
            return;
        }
        if !self.is_expected(data, path.remote.ip()) {
            self.stats.refused_connects += 1;
            tracing::debug!(%path, "control connection refused: no session waits for it");
            return;
        }
        let half_open = self.slots.half_open(path.remote.ip());
        let crowded = half_open.same_network >= HALF_OPEN_PER_ADDRESS
            || half_open.total >= self.slots.len().div_ceil(2)
            || self.slots.in_use() == self.slots.len();
        if crowded {
            self.stats.crowded_connects += 1;
            tracing::debug!(%path, "control connection refused: too many at once");
            return;
        }
        let peer = self.slots.newcomer(path, (connect_id, data), self.now);
        self.enet.socket_mut().write(peer.logical, bytes.to_vec());
        self.service(Some(peer));
    }

    fn is_expected(&self, data: u32, address: IpAddr) -> bool {
        if data == 0 {
            self.expected_addresses.contains(&address)
        } else {
            self.expected_data.contains(&data)
        }
    }

    fn peer_datagram(&mut self, path: Path, bytes: &[u8], slot: usize, (session, disconnects): (u8, bool)) {
        let now = self.now;
        let Some(state) = self.slots.peer_mut(slot).filter(|state| state.session == Some(session)) else {
            self.stats.refused_datagrams += 1;
            return;
        };
        if state.path.remote == path.remote {
            // Another address of ours from the same place: answer from the one asked last.
            state.path = path;
            state.hear(disconnects, now);
            let logical = state.logical;
            self.enet.socket_mut().write(logical, bytes.to_vec());
            self.service(None);
            self.repeat_answer(slot);
        } else if matches!(state.phase, Phase::Connected) {
            let messages: Vec<_> = screen::messages(bytes).map(<[u8]>::to_vec).collect();
            if messages.is_empty() || !state.roaming.take(now) {
                self.stats.dropped_roaming += 1;
                return;
            }
            state.held = Some((path, bytes.to_vec()));
            let peer = self.slots.key(slot);
            self.events.push_back(ControlEvent::Roaming { peer, path, messages });
        } else {
            self.stats.refused_datagrams += 1;
        }
    }

    /// Accepts a client once more that shows that it, or its acknowledgement, missed the first time. ENet repeats the
    /// answer twice in 3.5 s and ignores what a client that takes itself for connected sends meanwhile; lost
    /// acknowledgements would leave that client talking to a slot that was given up.
    fn repeat_answer(&mut self, slot: usize) {
        let now = self.now;
        let Some(state) = self.slots.peer_mut(slot).filter(|state| matches!(state.phase, Phase::HalfOpen))
        else {
            return;
        };
        let path = state.path;
        if let Some((bytes, sent)) = &mut state.answer
            && now.since(*sent) >= ANSWER_SPACING
        {
            *sent = now;
            self.transmits.push_back(Transmit { path, bytes: bytes.clone() });
        }
    }

    /// Runs ENet until it has nothing to say. `newcomer` is bound to the slot that ENet gave it.
    fn service(&mut self, newcomer: Option<SlotPeer>) {
        let mut raw = Vec::new();
        loop {
            match self.enet.service() {
                Ok(Some(Event::Connect { peer, data })) => raw.push(Raw::Connect(peer.id().0, data)),
                Ok(Some(Event::Disconnect { peer, data })) => raw.push(Raw::Disconnect(peer.id().0, data)),
                Ok(Some(Event::Receive { peer, packet, .. })) => {
                    raw.push(Raw::Message(peer.id().0, packet.data().to_vec()));
                }
                Ok(None) => break,
                Err(never) => match never {},
            }
        }
        self.enet.flush();
        if let Some(newcomer) = newcomer {
            self.bind(newcomer);
        }
        self.drain();
        for event in raw {
            match event {
                Raw::Connect(slot, data) => self.connected(slot, data),
                Raw::Disconnect(slot, data) => self.disconnected(slot, data),
                Raw::Message(slot, bytes) => self.message(slot, bytes),
            }
        }
        self.sweep();
    }

    fn bind(&mut self, newcomer: SlotPeer) {
        let taken = (0..self.slots.len()).find(|&slot| {
            let peer = self.enet.peer(PeerID(slot));
            peer.state() == PeerState::AcknowledgingConnect && peer.address() == Some(newcomer.logical)
        });
        match taken {
            Some(slot) => self.slots.occupy(slot, newcomer),
            None => self.stats.refused_datagrams += 1,
        }
    }

    fn connected(&mut self, slot: usize, data: u32) {
        let (limit, minimum, maximum) = TIMEOUT_CONNECTED;
        let Some(path) = self.slots.peer(slot).map(|state| state.path) else { return };
        if !self.is_expected(data, path.remote.ip()) {
            // Its session ended between the request and the handshake.
            self.enet.peer_mut(PeerID(slot)).reset();
            self.retire(slot, None);
            return;
        }
        let mut replaces = None;
        for other in self.slots.same_client(slot) {
            let closing =
                matches!(self.slots.peer(other), Some(SlotPeer { phase: Phase::Closing { .. }, .. }));
            if !closing {
                replaces = Some(self.slots.key(other));
            }
            self.enet.peer_mut(PeerID(other)).reset();
            self.retire(other, closing.then_some(DisconnectReason::Closed));
        }
        self.enet.peer_mut(PeerID(slot)).set_timeout(limit, minimum, maximum);
        if let Some(state) = self.slots.peer_mut(slot) {
            state.phase = Phase::Connected;
            state.answer = None;
        }
        let peer = self.slots.key(slot);
        self.events.push_back(ControlEvent::Connected { peer, connect_data: data, path, replaces });
    }

    fn disconnected(&mut self, slot: usize, data: u32) {
        let reason = match self.slots.peer(slot) {
            Some(SlotPeer { phase: Phase::Closing { .. }, .. }) => DisconnectReason::Closed,
            Some(SlotPeer { heard_disconnect: true, .. }) => DisconnectReason::ByPeer { data },
            _ => DisconnectReason::TimedOut,
        };
        self.retire(slot, Some(reason));
    }

    fn message(&mut self, slot: usize, bytes: Vec<u8>) {
        if self.slots.peer(slot).is_some_and(|state| matches!(state.phase, Phase::Connected)) {
            let peer = self.slots.key(slot);
            self.events.push_back(ControlEvent::Message { peer, bytes });
        }
    }

    /// Makes our table agree with ENet where that frees a slot without an event.
    fn sweep(&mut self) {
        for slot in 0..self.slots.len() {
            let free = self.enet.peer(PeerID(slot)).state() == PeerState::Disconnected;
            match self.slots.peer(slot) {
                Some(SlotPeer { phase: Phase::HalfOpen, .. }) if free => self.retire(slot, None),
                Some(_) if free => self.disconnected(slot, 0),
                None if !free => {
                    self.enet.peer_mut(PeerID(slot)).reset();
                    self.rearm(slot);
                }
                _ => {}
            }
        }
    }

    fn retire(&mut self, slot: usize, reason: Option<DisconnectReason>) {
        let peer = self.slots.key(slot);
        if self.slots.vacate(slot)
            && let Some(reason) = reason
        {
            self.events.push_back(ControlEvent::Disconnected { peer, reason });
        }
        self.rearm(slot);
    }

    /// ENet restores its long default timeouts with every reset.
    fn rearm(&mut self, slot: usize) {
        let (limit, minimum, maximum) = TIMEOUT_HALF_OPEN;
        self.enet.peer_mut(PeerID(slot)).set_timeout(limit, minimum, maximum);
    }

    fn drain(&mut self) {
        while let Some((logical, bytes)) = self.enet.socket_mut().read() {
            let Some(state) = self.slots.by_logical(logical) else { continue };
            if matches!(state.phase, Phase::HalfOpen)
                && let Some(session) = screen::accepted_session(&bytes)
            {
                state.session = Some(session);
                state.answer = Some((bytes.clone(), self.now));
            }
            let path = state.path;
            self.transmits.push_back(Transmit { path, bytes });
        }
    }
}

impl fmt::Debug for ControlHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlHost")
            .field("slots", &self.slots)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

/// ENet takes 0 for "unset" in several fields, so its clock starts at 1.
fn millis(now: Timestamp) -> u64 {
    now.as_nanos() / 1_000_000 + 1
}
