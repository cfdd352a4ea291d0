//! sway and its kin: a headless output in the user's running session, made and removed over sway's IPC.
//!
//! Other compositors of the wlroots family have no request that creates outputs: `zwlr_output_manager_v1` only configures
//! those that are there. They are recognised to say so.

mod creation;
mod globals;
mod instance;
mod ipc;
mod layout;
mod removal;

use crate::backend::{Backend, Finding, State};
use crate::{DisplayConfig, DisplayKind};
use instance::Instance;
use lumen_media::{AppLaunch, DisplayError, Mode, VirtualDisplay, VirtualOutput, clock};
use std::time::Duration;

pub(crate) const BACKEND: Backend = Backend { kind: DisplayKind::Wlroots, look, open, clean_up };

/// Name in errors.
const SWAY: &str = "sway";
/// For a sway to say its version at a look; one that hangs must not keep another from being found.
const HELLO: Duration = Duration::from_millis(600);
/// For a compositor to list its globals.
const LOOK_LIMIT: Duration = Duration::from_millis(1000);

fn look(config: &DisplayConfig) -> Finding {
    let finding = |state, version: String| Finding { kind: DisplayKind::Wlroots, state, version };
    let obstructed = |cause: String, remedy: &str| State::Obstructed { cause, remedy: remedy.to_owned() };
    let instance = match Instance::find(&config.session, HELLO) {
        Ok(instance) => instance,
        Err(DisplayError::Absent { .. }) => return look_for_others(config),
        Err(error) => {
            let (cause, remedy) = (error.to_string(), "Look whether sway hangs".to_owned());
            return finding(State::Silent { cause, remedy }, SWAY.to_owned());
        }
    };
    let version = instance.version.to_string();
    if instance.wayland_socket(&config.session).is_none() {
        let cause = format!("its Wayland socket is not in {}", config.session.runtime_dir.display());
        let remedy = "Start Lumen with sway's XDG_RUNTIME_DIR and WAYLAND_DISPLAY";
        return finding(obstructed(cause, remedy), version);
    }
    let outputs = instance.connect(clock::now() + LOOK_LIMIT).and_then(|mut ipc| ipc.outputs());
    let nested = |name: &str| name.starts_with("WL-") || name.starts_with("X11-");
    if outputs.is_ok_and(|outputs| outputs.iter().any(|output| nested(&output.name))) {
        let cause = "it runs inside another desktop and would make windows there".to_owned();
        return finding(obstructed(cause, "Stream that desktop, or start sway on its own"), version);
    }
    finding(State::Ready, version)
}

/// Compositors that are captured like sway, but cannot make outputs.
fn look_for_others(config: &DisplayConfig) -> Finding {
    let sockets = config.session.wayland_sockets();
    // One whose compositor hangs takes nothing from the others.
    let each = LOOK_LIMIT / u32::try_from(sockets.len()).unwrap_or(1).max(1);
    let found = sockets.into_iter().find(|socket| {
        globals::offered(socket, clock::now() + each).is_some_and(|offered| globals::is_wlroots(&offered))
    });
    let Some(socket) = found else { return Finding::absent(DisplayKind::Wlroots) };
    let name = instance::listener(&socket)
        .and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok())
        .map_or_else(|| "this compositor".to_owned(), |name| name.trim().to_owned());
    Finding {
        kind: DisplayKind::Wlroots,
        state: State::Obstructed {
            cause: format!("{name} has no request that creates outputs"),
            remedy: "Set display.source to \"portal\" to stream one of its monitors, or use sway".to_owned(),
        },
        version: name,
    }
}

fn open(config: &DisplayConfig) -> Result<Box<dyn VirtualDisplay>, DisplayError> {
    Ok(Box::new(Sway { config: config.clone() }))
}

fn clean_up(config: &DisplayConfig) -> bool {
    removal::clean_up(config)
}

/// Whichever sway runs when an output is wanted.
struct Sway {
    config: DisplayConfig,
}

impl VirtualDisplay for Sway {
    fn name(&self) -> &'static str {
        "wlroots"
    }

    fn create(&self, mode: Mode, _launch: &AppLaunch) -> Result<VirtualOutput, DisplayError> {
        creation::create(&self.config, mode)
    }
}
