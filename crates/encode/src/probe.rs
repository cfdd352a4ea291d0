//! What this machine can encode in time, found out by doing it. Needs no display.

use crate::encoder::{Encoder, EncoderConfig, Preset};
use crate::error::EncodeError;
use crate::planes::{Planes, PlanesPool};
use crate::software;
use lumen_media::{Codec, clock};
use std::sync::Arc;
use std::time::Duration;

/// The mode that a codec must sustain to be offered.
const OFFER: Mode = Mode { width: 1280, height: 720, refresh_mhz: 60_000, bitrate_bps: 10_000_000 };
/// The second size measured, for presets at higher pixel rates.
const LARGE: Mode = Mode { width: 1920, height: 1080, refresh_mhz: 60_000, bitrate_bps: 20_000_000 };
/// Pictures measured at a size; a few dozen tell a mean well enough and fit the budget.
const FRAMES: u32 = 24;
/// Pictures after which an encoder that is hopelessly slow is left alone.
const HOPELESS_AFTER: usize = 5;
/// Percent of a frame's period that encoding may take: the rest is for composing, converting and jitter.
const PERIOD_SHARE: u32 = 70;
/// Percent of all cores' time that encoding may take before a codec is refused: the app wants to live too.
const CPU_SHARE_OFFER: u32 = 70;
/// Percent of all cores' time that the better preset may take: on two cores, 40 % of one.
const CPU_SHARE_BETTER: u32 = 20;
/// Pixels by which the content moves from picture to picture.
const STEP: usize = 12;
/// Different pictures in the moving content.
const PICTURES: usize = 8;

struct Mode {
    width: u32,
    height: u32,
    refresh_mhz: u32,
    bitrate_bps: u64,
}

impl Mode {
    fn period(&self) -> Duration {
        period(self.refresh_mhz)
    }
}

fn period(refresh_mhz: u32) -> Duration {
    Duration::from_nanos(1_000_000_000_000 / u64::from(refresh_mhz.max(1)))
}

/// How thorough to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeConfig {
    /// Time to spend at most, about. What is left out then is said in the report.
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
    /// Time of all this process's threads per picture.
    pub cpu: Duration,
}

/// What was found out about one codec.
#[derive(Clone, Debug, PartialEq)]
pub struct CodecReport {
    /// The codec.
    pub codec: Codec,
    /// The encoder, by its name in FFmpeg.
    pub library: &'static str,
    /// Works as a stream needs it: one in, one out, key frames when asked. Says why not.
    pub works: Result<(), String>,
    /// Offered to clients: works, and sustains 1280×720 at 60 Hz. H.264 is offered whenever it works, since every
    /// client must find one codec.
    pub offered: bool,
    /// One sentence for the log and `doctor`: what was measured, or why the codec is refused and what would help.
    pub reason: String,
    /// Measurements, in the order in which they were made.
    pub speeds: Vec<Speed>,
}

/// What this machine can encode. Plain values: a caller may keep it for as long as the machine stays the same.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeReport {
    /// One entry per codec, in the order of [`Codec::ALL`].
    pub codecs: Vec<CodecReport>,
    /// Cores that this process may use.
    pub cores: u32,
    /// Version of FFmpeg.
    pub ffmpeg: String,
    /// How long it took.
    pub took: Duration,
}

impl ProbeReport {
    /// The codecs to advertise.
    pub fn offers(&self) -> Vec<Codec> {
        self.codecs.iter().filter(|report| report.offered).map(|report| report.codec).collect()
    }

    /// The codecs that work at all, for a configuration that overrides [`ProbeReport::offers`].
    pub fn working(&self) -> Vec<Codec> {
        self.codecs.iter().filter(|report| report.works.is_ok()).map(|report| report.codec).collect()
    }

    /// The report on one codec.
    pub fn codec(&self, codec: Codec) -> Option<&CodecReport> {
        self.codecs.iter().find(|report| report.codec == codec)
    }

