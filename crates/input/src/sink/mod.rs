//! A thread between whoever has input and a desktop: sending only queues, so a desktop that hangs stops nobody
//! (`docs/design/input.md`).

mod figures;
mod queue;

use figures::Figures;
use lumen_media::priority::{Priority, raise};
use lumen_media::{InputEvent, InputReport, InputSink, PenPointer, Timestamp, clock};
use queue::Queue;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Events between two flushes: what they become fits into the buffer of a Wayland connection (4 KiB).
const BATCH: usize = 24;
/// Between two attempts to reach a desktop that was lost.
const AGAIN: Duration = Duration::from_secs(1);
/// For letting go of what is held, at the end.
const FAREWELL: Duration = Duration::from_millis(300);
/// How often a connection that takes nothing is looked at.
const BLOCKED: Duration = Duration::from_millis(50);
/// How long events wait for the devices of a desktop that is just being connected.
const ARRIVAL: Duration = Duration::from_secs(2);
/// How long an event waits for a device that was there before.
const RETURN: Duration = Duration::from_millis(300);

/// Why a desktop takes no input.
#[derive(Clone, Debug, thiserror::Error)]
pub enum InputError {
    /// It never will.
    #[error("{desktop} takes no input from Lumen: {cause}. {remedy}")]
    Unsupported {
        /// The desktop's name.
        desktop: &'static str,
        /// What is missing.
        cause: String,
        /// What the user can do.
        remedy: String,
    },
    /// It may later.
    #[error("the input connection to {desktop} broke: {cause}. It is made again while the stream lasts")]
    Lost {
        /// The desktop's name.
        desktop: &'static str,
        /// What was seen.
        cause: String,
    },
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It is a request now.
    Sent,
    /// A device for it is still to come.
    NotYet,
    /// The desktop has nothing that takes it.
    Never,
}

/// A connection to a desktop's input, used by one thread.
pub(crate) trait Driver {
    /// How events get there, for the status.
    fn path(&self) -> &'static str;

    /// What the desktop cannot take; empty when it takes all.
    fn fallback(&self) -> String {
        String::new()
    }

    /// Queues the requests for an event. Does not wait, but for text that goes by a way of its own.
    fn apply(&mut self, event: &InputEvent) -> Applied;

    /// Sends what is queued; `false` when the desktop takes no more at the moment.
    fn flush(&mut self) -> Result<bool, InputError>;

    /// Waits until the desktop says something, `wake` can be read, or `deadline` passes; handles what came.
    fn turn(&mut self, wake: BorrowedFd<'_>, deadline: Option<Timestamp>) -> Result<(), InputError>;
}

/// Makes a connection; within a few seconds.
pub(crate) type Connect = Box<dyn FnMut() -> Result<Box<dyn Driver>, InputError> + Send>;

#[derive(Debug, Default)]
struct Shared {
    queue: Queue,
    pen: PenPointer,
    /// Nobody takes events at the moment.
    closed: bool,
    stop: bool,
    path: &'static str,
    fallback: String,
    figures: Figures,
    /// Events that no device took.
    refused: u64,
}

impl Shared {
    fn take(&mut self, event: InputEvent, received: Timestamp) {
        if self.closed {
            self.refused += 1;
        } else {
            self.queue.push(event, received);
        }
    }
}

/// Hands events to a thread of its own. Dropping it lets go of all that is held, and ends the thread.
pub(crate) struct ThreadSink {
    desktop: &'static str,
    shared: Arc<Mutex<Shared>>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl ThreadSink {
    /// A sink for `desktop`. Returns at once; the thread connects.
    pub fn start(desktop: &'static str, connect: Connect) -> std::io::Result<Self> {
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let shared = Arc::new(Mutex::new(Shared::default()));
        let worker =
            Worker { desktop, shared: shared.clone(), wake: wake.clone(), said: None, refusal_said: false };
        let thread =
            std::thread::Builder::new().name("lumen-input".into()).spawn(move || worker.run(connect))?;
        Ok(Self { desktop, shared, wake, thread: Some(thread) })
    }
}

impl InputSink for ThreadSink {
    fn send(&self, event: InputEvent) {
        self.deliver(event, clock::now());
    }

