//! Versions of gamescope and PipeWire, and which of them do not get along.
//!
//! gamescope before 3.16.22 drives PipeWire's loop without entering it. PipeWire 1.6 takes that amiss: its stream stands
//! still with a lock held, and with it the user's whole graph, sound included. So such a pair is refused before anything
//! is started.

use super::dump::Dump;
use super::tool::{self, Answer};
use crate::SessionEnvironment;
use lumen_media::DisplayError;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// The first gamescope whose stream works with [`STRICT_PIPEWIRE`].
const FIXED_GAMESCOPE: Version = Version(3, 16, 22);
/// The first PipeWire that needs it.
const STRICT_PIPEWIRE: Version = Version(1, 6, 0);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub u32, pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(major, minor, patch) = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

impl Version {
    /// The number at the start of `text`: two or three parts, whatever follows.
    pub fn parse(text: &str) -> Option<Self> {
        let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
        let mut parts = text[..end].split('.').map(str::parse);
        let (major, minor) = (parts.next()?.ok()?, parts.next()?.ok()?);
        let patch = parts.next().and_then(Result::ok).unwrap_or(0);
        Some(Self(major, minor, patch))
    }

    /// The number after the last word `word` in `text`.
    fn after(text: &str, word: &str) -> Option<Self> {
        text.rmatch_indices(word).find_map(|(at, _)| Self::parse(text[at + word.len()..].trim_start()))
    }
}

/// Version of a gamescope, by asking it; `None` for one that has no number (built from a checkout without tags).
pub(super) fn of_gamescope(
    session: &SessionEnvironment,
    program: &Path,
    limit: Duration,
) -> std::io::Result<Option<Version>> {
    let mut command = tool::command(session, program);
    command.arg("--version");
    let said = tool::ask(command, Answer::OutputAndErrors, limit)?;
    Ok(gamescope_version(&String::from_utf8_lossy(&said)))
}

fn gamescope_version(said: &str) -> Option<Version> {
    Version::after(said, "version ")
}

/// The newer one of PipeWire's daemon and of the library that programs get; `None` when neither tells.
fn of_pipewire(session: &SessionEnvironment, limit: Duration) -> Option<Version> {
    let daemon = Dump::take(session, limit).ok().and_then(|dump| dump.pipewire());
    let library = tool::find(session, "pipewire").and_then(|program| {
        let mut command = tool::command(session, &program);
        command.arg("--version");
        let said = tool::ask(command, Answer::OutputAndErrors, limit).ok()?;
        Version::after(&String::from_utf8_lossy(&said), "Linked with libpipewire ")
    });
    daemon.max(library)
}

/// Whether this gamescope may be used here.
///
/// # Errors
/// [`DisplayError::Unsupported`] for a pair that would stop the user's whole graph.
pub(super) fn check(
    session: &SessionEnvironment,
    gamescope: Option<Version>,
    limit: Duration,
) -> Result<(), DisplayError> {
    match gamescope {
        None => {
            tracing::debug!(
                "gamescope does not tell its version; before {FIXED_GAMESCOPE} it stands still with PipeWire {STRICT_PIPEWIRE} or newer"
            );
            Ok(())
        }
        Some(version) if version >= FIXED_GAMESCOPE => Ok(()),
        Some(version) => judge(version, of_pipewire(session, limit)),
    }
}

/// The verdict on an old gamescope.
fn judge(gamescope: Version, pipewire: Option<Version>) -> Result<(), DisplayError> {
    let found = match pipewire {
        Some(version) if version < STRICT_PIPEWIRE => return Ok(()),
        Some(version) => format!("PipeWire {version} runs here"),
        None => "PipeWire does not tell its version here (neither pw-dump nor pipewire --version answers)"
            .to_owned(),
    };
    Err(DisplayError::Unsupported {
        backend: "gamescope",
        cause: format!(
            "gamescope {gamescope} stands still with PipeWire 1.6 and newer, and takes the sound of the whole desktop along; {found}"
        ),
        remedy: format!("Update gamescope to {FIXED_GAMESCOPE} or newer"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_they_are_printed() {
        let colours = "[gamescope] [\u{1b}[0;34mInfo\u{1b}[0m]  \u{1b}[0;37mconsole:\u{1b}[0m gamescope version 3.16.24+ds-2 (gcc 15.3.0)\n";
        assert_eq!(gamescope_version(colours), Some(Version(3, 16, 24)));
        assert_eq!(
            gamescope_version("gamescope version 3.16.14-2-g1234567 (gcc 14.2.1)"),
            Some(Version(3, 16, 14))
        );
        assert_eq!(gamescope_version("gamescope version 3.12 (gcc 13.1.0)"), Some(Version(3, 12, 0)));
        assert_eq!(gamescope_version("gamescope version unknown (gcc 15.3.0)"), None);
        assert_eq!(gamescope_version(""), None);
        let pipewire = "pipewire\nCompiled with libpipewire 1.4.2\nLinked with libpipewire 1.6.9\n";
        assert_eq!(Version::after(pipewire, "Linked with libpipewire "), Some(Version(1, 6, 9)));
    }

    #[test]
    fn an_old_gamescope_is_refused_with_a_strict_pipewire_and_with_an_unknown_one() {
        let old = Version(3, 16, 21);
        judge(old, Some(Version(1, 4, 10))).expect("they get along");
        for pipewire in [Some(Version(1, 6, 0)), Some(Version(2, 0, 0)), None] {
            let text = judge(old, pipewire).expect_err("refused").to_string();
            assert!(text.contains("3.16.21") && text.contains("Update gamescope to 3.16.22"), "{text}");
        }
    }
}
