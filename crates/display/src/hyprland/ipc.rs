//! Hyprland's IPC: one request a connection, answered with text or JSON and closed.

use crate::SessionEnvironment;
use crate::session::is_socket;
use lumen_media::{DisplayError, Mode, clock};
use lumen_wayland::{connect, listener};
use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// No answer is longer: a monitor takes three kilobytes.
const LONGEST: usize = 4 << 20;

/// What `ok` looks like.
const DONE: &str = "ok";

/// A running Hyprland.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instance {
    /// Folder below `hypr` of the runtime directory.
    folder: PathBuf,
}

/// A monitor, as `j/monitors all` lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Monitor {
    pub name: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Hertz.
    pub refresh_rate: f64,
    pub x: i32,
    pub y: i32,
    pub scale: f64,
    /// As `wl_output` numbers them.
    pub transform: u8,
    pub focused: bool,
    #[serde(default)]
    pub disabled: bool,
    #[serde(default)]
    pub current_format: String,
    /// Name of another monitor, or `none`.
    #[serde(default)]
    pub mirror_of: String,
}

impl Monitor {
    /// One that Hyprland has not described yet.
    pub fn unknown() -> Self {
        Self {
            name: String::new(),
            width: 0,
            height: 0,
            refresh_rate: 0.0,
            x: 0,
            y: 0,
            scale: 1.0,
            transform: 0,
            focused: false,
            disabled: false,
            current_format: String::new(),
            mirror_of: String::new(),
        }
    }

    /// Refresh in millihertz.
    pub fn refresh_mhz(&self) -> u32 {
        (self.refresh_rate * 1000.0).round() as u32
    }

    /// Whether it shows `mode`; its refresh rate is told with five decimals of a float.
    pub fn shows(&self, mode: Mode) -> bool {
        !self.disabled
            && (self.width, self.height) == (mode.width(), mode.height())
            && self.refresh_mhz().abs_diff(mode.refresh_mhz()) <= 10
    }
}

/// How the configuration of this Hyprland is written, and with it what it is told at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// hyprland.conf: `keyword monitor …`.
    Keywords,
    /// hyprland.lua (since 0.55): `eval hl.monitor{…}`.
    Lua,
}

impl Instance {
    /// Those that may be alive: the one of the environment first, then the newest.
    pub fn all(session: &SessionEnvironment) -> Vec<Self> {
        let named = session.variable("HYPRLAND_INSTANCE_SIGNATURE");
        let entries = std::fs::read_dir(session.runtime_dir.join("hypr")).into_iter().flatten().flatten();
        let mut found: Vec<_> = entries
            .filter(|entry| is_socket(&entry.path().join(".socket.sock")))
            .map(|entry| {
                let named = entry.file_name().to_str() == named && named.is_some();
                let since = entry.metadata().and_then(|metadata| metadata.modified()).ok();
                (named, since, entry.path())
            })
            .collect();
        found.sort();
        found.into_iter().rev().map(|(_, _, folder)| Self { folder }).collect()
    }

    /// The one whose folder is called `signature`.
    pub fn named(session: &SessionEnvironment, signature: &str) -> Option<Self> {
        Self::all(session).into_iter().find(|instance| instance.signature() == signature)
    }

