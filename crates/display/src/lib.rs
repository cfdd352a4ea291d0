//! Virtual outputs: which compositor makes them, and why that one.
//!
//! One backend, one file (or folder). A new backend adds its file, a variant of [`DisplayKind`] and a row in `backend`.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod backend;
mod builtin;
mod bus;
mod choose;
mod gamescope;
mod hyprland;
mod inhibit;
mod input;
mod journal;
mod kind;
mod kwin;
mod mutter;
mod no_input;
pub mod portal;
mod process;
mod pulse;
mod questions;
mod session;
mod undo;
mod wlroots;

pub use backend::{Finding, State};
pub use choose::Chooser;
pub use kind::{DisplayKind, UnknownDisplay};
pub use kwin::{kwin_input, setup as kwin_setup};
pub use questions::Questions;
pub use session::SessionEnvironment;

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
    /// XKB layouts of the keyboard that programs see, comma-separated (`us`, `de`, …); `None` is the desktop's own.
    pub keyboard_layout: Option<String>,
    /// XKB variants of the layouts, written like them.
    pub keyboard_variant: Option<String>,
    /// Place of the outputs among the monitors.
    pub topology: Topology,
    /// What is streamed.
    pub source: VideoSource,
    /// Attach to the running gamescope with this PipeWire node (`LUMEN_GAMESCOPE_NODE`).
    pub gamescope_node: Option<u32>,
    /// Withdrawn when the host stops.
    pub questions: Questions,
}

/// Where nobody names a layout.
const DEFAULT_LAYOUT: &str = "us";

impl DisplayConfig {
    /// The layout where no desktop has one of its own.
    fn own_layout(&self) -> &str {
        self.keyboard_layout.as_deref().unwrap_or(DEFAULT_LAYOUT)
    }

    /// Layout and variant that were asked for.
    fn named_keyboard(&self) -> Option<(String, String)> {
        let layout = self.keyboard_layout.clone()?;
        Some((layout, self.keyboard_variant.clone().unwrap_or_default()))
    }

    /// Sockets in `runtime_dir`, no keyboard named, no desktop known.
    pub fn new(runtime_dir: impl Into<PathBuf>) -> Self {
        let runtime_dir = runtime_dir.into();
        Self {
            state_dir: runtime_dir.clone(),
            session: SessionEnvironment { runtime_dir: runtime_dir.clone(), ..SessionEnvironment::default() },
            runtime_dir,
            keyboard_layout: None,
            keyboard_variant: None,
            topology: Topology::default(),
            source: VideoSource::default(),
            gamescope_node: None,
            questions: Questions::default(),
        }
    }
}
