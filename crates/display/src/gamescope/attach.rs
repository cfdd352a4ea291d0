//! Showing a gamescope that runs already.

use super::dump::Node;
use super::{input, marks, report, source};
use crate::{DisplayConfig, pulse};
use lumen_media::{Mode, VirtualOutput};

/// What its apps carry and a new one needs.
const APP_VARIABLES: [&str; 5] =
    ["DISPLAY", "XAUTHORITY", "GAMESCOPE_WAYLAND_DISPLAY", "LIBEI_SOCKET", "STEAM_GAME_DISPLAY_0"];

/// The output of `node`, at the size that it has: another one's gamescope is not ours to change.
pub(super) fn output(config: &DisplayConfig, node: &Node, mode: Mode) -> VirtualOutput {
    let (effective_mode, reason) = effective(node, mode);
    tracing::info!(node = node.id, pid = node.pid, effective = %effective_mode, "attached to a running gamescope");
    let mut env = vec![
        ("XDG_RUNTIME_DIR".to_owned(), config.session.runtime_dir.display().to_string()),
        ("XDG_CURRENT_DESKTOP".to_owned(), "gamescope".to_owned()),
        ("XDG_SESSION_TYPE".to_owned(), "x11".to_owned()),
        // It offers Wayland to nobody but its own layer.
        ("WAYLAND_DISPLAY".to_owned(), String::new()),
    ];
    let inside = app_environment(node.pid);
    let socket = inside.iter().find(|(name, _)| name == "LIBEI_SOCKET").map(|(_, value)| value.clone());
    let pid = node.pid;
    let display = inside.iter().find(|(name, _)| name == "GAMESCOPE_WAYLAND_DISPLAY");
    let pulse = display.and_then(|(_, name)| pulse::of(&config.session.runtime_dir.join(name)));
    env.extend(inside);
    if let Some(address) = config.session.bus_address() {
        env.push(("DBUS_SESSION_BUS_ADDRESS".to_owned(), address));
    }
    VirtualOutput {
        path: report(reason),
        source: source(node.id, node.size),
        effective_mode,
        input: input::sink(config, effective_mode, socket.as_deref(), move |listener| Some(listener) == pid),
        pulse,
        env,
        set_mode: None,
        lasting: true,
        contained_app: None,
        keepalive: Box::new(()),
    }
}

fn effective(node: &Node, asked: Mode) -> (Mode, String) {
    let Some((width, height)) = node.size else { return (asked, String::new()) };
    match Mode::new(width, height, asked.refresh_mhz()) {
        Ok(mode) if mode == asked => (asked, String::new()),
        Ok(mode) => (mode, format!("the gamescope that runs has {width}x{height}, its picture is scaled")),
        Err(_) => (asked, String::new()),
    }
}

/// Taken from a program inside: its own children know best, others that were started for it (Steam's session) are as good.
fn app_environment(gamescope: Option<u32>) -> Vec<(String, String)> {
    let inside: Vec<u32> = marks::all()
        .into_iter()
        .filter(|pid| marks::variable(*pid, "GAMESCOPE_WAYLAND_DISPLAY").is_some())
        .collect();
    let descends = |pid: u32| {
        let ancestors =
            std::iter::successors(Some(pid), |pid| marks::parent(*pid).filter(|parent| *parent > 1));
        ancestors.take(64).any(|ancestor| Some(ancestor) == gamescope)
    };
    let model = inside.iter().copied().find(|pid| descends(*pid)).or_else(|| inside.first().copied());
    let Some(model) = model else { return Vec::new() };
    APP_VARIABLES
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), marks::variable(model, name)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_is_that_of_the_node_and_said_so() {
        let asked = Mode::new(1920, 1080, 120_000).expect("a mode");
        let node = |size| Node { id: 44, pid: None, size };
        assert_eq!(effective(&node(Some((1920, 1080))), asked), (asked, String::new()));
        assert_eq!(effective(&node(None), asked), (asked, String::new()));
        let (mode, reason) = effective(&node(Some((1280, 800))), asked);
        assert_eq!((mode.width(), mode.height(), mode.refresh_mhz()), (1280, 800, 120_000));
        assert!(reason.contains("1280x800") && reason.contains("scaled"), "{reason}");
    }
}
