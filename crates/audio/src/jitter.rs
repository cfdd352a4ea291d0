//! The store between capture and packets: takes blocks as PipeWire hands them over, gives packets at their slots
//! (`docs/design/audio.md`).

use crate::drift::Drift;
use crate::inbox::{Block, Blocks};
use crate::resample::Stretcher;
use lumen_media::Timestamp;
use std::collections::VecDeque;
use std::time::Duration;

/// Frames per second.
const RATE: f64 = 48_000.0;
/// Reserve against blocks that come late: at least, at most, in frames.
const RESERVE: std::ops::RangeInclusive<f64> = 96.0..=1920.0;
/// Added to the worst lateness seen, in frames.
const MORE: f64 = 48.0;
/// A single late block raises the reserve by this at most, in frames: machines stutter once in a while.
const RISE: f64 = 120.0;
/// Time in which what was seen of lateness loses half of its weight, in seconds.
const FORGETTING: f64 = 20.0;
/// A block that is so much later than expected says that the source paused, in seconds.
const PAUSED: f64 = 0.1;
/// More than this above the target is cut away, in frames.
const SURPLUS: f64 = 2880.0;
/// Frames over which sound fades where it is cut.
const FADE: usize = 96;

/// What happened in a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Times that sound ran out in the midst of it.
    pub(crate) gaps: u64,
    /// Frames of silence that stand for sound that did not come, gaps only.
    pub(crate) missing: u64,
    /// Frames that were cut away because too many had piled up.
    pub(crate) cut: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing plays until enough is there.
    Filling,
    Playing,
}

/// The store of one stream.
pub(crate) struct Jitter {
    channels: usize,
    frames: usize,
    store: VecDeque<f32>,
    /// Blocks whose samples are in the store, the oldest first; its frames that are gone already count less.
    blocks: VecDeque<Block>,
    line: Line,
    drift: Drift,
    stretcher: Stretcher,
    state: State,
    counts: Counts,
    input: Vec<f32>,
    /// Last frame that was played, for fading out.
    last: Vec<f32>,
    /// Frames until the fade-in is over.
    fading: usize,
    since: Option<Timestamp>,
    /// When sound ran out, until it comes back.
    dry: Option<u64>,
}

impl Jitter {
    /// For packets of `frames` frames.
    pub(crate) fn new(channels: usize, frames: usize) -> Result<Self, rubato::ResamplerConstructionError> {
        Ok(Self {
            channels,
            frames,
            store: VecDeque::with_capacity(48_000 * channels),
            blocks: VecDeque::with_capacity(512),
            line: Line::default(),
            drift: Drift::default(),
            stretcher: Stretcher::new(channels, frames)?,
            state: State::Filling,
            counts: Counts::default(),
            input: Vec::with_capacity(1024 * channels),
            last: vec![0.0; channels],
            fading: 0,
            since: None,
            dry: None,
        })
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// How much faster the source's clock is, in millionths.
    pub(crate) fn parts_per_million(&self) -> f64 {
        self.drift.parts_per_million()
    }

    /// Frames that PipeWire hands over at once, as seen lately.
    pub(crate) fn quantum(&self) -> usize {
        self.line.quantum
    }

    /// Takes blocks.
    pub(crate) fn push(&mut self, taken: &Blocks) {
        let mut samples = taken.samples.as_slice();
        for block in &taken.blocks {
            let (own, rest) = samples.split_at((block.frames * self.channels).min(samples.len()));
            samples = rest;
            if self.line.arrived(*block) {
                self.drift.level_jumped();
            }
            self.store.extend(own);
            self.blocks.push_back(*block);
        }
    }

    /// Whether sound plays and the next packet's is not there yet.
    pub(crate) fn is_short(&self) -> bool {
        // A change of speed may take a frame more.
        self.state == State::Playing && self.stored() <= self.stretcher.needs()
    }

    /// Whether sound ran out and is not back yet.
    pub(crate) fn is_dry(&self) -> bool {
        self.dry.is_some()
    }

    /// The source stood still together with us: what was not made meanwhile does not come later.
    pub(crate) fn stood_still(&mut self) {
        self.line.broken = true;
        self.drift.level_jumped();
    }

    /// Whether more than the next packet's sound is there.
    pub(crate) fn has_backlog(&self) -> bool {
        self.stored() >= 2 * self.stretcher.needs()
    }

    /// Makes the packet of `slot`, which leaves at `now`, in `out`. Answers how long ago its first frame arrived; none
    /// when it is silence because there is no sound.
    pub(crate) fn pull(&mut self, slot: Timestamp, now: Timestamp, out: &mut [f32]) -> Option<Duration> {
        let stored = self.stored();
        let target = self.line.target(self.frames);
        let excess = self.line.level(slot, stored) - target;
        let needs = self.stretcher.needs();
        // The rest of the reserve comes while it plays: waiting for all of it would be a longer hole.
        let enough = (self.line.quantum + self.frames) as f64 + RESERVE.start();
        if self.state == State::Filling && stored >= needs && excess + target >= enough {
            self.state = State::Playing;
            self.fading = FADE;
            self.drift.level_jumped();
            // Longer ones are no gaps: the source paused.
            self.counts.missing += self.dry.take().filter(|missing| *missing < RATE as u64).unwrap_or(0);
            // What piled up while nobody played is old; the fade-in hides its end.
            let before = self.counts.cut;
            self.cut(excess.max(0.0) as usize, needs);
            if excess <= SURPLUS {
                self.counts.cut = before;
            }
        }
        if self.state == State::Filling {
            if let Some(missing) = &mut self.dry {
                *missing += self.frames as u64;
            }
            self.play(0, needs, out);
            return None;
        }
        if excess > SURPLUS {
            self.cut(excess as usize, needs);
            self.drift.level_jumped();
        } else {
            let seconds = self.since.map_or(0.0, |since| slot.since(since).as_secs_f64());
            self.stretcher.set_speed(self.drift.update(excess, seconds.min(0.1)));
        }
        self.since = Some(slot);
        // The speed decides how many.
        let needs = self.stretcher.needs();
        let arrived = self.blocks.front().map(|block| block.arrived);
        let there = self.stored().min(needs);
        if there < needs {
            self.state = State::Filling;
            self.line.ran_out();
            self.dry = Some((needs - there) as u64);
            self.counts.gaps += 1;
        }
        self.play(there, needs, out);
        arrived.map(|arrived| now.since(arrived))
    }

    pub(crate) fn stored(&self) -> usize {
        self.store.len() / self.channels
    }

    /// Plays `there` frames of the store, and for the others up to `needs` a sound that fades away.
    fn play(&mut self, there: usize, needs: usize, out: &mut [f32]) {
        self.input.clear();
        self.input.extend(self.store.drain(..there * self.channels));
        self.forget(there);
        if self.fading > 0 {
            let done = FADE - self.fading;
            for (index, frame) in self.input.chunks_exact_mut(self.channels).take(self.fading).enumerate() {
                let weight = (done + index) as f32 / FADE as f32;
                frame.iter_mut().for_each(|sample| *sample *= weight);
            }
            self.fading -= self.fading.min(there);
        }
        if let Some(frame) = self.input.chunks_exact(self.channels).next_back() {
            self.last.copy_from_slice(frame);
        }
        for _ in there..needs {
            for sample in &mut self.last {
                // To a thousandth within 2 ms, then to nothing.
                *sample *= 0.93;
                if sample.abs() < 1e-6 {
                    *sample = 0.0;
                }
            }
            self.input.extend_from_slice(&self.last);
        }
        self.stretcher.process(&self.input, out);
    }

    /// Cuts `frames` frames away, or as many as leave enough to play; the cut is faded over.
    fn cut(&mut self, frames: usize, needs: usize) {
        let frames = frames.min(self.stored().saturating_sub(needs + FADE));
        if frames == 0 {
            return;
        }
        for index in 0..FADE * self.channels {
            let weight = (index / self.channels) as f32 / FADE as f32;
            let later = index + frames * self.channels;
            self.store[later] = self.store[index] * (1.0 - weight) + self.store[later] * weight;
        }
        self.store.drain(..frames * self.channels);
        self.forget(frames);
        self.counts.cut += frames as u64;
    }

    fn forget(&mut self, mut frames: usize) {
        while let Some(block) = self.blocks.front_mut() {
            if block.frames > frames {
                block.frames -= frames;
                return;
            }
            frames -= block.frames;
            self.blocks.pop_front();
        }
    }
}

/// When blocks arrive, as a straight line: the earliest ones count, the others are late.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    /// When the last block was due.
    anchor: Option<Timestamp>,
    quantum: usize,
    /// Worst lateness of late, in frames.
    lateness: f64,
    /// How late the block before was, in frames.
    before: f64,
    /// Sound ran out: where the line was drawn is no use.
    broken: bool,
}

