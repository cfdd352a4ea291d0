use super::{Mode, UP, desktop, start_with_socket, variables, version_of};
use crate::{LabError, Process, Session};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// How KWin draws.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KwinRenderer {
    /// On the processor; runs everywhere, but casts no screen.
    #[default]
    QPainter,
    /// With OpenGL; needs a DRM render node.
    OpenGl,
}

/// How to start KWin.
#[derive(Clone, Debug)]
pub struct KwinOptions {
    /// Number of monitors (`Virtual-0`, …), all of the size of `mode`.
    pub outputs: u32,
    /// Size of the monitors; their refresh rate is always 60 Hz.
    pub mode: Mode,
    /// How it draws.
    pub renderer: KwinRenderer,
    /// Whether it asks a program's `.desktop` file before it shows it restricted protocols, as on a user's machine.
    pub permission_checks: bool,
    /// With Xwayland.
    pub xwayland: bool,
}

impl Default for KwinOptions {
    fn default() -> Self {
        Self {
            outputs: 1,
            mode: Mode::default(),
            renderer: KwinRenderer::default(),
            permission_checks: true,
            xwayland: false,
        }
    }
}

/// A running KWin without a screen.
#[derive(Debug)]
pub struct Kwin {
    process: Process,
    variables: BTreeMap<String, String>,
    session: Session,
}

desktop!(Kwin);

/// KWin where it sees the first card only: beside virtio-gpu's it gets no buffers from vgem, and offers no dmabufs.
fn with_one_card(session: &Session) -> Command {
    let first = crate::render_node().map(|node| node.to_string_lossy().into_owned()).unwrap_or_default();
    let number = first
        .trim_start_matches("/dev/dri/renderD")
        .parse::<u32>()
        .map_or(0, |minor| minor.saturating_sub(128));
    let script = "for node in /dev/dri/card* /dev/dri/renderD*; do
            case $node in \"$1\" | \"$2\") ;; *) mount --bind /dev/null \"$node\" ;; esac
        done; shift 2; exec kwin_wayland \"$@\"";
    let mut command = session.command("unshare");
    command.args(["--mount", "sh", "-c", script, "kwin_wayland", &first, &format!("/dev/dri/card{number}")]);
    command
}

impl Kwin {
    /// Starts KWin and waits until it is on the bus.
    ///
    /// # Errors
    /// When it is missing, ends, or does not come up.
    pub fn start(session: &Session, options: &KwinOptions) -> Result<Self, LabError> {
        // Not KDE_SESSION_VERSION: with it Qt loads Plasma's theme into KWin, which crashes where Plasma is not installed.
        let desktop = [
            ("XDG_CURRENT_DESKTOP", "KDE"),
            ("XDG_SESSION_TYPE", "wayland"),
            ("XDG_SESSION_DESKTOP", "KDE"),
            ("KDE_FULL_SESSION", "true"),
            ("QT_QPA_PLATFORM", "wayland"),
        ];
        // A socket of ours: KWin takes only names that it is told, else the one of a parent compositor.
        let display = (0..).map(|number| format!("wayland-{number}"));
        let taken = session.wayland_displays();
        let display = display.into_iter().find(|name| !taken.contains(name)).unwrap_or_default();
        let mut command = match options.renderer {
            KwinRenderer::OpenGl if crate::in_vm() => with_one_card(session),
            _ => session.command("kwin_wayland"),
        };
        command
            .arg("--virtual")
            .args(["--width", &options.mode.width.to_string(), "--height", &options.mode.height.to_string()])
            .args(["--output-count", &options.outputs.to_string()])
            .args(["--no-lockscreen", "--no-global-shortcuts", "--socket", &display])
            .envs(desktop)
            // The compositor itself is nobody's Wayland client.
            .env_remove("QT_QPA_PLATFORM")
            .env(
                "QT_LOGGING_RULES",
                "kwin_core.debug=true;kwin_screencast.debug=true;kwin_virtual*.debug=true",
            )
            .env("KWIN_COMPOSE", if options.renderer == KwinRenderer::OpenGl { "O2" } else { "Q" });
        if options.xwayland {
            command.arg("--xwayland");
        }
        if !options.permission_checks {
            command
                .env("KWIN_WAYLAND_NO_PERMISSION_CHECKS", "1")
                .env("KWIN_SCREENSHOT_NO_PERMISSION_CHECKS", "1");
        }
        let (process, display) = start_with_socket(session, "kwin_wayland", command)?;
        session.wait_for_name("org.kde.KWin", &process, UP)?;
        let mut variables = variables([("WAYLAND_DISPLAY", display.as_str())]);
        variables.extend(super::variables(desktop));
        Ok(Self { process, variables, session: session.clone() })
    }

    /// What `kwin_wayland --version` says.
    ///
    /// # Errors
    /// When it does not run.
    pub fn version(&self) -> Result<String, LabError> {
        version_of(&self.session, "kwin_wayland", &["--version"])
    }

    /// Lets the program at `program` see the restricted `interfaces` (Wayland names), by a `.desktop` file `name`.
    ///
    /// # Errors
    /// [`LabError::File`].
    pub fn authorize(
        session: &Session,
        name: &str,
        program: &Path,
        interfaces: &[&str],
    ) -> Result<(), LabError> {
        let folder = session.data_dir().join("applications");
        let path = folder.join(format!("{name}.desktop"));
        let text = format!(
            "[Desktop Entry]\nType=Application\nName={name}\nExec={}\nNoDisplay=true\n\
             X-KDE-Wayland-Interfaces={}\n",
            program.display(),
            interfaces.join(",")
        );
        std::fs::create_dir_all(&folder).map_err(LabError::file(&folder))?;
        std::fs::write(&path, text).map_err(LabError::file(&path))
    }
}
