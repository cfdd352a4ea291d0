//! Showing the card: which window system, when it ends, and what is said at the end.

use crate::args::{Backend, Show};
use crate::log::{Event, Log};
use crate::{client, x11};
use anyhow::Context;
use lumen_testcard::monotonic_ns;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::os::unix::net::UnixStream;

pub fn run(options: &Show) -> anyhow::Result<()> {
    let mut log = Log::open(options.log.as_deref())?;
    log.write(&Event::Start { pid: std::process::id() });
    let signals = signals().context("catching signals")?;
    match options.backend {
        Backend::Wayland => client::run(options, log, &signals),
        Backend::X11 => x11::run(options, log, &signals),
        Backend::Auto if wayland_is_named() => client::run(options, log, &signals),
        Backend::Auto => x11::run(options, log, &signals)
            .context("no Wayland either: start testcard inside a session, or set WAYLAND_DISPLAY or DISPLAY"),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the session that a window opens on is named by the environment alone"
)]
fn wayland_is_named() -> bool {
    ["WAYLAND_DISPLAY", "WAYLAND_SOCKET"]
        .into_iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// A stream that becomes readable on SIGTERM and SIGINT.
fn signals() -> std::io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
    }
    Ok(read)
}

/// Why the loop ended in peace.
#[derive(Clone, Copy, Debug)]
pub enum End {
    Done,
    Signal,
    WindowClosed,
    CompositorGone,
}

impl End {
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Signal => "signal",
            Self::WindowClosed => "window_closed",
            Self::CompositorGone => "compositor_gone",
        }
    }
}

/// Pictures so far, and what they cost.
#[derive(Debug)]
pub struct Tally {
    started_ns: u64,
    /// CPU time spent when the first card was ready: what comes after belongs to pictures.
    prepared_cpu_us: Option<u64>,
    pub drawn: u32,
    pub dropped: u32,
}

impl Tally {
    pub fn new() -> Self {
        Self { started_ns: monotonic_ns(), prepared_cpu_us: None, drawn: 0, dropped: 0 }
    }

    /// A card is ready; the first call counts.
    pub fn prepared(&mut self) {
        self.prepared_cpu_us.get_or_insert_with(cpu_us);
    }

    /// Pictures that were due and went by.
    pub fn miss(&mut self, count: u64) {
        self.dropped = self.dropped.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    pub fn is_done(&self, options: &Show, now_ns: u64) -> bool {
        let frames = options.frames.is_some_and(|frames| self.drawn >= frames);
        frames || self.end_ns(options).is_some_and(|end| now_ns >= end)
    }

    /// When the time given with `--seconds` is over.
    pub fn end_ns(&self, options: &Show) -> Option<u64> {
        let seconds = options.seconds?;
        Some(self.started_ns.saturating_add(u64::try_from(seconds.as_nanos()).unwrap_or(u64::MAX)))
    }

    pub fn report(&self, log: &mut Log, ended: &anyhow::Result<End>) {
        let reason = ended.as_ref().map_or("error", |end| end.name());
        let (drawn, dropped) = (self.drawn, self.dropped);
        let spent = cpu_us().saturating_sub(self.prepared_cpu_us.unwrap_or(0));
        let cpu_us_per_frame = spent / u64::from(drawn.max(1));
        log.write(&Event::End { reason, drawn, dropped, cpu_us_per_frame });
        let seconds = (monotonic_ns() - self.started_ns) as f64 / 1e9;
        eprintln!(
            "testcard: {reason} after {seconds:.1} s: {drawn} pictures drawn, {dropped} dropped, {cpu_us_per_frame} µs of CPU per picture"
        );
    }
}

/// Time from now until `deadline_ns`, for `poll`.
pub fn timeout_until(deadline_ns: u64) -> Timespec {
    let left = deadline_ns.saturating_sub(monotonic_ns());
    Timespec { tv_sec: (left / 1_000_000_000) as i64, tv_nsec: (left % 1_000_000_000) as _ }
}

/// CPU time of this process so far.
fn cpu_us() -> u64 {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    cpu.tv_sec as u64 * 1_000_000 + cpu.tv_nsec as u64 / 1000
}