impl Line {
    /// A block came. True if the source had paused, so that a new line begins.
    fn arrived(&mut self, block: Block) -> bool {
        self.quantum = block.frames;
        let seconds = block.frames as f64 / RATE;
        let Some(anchor) = self.anchor else {
            self.anchor = Some(block.arrived);
            return true;
        };
        let due = anchor + Duration::from_secs_f64(seconds);
        if block.arrived < due {
            // Earlier than ever: the others were late.
            self.anchor = Some(due - due.since(block.arrived) / 4);
            self.before = 0.0;
            return false;
        }
        let late = block.arrived.since(due).as_secs_f64();
        if std::mem::take(&mut self.broken) || late > PAUSED {
            self.anchor = Some(block.arrived);
            self.before = 0.0;
            return true;
        }
        self.anchor = Some(due + Duration::from_secs_f64(late / 256.0));
        let late = late * RATE;
        // What the source lost makes all that follows late, and that once only.
        let news = late > self.before + 1.0;
        self.before = late;
        self.lateness *= 0.5f64.powf(seconds / FORGETTING);
        if news && late > self.lateness {
            self.lateness = late.min(self.lateness + RISE);
        }
        false
    }

    /// Sound ran out. Whether the source is late or lost something, only its next block can tell.
    fn ran_out(&mut self) {
        self.lateness = (self.lateness + RISE).min(*RESERVE.end());
        self.broken = true;
    }

    /// How many frames would have been stored at `slot` if they came one by one instead of in blocks; a packet that
    /// leaves late has some that came later. A source that pauses adds nothing beyond its block.
    fn level(&self, slot: Timestamp, stored: usize) -> f64 {
        let Some(anchor) = self.anchor else { return 0.0 };
        let coming = slot.since(anchor).as_secs_f64().min(PAUSED) - anchor.since(slot).as_secs_f64();
        stored as f64 + coming * RATE
    }

    /// The level at which a packet of `frames` frames can be played when the next block comes as late as is usual.
    fn target(&self, frames: usize) -> f64 {
        let reserve = (self.lateness + MORE).clamp(*RESERVE.start(), *RESERVE.end());
        (self.quantum + frames) as f64 + reserve
    }
}

#[cfg(test)]
#[path = "jitter_tests.rs"]
mod tests;
