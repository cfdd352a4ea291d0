//! `lumen m0`: capture → encode → file, without network and client.

use crate::apps::{AppContext, RunningApp};
use crate::stream::pipeline::Pipeline;
use anyhow::{Context, bail};
use lumen_config::{Config, Environment};
use lumen_encode::{EncodedFrame, EncoderConfig, FileWriter, StreamInfo};
use lumen_media::{AppLaunch, Codec, Colour, FrameKind, FrameSource, Mode, OutputSource, clock};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// Least time between two pictures of a file: one tick of the coarsest container.
const LEAST_STEP: Duration = Duration::from_millis(1);
/// How often an interruption is looked for while nothing is recorded.
const INTERRUPT_POLL: Duration = Duration::from_millis(100);

/// What to write, as the command line says it.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// `built-in` or `test-pattern`.
    pub source: String,
    /// `WIDTHxHEIGHT@RATE`, the rate with up to three decimals.
    pub mode: String,
    /// `h264`, `hevc` or `av1`.
    pub codec: String,
    /// Length of the recording.
    pub seconds: f64,
    /// Kilobits per second.
    pub bitrate_kbps: u64,
    /// File; its ending decides the container.
    pub out: PathBuf,
    /// Program and arguments to show; a terminal when empty.
    pub app: Vec<String>,
}

/// A mode as people write it: `1364x768@59.94`.
pub fn parse_mode(text: &str) -> anyhow::Result<Mode> {
    let parsed = || -> Option<(u32, u32, u32)> {
        let (size, rate) = text.split_once('@').unwrap_or((text, "60"));
        let (width, height) = size.split_once('x')?;
        let rate: f64 = rate.parse().ok()?;
        Some((width.parse().ok()?, height.parse().ok()?, (rate * 1000.0).round() as u32))
    };
    let Some((width, height, refresh_mhz)) = parsed() else {
        bail!("\"{text}\" is not a mode; write it like 1920x1080@60 or 1364x768@59.94");
    };
    Ok(Mode::new(width, height, refresh_mhz)?)
}

