//! A connection to a compositor on which no wait is without a deadline, and the wake-up of the thread that owns it.

use lumen_media::{Timestamp, clock};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use wayland_client::backend::WaylandError;
use wayland_client::{Connection, DispatchError, EventQueue};

/// Connects to the socket at `path`. A compositor that hangs with a full backlog refuses instead of blocking.
pub(super) fn open(path: &Path) -> io::Result<Connection> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Connection::from_socket(UnixStream::from(socket)).map_err(io::Error::other)
}

/// Wakes the thread that polls it.
#[derive(Debug)]
pub(super) struct Bell(OwnedFd);

impl Bell {
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Ends the current wait, or the next one.
    pub fn ring(&self) {
        // Fails only when the counter is full, and then the thread wakes up anyway.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    fn silence(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sends what is queued, waits until something arrives, the bell rings or `deadline` passes, and dispatches.
///
/// # Errors
/// When the compositor hung up or broke the protocol.
pub(super) fn turn<S>(
    queue: &mut EventQueue<S>,
    state: &mut S,
    bell: Option<&Bell>,
    deadline: Option<Timestamp>,
) -> Result<(), DispatchError> {
    if queue.dispatch_pending(state)? > 0 {
        return Ok(());
    }
    let unsent = match queue.flush() {
        Err(WaylandError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => true,
        sent => sent.map(|()| false)?,
    };
    let Some(guard) = queue.prepare_read() else { return Ok(()) };
    let wanted = if unsent { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
    let timeout = deadline.map(|deadline| {
        let left = deadline.since(clock::now());
        Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) }
    });
    let (readable, rung) = {
        let mut fds = vec![PollFd::from_borrowed_fd(guard.connection_fd(), wanted)];
        fds.extend(bell.map(|bell| PollFd::new(bell, PollFlags::IN)));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(WaylandError::Io(error.into()).into()),
        }
        let here = |fd: &PollFd<'_>| fd.revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
        (here(&fds[0]), fds.get(1).is_some_and(here))
    };
    if rung && let Some(bell) = bell {
        bell.silence();
    }
    if readable {
        match guard.read() {
            Err(WaylandError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => drop(read?),
        }
    }
    queue.dispatch_pending(state).map(drop)
}

/// Dispatches until `done` says so; `false` when `deadline` passed first.
///
/// # Errors
/// As [`turn`].
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
