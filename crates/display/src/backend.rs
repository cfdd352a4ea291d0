//! The list of backends, each with what the chooser and the doctor ask of it.

use crate::{DisplayConfig, DisplayKind, gamescope, hyprland, kwin, mutter, portal, wlroots};
use lumen_media::{DisplayError, VirtualDisplay};

/// What a look at a backend found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing of the kind runs here.
    Absent,
    /// Outputs can be made.
    Ready,
    /// It runs, but the session is locked.
    Locked,
    /// It runs, but did not answer within the look: it is busy, or hangs.
    Silent {
        /// What it did not answer to.
        cause: String,
        /// What the user can do if it stays so.
        remedy: String,
    },
    /// It runs, but cannot or may not make outputs.
    Obstructed {
        /// What is in the way.
        cause: String,
        /// What the user can do about it.
        remedy: String,
    },
}

/// One backend as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which backend.
    pub kind: DisplayKind,
    /// What was found.
    pub state: State,
    /// Name and version of what answered, such as `KWin 6.7.4`; empty when absent.
    pub version: String,
}

/// What every backend offers.
#[derive(Clone, Copy)]
pub(crate) struct Backend {
    /// Its name in the configuration.
    pub kind: DisplayKind,
    /// Looks, within two seconds (gamescope, whose programs are asked one after the other: four) and without changing anything, whether the desktop runs and could make an output.
    pub look: fn(&DisplayConfig) -> Finding,
    /// Opens it. Cheap: outputs are made later.
    pub open: fn(&DisplayConfig) -> Result<Box<dyn VirtualDisplay>, DisplayError>,
    /// Removes what a host that was killed left in the desktop, and restores the layout from the journal. Called at the
    /// host's start, and again before each output until it returns true: nothing is left. Silent when nothing was left.
    pub clean_up: fn(&DisplayConfig) -> bool,
}

/// All that stand on a desktop. The built-in compositor is always there and not among them.
pub(crate) const BACKENDS: [Backend; 6] = [
    kwin::BACKEND,
    mutter::BACKEND,
    wlroots::BACKEND,
    hyprland::BACKEND,
    gamescope::BACKEND,
    portal::BACKEND,
];

impl Finding {
    pub(crate) fn absent(kind: DisplayKind) -> Self {
        Self { kind, state: State::Absent, version: String::new() }
    }
}
