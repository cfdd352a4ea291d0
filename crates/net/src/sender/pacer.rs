//! When each group of a frame's packets leaves. Pure: time is an argument.
//!
//! A frame at line rate overruns the small buffers of Wi-Fi receivers (protocol text §6.12). Groups of a few packets go
//! to the kernel in one call, spaced so that the frame ends within about a quarter of the frame interval, and never
//! faster than a ceiling. What one frame leaves of the ceiling's debt, the next one pays.

use lumen_media::Timestamp;
use std::time::Duration;

/// Ethernet, IPv4 and UDP headers of a packet, in bytes: they take room on the wire too.
const HEADERS: usize = 46;

/// How fast packets may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacerConfig {
    /// Never faster than this, in bits a second.
    pub ceiling: u64,
    /// Not slower than this while a frame is under way, in bits a second: a frame of a slow stream need not be drawn
    /// out over its whole share of the interval, any network takes this much for some packets.
    pub floor: u64,
    /// Packets in a group; a frame of no more than that leaves at once.
    pub group_packets: usize,
    /// Bytes in a group.
    pub group_bytes: usize,
    /// A frame ends within this fraction of the frame interval, unless the ceiling forbids it: one over this number.
    pub interval_share: u32,
}

impl Default for PacerConfig {
    fn default() -> Self {
        Self {
            ceiling: 800_000_000,
            floor: 250_000_000,
            group_packets: 16,
            group_bytes: crate::udp::MAX_RUN_BYTES,
            interval_share: 4,
        }
    }
}

/// Spreads packets over time.
#[derive(Clone, Debug)]
pub struct Pacer {
    config: PacerConfig,
    /// From when the ceiling allows the next group.
    free_at: Timestamp,
}

/// The plan for one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Packets of each group but the last.
    pub group: usize,
    /// From the start of one group to the start of the next.
    pub gap: Duration,
    /// When the next group is planned; the ceiling may move it further out.
    next: Timestamp,
}

impl Pacer {
    /// A pacer with nothing sent yet.
    pub fn new(config: PacerConfig) -> Self {
        Self { config, free_at: Timestamp::default() }
    }

    /// Plans a frame of `packets` packets of `packet_bytes` each that is ready at `now`.
    pub fn begin(&self, packets: usize, packet_bytes: usize, interval: Duration, now: Timestamp) -> Pace {
        let config = &self.config;
        let group = (config.group_bytes / packet_bytes.max(1)).clamp(1, config.group_packets.max(1));
        let share = interval / config.interval_share.max(1);
        let frame = bits(packets, packet_bytes);
        let wanted = u128::from(frame) * 1_000_000_000 / share.as_nanos().max(1);
        let rate = u64::try_from(wanted).unwrap_or(u64::MAX).max(config.floor).min(config.ceiling.max(1));
        Pace { group, gap: duration_at(bits(group, packet_bytes), rate), next: now }
    }

    /// When the next group of this frame may leave.
    pub fn due(&self, pace: &Pace) -> Timestamp {
        pace.next.max(self.free_at)
    }

    /// Notes that a group of `packets` left at `now`. A group that left late does not make the next one hurry beyond
    /// the ceiling.
    pub fn sent(&mut self, pace: &mut Pace, packets: usize, packet_bytes: usize, now: Timestamp) {
        let start = now.max(self.free_at);
        self.free_at = start + duration_at(bits(packets, packet_bytes), self.config.ceiling.max(1));
        pace.next = pace.next + pace.gap;
    }

    /// How far behind a frame that is ready at `now` would start.
    pub fn backlog(&self, now: Timestamp) -> Duration {
        self.free_at.since(now)
    }
}

fn bits(packets: usize, packet_bytes: usize) -> u64 {
    ((packet_bytes + HEADERS) as u64).saturating_mul(packets as u64).saturating_mul(8)
}

