use super::{desktop, start_with_socket, variables, version_of};
use crate::{LabError, Process, Session};
use std::collections::BTreeMap;

/// A running labwc without a screen: a wlroots desktop that cannot make outputs. Its monitor is `HEADLESS-1`.
#[derive(Debug)]
pub struct Labwc {
    process: Process,
    variables: BTreeMap<String, String>,
    session: Session,
}

desktop!(Labwc);

impl Labwc {
    /// Starts labwc and waits for its Wayland socket.
    ///
    /// # Errors
    /// When it is missing, ends, or does not come up.
    pub fn start(session: &Session) -> Result<Self, LabError> {
        let desktop = [("XDG_CURRENT_DESKTOP", "labwc:wlroots"), ("XDG_SESSION_TYPE", "wayland")];
        let mut command = session.command("labwc");
        command.arg("-d").envs(desktop).env("WLR_BACKENDS", "headless").env("WLR_RENDERER", "pixman");
        let (process, display) = start_with_socket(session, "labwc", command)?;
        let mut variables = variables([("WAYLAND_DISPLAY", display.as_str())]);
        variables.extend(super::variables(desktop));
        Ok(Self { process, variables, session: session.clone() })
    }

    /// What `labwc --version` says.
    ///
    /// # Errors
    /// When it does not run.
    pub fn version(&self) -> Result<String, LabError> {
        version_of(&self.session, "labwc", &["--version"])
    }
}