    /// The preset to use at this mode: [`Preset::Better`] where it was measured to take at most 70 % of the frame's
    /// period and a fifth of all cores. `refresh_mhz` is in millihertz.
    pub fn preset_for(&self, codec: Codec, width: u32, height: u32, refresh_mhz: u32) -> Preset {
        let pixels = u64::from(width) * u64::from(height);
        let nearest = self.codec(codec).and_then(|report| {
            report
                .speeds
                .iter()
                .filter(|speed| speed.preset == Preset::Better)
                .min_by_key(|speed| (u64::from(speed.width) * u64::from(speed.height)).abs_diff(pixels))
        });
        let Some(speed) = nearest else { return Preset::Fast };
        let measured = f64::from(speed.width) * f64::from(speed.height);
        let scale = pixels as f64 / measured;
        let period = period(refresh_mhz);
        let within =
            |time: Duration, share: u32, cores: u32| time.mul_f64(scale) <= period * share * cores / 100;
        if within(speed.p95, PERIOD_SHARE, 1) && within(speed.cpu, CPU_SHARE_BETTER, self.cores) {
            Preset::Better
        } else {
            Preset::Fast
        }
    }
}

/// Encodes moving pictures with every codec and reports what it saw. Blocks for about `config.budget`.
///
/// On a machine that is busy with something else the times are those of a busy machine: what a stream would get, too.
pub fn probe(config: &ProbeConfig) -> ProbeReport {
    let begin = clock::now();
    let deadline = begin + config.budget;
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let content = Content::new(&OFFER);
    let mut codecs: Vec<_> = Codec::ALL.map(|codec| probe_codec(codec, &content, cores)).into();
    // What remains of the time decides on presets, the more likely modes first.
    if let Some(h264) = codecs.iter_mut().find(|report| report.codec == Codec::H264 && report.works.is_ok()) {
        refine(h264, &content, &OFFER, Preset::Better, deadline);
        let large = Content::new(&LARGE);
        refine(h264, &large, &LARGE, Preset::Fast, deadline);
        refine(h264, &large, &LARGE, Preset::Better, deadline);
    }
    let took = clock::now().since(begin);
    ProbeReport { codecs, cores, ffmpeg: crate::sys::version(), took }
}

fn refine(
    report: &mut CodecReport,
    content: &Content,
    mode: &Mode,
    preset: Preset,
    deadline: clock::Timestamp,
) {
    if deadline.since(clock::now()).is_zero() {
        return;
    }
    match measure(report.codec, content, mode, preset) {
        Ok(speed) => report.speeds.push(speed),
        Err(cause) => tracing::debug!(codec = %report.codec, %cause, "a preset could not be measured"),
    }
}

fn probe_codec(codec: Codec, content: &Content, cores: u32) -> CodecReport {
    let library = software::library(codec);
    match works(codec).and_then(|()| measure(codec, content, &OFFER, Preset::Fast)) {
        Ok(speed) => {
            let sustained = sustains(&speed, &OFFER, cores);
            CodecReport {
                codec,
                library,
                works: Ok(()),
                offered: sustained || codec == Codec::H264,
                reason: verdict(codec, library, &speed, sustained),
                speeds: vec![speed],
            }
        }
        Err(cause) => CodecReport {
            codec,
            library,
            works: Err(cause.to_string()),
            offered: false,
            reason: format!("not offered: {cause}"),
            speeds: Vec::new(),
        },
    }
}

fn verdict(codec: Codec, library: &str, speed: &Speed, sustained: bool) -> String {
    let millis = |time: Duration| time.as_secs_f64() * 1000.0;
    let (verdict, advice) = match (sustained, codec) {
        (true, _) => ("offered", ""),
        (false, Codec::H264) => (
            "offered, but too slow for 60 Hz",
            ". Ask for a smaller picture or a lower rate, or stop what else uses the processor",
        ),
        (false, _) => ("not offered: too slow for 60 Hz", ". The configuration can offer it all the same"),
    };
    format!(
        "{verdict}: {library} takes {:.1} ms (95 %: {:.1} ms, {:.1} ms of processor time) per picture of {}x{}{advice}",
        millis(speed.p50),
        millis(speed.p95),
        millis(speed.cpu),
        speed.width,
        speed.height,
    )
}

