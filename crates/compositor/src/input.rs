//! Input on its way from the host's threads to the compositor's.

use lumen_media::stats::Window;
use lumen_media::{InputEvent, InputReport, InputSink, PenContact, Timestamp, TouchPhase, clock};
use smithay::reexports::calloop::channel::{self, Channel, Sender};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Events that may wait; what lets go of something is taken beyond it.
const LIMIT: usize = 2048;

/// An event, and when it was received.
type Sent = (InputEvent, Timestamp);

/// What is known of the way.
#[derive(Debug, Default)]
struct Facts {
    waiting: AtomicUsize,
    dropped: AtomicU64,
    latency: Mutex<Window>,
}

impl Facts {
    fn latency(&self) -> MutexGuard<'_, Window> {
        self.latency.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Input for the output.
pub(crate) struct Sink {
    events: Sender<Sent>,
    facts: Arc<Facts>,
}

/// The compositor's end.
pub(crate) struct Inbox {
    facts: Arc<Facts>,
    /// When what was handled, but not told to programs yet, was received.
    handled: Vec<Timestamp>,
}

/// A way into a loop.
pub(crate) fn way() -> (Sink, Channel<Sent>, Inbox) {
    let (events, channel) = channel::channel();
    let facts = Arc::new(Facts::default());
    (Sink { events, facts: facts.clone() }, channel, Inbox { facts, handled: Vec::new() })
}

/// Whether without the event something would stay held.
fn lets_go(event: &InputEvent) -> bool {
    match event {
        InputEvent::Key { pressed, .. } | InputEvent::Button { pressed, .. } => !pressed,
        InputEvent::Touch { phase, .. } => matches!(phase, TouchPhase::Up | TouchPhase::Cancel),
        InputEvent::Pen(pen) => pen.contact == PenContact::Away,
        _ => false,
    }
}

impl InputSink for Sink {
    fn send(&self, event: InputEvent) {
        self.deliver(event, clock::now());
    }

    fn deliver(&self, event: InputEvent, received: Timestamp) {
        let fits = self.facts.waiting.load(Ordering::Relaxed) < LIMIT || lets_go(&event);
        // Counted before it can be taken out.
        self.facts.waiting.fetch_add(1, Ordering::Relaxed);
        if !fits || self.events.send((event, received)).is_err() {
            self.facts.waiting.fetch_sub(1, Ordering::Relaxed);
            let dropped = self.facts.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            if dropped.is_power_of_two() {
                tracing::warn!(dropped, "the compositor takes no input");
            }
        }
    }

    fn report(&self) -> InputReport {
        let (delivered, times) = {
            let latency = self.facts.latency();
            (latency.total(), latency.percentiles())
        };
        InputReport {
            path: "in-process",
            delivered,
            dropped: self.facts.dropped.load(Ordering::Relaxed),
            p50_us: times.p50.into(),
            p99_us: times.p99.into(),
            ..InputReport::default()
        }
    }
}

impl Inbox {
    /// An event was taken and handled.
    pub(crate) fn handled(&mut self, received: Timestamp) {
        self.facts.waiting.fetch_sub(1, Ordering::Relaxed);
        self.handled.push(received);
    }

    /// Programs were told.
    pub(crate) fn told(&mut self) {
        if self.handled.is_empty() {
            return;
        }
        let now = clock::now();
        let mut latency = self.facts.latency();
        for received in self.handled.drain(..) {
            latency.record(now.since(received));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compositor_that_takes_nothing_gets_every_release_in_the_end() {
        let (sink, channel, mut inbox) = way();
        for code in 0..3000u16 {
            sink.send(InputEvent::Key { code, pressed: true });
        }
        for code in 0..3000u16 {
            sink.send(InputEvent::Key { code, pressed: false });
        }
        assert_eq!(sink.report().dropped, 3000 - LIMIT as u64);
        let mut held = std::collections::BTreeSet::new();
        while let Ok((event, received)) = channel.try_recv() {
            let InputEvent::Key { code, pressed } = event else { panic!("{event:?}") };
            if pressed {
                held.insert(code)
            } else {
                held.remove(&code)
            };
            inbox.handled(received);
        }
        assert!(held.is_empty(), "{held:?}");
        assert_eq!(sink.report().delivered, 0, "programs were not told");
        inbox.told();
        assert_eq!(sink.report().delivered, LIMIT as u64 + 3000);
        sink.send(InputEvent::Key { code: 30, pressed: true });
        assert!(channel.try_recv().is_ok(), "there is room again");
    }
}