fn duration_at(bits: u64, rate: u64) -> Duration {
    Duration::from_nanos(
        u64::try_from(u128::from(bits) * 1_000_000_000 / u128::from(rate.max(1))).unwrap_or(u64::MAX),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Timestamp = Timestamp::from_nanos(5_000_000_000);

    /// Sends a frame on virtual time; `(when, packets)` of each group.
    fn run(
        pacer: &mut Pacer,
        packets: usize,
        bytes: usize,
        interval: Duration,
        ready: Timestamp,
    ) -> Vec<(Timestamp, usize)> {
        let mut pace = pacer.begin(packets, bytes, interval, ready);
        let (mut left, mut now, mut groups) = (packets, ready, Vec::new());
        while left > 0 {
            now = now.max(pacer.due(&pace));
            let group = left.min(pace.group);
            pacer.sent(&mut pace, group, bytes, now);
            groups.push((now, group));
            left -= group;
        }
        groups
    }

    fn hz(rate: u32) -> Duration {
        Duration::from_secs(1) / rate
    }

    #[test]
    fn a_small_frame_leaves_at_once() {
        let mut pacer = Pacer::new(PacerConfig::default());
        assert_eq!(run(&mut pacer, 16, 1408, hz(60), START), [(START, 16)]);
    }

    #[test]
    fn a_1080p_frame_at_20_mbit_takes_below_two_milliseconds() {
        let mut pacer = Pacer::new(PacerConfig::default());
        let groups = run(&mut pacer, 38, 1408, hz(60), START);
        assert_eq!(groups.iter().map(|group| group.1).collect::<Vec<_>>(), [16, 16, 6]);
        let took = groups[2].0.since(START);
        assert!(took <= Duration::from_millis(2) && took >= Duration::from_micros(500), "{took:?}");
    }

    #[test]
    fn a_large_frame_ends_within_a_quarter_of_the_interval() {
        let mut pacer = Pacer::new(PacerConfig::default());
        let groups = run(&mut pacer, 200, 1408, hz(60), START);
        let took = groups.last().expect("groups").0.since(START);
        assert!(took <= hz(60) / 4 && took >= hz(60) / 5, "{took:?}");
    }

    #[test]
    fn the_ceiling_carries_over_into_the_next_frame() {
        let mut pacer = Pacer::new(PacerConfig::default());
        // 4000 packets are 46 Mbit: 58 ms at 800 Mbit/s.
        let groups = run(&mut pacer, 4000, 1408, hz(60), START);
        let took = groups.last().expect("groups").0.since(START);
        assert!(took > Duration::from_millis(57) && took < Duration::from_millis(59), "{took:?}");
        let next_ready = START + hz(60);
        assert!(pacer.backlog(next_ready) > Duration::from_millis(40));
        let next = run(&mut pacer, 10, 1408, hz(60), next_ready);
        assert!(next[0].0 >= START + took);
        assert_eq!(pacer.backlog(next[0].0 + hz(60)), Duration::ZERO);
    }

    #[test]
    fn a_late_group_does_not_make_the_rest_a_burst() {
        let mut pacer = Pacer::new(PacerConfig::default());
        let mut pace = pacer.begin(64, 1408, hz(60), START);
        let late = START + Duration::from_millis(50);
        pacer.sent(&mut pace, 16, 1408, late);
        let due = pacer.due(&pace);
        assert!(due > late, "planned long ago, but the ceiling holds");
        pacer.sent(&mut pace, 16, 1408, due);
        assert!(pacer.due(&pace).since(due) >= Duration::from_micros(200));
    }

    proptest! {
        #[test]
        fn never_faster_than_the_ceiling_and_everything_leaves(
            frames in prop::collection::vec((1usize..600, 64usize..1473, 0u64..40_000), 1..30),
            rate in 10u32..480,
        ) {
            let config = PacerConfig::default();
            let mut pacer = Pacer::new(config);
            let mut ready = START;
            let mut sent: Vec<(Timestamp, u64)> = Vec::new();
            for (packets, bytes, pause) in frames {
                let groups = run(&mut pacer, packets, bytes, hz(rate), ready);
                prop_assert_eq!(groups.iter().map(|group| group.1).sum::<usize>(), packets);
                prop_assert!(groups.iter().all(|group| group.1 <= 16));
                sent.extend(groups.iter().map(|&(at, packets)| (at, bits(packets, bytes))));
                ready = groups.last().expect("groups").0.max(ready + Duration::from_micros(pause));
            }
            // Between any group and a later one lies at least the time that the ceiling gives it.
            let mut total = 0u128;
            for window in sent.windows(2) {
                prop_assert!(window[1].0 >= window[0].0);
                total += u128::from(window[0].1);
                let most = u128::from(config.ceiling) * window[1].0.since(sent[0].0).as_nanos() / 1_000_000_000;
                prop_assert!(total <= most + 1_000, "{total} bits by then, {most} allowed");
            }
        }
    }
}
