//! KDE Plasma: a virtual output by KWin's screencast protocol, its rate and place by KWin's output management.

mod facts;
mod input;
mod layout;
mod link;
mod live;
mod obstacle;
mod outputs;
mod protocol;
pub mod setup;

use crate::backend::{Backend, Finding, State};
use crate::{DisplayConfig, DisplayKind, Topology, pulse};
use facts::Facts;
use link::{KWIN, Link, Stopped, Until};
use lumen_media::{
    AppLaunch, DisplayError, InputEvent, InputSink, Mode, OutputSource, PathReport, PipeWireTarget,
    RateRequest, VirtualDisplay, VirtualOutput, clock,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// For the pointer to get to a new output, before an app is started there.
const POINTER: Duration = Duration::from_secs(1);

pub(crate) const BACKEND: Backend = Backend { kind: DisplayKind::Kwin, look, open, clean_up };

/// How long one socket gets to say what it is, when we only look.
const GLANCE: Duration = Duration::from_millis(900);
/// The same, when an output is wanted: KWin may be busy drawing.
const GREETING: Duration = Duration::from_secs(3);
/// How long KWin gets to talk about itself.
const TALK: Duration = Duration::from_millis(900);

struct KwinDisplay {
    config: DisplayConfig,
}

fn look(config: &DisplayConfig) -> Finding {
    let found = find(config, GLANCE);
    let facts = Facts::ask(config, TALK);
    let finding = |state| Finding { kind: DisplayKind::Kwin, state, version: facts.title() };
    let obstructed = |cause: String, remedy: &str| State::Obstructed { cause, remedy: remedy.into() };
    match found {
        Ok((_, link)) => {
            finding(obstacle::find(config, &facts, &link.state).map_or(State::Ready, |obstacle| {
                State::Obstructed { cause: obstacle.cause, remedy: obstacle.remedy }
            }))
        }
        Err(_) if facts.x11 => finding(obstructed(
            format!("{} runs on X11, where it has no virtual outputs", facts.title()),
            "Choose the Plasma session on Wayland at the login",
        )),
        Err(Missing { silent: Some(socket) }) if is_expected(config) => finding(State::Silent {
            cause: format!("it does not answer at {}", socket.display()),
            remedy: "Look whether Plasma hangs; log out and in again".into(),
        }),
        Err(_) => Finding::absent(DisplayKind::Kwin),
    }
}

/// Whether the session says that it is Plasma's.
fn is_expected(config: &DisplayConfig) -> bool {
    config.session.current_desktop().iter().any(|name| name == "kde")
}

fn open(config: &DisplayConfig) -> Result<Box<dyn VirtualDisplay>, DisplayError> {
    Ok(Box::new(KwinDisplay { config: config.clone() }))
}

fn clean_up(config: &DisplayConfig) -> bool {
    if live::is_clean(config) {
        return true;
    }
    if let Ok((socket, _)) = find(config, GLANCE) {
        live::clean_up(config, &socket);
    }
    live::is_clean(config)
}

/// No KWin was found.
struct Missing {
    /// A compositor that may be one, but said nothing in time.
    silent: Option<PathBuf>,
}

/// KWin's socket, and a connection that knows its globals. `limit` is for all sockets together, the same for each: one
/// whose compositor hangs takes nothing from the others.
fn find(config: &DisplayConfig, limit: Duration) -> Result<(PathBuf, Link), Missing> {
    let sockets = config.session.wayland_sockets();
    let each = limit / u32::try_from(sockets.len()).unwrap_or(1).max(1);
    let mut silent = None;
    for socket in sockets {
        match Link::open(&socket, Until::within(each)) {
            Ok(link) if link.state.is_kwin() => return Ok((socket, link)),
            Ok(_) => {}
            Err(stopped) => {
                tracing::debug!(socket = %socket.display(), ?stopped, "no answer");
                if let Stopped::Deadline = stopped {
                    silent.get_or_insert(socket);
                }
            }
        }
    }
    Err(Missing { silent })
}

impl VirtualDisplay for KwinDisplay {
    fn name(&self) -> &'static str {
        "kwin"
    }

    fn create(&self, mode: Mode, _launch: &AppLaunch) -> Result<VirtualOutput, DisplayError> {
        let (socket, _) = find(&self.config, GREETING).map_err(|missing| match missing.silent {
            Some(socket) => {
                Stopped::Deadline.into_error(&format!("a greeting at {}", socket.display()), GREETING)
            }
            None => DisplayError::Absent {
                backend: KWIN,
                looked_for: format!("Wayland sockets in {}", self.config.session.runtime_dir.display()),
            },
        })?;
        let (keepalive, made) = live::create(&self.config, &socket, mode)?;
        let target = PipeWireTarget {
            remote_fd: None,
            node: made.node,
            size: Some((made.mode.width(), made.mode.height())),
            // Until 6.7 a rate that is asked for is kept with a clock of whole milliseconds, and so never reached.
            rate: RateRequest::DontAsk,
            cursor_metadata: false,
        };
        Ok(VirtualOutput {
            path: PathReport {
                requested: String::new(),
                effective: DisplayKind::Kwin.to_string(),
                reason: made.reason,
            },
            source: OutputSource::PipeWire(target),
            effective_mode: made.mode,
            input: self.input(&socket, &made.name),
            pulse: pulse::of(&socket),
            env: self.environment(&socket),
            set_mode: None,
            lasting: false,
            contained_app: None,
            keepalive: Box::new(keepalive),
        })
    }
}

