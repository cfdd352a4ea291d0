//! The encoders that run anywhere: x264, x265 and SVT-AV1, through FFmpeg.
//!
//! All of them are set up alike: no B-frames, no look-ahead, an endless GOP whose key frames come on demand only, a
//! rate controller's buffer of about one frame, and a quantiser floor. The numbers behind the choices are in the
//! functions that make them.

use crate::bitstream;
use crate::encoder::{EncodedFrame, EncoderConfig, Preset};
use crate::error::EncodeError;
use crate::planes::Planes;
use crate::sys::{Context, ContextConfig, Rate, Received, svt_av1_version};
use lumen_media::{Codec, Matrix, Range, clock};
use std::sync::Arc;
use std::time::Duration;

/// Distance of key frames that never comes: x264's own idea of infinite, which the others clip.
const ENDLESS: u32 = 1 << 30;
/// How long to wait for an encoder that works on threads of its own; far beyond any frame interval.
const PATIENCE: Duration = Duration::from_millis(500);
/// Rest between two looks at such an encoder.
const LOOK_AGAIN: Duration = Duration::from_micros(200);
/// Threads that pay: more slices cost compression and more cores are better left to the apps.
const MOST_THREADS: u32 = 4;
/// Fewer rows than this per slice cost more than a thread gains.
const LEAST_ROWS_PER_THREAD: u32 = 128;

/// One of the software encoders, open.
pub(crate) struct Software {
    codec: Codec,
    context: Context,
    first: bool,
}

/// Name in FFmpeg of the encoder for `codec`.
pub(crate) fn library(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 => "libx264",
        Codec::Hevc => "libx265",
        Codec::Av1 => "libsvtav1",
    }
}

fn remedy(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 => {
            "Install an FFmpeg with libx264 (Debian, Ubuntu: libavcodec59 or newer, not libavcodec-free)"
        }
        Codec::Hevc => "Install an FFmpeg with libx265, or leave HEVC out",
        Codec::Av1 => "Install an FFmpeg with SVT-AV1 2 or newer, or leave AV1 out",
    }
}

impl Software {
    pub(crate) fn open(config: &EncoderConfig) -> Result<Self, EncodeError> {
        if config.codec == Codec::Av1 {
            refuse_old_svt_av1(svt_av1_version())?;
        }
        let options = match config.codec {
            Codec::H264 => x264(config),
            Codec::Hevc => x265(config),
            Codec::Av1 => svt_av1(config),
        };
        let context = Context::open(&ContextConfig {
            library: library(config.codec),
            width: config.width.next_multiple_of(2),
            height: config.height.next_multiple_of(2),
            refresh_mhz: config.refresh_mhz,
            rate: rate(config),
            options,
        })?;
        let context = context.ok_or(EncodeError::NoEncoder {
            codec: config.codec,
            library: library(config.codec),
            remedy: remedy(config.codec),
        })?;
        Ok(Self { codec: config.codec, context, first: true })
    }

    pub(crate) fn name(&self) -> &'static str {
        library(self.codec)
    }

    pub(crate) fn encode(
        &mut self,
        planes: &Arc<Planes>,
        force_idr: bool,
    ) -> Result<EncodedFrame, EncodeError> {
        let key = force_idr || self.first;
        self.context.send(planes, key)?;
        let data = self.receive()?;
        let data = bitstream::tidy(self.codec, data);
        let idr = bitstream::stands_alone(self.codec, &data);
        if key && !idr {
            return Err(EncodeError::KeyFrameIgnored { library: self.name() });
        }
        self.first = false;
        Ok(EncodedFrame { data, idr })
    }

    /// SVT-AV1 works on threads of its own and FFmpeg does not wait for them; the others answer at once or never.
    fn receive(&mut self) -> Result<Vec<u8>, EncodeError> {
        let asynchronous = self.codec == Codec::Av1;
        let deadline = clock::now() + PATIENCE;
        loop {
            match self.context.receive()? {
                Received::Packet(data) => return Ok(data),
                Received::Nothing if asynchronous && clock::now() < deadline => {
                    std::thread::sleep(LOOK_AGAIN)
                }
                Received::Nothing => return Err(EncodeError::Withheld { library: self.name() }),
            }
        }
    }

    /// Whether the change takes place without opening the encoder again.
    pub(crate) fn set_bitrate(&mut self, config: &EncoderConfig) -> bool {
        let live = self.codec == Codec::H264;
        if live {
            self.context.set_rate(rate(config));
        }
        live
    }
}

/// Versions that can be told are compared; others are found out by the first picture.
fn refuse_old_svt_av1(version: Option<String>) -> Result<(), EncodeError> {
    let Some(version) = version else { return Ok(()) };
    let number = version.trim_start_matches(|c: char| !c.is_ascii_digit());
    let major = number.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major < 2) {
        return Err(EncodeError::TooOld {
            library: library(Codec::Av1),
            version: number.into(),
            needed: "2.0",
        });
    }
    Ok(())
}

/// Peak equal to mean is what makes x264 and x265 keep a constant rate. SVT-AV1 in low delay takes no peak, and no
/// buffer of less than 20 ms.
fn rate(config: &EncoderConfig) -> Rate {
    let mean = config.bitrate_bps;
    let svt_av1 = config.codec == Codec::Av1;
    let least = if svt_av1 { mean * 30 / 1000 } else { 0 };
    Rate {
        bits_per_second: mean,
        peak_bits_per_second: if svt_av1 { 0 } else { mean },
        buffer_bits: config.vbv_bits().max(least),
    }
}

