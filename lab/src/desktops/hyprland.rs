use super::{Mode, UP, desktop, start_with_socket, variables, version_of};
use crate::{LabError, Process, Session};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// How to start Hyprland.
#[derive(Clone, Debug, Default)]
pub struct HyprlandOptions {
    /// Mode of the monitors that are there from the start.
    pub mode: Mode,
    /// More lines of its configuration.
    pub config: String,
}

/// A running Hyprland. Needs a KMS card and udev.
#[derive(Debug)]
pub struct Hyprland {
    process: Process,
    variables: BTreeMap<String, String>,
    socket: PathBuf,
    session: Session,
}

desktop!(Hyprland);

impl Hyprland {
    /// Starts Hyprland and waits until its IPC answers.
    ///
    /// # Errors
    /// When it is missing, ends, or does not answer.
    pub fn start(session: &Session, options: &HyprlandOptions) -> Result<Self, LabError> {
        let Mode { width, height, hertz } = options.mode;
        let config = format!(
            "monitor=,{width}x{height}@{hertz},auto,1\n\
             misc {{\n disable_hyprland_logo = true\n disable_splash_rendering = true\n}}\n\
             animations {{\n enabled = false\n}}\n\
             decoration {{\n blur {{\n enabled = false\n}}\n shadow {{\n enabled = false\n}}\n}}\n\
             ecosystem {{\n no_update_news = true\n no_donation_nag = true\n}}\n\
             xwayland {{\n enabled = false\n}}\n{}\n",
            options.config
        );
        let config = session.write_config("hypr/hyprland.conf", &config)?;
        let desktop = [("XDG_CURRENT_DESKTOP", "Hyprland"), ("XDG_SESSION_TYPE", "wayland")];
        let mut command = session.command("Hyprland");
        // It refuses to run as root unless told so by this name.
        command.arg("--config").arg(config).arg("--i-am-really-stupid").envs(desktop);
        let (process, display) = start_with_socket(session, "Hyprland", command)?;
        let folder = session.runtime_dir().join("hypr");
        let socket = process.wait_until("IPC socket of Hyprland", UP, || {
            let instances = std::fs::read_dir(&folder).ok()?.flatten();
            let sockets = instances.map(|entry| entry.path().join(".socket.sock"));
            sockets.into_iter().find(|socket| UnixStream::connect(socket).is_ok())
        })?;
        let instance = socket.parent().and_then(|folder| folder.file_name()).unwrap_or_default();
        let mut variables = variables([
            ("WAYLAND_DISPLAY", display.as_str()),
            ("HYPRLAND_INSTANCE_SIGNATURE", &instance.to_string_lossy()),
        ]);
        variables.extend(super::variables(desktop));
        let hyprland = Self { process, variables, socket, session: session.clone() };
        hyprland.process.wait_until("answer of Hyprland", UP, || hyprland.ask("j/monitors").ok())?;
        Ok(hyprland)
    }

    /// One request of its IPC, as `hyprctl` would send it (`j/monitors`, `dispatch …`); the answer's text.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn ask(&self, request: &str) -> Result<String, LabError> {
        let limit = Some(crate::patient(Duration::from_secs(5)));
        let mut stream = UnixStream::connect(&self.socket).map_err(LabError::file(&self.socket))?;
        let mut answer = String::new();
        (|| {
            stream.set_read_timeout(limit)?;
            stream.set_write_timeout(limit)?;
            stream.write_all(request.as_bytes())?;
            stream.read_to_string(&mut answer)
        })()
        .map_err(LabError::file(&self.socket))?;
        Ok(answer)
    }

    /// Its monitors.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn monitors(&self) -> Result<Vec<serde_json::Value>, LabError> {
        let answer = self.ask("j/monitors all")?;
        serde_json::from_str(&answer).map_err(|_| LabError::Answer { program: "Hyprland".into(), answer })
    }

    /// What `Hyprland --version` says.
    ///
    /// # Errors
    /// When it does not run.
    pub fn version(&self) -> Result<String, LabError> {
        version_of(&self.session, "Hyprland", &["--version"])
    }
}
