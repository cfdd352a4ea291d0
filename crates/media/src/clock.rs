//! `CLOCK_MONOTONIC` as a number, comparable between processes of one machine.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Nanoseconds on `CLOCK_MONOTONIC`.
///
/// Unlike `std::time::Instant` it can be drawn into a picture, sent to another process of the same machine and made up
/// in a test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From nanoseconds since the clock's start.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`; zero if `earlier` lies in the future.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This instant on the 90 kHz RTP clock, wrapped to 32 bits.
    pub fn rtp_90khz(self) -> u32 {
        // The product of a 64-bit nanosecond count and 9 overflows after 60 years of uptime only.
        (self.0 * 9 / 100_000) as u32
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;

    fn add(self, later: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(u64::try_from(later.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;

    fn sub(self, earlier: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(u64::try_from(earlier.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// The time now. Only the loops that drive a stage call this; rules take a [`Timestamp`] as an argument.
pub fn now() -> Timestamp {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Timestamp(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rtp_clock_runs_at_90_khz_and_wraps() {
        assert_eq!(Timestamp::from_nanos(1_000_000_000).rtp_90khz(), 90_000);
        let wrap = Timestamp::from_nanos((1u64 << 32) * 100_000 / 9 + 100_000);
        assert!(wrap.rtp_90khz() < 20, "wraps at 2^32 ticks");
    }

    #[test]
    fn arithmetic_saturates() {
        let early = Timestamp::from_nanos(5);
        assert_eq!(early - Duration::from_secs(1), Timestamp::from_nanos(0));
        assert_eq!(early.since(Timestamp::from_nanos(9)), Duration::ZERO);
    }
}
