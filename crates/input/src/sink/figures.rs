//! How long events took from their datagram to the request.

use std::time::Duration;

/// Buckets: eight to each doubling of microseconds.
const BUCKETS: usize = 8 * 24;

/// A histogram with steps of an eighth of a doubling.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    buckets: [u32; BUCKETS],
    count: u64,
}

impl Default for Figures {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], count: 0 }
    }
}

impl Figures {
    pub fn add(&mut self, took: Duration) {
        let bucket = &mut self.buckets[bucket(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))];
        *bucket = bucket.saturating_add(1);
        self.count += 1;
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// Upper end of the bucket in which `part` of all lie, in microseconds; 0 when there is nothing.
    pub fn percentile(&self, part: f64) -> u64 {
        if self.count == 0 {
            return 0;
        }
        let wanted = ((self.count as f64 * part).ceil() as u64).max(1);
        let mut sum = 0;
        let found = self.buckets.iter().position(|bucket| {
            sum += u64::from(*bucket);
            sum >= wanted
        });
        upper(found.unwrap_or(BUCKETS - 1))
    }
}

fn bucket(micros: u64) -> usize {
    if micros < 8 {
        return micros as usize;
    }
    let exponent = 63 - micros.leading_zeros() as usize;
    let eighth = (micros >> (exponent - 3)) as usize & 7;
    ((exponent - 2) * 8 + eighth).min(BUCKETS - 1)
}

fn upper(bucket: usize) -> u64 {
    if bucket < 8 {
        return bucket as u64;
    }
    let (exponent, eighth) = (bucket / 8 + 2, bucket % 8);
    ((8 + eighth as u64 + 1) << (exponent - 3)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_in_order_and_cover_their_values() {
        for micros in 0..100_000_u64 {
            let own = bucket(micros);
            assert!(upper(own) >= micros && (own == 0 || upper(own - 1) < micros), "{micros} in {own}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_found_within_an_eighth() {
        let mut figures = Figures::default();
        assert_eq!(figures.percentile(0.5), 0);
        for micros in 1..=1000 {
            figures.add(Duration::from_micros(micros));
        }
        for (part, exact) in [(0.5, 500.0), (0.99, 990.0)] {
            let found = figures.percentile(part) as f64;
            assert!(found >= exact && found <= exact * 1.13, "{found} for {exact}");
        }
        assert_eq!(figures.count(), 1000);
    }
}
