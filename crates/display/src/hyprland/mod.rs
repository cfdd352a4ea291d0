//! Hyprland: headless outputs made and removed at run time over its IPC.

mod ipc;
mod output;
mod rule;

use crate::backend::{Backend, Finding, State};
use crate::{DisplayConfig, DisplayKind, journal, pulse};
use ipc::Instance;
use lumen_media::{
    AppLaunch, DisplayError, Mode, OutputSource, PathReport, VirtualDisplay, VirtualOutput, WaylandTarget,
};
use output::{Before, Output};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const NAME: &str = "hyprland";
/// Names of its entries in the journal begin so.
const JOURNAL: &str = "hyprland-";
/// For an answer at a look, which takes two seconds at most.
const GLANCE: Duration = Duration::from_millis(900);
/// For an answer while an output is made or removed. Making one answers after the first frame was drawn.
const ANSWER: Duration = Duration::from_secs(5);

pub(crate) const BACKEND: Backend = Backend { kind: DisplayKind::Hyprland, look, open, clean_up };

/// Names are picked and monitors arranged by one at a time.
static ARRANGING: Mutex<()> = Mutex::new(());

fn look(config: &DisplayConfig) -> Finding {
    let Some(instance) = alive(config) else { return Finding::absent(DisplayKind::Hyprland) };
    let version = match instance.version(GLANCE) {
        Ok(version) => format!("Hyprland {version}"),
        Err(error) => {
            let (cause, remedy) =
                (error.to_string(), "Look whether Hyprland hangs (hyprctl version)".to_owned());
            let state = match error {
                DisplayError::Timeout { .. } => State::Silent { cause, remedy },
                _ => State::Obstructed { cause, remedy },
            };
            return Finding { kind: DisplayKind::Hyprland, state, version: "Hyprland".into() };
        }
    };
    let version = match instance.enforces_permissions(GLANCE) {
        Ok(true) => format!("{version}, {}", permission_advice()),
        _ => version,
    };
    Finding { kind: DisplayKind::Hyprland, state: State::Ready, version }
}

fn open(config: &DisplayConfig) -> Result<Box<dyn VirtualDisplay>, DisplayError> {
    Ok(Box::new(Hyprland { config: config.clone() }))
}

/// Removes outputs of a host that was killed, and puts the monitors back.
fn clean_up(config: &DisplayConfig) -> bool {
    let mut nothing_left = true;
    for (entry, before) in journal::left_over::<Before>(&config.state_dir, JOURNAL) {
        if output::is_live(&before) {
            continue;
        }
        // A Hyprland that is gone took its outputs along, and another has its own idea of its monitors.
        let Some(instance) = Instance::named(&config.session, &before.instance).filter(Instance::is_alive)
        else {
            entry.done();
            continue;
        };
        let _one = arranging();
        tracing::info!(output = before.name, "an output of an earlier host is removed from Hyprland");
        match output::restore(&instance, &before) {
            Ok(()) => entry.done(),
            Err(error) => {
                nothing_left = false;
                tracing::warn!(output = before.name, %error, "an earlier output cannot be removed");
            }
        }
    }
    nothing_left
}

struct Hyprland {
    config: DisplayConfig,
}

impl VirtualDisplay for Hyprland {
    fn name(&self) -> &'static str {
        NAME
    }

    fn create(&self, mode: Mode, _launch: &AppLaunch) -> Result<VirtualOutput, DisplayError> {
        let session = &self.config.session;
        let instance = alive(&self.config).ok_or_else(|| DisplayError::Absent {
            backend: NAME,
            looked_for: format!("sockets in {}", session.runtime_dir.join("hypr").display()),
        })?;
        let socket = instance.wayland_socket(session).ok_or_else(|| DisplayError::Absent {
            backend: NAME,
            looked_for: format!("Wayland socket of instance {}", instance.signature()),
        })?;
        let mut reasons = Vec::new();
        if instance.enforces_permissions(ANSWER)? {
            let advice = permission_advice();
            tracing::warn!("Hyprland shows black pictures to programs without a permission; {advice}");
            reasons.push(advice);
        }
        let one = arranging();
        let output = Output::create(&self.config, &instance, mode)?;
        drop(one);
        let found = output.monitor();
        let effective_mode = if found.shows(mode) {
            mode
        } else {
            let has = Mode::new(found.width, found.height, found.refresh_mhz()).map_err(|error| {
                DisplayError::Other(format!("Hyprland's output has no usable mode: {error}"))
            })?;
            reasons.push(format!("{mode} was asked for, Hyprland has {has}"));
            has
        };
        Ok(VirtualOutput {
            path: PathReport { effective: NAME.into(), reason: reasons.join("; "), ..PathReport::default() },
            source: OutputSource::Wayland(WaylandTarget {
                socket: socket.clone(),
                output: found.name.clone(),
            }),
            effective_mode,
            input: lumen_input::wlroots(lumen_input::WlrootsTarget {
                desktop: NAME,
                socket: socket.clone(),
                output: lumen_input::WlrootsOutput::Named(found.name.clone()),
                keyboard: self.config.named_keyboard(),
            }),
            pulse: pulse::of(&socket),
            env: environment(&self.config, &instance, &socket),
            set_mode: Some(output.mode_setter()),
            lasting: false,
            contained_app: None,
            keepalive: Box::new(output),
        })
    }
}

fn alive(config: &DisplayConfig) -> Option<Instance> {
    Instance::all(&config.session).into_iter().find(Instance::is_alive)
}

fn arranging() -> MutexGuard<'static, ()> {
    ARRANGING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn permission_advice() -> String {
    let own = std::fs::read_link("/proc/self/exe").unwrap_or_else(|_| "/usr/bin/lumen".into());
    format!(
        "ecosystem:enforce_permissions is on: if pictures stay black, add `permission = {}, screencopy, allow` \
         to hyprland.conf and log in again",
        own.display()
    )
}

/// What programs need to open on that desktop.
fn environment(config: &DisplayConfig, instance: &Instance, socket: &Path) -> Vec<(String, String)> {
    let display = socket.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let session = &config.session;
    let mut env = vec![
        ("WAYLAND_DISPLAY", display.to_owned()),
        ("HYPRLAND_INSTANCE_SIGNATURE", instance.signature().to_owned()),
        ("XDG_RUNTIME_DIR", session.runtime_dir.display().to_string()),
        ("XDG_CURRENT_DESKTOP", "Hyprland".to_owned()),
        ("XDG_SESSION_TYPE", "wayland".to_owned()),
        // Whose X server an inherited one is, nobody knows.
        ("DISPLAY", session.variable("DISPLAY").unwrap_or_default().to_owned()),
    ];
    if let Some(address) = session.bus_address() {
        env.push(("DBUS_SESSION_BUS_ADDRESS", address));
    }
    env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
