//! Seeded network emulator.
use std::time::Duration;

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
    /// Rate limit in bits per second; `None` is unlimited.
    pub rate: Option<u64>,
    /// With a rate: a datagram that would have to queue longer than this is dropped.
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

/// Both directions, for video and control alike.
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
