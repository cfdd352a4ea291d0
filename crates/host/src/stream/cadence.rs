//! When to repeat the last picture.
//!
//! Compositors deliver only what changed. While anything moves, and for half a second after, the stream keeps the asked
//! rate; then repeats thin out to the idle rate, and the first change goes out at once (it never waits for a repeat).

use lumen_media::Timestamp;
use std::time::Duration;

/// How long after the last new picture the full rate is kept.
const MOVING: Duration = Duration::from_millis(500);

/// The rule above, on time that is passed in.
#[derive(Clone, Debug)]
pub struct Cadence {
    interval: Duration,
    idle_interval: Duration,
    last_new: Option<Timestamp>,
    last_sent: Option<Timestamp>,
    repeats: u64,
}

impl Cadence {
    /// `interval` is that of the asked rate; `idle_fps` frames a second remain when nothing moves.
    pub fn new(interval: Duration, idle_fps: u32) -> Self {
        let idle_interval = (Duration::from_secs(1) / idle_fps.max(1)).max(interval);
        Self { interval, idle_interval, last_new: None, last_sent: None, repeats: 0 }
    }

    /// A new picture went to the encoder at `now`.
    pub fn sent_new(&mut self, now: Timestamp) {
        self.last_new = Some(now);
        self.last_sent = Some(now);
        self.repeats = 0;
    }

    /// A repeat went to the encoder at `now`.
    pub fn sent_repeat(&mut self, now: Timestamp) {
        self.last_sent = Some(now);
        self.repeats += 1;
    }

    /// When to repeat if nothing new comes; `None` before the first picture.
    pub fn next_repeat(&self) -> Option<Timestamp> {
        let (new, sent) = (self.last_new?, self.last_sent?);
        // The first repeat waits half a period longer: a picture that is merely late replaces it, where a repeat just
        // ahead of it would only delay it by an encoding.
        let patience = if self.repeats == 0 { self.interval * 3 / 2 } else { self.interval };
        let at_full_rate = sent + patience;
        if at_full_rate < new + MOVING { Some(at_full_rate) } else { Some(sent + self.idle_interval) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Timestamp = Timestamp::from_nanos(1_000_000_000);

    fn run(cadence: &mut Cadence, until: Timestamp) -> Vec<Timestamp> {
        let mut sent = Vec::new();
        while let Some(next) = cadence.next_repeat().filter(|next| *next <= until) {
            cadence.sent_repeat(next);
            sent.push(next);
        }
        sent
    }

    #[test]
    fn nothing_to_repeat_before_the_first_picture() {
        assert_eq!(Cadence::new(Duration::from_millis(16), 15).next_repeat(), None);
    }

    #[test]
    fn full_rate_for_half_a_second_then_the_idle_rate() {
        let interval = Duration::from_nanos(16_666_667);
        let mut cadence = Cadence::new(interval, 15);
        cadence.sent_new(START);
        let moving = run(&mut cadence, START + MOVING);
        assert!((28..=30).contains(&moving.len()), "{} repeats at 60 Hz", moving.len());
        let idle = run(&mut cadence, START + MOVING + Duration::from_secs(2));
        assert!((29..=31).contains(&idle.len()), "{} repeats at 15 Hz", idle.len());
    }

    #[test]
    fn a_source_that_jitters_is_not_doubled() {
        let interval = Duration::from_millis(16);
        let mut cadence = Cadence::new(interval, 15);
        let mut now = START;
        for jitter in [0u64, 3, 1, 7, 0, 5] {
            cadence.sent_new(now);
            now = now + interval + Duration::from_millis(jitter);
            assert!(cadence.next_repeat().expect("sent once") > now, "{jitter} ms late is still in time");
        }
    }

    #[test]
    fn the_idle_rate_never_exceeds_the_asked_one() {
        let mut cadence = Cadence::new(Duration::from_millis(100), 60);
        cadence.sent_new(START);
        let sent = run(&mut cadence, START + Duration::from_secs(10));
        assert!(sent.len() <= 100, "{}", sent.len());
    }

    proptest! {
        #[test]
        fn there_is_always_a_next_repeat_and_it_lies_ahead(
            gaps in proptest::collection::vec((0u64..2_000_000_000, any::<bool>()), 1..200), fps in 10u64..480, idle in 1u32..=60
        ) {
            let mut cadence = Cadence::new(Duration::from_nanos(1_000_000_000 / fps), idle);
            let mut now = START;
            cadence.sent_new(now);
            for (gap, new) in gaps {
                now = now + Duration::from_nanos(gap);
                if new { cadence.sent_new(now) } else { cadence.sent_repeat(now) }
                let next = cadence.next_repeat().expect("there is a picture");
                prop_assert!(next > now);
                prop_assert!(next.since(now) <= Duration::from_secs(1));
            }
        }
    }
}
