//! What a session is, state by state.

use super::{AppRun, ClientId, SessionId, StreamKind};
use crate::Time;
use crate::applist::AppId;
use crate::launch::LaunchRequest;
use crate::ping::PingPayload;
use crate::sdp::StreamParameters;
use std::net::IpAddr;

/// A client's session: an app and, unless paused, a connection.
#[derive(Clone, Debug)]
pub struct Session {
    pub(super) client: ClientId,
    pub(super) app: AppId,
    pub(super) run: AppRun,
    pub(super) host_audio: bool,
    pub(super) state: State,
}

/// The state of a session. Transitions: Pending → Starting → Streaming → Paused → Pending; Pending and Starting also
/// fall to Paused when their time is up; each may be replaced by Pending, and each may end.
#[derive(Clone, Debug)]
pub enum State {
    /// `/launch` or `/resume` was answered; RTSP is expected.
    Pending {
        /// What it set up.
        connection: Connection,
        /// Which request it was.
        origin: Origin,
        /// When to give up waiting for the next RTSP request.
        deadline: Time,
        /// When to give up, whatever comes.
        limit: Time,
    },
    /// ANNOUNCE was accepted; PLAY and the control connection are expected.
    Starting {
        /// What the launch set up.
        connection: Connection,
        /// What ANNOUNCE fixed.
        parameters: Box<StreamParameters>,
        /// PLAY came.
        played: bool,
        /// ENet is connected.
        connected: bool,
        /// When to give up.
        deadline: Time,
    },
    /// Connected; pictures flow as soon as the video address is known.
    Streaming {
        /// What the launch set up.
        connection: Connection,
        /// What ANNOUNCE fixed.
        parameters: Box<StreamParameters>,
        /// When to give up waiting for the first video ping; `None` once it came.
        ping_deadline: Option<Time>,
    },
    /// The client is gone, the app runs on.
    Paused {
        /// Since when.
        since: Time,
    },
}

/// Which request made a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// `/launch`.
    Launch,
    /// `/resume`.
    Resume,
}

/// What one `/launch` or `/resume` set up.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Its name.
    pub id: SessionId,
    /// What the client sent: mode, key, key id.
    pub request: LaunchRequest,
    /// Where the request came from, in canonical form (older clients are matched by it).
    pub peer: IpAddr,
    /// RTSP is `rtspenc://`.
    pub encrypted_rtsp: bool,
    /// Routes video and audio pings.
    pub ping_payload: PingPayload,
    /// Routes the ENet connection; never 0.
    pub connect_data: u32,
    /// The RTSP `Session` token.
    pub rtsp_token: String,
    /// A video ping was seen.
    pub(super) video_ping: bool,
    /// An audio ping was seen.
    pub(super) audio_ping: bool,
}

impl Connection {
    /// Notes a ping; true if it was the first of its stream.
    pub(super) fn note_ping(&mut self, stream: StreamKind) -> bool {
        let seen = match stream {
            StreamKind::Video => &mut self.video_ping,
            StreamKind::Audio => &mut self.audio_ping,
        };
        !std::mem::replace(seen, true)
    }
}

impl Session {
    /// Whose it is.
    pub fn client(&self) -> ClientId {
        self.client
    }

    /// The app that runs.
    pub fn app(&self) -> AppId {
        self.app
    }

    /// The run of the app.
    pub fn run(&self) -> AppRun {
        self.run
    }

    /// The client wants sound on the host's speakers too.
    pub fn host_audio(&self) -> bool {
        self.host_audio
    }

    /// Its state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The connection, unless paused.
    pub fn connection(&self) -> Option<&Connection> {
        match &self.state {
            State::Pending { connection, .. }
            | State::Starting { connection, .. }
            | State::Streaming { connection, .. } => Some(connection),
            State::Paused { .. } => None,
        }
    }

    pub(super) fn connection_mut(&mut self) -> Option<&mut Connection> {
        match &mut self.state {
            State::Pending { connection, .. }
            | State::Starting { connection, .. }
            | State::Streaming { connection, .. } => Some(connection),
            State::Paused { .. } => None,
        }
    }

    /// What ANNOUNCE fixed, once it came.
    pub fn parameters(&self) -> Option<&StreamParameters> {
        match &self.state {
            State::Starting { parameters, .. } | State::Streaming { parameters, .. } => Some(parameters),
            State::Pending { .. } | State::Paused { .. } => None,
        }
    }

    /// When its state must be looked at again.
    pub(super) fn deadline(&self) -> Option<Time> {
        match &self.state {
            State::Pending { deadline, limit, .. } => Some(*deadline.min(limit)),
            State::Starting { deadline, .. } => Some(*deadline),
            State::Streaming { ping_deadline, .. } => *ping_deadline,
            State::Paused { .. } => None,
        }
    }
}
