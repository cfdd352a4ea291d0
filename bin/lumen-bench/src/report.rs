//! The table, and the same as JSON.

use crate::args::{Goal, Row, codec_name};
use crate::measure::{Measurement, is_moving};
use crate::statistics::Percentiles;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write;

/// Stages in the order of a frame's way; the host's status names them.
const STAGES: [&str; 7] = ["wait", "convert", "queue", "encode", "packetize", "send", "total"];

/// Everything that a run of the bench found.
#[derive(Debug, Serialize)]
pub struct Report {
    pub machine: Machine,
    /// Process start to first answer.
    pub host_start_ms: f64,
    /// The host's processor time in percent of one core while no stream runs.
    pub idle_percent: Option<f64>,
    pub rows: Vec<RowReport>,
}

/// Where it was measured.
#[derive(Debug, Serialize)]
pub struct Machine {
    pub cores: usize,
    pub processor: String,
}

impl Machine {
    pub fn this() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let processor = name.map_or("unknown processor", |(_, name)| name).to_owned();
        Self { cores, processor }
    }
}

#[derive(Debug, Serialize)]
pub struct RowReport {
    pub mode: String,
    pub codec: &'static str,
    pub style: &'static str,
    pub clock: &'static str,
    pub encrypted: bool,
    pub asked_kbps: u32,
    pub goal: Option<Goal>,
    pub moving: bool,
    /// Goals that were missed, in words.
    pub missed: Vec<String>,
    pub measured: Option<Measurement>,
    /// The host's processor time after this row's stream was cancelled, in percent of one core.
    pub idle_after_percent: Option<f64>,
    pub error: Option<String>,
}

