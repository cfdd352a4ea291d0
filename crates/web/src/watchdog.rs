//! Deadlines on a connection that HTTP reads from and writes to.
//!
//! The stream knows when bytes move, the service knows when a request is being handled; both share the [`Phase`]. A
//! deadline that passes fails the pending read or write, which ends the connection.

use crate::limits::Limits;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Duration, Instant, Sleep, sleep_until};

/// What the connection waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The rest of a request's header, until then.
    Header(Instant),
    /// The next request, until then.
    Idle(Instant),
    /// The handler, which may take its time.
    Busy,
}

/// The phase of one connection, shared by its stream and its service.
#[derive(Clone)]
pub(crate) struct Watchdog {
    phase: Arc<Mutex<Phase>>,
    slow: Arc<AtomicBool>,
    limits: Limits,
}

impl Watchdog {
    pub fn new(limits: Limits) -> Self {
        let phase = Phase::Header(Instant::now() + limits.header);
        Self { phase: Arc::new(Mutex::new(phase)), slow: Arc::default(), limits }
    }

    /// A request is being handled.
    pub fn busy(&self) {
        self.set(Phase::Busy);
    }

    /// The answer is on its way.
    pub fn idle(&self) {
        self.set(Phase::Idle(Instant::now() + self.limits.idle));
    }

    /// The peer let a deadline pass within a request or an answer.
    pub fn slow(&self) {
        self.slow.store(true, Ordering::Relaxed);
    }

    /// Whether it ever did.
    pub fn was_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed)
    }

    /// The deadline of a read has passed. Idling between requests is what clients may do.
    fn expired(&self) {
        if matches!(self.phase(), Phase::Header(_)) {
            self.slow();
        }
    }

    fn received(&self) {
        if matches!(self.phase(), Phase::Idle(_)) {
            self.set(Phase::Header(Instant::now() + self.limits.header));
        }
    }

    /// A long answer to a slow peer does not count as idling.
    fn sent(&self) {
        if matches!(self.phase(), Phase::Idle(_)) {
            self.idle();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self.phase() {
            Phase::Header(deadline) | Phase::Idle(deadline) => Some(deadline),
            Phase::Busy => None,
        }
    }

    fn phase(&self) -> Phase {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }
}

/// A stream under a [`Watchdog`].
pub(crate) struct Watched<S> {
    stream: S,
    watchdog: Watchdog,
    read_timer: Pin<Box<Sleep>>,
    /// Runs only while the peer does not take what is written.
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    pub fn new(stream: S, watchdog: Watchdog) -> Self {
        let read_timer = Box::pin(sleep_until(Instant::now()));
        Self { stream, watchdog, read_timer, write_timer: None }
    }

    /// Passes on what a write said, unless it has been pending for too long.
    fn limit_write<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_timer = None;
            self.watchdog.sent();
            return written;
        }
        let limit: Duration = self.watchdog.limits.write;
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + limit)));
        ready!(timer.as_mut().poll(context));
        self.watchdog.slow();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(context, buffer) {
            if buffer.filled().len() > before {
                this.watchdog.received();
            }
            return Poll::Ready(read);
        }
        let Some(deadline) = this.watchdog.deadline() else { return Poll::Pending };
        if this.read_timer.deadline() != deadline {
            this.read_timer.as_mut().reset(deadline);
        }
        ready!(this.read_timer.as_mut().poll(context));
        this.watchdog.expired();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.limit_write(context, written)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_flush(context) {
            // Nothing to flush is no progress: it must not keep an idle connection alive.
            Poll::Ready(flushed) => {
                this.write_timer = None;
                Poll::Ready(flushed)
            }
            Poll::Pending => this.limit_write(context, Poll::Pending),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let closed = Pin::new(&mut this.stream).poll_shutdown(context);
        this.limit_write(context, closed)
    }
}
