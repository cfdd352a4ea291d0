use super::{Mode, UP, desktop, start_with_socket, variables, version_of};
use crate::{LabError, Process, Session};
use std::collections::BTreeMap;

/// A running weston whose only screen is a PipeWire node (`weston.pipewire`): a source of pictures, with no way in for
/// input.
#[derive(Debug)]
pub struct Weston {
    process: Process,
    variables: BTreeMap<String, String>,
    node: u32,
    session: Session,
}

desktop!(Weston);

impl Weston {
    /// Starts weston and waits for its node.
    ///
    /// # Errors
    /// When it is missing, ends, or brings up no node.
    pub fn start(session: &Session, mode: Mode) -> Result<Self, LabError> {
        let Mode { width, height, hertz } = mode;
        let config = format!(
            "[core]\nidle-time=0\n[shell]\npanel-position=none\nlocking=false\n\
             [output]\nname=pipewire\nmode={width}x{height}@{hertz}\n"
        );
        let config = session.write_config("weston.ini", &config)?;
        let mut command = session.command("weston");
        command
            .args(["--backend=pipewire", "--renderer=pixman", "--idle-time=0"])
            .arg(format!("--config={}", config.display()))
            .arg(format!("--width={width}"))
            .arg(format!("--height={height}"));
        let (process, display) = start_with_socket(session, "weston", command)?;
        let node = process.wait_until("node of weston", UP, || {
            let nodes = session.video_nodes().ok()?;
            nodes.into_iter().find(|(_, name)| name == "weston.pipewire").map(|(id, _)| id)
        })?;
        let variables = variables([
            ("WAYLAND_DISPLAY", display.as_str()),
            ("XDG_CURRENT_DESKTOP", "weston"),
            ("XDG_SESSION_TYPE", "wayland"),
        ]);
        Ok(Self { process, variables, node, session: session.clone() })
    }

    /// Id of its PipeWire node.
    pub fn node(&self) -> u32 {
        self.node
    }

    /// What `weston --version` says.
    ///
    /// # Errors
    /// When it does not run.
    pub fn version(&self) -> Result<String, LabError> {
        version_of(&self.session, "weston", &["--version"])
    }
}
