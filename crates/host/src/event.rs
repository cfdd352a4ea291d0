//! What happens outside of requests, on its way to the supervisor's thread.

use lumen_gamestream::control::Termination;
use lumen_gamestream::session::{AppRun, SessionId, StreamKind};
use std::sync::mpsc::{SyncSender, TrySendError};

/// Something that happened outside of a request.
#[derive(Debug)]
pub enum Event {
    /// An app and all it started are gone.
    AppEnded(AppRun),
    /// The same, and nothing brings it back: its session is over.
    AppGone(AppRun),
    /// The control stream is connected.
    ControlConnected(SessionId),
    /// The control stream is gone.
    ControlDisconnected(SessionId),
    /// A ping came.
    Ping(SessionId, StreamKind),
    /// A stream cannot go on.
    StreamFailed(SessionId, Termination),
    /// A stream's pictures ended; whether its desktop hangs.
    SourceLost(SessionId, bool),
    /// The first access unit of a stream's source was sent.
    Showing(SessionId),
    /// A deadline may have changed.
    LookAgain,
    /// The host stops.
    Stop,
}

/// Reports an event; never waits.
pub fn report(events: &SyncSender<Event>, event: Event) {
    match events.try_send(event) {
        Ok(()) | Err(TrySendError::Disconnected(_)) => {}
        Err(TrySendError::Full(event)) => {
            tracing::error!(?event, "the supervisor does not keep up; an event was lost");
        }
    }
}
