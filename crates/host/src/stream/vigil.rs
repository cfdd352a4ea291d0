//! Whether the desktop behind pictures that stopped coming still lives.
//!
//! A compositor that hangs closes nothing: its pictures just stop, like those of a desktop where nothing moves. So after a
//! moment without a picture it is asked, on a thread of its own; the pictures go on meanwhile, if they do.

use lumen_media::display::Pulse;
use lumen_media::slot::Waker;
use lumen_media::{Frame, Timestamp, clock};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Without a picture, until the desktop is asked, and asked again.
pub const SILENCE: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Talk {
    asked: bool,
    answer: Option<bool>,
    stopping: bool,
}

#[derive(Default)]
struct Shared {
    talk: Mutex<Talk>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Talk> {
        self.talk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches over one source.
pub struct Vigil {
    shared: Arc<Shared>,
    /// When the last picture came, or the last answer.
    quiet_since: Timestamp,
    asking: bool,
    /// A picture came after the question.
    seen_since: bool,
}

impl Vigil {
    /// Asks by `pulse` with `limit` for the answer, and wakes who waits for pictures when there is one. `None` where no
    /// thread is to be had.
    pub fn start(pulse: Pulse, limit: Duration, waker: Waker<Frame>) -> Option<Self> {
        let shared = Arc::new(Shared::default());
        let asks = {
            let shared = shared.clone();
            move || run(&shared, || pulse(limit), &waker)
        };
        let thread = std::thread::Builder::new().name("lumen-vigil".into()).spawn(asks);
        thread.inspect_err(|error| tracing::warn!(%error, "no thread to watch over the desktop")).ok()?;
        Some(Self { shared, quiet_since: clock::now(), asking: false, seen_since: false })
    }

    /// When to call [`Vigil::is_over`] although nothing came; `None` while an answer is waited for.
    pub fn due(&self) -> Option<Timestamp> {
        (!self.asking).then(|| self.quiet_since + SILENCE)
    }

    /// A picture came.
    pub fn seen(&mut self, now: Timestamp) {
        self.quiet_since = now;
        self.seen_since = true;
    }

    /// Asks when it is time; true when the desktop did not answer and no picture came either.
    pub fn is_over(&mut self, now: Timestamp) -> bool {
        let mut talk = self.shared.lock();
        if let Some(lives) = talk.answer.take() {
            self.asking = false;
            if !lives && !self.seen_since {
                return true;
            }
            self.quiet_since = now;
        } else if !self.asking && now.since(self.quiet_since) >= SILENCE {
            self.asking = true;
            self.seen_since = false;
            talk.asked = true;
            drop(talk);
            self.shared.changed.notify_all();
        }
        false
    }
}

impl Drop for Vigil {
    /// Does not wait for its thread, which may have a question open that a desktop leaves so: it ends after that.
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_all();
    }
}

fn run(shared: &Shared, ask: impl Fn() -> bool, waker: &Waker<Frame>) {
    let mut talk = shared.lock();
    loop {
        if talk.stopping {
            return;
        }
        if !std::mem::take(&mut talk.asked) {
            talk = shared.changed.wait(talk).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        drop(talk);
        let lives = ask();
        talk = shared.lock();
        talk.answer = Some(lives);
        waker.nudge();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumen_media::slot::{Receiver, Sender, Wait, slot};
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::sync::mpsc::channel;

    const ANSWER: Duration = Duration::from_secs(2);

    struct Listening {
        vigil: Vigil,
        frames: Receiver<Frame>,
        asked: Arc<AtomicU64>,
        _sender: Sender<Frame>,
    }

    fn listen(lives: bool) -> Listening {
        let (sender, frames) = slot();
        let asked = Arc::new(AtomicU64::new(0));
        let counted = asked.clone();
        let pulse: Pulse = Arc::new(move |limit| {
            assert_eq!(limit, ANSWER);
            counted.fetch_add(1, Ordering::AcqRel);
            lives
        });
        let vigil = Vigil::start(pulse, ANSWER, frames.waker()).expect("a thread");
        Listening { vigil, frames, asked, _sender: sender }
    }

    impl Listening {
        /// Time is made up: what is waited for is the thread's answer.
        fn verdict(&mut self, picture: bool) -> bool {
            let start = self.vigil.quiet_since;
            assert!(!self.vigil.is_over(start + SILENCE), "it is asked first");
            assert_eq!(self.vigil.due(), None);
            let patience = clock::now() + Duration::from_secs(20);
            assert!(matches!(self.frames.wait(Some(patience)), Wait::Nudged));
            if picture {
                self.vigil.seen(start + SILENCE + ANSWER / 2);
            }
            self.vigil.is_over(start + SILENCE + ANSWER)
        }
    }

    #[test]
    fn who_does_not_answer_is_given_up() {
        let mut listening = listen(false);
        let early = listening.vigil.quiet_since + SILENCE / 2;
        assert!(!listening.vigil.is_over(early));
        assert!(listening.vigil.due().is_some(), "too early to ask");
        assert!(listening.verdict(false));
    }

    #[test]
    fn who_answers_is_asked_again_later() {
        let mut listening = listen(true);
        assert!(!listening.verdict(false));
        assert!(listening.vigil.due().is_some());
        assert!(!listening.verdict(false));
        assert_eq!(listening.asked.load(Ordering::Acquire), 2);
    }

    #[test]
    fn a_picture_meanwhile_is_an_answer_too() {
        let mut listening = listen(false);
        assert!(!listening.verdict(true));
        assert!(listening.verdict(false));
    }

    #[test]
    fn dropping_it_ends_its_thread_and_waits_for_no_answer() {
        let gone = Arc::new(AtomicBool::new(false));
        let (asked, was_asked) = channel();
        let (answer, answered) = channel::<()>();
        let (asked, answered) = (Mutex::new(asked), Mutex::new(answered));
        struct Flag(Arc<AtomicBool>);
        impl Drop for Flag {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Release);
            }
        }
        let flag = Flag(gone.clone());
        let (_sender, frames) = slot();
        let pulse: Pulse = Arc::new(move |_| {
            let _ = &flag;
            asked.lock().unwrap().send(()).unwrap();
            answered.lock().unwrap().recv().is_ok()
        });
        let mut vigil = Vigil::start(pulse, ANSWER, frames.waker()).expect("a thread");
        vigil.is_over(vigil.quiet_since + SILENCE);
        was_asked.recv().expect("asked");
        drop(vigil);
        assert!(!gone.load(Ordering::Acquire), "it still waits for the answer");
        drop(answer);
        lumen_lab::wait_for("the thread's end", Duration::from_secs(20), || {
            gone.load(Ordering::Acquire).then_some(())
        })
        .expect("gone");
    }
}
