//! The newest-wins slot between two stages.
//!
//! A slot holds at most one value. Sending replaces what nobody took, so a slow receiver costs frames before the
//! encoder and never builds a queue. Closing either end wakes the other.

use crate::{Timestamp, clock};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

struct State<T> {
    value: Option<T>,
    replaced: u64,
    senders_gone: bool,
    receiver_gone: bool,
    nudged: bool,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // A panic elsewhere leaves the slot whole: every change is a single assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end that puts values in.
pub struct Sender<T>(Arc<Shared<T>>);

/// The end that takes them out.
pub struct Receiver<T>(Arc<Shared<T>>);

/// Wakes a receiver without a value, for example to ask for a key frame on a static screen.
pub struct Waker<T>(Arc<Shared<T>>);

/// What ended a wait.
#[derive(Debug, PartialEq, Eq)]
pub enum Wait<T> {
    /// A value arrived.
    Value(T),
    /// The deadline passed.
    Deadline,
    /// A [`Waker`] asked for attention.
    Nudged,
    /// The sender is gone and nothing is left.
    Closed,
}

/// A new, empty slot.
pub fn slot<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            value: None,
            replaced: 0,
            senders_gone: false,
            receiver_gone: false,
            nudged: false,
        }),
        changed: Condvar::new(),
    });
    (Sender(shared.clone()), Receiver(shared))
}

impl<T> Sender<T> {
    /// Puts `value` in and returns what it replaced.
    ///
    /// # Errors
    /// Gives `value` back when the receiver is gone.
    pub fn send(&self, value: T) -> Result<Option<T>, T> {
        let mut state = self.0.lock();
        if state.receiver_gone {
            return Err(value);
        }
        let replaced = state.value.replace(value);
        state.replaced += u64::from(replaced.is_some());
        drop(state);
        self.0.changed.notify_all();
        Ok(replaced)
    }

    /// How many values were replaced before anybody took them.
    pub fn replaced(&self) -> u64 {
        self.0.lock().replaced
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.lock().senders_gone = true;
        self.0.changed.notify_all();
    }
}

impl<T> Receiver<T> {
    /// Takes what lies in the slot, without waiting.
    pub fn try_take(&self) -> Option<T> {
        self.0.lock().value.take()
    }

    /// Waits for a value until `deadline`; for ever when there is none.
    pub fn wait(&self, deadline: Option<Timestamp>) -> Wait<T> {
        let mut state = self.0.lock();
        loop {
            if let Some(value) = state.value.take() {
                return Wait::Value(value);
            }
            if std::mem::take(&mut state.nudged) {
                return Wait::Nudged;
            }
            if state.senders_gone {
                return Wait::Closed;
            }
            state = match deadline {
                None => self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.since(clock::now());
                    if left.is_zero() {
                        return Wait::Deadline;
                    }
                    self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Whether the sender is gone; what it left may still lie in the slot.
    pub fn is_closed(&self) -> bool {
        self.0.lock().senders_gone
    }

    /// A handle that can end this receiver's wait early.
    pub fn waker(&self) -> Waker<T> {
        Waker(self.0.clone())
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.receiver_gone = true;
        let left = state.value.take();
        drop(state);
        drop(left);
    }
}

impl<T> Waker<T> {
    /// Ends the current wait, or the next one, with [`Wait::Nudged`] unless a value is there.
    pub fn nudge(&self) {
        self.0.lock().nudged = true;
        self.0.changed.notify_all();
    }
}

impl<T> Clone for Waker<T> {
    fn clone(&self) -> Self {
        Waker(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_newest_value_wins() {
        let (sender, receiver) = slot();
        assert_eq!(sender.send(1), Ok(None));
        assert_eq!(sender.send(2), Ok(Some(1)));
        assert_eq!(receiver.try_take(), Some(2));
        assert_eq!(receiver.try_take(), None);
        assert_eq!(sender.replaced(), 1);
    }

    #[test]
    fn a_value_sent_before_the_sender_left_is_still_taken() {
        let (sender, receiver) = slot();
        sender.send(7).expect("receiver lives");
        drop(sender);
        assert_eq!(receiver.wait(None), Wait::Value(7));
        assert_eq!(receiver.wait(None), Wait::Closed);
    }

    #[test]
    fn sending_to_nobody_gives_the_value_back() {
        let (sender, receiver) = slot();
        drop(receiver);
        assert_eq!(sender.send(7), Err(7));
    }

    #[test]
    fn deadline_nudge_and_other_threads_end_a_wait() {
        let (sender, receiver) = slot::<u32>();
        assert_eq!(receiver.wait(Some(clock::now())), Wait::Deadline);
        receiver.waker().nudge();
        assert_eq!(receiver.wait(None), Wait::Nudged);
        let other = std::thread::spawn(move || sender.send(3));
        assert_eq!(receiver.wait(Some(clock::now() + Duration::from_secs(30))), Wait::Value(3));
        other.join().expect("no panic").expect("receiver lives");
    }
}
