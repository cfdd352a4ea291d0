//! gamescope: a compositor for one app. It is started with the app inside, or one that runs already is shown.
//!
//! Its stream has quirks that the rest of the host must know: no time of presentation in its buffers, no pointer in its
//! pictures, even sizes only, and a question about the frame rate kills it.

mod attach;
mod dump;
mod files;
mod input;
mod log;
mod marks;
mod process;
mod spawn;
mod tool;
mod version;

use crate::backend::{Backend, Finding, State};
use crate::{DisplayConfig, DisplayKind, journal};
use dump::{Dump, Node};
use lumen_media::{
    AppLaunch, DisplayError, Mode, NodeTarget, OutputSource, PathReport, PipeWireTarget, RateRequest,
    VirtualDisplay, VirtualOutput,
};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

const NAME: &str = "gamescope";
/// Names of its entries in the journal begin so.
const JOURNAL: &str = "gamescope-";
/// For one of the small programs asked at a look, which ends within two seconds altogether.
const GLANCE: Duration = Duration::from_millis(900);
/// The same while an output is made: nobody else waits.
const QUESTION: Duration = Duration::from_secs(10);

pub(crate) const BACKEND: Backend = Backend { kind: DisplayKind::Gamescope, look, open, clean_up };

/// Ready means that a gamescope runs, or that one can be started: it needs no desktop.
fn look(config: &DisplayConfig) -> Finding {
    let session = &config.session;
    let running = running(config, GLANCE);
    let program = match &running {
        Ok(Some(node)) => program_of(config, node),
        _ => tool::find(session, "gamescope"),
    };
    let obstructed = |cause: String, remedy: String, version: String| Finding {
        kind: DisplayKind::Gamescope,
        state: State::Obstructed { cause, remedy },
        version,
    };
    let Some(program) = program else {
        return match running {
            Err(DisplayError::Unsupported { cause, remedy, .. }) => obstructed(cause, remedy, String::new()),
            _ => Finding::absent(DisplayKind::Gamescope),
        };
    };
    let number = version::of_gamescope(session, &program, GLANCE);
    let name = match &number {
        Ok(Some(number)) => format!("gamescope {number}"),
        _ => NAME.to_owned(),
    };
    match (number, running) {
        (_, Err(DisplayError::Unsupported { cause, remedy, .. })) => obstructed(cause, remedy, name),
        // A machine that is busy answers late; whoever makes an output waits longer and hears what is wrong.
        (Err(error), _) if error.kind() != ErrorKind::TimedOut => obstructed(
            format!("{} --version cannot be run: {error}", program.display()),
            "Look whether it starts in a terminal".into(),
            name,
        ),
        (number, running) => match version::check(session, number.unwrap_or(None), GLANCE) {
            Err(DisplayError::Unsupported { cause, remedy, .. }) => obstructed(cause, remedy, name),
            _ => {
                let version = match running {
                    Ok(Some(node)) => format!("{name}, runs with node {}", node.id),
                    _ => format!("{name}, installed"),
                };
                Finding { kind: DisplayKind::Gamescope, state: State::Ready, version }
            }
        },
    }
}

fn open(config: &DisplayConfig) -> Result<Box<dyn VirtualDisplay>, DisplayError> {
    Ok(Box::new(Gamescope { config: config.clone() }))
}

/// Ends gamescopes of a host that was killed, with everything in them.
fn clean_up(config: &DisplayConfig) -> bool {
    for (entry, record) in journal::left_over::<process::Record>(&config.state_dir, JOURNAL) {
        if record.is_live() {
            continue;
        }
        if !marks::processes(&record.mark).is_empty() {
            tracing::info!(mark = record.mark, "a gamescope of an earlier host is ended");
            process::kill_all(&record.mark);
        }
        entry.done();
    }
    true
}

struct Gamescope {
    config: DisplayConfig,
}

