//! What tests want to know of a tone: which one it is, how loud, whether it has holes or clicks.

use std::fmt;

/// Samples a second.
const RATE: f64 = 48_000.0;

/// Amplitude of a frequency in the samples (1 is full scale), by the sine and cosine that fit them best.
pub fn amplitude(samples: &[f32], hertz: f64) -> f64 {
    let step = std::f64::consts::TAU * hertz / RATE;
    let (mut ss, mut sc, mut cc, mut xs, mut xc) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (index, sample) in samples.iter().enumerate() {
        let (s, c) = (step * index as f64).sin_cos();
        ss += s * s;
        sc += s * c;
        cc += c * c;
        xs += f64::from(*sample) * s;
        xc += f64::from(*sample) * c;
    }
    let determinant = ss * cc - sc * sc;
    if determinant.abs() < f64::EPSILON {
        return 0.0;
    }
    let (a, b) = ((xs * cc - xc * sc) / determinant, (xc * ss - xs * sc) / determinant);
    a.hypot(b)
}

/// A tone for each channel, in whole hertz. None of them meets each Opus packet at the same point of its wave, as
/// 400 Hz does with packets of 5 ms: what coding takes from a wave there it takes from each packet.
pub fn of_channels(count: usize) -> Vec<u32> {
    (0..count as u32).map(|channel| 443 + 97 * channel).collect()
}

/// The loudest of these tones and its [`usual_amplitude`].
pub fn loudest(samples: &[f32], tones: &[u32]) -> Option<(u32, f64)> {
    let found = tones.iter().map(|tone| (*tone, usual_amplitude(samples, f64::from(*tone))));
    found.max_by(|a, b| a.1.total_cmp(&b.1))
}

/// The median over pieces of 20 ms of [`amplitude`]: a hole in the sound does not change it. For samples
/// that hold one tone.
pub fn usual_amplitude(samples: &[f32], hertz: f64) -> f64 {
    median(samples.as_chunks::<960>().0.iter().map(|piece| amplitude(piece, hertz)))
}

/// The same over pieces of 100 ms, for samples that hold several tones of [`of_channels`]: they are told apart within a few
/// hundredths of each other.
pub fn amplitude_among_others(samples: &[f32], hertz: f64) -> f64 {
    median(samples.as_chunks::<4800>().0.iter().map(|piece| amplitude(piece, hertz)))
}

fn median(found: impl Iterator<Item = f64>) -> f64 {
    let mut found: Vec<f64> = found.collect();
    found.sort_unstable_by(f64::total_cmp);
    found.get(found.len() / 2).copied().unwrap_or(0.0)
}

/// Difference of two amplitudes in decibels.
pub fn decibels(found: f64, expected: f64) -> f64 {
    20.0 * (found / expected).log10()
}

/// Follows a tone that goes on and on, sample by sample, and notes where it does not.
///
/// Three samples of a sine in a row fulfil `x[n] = 2 cos(w) x[n-1] − x[n-2]`; where they do not, somebody cut.
#[derive(Debug, Clone)]
pub struct Watch {
    cosine: f64,
    amplitude: f64,
    last: [f64; 2],
    seen: u64,
    /// Samples since the last one that was louder than a quarter of the tone.
    quiet: u64,
    /// Longest stretch of quiet, in samples.
    pub longest_quiet: u64,
    /// Stretches of quiet longer than a millisecond, or than two periods of the tone.
    pub gaps: u64,
    /// Places where the wave breaks, at most one in 5 ms.
    pub clicks: u64,
    /// Worst break of the wave, relative to the tone's amplitude.
    pub worst: f64,
    flaws: Vec<Flaw>,
    last_click: u64,
    shortest_gap: u64,
}

/// Gaps and clicks that come close together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flaw {
    /// Where it begins, in samples.
    pub at: u64,
    /// Its longest stretch of quiet, in samples.
    pub quiet: u64,
    /// Last sample that belongs to it.
    end: u64,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} ms of quiet at {:.2} s", self.quiet as f64 / 48.0, self.at as f64 / RATE)
    }
}

/// Gaps and clicks within so many samples are one flaw.
const FLAW: u64 = 4800;
/// So far two listeners who began about the same time can be apart, and so much more two of their flaws with one cause: a
/// listener who is late loses samples, which the other one may have.
const APART: i64 = 6 * 48_000;
const WANDERS: i64 = 48_000 / 4;

/// A break of the wave by so much of its amplitude is a click: far above what coding does to a tone, far below what a
/// missing sample does.
const CLICK: f64 = 0.05;

/// Nobody should hear so much quiet: 20 ms.
const LONG_QUIET: u64 = 960;
/// Half a second.
const SILENCE: u64 = 24_000;

