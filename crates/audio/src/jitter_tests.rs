use super::*;
use proptest::prelude::*;
use std::f64::consts::TAU;

/// A source of a tone whose clock is off, and which hands over blocks late now and then.
struct Source {
    ppm: f64,
    quantum: usize,
    made: u64,
}

impl Source {
    /// When the next block is complete, in nanoseconds of the pacing clock.
    fn due(&self) -> u64 {
        ((self.made + self.quantum as u64) as f64 / (48_000.0 * (1.0 + self.ppm * 1e-6)) * 1e9) as u64
    }

    fn block(&mut self, arrived: u64, tone: f64) -> Blocks {
        let samples = (0..self.quantum as u64)
            .map(|frame| ((self.made + frame) as f64 * TAU * tone / 48_000.0).sin() as f32 * 0.5)
            .collect();
        self.made += self.quantum as u64;
        let block = Block { frames: self.quantum, arrived: Timestamp::from_nanos(arrived) };
        Blocks { samples, blocks: vec![block] }
    }
}

struct Run {
    heard: Vec<f32>,
    latencies: Vec<f64>,
    jitter: Jitter,
}

/// Plays for `seconds`; `late(n)` is how many nanoseconds block `n` comes late, or none if it is lost.
fn run(ppm: f64, quantum: usize, seconds: u64, late: impl Fn(u64) -> Option<u64>) -> Run {
    let mut jitter = Jitter::new(1, 240).unwrap();
    let mut source = Source { ppm, quantum, made: 0 };
    let (mut heard, mut latencies) = (Vec::new(), Vec::new());
    let mut number = 0;
    let mut out = vec![0.0; 240];
    let mut arrivals: VecDeque<(u64, Blocks)> = VecDeque::new();
    for slot in 1..=seconds * 200 {
        let now = slot * 5_000_000;
        while source.due() <= now {
            let due = source.due();
            let delay = late(number);
            number += 1;
            // Blocks stay in order.
            let arrived = (due + delay.unwrap_or(0)).max(arrivals.back().map_or(0, |(at, _)| *at));
            let block = source.block(arrived, 1000.0);
            if delay.is_some() {
                arrivals.push_back((arrived, block));
            }
        }
        while arrivals.front().is_some_and(|(at, _)| *at <= now) {
            arrivals.pop_front().iter().for_each(|(_, block)| jitter.push(block));
        }
        if let Some(latency) = jitter.pull(Timestamp::from_nanos(now), Timestamp::from_nanos(now), &mut out) {
            latencies.push(latency.as_secs_f64() * 1000.0);
        }
        heard.extend_from_slice(&out);
    }
    Run { heard, latencies, jitter }
}