impl VirtualDisplay for Gamescope {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Shows the gamescope that runs, where one is configured or this is Game Mode; else starts one with the app inside.
    fn create(&self, mode: Mode, launch: &AppLaunch) -> Result<VirtualOutput, DisplayError> {
        let session = &self.config.session;
        let node = running(&self.config, QUESTION)?;
        let program = match &node {
            Some(node) => program_of(&self.config, node),
            None => Some(tool::find(session, "gamescope").ok_or_else(|| DisplayError::Unsupported {
                backend: NAME,
                cause: "the program gamescope is not installed".into(),
                remedy: "Install gamescope, or set display.compositor to `auto`".into(),
            })?),
        };
        if let Some(program) = &program {
            let number = version::of_gamescope(session, program, QUESTION).map_err(|error| {
                DisplayError::Other(format!(
                    "{} --version does not answer: {error}. Look whether it starts in a terminal",
                    program.display()
                ))
            })?;
            version::check(session, number, QUESTION)?;
        }
        match (node, program) {
            (Some(node), _) => Ok(attach::output(&self.config, &node, mode)),
            (None, Some(program)) => spawn::output(&self.config, &program, mode, launch),
            (None, None) => {
                Err(DisplayError::Absent { backend: NAME, looked_for: "gamescope on the PATH".into() })
            }
        }
    }
}

/// The gamescope to be shown as it is: the configured one, or in Game Mode the one that runs there.
///
/// # Errors
/// [`DisplayError::Unsupported`] when the configured one is not there.
fn running(config: &DisplayConfig, limit: Duration) -> Result<Option<Node>, DisplayError> {
    let game_mode = config.session.current_desktop().iter().any(|name| name == NAME);
    if config.gamescope_node.is_none() && !game_mode {
        return Ok(None);
    }
    let nodes = match Dump::take(&config.session, limit) {
        Ok(dump) => dump.gamescopes(),
        // The user says which: that it cannot be looked up is no reason not to believe it.
        Err(error) => {
            tracing::warn!(%error, "PipeWire's objects cannot be listed with pw-dump");
            return Ok(config.gamescope_node.map(|id| Node { id, pid: None, size: None }));
        }
    };
    match config.gamescope_node {
        Some(wanted) => nodes.iter().find(|node| node.id == wanted).copied().map(Some).ok_or_else(|| {
            let ids: Vec<_> = nodes.iter().map(|node| node.id.to_string()).collect();
            let found = if ids.is_empty() { "none".to_owned() } else { ids.join(", ") };
            DisplayError::Unsupported {
                backend: NAME,
                cause: format!(
                    "node {wanted} is set, and PipeWire has no such node of gamescope (found: {found})"
                ),
                remedy: "Set capture.gamescope_node (LUMEN_GAMESCOPE_NODE) to the number in its log line \
                    `stream available on node ID`, or take it out of the configuration"
                    .into(),
            }
        }),
        // What Lumen started for another client is not the user's desktop.
        None => Ok(nodes.into_iter().find(|node| !node.pid.is_some_and(marks::is_marked))),
    }
}

/// The program that owns a node; the installed one where the kernel does not tell.
fn program_of(config: &DisplayConfig, node: &Node) -> Option<PathBuf> {
    let own = node.pid.and_then(marks::program).filter(|path| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(NAME))
    });
    own.or_else(|| tool::find(&config.session, NAME))
}

/// What all outputs of gamescope have in common.
fn source(id: u32, size: Option<(u32, u32)>) -> OutputSource {
    OutputSource::PipeWire(PipeWireTarget {
        remote_fd: None,
        node: NodeTarget::Id(id),
        size,
        rate: RateRequest::DontAsk,
        cursor_metadata: false,
    })
}

fn report(reason: String) -> PathReport {
    PathReport { effective: NAME.to_owned(), reason, ..PathReport::default() }
}

#[cfg(test)]
mod tests;
