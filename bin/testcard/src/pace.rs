//! The card's own clock: an absolute schedule that neither drifts nor catches up.

/// Picture `n` is due at `start + n / rate`.
#[derive(Debug)]
pub struct Pace {
    start_ns: u64,
    rate_mhz: u32,
    next: u64,
}

impl Pace {
    /// The first picture is due at `start_ns`.
    pub fn new(start_ns: u64, rate_mhz: u32) -> Self {
        Self { start_ns, rate_mhz, next: 0 }
    }

    /// When the next picture is due.
    pub fn due_ns(&self) -> u64 {
        self.start_ns + self.offset_ns(self.next)
    }

    /// Takes the slot that is due at `now_ns` and says how many before it went by unused.
    pub fn take(&mut self, now_ns: u64) -> u64 {
        let elapsed = u128::from(now_ns.saturating_sub(self.start_ns));
        let mut current = (elapsed * u128::from(self.rate_mhz) / 1_000_000_000_000) as u64;
        // Offsets are rounded down to whole nanoseconds: the slot that just became due may divide to the one before.
        if self.start_ns + self.offset_ns(current + 1) <= now_ns {
            current += 1;
        }
        let missed = current.saturating_sub(self.next);
        self.next = self.next.max(current) + 1;
        missed
    }

    fn offset_ns(&self, slot: u64) -> u64 {
        (u128::from(slot) * 1_000_000_000_000 / u128::from(self.rate_mhz)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_hour_at_a_fraction_has_no_drift() {
        let mut pace = Pace::new(1_000, 59_940);
        for _ in 0..215_784 {
            assert_eq!(pace.take(pace.due_ns()), 0);
        }
        assert_eq!(pace.due_ns() - 1_000, 3_600_000_000_000);
    }

    #[test]
    fn late_pictures_are_counted_not_made_up_for() {
        let mut pace = Pace::new(0, 100_000);
        assert_eq!(pace.take(0), 0);
        assert_eq!(pace.take(35_000_000), 2);
        assert_eq!(pace.due_ns(), 40_000_000);
    }

    proptest! {
        #[test]
        fn the_next_slot_always_lies_ahead(start in 0..u64::MAX / 4, rate in 1_000_u32..=1_000_000, waits: Vec<u32>) {
            let mut pace = Pace::new(start, rate);
            let (mut now, mut taken, mut missed) = (start, 0, 0);
            for wait in waits {
                now = pace.due_ns().max(now) + u64::from(wait);
                missed += pace.take(now);
                taken += 1;
                prop_assert!(pace.due_ns() > now);
                prop_assert_eq!(pace.next, taken + missed);
            }
        }
    }
}
