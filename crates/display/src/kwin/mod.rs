//! KDE Plasma: a virtual output by KWin's screencast protocol, its rate and place by KWin's output management.

mod facts;
mod layout;
mod link;
mod live;
mod obstacle;
mod outputs;
mod protocol;
pub mod setup;

use crate::backend::{Backend, Finding, State};
use crate::no_input::NoInput;
use crate::{DisplayConfig, DisplayKind};
use facts::Facts;
use link::{KWIN, Link, Until};
use lumen_media::{
    AppLaunch, DisplayError, Mode, OutputSource, PathReport, PipeWireTarget, RateRequest, VirtualDisplay,
    VirtualOutput, clock,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) const BACKEND: Backend = Backend { kind: DisplayKind::Kwin, look, open, clean_up };

/// How long one socket gets to say what it is.
const GREETING: Duration = Duration::from_millis(600);
/// How long KWin gets to talk about itself.
const TALK: Duration = Duration::from_millis(900);

struct KwinDisplay {
    config: DisplayConfig,
}

fn look(config: &DisplayConfig) -> Finding {
    let facts = Facts::ask(config, TALK);
    let finding = |state, version| Finding { kind: DisplayKind::Kwin, state, version };
    let Some((_, link)) = find(config, Until::within(Duration::from_secs(1))) else {
        return if facts.x11 {
            let cause = format!("{} runs on X11, where it has no virtual outputs", facts.title());
            let remedy = "Choose the Plasma session on Wayland at the login".into();
            finding(State::Obstructed { cause, remedy }, facts.title())
        } else {
            Finding::absent(DisplayKind::Kwin)
        };
    };
    let state = obstacle::find(config, &facts, &link.state).map_or(State::Ready, |obstacle| {
        State::Obstructed { cause: obstacle.cause, remedy: obstacle.remedy }
    });
    finding(state, facts.title())
}

fn open(config: &DisplayConfig) -> Result<Box<dyn VirtualDisplay>, DisplayError> {
    Ok(Box::new(KwinDisplay { config: config.clone() }))
}

fn clean_up(config: &DisplayConfig) {
    if let Some((socket, _)) = find(config, Until::within(Duration::from_secs(1))) {
        live::clean_up(config, &socket);
    }
}

/// KWin's socket, and a connection that knows its globals. Sockets that do not answer are passed over.
fn find(config: &DisplayConfig, until: Until<'_>) -> Option<(PathBuf, Link)> {
    config.session.wayland_sockets().into_iter().find_map(|socket| {
        let greeting = clock::now() + GREETING;
        let deadline = until.deadline.map_or(greeting, |deadline| deadline.min(greeting));
        let link = Link::open(&socket, Until { deadline: Some(deadline), end: until.end });
        let link = link.inspect_err(|stopped| tracing::debug!(socket = %socket.display(), ?stopped, "no answer"));
        Some((socket, link.ok().filter(|link| link.state.is_kwin())?))
    })
}

impl VirtualDisplay for KwinDisplay {
    fn name(&self) -> &'static str {
        "kwin"
    }

    fn create(&self, mode: Mode, _launch: &AppLaunch) -> Result<VirtualOutput, DisplayError> {
        let found = find(&self.config, Until::within(Duration::from_secs(2)));
        let (socket, link) = found.ok_or_else(|| DisplayError::Absent {
            backend: KWIN,
            looked_for: format!("Wayland sockets in {}", self.config.session.runtime_dir.display()),
        })?;
        drop(link);
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
            input: NoInput::of("kwin"),
            env: self.environment(&socket),
            set_mode: None,
            contained_app: None,
            keepalive: Box::new(keepalive),
        })
    }
}

impl KwinDisplay {
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
        env.extend(facts.version.map(|(major, ..)| pair("KDE_SESSION_VERSION", major.to_string())));
        let mut x11 = facts.x11_display();
        if x11.is_empty() {
            let inherited = ["DISPLAY", "XAUTHORITY"].into_iter();
            x11 = inherited.filter_map(|name| Some(pair(name, session.variable(name)?.to_owned()))).collect();
        }
        env.extend(x11);
        env
    }
}
