//! The command line.

use anyhow::{Context, bail};
use lexopt::prelude::*;
use lumen_media::Mode;
use lumen_testkit::Codec;
use std::path::PathBuf;
use std::time::Duration;

pub const HELP: &str = "\
lumen bench [--mode WxH@HZ]... [--all] [options]
    Streams the test card from a host of its own to a client on this machine, and measures.
    --mode WxH@HZ     what to ask for, repeatable (1280x720@60)
    --all             the rows of the table of figures: 720p60, 1080p60, 720p120 scrolling, and 1080p60 static
    --bitrate KBPS    (20000; 10000 up to 720p60)
    --codec CODEC     h264, hevc, av1 (h264)
    --style STYLE     scroll, box, static (scroll)
    --clock CLOCK     own: the card draws at the asked rate by itself; callback: on frame callbacks (own)
    --seconds N       length of the measurement after one second of settling (10, at most 300)
    --encrypt         encrypt the video stream
    --json            one JSON object instead of a table
    --lumen PATH      the host (beside this program)
    --testcard PATH   the test card (beside this program)
    --keep            keep the folder with the host's log, settings and the card's logs
    Pictures are decoded after the measurement, so that the decoder takes no time from the host.
";

/// What `lumen bench` was asked to do.
#[derive(Debug)]
pub enum Command {
    Help,
    Run(Options),
}

#[derive(Debug)]
pub struct Options {
    pub rows: Vec<Row>,
    pub seconds: Duration,
    pub json: bool,
    pub lumen: Option<PathBuf>,
    pub testcard: Option<PathBuf>,
    pub keep: bool,
}

/// One stream to measure.
#[derive(Clone, Debug)]
pub struct Row {
    pub mode: Mode,
    pub bitrate_kbps: u32,
    pub codec: Codec,
    pub style: Style,
    pub clock: Clock,
    pub encrypt: bool,
    pub goal: Option<Goal>,
}

/// Figures that a row is meant to reach on two cores without a GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Goal {
    pub fps: Option<f64>,
    /// Host's processor time in percent of one core.
    pub cpu_percent: f64,
    /// p50 and p95.
    pub latency_ms: Option<(f64, f64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Scroll,
    Box,
    Static,
}

impl Style {
    pub fn name(self) -> &'static str {
        match self {
            Self::Scroll => "scroll",
            Self::Box => "box",
            Self::Static => "static",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    Own,
    Callback,
}

impl Clock {
    pub fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Callback => "callback",
        }
    }
}

pub fn codec_name(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 => "h264",
        Codec::Hevc => "hevc",
        Codec::Av1 => "av1",
    }
}

pub fn parse(mut parser: lexopt::Parser) -> anyhow::Result<Command> {
    let (mut modes, mut all) = (Vec::new(), false);
    let (mut bitrate, mut codec, mut style, mut clock) = (None, Codec::H264, Style::Scroll, Clock::Own);
    let (mut seconds, mut encrypt) = (Duration::from_secs(10), false);
    let mut options =
        Options { rows: Vec::new(), seconds, json: false, lumen: None, testcard: None, keep: false };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Command::Help),
            Long("mode") => modes.push(mode(&parser.value()?.string()?)?),
            Long("all") => all = true,
            Long("bitrate") => bitrate = Some(bitrate_kbps(&parser.value()?.string()?)?),
            Long("codec") => codec = self::codec(&parser.value()?.string()?)?,
            Long("style") => style = self::style(&parser.value()?.string()?)?,
            Long("clock") => clock = self::clock(&parser.value()?.string()?)?,
            Long("seconds") => seconds = self::seconds(&parser.value()?.string()?)?,
            Long("encrypt") => encrypt = true,
            Long("json") => options.json = true,
            Long("lumen") => options.lumen = Some(parser.value()?.into()),
            Long("testcard") => options.testcard = Some(parser.value()?.into()),
            Long("keep") => options.keep = true,
            other => return Err(other.unexpected().into()),
        }
    }
    if all && !modes.is_empty() {
        bail!("--all brings its own modes; leave out --mode");
    }
    options.seconds = seconds;
    if all {
        options.rows = table_of_figures()?;
        for row in &mut options.rows {
            row.encrypt = encrypt;
            row.clock = clock;
            row.codec = codec;
            row.bitrate_kbps = bitrate.unwrap_or(row.bitrate_kbps);
        }
        return Ok(Command::Run(options));
    }
    if modes.is_empty() {
        modes.push(mode("1280x720@60")?);
    }
    options.rows = modes
        .into_iter()
        .map(|mode| {
            let bitrate_kbps = bitrate.unwrap_or_else(|| usual_bitrate_kbps(mode));
            Row { mode, bitrate_kbps, codec, style, clock, encrypt, goal: None }
        })
        .collect();
    Ok(Command::Run(options))
}

