//! Two clocks that do not agree: how much faster or slower the captured sound has to be played so that the store of it
//! keeps its size. Pure; the figures are derived in `docs/design/audio.md`.

/// Frames per second that both sides nominally have.
const RATE: f64 = 48_000.0;
/// The level is smoothed over this time, in seconds.
const SMOOTHING: f64 = 0.5;
/// Time in which the level approaches its target, in seconds.
const SETTLING: f64 = 3.0;
/// Most that the speed differs from the nominal one: 2 per mille are a thirtieth of a semitone.
const LIMIT: f64 = 2e-3;
/// Most that two clocks differ; cheap crystals are within a tenth of it.
const CLOCKS: f64 = 5e-4;
/// Farther from its target than this, in frames, the level was disturbed by something else than a clock.
const DISTURBED: f64 = 240.0;

/// A controller from the store's level to the speed at which it is emptied.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Drift {
    smoothed: Option<f64>,
    /// The part of the speed that is the clocks' difference.
    learnt: f64,
}

impl Drift {
    /// The store holds `excess` frames more than it should (fewer, when negative), `seconds` after the last call.
    /// Answers how many frames to take for each frame that is played: 1 and a little more or less.
    pub(crate) fn update(&mut self, excess: f64, seconds: f64) -> f64 {
        const PROPORTIONAL: f64 = 1.0 / (RATE * SETTLING);
        // Critically damped.
        const INTEGRAL: f64 = PROPORTIONAL / (4.0 * SETTLING);
        let smoothed = match self.smoothed {
            None => excess,
            Some(before) => before + (excess - before) * (seconds / SMOOTHING).min(1.0),
        };
        self.smoothed = Some(smoothed);
        let speed = smoothed * PROPORTIONAL + self.learnt;
        if smoothed.abs() < DISTURBED {
            self.learnt = (self.learnt + smoothed * INTEGRAL * seconds).clamp(-CLOCKS, CLOCKS);
        }
        1.0 + speed.clamp(-LIMIT, LIMIT)
    }

    /// The level jumped: what was smoothed says nothing any more; the clocks are the same.
    pub(crate) fn level_jumped(&mut self) {
        self.smoothed = None;
    }

    /// How much faster the source's clock runs, in millionths, as far as is learnt.
    pub(crate) fn parts_per_million(&self) -> f64 {
        self.learnt * 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Runs the controller against a source that is `ppm` millionths fast, from a level that is `start` frames off; the
    /// level's distance from its target after each of `seconds` seconds.
    fn run(ppm: f64, start: f64, seconds: usize) -> (Vec<f64>, Drift) {
        let mut drift = Drift::default();
        let mut excess = start;
        let mut levels = Vec::new();
        for _ in 0..seconds {
            for _ in 0..200 {
                let speed = drift.update(excess, 0.005);
                excess += 240.0 * (1.0 + ppm * 1e-6) - 240.0 * speed;
            }
            levels.push(excess);
        }
        (levels, drift)
    }

    #[test]
    fn clocks_in_step_need_no_correction() {
        let (levels, drift) = run(0.0, 0.0, 10);
        assert!(levels.iter().all(|level| *level == 0.0));
        assert_eq!(drift.parts_per_million(), 0.0);
    }

    proptest! {
        #[test]
        fn every_drift_of_real_clocks_is_learnt(ppm in -400.0..400.0, start in -400.0..400.0) {
            let (levels, drift) = run(ppm, start, 180);
            let worst = levels.iter().fold(0.0f64, |worst, level| worst.max(level.abs()));
            prop_assert!(worst < 560.0, "the level strayed {worst} frames");
            let late = levels[150..].iter().fold(0.0f64, |worst, level| worst.max(level.abs()));
            prop_assert!(late < 2.0, "{late} frames off after 150 s");
            prop_assert!((drift.parts_per_million() - ppm).abs() < 5.0);
        }

        #[test]
        fn the_speed_stays_within_its_limit(
            excesses in prop::collection::vec(-1e6..1e6f64, 1..300), seconds in 0.0..1.0f64
        ) {
            let mut drift = Drift::default();
            for excess in excesses {
                let speed = drift.update(excess, seconds);
                prop_assert!((1.0 - LIMIT..=1.0 + LIMIT).contains(&speed));
                prop_assert!(drift.parts_per_million().abs() <= CLOCKS * 1e6);
            }
        }
    }
}
