//! Starting a gamescope with the app inside.

use super::dump::Dump;
use super::log::Said;
use super::process::{Contained, Keepalive, Mark, Record, Spawned};
use super::{JOURNAL, NAME, QUESTION, input, report, source, tool};
use crate::journal::Entry;
use crate::{DisplayConfig, SessionEnvironment, pulse};
use lumen_media::{AppLaunch, DisplayError, Mode, VirtualOutput, clock};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// For gamescope to come up: a tenth of it where shaders are compiled already, most of it in an emulator.
const START: Duration = Duration::from_secs(30);
/// How long the log alone is listened to; then PipeWire is asked too.
const LOG_ALONE: Duration = Duration::from_secs(3);
/// Between two questions to PipeWire.
const AGAIN: Duration = Duration::from_secs(1);

/// What gamescope must not inherit: with a display of somebody else's it opens a window there, or ends when the display
/// is gone.
const FOREIGN: [&str; 8] = [
    "WAYLAND_DISPLAY",
    "WAYLAND_SOCKET",
    "DISPLAY",
    "XAUTHORITY",
    "GAMESCOPE_WAYLAND_DISPLAY",
    "LIBEI_SOCKET",
    "SWAYSOCK",
    "HYPRLAND_INSTANCE_SIGNATURE",
];

/// Where installations put Vulkan's layers, each in `share/vulkan/implicit_layer.d`.
const PREFIXES: [&str; 2] = ["/usr", "/usr/local"];

/// A gamescope at `mode` with `launch` inside.
pub(super) fn output(
    config: &DisplayConfig,
    program: &Path,
    mode: Mode,
    launch: &AppLaunch,
) -> Result<VirtualOutput, DisplayError> {
    let app = app(&config.session, launch)?;
    let (effective_mode, reason) = effective(mode)?;
    let mark = Mark::new();
    let record = Record { mark: mark.value().to_owned() };
    let entry = Entry::write(&config.state_dir, &format!("{JOURNAL}{}", mark.value()), &record)
        .inspect_err(|error| {
            tracing::warn!(%error, "the layout journal cannot be written; if Lumen is killed, its gamescope stays");
        })
        .ok();
    let command = command(config, program, effective_mode, launch, &app);
    let cannot_start = |error: std::io::Error| {
        DisplayError::Other(format!("gamescope ({}) cannot be started: {error}", program.display()))
    };
    let log = log_file(&config.state_dir, &launch.title);
    let spawned =
        Spawned::start(command, mark, entry, &config.session.runtime_dir, log).map_err(cannot_start)?;
    tracing::info!(pid = spawned.pid(), effective = %effective_mode, app = launch.title, "gamescope started");
    let (node, said) = node(config, &spawned)?;
    let spawned = Arc::new(spawned);
    let contained = Contained(Arc::downgrade(&spawned));
    Ok(VirtualOutput {
        path: report(reason),
        source: source(node, Some((effective_mode.width(), effective_mode.height()))),
        effective_mode,
        input: {
            let socket = said.socket.as_ref().map(|name| format!("{name}-ei"));
            let owner = Arc::downgrade(&spawned);
            let owns = move |pid| owner.upgrade().is_some_and(|spawned| spawned.owns(pid));
            input::sink(config, effective_mode, socket.as_deref(), owns)
        },
        pulse: said.socket.as_ref().and_then(|name| pulse::of(&config.session.runtime_dir.join(name))),
        env: environment(&config.session, &said),
        set_mode: None,
        lasting: false,
        contained_app: Some(Box::new(contained)),
        keepalive: Box::new(Keepalive(spawned)),
    })
}

/// The app's program and arguments. gamescope shows nothing without one.
fn app(session: &SessionEnvironment, launch: &AppLaunch) -> Result<Vec<String>, DisplayError> {
    let unsupported = |cause: String, remedy: &str| DisplayError::Unsupported {
        backend: NAME,
        cause,
        remedy: remedy.to_owned(),
    };
    let Some((program, arguments)) = launch.command.split_first() else {
        return Err(unsupported(
            format!("it shows one app and has no desktop, and \"{}\" names no program", launch.title),
            "Start an app that has a command, give this one a command in the configuration (for example \
             steam -gamepadui), or set display.compositor to `auto`",
        ));
    };
    let found = tool::find(session, program).ok_or_else(|| {
        unsupported(
            format!("\"{}\" needs the program {program}, which is not installed", launch.title),
            "Install it, or change its command in the configuration",
        )
    })?;
    Ok(std::iter::once(found.display().to_string()).chain(arguments.iter().cloned()).collect())
}

