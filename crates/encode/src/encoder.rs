//! One encoder type for every codec and every library or device that can produce it.

use crate::error::EncodeError;
use crate::planes::Planes;
use crate::software;
use lumen_media::{Codec, Colour};
use std::sync::Arc;

/// How much work goes into a bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Preset {
    /// What every machine affords: x264 `ultrafast` plus what pays for itself, SVT-AV1 13.
    #[default]
    Fast,
    /// About half as much work again: x264 with a finer motion search, SVT-AV1 12.
    /// [`crate::ProbeReport::preset_for`] says when.
    Better,
}

/// What to encode and how.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// Codec of the stream.
    pub codec: Codec,
    /// Width of the picture in pixels. An odd one is rounded up, as [`crate::PlanesPool`] does.
    pub width: u32,
    /// Height of the picture in pixels. An odd one is rounded up.
    pub height: u32,
    /// Pictures in a second, in millihertz; what the bitrate is divided by.
    pub refresh_mhz: u32,
    /// Bits in a second.
    pub bitrate_bps: u64,
    /// Slices in a picture that the client asked for (protocol text §5.6, `videoEncoderSlicesPerFrame`); 0 when it did
    /// not say. H.264 only: pictures get this many or, where more threads help, one per thread. To get one slice
    /// whatever the machine has, set `threads` to 1 as well.
    pub slices: u32,
    /// Reference frames at most (protocol text §5.6, `maxNumReferenceFrames`): 1 = a single one, 0 = no limit. The
    /// software encoders use a single one always (x265 and x264), or what low delay allows (SVT-AV1).
    pub max_ref_frames: u32,
    /// Matrix and range of the planes, written into the bitstream (protocol text §6.11).
    pub colour: Colour,
    /// Threads to encode with; 0 = as many as the machine has cores, four at most.
    pub threads: u32,
    /// Work per bit.
    pub preset: Preset,
    /// Finest quantiser (H.264 and HEVC scale, 0–51): without a floor a static picture is refined for ever.
    pub qp_floor: u8,
    /// Size of the rate controller's buffer, in frames. 1 keeps every frame near the mean; 3 gains half a decibel.
    pub vbv_frames: f32,
}

impl EncoderConfig {
    /// The settings that were measured to be best for everything that the client has no say in.
    /// `refresh_mhz` is in millihertz, `bitrate_bps` in bits per second.
    pub fn new(codec: Codec, width: u32, height: u32, refresh_mhz: u32, bitrate_bps: u64) -> Self {
        Self {
            codec,
            width,
            height,
            refresh_mhz,
            bitrate_bps,
            slices: 0,
            max_ref_frames: 0,
            colour: Colour::BT709_LIMITED,
            threads: 0,
            preset: Preset::Fast,
            qp_floor: 18,
            vbv_frames: 1.0,
        }
    }

    /// Bits that the rate controller's buffer holds.
    pub(crate) fn vbv_bits(&self) -> u64 {
        let frame = self.bitrate_bps as f64 * 1000.0 / f64::from(self.refresh_mhz);
        (frame * f64::from(self.vbv_frames)) as u64
    }

    fn check(&self) -> Result<(), EncodeError> {
        let bad = |name, value: &dyn std::fmt::Display, expected| {
            Err(EncodeError::BadConfig { name, value: value.to_string(), expected })
        };
        // One macroblock is the least that every encoder takes; the upper limit is that of `Mode`.
        if !(16..=7680).contains(&self.width) {
            return bad("width", &self.width, "16 to 7680");
        }
        if !(16..=4320).contains(&self.height) {
            return bad("height", &self.height, "16 to 4320");
        }
        if !(1_000..=480_000).contains(&self.refresh_mhz) {
            return bad("refresh_mhz", &self.refresh_mhz, "1000 to 480000");
        }
        if !(10_000..=1_000_000_000).contains(&self.bitrate_bps) {
            return bad("bitrate_bps", &self.bitrate_bps, "10 kbit/s to 1 Gbit/s");
        }
        if self.slices > 64 {
            return bad("slices", &self.slices, "0 to 64");
        }
        if self.max_ref_frames > 16 {
            return bad("max_ref_frames", &self.max_ref_frames, "0 to 16");
        }
        if self.threads > 64 {
            return bad("threads", &self.threads, "0 to 64");
        }
        if self.qp_floor > 51 {
            return bad("qp_floor", &self.qp_floor, "0 to 51");
        }
        if !(0.5..=600.0).contains(&self.vbv_frames) {
            return bad("vbv_frames", &self.vbv_frames, "0.5 to 600");
        }
        Ok(())
    }
}

/// One encoded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedFrame {
    /// Annex B (H.264, HEVC) or a temporal unit of low-overhead OBUs (AV1), as protocol text §6.11 wants it.
    pub data: Vec<u8>,
    /// Stands alone and carries its parameter sets.
    pub idr: bool,
}

/// An open encoder. Pictures go in one by one; each call answers with that picture's access unit.
pub struct Encoder {
    config: EncoderConfig,
    // An enum with one variant per backend once there is a second (NVENC, VAAPI).
    backend: software::Software,
}

impl Encoder {
    /// Opens the encoder for `config`. Takes a few milliseconds; a thread of its own is not needed.
    ///
    /// # Errors
    /// [`EncodeError::BadConfig`], [`EncodeError::NoEncoder`], or what FFmpeg said.
    pub fn open(config: &EncoderConfig) -> Result<Self, EncodeError> {
        config.check()?;
        Ok(Self { config: config.clone(), backend: software::Software::open(config)? })
    }

    /// Encodes `planes`, which the encoder may keep a reference to until the next call. With `force_idr` the result
    /// stands alone; the first picture does so anyway.
    ///
    /// # Errors
    /// [`EncodeError::WrongSize`], [`EncodeError::Withheld`], [`EncodeError::KeyFrameIgnored`], or what FFmpeg said.
    /// After an error the encoder may be dropped and opened again.
    pub fn encode(&mut self, planes: &Arc<Planes>, force_idr: bool) -> Result<EncodedFrame, EncodeError> {
        let expected = (self.config.width.next_multiple_of(2), self.config.height.next_multiple_of(2));
        let got = (planes.width(), planes.height());
        if expected != got {
            return Err(EncodeError::WrongSize { expected, got });
        }
        self.backend.encode(planes, force_idr)
    }

    /// Changes the bitrate from the next picture on. Where the library cannot do that while it runs (all but x264), the
    /// encoder is opened again and the next picture is an IDR.
    ///
    /// # Errors
    /// As [`Encoder::open`]; the old bitrate stays then.
    pub fn set_bitrate(&mut self, bitrate_bps: u64) -> Result<(), EncodeError> {
        let changed = EncoderConfig { bitrate_bps, ..self.config.clone() };
        changed.check()?;
        if !self.backend.set_bitrate(&changed) {
            self.backend = software::Software::open(&changed)?;
        }
        self.config = changed;
        Ok(())
    }

    /// The library or device at work, by its name in FFmpeg.
    pub fn name(&self) -> &'static str {
        self.backend.name()
    }

    /// What it was opened with, bitrate changes included.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }
}