impl Flaw {
    fn apart(&self, other: &Flaw) -> i64 {
        self.at as i64 - other.at as i64
    }
}

impl fmt::Display for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.1} s, {} gaps, longest quiet {:.1} ms, {} clicks, worst break {:.3}",
            self.seen as f64 / RATE,
            self.gaps,
            self.longest_quiet_ms(),
            self.clicks,
            self.worst
        )
    }
}

impl Watch {
    /// For a tone of this frequency and amplitude.
    pub fn new(hertz: f64, amplitude: f64) -> Self {
        Watch {
            cosine: 2.0 * (std::f64::consts::TAU * hertz / RATE).cos(),
            amplitude,
            last: [0.0; 2],
            seen: 0,
            quiet: 0,
            longest_quiet: 0,
            gaps: 0,
            clicks: 0,
            worst: 0.0,
            flaws: Vec::new(),
            last_click: 0,
            shortest_gap: (RATE / 1000.0).max(2.0 * RATE / hertz) as u64,
        }
    }

    /// Samples seen.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Takes the next samples.
    pub fn push(&mut self, samples: impl Iterator<Item = f32>) {
        for sample in samples {
            let sample = f64::from(sample);
            self.seen += 1;
            let [before, last] = self.last;
            let off = (sample - self.cosine * last + before).abs() / self.amplitude;
            self.last = [last, sample];
            if self.seen > 2 {
                self.worst = self.worst.max(off);
                if off > CLICK && (self.last_click == 0 || self.seen - self.last_click > 240) {
                    self.clicks += 1;
                    self.last_click = self.seen;
                    self.note(0);
                }
            }
            if sample.abs() > self.amplitude / 4.0 {
                self.quiet = 0;
            } else {
                self.quiet += 1;
                self.longest_quiet = self.longest_quiet.max(self.quiet);
                self.gaps += u64::from(self.quiet == self.shortest_gap);
                if self.quiet >= self.shortest_gap {
                    self.note(self.quiet);
                }
            }
        }
    }

    fn note(&mut self, quiet: u64) {
        match self.flaws.last_mut().filter(|flaw| self.seen - flaw.end < FLAW) {
            Some(flaw) => (flaw.end, flaw.quiet) = (self.seen, flaw.quiet.max(quiet)),
            None => self.flaws.push(Flaw { at: self.seen, quiet, end: self.seen }),
        }
    }

    /// Where something is wrong.
    pub fn flaws(&self) -> &[Flaw] {
        &self.flaws
    }

    /// The flaws that `beside`, which listened to the same sound at the same time, does not have.
    pub fn flaws_alone(&self, beside: &Watch) -> Vec<Flaw> {
        let begins =
            self.flaws.iter().flat_map(|ours| beside.flaws.iter().map(move |theirs| ours.apart(theirs)));
        let candidates = begins.filter(|apart| apart.abs() <= APART);
        let alone = candidates.map(|apart| self.flaws_apart(beside, apart));
        alone.min_by_key(Vec::len).unwrap_or_else(|| self.flaws.clone())
    }

    /// The same, where sample n of `beside` is about sample n + `apart` of these.
    fn flaws_apart(&self, beside: &Watch, mut apart: i64) -> Vec<Flaw> {
        let mut alone = Vec::new();
        for flaw in &self.flaws {
            let nearest = beside
                .flaws
                .iter()
                .map(|theirs| flaw.apart(theirs))
                .min_by_key(|there| (there - apart).abs());
            match nearest.filter(|there| (there - apart).abs() <= WANDERS) {
                Some(there) => apart = there,
                None => alone.push(*flaw),
            }
        }
        alone
    }

    /// Whether somebody who listens hears no more than `beside` of the same sound holds: no more clicks than that and
    /// `spare`, nowhere half a second of quiet, and, where nothing is spared, no quiet of 20 ms where that is whole.
    ///
    /// # Errors
    /// What is heard that should not be.
    pub fn is_no_worse_than(&self, beside: &Watch, spare: u64) -> Result<(), String> {
        if self.clicks > beside.clicks + spare {
            return Err(format!("{} clicks, {} beside", self.clicks, beside.clicks));
        }
        // Whatever the machine does: this is no click any more.
        if self.longest_quiet >= SILENCE {
            return Err(format!("{:.0} ms of quiet", self.longest_quiet_ms()));
        }
        let long = |flaw: &Flaw| flaw.quiet >= LONG_QUIET;
        match self.flaws_alone(beside).into_iter().find(long).filter(|_| spare == 0) {
            Some(flaw) => Err(format!("{flaw}, nothing beside")),
            None => Ok(()),
        }
    }

