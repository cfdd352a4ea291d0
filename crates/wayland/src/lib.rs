//! Connections to the sockets of desktops on which no wait is without a deadline: who hangs is told from who is gone.

mod globals;
mod pulse;
mod socket;

pub use globals::{Answer, Globals, GlobalsOnly, roundtrip};
pub use pulse::Pulse;
pub use socket::{connect, listener};

use lumen_media::{Timestamp, clock};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use wayland_client::backend::WaylandError;
use wayland_client::{Connection, DispatchError, EventQueue};

/// Connects to the compositor at `path`.
///
/// # Errors
/// As [`connect`].
pub fn open(path: &Path) -> io::Result<Connection> {
    Connection::from_socket(connect(path)?).map_err(io::Error::other)
}

/// What ended a [`turn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// Events came, or nothing at all.
    On,
    /// `wake` can be read or was closed.
    Woken,
    /// The deadline passed.
    Late,
}

/// Sends what is queued, waits until something arrives, `wake` can be read or `deadline` passes, and dispatches.
///
/// # Errors
/// When the compositor hung up or broke the protocol.
pub fn turn<S>(
    queue: &mut EventQueue<S>,
    state: &mut S,
    wake: Option<BorrowedFd<'_>>,
    deadline: Option<Timestamp>,
) -> Result<Turned, DispatchError> {
    if queue.dispatch_pending(state)? > 0 {
        return Ok(Turned::On);
    }
    let unsent = match queue.flush() {
        Err(WaylandError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => true,
        sent => sent.map(|()| false)?,
    };
    let Some(guard) = queue.prepare_read() else { return Ok(Turned::On) };
    let wanted = if unsent { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
    let timeout = deadline.map(|deadline| {
        let left = deadline.since(clock::now());
        Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        }
    });
    let (ready, readable, woken) = {
        let socket = guard.connection_fd();
        let mut fds = vec![PollFd::from_borrowed_fd(socket, wanted)];
        fds.extend(wake.map(|wake| PollFd::from_borrowed_fd(wake, PollFlags::IN)));
        let ready = match poll(&mut fds, timeout.as_ref()) {
            Ok(ready) => ready > 0,
            // As if something had come: the caller looks again.
            Err(rustix::io::Errno::INTR) => true,
            Err(error) => return Err(WaylandError::Io(error.into()).into()),
        };
        let here = |fd: &PollFd<'_>| fd.revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
        (ready, here(&fds[0]), fds.get(1).is_some_and(here))
    };
    if readable {
        match guard.read() {
            Err(WaylandError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => drop(read?),
        }
    }
    queue.dispatch_pending(state)?;
    Ok(match (woken, ready) {
        (true, _) => Turned::Woken,
        (false, true) => Turned::On,
        (false, false) => Turned::Late,
    })
}

/// Dispatches until `done` says so; `false` when `deadline` passed first.
///
/// # Errors
/// As [`turn`].
pub fn until<S>(
    queue: &mut EventQueue<S>,
    state: &mut S,
    deadline: Timestamp,
    done: impl Fn(&S) -> bool,
) -> Result<bool, DispatchError> {
    while !done(state) {
        if clock::now() >= deadline {
            return Ok(false);
        }
        turn(queue, state, None, Some(deadline))?;
    }
    Ok(true)
}
