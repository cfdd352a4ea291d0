//! Failed attempts per address, and how long each has to wait for the next.

use crate::Time;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Wait after the first failure; doubles with each.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// Longest wait.
const MAX_DELAY: Duration = Duration::from_secs(60);
/// A failure is forgotten when nothing follows it for this time.
const MEMORY: Duration = Duration::from_secs(600);
/// Addresses remembered: an attacker with many must not fill the memory.
const MAX_ADDRESSES: usize = 256;

/// Where limits apply: an IPv4 address, or an IPv6 network, within which a client may take any address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    V4(u32),
    V6Network(u64),
}

impl From<IpAddr> for Origin {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6Network((address.to_bits() >> 64) as u64),
        }
    }
}

struct Record {
    count: u32,
    last: Time,
}

impl Record {
    fn delay(&self) -> Duration {
        FIRST_DELAY.saturating_mul(1 << self.count.saturating_sub(1).min(6)).min(MAX_DELAY)
    }
}

#[derive(Default)]
pub(super) struct Failures {
    records: BTreeMap<Origin, Record>,
}

impl Failures {
    /// Notes a failure.
    pub(super) fn note(&mut self, origin: Origin, now: Time) {
        self.forget_old(now);
        if !self.records.contains_key(&origin) && self.records.len() == MAX_ADDRESSES {
            let oldest = self.records.iter().min_by_key(|(_, record)| record.last).map(|(origin, _)| *origin);
            oldest.map(|oldest| self.records.remove(&oldest));
        }
        let record = self.records.entry(origin).or_insert(Record { count: 0, last: now });
        record.count = record.count.saturating_add(1);
        record.last = now;
    }

    /// A pairing succeeded: whoever sits there knows the PIN.
    pub(super) fn clear(&mut self, origin: Origin) {
        self.records.remove(&origin);
    }

    /// Whether an address still has to wait.
    pub(super) fn must_wait(&self, origin: Origin, now: Time) -> bool {
        self.records.get(&origin).is_some_and(|record| now < record.last + record.delay())
    }

    /// Failures remembered of an address.
    pub(super) fn count(&self, origin: Origin) -> u32 {
        self.records.get(&origin).map_or(0, |record| record.count)
    }

    pub(super) fn forget_old(&mut self, now: Time) {
        self.records.retain(|_, record| now < record.last + MEMORY);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(n: u32) -> Origin {
        Origin::V4(n)
    }

    #[test]
    fn the_wait_doubles_up_to_a_minute_and_is_forgotten() {
        let mut failures = Failures::default();
        let mut now = Time::ZERO;
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            failures.note(origin(1), now);
            assert!(
                failures.must_wait(origin(1), now + Duration::from_secs(wait) - Duration::from_millis(1))
            );
            assert!(!failures.must_wait(origin(1), now + Duration::from_secs(wait)));
            assert!(!failures.must_wait(origin(2), now), "others need not wait");
            now += Duration::from_secs(wait);
        }
        failures.forget_old(now + MEMORY);
        assert_eq!(failures.count(origin(1)), 0);
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes() {
        let mut failures = Failures::default();
        for n in 0..=MAX_ADDRESSES as u32 {
            failures.note(origin(n), Duration::from_millis(n.into()));
        }
        assert_eq!(failures.len(), MAX_ADDRESSES);
        assert_eq!(failures.count(origin(0)), 0);
        assert_eq!(failures.count(origin(1)), 1);
    }

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let origin = |text: &str| Origin::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(origin("2001:db8::1"), origin("2001:db8::2:3"));
        assert_ne!(origin("2001:db8::1"), origin("2001:db8:0:1::1"));
        assert_eq!(origin("::ffff:10.0.0.1"), origin("10.0.0.1"));
    }
}