/// The worst break of the wave after the start, relative to its amplitude.
fn worst_break(heard: &[f32], skip: usize) -> f64 {
    let cosine = 2.0 * (TAU * 1000.0 / 48_000.0).cos();
    let tail: Vec<f64> = heard[skip..].iter().map(|sample| f64::from(*sample)).collect();
    tail.windows(3).map(|w| (w[2] - cosine * w[1] + w[0]).abs() / 0.5).fold(0.0, f64::max)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

#[test]
fn a_steady_source_is_played_whole_and_soon() {
    for quantum in [128, 256, 470, 512, 1024] {
        let run = run(0.0, quantum, 10, |_| Some(0));
        assert_eq!(run.jitter.counts(), Counts::default(), "{quantum}");
        let off = worst_break(&run.heard, 4800);
        assert!(off < 0.01, "quantum {quantum}: the wave breaks by {off}");
        // A packet, the reserve, half a block.
        let most = 5.0 + 2.5 + quantum as f64 / 48.0 / 2.0 + 5.0;
        let latency = median(&run.latencies);
        println!("quantum {quantum}: p50 {latency:.2} ms");
        assert!(latency < most, "quantum {quantum}: {latency} ms");
    }
}

#[test]
fn drift_is_absorbed_without_a_break() {
    for ppm in [-300.0, -50.0, 50.0, 300.0] {
        let run = run(ppm, 256, 60, |_| Some(0));
        assert_eq!(run.jitter.counts(), Counts::default(), "{ppm} ppm");
        let off = worst_break(&run.heard, 4800);
        assert!(off < 0.01, "{ppm} ppm: the wave breaks by {off}");
        let learnt = run.jitter.parts_per_million();
        assert!((learnt - ppm).abs() < 40.0, "{ppm} ppm, learnt {learnt}");
    }
}

#[test]
fn late_blocks_enlarge_the_reserve_and_then_nothing_is_missing() {
    // Every 20th block is 8 ms late: less than that is not held at first.
    let run = run(30.0, 256, 60, |number| Some(if number % 20 == 0 { 8_000_000 } else { 0 }));
    let counts = run.jitter.counts();
    assert!(counts.gaps < 10, "{counts:?}");
    let half = run.heard.len() / 2;
    assert!(worst_break(&run.heard, half) < 0.01, "the second half is whole");
    let latency = median(&run.latencies[run.latencies.len() / 2..]);
    assert!(latency < 25.0, "{latency} ms");
}

#[test]
fn a_source_that_loses_sound_goes_on_after_one_gap() {
    // Ten blocks of 5 ms never come.
    let run = run(0.0, 256, 20, |number| (!(1000..1010).contains(&number)).then_some(0));
    let counts = run.jitter.counts();
    assert_eq!(counts.gaps, 1);
    assert!((40.0..90.0).contains(&(counts.missing as f64 / 48.0)), "{counts:?}");
    assert!(worst_break(&run.heard, run.heard.len() - 5 * 48_000) < 0.01);
}

#[test]
fn a_pause_is_silence_and_its_end_is_played_from_its_start() {
    // Two seconds of nothing.
    let run = run(0.0, 480, 10, |number| (!(300..500).contains(&number)).then_some(0));
    let quiet = run.heard.iter().filter(|sample| **sample == 0.0).count() as f64 / 48_000.0;
    assert!((1.9..2.3).contains(&quiet), "{quiet} s of silence");
    assert_eq!(
        (run.jitter.counts().gaps, run.jitter.counts().missing),
        (1, 0),
        "a pause is not a gap of two seconds"
    );
}

#[test]
fn without_a_source_there_is_silence() {
    let mut jitter = Jitter::new(8, 480).unwrap();
    let mut out = vec![1.0; 8 * 480];
    for slot in 0..100 {
        let now = Timestamp::from_nanos(slot * 10_000_000);
        assert_eq!(jitter.pull(now, now, &mut out), None);
        assert!(out.iter().all(|sample| *sample == 0.0));
    }
    assert_eq!(jitter.counts(), Counts::default());
}

#[test]
fn what_piled_up_is_cut_to_the_target() {
    let mut jitter = Jitter::new(2, 240).unwrap();
    let block = |at| Blocks {
        samples: vec![0.25; 512],
        blocks: vec![Block { frames: 256, arrived: Timestamp::from_nanos(at) }],
    };
    // A second at once.
    for _ in 0..188 {
        jitter.push(&block(1_000_000));
    }
    let mut out = vec![0.0; 480];
    let now = Timestamp::from_nanos(2_000_000);
    let _ = jitter.pull(now, now, &mut out);
    assert!(jitter.stored() < 1500, "{} frames stay", jitter.stored());
    assert!(jitter.counts().cut > 40_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_a_source_does_the_store_stays_small_and_loud_enough(
        delays in prop::collection::vec(0u64..60_000_000, 200..400),
        lost in prop::collection::vec(0usize..400, 0..20),
        quantum in 32usize..2048,
    ) {
        let late = |number: u64| {
            let index = number as usize % delays.len();
            (!lost.contains(&index)).then(|| if index.is_multiple_of(7) { delays[index] } else { delays[index] % 300_000 })
        };
        let run = run(120.0, quantum, 4, late);
        prop_assert!(run.heard.iter().all(|sample| sample.abs() < 0.75), "no more than the filter rings where sound ends");
        prop_assert!(run.jitter.stored() < 48_000 / 4, "{} frames piled up", run.jitter.stored());
        // Frames are neither made up nor kept twice.
        let blocks: usize = run.jitter.blocks.iter().map(|block| block.frames).sum();
        prop_assert_eq!(blocks, run.jitter.stored());
    }
}
