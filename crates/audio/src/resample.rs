//! Changes the speed of sound by a little, continuously.

use rubato::{
    Resampler, ResamplerConstructionError, SincFixedOut, SincInterpolationParameters, SincInterpolationType,
    WindowFunction,
};

/// Taps of the filter; half of them are its delay.
const TAPS: usize = 64;
/// Largest deviation from the nominal speed, and some room.
const RANGE: f64 = 1.01;

/// Takes a varying number of frames and gives the same number each time.
pub(crate) struct Stretcher {
    inner: SincFixedOut<f32>,
    channels: usize,
    frames: usize,
    input: Vec<Vec<f32>>,
    output: Vec<Vec<f32>>,
    /// Frames without any sound that went in since the last sound.
    silent: usize,
}

impl Stretcher {
    /// For packets of `frames` frames.
    pub(crate) fn new(channels: usize, frames: usize) -> Result<Self, ResamplerConstructionError> {
        let parameters = SincInterpolationParameters {
            sinc_len: TAPS,
            f_cutoff: 0.95,
            oversampling_factor: 256,
            interpolation: SincInterpolationType::Quadratic,
            window: WindowFunction::BlackmanHarris2,
        };
        let inner = SincFixedOut::new(1.0, RANGE, parameters, frames, channels)?;
        let input = inner.input_buffer_allocate(true);
        let output = inner.output_buffer_allocate(true);
        Ok(Self { inner, channels, frames, input, output, silent: 0 })
    }

    /// Frames that the next call takes.
    pub(crate) fn needs(&self) -> usize {
        self.inner.input_frames_next()
    }

    /// Frames taken per frame given, from the next packet on: what [`Stretcher::needs`] said before is void.
    pub(crate) fn set_speed(&mut self, speed: f64) {
        // Both the range and the speed's own limits are far apart.
        let _ = self.inner.set_resample_ratio_relative(1.0 / speed, true);
    }

    /// Makes one packet of `frames` frames in `out` from [`Stretcher::needs`] frames, all interleaved.
    pub(crate) fn process(&mut self, samples: &[f32], out: &mut [f32]) {
        debug_assert_eq!(samples.len(), self.needs() * self.channels, "as many as needed");
        let quiet = samples.iter().all(|sample| *sample == 0.0);
        // Silence is what the filter makes of silence; it is not asked while its memory holds nothing else.
        let skip = quiet && self.silent > 2 * TAPS;
        self.silent = if quiet { self.silent + samples.len() / self.channels } else { 0 };
        if skip {
            out.fill(0.0);
            return;
        }
        for (channel, input) in self.input.iter_mut().enumerate() {
            input.clear();
            input.extend(samples.iter().skip(channel).step_by(self.channels));
        }
        if self.inner.process_into_buffer(&self.input, &mut self.output, None).is_err() {
            out.fill(0.0);
            return;
        }
        for (index, frame) in out.chunks_exact_mut(self.channels).enumerate().take(self.frames) {
            for (sample, output) in frame.iter_mut().zip(&self.output) {
                *sample = output[index];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a tone through at a speed; the packets of the second channel, without the filter's start.
    fn play(speed: f64, tone: f64, packets: usize) -> Vec<f32> {
        let mut stretcher = Stretcher::new(2, 240).unwrap();
        let mut position = 0u64;
        let mut out = vec![0.0; 480];
        let mut heard = Vec::new();
        stretcher.set_speed(speed);
        for _ in 0..packets {
            let frames = stretcher.needs();
            let samples: Vec<f32> = (0..frames)
                .flat_map(|frame| {
                    let time = (position + frame as u64) as f64 / 48_000.0;
                    [0.0, (std::f64::consts::TAU * tone * time).sin() as f32 * 0.5]
                })
                .collect();
            position += frames as u64;
            stretcher.process(&samples, &mut out);
            assert!(out.iter().step_by(2).all(|sample| *sample == 0.0), "channels stay apart");
            heard.extend(out.iter().skip(1).step_by(2));
        }
        heard.split_off(480)
    }

    /// The largest distance between the sound and the sine that fits it best, relative to its loudness.
    fn residue(heard: &[f32], tone: f64) -> f64 {
        let (mut ss, mut sc, mut cc, mut xs, mut xc) = (0.0, 0.0, 0.0, 0.0, 0.0);
        let wave = |index: usize| (std::f64::consts::TAU * tone * index as f64 / 48_000.0).sin_cos();
        for (index, sample) in heard.iter().enumerate() {
            let (s, c) = wave(index);
            ss += s * s;
            sc += s * c;
            cc += c * c;
            xs += f64::from(*sample) * s;
            xc += f64::from(*sample) * c;
        }
        let determinant = ss * cc - sc * sc;
        let (a, b) = ((xs * cc - xc * sc) / determinant, (xc * ss - xs * sc) / determinant);
        let worst = heard.iter().enumerate().fold(0.0f64, |worst, (index, sample)| {
            let (s, c) = wave(index);
            worst.max((f64::from(*sample) - a * s - b * c).abs())
        });
        worst / a.hypot(b)
    }

    #[test]
    fn a_tone_comes_out_clean_at_every_speed() {
        for speed in [1.0, 1.0005, 0.9985] {
            for tone in [100.0, 1000.0, 8000.0] {
                let heard = play(speed, tone, 200);
                let off = residue(&heard, tone * speed);
                assert!(off < 1e-3, "{tone} Hz at {speed}: {:.1} dB", 20.0 * off.log10());
            }
        }
    }

    #[test]
    fn levels_stay() {
        for tone in [50.0, 1000.0, 10_000.0, 16_000.0] {
            let heard = play(1.0003, tone, 200);
            let power: f64 = heard.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / heard.len() as f64;
            let decibels = 10.0 * (power / 0.125).log10();
            assert!(decibels.abs() < 0.2, "{tone} Hz: {decibels:.2} dB");
        }
    }

    #[test]
    fn frames_taken_follow_the_speed() {
        for speed in [0.998, 1.0, 1.002] {
            let mut stretcher = Stretcher::new(1, 240).unwrap();
            stretcher.set_speed(speed);
            let (mut taken, mut out) = (0, vec![0.0; 240]);
            for _ in 0..2000 {
                let frames = stretcher.needs();
                taken += frames;
                stretcher.process(&vec![0.1; frames], &mut out);
            }
            let measured = taken as f64 / (2000.0 * 240.0);
            assert!((measured - speed).abs() < 5e-4, "{measured} instead of {speed}");
        }
    }

    #[test]
    fn silence_is_silence_and_sound_after_it_is_whole() {
        let mut stretcher = Stretcher::new(2, 240).unwrap();
        let mut out = vec![1.0; 480];
        for _ in 0..50 {
            let frames = stretcher.needs();
            stretcher.process(&vec![0.0; frames * 2], &mut out);
            assert!(out.iter().all(|sample| *sample == 0.0));
        }
        for _ in 0..4 {
            let frames = stretcher.needs();
            stretcher.process(&vec![0.5; frames * 2], &mut out);
        }
        assert!(out.iter().all(|sample| (sample - 0.5).abs() < 1e-3));
    }
}
