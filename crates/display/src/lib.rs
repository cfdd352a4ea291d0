//! Virtual outputs: which compositor makes them, and why that one.
//!
//! One backend, one file (or folder). A new backend adds its file, a variant of [`DisplayKind`] and a row in `backend`.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod backend;
mod builtin;
mod bus;
mod gamescope;
mod hyprland;
mod journal;
mod kind;
mod kwin;
mod mutter;
mod no_input;
mod portal;
mod session;
mod wlroots;

pub use backend::{Finding, State};
pub use kind::{DisplayKind, UnknownDisplay};
pub use session::SessionEnvironment;

use lumen_media::{DisplayError, VirtualDisplay};
use std::path::PathBuf;

/// Place of the client's output among the monitors of a desktop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Topology {
    /// New windows open on the client's output: it is the primary one, and has the focus where desktops open windows at
    /// the focus.
    #[default]
    Primary,
    /// One more monitor; everything else stays.
    Extend,
    /// The other monitors are off while the output lives.
    Exclusive,
    /// No output is made: an existing monitor is shown.
    Mirror,
}

/// What is streamed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VideoSource {
    /// An output made for the client.
    #[default]
    Virtual,
    /// A monitor that exists, through the desktop portal.
    Portal,
    /// A moving pattern; needs no compositor.
    TestPattern,
}

/// What the backends need to know about this host.
#[derive(Clone, Debug)]
pub struct DisplayConfig {
    /// Where Wayland sockets go; usually `XDG_RUNTIME_DIR`. Must exist and be writable.
    pub runtime_dir: PathBuf,
    /// Where journals and restore tokens are kept over restarts.
    pub state_dir: PathBuf,
    /// How to reach the user's desktop.
    pub session: SessionEnvironment,
    /// XKB layouts of the keyboard that programs see, comma-separated (`us`, `de`, …).
    pub keyboard_layout: String,
    /// XKB variants of the layouts, written like them.
    pub keyboard_variant: Option<String>,
    /// Place of the outputs among the monitors.
    pub topology: Topology,
    /// What is streamed.
    pub source: VideoSource,
    /// Attach to the running gamescope with this PipeWire node (`LUMEN_GAMESCOPE_NODE`).
    pub gamescope_node: Option<u32>,
}

impl DisplayConfig {
    /// Sockets in `runtime_dir`, an American keyboard, no desktop known.
    pub fn new(runtime_dir: impl Into<PathBuf>) -> Self {
        let runtime_dir = runtime_dir.into();
        Self {
            state_dir: runtime_dir.clone(),
            session: SessionEnvironment { runtime_dir: runtime_dir.clone(), ..SessionEnvironment::default() },
            runtime_dir,
            keyboard_layout: "us".to_owned(),
            keyboard_variant: None,
            topology: Topology::default(),
            source: VideoSource::default(),
            gamescope_node: None,
        }
    }
}

/// What was asked for, what is used, and why; shown in the log once and in the status always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// As configured (`LUMEN_COMPOSITOR`).
    pub requested: DisplayKind,
    /// What is really used; never [`DisplayKind::Auto`].
    pub effective: DisplayKind,
    /// One sentence for people.
    pub reason: &'static str,
}

/// An opened backend together with the reason why it is this one.
pub struct Opened {
    /// Makes the outputs.
    pub display: Box<dyn VirtualDisplay>,
    /// Why this backend.
    pub choice: Choice,
}

/// Why no backend could be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A backend that this version does not have.
    #[error(
        "the display backend `{0}` is not available in this version. \
         Set display.compositor (or LUMEN_COMPOSITOR) to `auto` or `built-in`"
    )]
    NotAvailable(DisplayKind),
    /// The backend was there, but refused.
    #[error(transparent)]
    Display(#[from] DisplayError),
}

/// All backends that this version can open, in the order in which `auto` prefers them.
pub const AVAILABLE: &[DisplayKind] = &[DisplayKind::Builtin];

/// Decides which backend answers `requested`, without starting anything.
///
/// # Errors
/// [`OpenError::NotAvailable`] for a backend that this version does not have.
pub fn choose(requested: DisplayKind) -> Result<Choice, OpenError> {
    match requested {
        DisplayKind::Auto => Ok(Choice {
            requested,
            effective: DisplayKind::Builtin,
            reason: "the built-in compositor is the only display backend of this version",
        }),
        DisplayKind::Builtin => {
            Ok(Choice { requested, effective: DisplayKind::Builtin, reason: "set in the configuration" })
        }
        other => Err(OpenError::NotAvailable(other)),
    }
}

/// Opens the backend that answers `requested`.
///
/// # Errors
/// [`OpenError`] with cause and remedy.
pub fn open(requested: DisplayKind, config: &DisplayConfig) -> Result<Opened, OpenError> {
    let choice = choose(requested)?;
    let display = match choice.effective {
        DisplayKind::Builtin => builtin::open(config)?,
        other => return Err(OpenError::NotAvailable(other)),
    };
    tracing::info!(
        requested = %choice.requested, effective = %choice.effective, reason = choice.reason, "display backend"
    );
    Ok(Opened { display, choice })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_and_builtin_lead_to_the_built_in_compositor() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let config = DisplayConfig::new(dir.path());
        for kind in [DisplayKind::Auto, DisplayKind::Builtin] {
            let opened = open(kind, &config).expect("always there");
            assert_eq!(opened.choice.requested, kind);
            assert_eq!(opened.choice.effective, DisplayKind::Builtin);
            assert_eq!(opened.display.name(), "built-in");
        }
    }

    #[test]
    fn others_say_that_they_are_not_there_and_what_to_do() {
        for kind in DisplayKind::ALL.into_iter().filter(|kind| *kind != DisplayKind::Auto) {
            if AVAILABLE.contains(&kind) {
                continue;
            }
            let error = choose(kind).expect_err("not in this version");
            let text = error.to_string();
            assert!(
                text.contains(&kind.to_string()) && text.contains("not available in this version"),
                "{text}"
            );
            assert!(text.contains("LUMEN_COMPOSITOR"), "{text}");
        }
    }

    #[test]
    fn an_unknown_keyboard_is_refused_at_once_with_the_remedy() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut config = DisplayConfig::new(dir.path());
        config.keyboard_layout = "de".to_owned();
        config.keyboard_variant = Some("neo".to_owned());
        open(DisplayKind::Auto, &config).expect("a known one");
        config.keyboard_variant = Some("nowhere".to_owned());
        let Err(error) = open(DisplayKind::Auto, &config) else { panic!("must be refused") };
        let text = error.to_string();
        assert!(text.contains("`de`") && text.contains("`nowhere`"), "{text}");
        assert!(text.contains("input.keyboard_layout"), "{text}");
    }

    #[test]
    fn a_missing_runtime_directory_is_named() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let missing = dir.path().join("missing");
        let config = DisplayConfig::new(&missing);
        let Err(OpenError::Display(DisplayError::Socket { dir, .. })) = open(DisplayKind::Auto, &config)
        else {
            panic!("must be refused");
        };
        assert_eq!(dir, missing.display().to_string());
    }
}
