use super::{Mode, UP, desktop, start_with_socket, variables, version_of};
use crate::{LabError, Process, Session};
use std::collections::BTreeMap;

/// How to start Mutter.
#[derive(Clone, Debug, Default)]
pub struct MutterOptions {
    /// Monitors that exist from the start (`Meta-0`, …). None: the first output is the one that a client asks for.
    pub monitors: Vec<Mode>,
}

/// A running Mutter without a screen and without the shell.
#[derive(Debug)]
pub struct Mutter {
    process: Process,
    variables: BTreeMap<String, String>,
    session: Session,
}

desktop!(Mutter);

impl Mutter {
    /// Starts Mutter and waits until its screen cast and remote desktop services are on the bus.
    ///
    /// # Errors
    /// When it is missing, ends, or does not come up.
    pub fn start(session: &Session, options: &MutterOptions) -> Result<Self, LabError> {
        // It asks logind for its seat there, and takes no for an answer, but not silence.
        session.start_system_bus()?;
        let desktop = [("XDG_CURRENT_DESKTOP", "GNOME"), ("XDG_SESSION_TYPE", "wayland")];
        let mut command = session.command("mutter");
        command
            .args(["--headless", "--wayland", "--no-x11"])
            .envs(desktop)
            .env("MUTTER_DEBUG", "screen-cast,remote-desktop,eis");
        for Mode { width, height, hertz } in &options.monitors {
            command.arg("--virtual-monitor").arg(format!("{width}x{height}@{hertz}"));
        }
        let (process, display) = start_with_socket(session, "mutter", command)?;
        let names = [
            "org.gnome.Mutter.ScreenCast",
            "org.gnome.Mutter.RemoteDesktop",
            "org.gnome.Mutter.DisplayConfig",
        ];
        for name in names {
            session.wait_for_name(name, &process, UP)?;
        }
        let mut variables = variables([("WAYLAND_DISPLAY", display.as_str())]);
        variables.extend(super::variables(desktop));
        Ok(Self { process, variables, session: session.clone() })
    }

    /// What `mutter --version` says.
    ///
    /// # Errors
    /// When it does not run.
    pub fn version(&self) -> Result<String, LabError> {
        version_of(&self.session, "mutter", &["--version"])
    }
}
