//! Real desktops for tests.
//!
//! A [`Session`] is a private world: its own runtime directory, home, D-Bus daemons, PipeWire and WirePlumber. Desktops
//! are started in it ([`Sway`], [`Mutter`], [`Kwin`], [`Gamescope`], [`Hyprland`], [`Labwc`], [`Weston`]), and
//! [`Portals`] beside them. Nothing of the user's own session is read or reached. Dropping the last clone of a session
//! ends every process that carries its environment and removes its directory; when the test is killed instead, the
//! kernel kills what the lab started.
//!
//! Every wait has a deadline, multiplied by [`patience`]: a machine that emulates its processor needs more.
//!
//! ```no_run
//! let Some(session) = lumen_lab::session_for("sway", &["sway", "pipewire"]) else { return };
//! let sway = lumen_lab::Sway::start(&session, &lumen_lab::SwayOptions::default()).unwrap();
//! assert_eq!(sway.outputs().unwrap().len(), 1);
//! ```
#![deny(unsafe_code)]
#![deny(missing_docs)]

mod desktops;
mod error;
pub mod gamepads;
mod portals;
mod process;
mod session;
mod sound;
#[allow(unsafe_code, reason = "a child must ask for its own death between fork and exec")]
mod sys;
mod wait;

pub use desktops::{
    Desktop, Gamescope, GamescopeOptions, GnomeShell, Hyprland, HyprlandOptions, Kwin, KwinOptions,
    KwinRenderer, Labwc, Mode, Mutter, MutterOptions, Sway, SwayOptions, SwayRenderer, Weston,
};
pub use error::LabError;
pub use portals::{PortalKind, PortalOptions, Portals};
pub use process::Process;
pub use session::{Session, SessionOptions};
pub use sound::{Recording, Tones, channel_map, session_with_sound};
pub use wait::{patience, patient, wait_for};

use std::path::{Path, PathBuf};

/// Stands in the lab's root file system, which has everything.
const COMPLETE: &str = "/etc/lumen-lab";

/// Where programs are looked for, in the lab and on the `PATH` of its sessions.
const FOLDERS: [&str; 8] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
    "/usr/games",
    "/usr/libexec",
];

/// Whether `program` (a name or a path) is installed.
pub fn available(program: &str) -> bool {
    find(program).is_some()
}

/// Path of an installed `program` (a name or a path).
pub fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Path::new(program).is_file().then(|| program.into());
    }
    FOLDERS.iter().map(|folder| Path::new(folder).join(program)).find(|path| path.is_file())
}

/// A session for a test that needs `programs`; `None`, with a line on stderr, where one of them is missing.
///
/// # Panics
/// When the programs are there and the session does not start: that is a failure, not a gap.
pub fn session_for(name: &str, programs: &[&str]) -> Option<Session> {
    let needed = programs.iter().chain(&["dbus-daemon"]);
    if let Some(missing) = needed.into_iter().find(|program| !available(program)) {
        // There a gap is a mistake in the list of packages.
        assert!(
            !Path::new(COMPLETE).exists(),
            "{missing} is not in the lab's root file system (lab/rootfs.sh)"
        );
        left_out(name, &format!("{missing} is not installed"));
        return None;
    }
    Some(Session::start(name).unwrap_or_else(|cause| panic!("the session {name} does not start: {cause}")))
}

/// Says on stderr that `what` was not tested here.
pub fn left_out(what: &str, why: &str) {
    eprintln!("left out: {what}: {why}");
}

/// The load of a machine that has no time left, where rates say nothing about Lumen; `None` on others.
pub fn overload() -> Option<f64> {
    let load = std::fs::read_to_string("/proc/loadavg").ok()?;
    let load: f64 = load.split(' ').next()?.parse().ok()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    (load > cores * 2.0).then_some(load)
}

/// Whether this is the lab's virtual machine (`lab/vm/boot`).
pub fn in_vm() -> bool {
    std::fs::read_to_string("/proc/cmdline")
        .is_ok_and(|line| line.split_whitespace().any(|word| word == "lumen.lab"))
}

/// The first DRM render node; without one KWin has no OpenGL, and gamescope and Hyprland do not start.
///
/// # Panics
/// In the lab's machine, which has one, lest its tests be left out there unnoticed.
pub fn render_node() -> Option<PathBuf> {
    let node = find_render_node();
    assert!(
        node.is_some() || !in_vm(),
        "the lab's machine has no render node; is its kernel's vgem missing?"
    );
    node
}

fn find_render_node() -> Option<PathBuf> {
    let mut nodes: Vec<_> = std::fs::read_dir("/dev/dri").ok()?.flatten().map(|entry| entry.path()).collect();
    nodes.sort();
    nodes.into_iter().find(|path| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("renderD"))
    })
}
