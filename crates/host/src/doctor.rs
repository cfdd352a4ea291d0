//! `lumen doctor`: what this machine can do, and what is in the way, one line per finding with its remedy.

use crate::apps;
use crate::control_socket::Running;
use crate::displays::{self, Displays};
use lumen_config::{Config, Environment, Paths, VideoSource};
use lumen_display::{DisplayKind, Finding as Look, State};
use lumen_encode::{ProbeConfig, ProbeReport, probe};
use lumen_input::pads::Access;
use lumen_media::PathReport;
use lumen_net::bind::Transport;
use std::fmt;
use std::path::Path;

/// How a finding is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    /// As it should be.
    Good,
    /// Works, but less well than it could.
    Notice,
    /// Something that a user expects does not work.
    Problem,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How it is meant.
    pub grade: Grade,
    /// What was looked at.
    pub subject: &'static str,
    /// What was found, and what to do about it.
    pub text: String,
}

/// The whole report; shown as text.
#[derive(Clone, Debug, Default)]
pub struct Report(pub Vec<Finding>);

impl Report {
    /// Whether anything that a user expects does not work.
    pub fn has_problems(&self) -> bool {
        self.0.iter().any(|finding| finding.grade == Grade::Problem)
    }

    fn add(&mut self, grade: Grade, subject: &'static str, text: impl Into<String>) {
        self.0.push(Finding { grade, subject, text: text.into() });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.0 {
            let mark = match finding.grade {
                Grade::Good => "ok     ",
                Grade::Notice => "notice ",
                Grade::Problem => "PROBLEM",
            };
            writeln!(f, "{mark}  {:<12} {}", finding.subject, finding.text)?;
        }
        Ok(())
    }
}

/// How long PipeWire gets to say what it has.
const SOUND_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// Looks at everything. Takes about two seconds, most of it for trying the encoders.
pub fn examine(config: &Config, environment: &Environment, paths: &Paths) -> Report {
    let mut report = Report::default();
    crate::apply_debug(config);
    directories(&mut report, paths);
    let running = host(&mut report, config, paths);
    if !running {
        ports(&mut report, config);
    }
    display(&mut report, config, environment, paths);
    programs(&mut report, config, environment);
    encoders(&mut report, config, &probe(&ProbeConfig::default()));
    firewall(&mut report, config);
    input(&mut report);
    report
}

fn directories(report: &mut Report, paths: &Paths) {
    for (what, dir) in [("state", &paths.state_dir), ("runtime", &paths.runtime_dir)] {
        let existing = dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
        if writable(existing) {
            report.add(Grade::Good, "directories", format!("{what}: {}", dir.display()));
        } else {
            report.add(
                Grade::Problem,
                "directories",
                format!("{what}: {} is not writable; change its owner, or set server.state_dir or XDG_RUNTIME_DIR", dir.display()),
            );
        }
    }
}

/// Tries it: permissions alone do not tell on read-only and on special file systems.
fn writable(dir: &Path) -> bool {
    let trial = dir.join(format!(".lumen-doctor-{}", std::process::id()));
    std::fs::create_dir(&trial).and_then(|()| std::fs::remove_dir(&trial)).is_ok()
}

fn host(report: &mut Report, config: &Config, paths: &Paths) -> bool {
    match Running::find(paths, true) {
        Ok(Running { identity, .. }) if identity.base_port == config.server.ports.http() => {
            report.add(Grade::Good, "host", format!("running, base port {}", identity.base_port));
            true
        }
        Ok(Running { identity, .. }) => {
            let text = format!(
                "running on base port {}; the configured one, {}, counts from its next start on",
                identity.base_port,
                config.server.ports.http()
            );
            report.add(Grade::Notice, "host", text);
            false
        }
        Err(error) => {
            report.add(Grade::Notice, "host", error.to_string());
            false
        }
    }
}

fn ports(report: &mut Report, config: &Config) {
    let ports = config.server.ports;
    let wanted = [
        (Transport::Tcp, ports.https()),
        (Transport::Tcp, ports.http()),
        (Transport::Tcp, ports.rtsp()),
        (Transport::Udp, ports.video()),
        (Transport::Udp, ports.control()),
        (Transport::Udp, ports.audio()),
    ];
    let mut all_free = true;
    for (transport, port) in wanted {
        let refused = match transport {
            Transport::Tcp => lumen_net::bind::tcp(port).err().map(|error| error.to_string()),
            Transport::Udp => lumen_net::udp::UdpPort::bind(port).err().map(|error| error.to_string()),
        };
        if let Some(text) = refused {
            all_free = false;
            report.add(Grade::Problem, "ports", text);
        }
    }
    if all_free {
        let list = wanted.map(|(transport, port)| format!("{port}/{}", transport.to_string().to_lowercase()));
        report.add(Grade::Good, "ports", format!("free: {}", list.join(" ")));
    }
}

