//! What this machine can encode in time, found out by doing it. Needs no display.

use lumen_media::Codec;
use std::time::Duration;

use crate::encoder::Preset;

/// How thorough to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeConfig {
    /// Time to spend at most, about; split between the codecs.
    pub budget: Duration,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self { budget: Duration::from_millis(1500) }
    }
}

/// Speed of one encoder at one size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Width of the pictures.
    pub width: u32,
    /// Height of the pictures.
    pub height: u32,
    /// Work per bit.
    pub preset: Preset,
    /// Pictures measured.
    pub frames: u32,
    /// Picture in to access unit out, median.
    pub p50: Duration,
    /// Picture in to access unit out, 95 % lie below.
    pub p95: Duration,
    /// Time of all threads per picture.
    pub cpu: Duration,
}

/// What was found out about one codec.
#[derive(Clone, Debug, PartialEq)]
pub struct CodecReport {
    /// The codec.
    pub codec: Codec,
    /// The encoder, by its name in FFmpeg.
    pub library: &'static str,
    /// Works as a stream needs it: one in, one out, key frames when asked. With the reason if not.
    pub works: Result<(), String>,
    /// Offered to clients: works, and sustains 1280×720 at 60 Hz.
    pub offered: bool,
    /// One sentence for the log and `doctor`: what was measured, or why the codec is refused and what would help.
    pub reason: String,
    /// Measurements, in the order in which they were made.
    pub speeds: Vec<Speed>,
}

/// What this machine can encode.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeReport {
    /// One entry per codec, in the order of [`Codec::ALL`].
    pub codecs: Vec<CodecReport>,
    /// Cores that this process may use.
    pub cores: u32,
    /// How long it took.
    pub took: Duration,
}

impl ProbeReport {
    /// The codecs to advertise.
    pub fn offers(&self) -> Vec<Codec> {
        self.codecs.iter().filter(|report| report.offered).map(|report| report.codec).collect()
    }

    /// The preset that leaves headroom at this mode.
    pub fn preset_for(&self, codec: Codec, width: u32, height: u32, refresh_mhz: u32) -> Preset {
        let _ = (codec, width, height, refresh_mhz);
        Preset::Fast
    }
}

/// Encodes moving pictures with every codec and reports what it saw. Blocks for about `config.budget`.
pub fn probe(config: &ProbeConfig) -> ProbeReport {
    let _ = config;
    todo!()
}
