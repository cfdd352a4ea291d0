//! What a program needs in its environment to open in this desktop.

use super::peer::Peer;
use crate::session::SessionEnvironment;
use lumen_wayland::listener;
use std::path::PathBuf;

/// The environment of programs that shall open in the Mutter that is `peer`.
pub(super) async fn env(peer: &Peer, session: &SessionEnvironment) -> Vec<(String, String)> {
    let services = peer.service_environment().await;
    let known = |name: &str| {
        let inherited = session.variable(name).map(str::to_owned);
        inherited.or_else(|| {
            let given = services.iter().filter_map(|pair| pair.split_once('='));
            given.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
        })
    };
    let mut env: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: Option<String>| {
        env.extend(value.filter(|value| !value.is_empty()).map(|value| (name.to_owned(), value)));
    };
    let socket = match peer.process().await {
        Some(process) => socket_of(session, process),
        None => None,
    };
    let named = socket.and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()));
    set("WAYLAND_DISPLAY", named.or_else(|| known("WAYLAND_DISPLAY")));
    set("DISPLAY", known("DISPLAY"));
    set("XAUTHORITY", known("XAUTHORITY"));
    set("XDG_RUNTIME_DIR", Some(session.runtime_dir.display().to_string()));
    set("XDG_CURRENT_DESKTOP", Some(known("XDG_CURRENT_DESKTOP").unwrap_or_else(|| "GNOME".to_owned())));
    set("XDG_SESSION_TYPE", Some("wayland".to_owned()));
    set("DBUS_SESSION_BUS_ADDRESS", session.bus_address());
    env
}

/// The Wayland socket at which `process` listens. Its name says nothing: any compositor may have taken `wayland-0`.
fn socket_of(session: &SessionEnvironment, process: u32) -> Option<PathBuf> {
    let process = i32::try_from(process).ok()?;
    session.wayland_sockets().into_iter().find(|path| listener(path) == Some(process))
}