/// What the next client gets, in few lines, for the log of a host that starts. Takes up to two seconds.
pub(crate) fn outlook(displays: &Displays, config: &Config, environment: &Environment) -> Report {
    let mut report = Report::default();
    next_stream(&mut report, config, displays, &displays.survey());
    pipewire(&mut report, environment);
    report.0.retain(|finding| finding.subject == "display" || finding.grade != Grade::Good);
    report
}

fn next_stream(report: &mut Report, config: &Config, displays: &Displays, findings: &[Look]) {
    if config.display.source != VideoSource::TestPattern {
        plan(report, crate::display_kind(config.display.compositor), &displays.plan(findings));
    }
}

fn display(report: &mut Report, config: &Config, environment: &Environment, paths: &Paths) {
    // Where no host has run yet. What is in the way is said by `directories`.
    let _ = crate::files::ensure_private_dir(&paths.runtime_dir);
    match displays::of_host(config, environment, paths) {
        Ok(displays) => {
            let findings = displays.survey();
            desktops(report, config, crate::display_kind(config.display.compositor), &findings);
            next_stream(report, config, &displays, &findings);
        }
        Err(error) => report.add(Grade::Problem, "display", error.to_string()),
    }
    if pipewire(report, environment) {
        let found = lumen_audio::survey(environment.runtime_dir.as_deref(), SOUND_PATIENCE);
        sound(report, &found, environment);
    }
    keyboard(report);
}

/// One line per desktop that is there, or that the configuration asks for.
fn desktops(report: &mut Report, config: &Config, requested: DisplayKind, findings: &[Look]) {
    let asked = match config.display.source {
        VideoSource::Virtual if requested == DisplayKind::Auto => None,
        VideoSource::Virtual => Some(requested),
        VideoSource::Portal => Some(DisplayKind::Portal),
        VideoSource::TestPattern => {
            return report.add(
                Grade::Notice,
                "display",
                "the test pattern is streamed, because the configuration says so (display.source)",
            );
        }
    };
    for Look { kind, state, version } in findings {
        let name = match version.as_str() {
            "" => kind.to_string(),
            version => format!("{kind} ({version})"),
        };
        match state {
            State::Ready if *kind == DisplayKind::Portal => {
                let text = format!("{name} can show an existing monitor; input goes {}", kind.input());
                report.add(Grade::Good, "display", text);
            }
            State::Ready => {
                let text = format!("{name} can make outputs; input goes {}", kind.input());
                report.add(Grade::Good, "display", text);
            }
            State::Locked => report.add(
                Grade::Problem,
                "display",
                format!("{name}: the session is locked. Unlock it there or by `loginctl unlock-session`"),
            ),
            State::Silent { cause, remedy } | State::Obstructed { cause, remedy } => {
                let grade = if asked == Some(*kind) { Grade::Problem } else { Grade::Notice };
                report.add(grade, "display", format!("{name}: {cause}. {remedy}"));
            }
            State::Absent if asked == Some(*kind) => report.add(
                Grade::Problem,
                "display",
                format!(
                    "{name} is asked for in the configuration, but does not run here: log into it, or set \
                     display.compositor to \"auto\" and display.source to \"virtual\""
                ),
            ),
            State::Absent => {}
        }
    }
}

/// What the next client gets.
fn plan(report: &mut Report, requested: DisplayKind, plan: &PathReport) {
    let PathReport { effective, reason, .. } = plan;
    let builtin = DisplayKind::Builtin.to_string();
    if *effective == builtin && requested != DisplayKind::Builtin {
        return report.add(
            Grade::Notice,
            "display",
            format!(
                "the next stream comes from the {builtin} compositor ({reason}); to stream a desktop log into KDE \
                 Plasma, GNOME, sway or Hyprland as this user (and see that Lumen has its XDG_RUNTIME_DIR)"
            ),
        );
    }
    report.add(Grade::Good, "display", format!("the next stream comes from {effective} ({reason})"));
}

