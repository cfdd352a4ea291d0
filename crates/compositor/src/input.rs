//! Input on its way from the host's threads to the compositor's.

use lumen_media::stats::Window;
use lumen_media::{InputEvent, InputReport, InputSink, PenContact, Timestamp, TouchPhase, clock};
use smithay::reexports::calloop::ping::Ping;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Events that may wait; what lets go of something that was taken is taken beyond it.
const LIMIT: usize = 2048;

/// An event, and when the first of what was merged into it was received.
type Sent = (InputEvent, Timestamp);

/// What both ends know.
#[derive(Debug, Default)]
struct Shared {
    waiting: Vec<Sent>,
    /// What was pressed or put down when there was no room; its release is dropped too.
    refused: HashSet<Thing>,
    dropped: u64,
    latency: Window,
}

/// Input for the output.
pub(crate) struct Sink {
    shared: Arc<Mutex<Shared>>,
    wake: Ping,
}

/// The compositor's end.
pub(crate) struct Inbox {
    shared: Arc<Mutex<Shared>>,
    /// When what was handled, but not told to programs yet, was received.
    handled: Vec<Timestamp>,
}

/// A way into the loop that `wake` wakes.
pub(crate) fn way(wake: Ping) -> (Sink, Inbox) {
    let shared = Arc::new(Mutex::new(Shared::default()));
    (Sink { shared: shared.clone(), wake }, Inbox { shared, handled: Vec::new() })
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What can be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Thing {
    Key(u16),
    Button(u16),
    Finger(u32),
}

/// What an event takes or lets go.
enum Hold {
    Takes(Thing),
    LetsGo(Option<Thing>),
    Neither,
}

impl Hold {
    fn of(event: &InputEvent) -> Self {
        let held = |thing, pressed| if pressed { Self::Takes(thing) } else { Self::LetsGo(Some(thing)) };
        match event {
            InputEvent::Key { code, pressed } => held(Thing::Key(*code), *pressed),
            InputEvent::Button { code, pressed } => held(Thing::Button(*code), *pressed),
            InputEvent::Touch { id, phase: TouchPhase::Down, .. } => Self::Takes(Thing::Finger(*id)),
            InputEvent::Touch { id, phase: TouchPhase::Up, .. } => Self::LetsGo(Some(Thing::Finger(*id))),
            InputEvent::Touch { phase: TouchPhase::Cancel, .. } => Self::LetsGo(None),
            InputEvent::Pen(pen) if pen.contact == PenContact::Away => Self::LetsGo(None),
            _ => Self::Neither,
        }
    }
}

impl Shared {
    /// Whether an event is taken.
    fn admits(&mut self, event: &InputEvent) -> bool {
        let room = self.waiting.len() < LIMIT;
        match Hold::of(event) {
            Hold::LetsGo(thing) => !thing.is_some_and(|thing| self.refused.remove(&thing)),
            Hold::Takes(thing) if !room => {
                self.refused.insert(thing);
                false
            }
            Hold::Takes(_) | Hold::Neither => room,
        }
    }
}

impl InputSink for Sink {
    fn send(&self, event: InputEvent) {
        self.deliver(event, clock::now());
    }

    fn deliver(&self, event: InputEvent, received: Timestamp) {
        let mut shared = lock(&self.shared);
        if shared.waiting.last_mut().is_some_and(|(last, _)| last.merge(&event)) {
            return;
        }
        if !shared.admits(&event) {
            shared.dropped += 1;
            let dropped = shared.dropped;
            drop(shared);
            if dropped.is_power_of_two() {
                tracing::warn!(dropped, "the compositor takes no input");
            }
            return;
        }
        shared.waiting.push((event, received));
        // Who comes first wakes for all that come until it is looked at.
        let first = shared.waiting.len() == 1;
        drop(shared);
        if first {
            self.wake.ping();
        }
    }

    fn report(&self) -> InputReport {
        let shared = lock(&self.shared);
        let times = shared.latency.percentiles();
        InputReport {
            path: "in-process",
            delivered: shared.latency.total(),
            dropped: shared.dropped,
            p50_us: times.p50.into(),
            p99_us: times.p99.into(),
            ..InputReport::default()
        }
    }
}

impl Inbox {
    /// All events that wait; they are handled at once.
    pub(crate) fn take(&mut self) -> Vec<InputEvent> {
        let waiting = std::mem::take(&mut lock(&self.shared).waiting);
        let (events, received): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
        self.handled.extend(received);
        events
    }

    /// Programs were told.
    pub(crate) fn told(&mut self) {
        if self.handled.is_empty() {
            return;
        }
        let now = clock::now();
        let mut shared = lock(&self.shared);
        for received in self.handled.drain(..) {
            shared.latency.record(now.since(received));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smithay::reexports::calloop::ping::make_ping;

    #[test]
    fn a_compositor_that_takes_nothing_gets_every_release_in_the_end() {
        let (wake, _woken) = make_ping().expect("eventfd");
        let (sink, mut inbox) = way(wake);
        for code in 0..3000u16 {
            sink.send(InputEvent::Key { code, pressed: true });
        }
        for code in 0..3000u16 {
            sink.send(InputEvent::Key { code, pressed: false });
        }
        // The others with their releases.
        assert_eq!(sink.report().dropped, 2 * (3000 - LIMIT as u64));
        let mut held = std::collections::BTreeSet::new();
        for event in inbox.take() {
            let InputEvent::Key { code, pressed } = event else { panic!("{event:?}") };
            if pressed {
                held.insert(code)
            } else {
                held.remove(&code)
            };
        }
        assert!(held.is_empty(), "{held:?}");
        assert_eq!(sink.report().delivered, 0, "programs were not told");
        inbox.told();
        assert_eq!(sink.report().delivered, 2 * LIMIT as u64);
        sink.send(InputEvent::Key { code: 30, pressed: true });
        assert_eq!(inbox.take().len(), 1, "there is room again");
    }

    #[test]
    fn motion_becomes_one_event_and_leaves_room_for_clicks() {
        let (wake, _woken) = make_ping().expect("eventfd");
        let (sink, mut inbox) = way(wake);
        let click = |pressed| InputEvent::Button { code: 0x110, pressed };
        for pressed in (0..1000).map(|count| count % 2 == 0) {
            for _ in 0..10 {
                sink.send(InputEvent::PointerMotion { dx: 1.0, dy: -2.0 });
            }
            sink.send(click(pressed));
        }
        assert_eq!(sink.report().dropped, 0);
        let motion = InputEvent::PointerMotion { dx: 10.0, dy: -20.0 };
        let expected = (0..1000).flat_map(|count| [motion.clone(), click(count % 2 == 0)]);
        assert!(inbox.take().into_iter().eq(expected));
        assert!(inbox.take().is_empty());
    }
}