/// The median, not a high percentile, decides: one interruption in two dozen pictures must not cost a codec.
fn sustains(speed: &Speed, mode: &Mode, cores: u32) -> bool {
    let period = mode.period();
    speed.p50 <= period * PERIOD_SHARE / 100 && speed.cpu <= period * CPU_SHARE_OFFER * cores / 100
}

/// One in, one out, and an IDR when asked, on small pictures.
fn works(codec: Codec) -> Result<(), EncodeError> {
    let mode = Mode { width: 320, height: 180, refresh_mhz: 60_000, bitrate_bps: 2_000_000 };
    let content = Content::new(&mode);
    let mut encoder = open(codec, &mode, Preset::Fast)?;
    // Withheld pictures and ignored key frames are errors of `encode`.
    for number in 0..4 {
        encoder.encode(content.picture(number), number == 2)?;
    }
    Ok(())
}

fn open(codec: Codec, mode: &Mode, preset: Preset) -> Result<Encoder, EncodeError> {
    let config = EncoderConfig {
        preset,
        ..EncoderConfig::new(codec, mode.width, mode.height, mode.refresh_mhz, mode.bitrate_bps)
    };
    Encoder::open(&config)
}

fn measure(codec: Codec, content: &Content, mode: &Mode, preset: Preset) -> Result<Speed, EncodeError> {
    let mut encoder = open(codec, mode, preset)?;
    // The IDR and the picture after it warm up caches and threads and are no measure of what follows.
    for number in 0..2 {
        encoder.encode(content.picture(number), false)?;
    }
    let mut times = Vec::with_capacity(FRAMES as usize);
    let cpu_before = process_time();
    for number in 0..FRAMES {
        let before = clock::now();
        encoder.encode(content.picture(number + 2), false)?;
        times.push(clock::now().since(before));
        let hopeless = times.iter().sum::<Duration>() > mode.period() * 2 * times.len() as u32;
        if hopeless && times.len() >= HOPELESS_AFTER {
            break;
        }
    }
    let frames = times.len() as u32;
    let cpu = process_time().saturating_sub(cpu_before) / frames;
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    Ok(Speed { width: mode.width, height: mode.height, preset, frames, p50: at(50), p95: at(95), cpu })
}

fn process_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Pictures as a stream sees them at its busiest: full of edges, all of it moving.
struct Content(Vec<Arc<Planes>>);

impl Content {
    fn new(mode: &Mode) -> Self {
        let pool = PlanesPool::new(mode.width, mode.height);
        Self((0..PICTURES).map(|number| Arc::new(draw(&pool, number * STEP))).collect())
    }

    /// Goes back and forth, so that no jump looks like a new scene.
    fn picture(&self, number: u32) -> &Arc<Planes> {
        let last = self.0.len() - 1;
        let at = number as usize % (2 * last);
        &self.0[if at > last { 2 * last - at } else { at }]
    }
}

/// Something like a page of text with pictures on it, scrolled up by `offset` rows.
fn draw(pool: &PlanesPool, offset: usize) -> Planes {
    let mut planes = pool.acquire();
    let (luma_stride, chroma_stride) = (planes.luma_stride(), planes.chroma_stride());
    let into = planes.planes_mut();
    for (y, row) in into.y.chunks_exact_mut(luma_stride).enumerate() {
        let y = y + offset;
        for (x, pixel) in row.iter_mut().enumerate() {
            *pixel = if in_image(x, y) {
                // A gradient with grain.
                (32 + (x / 4 + y / 3) % 160 + noise(x, y) % 16) as u8
            } else if y % 20 < 12 && noise(x / 2, y / 2 + y / 20 * 977).is_multiple_of(3) {
                40
            } else {
                225
            };
        }
    }
    for (plane, tint) in [(into.u, 5), (into.v, 9)] {
        for (y, row) in plane.chunks_exact_mut(chroma_stride).enumerate() {
            let y = 2 * y + offset;
            for (x, pixel) in row.iter_mut().enumerate() {
                *pixel = if in_image(2 * x, y) { (96 + (x / tint + y / 7) % 64) as u8 } else { 128 };
            }
        }
    }
    planes
}

