//! Connections to compositors on which no wait is without a deadline.

use lumen_media::{Timestamp, clock};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use wayland_client::backend::WaylandError;
use wayland_client::{DispatchError, EventQueue};

/// What ended a [`turn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turned {
    /// Events came, or the deadline passed.
    On,
    /// `wake` can be read or was closed.
    Woken,
}

/// Sends what is queued, waits until something arrives, `wake` ends or `deadline` passes, and dispatches.
pub(super) fn turn<S>(
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
        Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) }
    });
    let (readable, woken) = {
        let socket = guard.connection_fd();
        let mut fds = vec![PollFd::from_borrowed_fd(socket.as_fd(), wanted)];
        fds.extend(wake.map(|wake| PollFd::from_borrowed_fd(wake, PollFlags::IN)));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(WaylandError::Io(error.into()).into()),
        }
        let here = |fd: &PollFd<'_>| fd.revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
        (here(&fds[0]), fds.get(1).is_some_and(here))
    };
    if readable {
        match guard.read() {
            Err(WaylandError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => drop(read?),
        }
    }
    queue.dispatch_pending(state)?;
    Ok(if woken { Turned::Woken } else { Turned::On })
}

/// Dispatches until `done` says so; `false` when `deadline` passed first.
pub(super) fn until<S>(
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
