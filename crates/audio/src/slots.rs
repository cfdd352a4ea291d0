//! When packets leave: every packet has its slot on an absolute clock (`docs/design/audio.md`).

use lumen_media::Timestamp;
use std::time::Duration;

/// Later than this, the slots that were missed are given up.
const GIVE_UP: Duration = Duration::from_millis(100);

/// The slots of one stream. Lateness of one packet does not delay the ones after it; what is overdue leaves at twice the
/// pace, never in one go.
#[derive(Clone, Copy, Debug)]
pub struct Slots {
    period: Duration,
    /// Start of the next slot.
    next: Timestamp,
    /// Not before this, whatever is overdue.
    earliest: Timestamp,
    given_up: u64,
}

impl Slots {
    /// The first slot is at `start`, one follows every `period`.
    pub fn new(start: Timestamp, period: Duration) -> Self {
        Self { period, next: start, earliest: start, given_up: 0 }
    }

    /// Start of the next packet's slot, which may have passed.
    pub fn slot(&self) -> Timestamp {
        self.next
    }

    /// When the next packet leaves.
    pub fn due(&self) -> Timestamp {
        self.next.max(self.earliest)
    }

    /// A packet left at `now`.
    pub fn sent(&mut self, now: Timestamp) {
        self.next = self.next + self.period;
        self.earliest = now + self.period / 2;
        let late = now.since(self.next);
        if late > GIVE_UP {
            // The machine slept. A client plays on from where it is; a second of packets at once would only be dropped.
            let missed = late.as_nanos() / self.period.as_nanos().max(1);
            self.given_up += u64::try_from(missed).unwrap_or(u64::MAX);
            self.next = now + self.period;
        }
    }

    /// Gives up the slots that have passed, since there is nothing to send in them; one is at `now`.
    pub fn give_up_until(&mut self, now: Timestamp) {
        let missed = now.since(self.next).as_nanos() / self.period.as_nanos().max(1);
        self.given_up += u64::try_from(missed).unwrap_or(u64::MAX);
        self.next = self.next.max(now);
    }

    /// Slots that passed without a packet, because the thread or the source of the sound did not run for long.
    pub fn given_up(&self) -> u64 {
        self.given_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PERIOD: Duration = Duration::from_millis(5);

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_nanos(micros * 1000)
    }

    #[test]
    fn lateness_is_not_inherited() {
        let mut slots = Slots::new(at(0), PERIOD);
        let mut sent = Vec::new();
        // Runs each packet at its time, but the third one 12 ms late.
        for index in 0..10u64 {
            let late = if index == 2 { 12_000 } else { 0 };
            let now = slots.due() + Duration::from_micros(late);
            sent.push(now.as_nanos() / 1000);
            slots.sent(now);
        }
        let expected = [0, 5_000, 22_000, 24_500, 27_000, 29_500, 32_000, 35_000, 40_000, 45_000];
        assert_eq!(sent, expected);
        assert_eq!(slots.given_up(), 0);
    }

    #[test]
    fn a_long_sleep_is_not_made_up_for() {
        let mut slots = Slots::new(at(0), PERIOD);
        slots.sent(at(0));
        slots.sent(at(1_005_000));
        assert_eq!(slots.given_up(), 199);
        assert_eq!(slots.due(), at(1_010_000));
    }

    proptest! {
        #[test]
        fn never_two_in_half_a_period_and_never_behind_for_good(
            delays in prop::collection::vec(0u64..90_000, 1..200)
        ) {
            let mut slots = Slots::new(at(0), PERIOD);
            let mut last = None;
            for delay in &delays {
                // Mostly in time, sometimes late.
                let delay = if delay % 10 == 0 { *delay } else { delay % 400 };
                let now = slots.due() + Duration::from_micros(delay);
                if let Some(last) = last {
                    prop_assert!(now.since(last) >= PERIOD / 2);
                }
                last = Some(now);
                slots.sent(now);
            }
            let mut now = slots.due();
            for _ in 0..200 {
                slots.sent(now);
                now = slots.due();
            }
            if slots.given_up() == 0 {
                prop_assert_eq!(now.as_nanos() % PERIOD.as_nanos() as u64, 0, "back on the clock");
            }
        }
    }
}
