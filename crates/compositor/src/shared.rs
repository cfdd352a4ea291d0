//! What the host's threads and the compositor's thread have in common.

use lumen_media::slot::Receiver as Frames;
use lumen_media::{DisplayError, Frame, FrameSource, Mode};
use smithay::reexports::calloop::ping::Ping;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender as Answer, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the compositor's thread may take to change its mode.
const MODE_PATIENCE: Duration = Duration::from_secs(2);

/// Another mode is wished for; the answer goes to whoever waits.
pub(crate) struct ModeWish {
    pub(crate) mode: Mode,
    /// Tells it from others of the same mode.
    number: u64,
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
    mode_wishes: AtomicU64,
}

/// A wish that was uttered, for the one who waits.
struct PendingMode<'a> {
    wishes: &'a Wishes,
    number: u64,
    answer: Receiver<Result<(), DisplayError>>,
}

impl PendingMode<'_> {
    fn wait(self, patience: Duration) -> Result<(), DisplayError> {
        let other = |text: &str| Err(DisplayError::Other(text.to_owned()));
        match self.answer.recv_timeout(patience) {
            Ok(answer) => return answer,
            Err(RecvTimeoutError::Disconnected) => {
                return other("the mode was not changed: another change came first, or the compositor ended");
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        let withdrawn = self.wishes.lock_mode().take_if(|wish| wish.number == self.number);
        if withdrawn.is_some() {
            return other(
                "the compositor does not answer; the mode stays. See the log for what keeps it busy",
            );
        }
        // It was taken: what is being done ends with an answer, or with the thread.
        self.answer
            .recv()
            .unwrap_or_else(|_| other("the compositor ended while it changed its mode; see the log"))
    }
}

impl Wishes {
    pub(crate) fn new(wake: Ping) -> Self {
        Self {
            wake,
            stop: AtomicBool::new(false),
            active: AtomicBool::new(false),
            activations: AtomicU64::new(0),
            mode: Mutex::new(None),
            mode_wishes: AtomicU64::new(0),
        }
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake.ping();
    }

    /// Has the mode changed, and waits until it is. After an error the output keeps the mode that it had: a wish that
    /// nobody took in time is withdrawn, and one that was taken is waited for to its end.
    pub(crate) fn set_mode(&self, mode: Mode) -> Result<(), DisplayError> {
        self.wish(mode).wait(MODE_PATIENCE)
    }

    fn wish(&self, mode: Mode) -> PendingMode<'_> {
        let number = self.mode_wishes.fetch_add(1, Ordering::Relaxed);
        let (done, answer) = sync_channel(1);
        *self.lock_mode() = Some(ModeWish { mode, number, done });
        self.wake.ping();
        PendingMode { wishes: self, number, answer }
    }

    fn lock_mode(&self) -> MutexGuard<'_, Option<ModeWish>> {
        self.mode.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest wish for another mode.
    pub(crate) fn take_mode(&self) -> Option<ModeWish> {
        self.lock_mode().take()
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
    pub(crate) frames: Frames<Frame>,
    pub(crate) wishes: Arc<Wishes>,
}

impl FrameSource for Source {
    fn frames(&self) -> &Frames<Frame> {
        &self.frames
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

#[cfg(test)]
mod tests {
    use super::*;
    use smithay::reexports::calloop::ping::make_ping;
    use std::sync::Barrier;

    fn wishes() -> Wishes {
        let (wake, _woken) = make_ping().expect("eventfd");
        Wishes::new(wake)
    }

    fn mode(width: u32) -> Mode {
        Mode::new(width, 720, 60_000).expect("valid")
    }

    #[test]
    fn a_wish_that_nobody_takes_is_withdrawn() {
        let wishes = wishes();
        let error = wishes.wish(mode(1280)).wait(Duration::ZERO).expect_err("nobody is there");
        assert!(error.to_string().contains("does not answer"), "{error}");
        assert!(
            wishes.take_mode().is_none(),
            "the output must not change after the host was told that it does not"
        );
    }

    #[test]
    fn a_wish_that_was_taken_is_waited_for() {
        let wishes = wishes();
        let pending = wishes.wish(mode(1280));
        let taken = wishes.take_mode().expect("there");
        let waiting = Barrier::new(2);
        std::thread::scope(|scope| {
            let answer = scope.spawn(|| {
                waiting.wait();
                pending.wait(Duration::ZERO)
            });
            waiting.wait();
            // Gives the other thread time to run out of patience; right in either case.
            std::thread::yield_now();
            taken.done.send(Ok(())).expect("waited for");
            answer.join().expect("no panic").expect("the mode changed");
        });
    }

    #[test]
    fn only_the_own_wish_is_withdrawn() {
        let wishes = wishes();
        let first = wishes.wish(mode(1280));
        let _second = wishes.wish(mode(1280));
        first.wait(Duration::ZERO).expect_err("another came first");
        assert!(wishes.take_mode().is_some_and(|wish| wish.number == 1));
    }

    #[test]
    fn a_compositor_that_ends_ends_the_wait() {
        let wishes = wishes();
        let pending = wishes.wish(mode(1280));
        drop(wishes.take_mode());
        pending.wait(MODE_PATIENCE).expect_err("nobody will answer");
    }
}
