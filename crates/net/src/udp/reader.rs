//! The thread that reads a port.

use super::{RECEIVE_BUFFER, UdpPort};
use crate::path::Path;
use lumen_media::priority::{Priority, raise};
use lumen_media::{Timestamp, clock};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Datagrams read before [`PortHandler::idle`] is called in between.
const BURST: usize = 32;
/// Pause after an error that is not the end of the data, so that a broken socket does not eat a core.
const ERROR_PAUSE: Duration = Duration::from_millis(20);

/// What a [`Reader`] calls, all on its own thread.
pub trait PortHandler: Send + 'static {
    /// A datagram arrived.
    fn datagram(&mut self, path: Path, bytes: &[u8], now: Timestamp);

    /// Called once at the start, after each burst of datagrams, after each [`Reader::wake`] and at the time that the
    /// last call asked for. The place to run timers, take commands and send. Answers when to be called at the latest;
    /// `None` for not before something happens.
    fn idle(&mut self, _now: Timestamp) -> Option<Timestamp> {
        None
    }
}

impl<F: FnMut(Path, &[u8], Timestamp) + Send + 'static> PortHandler for F {
    fn datagram(&mut self, path: Path, bytes: &[u8], now: Timestamp) {
        self(path, bytes, now);
    }
}

struct Control {
    wake: OwnedFd,
    stop: AtomicBool,
}

impl Control {
    fn notify(&self) {
        // The counter can only be full when a wake is pending anyway.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

/// A thread that reads a port. Dropping it stops the thread and waits for it.
pub struct Reader {
    control: Arc<Control>,
    thread: Option<JoinHandle<()>>,
}

/// Ends a [`Reader`]'s wait from another thread.
#[derive(Clone)]
pub struct ReaderWaker(Arc<Control>);

impl ReaderWaker {
    /// Has [`PortHandler::idle`] called soon.
    pub fn wake(&self) {
        self.0.notify();
    }
}

impl Reader {
    /// Starts a thread called `name` (15 bytes are shown by the system).
    ///
    /// # Errors
    /// When the system refuses a thread or a descriptor.
    pub fn spawn(port: Arc<UdpPort>, name: &str, handler: impl PortHandler) -> io::Result<Reader> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let control = Arc::new(Control { wake, stop: AtomicBool::new(false) });
        let theirs = control.clone();
        let thread =
            std::thread::Builder::new().name(name.to_owned()).spawn(move || read(&port, &theirs, handler))?;
        Ok(Reader { control, thread: Some(thread) })
    }

    /// Has [`PortHandler::idle`] called soon, for example because a command lies ready.
    pub fn wake(&self) {
        self.control.notify();
    }

    /// A handle for [`Reader::wake`] that other threads can keep.
    pub fn waker(&self) -> ReaderWaker {
        ReaderWaker(self.control.clone())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.control.stop.store(true, Ordering::Release);
        self.control.notify();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("a reader thread panicked");
        }
    }
}

fn read(port: &UdpPort, control: &Control, mut handler: impl PortHandler) {
    let mut buffer = vec![0u8; RECEIVE_BUFFER];
    // Input comes here.
    raise(Priority::High);
    while !control.stop.load(Ordering::Acquire) {
        let mut more = false;
        for _ in 0..BURST {
            let now = clock::now();
            match port.receive(&mut buffer, |path, bytes| handler.datagram(path, bytes, now)) {
                Ok(()) => more = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    more = false;
                    break;
                }
                Err(error) => {
                    more = false;
                    tracing::debug!(port = port.port(), %error, "cannot receive");
                    std::thread::sleep(ERROR_PAUSE);
                    break;
                }
            }
        }
        let deadline = handler.idle(clock::now());
        if !more {
            wait(port, control, deadline);
        }
    }
}

/// Waits for a datagram, a wake or the deadline.
fn wait(port: &UdpPort, control: &Control, deadline: Option<Timestamp>) {
    let timeout = deadline.map(|deadline| {
        let left = deadline.since(clock::now());
        // 64-bit seconds hold every duration that a deadline can be away.
        Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() }
    });
    let mut sources = [PollFd::new(port, PollFlags::IN), PollFd::new(&control.wake, PollFlags::IN)];
    if poll(&mut sources, timeout.as_ref()).is_ok() && !sources[1].revents().is_empty() {
        let mut count = [0u8; 8];
        // Empties the counter; nothing to read means that another pass did.
        let _ = rustix::io::read(&control.wake, &mut count);
    }
}