    /// Longest stretch of quiet in milliseconds.
    pub fn longest_quiet_ms(&self) -> f64 {
        self.longest_quiet as f64 / 48.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hertz: f64, amplitude: f64, count: usize) -> Vec<f32> {
        let step = std::f64::consts::TAU * hertz / RATE;
        (0..count).map(|index| ((step * index as f64).sin() * amplitude) as f32).collect()
    }

    #[test]
    fn frequency_and_amplitude_are_found() {
        let samples = tone(700.0, 0.25, 9600);
        let (hertz, found) = loudest(&samples, &[443, 700, 637]).unwrap();
        assert_eq!(hertz, 700);
        assert!(decibels(found, 0.25).abs() < 0.01);
        assert!(amplitude(&samples, 400.0) < 0.001);
        assert!((decibels(0.5, 0.25) - 6.02).abs() < 0.01);
        assert_eq!(amplitude(&[], 100.0), 0.0);
    }

    #[test]
    fn tones_are_told_apart_across_a_hole() {
        let [a, b] = [443.0, 540.0].map(|hertz| tone(hertz, 0.25, 48_000));
        let mixed: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
        // The rest comes out of step.
        let cut = [&mixed[..20_000], &mixed[20_054..]].concat();
        for (hertz, expected) in [(443.0, 0.25), (540.0, 0.25), (637.0, 0.0)] {
            let found = amplitude_among_others(&cut, hertz);
            assert!((found - expected).abs() < 0.02, "{hertz} Hz: {found}");
        }
        assert_eq!(amplitude_among_others(&[], 443.0), 0.0);
    }

    #[test]
    fn a_whole_tone_has_no_gap_and_no_click() {
        let mut watch = Watch::new(1000.0, 0.25);
        // Its source's clock is a little off.
        watch.push(tone(1000.2, 0.25, 96_000).into_iter());
        assert_eq!((watch.gaps, watch.clicks), (0, 0), "{watch:?}");
    }

    #[test]
    fn holes_and_cuts_are_found() {
        let whole = tone(1000.0, 0.25, 48_000);
        let hole = [&whole[..10_000], &[0.0; 1200], &whole[11_200..]].concat();
        let mut watch = Watch::new(1000.0, 0.25);
        watch.push(hole.into_iter());
        assert_eq!(watch.gaps, 1);
        assert!((25.0..26.0).contains(&watch.longest_quiet_ms()), "{}", watch.longest_quiet_ms());
        assert!(watch.clicks >= 1);

        for cut in [5, 20, 33] {
            let cut = [&whole[..10_000], &whole[10_000 + cut..]].concat();
            let mut watch = Watch::new(1000.0, 0.25);
            watch.push(cut.into_iter());
            assert_eq!((watch.gaps, watch.clicks), (0, 1));
        }
    }

    /// A listener to whom the samples of these places (and their lengths) were quiet, or (negative lengths) lost.
    fn listener(from: usize, places: &[(usize, i32)]) -> Watch {
        let mut heard = tone(1000.0, 0.25, 600_000);
        for (at, length) in places.iter().rev() {
            let range = *at..at + length.unsigned_abs() as usize;
            match length {
                0.. => heard[range].fill(0.0),
                _ => drop(heard.drain(range)),
            }
        }
        let mut watch = Watch::new(1000.0, 0.25);
        watch.push(heard.into_iter().skip(from));
        watch
    }

    #[test]
    fn flaws_are_told_apart_by_their_place() {
        let ours = listener(0, &[(100_000, 1200), (101_000, 100), (250_000, -20), (400_000, 1200)]);
        assert_eq!(ours.flaws().len(), 3);
        assert!(ours.flaws_alone(&ours).is_empty());
        // The other one began later and loses what is quiet for us.
        let beside = listener(40_000, &[(100_000, -1210), (250_000, -20), (400_000, -1210)]);
        assert_eq!(ours.flaws_alone(&beside), []);
        // Here it loses a lot, but not where we had the last hole.
        let mut places = vec![(100_000, -1210), (250_000, -20)];
        places.extend((0..10).map(|index| (450_000 + 10_000 * index, -20)));
        let beside = listener(40_000, &places);
        let alone = ours.flaws_alone(&beside);
        assert_eq!(alone.iter().map(|flaw| (flaw.at + 500) / 1000).collect::<Vec<_>>(), [400]);
        assert_eq!(
            ours.is_no_worse_than(&beside, 0),
            Err("25.0 ms of quiet at 8.33 s, nothing beside".to_owned())
        );
        assert_eq!(ours.is_no_worse_than(&beside, 1), Ok(()));
        assert_eq!(ours.flaws_alone(&listener(0, &[])), ours.flaws());
        let silent = listener(0, &[(560_000, 40_000)]);
        assert_eq!(silent.is_no_worse_than(&silent, 20), Err("833 ms of quiet".to_owned()));
    }
}