/// Most desktops hand their pictures over by PipeWire, and all of them their sound. Answers whether it is there.
fn pipewire(report: &mut Report, environment: &Environment) -> bool {
    pulse_audio(report, runs("pulseaudio"));
    let Some(dir) = &environment.runtime_dir else {
        report.add(
            Grade::Notice,
            "pipewire",
            "XDG_RUNTIME_DIR is not set, so no desktop and no PipeWire can be found, and there is no sound; start Lumen in a \
             user session",
        );
        return false;
    };
    let socket = dir.join("pipewire-0");
    let answer = std::os::unix::net::UnixStream::connect(&socket);
    match &answer {
        Ok(_) => report.add(Grade::Good, "pipewire", format!("the daemon answers at {}", socket.display())),
        Err(error) => report.add(
            Grade::Notice,
            "pipewire",
            format!(
                "no daemon at {} ({error}); KDE, GNOME, gamescope and the portal need it, and without it there is no \
                 sound: {}systemctl --user start pipewire wireplumber",
                socket.display(),
                install("pipewire", environment),
            ),
        ),
    }
    answer.is_ok()
}

/// What comes before a command that starts `program`, where that is not installed.
fn install(program: &str, environment: &Environment) -> &'static str {
    let path = environment.path.as_deref().unwrap_or(crate::DEFAULT_PATH);
    match crate::processes::find_program(program, path) {
        Some(_) => "",
        None => {
            "install it (Debian and Ubuntu: sudo apt install pipewire pipewire-pulse wireplumber), then run: "
        }
    }
}

/// Another sound server: programs play to it, and PipeWire, from which sound is captured, hears none of it.
fn pulse_audio(report: &mut Report, running: bool) {
    if running {
        report.add(
            Grade::Notice,
            "sound",
            "PulseAudio runs: what programs play to it is not heard by clients; let PipeWire take its place (Debian and \
             Ubuntu: sudo apt install pipewire-pulse wireplumber, then systemctl --user mask --now pulseaudio.service \
             pulseaudio.socket, and log in again)",
        );
    }
}

