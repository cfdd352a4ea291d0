//! The desktop session that this user runs: how to reach its compositor and its buses.
//!
//! A host is often started before any desktop, by the user's service manager, and its own environment then knows nothing
//! of it. So what is missing there is looked up each time: sockets in the runtime directory.

use std::collections::BTreeMap;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// How this user's desktop can be reached: the environment as inherited, and what lies in the runtime directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionEnvironment {
    /// `XDG_RUNTIME_DIR`.
    pub runtime_dir: PathBuf,
    /// Environment variables of the session that matter to desktops, by name: what the host inherited (`WAYLAND_DISPLAY`,
    /// `DISPLAY`, `DBUS_SESSION_BUS_ADDRESS`, `XDG_CURRENT_DESKTOP`, `SWAYSOCK`, `HYPRLAND_INSTANCE_SIGNATURE`, `HOME`,
    /// `XDG_DATA_HOME`, `PATH`, …).
    pub variables: BTreeMap<String, String>,
}

impl SessionEnvironment {
    /// A variable, unless empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Address of the session bus: the variable, else the well-known socket if it is there.
    pub fn bus_address(&self) -> Option<String> {
        if let Some(address) = self.variable("DBUS_SESSION_BUS_ADDRESS") {
            return Some(address.to_owned());
        }
        let socket = self.runtime_dir.join("bus");
        is_socket(&socket).then(|| format!("unix:path={}", socket.display()))
    }

    /// `XDG_CURRENT_DESKTOP`, split and in lower case (`kde`, `gnome`, `sway`, `hyprland`, …).
    pub fn current_desktop(&self) -> Vec<String> {
        let names = self.variable("XDG_CURRENT_DESKTOP").unwrap_or_default();
        names
            .split(':')
            .map(|name| name.trim().to_ascii_lowercase())
            .filter(|name| !name.is_empty())
            .collect()
    }

    /// Wayland sockets of this user, the one of `WAYLAND_DISPLAY` first; Lumen's own are left out.
    pub fn wayland_sockets(&self) -> Vec<PathBuf> {
        let named = self.variable("WAYLAND_DISPLAY").map(|name| self.runtime_dir.join(name));
        let mut found = self.sockets(|name| name.starts_with("wayland-") && !name.ends_with(".lock"));
        if let Some(named) = named {
            found.retain(|path| *path != named);
            if is_socket(&named) {
                found.insert(0, named);
            }
        }
        found
    }

    /// sway's IPC sockets, the one of `SWAYSOCK` first.
    pub fn sway_sockets(&self) -> Vec<PathBuf> {
        let mut found = self.sockets(|name| name.starts_with("sway-ipc.") && name.ends_with(".sock"));
        if let Some(named) = self.variable("SWAYSOCK").map(PathBuf::from) {
            found.retain(|path| *path != named);
            if is_socket(&named) {
                found.insert(0, named);
            }
        }
        found
    }

    /// Sockets in the runtime directory, by name.
    pub fn sockets(&self, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.runtime_dir).into_iter().flatten().flatten();
        let mut found: Vec<_> = entries
            .filter(|entry| entry.file_name().to_str().is_some_and(&wanted))
            .map(|entry| entry.path())
            .filter(|path| is_socket(path))
            .collect();
        found.sort();
        found
    }
}

/// Whether `path` is a socket (it may still be one that nobody listens at).
pub fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}
