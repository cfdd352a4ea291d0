//! Shows an existing monitor through xdg-desktop-portal.
//!
//! Where the desktop has a RemoteDesktop portal (KDE Plasma, GNOME) the picture is selected on a session of that, so that
//! one grant covers picture and input; elsewhere (wlroots) it is a plain ScreenCast session. The session lives as long as
//! the [`Portal`]: a second output shows the same one, without a second question.
//!
//! This speaks D-Bus itself because the ready-made library awaits an answer inside its calls, where one that is late
//! cannot be closed.

mod grant;
mod input;
mod link;
mod pulse;
mod remedy;
mod session;
mod tokens;

pub use grant::{authorize, authorized, deauthorize};

use crate::backend::{Backend, Finding, State};
use crate::{DisplayConfig, DisplayKind, bus};
use link::Link;
use lumen_media::{
    AppLaunch, DisplayError, Mode, NodeTarget, OutputSource, PathReport, PipeWireTarget, RateRequest,
    VirtualDisplay, VirtualOutput,
};
use session::{Abilities, Purpose, Session};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokens::Tokens;
use zbus::fdo::DBusProxy;
use zbus::names::WellKnownName;

pub(crate) const BACKEND: Backend = Backend { kind: DisplayKind::Portal, look, open, clean_up };

/// Name in errors and logs.
const NAME: &str = "portal";
/// For a look, all together.
const LOOK_LIMIT: Duration = Duration::from_secs(2);
/// Steps of a session that are answered by programs, beside the two that may be answered by a person.
const STEPS: u32 = 5;

/// How long the portal may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For each step that programs answer.
    pub step: Duration,
    /// For the step in which somebody may have to click.
    pub person: Duration,
}

impl Patience {
    /// A person sees the question, reads it and clicks; a client that waits for its first picture gives up soon after.
    pub const DEFAULT: Self = Self { step: Duration::from_secs(5), person: Duration::from_secs(15) };
}

/// Existing monitors, shown through the portal of the desktop. Keeps its session, and with it the grant, until it is
/// dropped.
pub struct Portal {
    config: DisplayConfig,
    patience: Patience,
    /// The session with a picture; held for the next output.
    held: Mutex<Option<Arc<Session>>>,
    input: input::Input,
}

impl Portal {
    /// Asks nothing yet.
    pub fn new(config: DisplayConfig, patience: Patience) -> Self {
        Self { config, patience, held: Mutex::new(None), input: input::Input::default() }
    }

    /// A connection to the compositor's input emulation (EIS) under the grant of the session that shows the picture, or
    /// under one of its own when no picture is shown. Input ends when the connection is closed.
    ///
    /// # Errors
    /// [`DisplayError::Unsupported`] on desktops whose portal takes no input, else as [`VirtualDisplay::create`].
    pub fn connect_input(&self) -> Result<InputConnection, DisplayError> {
        let mut held = self.held();
        self.wait("its session for input", async {
            let session = match held.as_ref().filter(|session| session.over().is_none()) {
                Some(session) => session.clone(),
                None => {
                    *held = None;
                    Arc::new(self.establish(Purpose::Input).await?)
                }
            };
            Ok(InputConnection { socket: session.connect_input().await?, _session: session })
        })
    }

    fn held(&self) -> MutexGuard<'_, Option<Arc<Session>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The held session, if it still lives, else a new one; with a connection to its pictures.
    async fn picture(
        &self,
        held: &mut Option<Arc<Session>>,
    ) -> Result<(Arc<Session>, OwnedFd), DisplayError> {
        if let Some(session) = held.take() {
            match session.reopen_pipewire().await {
                Ok(remote) => {
                    *held = Some(session.clone());
                    return Ok((session, remote));
                }
                Err(error) => tracing::debug!(%error, "the held session is over: asking for another"),
            }
        }
        let session = Arc::new(self.establish(Purpose::Picture).await?);
        let remote = session.open_pipewire().await?;
        *held = Some(session.clone());
        Ok((session, remote))
    }

    async fn establish(&self, purpose: Purpose) -> Result<Session, DisplayError> {
        let link = Link::connect(&self.config.session, true, self.patience.step).await?;
        let tokens = Tokens::new(&self.config.state_dir, &self.config.session.current_desktop());
        Session::establish(link, purpose, &tokens, self.patience).await
    }