fn threads(config: &EncoderConfig) -> u32 {
    match config.threads {
        0 => {
            let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
            cores.min(MOST_THREADS).min((config.height / LEAST_ROWS_PER_THREAD).max(1))
        }
        asked => asked,
    }
}

/// What all three take from FFmpeg's common options.
fn common(config: &EncoderConfig) -> Vec<(&'static str, String)> {
    // Names as in protocol text §6.11: primaries, transfer and matrix are of one family.
    let (primaries, transfer, matrix) = match config.colour.matrix {
        Matrix::Bt601 => ("smpte170m", "smpte170m", "smpte170m"),
        Matrix::Bt709 => ("bt709", "bt709", "bt709"),
    };
    let range = match config.colour.range {
        Range::Limited => "tv",
        Range::Full => "pc",
    };
    vec![
        ("color_primaries", primaries.into()),
        ("color_trc", transfer.into()),
        ("colorspace", matrix.into()),
        ("color_range", range.into()),
        ("chroma_sample_location", "left".into()),
        ("bf", "0".into()),
        ("g", ENDLESS.to_string()),
        // In-band parameter sets: no global header.
        ("flags", "+cgop-global_header+low_delay".into()),
    ]
}

/// x264, built up from `ultrafast`. With CABAC and the deblocking filter back on it keeps more of a picture than
/// `superfast` at the same bitrate and costs less (`examples/ssim`). The 8×8 transform costs nothing and makes the
/// stream High profile. Adaptive quantisation at half strength gains SSIM and saves bits; at full strength it takes
/// them from the edges of text. One reference frame whatever the client allows: more cost time, and x264 cannot give
/// single ones up after a loss.
fn x264(config: &EncoderConfig) -> Vec<(&'static str, String)> {
    let threads = threads(config).max(config.slices).max(1);
    let search = match config.preset {
        Preset::Fast => "partitions=none:me=dia:subme=0",
        // Half a decibel on text and more than one on a scrolling picture, for half as much work again.
        Preset::Better => "partitions=i4x4,i8x8:me=hex:subme=2",
    };
    let params = format!(
        "{search}:cabac=1:no-deblock=0:8x8dct=1:aq-mode=1:aq-strength=0.5:sliced-threads=1:slices={threads}:ref=1:\
         keyint=infinite:scenecut=0:bframes=0:rc-lookahead=0:sync-lookahead=0:mbtree=0:nal-hrd=none:filler=0:aud=0:\
         annexb=1:repeat-headers=1"
    );
    let mut options = common(config);
    options.extend([
        ("preset", "ultrafast".into()),
        ("tune", "zerolatency".into()),
        ("profile", "high".into()),
        ("forced-idr", "1".into()),
        ("a53cc", "0".into()),
        ("threads", threads.to_string()),
        ("slices", threads.to_string()),
        ("qmin", config.qp_floor.to_string()),
        ("x264-params", params),
    ]);
    options
}

/// x265: too slow for full speed on few cores, complete all the same. More than one slice adds a frame of delay.
fn x265(config: &EncoderConfig) -> Vec<(&'static str, String)> {
    let threads = threads(config);
    let params = format!(
        "log-level=none:info=0:keyint=-1:scenecut=0:bframes=0:open-gop=0:rc-lookahead=0:frame-threads=1:slices=1:\
         pools={threads}:ref=1:repeat-headers=1:annexb=1:aud=0:hrd=0:qpmin={}",
        config.qp_floor
    );
    let mut options = common(config);
    options.extend([
        ("preset", "ultrafast".into()),
        ("tune", "zerolatency".into()),
        ("forced-idr", "1".into()),
        ("a53cc", "0".into()),
        ("udu_sei", "0".into()),
        ("x265-params", params),
    ]);
    options
}

/// SVT-AV1, low-delay, constant bitrate. Versions before 2 keep two pictures back and are found out by the first call.
fn svt_av1(config: &EncoderConfig) -> Vec<(&'static str, String)> {
    let preset = match config.preset {
        Preset::Fast => "13",
        Preset::Better => "12",
    };
    let threads = threads(config);
    let params = format!(
        "pred-struct=1:rc=2:rtc=1:lookahead=0:scd=0:keyint=-1:lp={threads}:enable-tf=0:enable-overlays=0"
    );
    let mut options = common(config);
    options.extend([("preset", preset.into()), ("svtav1-params", params)]);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn svt_av1_before_2_is_refused() {
        for old in ["v1.4.1", "1.8.0", "v0.9.0-rc1"] {
            let refused = refuse_old_svt_av1(Some(old.into()));
            assert!(matches!(refused, Err(EncodeError::TooOld { .. })), "{old}");
        }
        for good in [Some("v2.0.0"), Some("4.2.0-12-gabc"), Some("unknown"), None] {
            assert!(refuse_old_svt_av1(good.map(String::from)).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn few_rows_get_few_threads() {
        let config = |height| EncoderConfig::new(Codec::H264, 320, height, 60_000, 1_000_000);
        assert_eq!(threads(&config(180)), 1);
        assert!((1..=MOST_THREADS).contains(&threads(&config(1080))));
        assert_eq!(threads(&EncoderConfig { threads: 3, ..config(180) }), 3);
    }
}
