//! Time of this crate: nanoseconds of CLOCK_MONOTONIC, the clock that the test card stamps its pictures with.
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point of CLOCK_MONOTONIC in nanoseconds, or of a test's virtual time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

impl Time {
    /// Time passed since `earlier`; zero when `earlier` is later.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Nanoseconds of CLOCK_MONOTONIC.
    pub fn nanos(self) -> u64 {
        self.0
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, span: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Time> for Time {
    type Output = Duration;
    fn sub(self, earlier: Time) -> Duration {
        self.since(earlier)
    }
}

/// Reads CLOCK_MONOTONIC. Only drivers call it; cores take [`Time`] as an argument.
pub fn now() -> Time {
    let stamp = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(stamp.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(stamp.tv_nsec).unwrap_or(0);
    Time(seconds * 1_000_000_000 + nanos)
}
