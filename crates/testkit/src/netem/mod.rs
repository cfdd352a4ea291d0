//! Seeded network emulator: loss, duplication, reordering, delay, rate, blackout.
//!
//! [`Link`] is one direction on virtual time. [`Relay`] puts real UDP ports in front of a host.
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::clock::Time;

mod relay;

pub use relay::Relay;

/// What one direction of the network does to datagrams.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Impairment {
    /// Probability 0–1 that a datagram is lost.
    pub loss: f64,
    /// Probability 0–1 that a datagram comes twice.
    pub duplicate: f64,
    /// Probability 0–1 that a datagram is held back by `reorder_delay` and so overtaken.
    pub reorder: f64,
    /// Extra delay range of a reordered datagram.
    pub reorder_delay: (Duration, Duration),
    /// Delay of every datagram.
    pub delay: Duration,
    /// Rate limit in bits per second of UDP payload; `None` is unlimited.
    pub rate: Option<u64>,
    /// With a rate: a datagram that would have to wait longer than this is dropped.
    pub queue: Duration,
}

impl Default for Impairment {
    fn default() -> Self {
        Impairment {
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_delay: (Duration::from_millis(1), Duration::from_millis(5)),
            delay: Duration::ZERO,
            rate: None,
            queue: Duration::from_millis(100),
        }
    }
}

/// Both directions, for video, audio and control alike.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Profile {
    /// Seed of all random decisions.
    pub seed: u64,
    /// Client to host.
    pub up: Impairment,
    /// Host to client.
    pub down: Impairment,
    /// While true everything is dropped in both directions.
    pub blackout: bool,
}

impl Profile {
    /// Loss, reordering and duplication with the same probability in both directions.
    pub fn rough(seed: u64, probability: f64) -> Self {
        let side = Impairment {
            loss: probability,
            duplicate: probability,
            reorder: probability,
            ..Impairment::default()
        };
        Profile { seed, up: side, down: side, blackout: false }
    }
}

/// What the emulator did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RelayStatistics {
    /// Datagrams that came in.
    pub received: u64,
    /// Datagrams handed on, duplicates included.
    pub forwarded: u64,
    /// Datagrams dropped by chance, blackout or a full queue.
    pub dropped: u64,
    /// Datagrams sent twice.
    pub duplicated: u64,
    /// Datagrams held back.
    pub reordered: u64,
}

impl RelayStatistics {
    /// Sum of two.
    pub fn plus(self, other: RelayStatistics) -> RelayStatistics {
        RelayStatistics {
            received: self.received + other.received,
            forwarded: self.forwarded + other.forwarded,
            dropped: self.dropped + other.dropped,
            duplicated: self.duplicated + other.duplicated,
            reordered: self.reordered + other.reordered,
        }
    }
}

/// Datagrams in flight at most; more are dropped, so that a stuck reader cannot fill the memory.
const IN_FLIGHT_LIMIT: usize = 65_536;

/// One direction: [`Link::push`] at the entrance, [`Link::pop`] at the exit, [`Link::next_due`] between.
#[derive(Debug)]
pub struct Link {
    impairment: Impairment,
    blackout: bool,
    chance: Chance,
    /// Ordered by due time, then by order of entry.
    flying: BinaryHeap<Reverse<(Time, u64, Vec<u8>)>>,
    entered: u64,
    /// When the rate limiter is through with what entered so far.
    busy_until: Time,
    statistics: RelayStatistics,
}

impl Link {
    /// A link with its own sequence of chances.
    pub fn new(seed: u64, impairment: Impairment) -> Self {
        Link {
            impairment,
            blackout: false,
            chance: Chance::new(seed),
            flying: BinaryHeap::new(),
            entered: 0,
            busy_until: Time::default(),
            statistics: RelayStatistics::default(),
        }
    }

    /// Changes the behaviour for datagrams that enter from now on.
    pub fn set(&mut self, impairment: Impairment, blackout: bool) {
        self.impairment = impairment;
        self.blackout = blackout;
    }

    /// A datagram enters.
    pub fn push(&mut self, datagram: &[u8], now: Time) {
        self.statistics.received += 1;
        // Every decision draws, so that one impairment does not shift the chances of the others.
        let lost = self.chance.happens(self.impairment.loss);
        let doubled = self.chance.happens(self.impairment.duplicate);
        let held = self.chance.happens(self.impairment.reorder);
        let hold = self.chance.between(self.impairment.reorder_delay);
        if lost || self.blackout || self.flying.len() >= IN_FLIGHT_LIMIT {
            self.statistics.dropped += 1;
            return;
        }
        let mut leaves = now;
        if let Some(rate) = self.impairment.rate.filter(|rate| *rate > 0) {
            let start = self.busy_until.max(now);
            if start.since(now) > self.impairment.queue {
                self.statistics.dropped += 1;
                return;
            }
            let nanos = datagram.len() as u64 * 8 * 1_000_000_000 / rate;
            self.busy_until = start + Duration::from_nanos(nanos);
            leaves = self.busy_until;
        }
        let mut due = leaves + self.impairment.delay;
        if held {
            self.statistics.reordered += 1;
            due = due + hold;
        }
        self.fly(due, datagram);
        if doubled {
            self.statistics.duplicated += 1;
            self.fly(due, datagram);
        }
    }

    /// When the next datagram leaves.
    pub fn next_due(&self) -> Option<Time> {
        self.flying.peek().map(|Reverse((due, _, _))| *due)
    }

    /// The next datagram that is due.
    pub fn pop(&mut self, now: Time) -> Option<Vec<u8>> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse((_, _, datagram)) = self.flying.pop()?;
        self.statistics.forwarded += 1;
        Some(datagram)
    }

    /// Counters so far.
    pub fn statistics(&self) -> RelayStatistics {
        self.statistics
    }

    fn fly(&mut self, due: Time, datagram: &[u8]) {
        self.entered += 1;
        self.flying.push(Reverse((due, self.entered, datagram.to_vec())));
    }
}

/// SplitMix64: small, seedable, good enough for a network.
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Chance(seed ^ 0x6c75_6d65_6e00_0000)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn happens(&mut self, probability: f64) -> bool {
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        unit < probability
    }

    fn between(&mut self, (low, high): (Duration, Duration)) -> Duration {
        let span = high.saturating_sub(low).as_nanos() as u64;
        low + Duration::from_nanos(self.next() % (span + 1))
    }
}

#[cfg(test)]
mod tests;