    fn deliver(&self, event: InputEvent, received: Timestamp) {
        let mut shared = lock(&self.shared);
        let asleep = shared.queue.is_empty();
        match event {
            // No desktop lends a tablet.
            InputEvent::Pen(pen) => {
                for event in shared.pen.follow(pen) {
                    shared.take(event, received);
                }
            }
            event => shared.take(event, received),
        }
        let wake = asleep && !shared.queue.is_empty();
        drop(shared);
        if wake {
            signal(&self.wake);
        }
    }

    fn report(&self) -> InputReport {
        let shared = lock(&self.shared);
        InputReport {
            path: shared.path,
            fallback: shared.fallback.clone(),
            delivered: shared.figures.count(),
            dropped: shared.refused + shared.queue.dropped,
            p50_us: shared.figures.percentile(0.5),
            p99_us: shared.figures.percentile(0.99),
        }
    }
}

impl Drop for ThreadSink {
    fn drop(&mut self) {
        lock(&self.shared).stop = true;
        signal(&self.wake);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let report = self.report();
        tracing::debug!(desktop = self.desktop, ?report, "input ended");
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn signal(wake: &OwnedFd) {
    // Full means that it is awake anyway.
    let _ = rustix::io::write(wake, &1_u64.to_ne_bytes());
}

fn quiet(wake: &OwnedFd) {
    let _ = rustix::io::read(wake, &mut [0; 8]);
}

struct Worker {
    desktop: &'static str,
    shared: Arc<Mutex<Shared>>,
    wake: Arc<OwnedFd>,
    /// The last trouble that was logged.
    said: Option<String>,
    refusal_said: bool,
}

impl Worker {
    fn run(mut self, mut connect: Connect) {
        // An encoder that takes all processors must not make the pointer late.
        let mut raised = false;
        while !self.stopped() {
            let error = match connect() {
                Ok(mut driver) => {
                    // Not earlier: a connection may start threads, and compiles a keymap.
                    if !std::mem::replace(&mut raised, true) {
                        raise(Priority::RealTime);
                    }
                    {
                        let mut shared = lock(&self.shared);
                        shared.path = driver.path();
                        shared.fallback = driver.fallback();
                        shared.closed = false;
                    }
                    tracing::info!(
                        desktop = self.desktop,
                        path = driver.path(),
                        fallback = driver.fallback(),
                        "input connected"
                    );
                    match self.serve(driver.as_mut()) {
                        Ok(()) => return,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            self.say(&error);
            {
                let mut shared = lock(&self.shared);
                shared.queue.clear();
                shared.closed = true;
                shared.path = "";
                shared.fallback = error.to_string();
            }
            let forever = matches!(error, InputError::Unsupported { .. });
            self.pause((!forever).then_some(AGAIN));
        }
    }

    /// Once for each cause.
    fn say(&mut self, error: &InputError) {
        let text = error.to_string();
        if self.said.as_ref() != Some(&text) && !self.stopped() {
            tracing::warn!("{text}");
            self.said = Some(text);
        }
    }

    fn stopped(&self) -> bool {
        lock(&self.shared).stop
    }

    /// Until the sink is dropped, or for so long.
    fn pause(&self, limit: Option<Duration>) {
        let until = limit.map(|limit| clock::now() + limit);
        while !self.stopped() {
            quiet(&self.wake);
            if self.stopped() || until.is_some_and(|until| until <= clock::now()) {
                return;
            }
            let timeout = until.map(|until| timespec(until.since(clock::now())));
            let _ = poll(&mut [PollFd::new(&self.wake, PollFlags::IN)], timeout.as_ref());
        }
    }

    /// Delivers until the sink is dropped.
    fn serve(&mut self, driver: &mut dyn Driver) -> Result<(), InputError> {
        let patient_until = clock::now() + ARRIVAL;
        let mut first: Option<queue::Waiting> = None;
        let mut sent = Vec::with_capacity(BATCH);
        let mut until = None;
        // Kinds of events that a device took before.
        let mut taken: Vec<&str> = Vec::new();
        loop {
            quiet(&self.wake);
            let flushed = driver.flush()?;
            if !sent.is_empty() && flushed {
                let now = clock::now();
                let mut shared = lock(&self.shared);
                for received in sent.drain(..) {
                    shared.figures.add(now.since(received));
                }
            }
            let now = clock::now();
            let mut waits = !flushed;
            if flushed {
                let mut room = BATCH;
                while room > 0 {
                    let next = first.take().or_else(|| lock(&self.shared).queue.pop());
                    let Some(waiting) = next else { break };
                    room -= 1;
                    match driver.apply(&waiting.event) {
                        Applied::Sent => {
                            let kind = kind(&waiting.event);
                            if !taken.contains(&kind) {
                                taken.push(kind);
                            }
                            sent.push(waiting.received);
                        }
                        // At the start, or a device that is made anew: a click must not go where the pointer was.
                        Applied::NotYet
                            if until.is_none()
                                && (now < patient_until
                                    || now < waiting.received + RETURN
                                        && taken.contains(&kind(&waiting.event))) =>
                        {
                            first = Some(waiting);
                            waits = true;
                            break;
                        }
                        Applied::NotYet | Applied::Never => {
                            // It did not come back: nothing waits for it again.
                            taken.retain(|taken| *taken != kind(&waiting.event));
                            self.refused(&waiting.event);
                        }
                    }
                }
                // A full batch, or at least one that is to be flushed.
                if !sent.is_empty() || room == 0 {
                    continue;
                }
            }
            let stop = {
                let mut shared = lock(&self.shared);
                if shared.stop && until.is_none() {
                    until = Some(now + FAREWELL);
                    shared.queue.release_all(now);
                    shared.closed = true;
                }
                shared.stop
                    && (shared.queue.is_empty() && first.is_none() && flushed
                        || until.is_some_and(|until| until <= now))
            };
            if stop {
                return Ok(());
            }
            let more = !lock(&self.shared).queue.is_empty() && !waits;
            if more {
                continue;
            }
            driver.turn(self.wake.as_fd(), waits.then(|| now + BLOCKED))?;
        }
    }

    fn refused(&mut self, event: &InputEvent) {
        lock(&self.shared).refused += 1;
        // Letting go of what was never held is no loss.
        let release = matches!(
            event,
            InputEvent::Key { pressed: false, .. } | InputEvent::Button { pressed: false, .. }
        );
        if !self.refusal_said && !release {
            self.refusal_said = true;
            let kind = kind(event);
            tracing::warn!(
                desktop = self.desktop,
                kind,
                "an event was dropped: the desktop has no device for it; further ones are only counted"
            );
        }
    }
}

/// What is typed does not belong in a log.
fn kind(event: &InputEvent) -> &'static str {
    match event {
        InputEvent::Key { .. } => "key",
        InputEvent::PointerMotion { .. } => "pointer motion",
        InputEvent::PointerAbsolute { .. } => "pointer position",
        InputEvent::Button { .. } => "button",
        InputEvent::Scroll { .. } => "scroll",
        InputEvent::Touch { .. } => "touch",
        InputEvent::Pen(_) => "pen",
        InputEvent::Text(_) => "text",
    }
}

pub(crate) fn timespec(left: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(left.subsec_nanos()),
    }
}

/// Takes nothing: for a thread that could not be started.
#[derive(Debug)]
struct Nothing(&'static str);

impl InputSink for Nothing {
    fn send(&self, _event: InputEvent) {}

    fn report(&self) -> InputReport {
        InputReport {
            fallback: format!("the thread for input to {} could not be started", self.0),
            ..InputReport::default()
        }
    }
}

/// A sink on a thread of its own.
pub(crate) fn start(desktop: &'static str, connect: Connect) -> Arc<dyn InputSink> {
    match ThreadSink::start(desktop, connect) {
        Ok(sink) => Arc::new(sink),
        Err(error) => {
            tracing::warn!(%error, desktop, "the thread for input cannot be started: the stream can be watched only");
            Arc::new(Nothing(desktop))
        }
    }
}

#[cfg(test)]
mod tests;