/// The rows whose figures the project has set itself.
fn table_of_figures() -> anyhow::Result<Vec<Row>> {
    let row = |text: &str, style, goal| -> anyhow::Result<Row> {
        let mode = mode(text)?;
        let bitrate_kbps = usual_bitrate_kbps(mode);
        Ok(Row {
            mode,
            bitrate_kbps,
            codec: Codec::H264,
            style,
            clock: Clock::Own,
            encrypt: false,
            goal: Some(goal),
        })
    };
    let goal = |fps, cpu_percent, latency_ms| Goal { fps, cpu_percent, latency_ms };
    Ok(vec![
        row("1280x720@60", Style::Scroll, goal(Some(59.9), 60.0, Some((12.0, 17.0))))?,
        row("1920x1080@60", Style::Scroll, goal(Some(59.5), 115.0, Some((18.0, 25.0))))?,
        row("1280x720@120", Style::Scroll, goal(Some(118.0), 115.0, Some((10.0, 15.0))))?,
        row("1920x1080@60", Style::Static, goal(None, 20.0, None))?,
    ])
}

fn usual_bitrate_kbps(mode: Mode) -> u32 {
    let pixels_per_second =
        u64::from(mode.width()) * u64::from(mode.height()) * u64::from(mode.refresh_mhz()) / 1000;
    if pixels_per_second <= 1280 * 720 * 60 { 10_000 } else { 20_000 }
}

/// `1364x768@59.94`.
fn mode(text: &str) -> anyhow::Result<Mode> {
    let shape = || format!("{text:?} is not WIDTHxHEIGHT@HZ, for example 1364x768@59.94");
    let (width, rest) = text.split_once('x').with_context(shape)?;
    let (height, rate) = rest.split_once('@').with_context(shape)?;
    let (whole, fraction) = rate.split_once('.').unwrap_or((rate, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        bail!(shape());
    }
    let whole: u32 = whole.parse().ok().filter(|hertz| *hertz <= 1000).with_context(shape)?;
    let fraction: u32 = format!("{fraction:0<3}").parse().with_context(shape)?;
    let (width, height) = (width.parse().with_context(shape)?, height.parse().with_context(shape)?);
    Ok(Mode::new(width, height, whole * 1000 + fraction)?)
}

fn bitrate_kbps(text: &str) -> anyhow::Result<u32> {
    text.parse()
        .ok()
        .filter(|kbps| (500..=500_000).contains(kbps))
        .with_context(|| format!("--bitrate {text:?} is not a number of kbit/s between 500 and 500000"))
}

fn codec(text: &str) -> anyhow::Result<Codec> {
    Ok(match text {
        "h264" => Codec::H264,
        "hevc" => Codec::Hevc,
        "av1" => Codec::Av1,
        _ => bail!("unknown codec {text:?}; there are h264, hevc and av1"),
    })
}

fn style(text: &str) -> anyhow::Result<Style> {
    [Style::Scroll, Style::Box, Style::Static]
        .into_iter()
        .find(|style| style.name() == text)
        .with_context(|| format!("unknown style {text:?}; there are scroll, box and static"))
}

fn clock(text: &str) -> anyhow::Result<Clock> {
    [Clock::Own, Clock::Callback]
        .into_iter()
        .find(|clock| clock.name() == text)
        .with_context(|| format!("unknown clock {text:?}; there are own and callback"))
}

fn seconds(text: &str) -> anyhow::Result<Duration> {
    // Frames are kept until they are decoded: five minutes at 50 Mbit/s are 2 GB.
    text.parse()
        .ok()
        .filter(|seconds| (1.0..=300.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .with_context(|| format!("--seconds {text:?} is not a number between 1 and 300"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> anyhow::Result<Options> {
        match parse(lexopt::Parser::from_args(line.split_whitespace()))? {
            Command::Run(options) => Ok(options),
            Command::Help => bail!("help"),
        }
    }

    #[test]
    fn modes_repeat_and_share_the_other_options() {
        let options = options(
            "--mode 1364x768@59.94 --mode 640x360@30 --codec hevc --style box --seconds 2.5 --encrypt",
        )
        .expect("valid");
        let modes: Vec<_> = options.rows.iter().map(|row| row.mode.to_string()).collect();
        assert_eq!(modes, ["1364x768@59.94", "640x360@30"]);
        assert!(
            options.rows.iter().all(|row| row.codec == Codec::Hevc && row.encrypt && row.style == Style::Box)
        );
        assert_eq!(options.seconds, Duration::from_millis(2500));
    }

    #[test]
    fn bitrate_follows_the_mode_unless_given() {
        let bitrates = |line: &str| -> Vec<u32> {
            options(line).expect("valid").rows.iter().map(|row| row.bitrate_kbps).collect()
        };
        assert_eq!(bitrates("--all"), [10_000, 20_000, 20_000, 20_000]);
        assert_eq!(bitrates("--all --bitrate 5000"), [5000; 4]);
        assert_eq!(bitrates(""), [10_000]);
    }

    #[test]
    fn wrong_values_are_named() {
        for wrong in [
            "--mode 1280x720",
            "--mode 100x100@60",
            "--mode 1280x720@60.12345",
            "--mode 1280x720@4294967",
            "--mode 1280x720@-60",
            "--bitrate 1",
            "--codec vp9",
            "--style tartan",
            "--clock sun",
            "--seconds 0",
            "--seconds nan",
            "--all --mode 640x360@30",
            "--loud",
        ] {
            assert!(options(wrong).is_err(), "{wrong}");
        }
    }
}
