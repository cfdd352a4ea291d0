//! What the host's threads and the compositor's thread have in common.

use lumen_media::slot::{Receiver, Wait, Waker};
use lumen_media::{DisplayError, Frame, FrameSource, InputEvent, InputSink, Mode, Timestamp};
use smithay::reexports::calloop::channel::SyncSender;
use smithay::reexports::calloop::ping::Ping;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender as Answer, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long the compositor's thread may take to change its mode.
const MODE_PATIENCE: Duration = Duration::from_secs(2);

/// Another mode is wished for; the answer goes to whoever waits.
pub(crate) struct ModeWish {
    pub(crate) mode: Mode,
    pub(crate) done: Answer<Result<(), DisplayError>>,
}

/// Wishes of the host; `wake` makes the compositor look at them.
pub(crate) struct Wishes {
    wake: Ping,
    stop: AtomicBool,
    active: AtomicBool,
    /// Counts activations, so that one which follows at once upon its opposite is not missed.
    activations: AtomicU64,
    mode: Mutex<Option<ModeWish>>,
}

impl Wishes {
    pub(crate) fn new(wake: Ping) -> Self {
        Self {
            wake,
            stop: AtomicBool::new(false),
            active: AtomicBool::new(false),
            activations: AtomicU64::new(0),
            mode: Mutex::new(None),
        }
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake.ping();
    }

    /// Has the mode changed, and waits until it is.
    pub(crate) fn set_mode(&self, mode: Mode) -> Result<(), DisplayError> {
        let (done, answer) = sync_channel(1);
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = Some(ModeWish { mode, done });
        self.wake.ping();
        answer
            .recv_timeout(MODE_PATIENCE)
            .unwrap_or_else(|_| Err(DisplayError::Other("the compositor does not answer".to_owned())))
    }

    /// The newest wish for another mode.
    pub(crate) fn take_mode(&self) -> Option<ModeWish> {
        self.mode.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Whether anybody watches, and how often that began.
    pub(crate) fn active(&self) -> (bool, u64) {
        (self.active.load(Ordering::Acquire), self.activations.load(Ordering::Acquire))
    }
}

/// Pictures of the output, for the host.
pub(crate) struct Source {
    pub(crate) frames: Receiver<Frame>,
    pub(crate) wishes: Arc<Wishes>,
}

impl FrameSource for Source {
    fn try_latest(&mut self) -> Option<Frame> {
        self.frames.try_take()
    }

    fn wait_latest(&mut self, deadline: Option<Timestamp>) -> Wait<Frame> {
        self.frames.wait(deadline)
    }

    fn waker(&self) -> Waker<Frame> {
        self.frames.waker()
    }

    fn is_closed(&self) -> bool {
        self.frames.is_closed()
    }

    fn set_active(&mut self, active: bool) {
        // What lies there is of an earlier stream.
        drop(self.frames.try_take());
        if active {
            self.wishes.activations.fetch_add(1, Ordering::AcqRel);
        }
        self.wishes.active.store(active, Ordering::Release);
        self.wishes.wake.ping();
    }
}

/// Input for the output. Bounded; what does not fit because the compositor hangs is dropped and counted.
pub(crate) struct Sink {
    pub(crate) events: SyncSender<InputEvent>,
    pub(crate) dropped: AtomicU64,
}

impl InputSink for Sink {
    fn send(&self, event: InputEvent) {
        if self.events.try_send(event).is_err() {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            if dropped.is_power_of_two() {
                tracing::warn!(dropped, "the compositor takes no input");
            }
        }
    }
}
