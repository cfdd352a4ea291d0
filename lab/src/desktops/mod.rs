//! The compositors, each started without a screen.

mod gamescope;
mod gnome;
mod hyprland;
mod kwin;
mod labwc;
mod mutter;
mod sway;
mod weston;

pub use gamescope::{Gamescope, GamescopeOptions};
pub use gnome::GnomeShell;
pub use hyprland::{Hyprland, HyprlandOptions};
pub use kwin::{Kwin, KwinOptions, KwinRenderer};
pub use labwc::Labwc;
pub use mutter::{Mutter, MutterOptions};
pub use sway::{Sway, SwayOptions, SwayRenderer};
pub use weston::Weston;

use crate::{LabError, Process, Session, find};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::process::Command;
use std::time::Duration;

/// For a compositor to come up, before the machine's patience: the slowest took 0.9 s on two cores without a GPU.
pub(crate) const UP: Duration = Duration::from_secs(15);

/// Size in pixels and refresh rate in hertz of a monitor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mode {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Refresh rate in hertz.
    pub hertz: f64,
}

impl Mode {
    /// `width`×`height` pixels, `hertz` times a second.
    pub const fn new(width: u32, height: u32, hertz: f64) -> Self {
        Self { width, height, hertz }
    }
}

impl Default for Mode {
    fn default() -> Self {
        Self::new(1280, 720, 60.0)
    }
}

/// What all running desktops have.
pub trait Desktop {
    /// The session that it runs in.
    fn session(&self) -> &Session;

    /// The compositor.
    fn process(&self) -> &Process;

    /// What a program needs to open on this desktop, on top of [`Session::env`].
    fn variables(&self) -> &BTreeMap<String, String>;

    /// The whole environment of a program on this desktop.
    fn env(&self) -> BTreeMap<String, String> {
        let mut env = self.session().env();
        env.extend(self.variables().clone());
        env
    }

    /// A command that sees the desktop's environment and nothing else (see [`Session::command`]).
    fn command(&self, program: &str) -> Command
    where
        Self: Sized,
    {
        let mut command = self.session().command(program);
        command.envs(self.variables());
        command
    }

    /// Starts a program on this desktop, with a log under `name`; see [`Session::spawn`].
    ///
    /// # Errors
    /// [`LabError::Spawn`] and [`LabError::File`].
    fn spawn(&self, name: &str, program: &str, arguments: &[&str]) -> Result<Process, LabError>
    where
        Self: Sized,
    {
        let mut command = self.command(program);
        command.args(arguments);
        self.session().spawn(name, command)
    }

    /// `WAYLAND_DISPLAY`, where there is one.
    fn wayland_display(&self) -> Option<&str> {
        self.variables().get("WAYLAND_DISPLAY").map(String::as_str)
    }

    /// Kills the compositor as a crash would; see [`Process::kill`].
    fn kill(&self) {
        self.process().kill();
    }

    /// What the compositor printed.
    fn log(&self) -> String {
        self.process().log()
    }
}

/// Implements [`Desktop`] for a struct with `session`, `process` and `variables`.
macro_rules! desktop {
    ($name:ident) => {
        impl crate::desktops::Desktop for $name {
            fn session(&self) -> &crate::Session {
                &self.session
            }

            fn process(&self) -> &crate::Process {
                &self.process
            }

            fn variables(&self) -> &std::collections::BTreeMap<String, String> {
                &self.variables
            }
        }
    };
}
pub(crate) use desktop;

/// Variables from pairs.
pub(crate) fn variables<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// The first line of what `program` says to `arguments`, on either stream.
pub(crate) fn version_of(
    session: &Session,
    program: &str,
    arguments: &[impl AsRef<OsStr>],
) -> Result<String, LabError> {
    let program_path = find(program).ok_or_else(|| LabError::Missing(program.to_owned()))?;
    let output = session.command(program_path).args(arguments).output();
    let output = output.map_err(|cause| LabError::Spawn { program: program.to_owned(), cause })?;
    let both = [output.stdout, output.stderr].concat();
    let text = without_colours(&String::from_utf8_lossy(&both));
    let line = text.lines().map(str::trim).find(|line| line.bytes().any(|byte| byte.is_ascii_digit()));
    let line = line.ok_or_else(|| LabError::Answer { program: program.to_owned(), answer: text.clone() })?;
    Ok(line.to_owned())
}

/// `text` without terminal sequences (`ESC [ … letter`), which gamescope prints into files too.
fn without_colours(text: &str) -> String {
    let mut pieces = text.split("\u{1b}[");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        plain += piece.split_once(|letter: char| letter.is_ascii_alphabetic()).map_or("", |(_, rest)| rest);
    }
    plain
}

/// Starts a compositor and waits for a Wayland socket that was not there before.
pub(crate) fn start_with_socket(
    session: &Session,
    name: &str,
    command: Command,
) -> Result<(Process, String), LabError> {
    if find(command.get_program().to_str().unwrap_or_default()).is_none() {
        return Err(LabError::Missing(name.to_owned()));
    }
    // What an earlier compositor left behind would be taken for this one's.
    let runtime_dir = session.runtime_dir();
    for display in session.wayland_displays() {
        if std::os::unix::net::UnixStream::connect(runtime_dir.join(&display)).is_err() {
            for file in [format!("{display}.lock"), display] {
                let _ = std::fs::remove_file(runtime_dir.join(file));
            }
        }
    }
    let before = session.wayland_displays();
    let process = session.spawn(name, command)?;
    let display = process.wait_until(&format!("Wayland socket of {name}"), UP, || {
        session.wayland_displays().into_iter().find(|display| !before.contains(display))
    })?;
    Ok((process, display))
}

#[cfg(test)]
mod tests {
    #[test]
    fn colours_are_taken_out() {
        assert_eq!(super::without_colours("[\u{1b}[0;34mInfo\u{1b}[0m] 3.16.24"), "[Info] 3.16.24");
        assert_eq!(super::without_colours("plain 1"), "plain 1");
    }
}
