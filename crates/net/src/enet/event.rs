//! What a control host tells and answers.

use super::PeerKey;
use crate::path::Path;
use std::time::Duration;

/// What happened to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlEvent {
    /// A client connected. [`ControlHost::reset`](super::ControlHost::reset) turns it away.
    Connected {
        /// Its name from now on.
        peer: PeerKey,
        /// What it was told in RTSP SETUP (`X-SS-Connect-Data`); 0 from clients that do not know the header.
        connect_data: u32,
        /// Where it is.
        path: Path,
        /// The same client's former connection, gone without a [`ControlEvent::Disconnected`]. The session goes on.
        replaces: Option<PeerKey>,
    },
    /// A message, decrypted by nobody yet. Messages of one channel come in order.
    Message {
        /// From whom.
        peer: PeerKey,
        /// The encrypted frame (protocol text §8.2), at least 28 bytes.
        bytes: Vec<u8>,
    },
    /// Somebody at another address claims to be this peer. If one of the messages decrypts and its sequence number is
    /// above all seen so far, call [`ControlHost::confirm`](super::ControlHost::confirm); it will then be delivered as [`ControlEvent::Message`].
    /// Do not count it as received before that.
    Roaming {
        /// Whom it claims to be.
        peer: PeerKey,
        /// Where it is.
        path: Path,
        /// The encrypted frames that its datagram carries.
        messages: Vec<Vec<u8>>,
    },
    /// The connection is over and the key is void.
    Disconnected {
        /// Who.
        peer: PeerKey,
        /// Why.
        reason: DisconnectReason,
    },
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisconnectReason {
    /// The client disconnected.
    ByPeer {
        /// What it sent along; stock clients send 0.
        data: u32,
    },
    /// Nothing was acknowledged for 10 s.
    TimedOut,
    /// Ended by [`ControlHost::close`](super::ControlHost::close).
    Closed,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlSendError {
    /// No connected peer has this key (any more).
    #[error("the control peer {0} is gone")]
    Gone(PeerKey),
    /// Longer than [`MAX_MESSAGE`](super::MAX_MESSAGE).
    #[error("a control message of {0} bytes is longer than 512")]
    TooLong(usize),
    /// The peer has not been heard for too many messages; drop the message.
    #[error("the control peer {0} does not keep up")]
    Backlog(PeerKey),
}

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Whereto, and from which of our addresses.
    pub path: Path,
    /// The datagram.
    pub bytes: Vec<u8>,
}

/// Quality of the way to a peer, as ENet measures it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTrip {
    /// Smoothed round-trip time.
    pub mean: Duration,
    /// Its mean deviation.
    pub variance: Duration,
    /// Commands sent since the last reckoning (every 10 s).
    pub sent: u32,
    /// Of them repeated.
    pub lost: u32,
}

/// What was dropped, counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControlStats {
    /// Datagrams that [`screen`](mod@super::screen) refused, or for slots that nobody has.
    pub refused_datagrams: u64,
    /// Connection attempts with unknown connect data or from unknown addresses.
    pub refused_connects: u64,
    /// Connection attempts beyond the limits of half-open or of all slots.
    pub crowded_connects: u64,
    /// Datagrams of a connected peer from another address that were not looked at, because of too many.
    pub dropped_roaming: u64,
}