/// gamescope's stream has even sides, and its rate is a whole number of hertz.
fn effective(asked: Mode) -> Result<(Mode, String), DisplayError> {
    let (width, height) = (asked.width() & !1, asked.height() & !1);
    let hertz = (asked.refresh_mhz() + 500) / 1000;
    let mode = Mode::new(width, height, hertz.max(1) * 1000).map_err(|error| {
        DisplayError::Other(format!(
            "gamescope cannot show {asked}: {error}. Choose another resolution in the client"
        ))
    })?;
    let mut reasons = Vec::new();
    if (width, height) != (asked.width(), asked.height()) {
        reasons.push(format!("gamescope has even sizes only: {width}x{height}"));
    }
    if mode.refresh_mhz() != asked.refresh_mhz() {
        reasons.push(format!("gamescope has whole rates only: {hertz} Hz"));
    }
    Ok((mode, reasons.join("; ")))
}

fn command(
    config: &DisplayConfig,
    program: &Path,
    mode: Mode,
    launch: &AppLaunch,
    app: &[String],
) -> Command {
    let [width, height] = [mode.width(), mode.height()].map(|side| side.to_string());
    let hertz = (mode.refresh_mhz() / 1000).to_string();
    let mut command = tool::command(&config.session, program);
    command.args([
        "--backend",
        "headless",
        "-W",
        &width,
        "-H",
        &height,
        "-w",
        &width,
        "-h",
        &height,
        "-r",
        &hertz,
    ]);
    command.arg("--").args(app);
    if !wsi_layer_fits(program, &PREFIXES.map(Path::new)) {
        // gamescope itself switches the layer on, so both.
        command.env("ENABLE_GAMESCOPE_WSI", "0").env("DISABLE_GAMESCOPE_WSI", "1");
    }
    // It takes the keyboard of its apps from nowhere else.
    command.env("XKB_DEFAULT_LAYOUT", config.own_layout());
    command.env("XKB_DEFAULT_VARIANT", config.keyboard_variant.as_deref().unwrap_or_default());
    if let Some(address) = config.session.bus_address() {
        command.env("DBUS_SESSION_BUS_ADDRESS", address);
    }
    for (name, value) in &launch.env {
        if value.is_empty() {
            command.env_remove(name);
        } else {
            command.env(name, value);
        }
    }
    for name in FOREIGN {
        command.env_remove(name);
    }
    if let Some(home) = config.session.variable("HOME").map(Path::new).filter(|home| home.is_dir()) {
        command.current_dir(home);
    }
    command
}

/// Whether the Vulkan layer that apps load comes from the same installation as gamescope: it speaks a protocol of its own
/// with it, and games crash where the two are of different versions, which neither tells.
fn wsi_layer_fits(program: &Path, prefixes: &[&Path]) -> bool {
    let program = program.canonicalize().unwrap_or_else(|_| program.to_owned());
    let Some(own) = program.parent().and_then(Path::parent) else { return false };
    let has_layer = |prefix: &Path| {
        let entries =
            std::fs::read_dir(prefix.join("share/vulkan/implicit_layer.d")).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| entry.file_name().to_string_lossy().contains("gamescope_wsi"))
    };
    // Vulkan takes any of several, so its own must be the only one.
    has_layer(own) && !prefixes.iter().any(|other| *other != own && has_layer(other))
}

