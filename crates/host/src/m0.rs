//! `lumen m0`: capture → encode → file, without network and client.

use crate::apps::{AppContext, RunningApp};
use crate::displays::{self, Displays};
use crate::files::InstanceLock;
use crate::output::Output;
use crate::processes::HOST_MARK;
use crate::stream::PictureSettings;
use crate::stream::pipeline::{News, Pipeline};
use anyhow::{Context, bail};
use lumen_config::{Config, Environment, Paths};
use lumen_display::{DisplayKind, VideoSource};
use lumen_encode::{EncodedFrame, EncoderConfig, FileWriter, StreamInfo};
use lumen_media::{AppLaunch, Codec, Colour, FrameKind, Mode, clock};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// Least time between two pictures of a file: one tick of the coarsest container.
const LEAST_STEP: Duration = Duration::from_millis(1);
/// How often an interruption is looked for while nothing is recorded.
const INTERRUPT_POLL: Duration = Duration::from_millis(100);

/// What can be recorded; `virtual` is what a host would choose.
pub const SOURCES: &str = "built-in, virtual, kwin-virtual, mutter-virtual, sway-virtual, gamescope, hyprland, portal or test-pattern";

/// What to write, as the command line says it.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// One of [`SOURCES`].
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
    let mut scratch = Scratch::new(config, environment)?;
    let (mut output, app) = open(request, mode, config, environment, &mut scratch)?;
    let source = output.source.take().context("the output has no pictures")?;
    let path = output.path.effective.clone();

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
    let (tell, told) = mpsc::channel();
    let pipeline = Pipeline::start(source, &encoder, PictureSettings::new(config), queue, move |news| {
        let broken = match news {
            News::Showing | News::Viewed(_) => return,
            News::Lost { .. } => "its output is gone".to_owned(),
            News::Ended(reason) => reason.to_string(),
        };
        let _ = tell.send(broken);
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
        if let Ok(reason) = told.try_recv() {
            bail!("the recording broke off: {reason}");
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
                let reason = told.recv_timeout(Duration::from_secs(5)).context("the recording broke off")?;
                bail!("the recording broke off: {reason}");
            }
        }
    }
    drop(units);
    output.source = pipeline.stop();
    drop(app);
    drop(output);
    if frames == 0 {
        bail!("nothing was shown on the output within {} s, so nothing was written", request.seconds);
    }
    writer.finish()?;
    Ok(format!(
        "{}: {frames} frames of {codec} at {mode} in {:.1} s, {} kB, {:.0} kbit/s, by {path}",
        request.out.display(),
        request.seconds,
        bytes.div_ceil(1000),
        bytes as f64 * 8.0 / request.seconds / 1e3
    ))
}

/// The backend that a source's name means.
fn display_kind(source: &str) -> Option<DisplayKind> {
    Some(match source {
        // No backend at all, and no program.
        "test-pattern" => DisplayKind::Auto,
        "virtual" => DisplayKind::Auto,
        "built-in" => DisplayKind::Builtin,
        "kwin-virtual" => DisplayKind::Kwin,
        "mutter-virtual" => DisplayKind::Mutter,
        "sway-virtual" => DisplayKind::Wlroots,
        "gamescope" => DisplayKind::Gamescope,
        "hyprland" => DisplayKind::Hyprland,
        "portal" => DisplayKind::Portal,
        _ => return None,
    })
}

/// The output that is recorded, and the program on it.
fn open(
    request: &Request,
    mode: Mode,
    config: &Config,
    environment: &Environment,
    scratch: &mut Scratch,
) -> anyhow::Result<(Output, Option<RunningApp>)> {
    let Some(kind) = display_kind(&request.source) else {
        bail!("\"{}\" is not a source; choose {SOURCES}", request.source);
    };
    let mut outputs = displays::display_config(config, environment, &scratch.sockets, &scratch.state);
    outputs.source = match request.source.as_str() {
        "test-pattern" => VideoSource::TestPattern,
        "portal" => VideoSource::Portal,
        _ => VideoSource::Virtual,
    };
    if !matches!(request.source.as_str(), "test-pattern" | "built-in") {
        crate::files::ensure_private_dir(&scratch.state)?;
        scratch.lock = InstanceLock::acquire(&scratch.state)?;
        if scratch.lock.is_none() {
            // What one of them finds there it would take for what a killed one left.
            bail!("another lumen m0 records from a desktop; wait for its end");
        }
    }
    let display = Displays::new(kind, outputs)?;
    let host_mark = format!("m0-{}", uuid::Uuid::new_v4());
    let launch = AppLaunch {
        title: "m0".into(),
        command: request.app.clone(),
        env: vec![(HOST_MARK.into(), host_mark.clone())],
    };
    let capture = crate::capture_config(config, environment.runtime_dir.as_deref());
    let output = Output::make(&display, &capture, mode, launch.clone())?;
    let desktop = request.app.is_empty() && !displays::is_builtin(&output.path);
    if output.contained().is_some() || desktop || displays::shows_no_programs(&output.path) {
        return Ok((output, None));
    }
    let context = AppContext {
        host_mark,
        path: environment.path.clone().unwrap_or_else(|| crate::DEFAULT_PATH.into()),
        log_dir: scratch.sockets.join("logs"),
        // What is named on the command line is meant from where one stands.
        home: None,
        output_height: mode.height(),
    };
    let app = RunningApp::start(&launch, &output.env, &context, || {})?;
    Ok((output, Some(app)))
}

/// Private directories that go with their owner.
struct Scratch {
    /// Sockets and logs.
    sockets: PathBuf,
    /// Journals of outputs and answers of portals: not the host's, which has layouts to restore there while it runs.
    /// What has to be kept stays.
    state: PathBuf,
    /// While a desktop is recorded.
    lock: Option<InstanceLock>,
}

impl Scratch {
    fn new(config: &Config, environment: &Environment) -> anyhow::Result<Self> {
        let base = environment.temporary_dir.clone().unwrap_or_else(|| PathBuf::from("/tmp"));
        let sockets = base.join(format!("lumen-m0-{}", uuid::Uuid::new_v4()));
        crate::files::ensure_private_dir(&sockets)?;
        let state = Paths::new(None, environment, config).state_dir.join("m0");
        Ok(Self { sockets, state, lock: None })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.sockets);
        // Empty ones only.
        for dir in self.state.ancestors().take(2) {
            let _ = std::fs::remove_dir(dir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_that_is_named_is_known() {
        for source in SOURCES.replace(" or ", ", ").split(", ") {
            assert!(display_kind(source).is_some(), "{source}");
        }
        assert_eq!(display_kind("kwin"), None);
    }

    #[test]
    fn modes_as_people_write_them() {
        let mode = parse_mode("1364x768@59.94").expect("valid");
        assert_eq!((mode.width(), mode.height(), mode.refresh_mhz()), (1364, 768, 59_940));
        assert_eq!(parse_mode("1280x720").expect("valid").refresh_mhz(), 60_000);
        assert!(parse_mode("big").expect_err("nonsense").to_string().contains("1920x1080@60"));
        assert!(parse_mode("100x100@60").expect_err("too small").to_string().contains("320x180"));
    }
}
