use super::{Mode, UP, desktop, start_with_socket, variables, version_of};
use crate::{LabError, Process, Session, wait_for};
use std::collections::BTreeMap;

/// The whole GNOME Shell, with Mutter inside and without a screen, in its overview as after a login.
#[derive(Debug)]
pub struct GnomeShell {
    process: Process,
    variables: BTreeMap<String, String>,
    session: Session,
}

desktop!(GnomeShell);

impl GnomeShell {
    /// Starts it with one monitor and waits until its overview is shown.
    ///
    /// # Errors
    /// When it is missing, ends, or does not come up.
    pub fn start(session: &Session, monitor: Mode) -> Result<Self, LabError> {
        session.start_system_bus()?;
        let desktop = [("XDG_CURRENT_DESKTOP", "GNOME"), ("XDG_SESSION_TYPE", "wayland")];
        let mut command = session.command("gnome-shell");
        command
            .args(["--headless", "--wayland", "--no-x11", "--unsafe-mode", "--virtual-monitor"])
            .arg(format!("{}x{}@{}", monitor.width, monitor.height, monitor.hertz))
            .envs(desktop);
        let (process, display) = start_with_socket(session, "gnome-shell", command)?;
        session.wait_for_name("org.gnome.Shell", &process, UP)?;
        process.wait_for_log("GNOME Shell started", UP)?;
        let mut variables = variables([("WAYLAND_DISPLAY", display.as_str())]);
        variables.extend(super::variables(desktop));
        let shell = Self { process, variables, session: session.clone() };
        // It opens its overview when it gets to it.
        wait_for("the overview", UP, || {
            (shell.eval("Main.overview.visible && !Main.overview.animationInProgress").ok()? == "true")
                .then_some(())
        })?;
        Ok(shell)
    }

    /// Runs a line of JavaScript in the shell; what it gave, as JSON.
    ///
    /// # Errors
    /// When the shell does not answer, or the line fails.
    pub fn eval(&self, line: &str) -> Result<String, LabError> {
        let shell = "org.gnome.Shell";
        let bus = self.session.bus()?;
        let answer = bus.call_method(Some(shell), "/org/gnome/Shell", Some(shell), "Eval", &line)?;
        match answer.body().deserialize::<(bool, String)>()? {
            (true, told) => Ok(told),
            (false, told) => {
                Err(LabError::Answer { program: "gnome-shell".into(), answer: format!("{line}: {told}") })
            }
        }
    }

    /// What the shell does while its lock screen is up, as far as screen sharing is concerned.
    ///
    /// # Errors
    /// As [`GnomeShell::eval`].
    pub fn lock(&self) -> Result<(), LabError> {
        self.eval("global.backend.get_remote_access_controller().inhibit_remote_access()").map(drop)
    }

    /// Undoes [`GnomeShell::lock`].
    ///
    /// # Errors
    /// As [`GnomeShell::eval`].
    pub fn unlock(&self) -> Result<(), LabError> {
        self.eval("global.backend.get_remote_access_controller().uninhibit_remote_access()").map(drop)
    }

    /// What `gnome-shell --version` says.
    ///
    /// # Errors
    /// When it does not run.
    pub fn version(&self) -> Result<String, LabError> {
        version_of(&self.session, "gnome-shell", &["--version"])
    }
}