/// Whether this user runs a program of this name.
fn runs(name: &str) -> bool {
    use std::os::unix::fs::MetadataExt;
    let user = rustix::process::getuid().as_raw();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter(|process| process.metadata().is_ok_and(|of| of.uid() == user)).any(|process| {
        std::fs::read_to_string(process.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    })
}

/// What clients hear.
fn sound(report: &mut Report, found: &Result<lumen_audio::Survey, String>, environment: &Environment) {
    match found {
        Err(cause) => report.add(Grade::Notice, "sound", format!("no sound: {cause}")),
        Ok(found) if !found.session_manager => report.add(
            Grade::Notice,
            "sound",
            format!(
                "no sound: PipeWire runs without a session manager: {}systemctl --user start wireplumber",
                install("wireplumber", environment)
            ),
        ),
        Ok(lumen_audio::Survey { default: Some(sink), .. }) => {
            report.add(Grade::Good, "sound", format!("the default sink is {sink}"));
        }
        Ok(_) => report.add(
            Grade::Notice,
            "sound",
            "no sink: clients that want the sound on the host's speakers too get silence; the others hear what is played to \
             a sink made for them",
        ),
    }
}

fn keyboard(report: &mut Report) {
    if Path::new("/usr/share/X11/xkb/rules/evdev").exists() {
        report.add(Grade::Good, "keyboard", "key maps are there");
    } else {
        report.add(Grade::Problem, "keyboard", "the key maps are missing: install the package xkb-data");
    }
}

fn programs(report: &mut Report, config: &Config, environment: &Environment) {
    let path = environment.path.as_deref().unwrap_or(crate::DEFAULT_PATH);
    for app in &config.apps {
        let launch = crate::app_launch(app);
        match apps::resolve(&launch, path) {
            Ok((program, _)) => {
                report.add(Grade::Good, "apps", format!("\"{}\" runs {}", app.title, program.display()));
            }
            Err(error) => report.add(Grade::Problem, "apps", error.to_string()),
        }
    }
}

fn encoders(report: &mut Report, config: &Config, probed: &ProbeReport) {
    for codec in &probed.codecs {
        let grade = if codec.offered { Grade::Good } else { Grade::Notice };
        report.add(grade, "encoders", format!("{}: {}", codec.codec, codec.reason));
    }
    let offers = crate::offered_codecs(config, probed);
    if offers.is_empty() {
        report.add(
            Grade::Problem,
            "encoders",
            "no codec can be offered: install FFmpeg with libx264 (package libavcodec-extra or libavcodec-dev), or set video.codecs",
        );
    } else {
        let names: Vec<_> = offers.iter().map(ToString::to_string).collect();
        report.add(Grade::Good, "encoders", format!("offered to clients: {}", names.join(", ")));
    }
}

fn firewall(report: &mut Report, config: &Config) {
    let ports = config.server.ports;
    let open = format!(
        "open TCP {}, {}, {} and UDP {} to {} in it, and UDP 5353 for discovery",
        ports.https(),
        ports.http(),
        ports.rtsp(),
        ports.video(),
        ports.audio()
    );
    let active = |unit: &str| {
        Path::new(&format!("/run/systemd/units/invocation:{unit}.service")).exists()
            || std::fs::symlink_metadata(format!("/run/systemd/units/invocation:{unit}.service")).is_ok()
    };
    let ufw = std::fs::read_to_string("/etc/ufw/ufw.conf").is_ok_and(|text| text.contains("ENABLED=yes"));
    if ufw {
        report.add(Grade::Notice, "firewall", format!("ufw is on: {open}"));
    } else if active("firewalld") {
        report.add(Grade::Notice, "firewall", format!("firewalld is on: {open}"));
    } else if active("nftables") {
        report.add(
            Grade::Notice,
            "firewall",
            format!("nftables rules are loaded: {open} unless they allow it already"),
        );
    } else {
        report.add(Grade::Good, "firewall", "neither ufw, firewalld nor an nftables service is on");
    }
}

fn input(report: &mut Report) {
    for (path, access) in lumen_input::pads::access() {
        let (module, purpose) = match path {
            "/dev/uinput" => ("uinput", "there are no gamepads"),
            _ => ("uhid", "PlayStation gamepads become Xbox ones, without touchpad, motion and light"),
        };
        gamepads(report, path, module, purpose, access);
    }
}

fn gamepads(report: &mut Report, path: &str, module: &str, without: &str, access: Access) {
    let rule = "install packaging/60-lumen.rules in /etc/udev/rules.d, then run: sudo udevadm control --reload && sudo udevadm \
                trigger; if nobody sits at this machine also: sudo usermod -aG input $USER, and log in again";
    match access {
        Access::Granted => report.add(Grade::Good, "gamepads", format!("{path} can be used")),
        Access::Missing => report.add(
            Grade::Notice,
            "gamepads",
            format!(
                "{path} is missing, so {without}; run: sudo modprobe {module}, and put {module} into /etc/modules-load.d/lumen.conf"
            ),
        ),
        Access::Denied => report.add(
            Grade::Notice,
            "gamepads",
            format!("{path} is not open to this user, so {without}; {rule}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_is_judged_by_what_pipewire_has() {
        let said = |found: Result<lumen_audio::Survey, String>| {
            let mut report = Report::default();
            let environment = Environment { path: Some("/nonexistent".into()), ..Environment::default() };
            sound(&mut report, &found, &environment);
            assert!(!report.has_problems());
            report.to_string()
        };
        let survey = lumen_audio::Survey::default();
        assert!(said(Err("it is silent".into())).contains("it is silent"));
        let text = said(Ok(survey.clone()));
        assert!(text.contains("apt install") && text.contains("start wireplumber"), "{text}");
        let managed = lumen_audio::Survey { session_manager: true, ..survey };
        assert!(said(Ok(managed.clone())).contains("no sink"));
        let text = said(Ok(lumen_audio::Survey { default: Some("speakers".into()), ..managed }));
        assert!(text.starts_with("ok") && text.contains("speakers"), "{text}");
    }

    #[test]
    fn another_sound_server_is_named() {
        for running in [false, true] {
            let mut report = Report::default();
            pulse_audio(&mut report, running);
            assert_eq!(report.to_string().contains("PulseAudio runs"), running, "{report}");
        }
        let own = std::fs::read_to_string("/proc/self/comm").expect("readable");
        assert!(runs(own.trim_end()));
        assert!(!runs("no such program"));
    }

    #[test]
    fn a_taken_port_is_named_with_its_holder() {
        let taken = std::net::UdpSocket::bind("0.0.0.0:0").expect("a port");
        let video = taken.local_addr().expect("bound").port();
        let mut config = Config::default();
        config.server.ports = lumen_config::Ports::new(video - 9).expect("high enough");
        let mut report = Report::default();
        ports(&mut report, &config);
        assert!(report.has_problems());
        let text = report.to_string();
        assert!(text.contains(&format!("UDP port {video}")), "{text}");
        assert!(text.contains("base port"), "{text}");
    }

    #[test]
    fn a_missing_program_is_a_problem_with_a_remedy() {
        let mut report = Report::default();
        let environment = Environment { path: Some("/nonexistent".into()), ..Environment::default() };
        programs(&mut report, &Config::default(), &environment);
        assert!(report.has_problems());
        assert!(report.to_string().contains("Install foot"), "{report}");
    }

    #[test]
    fn gamepads_that_cannot_be_had_have_a_remedy() {
        let text = |access| {
            let mut report = Report::default();
            gamepads(&mut report, "/dev/uhid", "uhid", "something is less", access);
            report.to_string()
        };
        assert!(text(Access::Granted).starts_with("ok"));
        assert!(text(Access::Missing).contains("so something is less; run: sudo modprobe uhid"));
        let denied = text(Access::Denied);
        assert!(denied.starts_with("notice") && denied.contains("packaging/60-lumen.rules"), "{denied}");
    }

    fn look(kind: DisplayKind, state: State, version: &str) -> Look {
        Look { kind, state, version: version.into() }
    }

    fn desktops_of(config: &Config, findings: &[Look]) -> String {
        let mut report = Report::default();
        desktops(&mut report, config, crate::display_kind(config.display.compositor), findings);
        report.to_string()
    }

    #[test]
    fn without_a_desktop_there_is_one_line_that_says_what_happens_instead() {
        let absent = [DisplayKind::Kwin, DisplayKind::Mutter, DisplayKind::Portal]
            .map(|kind| look(kind, State::Absent, ""));
        assert_eq!(desktops_of(&Config::default(), &absent), "");
        let planned = |requested| {
            let mut report = Report::default();
            let path = PathReport {
                effective: "built-in".into(),
                reason: "no desktop runs here".into(),
                ..PathReport::default()
            };
            plan(&mut report, requested, &path);
            report.to_string()
        };
        let text = planned(DisplayKind::Auto);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("notice") && text.contains("log into KDE"), "{text}");
        // Who asks for it gets what he asked for.
        assert!(planned(DisplayKind::Builtin).starts_with("ok"));
    }

    #[test]
    fn each_desktop_has_its_line_and_its_remedy() {
        let obstructed = State::Obstructed {
            cause: "no grant".into(),
            remedy: "Run lumen setup, then log in again".into(),
        };
        let findings = [
            look(DisplayKind::Kwin, obstructed, "KWin 6.7.4"),
            look(DisplayKind::Wlroots, State::Ready, "sway 1.12"),
            look(DisplayKind::Hyprland, State::Absent, ""),
        ];
        let mut config = Config::default();
        let text = desktops_of(&config, &findings);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(
            text.contains("notice   display      kwin (KWin 6.7.4): no grant. Run lumen setup"),
            "{text}"
        );
        assert!(text.contains("ok       display      wlroots (sway 1.12) can make outputs"), "{text}");
        // What the configuration asks for and cannot be had is a problem.
        config.display.compositor = lumen_config::CompositorChoice::Kwin;
        assert!(desktops_of(&config, &findings).contains("PROBLEM  display      kwin"));
        config.display.compositor = lumen_config::CompositorChoice::Hyprland;
        let text = desktops_of(&config, &findings);
        assert!(text.contains("PROBLEM  display      hyprland is asked for"), "{text}");
    }

    #[test]
    fn an_unreachable_pipewire_is_named_with_the_remedy() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let programs = dir.path().to_str().expect("text");
        let environment = Environment {
            runtime_dir: Some(dir.path().into()),
            path: Some(programs.into()),
            ..Environment::default()
        };
        let mut report = Report::default();
        pipewire(&mut report, &environment);
        let text = report.to_string();
        assert!(text.contains("apt install pipewire") && text.contains("systemctl --user start"), "{text}");
        std::fs::copy("/bin/true", dir.path().join("pipewire")).expect("copied");
        let mut report = Report::default();
        pipewire(&mut report, &environment);
        let text = report.to_string();
        assert!(!text.contains("apt") && text.contains("systemctl --user start pipewire"), "{text}");
        let _listener = std::os::unix::net::UnixListener::bind(dir.path().join("pipewire-0")).expect("bound");
        let mut report = Report::default();
        pipewire(&mut report, &environment);
        assert!(report.to_string().starts_with("ok"), "{report}");
    }

    #[test]
    fn an_unwritable_directory_is_a_problem() {
        let mut report = Report::default();
        let mut paths = Paths::new(None, &Environment::default(), &Config::default());
        paths.state_dir = "/proc/lumen".into();
        directories(&mut report, &paths);
        assert!(report.has_problems());
        assert!(report.to_string().contains("/proc/lumen"), "{report}");
    }
}