    fn wait<T>(
        &self,
        waited_for: &str,
        future: impl Future<Output = Result<T, DisplayError>>,
    ) -> Result<T, DisplayError> {
        let limit = self.patience.step * STEPS + self.patience.person * 2;
        let withdrawn = || DisplayError::Gone {
            backend: NAME,
            cause: "the host stops, and nobody is asked any more".to_owned(),
        };
        bus::wait(NAME, waited_for, limit, async {
            tokio::select! {
                biased;
                result = future => result,
                () = self.config.questions.withdrawn() => Err(withdrawn()),
            }
        })
    }
}

impl VirtualDisplay for Portal {
    fn name(&self) -> &'static str {
        NAME
    }

    fn create(&self, mode: Mode, _launch: &AppLaunch) -> Result<VirtualOutput, DisplayError> {
        let mut held = self.held();
        let (session, remote) = self.wait("its session", self.picture(&mut held))?;
        drop(held);
        let Some(stream) = session.stream.as_ref() else {
            return Err(DisplayError::Gone { backend: NAME, cause: "the session shows nothing".to_owned() });
        };
        let effective_mode = monitor_mode(stream.size, mode)?;
        Ok(VirtualOutput {
            path: PathReport {
                effective: NAME.to_owned(),
                reason: reason(effective_mode, mode),
                ..PathReport::default()
            },
            source: OutputSource::PipeWire(PipeWireTarget {
                remote_fd: Some(remote),
                node: NodeTarget::Id(stream.node),
                // The monitor has its size; a wish of ours would only shrink the choice of formats.
                size: None,
                rate: RateRequest::UpTo(mode),
                cursor_metadata: session.cursor_metadata(),
            }),
            effective_mode,
            input: self.input.of(&self.config, &session, stream),
            pulse: pulse::of(&self.config),
            env: environment(&self.config),
            set_mode: None,
            lasting: true,
            contained_app: None,
            keepalive: Box::new(session),
        })
    }
}

/// A socket for a client of libei, and the session that it belongs to.
pub struct InputConnection {
    /// The socket.
    pub socket: OwnedFd,
    _session: Arc<Session>,
}

/// The monitor's own size; its refresh rate is not told, so that of the asked mode stands in.
fn monitor_mode(size: Option<(u32, u32)>, asked: Mode) -> Result<Mode, DisplayError> {
    let Some((width, height)) = size else { return Ok(asked) };
    Mode::new(width, height, asked.refresh_mhz()).map_err(|error| DisplayError::Unsupported {
        backend: NAME,
        cause: format!("the monitor's size: {error}"),
        remedy: "Choose another monitor in the desktop's question, or set display.source to `virtual`"
            .to_owned(),
    })
}

fn reason(effective: Mode, asked: Mode) -> String {
    let size = |mode: Mode| format!("{}x{}", mode.width(), mode.height());
    let (own, wanted) = (size(effective), size(asked));
    if own == wanted {
        return format!("an existing monitor is shown at its own size, {own}");
    }
    format!("an existing monitor is shown at its own size, {own}, and scaled to {wanted}")
}

/// What an app needs to open on the desktop that is shown.
fn environment(config: &DisplayConfig) -> Vec<(String, String)> {
    let session = &config.session;
    let known = ["WAYLAND_DISPLAY", "DISPLAY", "XDG_CURRENT_DESKTOP"];
    let mut env: Vec<_> = known
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), session.variable(name)?.to_owned())))
        .collect();
    if session.variable("WAYLAND_DISPLAY").is_none()
        && let Some(socket) = session.wayland_sockets().first()
    {
        env.push(("WAYLAND_DISPLAY".to_owned(), socket.display().to_string()));
    }
    env.extend(session.bus_address().map(|address| ("DBUS_SESSION_BUS_ADDRESS".to_owned(), address)));
    env.push(("XDG_RUNTIME_DIR".to_owned(), session.runtime_dir.display().to_string()));
    env
}