    /// `HYPRLAND_INSTANCE_SIGNATURE`.
    pub fn signature(&self) -> &str {
        self.folder.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Whether somebody listens, be it one that hangs: a Hyprland that crashed leaves its sockets.
    pub fn is_alive(&self) -> bool {
        match connect(&self.socket()) {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.join(".socket.sock")
    }

    /// Its events, one a line.
    pub fn events(&self) -> std::io::Result<UnixStream> {
        let stream = connect(&self.folder.join(".socket2.sock"))?;
        stream.set_nonblocking(false)?;
        Ok(stream)
    }

    /// Its Wayland socket: the one at whose other end the same process is.
    pub fn wayland_socket(&self, session: &SessionEnvironment) -> Option<PathBuf> {
        let own = listener(&self.socket())?;
        session.wayland_sockets().into_iter().find(|socket| listener(socket) == Some(own))
    }

    /// Sends `request` and returns the answer, by `limit`.
    pub fn ask(&self, request: &str, limit: Duration) -> Result<String, DisplayError> {
        let timeout = || DisplayError::Timeout {
            backend: super::NAME,
            waited_for: format!("answer to `{request}`"),
            limit,
        };
        let gone = |error: std::io::Error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => timeout(),
            _ => DisplayError::Gone { backend: super::NAME, cause: format!("`{request}`: {error}") },
        };
        let deadline = clock::now() + limit;
        let mut stream = connect(&self.socket()).map_err(gone)?;
        stream.set_nonblocking(false).map_err(gone)?;
        stream.set_write_timeout(Some(limit)).map_err(gone)?;
        stream.write_all(request.as_bytes()).map_err(gone)?;
        let mut answer = Vec::new();
        let mut block = [0; 16 << 10];
        loop {
            let left = deadline.since(clock::now());
            if left.is_zero() {
                return Err(timeout());
            }
            stream.set_read_timeout(Some(left)).map_err(gone)?;
            match stream.read(&mut block) {
                Ok(0) => break,
                Ok(_) if answer.len() > LONGEST => return Err(gone(std::io::Error::other("endless answer"))),
                Ok(read) => answer.extend_from_slice(&block[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(gone(error)),
            }
        }
        tracing::debug!(request, answered = answer.len(), "Hyprland");
        Ok(String::from_utf8_lossy(&answer).trim().to_owned())
    }

    /// Sends a request that is answered by `ok` alone; the error has what was answered instead.
    pub fn order(&self, request: &str, limit: Duration) -> Result<(), DisplayError> {
        let answer = self.ask(request, limit)?;
        if answer == DONE { Ok(()) } else { Err(refused(request, &answer)) }
    }

    /// Its monitors, the disabled ones too.
    pub fn monitors(&self, limit: Duration) -> Result<Vec<Monitor>, DisplayError> {
        let request = "j/monitors all";
        let answer = self.ask(request, limit)?;
        serde_json::from_str(&answer).map_err(|_| refused(request, &answer))
    }

    /// Version, such as `0.56.2`.
    pub fn version(&self, limit: Duration) -> Result<String, DisplayError> {
        let answer = self.ask("j/version", limit)?;
        version(&answer).ok_or_else(|| refused("j/version", &answer))
    }

    /// Whether programs need a permission to see pictures; without it they get black ones and no error.
    pub fn enforces_permissions(&self, limit: Duration) -> Result<bool, DisplayError> {
        let answer = self.ask("j/getoption ecosystem:enforce_permissions", limit)?;
        Ok(is_on(&answer))
    }

    /// How it wants to be told what is not an IPC command of its own.
    pub fn dialect(&self, limit: Duration) -> Result<Dialect, DisplayError> {
        // Older ones know no `eval` at all and answer with another refusal than this one with its own parser's.
        let answer = self.ask("eval return", limit)?;
        Ok(if answer == DONE { Dialect::Lua } else { Dialect::Keywords })
    }
}

fn version(json: &str) -> Option<String> {
    let object: serde_json::Value = serde_json::from_str(json).ok()?;
    let text = |key: &str| object[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    text("version").or_else(|| Some(text("tag")?.trim_start_matches('v').to_owned()))
}

fn is_on(json: &str) -> bool {
    let option: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
    option["int"].as_i64().is_some_and(|value| value != 0) || option["bool"] == true
}

/// Hyprland understood, and said no.
fn refused(request: &str, answer: &str) -> DisplayError {
    let answer: String = answer.chars().take(200).collect();
    DisplayError::Unsupported {
        backend: super::NAME,
        cause: format!("`{request}` was answered with \"{answer}\""),
        remedy: "Update Hyprland to 0.41 or newer, or set display.compositor to `auto`".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monitors_as_hyprland_0_56_lists_them() {
        let monitors: Vec<Monitor> = serde_json::from_str(include_str!("monitors.json")).expect("valid");
        let [screen, lumen] = &monitors[..] else { panic!("{monitors:?}") };
        assert_eq!((screen.name.as_str(), screen.x, screen.focused), ("Virtual-1", 2642, false));
        let mode = Mode::new(642, 362, 75_000).expect("a mode");
        assert!(lumen.shows(mode) && !screen.shows(mode));
        assert!(!lumen.shows(Mode::new(642, 362, 60_000).expect("a mode")));
        let disabled = Monitor { disabled: true, ..lumen.clone() };
        assert!(!disabled.shows(mode));
    }

    #[test]
    fn versions_and_options_in_their_forms() {
        assert_eq!(version(r#"{"version":"0.56.2","tag":"v0.56.2"}"#).as_deref(), Some("0.56.2"));
        assert_eq!(version(r#"{"tag":"v0.41.0"}"#).as_deref(), Some("0.41.0"));
        assert_eq!(version("unknown request"), None);
        assert!(is_on(r#"{"option": "ecosystem:enforce_permissions", "int": 1, "set": true }"#));
        assert!(is_on(r#"{"option": "ecosystem:enforce_permissions", "bool": true, "set": true }"#));
        assert!(!is_on(r#"{"option": "ecosystem:enforce_permissions", "int": 0, "set": false }"#));
        assert!(!is_on("no such option"));
    }
}