/// Records, and says what was written.
///
/// # Errors
/// One sentence with cause and remedy: a bad argument, a missing program, an encoder that is not there, an unwritable file.
/// `interrupted` ends it early, with what was recorded until then.
pub fn run(
    request: &Request,
    config: &Config,
    environment: &Environment,
    interrupted: &AtomicBool,
) -> anyhow::Result<String> {
    let mode = parse_mode(&request.mode)?;
    let codec = match request.codec.as_str() {
        "h264" => Codec::H264,
        "hevc" => Codec::Hevc,
        "av1" => Codec::Av1,
        other => bail!("\"{other}\" is not a codec; choose h264, hevc or av1"),
    };
    if !(request.seconds > 0.0 && request.seconds <= 3600.0) {
        bail!("--seconds must be above 0 and at most 3600");
    }
    crate::apply_debug(config);
    let info = StreamInfo {
        codec,
        width: mode.width(),
        height: mode.height(),
        refresh_mhz: mode.refresh_mhz(),
        colour: Colour::BT709_LIMITED,
    };
    let mut writer = FileWriter::create(&request.out, info)?;

    // Dropped in this order: app, then its output, then the directory of its socket.
    let scratch = tempdir(environment)?;
    let (source, keep, app);
    match request.source.as_str() {
        "test-pattern" => {
            source = Box::new(lumen_capture::TestPattern::new(mode)?) as Box<dyn FrameSource>;
            (keep, app) = (None, None);
        }
        "built-in" | "virtual" => {
            let launch = AppLaunch { title: "m0".into(), command: request.app.clone(), env: Vec::new() };
            let kind = lumen_display::DisplayKind::Builtin;
            let outputs = lumen_display::DisplayConfig {
                keyboard_layout: config.input.keyboard_layout.clone(),
                keyboard_variant: config.input.keyboard_variant.clone(),
                ..lumen_display::DisplayConfig::new(&scratch.0)
            };
            let opened = lumen_display::open(kind, &outputs)?;
            let output = opened.display.create(mode, &launch)?;
            let OutputSource::Frames(frames) = output.source;
            source = frames;
            let context = AppContext {
                host_mark: format!("m0-{}", uuid::Uuid::new_v4()),
                path: environment.path.clone().unwrap_or_else(|| crate::DEFAULT_PATH.into()),
                log_dir: scratch.0.join("logs"),
                // What is named on the command line is meant from where one stands.
                home: None,
                output_height: mode.height(),
            };
            app = Some(RunningApp::start(&launch, &output.env, &context, || {})?);
            keep = Some(output.keepalive);
        }
        other => bail!("m0 knows the sources built-in and test-pattern in this version, not \"{other}\""),
    }

    let encoder = EncoderConfig {
        qp_floor: config.video.qp_floor,
        threads: config.video.threads.unwrap_or(0),
        ..EncoderConfig::new(
            codec,
            mode.width(),
            mode.height(),
            mode.refresh_mhz(),
            request.bitrate_kbps * 1000,
        )
    };
    let (queue, units) = mpsc::sync_channel(2);
    let (ended, end) = mpsc::channel();
    let pipeline = Pipeline::start(source, &encoder, config.video.idle_fps, queue, move |reason| {
        let _ = ended.send(reason);
    })
    .map_err(|(error, _)| error)?;
    pipeline.open();

    let stop_at = clock::now() + Duration::from_secs_f64(request.seconds);
    let (mut frames, mut bytes, mut first) = (0u64, 0usize, None);
    let mut next = Duration::ZERO;
    loop {
        let left = stop_at.since(clock::now());
        if left.is_zero() || interrupted.load(Ordering::Acquire) {
            break;
        }
        match units.recv_timeout(left.min(INTERRUPT_POLL)) {
            Ok(unit) => {
                let start = *first.get_or_insert(unit.captured);
                frames += 1;
                bytes += unit.data.len();
                let frame = EncodedFrame { data: unit.data, idr: unit.kind == FrameKind::Idr };
                // Two pictures may be composed in the same instant; a container wants one after the other.
                let time = unit.captured.since(start).max(next);
                next = time + LEAST_STEP;
                writer.write(&frame, time)?;
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let reason = end.recv_timeout(Duration::from_secs(5)).context("the recording broke off")?;
                bail!("the recording broke off: {reason}");
            }
        }
    }
    drop(units);
    drop(pipeline.stop());
    drop(app);
    drop(keep);
    if frames == 0 {
        bail!("nothing was shown on the output within {} s, so nothing was written", request.seconds);
    }
    writer.finish()?;
    Ok(format!(
        "{}: {frames} frames of {codec} at {mode} in {:.1} s, {:.1} Mbit/s",
        request.out.display(),
        request.seconds,
        bytes as f64 * 8.0 / request.seconds / 1e6
    ))
}

/// A private directory that goes with its owner.
struct Scratch(PathBuf);

fn tempdir(environment: &Environment) -> anyhow::Result<Scratch> {
    let base = environment.temporary_dir.clone().unwrap_or_else(|| PathBuf::from("/tmp"));
    let dir = base.join(format!("lumen-m0-{}", uuid::Uuid::new_v4()));
    crate::files::ensure_private_dir(&dir)?;
    Ok(Scratch(dir))
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_as_people_write_them() {
        let mode = parse_mode("1364x768@59.94").expect("valid");
        assert_eq!((mode.width(), mode.height(), mode.refresh_mhz()), (1364, 768, 59_940));
        assert_eq!(parse_mode("1280x720").expect("valid").refresh_mhz(), 60_000);
        assert!(parse_mode("big").expect_err("nonsense").to_string().contains("1920x1080@60"));
        assert!(parse_mode("100x100@60").expect_err("too small").to_string().contains("320x180"));
    }
}