fn in_image(x: usize, y: usize) -> bool {
    x % 640 < 260 && y % 400 < 220
}

fn noise(x: usize, y: usize) -> usize {
    let mut bits = (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca77);
    bits ^= bits >> 15;
    bits = bits.wrapping_mul(0x2c1b_3c6d);
    (bits >> 16) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h264_works_here_and_the_report_explains_every_codec() {
        let report = probe(&ProbeConfig { budget: Duration::ZERO });
        assert_eq!(report.codecs.iter().map(|codec| codec.codec).collect::<Vec<_>>(), Codec::ALL);
        assert!(report.offers().contains(&Codec::H264), "{report:?}");
        for codec in &report.codecs {
            assert!(codec.reason.contains(codec.library), "{codec:?}");
            assert!(codec.works.is_ok() || !codec.offered, "{codec:?}");
            assert_eq!(codec.works.is_ok(), !codec.speeds.is_empty(), "{codec:?}");
        }
        assert!(!report.ffmpeg.is_empty());
    }

    fn report(cores: u32, millis: u64) -> ProbeReport {
        let speed = Speed {
            width: 1280,
            height: 720,
            preset: Preset::Better,
            frames: 24,
            p50: Duration::from_millis(millis),
            p95: Duration::from_millis(millis),
            cpu: Duration::from_millis(millis),
        };
        let codec = CodecReport {
            codec: Codec::H264,
            library: "libx264",
            works: Ok(()),
            offered: true,
            reason: String::new(),
            speeds: vec![speed],
        };
        ProbeReport { codecs: vec![codec], cores, ffmpeg: String::new(), took: Duration::ZERO }
    }

    #[test]
    fn the_better_preset_needs_headroom_in_time_and_cores() {
        let preset = |report: &ProbeReport, width, height, refresh_mhz| {
            report.preset_for(Codec::H264, width, height, refresh_mhz)
        };
        let small = report(2, 6);
        assert_eq!(
            preset(&small, 1280, 720, 60_000),
            Preset::Better,
            "6 of 16.7 ms, 6 of 33.3 ms of two cores"
        );
        assert_eq!(preset(&small, 1920, 1080, 60_000), Preset::Fast, "13.5 ms scaled");
        assert_eq!(preset(&small, 1920, 1080, 30_000), Preset::Fast, "a fifth of two cores is 13.3 ms");
        assert_eq!(preset(&small, 1280, 720, 120_000), Preset::Fast);
        let large = report(16, 6);
        assert_eq!(preset(&large, 1920, 1080, 30_000), Preset::Better);
        assert_eq!(preset(&large, 1920, 1080, 60_000), Preset::Fast, "13.5 of 16.7 ms are more than 70 %");
        assert_eq!(preset(&small, 1280, 720, 0), Preset::Better, "no rate, no hurry");
        assert_eq!(small.preset_for(Codec::Hevc, 320, 180, 10_000), Preset::Fast, "not measured");
    }

    #[test]
    fn content_moves_back_and_forth() {
        let content =
            Content::new(&Mode { width: 64, height: 64, refresh_mhz: 60_000, bitrate_bps: 1_000_000 });
        for number in 0..40 {
            let (one, next) = (content.picture(number), content.picture(number + 1));
            assert!(!Arc::ptr_eq(one, next));
            assert_ne!(one.y(), next.y());
        }
    }
}
