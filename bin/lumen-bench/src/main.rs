//! The program behind `lumen bench`: streams the test card from a host of its own to our own client and measures what
//! arrives, when, and at which cost.
#![forbid(unsafe_code)]

mod args;
mod cpu;
mod delivery;
mod host;
mod measure;
mod report;
mod statistics;

use anyhow::Context;
use args::{Command, Options};
use cpu::Sample;
use host::{Host, Programs};
use lumen_testkit::{Client, clock};
use report::{Machine, Report, RowReport};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Long enough for 10 ms ticks to show a third of a percent.
const IDLE_TIME: Duration = Duration::from_secs(3);
/// After `/cancel` the host ends the app and takes the output down.
const CALM_DOWN: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let result = args::parse(lexopt::Parser::from_env()).and_then(|command| match command {
        Command::Help => {
            print!("{}", args::HELP);
            Ok(ExitCode::SUCCESS)
        }
        Command::Run(options) => run(options),
    });
    result.unwrap_or_else(|error| {
        eprintln!("lumen-bench: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(options: Options) -> anyhow::Result<ExitCode> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, interrupted.clone()).context("catching signals")?;
    }
    let programs = Programs::find(options.lumen.clone(), options.testcard.clone())?;
    eprintln!("lumen-bench: starting {}", programs.lumen.display());
    let mut host = Host::start(&programs, &options.rows)?;
    let client = host.pair().with_context(|| format!("the host's last words:\n{}", host.last_words()))?;
    let mut report = Report {
        machine: Machine::this(),
        host_start_ms: host.start_time.as_secs_f64() * 1e3,
        idle_percent: idle(&host, &interrupted),
        rows: Vec::new(),
    };
    measure_rows(&mut host, &client, &options, &interrupted, &mut report);

    if options.keep {
        eprintln!("lumen-bench: logs and settings are in {}", host.keep().display());
    } else {
        drop(host);
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report::table(&report));
    }
    let complete =
        report.rows.len() == options.rows.len() && report.rows.iter().all(|row| row.error.is_none());
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure_rows(
    host: &mut Host,
    client: &Client,
    options: &Options,
    interrupted: &AtomicBool,
    report: &mut Report,
) {
    for (index, row) in options.rows.iter().enumerate() {
        if interrupted.load(Ordering::Relaxed) {
            return;
        }
        eprintln!("lumen-bench: {} {} for {:?}", row.mode, row.style.name(), options.seconds);
        let result = measure::run(host, client, (index, row), options.seconds, interrupted);
        if result.is_err() {
            // What is left of the stream must not stand in the next row's way.
            let _ = client.cancel();
            eprintln!("lumen-bench: failed; the host's last words:\n{}", host.last_words());
        }
        let idle = result.is_ok().then(|| idle(host, interrupted)).flatten();
        report.rows.push(RowReport::new(row, result, idle));
        if host.check_alive().is_err() {
            return;
        }
    }
}

/// The host's processor time while nothing streams; `None` when it cannot be read or somebody wants to leave.
fn idle(host: &Host, interrupted: &AtomicBool) -> Option<f64> {
    pause(CALM_DOWN, interrupted)?;
    let before = Sample::take(host.pid()).ok()?;
    pause(IDLE_TIME, interrupted)?;
    Some(Sample::take(host.pid()).ok()?.since(&before).host_percent)
}

fn pause(length: Duration, interrupted: &AtomicBool) -> Option<()> {
    let end = clock::now() + length;
    while clock::now() < end {
        if interrupted.load(Ordering::Relaxed) {
            return None;
        }
        std::thread::sleep(end.since(clock::now()).min(Duration::from_millis(100)));
    }
    Some(())
}