/// Waits for the video node: by the log, and when that does not tell, by PipeWire's registry.
fn node(config: &DisplayConfig, spawned: &Spawned) -> Result<(u32, Said), DisplayError> {
    let died = |how: String| {
        DisplayError::Other(format!(
            "{how}. Start it in a terminal (gamescope --backend headless -- glxgears) to see why"
        ))
    };
    let deadline = clock::now() + START;
    let mut patience = LOG_ALONE;
    loop {
        let said = spawned.news(patience, |said| said.node.is_some()).map_err(died)?;
        if let Some(node) = said.node {
            return Ok((node, said));
        }
        patience = AGAIN;
        match Dump::take(&config.session, QUESTION) {
            Ok(dump) => {
                let mut nodes = dump.gamescopes().into_iter();
                if let Some(node) = nodes.find(|node| node.pid.is_some_and(|pid| spawned.owns(pid))) {
                    tracing::info!(node = node.id, "gamescope's log does not name its node; PipeWire does");
                    return Ok((node.id, said));
                }
            }
            Err(error) => tracing::debug!(%error, "pw-dump"),
        }
        if clock::now() >= deadline {
            return Err(DisplayError::Timeout {
                backend: NAME,
                waited_for: "its PipeWire node, in its log and in PipeWire".into(),
                limit: START,
            });
        }
    }
}

/// For programs beside the app.
fn environment(session: &SessionEnvironment, said: &Said) -> Vec<(String, String)> {
    let mut env = vec![
        ("XDG_RUNTIME_DIR", session.runtime_dir.display().to_string()),
        ("XDG_CURRENT_DESKTOP", "gamescope".to_owned()),
        ("XDG_SESSION_TYPE", "x11".to_owned()),
        ("WAYLAND_DISPLAY", String::new()),
    ];
    if let Some(display) = said.display {
        env.push(("DISPLAY", format!(":{display}")));
    }
    if let Some(socket) = &said.socket {
        env.push(("GAMESCOPE_WAYLAND_DISPLAY", socket.clone()));
        env.push(("LIBEI_SOCKET", format!("{socket}-ei")));
    }
    if let Some(address) = session.bus_address() {
        env.push(("DBUS_SESSION_BUS_ADDRESS", address));
    }
    env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Where gamescope's and the app's output goes, named like the logs of other apps.
fn log_file(state_dir: &Path, title: &str) -> Option<File> {
    let name: String = title.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let folder: PathBuf = state_dir.join("logs");
    let file =
        std::fs::create_dir_all(&folder).and_then(|()| File::create(folder.join(format!("app-{name}.log"))));
    file.inspect_err(|error| tracing::warn!(%error, "the app's log cannot be written")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_even_and_rates_whole_and_both_are_said() {
        let (mode, reason) = effective(Mode::new(1281, 721, 59_940).expect("a mode")).expect("possible");
        assert_eq!((mode.width(), mode.height(), mode.refresh_mhz()), (1280, 720, 60_000));
        assert!(reason.contains("1280x720") && reason.contains("60 Hz"), "{reason}");
        let exact = Mode::new(1280, 720, 120_000).expect("a mode");
        assert_eq!(effective(exact).expect("possible"), (exact, String::new()));
    }

    #[test]
    fn a_desktop_without_a_command_is_refused_with_the_remedy() {
        let session = SessionEnvironment::default();
        let launch = AppLaunch { title: "Desktop".into(), ..AppLaunch::default() };
        let text = app(&session, &launch).expect_err("nothing to show").to_string();
        assert!(text.contains("\"Desktop\"") && text.contains("steam -gamepadui"), "{text}");
        let launch = AppLaunch { command: vec!["no-such-game".into()], ..launch };
        let text = app(&session, &launch).expect_err("not installed").to_string();
        assert!(text.contains("no-such-game"), "{text}");
    }

    #[test]
    fn only_the_layer_of_the_same_installation_is_used() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let [own, other] = ["own", "other"].map(|name| dir.path().join(name));
        let layers = |prefix: &Path| prefix.join("share/vulkan/implicit_layer.d");
        let program = own.join("bin/gamescope");
        for folder in [own.join("bin"), layers(&own), layers(&other)] {
            std::fs::create_dir_all(folder).expect("made");
        }
        std::fs::write(&program, "").expect("written");
        let prefixes = [own.as_path(), other.as_path()];
        let manifest = "VkLayer_FROG_gamescope_wsi.x86_64.json";
        assert!(!wsi_layer_fits(&program, &prefixes));
        std::fs::write(layers(&own).join(manifest), "{}").expect("written");
        assert!(wsi_layer_fits(&program, &prefixes));
        std::fs::write(layers(&other).join(manifest), "{}").expect("written");
        assert!(!wsi_layer_fits(&program, &prefixes));
    }
}