fn look(config: &DisplayConfig) -> Finding {
    let found = |state, version| Finding { kind: DisplayKind::Portal, state, version };
    let obstructed = |cause: String, remedy: &str| State::Obstructed { cause, remedy: remedy.to_owned() };
    match bus::wait(NAME, "a look", LOOK_LIMIT, abilities(config)) {
        Ok(Some(abilities)) => {
            let state = if abilities.shows_monitors() {
                State::Ready
            } else {
                obstructed("the portal runs, but shows no monitors on this desktop".to_owned(), remedy::HALF)
            };
            found(state, version(abilities))
        }
        Ok(None) => found(State::Ready, "xdg-desktop-portal, not started yet".to_owned()),
        Err(DisplayError::Absent { .. }) => Finding::absent(DisplayKind::Portal),
        Err(error) => found(obstructed(error.to_string(), remedy::LOG), "xdg-desktop-portal".to_owned()),
    }
}

fn version(abilities: Abilities) -> String {
    let input = match abilities.remote_desktop {
        0 => "no RemoteDesktop".to_owned(),
        version => format!("RemoteDesktop {version}"),
    };
    format!("xdg-desktop-portal: ScreenCast {}, {input}", abilities.screen_cast)
}

/// What the running portal can do; `None` when it is installed, a desktop runs, and nobody has used it yet. It is not
/// started for a look: started without a desktop it would stay useless after the desktop has come.
async fn abilities(config: &DisplayConfig) -> Result<Option<Abilities>, DisplayError> {
    let absent = || DisplayError::Absent { backend: NAME, looked_for: link::BUS_NAME.to_owned() };
    let broken = |error: zbus::fdo::Error| DisplayError::Gone { backend: NAME, cause: error.to_string() };
    let address = config.session.bus_address().ok_or_else(absent)?;
    let connection = bus::connect(NAME, &address).await?;
    let dbus = DBusProxy::new(&connection).await.map_err(|error| broken(error.into()))?;
    let name = WellKnownName::from_static_str_unchecked(link::BUS_NAME);
    if !dbus.name_has_owner(name.into()).await.map_err(broken)? {
        let installed = dbus.list_activatable_names().await.map_err(broken)?;
        let installed = installed.iter().any(|name| name.as_str() == link::BUS_NAME);
        let desktop =
            !config.session.wayland_sockets().is_empty() || config.session.variable("DISPLAY").is_some();
        return if installed && desktop { Ok(None) } else { Err(absent()) };
    }
    let link = Link::connect(&config.session, false, LOOK_LIMIT).await?;
    let abilities = Abilities::of(&link, LOOK_LIMIT).await;
    abilities.map(Some).map_err(|failure| session::explain(failure, "its properties"))
}

fn open(config: &DisplayConfig) -> Result<Box<dyn VirtualDisplay>, DisplayError> {
    Ok(Box::new(Portal::new(config.clone(), Patience::DEFAULT)))
}

/// A portal's session ends with the connection of the host that made it: nothing is left behind.
fn clean_up(_config: &DisplayConfig) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(width: u32, height: u32, refresh_mhz: u32) -> Mode {
        Mode::new(width, height, refresh_mhz).expect("a mode")
    }

    #[test]
    fn a_monitor_keeps_its_size_and_takes_the_asked_rate() {
        let asked = mode(1920, 1080, 120_000);
        let own = monitor_mode(Some((1280, 720)), asked).expect("a size within the limits");
        assert_eq!(own, mode(1280, 720, 120_000));
        assert!(reason(own, asked).contains("1280x720, and scaled to 1920x1080"));
        assert!(!reason(own, own).contains("scaled"));
        assert_eq!(monitor_mode(None, asked).expect("as asked"), asked);
        let text = monitor_mode(Some((64, 64)), asked).expect_err("too small").to_string();
        assert!(text.contains("64x64"), "{text}");
    }

    #[test]
    fn without_a_session_bus_there_is_no_portal() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let config = DisplayConfig::new(dir.path());
        assert_eq!(look(&config), Finding::absent(DisplayKind::Portal));
        let portal = open(&config).expect("cheap");
        let error =
            portal.create(mode(640, 360, 60_000), &AppLaunch::default()).err().expect("nothing there");
        assert!(matches!(error, DisplayError::Absent { .. }), "{error}");
    }
}
