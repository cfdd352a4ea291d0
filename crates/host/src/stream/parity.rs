//! How much parity a stream carries: the configured share in calm, more while its client reports blocks that it could not
//! repair (protocol text §8.4, message 0x5502; stock clients send it unasked, and only when packets were missing).

use lumen_media::Timestamp;
use std::time::Duration;

/// Most parity, in percent of the data. Above this the packets themselves become the burden.
const MOST: u8 = 50;
/// What a lost block adds, in percent points.
const RISE: u8 = 10;
/// Losses within this time count as one: they share a cause, and the last rise has not been felt yet.
const SETTLE: Duration = Duration::from_millis(250);
/// A quiet time of this length takes [`FALL`] off again.
const QUIET: Duration = Duration::from_secs(5);
/// What a quiet time takes off, in percent points.
const FALL: u8 = 5;

/// The rule above, on time that is passed in.
#[derive(Clone, Debug)]
pub struct ParityControl {
    configured: u8,
    percent: u8,
    /// When the share last changed, or a block last needed all it had.
    since: Option<Timestamp>,
}

impl ParityControl {
    /// Starts at the configured share; 0 keeps parity off for good.
    pub fn new(configured: u8) -> Self {
        Self { configured, percent: configured, since: None }
    }

    /// A block could not be repaired.
    pub fn block_lost(&mut self, now: Timestamp) {
        let settled = self.since.is_none_or(|since| now.since(since) >= SETTLE);
        if self.configured == 0 || !settled {
            return;
        }
        self.percent = self.percent.saturating_add(RISE).min(MOST.max(self.configured));
        self.since = Some(now);
    }

    /// A block was repaired: with less parity it might have been lost.
    pub fn block_repaired(&mut self, now: Timestamp) {
        if self.percent > self.configured {
            self.since = Some(now);
        }
    }

    /// The share for a frame that is sent now.
    pub fn percent(&mut self, now: Timestamp) -> u8 {
        while let Some(since) = self.since.filter(|since| now.since(*since) >= QUIET) {
            self.percent = self.percent.saturating_sub(FALL).max(self.configured);
            self.since = (self.percent > self.configured).then_some(since + QUIET);
        }
        self.percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Timestamp = Timestamp::from_nanos(1_000_000_000);

    #[test]
    fn losses_raise_it_step_by_step_and_quiet_takes_it_back() {
        let mut parity = ParityControl::new(20);
        assert_eq!(parity.percent(START), 20);
        for _ in 0..20 {
            parity.block_lost(START);
        }
        assert_eq!(parity.percent(START), 30, "one burst is one step");
        let later = START + SETTLE;
        parity.block_lost(later);
        parity.block_lost(later + SETTLE);
        parity.block_lost(later + SETTLE * 2);
        let full = later + SETTLE * 2;
        assert_eq!(parity.percent(full), MOST);
        assert_eq!(parity.percent(full + QUIET), MOST - FALL);
        // Repairs say that it is still needed.
        parity.block_repaired(full + QUIET);
        assert_eq!(parity.percent(full + QUIET * 2 - Duration::from_millis(1)), MOST - FALL);
        assert_eq!(parity.percent(full + QUIET * 100), 20);
    }

    #[test]
    fn without_parity_it_stays_off_and_a_high_setting_is_kept() {
        let mut off = ParityControl::new(0);
        off.block_lost(START);
        assert_eq!(off.percent(START), 0);
        let mut high = ParityControl::new(80);
        high.block_lost(START);
        assert_eq!(high.percent(START + QUIET), 80);
    }

    proptest! {
        #[test]
        fn it_stays_between_the_setting_and_the_limit(
            configured in 0u8..=100, events in proptest::collection::vec((0u64..10_000, any::<bool>()), 0..200)
        ) {
            let mut parity = ParityControl::new(configured);
            let mut now = START;
            for (millis, lost) in events {
                now = now + Duration::from_millis(millis);
                if lost { parity.block_lost(now) } else { parity.block_repaired(now) }
                let percent = parity.percent(now);
                prop_assert!(percent >= configured && percent <= MOST.max(configured));
            }
            prop_assert_eq!(parity.percent(now + QUIET * 50), configured);
        }
    }
}