impl RowReport {
    pub fn new(row: &Row, result: anyhow::Result<Measurement>, idle_after_percent: Option<f64>) -> Self {
        let (measured, error) = match result {
            Ok(measured) => (Some(measured), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        let missed = match (&row.goal, &measured) {
            (Some(goal), Some(measured)) => missed(goal, measured),
            _ => Vec::new(),
        };
        Self {
            mode: row.mode.to_string(),
            codec: codec_name(row.codec),
            style: row.style.name(),
            clock: row.clock.name(),
            encrypted: row.encrypt,
            asked_kbps: row.bitrate_kbps,
            goal: row.goal,
            moving: is_moving(row),
            missed,
            measured,
            idle_after_percent,
            error,
        }
    }
}

fn missed(goal: &Goal, measured: &Measurement) -> Vec<String> {
    let mut missed = Vec::new();
    if let Some(fps) = goal.fps.filter(|fps| measured.delivery.fps < *fps) {
        missed.push(format!("{:.2} of {fps} fps", measured.delivery.fps));
    }
    if measured.cpu.host_percent > goal.cpu_percent {
        missed.push(format!("{:.0} % of a core, goal {:.0} %", measured.cpu.host_percent, goal.cpu_percent));
    }
    if let Some((p50, p95)) = goal.latency_ms {
        match measured.delivery.latency_ms {
            None => missed.push("no latency: no picture could be read".into()),
            Some(latency) => {
                for (name, found, limit) in [("p50", latency.p50, p50), ("p95", latency.p95, p95)] {
                    if found > limit {
                        missed.push(format!("latency {name} {found:.1} ms, goal {limit} ms"));
                    }
                }
            }
        }
    }
    missed
}

/// The report for people.
pub fn table(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_table(&mut out, report);
    out
}

fn write_table(out: &mut String, report: &Report) -> std::fmt::Result {
    let Machine { cores, processor } = &report.machine;
    writeln!(out, "{cores} cores, {processor}; host up after {:.0} ms", report.host_start_ms)?;
    if let Some(idle) = report.idle_percent {
        writeln!(out, "idle before the first stream: {idle:.1} % of a core")?;
    }
    writeln!(out)?;
    writeln!(
        out,
        "{:<16} {:<5} {:<7} {:>7} {:>6} {:>6} {:>6} {:>6} {:>22} {:>7} {:>7} {:>6}",
        "asked",
        "codec",
        "style",
        "Mbit/s",
        "fps",
        "share",
        "host",
        "all",
        "latency p50/95/99 ms",
        "launch",
        "resume",
        "idle"
    )?;
    for row in &report.rows {
        write_row(out, row)?;
    }
    writeln!(out, "\nhost's stages, µs p50 / p95 / p99")?;
    for row in &report.rows {
        if let Some(stages) = row.measured.as_ref().and_then(|measured| measured.stages_us.as_ref()) {
            writeln!(out, "{:<16} {:<7} {}", row.mode, row.style, stage_line(stages))?;
        }
    }
    writeln!(
        out,
        "\nfps: pictures with a new time code. share: of the pictures drawn. host, all: % of one core, of the host (compositor
included) and of everything on this machine. latency: drawing to complete frame at the client, not decoded; pictures
are decoded afterwards. launch, resume: request to first frame, ms. idle: % of one core after the stream."
    )
}

fn write_row(out: &mut String, row: &RowReport) -> std::fmt::Result {
    let codec = if row.encrypted { format!("{}+", row.codec) } else { row.codec.to_owned() };
    write!(out, "{:<16} {codec:<5} {:<7} ", row.mode, row.style)?;
    let Some(measured) = &row.measured else {
        return writeln!(out, "FAILED: {}", row.error.as_deref().unwrap_or("unknown"));
    };
    let delivery = &measured.delivery;
    let or_dash =
        |value: Option<f64>, digits: usize| value.map_or("-".into(), |value| format!("{value:.digits$}"));
    let latency = delivery
        .latency_ms
        .map_or("-".into(), |Percentiles { p50, p95, p99, .. }| format!("{p50:.1} / {p95:.1} / {p99:.1}"));
    let fps = if row.moving { delivery.fps } else { delivery.frames_per_second };
    writeln!(
        out,
        "{:>7.1} {:>6} {:>6} {:>6.1} {:>6.0} {:>22} {:>7} {:>7} {:>6}",
        delivery.bitrate_kbps / 1000.0,
        if row.moving { format!("{fps:.2}") } else { format!("({fps:.1})") },
        or_dash(delivery.share_percent.filter(|_| row.moving), 1),
        measured.cpu.host_percent,
        measured.cpu.machine_percent,
        latency,
        or_dash(measured.launch_to_frame_ms, 0),
        or_dash(measured.resume_to_frame_ms, 0),
        or_dash(row.idle_after_percent, 1),
    )?;
    for note in notes(row, measured) {
        writeln!(out, "                 {note}")?;
    }
    Ok(())
}

fn notes(row: &RowReport, measured: &Measurement) -> Vec<String> {
    let mut notes: Vec<String> = row.missed.iter().map(|missed| format!("missed: {missed}")).collect();
    let network = &measured.network;
    let mut count = |number: u64, text: &str| {
        if number > 0 {
            notes.push(format!("{number} {text}"));
        }
    };
    count(measured.delivery.unreadable as u64, "frames without a readable time code");
    count(measured.delivery.backwards as u64, "frames older than the one before");
    count(network.frames_lost, "frames lost on the way");
    count(network.violations, "violations of the protocol");
    count(network.dropped_by_bench, "frames that this program did not take in time");
    if let Some(card) = &measured.card {
        count(u64::from(card.dropped), "pictures that the test card could not draw");
    }
    if !row.moving {
        notes.push("static: the figure in parentheses counts repeated frames".into());
    }
    notes
}

fn stage_line(stages: &Value) -> String {
    let part = |name: &&str| {
        let number = |percentile: &str| stages.get(*name)?.get(percentile)?.as_u64();
        Some(format!("{name} {} / {} / {}", number("p50")?, number("p95")?, number("p99")?))
    };
    STAGES.iter().filter_map(part).collect::<Vec<_>>().join(" · ")
}

#[cfg(test)]
mod tests;
