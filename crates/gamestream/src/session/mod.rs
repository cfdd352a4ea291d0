//! The life of sessions (protocol text §10), one per client certificate. Drawn in `docs/design/session.md`.
//!
//! A [`SessionTable`] takes events with the time and answers with [`Effect`]s, which the host carries out in order.
//! Nothing needs to be polled but [`SessionTable::next_deadline`] for the next [`SessionTable::tick`].

mod state;
mod table;

pub use state::{Connection, Origin, Session, State};
pub use table::{LaunchOrder, PENDING_LIMIT, Policy, RtspEncryption, STEP_TIMEOUT, SessionTable};

use crate::applist::AppId;
use crate::control::Termination;
use crate::crypto::sha256;
use std::fmt;

/// Names a client: the SHA-256 of its certificate in DER.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId([u8; 32]);

impl ClientId {
    /// The name of the owner of a certificate.
    pub fn of_certificate(der: &[u8]) -> Self {
        Self(sha256(&[der]))
    }

    /// From its hex digits, as [`ClientId::to_hex`] writes them.
    pub fn from_hex(digits: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// All 64 hex digits.
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for ClientId {
    /// The first 12 hex digits: enough to tell clients apart for a person.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientId({self})")
    }
}

/// Names one connection: what one `/launch` or `/resume` set up. Never used twice by a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u64);

impl SessionId {
    /// The number, for logs and maps.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one run of an app. Never used twice by a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppRun(u64);

impl AppRun {
    /// The number, for logs and maps.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// The streams whose address is learned from pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamKind {
    /// Video.
    Video,
    /// Audio.
    Audio,
}

/// What the host shall do. Effects of one event are carried out in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Run an app (and make the output it needs) for a client that launched it.
    StartApp {
        /// Whose.
        client: ClientId,
        /// The connection that launched it; its request has the mode.
        session: SessionId,
        /// Which app.
        app: AppId,
        /// Names this run from now on.
        run: AppRun,
    },
    /// ANNOUNCE was accepted: make the encoder ready, listen for ENet. The parameters are in the table
    /// ([`SessionTable::session`], [`Session::parameters`]).
    StartStream {
        /// For this connection.
        session: SessionId,
    },
    /// PLAY came and the audio address is known: send sound.
    SendAudio {
        /// For this connection.
        session: SessionId,
    },
    /// PLAY came, control is connected and the video address is known: send pictures, a key frame first.
    SendVideo {
        /// For this connection.
        session: SessionId,
    },
    /// Tell the client that the stream ends (message 0x0109); flush for up to a second, later steps need not wait.
    TerminateClient {
        /// For this connection.
        session: SessionId,
        /// The code to send.
        termination: Termination,
    },
    /// Stop encoding and sending; release the keys, buttons and touches that the client held.
    StopStream {
        /// For this connection.
        session: SessionId,
        /// For the log.
        reason: StopReason,
        /// Leave the virtual gamepads plugged in.
        keep_gamepads: bool,
    },
    /// The connection is void: drop its handshake, key, ping payload and connect data.
    Forget {
        /// This connection.
        session: SessionId,
    },
    /// End the app.
    EndApp {
        /// Whose.
        client: ClientId,
        /// This run.
        run: AppRun,
    },
    /// The client's session is over; its output may go after its linger time.
    Ended {
        /// Whose.
        client: ClientId,
        /// The run that was its last.
        run: AppRun,
    },
}

/// Why a stream stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// The client disconnected, or ENet gave up on it.
    ClientLeft,
    /// The same client launched or resumed anew.
    Replaced,
    /// The client cancelled.
    Cancelled,
    /// The app ended by itself.
    AppEnded,
    /// No PLAY, no control connection or no video ping within 10 s.
    Timeout,
    /// The host could not go on.
    Failed,
    /// The host stops, or the client was unpaired.
    HostStops,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientLeft => "the client left",
            Self::Replaced => "the client connected anew",
            Self::Cancelled => "the client cancelled",
            Self::AppEnded => "the app ended",
            Self::Timeout => "the client did not connect in time",
            Self::Failed => "the stream failed",
            Self::HostStops => "the host ended it",
        })
    }
}

#[cfg(test)]
mod tests;
