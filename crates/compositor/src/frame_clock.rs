//! When to compose and when to let clients draw; no sockets, no clock. `docs/design/compositor.md` draws it.
//!
//! Report what happened, then call [`FrameClock::poll`] until it returns `None` and sleep until
//! [`FrameClock::deadline`].

use lumen_media::Timestamp;
use std::time::Duration;

/// How often clients may draw while nobody watches: enough not to hang, too seldom to cost anything.
const INACTIVE_INTERVAL: Duration = Duration::from_millis(500);
/// Callbacks between two corrections of the grid's phase; each costs at most one period.
const CORRECTION_DISTANCE: u32 = 120;

/// What made the shown picture stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// A client's commit, or a window that came, went or moved.
    Content,
    /// Only the pointer that we draw.
    Pointer,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Compose; answer with [`FrameClock::composed`], [`FrameClock::unchanged`] or [`FrameClock::starved`].
    Compose,
    /// Send frame callbacks and presentation feedback.
    Callbacks,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct FrameClock {
    interval: Duration,
    slack: Duration,
    active: bool,
    /// Every buffer is lent.
    starved: bool,
    compose: Compose,
    callbacks: Callbacks,
}

#[derive(Debug, Default)]
struct Compose {
    /// When the oldest change was made that is not shown yet.
    content: Option<Timestamp>,
    pointer: bool,
    /// When a client last changed something.
    last_content: Option<Timestamp>,
    last: Option<Timestamp>,
    /// When the budget would be whole again.
    budget: Timestamp,
}

#[derive(Debug)]
struct Callbacks {
    due: Option<Timestamp>,
    /// When the last ones were due (not: when they were sent).
    last: Option<Timestamp>,
    since_correction: u32,
}

impl FrameClock {
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            interval,
            slack: Duration::from_millis(1).min(interval / 8),
            active: false,
            starved: false,
            compose: Compose::default(),
            callbacks: Callbacks { due: None, last: None, since_correction: CORRECTION_DISTANCE },
        }
    }

    /// Whether anybody watches.
    pub(crate) fn is_active(&self) -> bool {
        self.active
    }

    /// Somebody watches, or nobody does any more. Activation is damage of the whole picture and not held back.
    pub(crate) fn set_active(&mut self, now: Timestamp, active: bool) {
        if active {
            self.compose = Compose { content: Some(now), ..Compose::default() };
        }
        if active == self.active {
            return;
        }
        self.active = active;
        let wait = if active { self.lead() } else { INACTIVE_INTERVAL };
        self.callbacks.due = self.callbacks.due.map(|_| now + wait);
    }

    /// The output has another rate: everything begins anew, and who waits for a callback still gets it.
    pub(crate) fn change_interval(&mut self, now: Timestamp, interval: Duration) {
        let old = std::mem::replace(self, Self::new(interval));
        self.set_active(now, old.active);
        if old.callbacks.due.is_some() {
            self.callback_wanted(now);
        }
    }

    /// The picture changed.
    pub(crate) fn damaged(&mut self, now: Timestamp, damage: Damage) {
        match damage {
            Damage::Content => {
                self.compose.content.get_or_insert(now);
                self.compose.last_content = Some(now);
            }
            Damage::Pointer => self.compose.pointer = true,
        }
    }

    /// A client waits for a frame callback or presentation feedback.
    pub(crate) fn callback_wanted(&mut self, now: Timestamp) {
        if self.callbacks.due.is_some() {
            return;
        }
        let interval = if self.active { self.interval } else { INACTIVE_INTERVAL };
        self.callbacks.due = Some(match self.callbacks.last {
            Some(last) if now < last + interval * 2 => now.max(last + interval),
            _ if self.active => now + self.lead(),
            _ => now + interval,
        });
    }

    /// A picture was drawn, begun at `now`.
    pub(crate) fn composed(&mut self, now: Timestamp) {
        let held = self.compose.content.map_or(Duration::ZERO, |since| now.since(since));
        self.compose.budget = self.compose.budget.max(now) + self.refill();
        self.compose.last = Some(now);
        self.unchanged();
        if let Some(due) = &mut self.callbacks.due
            && held > self.interval / 4
            && self.callbacks.since_correction >= CORRECTION_DISTANCE
        {
            *due = *due + held.min(self.interval);
            self.callbacks.since_correction = 0;
        }
    }

    /// Nothing visible had changed: no slot is used up.
    pub(crate) fn unchanged(&mut self) {
        self.compose.content = None;
        self.compose.pointer = false;
    }

    /// Every buffer is lent; wait for [`FrameClock::buffer_returned`].
    pub(crate) fn starved(&mut self) {
        self.starved = true;
    }

    /// A buffer may be free again.
    pub(crate) fn buffer_returned(&mut self) {
        self.starved = false;
    }

    /// What is due at `now`. Callbacks count as sent with this call.
    pub(crate) fn poll(&mut self, now: Timestamp) -> Option<Due> {
        if self.compose_due().is_some_and(|due| due <= now) {
            return Some(Due::Compose);
        }
        let due = self.callbacks.due.filter(|due| *due <= now)?;
        self.callbacks.due = None;
        // The grid stays unless the whole thread was late.
        self.callbacks.last = Some(if now.since(due) > self.interval / 2 { now } else { due });
        self.callbacks.since_correction = self.callbacks.since_correction.saturating_add(1);
        Some(Due::Callbacks)
    }

    /// When [`FrameClock::poll`] has something next, if nothing else happens.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        [self.compose_due(), self.callbacks.due].into_iter().flatten().min()
    }

    fn compose_due(&self) -> Option<Timestamp> {
        let compose = &self.compose;
        if !self.active || self.starved || (compose.content.is_none() && !compose.pointer) {
            return None;
        }
        let Some(last) = compose.last else { return Some(Timestamp::default()) };
        let earliest = (last + self.interval - self.slack).max(compose.budget - self.interval);
        let animating = compose.last_content.is_some_and(|at| at + self.interval * 3 / 2 >= last);
        if compose.content.is_none() && animating {
            return Some(earliest.max(last + self.interval + self.interval / 8));
        }
        Some(earliest)
    }

    /// From a commit after a pause to the callbacks for the next one.
    fn lead(&self) -> Duration {
        self.interval - self.interval / 4
    }

    fn refill(&self) -> Duration {
        self.interval - self.interval / 200
    }
}

#[cfg(test)]
#[path = "frame_clock_tests.rs"]
mod tests;