/// A sink for input to the output called `output` of the running KWin; `None` when there is none.
pub fn kwin_input(config: &DisplayConfig, output: &str) -> Option<Arc<dyn InputSink>> {
    let (socket, _) = find(config, GREETING).ok()?;
    Some(input::sink(config, &socket, output))
}

impl KwinDisplay {
    /// A sink for the new output. KWin forgets where its focus was moved to when the sink's pointer is plugged in, and opens
    /// windows where the pointer is; so the pointer goes to the client's output, where the client sees it.
    fn input(&self, socket: &Path, output: &str) -> Arc<dyn InputSink> {
        let sink = input::sink(&self.config, socket, output);
        if self.config.topology != Topology::Extend {
            sink.send(InputEvent::PointerAbsolute { x: 0.5, y: 0.5 });
            let until = clock::now() + POINTER;
            let arrived = || {
                let report = sink.report();
                report.delivered + report.dropped > 0
            };
            while !arrived() && clock::now() < until {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        sink
    }

    /// What a program needs to open in this KWin.
    fn environment(&self, socket: &Path) -> Vec<(String, String)> {
        let session = &self.config.session;
        let pair = |name: &str, value: String| (name.to_owned(), value);
        let display = match socket.strip_prefix(&session.runtime_dir) {
            Ok(name) => name.display().to_string(),
            Err(_) => socket.display().to_string(),
        };
        let mut env = vec![
            pair("XDG_RUNTIME_DIR", session.runtime_dir.display().to_string()),
            pair("WAYLAND_DISPLAY", display),
            pair("XDG_SESSION_TYPE", "wayland".into()),
            pair("XDG_CURRENT_DESKTOP", "KDE".into()),
            pair("KDE_FULL_SESSION", "true".into()),
        ];
        env.extend(session.bus_address().map(|address| pair("DBUS_SESSION_BUS_ADDRESS", address)));
        let facts = Facts::ask(&self.config, TALK);
        env.extend(
            session.variable("KDE_SESSION_VERSION").map(|value| pair("KDE_SESSION_VERSION", value.into())),
        );
        let mut x11 = facts.x11_display();
        if x11.is_empty() {
            let inherited = ["DISPLAY", "XAUTHORITY"].into_iter();
            x11 = inherited.filter_map(|name| Some(pair(name, session.variable(name)?.to_owned()))).collect();
        }
        env.extend(x11);
        env
    }
}
