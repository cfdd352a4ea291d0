//! The ENet client of a stream as a sans-IO state machine.
//!
//! Feed [`Session::datagram`] and [`Session::tick`], then drain [`Session::poll_transmit`] and
//! [`Session::poll_happening`] after every call that takes `now`. Ticks are needed at least every
//! [`Session::TICK`].
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusty_enet::{Event, Host, HostSettings, Packet, PeerID, PeerState, ReadWrite};

use super::crypt::{Cipher, CipherMode, Direction};
use super::message::{ClientMessage, HostMessage};
use crate::clock::Time;
use crate::input::Delivery;

/// Channels that a client asks for (§8.1).
const CHANNELS: usize = 48;
/// MTU of the clients' ENet (§8.1).
const MTU: u16 = 900;
/// Interval of 0x0200 (§8.4).
const PING_INTERVAL: Duration = Duration::from_millis(100);
/// Reports that are queued at most between two pings (§8.4).
const REPORTS_QUEUED: usize = 8;

/// What happened on the control stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// ENet is connected and the first two messages are queued.
    Connected,
    /// A message of the host.
    Message(HostMessage),
    /// A packet that is no valid frame: a violation of the host.
    Rejected(String),
    /// ENet says that the connection is over, with the host's data.
    Disconnected(u32),
}

/// Client side of one control connection.
pub struct Session {
    host: Host<ReadWrite<SocketAddr, Infallible>>,
    peer: PeerID,
    now: Arc<AtomicU64>,
    cipher: Cipher,
    sequence: u32,
    connected: bool,
    closing: bool,
    last_ping: Time,
    reports: VecDeque<ClientMessage>,
    happenings: VecDeque<Happening>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("connected", &self.connected).finish_non_exhaustive()
    }
}

impl Session {
    /// Longest time between two ticks.
    pub const TICK: Duration = Duration::from_millis(10);

    /// Begins to connect with the data of `X-SS-Connect-Data`.
    pub fn connect(
        address: SocketAddr,
        connect_data: u32,
        mode: CipherMode,
        key: &[u8; 16],
        now: Time,
    ) -> Self {
        let clock = Arc::new(AtomicU64::new(enet_nanos(now)));
        let reader = Arc::clone(&clock);
        let settings = HostSettings {
            peer_limit: 1,
            channel_limit: CHANNELS,
            time: Box::new(move || Duration::from_nanos(reader.load(Ordering::Relaxed))),
            ..HostSettings::default()
        };
        let mut host =
            Host::new(ReadWrite::new(), settings).expect("one peer and 48 channels are within ENet's limits");
        host.set_mtu(MTU).expect("900 is within ENet's limits");
        let peer = host.connect(address, CHANNELS, connect_data).expect("the only slot is free");
        peer.set_timeout(2, 10_000, 10_000);
        let peer = peer.id();
        let mut session = Session {
            host,
            peer,
            now: clock,
            cipher: Cipher::new(mode, key),
            sequence: 0,
            connected: false,
            closing: false,
            last_ping: now,
            reports: VecDeque::new(),
            happenings: VecDeque::new(),
        };
        session.tick(now);
        session
    }

    /// Takes a datagram from the host's control port.
    pub fn datagram(&mut self, from: SocketAddr, bytes: &[u8], now: Time) {
        self.host.socket_mut().write(from, bytes.to_vec());
        self.tick(now);
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Time) {
        self.now.store(enet_nanos(now), Ordering::Relaxed);
        self.service(now);
        if self.connected && !self.closing && now.since(self.last_ping) >= PING_INTERVAL {
            self.last_ping = now;
            self.send(&ClientMessage::Ping);
            while let Some(report) = self.reports.pop_front() {
                self.transmit(&report);
            }
        }
        self.host.flush();
    }

    /// Queues a message; FEC reports wait for the next ping. Call [`Session::tick`] to send it now.
    pub fn send(&mut self, message: &ClientMessage) {
        if matches!(message, ClientMessage::Report(_)) {
            if self.reports.len() < REPORTS_QUEUED {
                self.reports.push_back(message.clone());
            }
            return;
        }
        self.transmit(message);
    }

    fn transmit(&mut self, message: &ClientMessage) {
        if !self.connected || self.closing {
            return;
        }
        let out = message.encode();
        let frame = self.cipher.seal(Direction::ClientToHost, self.sequence, out.kind, &out.payload);
        self.sequence = self.sequence.wrapping_add(1);
        let packet = match out.delivery {
            Delivery::Reliable => Packet::reliable(frame.as_slice()),
            Delivery::Unreliable => Packet::unreliable(frame.as_slice()),
            Delivery::Unsequenced => Packet::unreliable_unsequenced(frame.as_slice()),
        };
        let peer = self.host.peer_mut(self.peer);
        // A host that grants fewer channels gets on channel 0 what it cannot address (§8.1).
        let channel = if usize::from(out.channel) < peer.channel_count() { out.channel } else { 0 };
        if let Err(error) = peer.send(channel, &packet) {
            tracing::debug!(?error, "ENet refused a message");
        }
    }

    /// Disconnects after what is queued was acknowledged.
    pub fn disconnect(&mut self, now: Time) {
        self.closing = true;
        self.host.peer_mut(self.peer).disconnect_later(0);
        self.tick(now);
    }

    /// True once ENet has let go of the peer.
    pub fn is_over(&self) -> bool {
        self.host.peer(self.peer).state() == PeerState::Disconnected
    }

    /// ENet's mean round trip time.
    pub fn round_trip(&self) -> Duration {
        self.host.peer(self.peer).round_trip_time()
    }

    /// Next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.host.socket_mut().read()
    }

    /// Next thing that happened.
    pub fn poll_happening(&mut self) -> Option<Happening> {
        self.happenings.pop_front()
    }

    fn service(&mut self, now: Time) {
        loop {
            let event = match self.host.service() {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(never) => {
                    tracing::debug!(%never, "the queue between ENet and its driver failed");
                    break;
                }
            };
            match event {
                Event::Connect { .. } => {
                    self.connected = true;
                    self.last_ping = now;
                    self.send(&ClientMessage::Start);
                    self.send(&ClientMessage::StartB);
                    self.send(&ClientMessage::Ping);
                    self.happenings.push_back(Happening::Connected);
                }
                Event::Disconnect { data, .. } => {
                    self.connected = false;
                    self.happenings.push_back(Happening::Disconnected(data));
                }
                Event::Receive { packet, .. } => {
                    let opened = self.cipher.open(Direction::HostToClient, packet.data());
                    self.happenings.push_back(match opened {
                        Ok((_, kind, payload)) => Happening::Message(HostMessage::decode(kind, &payload)),
                        Err(error) => Happening::Rejected(error.to_string()),
                    });
                }
            }
        }
    }
}

/// ENet takes a clock of 0 for "unset".
fn enet_nanos(now: Time) -> u64 {
    now.nanos() + 1_000_000
}
