//! gamescope without gamescope: recorded output, and stubs of its programs.

use super::*;
use crate::SessionEnvironment;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc;

/// Everything here ends in milliseconds.
const SOON: Duration = Duration::from_secs(30);

/// Lines of gamescope 3.16.24 as they came, colours and all.
const LOG: &str = "\
[gamescope] [\u{1b}[0;34mInfo\u{1b}[0m]  \u{1b}[0;37mconsole:\u{1b}[0m gamescope version 3.16.24+ds-2 (gcc 15.3.0)
[gamescope] [\u{1b}[0;34mInfo\u{1b}[0m]  \u{1b}[0;37mwlserver:\u{1b}[0m Running compositor on wayland display 'gamescope-3'
[gamescope] [\u{1b}[0;34mInfo\u{1b}[0m]  \u{1b}[0;37mwlserver:\u{1b}[0m [xwayland/server.c:108] Starting Xwayland on :7
[gamescope] [\u{1b}[0;34mInfo\u{1b}[0m]  \u{1b}[0;37mwlserver:\u{1b}[0m [xwayland/server.c:108] Starting Xwayland on :8
[gamescope] [\u{1b}[0;34mInfo\u{1b}[0m]  \u{1b}[0;37mpipewire:\u{1b}[0m stream state changed: paused
[gamescope] [\u{1b}[0;34mInfo\u{1b}[0m]  \u{1b}[0;37mpipewire:\u{1b}[0m stream available on node ID: 44
";

#[test]
fn the_log_names_node_socket_and_display() {
    let mut said = log::Said::default();
    let news = LOG.lines().filter(|line| said.take(line)).count();
    assert_eq!(news, 4);
    let expected = log::Said { node: Some(44), socket: Some("gamescope-3".into()), display: Some(7) };
    assert_eq!(said, expected);
    let mut coloured = log::Said::default();
    coloured.take("\u{1b}[1mstream available on node ID: \u{1b}[0;32m17\u{1b}[0m");
    assert_eq!(coloured.node, Some(17));
    let mut nothing = log::Said::default();
    for line in ["", "stream available on node ID: ", "stream available on node ID: x4", "\u{1b}", "\u{1b}["]
    {
        assert!(!nothing.take(line), "{line:?}");
    }
}

#[test]
fn the_registry_of_pipewire_names_one_node_of_all_that_is_called_gamescope() {
    let stubs = Stubs::new();
    stubs.program("pw-dump", &format!("cat <<'END'\n{}\nEND", include_str!("pw-dump.json")));
    let dump = Dump::take(&stubs.session(), SOON).expect("valid");
    assert_eq!(dump.gamescopes(), [Node { id: 44, pid: Some(149), size: Some((320, 180)) }]);
    assert_eq!(dump.pipewire(), Some(version::Version(1, 6, 9)));
    stubs.program("pw-dump", "echo 'no json'");
    Dump::take(&stubs.session(), SOON).expect_err("not valid");
}

/// A folder of programs that come before the real ones.
struct Stubs {
    dir: tempfile::TempDir,
}

impl Stubs {
    fn new() -> Self {
        let stubs = Self { dir: tempfile::tempdir().expect("temporary directory") };
        fs::create_dir(stubs.dir.path().join("bin")).expect("made");
        stubs
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.dir.path().join("bin").join(name);
        // Renamed into place: nobody can run a file that is open for writing.
        let fresh = self.dir.path().join(name);
        fs::write(&fresh, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).expect("ours");
        fs::rename(fresh, path).expect("moved");
    }

    fn session(&self) -> SessionEnvironment {
        let path = format!("{}:/usr/bin:/bin", self.dir.path().join("bin").display());
        SessionEnvironment {
            runtime_dir: self.dir.path().to_owned(),
            variables: [("PATH".to_owned(), path)].into(),
        }
    }

    fn config(&self) -> DisplayConfig {
        DisplayConfig { session: self.session(), ..DisplayConfig::new(self.dir.path()) }
    }

    /// A gamescope that says what the real one says and runs its app.
    fn gamescope(&self, version: &str, log: &str) {
        let script = format!(
            "[ \"$1\" = --version ] && {{ echo 'gamescope version {version} (gcc 15.3.0)' >&2; exit 0; }}\n\
             echo \"$@\" > {0}/arguments\n\
             {log}\n\
             while [ \"$1\" != -- ]; do shift; done; shift; \"$@\"",
            self.dir.path().display()
        );
        self.program("gamescope", &script);
    }

    fn create(&self, mode: Mode, app: &str) -> Result<VirtualOutput, DisplayError> {
        let launch = AppLaunch {
            title: "A game".into(),
            command: ["/bin/sh", "-c", app].map(str::to_owned).into(),
            env: vec![("GAME".into(), "yes".into()), ("EMPTY".into(), String::new())],
        };
        open(&self.config()).expect("opens").create(mode, &launch)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }
}

const SAY_NODE: &str = "echo \"wlserver: Running compositor on wayland display 'gamescope-5'\"; \
    echo 'Starting Xwayland on :9' >&2; echo 'pipewire: stream available on node ID: 61' >&2";

fn mode(width: u32, height: u32) -> Mode {
    Mode::new(width, height, 60_000).expect("a mode")
}

fn wait_for(what: &str, mut met: impl FnMut() -> bool) {
    let deadline = lumen_media::clock::now() + SOON;
    while !met() {
        assert!(lumen_media::clock::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn marked(stubs: &Stubs) -> usize {
    let wanted = format!("XDG_RUNTIME_DIR={}", stubs.dir.path().display());
    let carries = |pid: &u32| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|all| all.split(|byte| *byte == 0).any(|one| one == wanted.as_bytes()))
    };
    marks::all().into_iter().filter(carries).count()
}

#[test]
fn an_old_gamescope_with_a_new_pipewire_is_refused_before_it_is_started() {
    let stubs = Stubs::new();
    stubs.program("pw-dump", "exit 1");
    stubs.program("pipewire", "echo pipewire; echo 'Linked with libpipewire 1.6.2'");
    stubs.gamescope("3.16.21", SAY_NODE);
    let Err(error @ DisplayError::Unsupported { .. }) = stubs.create(mode(640, 360), "true") else {
        panic!("must be refused");
    };
    let text = error.to_string();
    assert!(text.contains("3.16.21") && text.contains("1.6.2") && text.contains("3.16.22"), "{text}");
    assert!(!stubs.path("arguments").exists(), "it was started");
    let finding = look(&stubs.config());
    assert!(
        matches!(&finding.state, State::Obstructed { remedy, .. } if remedy.contains("3.16.22")),
        "{finding:?}"
    );
    assert_eq!(finding.version, "gamescope 3.16.21");

    // The daemon may be newer than the library.
    stubs.program("pipewire", "echo 'Linked with libpipewire 1.4.9'");
    stubs.program(
        "pw-dump",
        r#"echo '[{"id":0,"type":"PipeWire:Interface:Core","info":{"version":"1.6.0"}}]'"#,
    );
    assert!(stubs.create(mode(640, 360), "true").is_err());

    stubs.program(
        "pw-dump",
        r#"echo '[{"id":0,"type":"PipeWire:Interface:Core","info":{"version":"1.4.9"}}]'"#,
    );
    assert_eq!(look(&stubs.config()).state, State::Ready);
    stubs.create(mode(640, 360), "true").expect("they get along");
}

#[test]
fn it_is_started_at_the_clients_mode_with_the_app_inside() {
    let stubs = Stubs::new();
    stubs.gamescope("3.16.24", SAY_NODE);
    let out = stubs.path("app");
    let app = format!("env > {0}.new; mv {0}.new {0}; exec sleep 600", out.display());
    let output = stubs.create(mode(641, 361), &app).expect("starts");
    assert_eq!((output.effective_mode.width(), output.effective_mode.height()), (640, 360));
    assert!(output.path.reason.contains("640x360"), "{}", output.path.reason);
    let OutputSource::PipeWire(target) = &output.source else { panic!("not PipeWire") };
    assert_eq!(
        (target.node, target.size, target.rate),
        (NodeTarget::Id(61), Some((640, 360)), RateRequest::DontAsk)
    );
    assert!(output.env.contains(&("DISPLAY".into(), ":9".into())), "{:?}", output.env);
    assert!(output.env.contains(&("LIBEI_SOCKET".into(), "gamescope-5-ei".into())), "{:?}", output.env);
    let arguments = fs::read_to_string(stubs.path("arguments")).expect("written");
    assert!(
        arguments.starts_with("--backend headless -W 640 -H 360 -w 640 -h 360 -r 60 -- /bin/sh"),
        "{arguments}"
    );
    wait_for("the app", || out.exists());
    let env = fs::read_to_string(&out).expect("written");
    assert!(env.contains("\nGAME=yes\n") || env.starts_with("GAME=yes\n"), "{env}");
    for absent in ["WAYLAND_DISPLAY=", "\nDISPLAY=", "EMPTY="] {
        assert!(!env.contains(absent), "{absent} in {env}");
    }
    assert!(marked(&stubs) > 0);
    drop(output);
    assert_eq!(marked(&stubs), 0, "processes are left");
    assert_eq!(journal::left_over::<process::Record>(stubs.dir.path(), JOURNAL).len(), 0);
}

#[test]
fn the_end_of_the_app_is_told_once_and_not_after_terminate() {
    let stubs = Stubs::new();
    stubs.gamescope("3.16.24", SAY_NODE);
    let go = stubs.path("go");
    let app = format!("until [ -e {} ]; do sleep 0.01; done", go.display());
    let output = stubs.create(mode(640, 360), &app).expect("starts");
    let contained = output.contained_app.as_ref().expect("inside");
    let (tell, told) = mpsc::channel();
    let first = tell.clone();
    contained.on_end(Box::new(move || first.send("first").expect("heard")));
    assert!(told.try_recv().is_err());
    fs::write(&go, "").expect("written");
    assert_eq!(told.recv_timeout(SOON), Ok("first"));
    // Who comes late hears it at once.
    let late = tell.clone();
    contained.on_end(Box::new(move || late.send("late").expect("heard")));
    assert_eq!(told.recv_timeout(SOON), Ok("late"));
    drop(output);

    let output = stubs.create(mode(640, 360), "exec sleep 600").expect("starts");
    let contained = output.contained_app.as_ref().expect("inside");
    contained.on_end(Box::new(move || tell.send("ended").expect("heard")));
    contained.terminate();
    assert_eq!(marked(&stubs), 0, "processes are left");
    drop(output);
    assert!(told.recv_timeout(SOON).is_err(), "nobody else holds the sender, and nothing was sent");
}

#[test]
fn what_hides_and_what_is_deaf_is_ended_too() {
    let stubs = Stubs::new();
    stubs.gamescope("3.16.24", &format!("trap '' TERM; {SAY_NODE}"));
    let up = stubs.path("up");
    let app = format!(
        "trap '' TERM HUP; setsid sh -c 'trap \"\" TERM; echo > {}; while :; do sleep 600; done' & wait; wait",
        up.display()
    );
    let output = stubs.create(mode(640, 360), &app).expect("starts");
    wait_for("the hidden process", || up.exists());
    drop(output);
    assert_eq!(marked(&stubs), 0, "processes are left");
}

#[test]
fn a_gamescope_that_dies_at_once_says_why() {
    let stubs = Stubs::new();
    stubs.gamescope("3.16.24", "echo '\u{1b}[0;31mvulkan: failed to find a device\u{1b}[0m' >&2; exit 1");
    let Err(error) = stubs.create(mode(640, 360), "true") else { panic!("must fail") };
    let text = error.to_string();
    assert!(text.contains("vulkan: failed to find a device") && !text.contains('\u{1b}'), "{text}");
    assert!(text.contains("in a terminal"), "{text}");
    assert_eq!(journal::left_over::<process::Record>(stubs.dir.path(), JOURNAL).len(), 0);
}

#[test]
fn what_a_killed_host_left_is_ended_at_the_next_start_and_live_ones_stay() {
    let stubs = Stubs::new();
    stubs.gamescope("3.16.24", SAY_NODE);
    let output = stubs.create(mode(640, 360), "exec sleep 600").expect("starts");
    let config = stubs.config();
    journal::Entry::write(&config.state_dir, "gamescope-old", &process::Record { mark: "old-mark".into() })
        .expect("written");
    let mut left = std::process::Command::new("sleep")
        .arg("600")
        .env(marks::MARK, "old-mark")
        .spawn()
        .expect("sleep is everywhere");
    wait_for("its start", || !marks::processes("old-mark").is_empty());
    clean_up(&config);
    assert!(!left.wait().expect("a child").success());
    assert!(marked(&stubs) > 0, "a live one was ended");
    assert_eq!(journal::left_over::<process::Record>(&config.state_dir, JOURNAL).len(), 1);
    drop(output);
}

#[test]
fn the_configured_node_is_shown_as_it_is_and_a_wrong_one_refused() {
    let stubs = Stubs::new();
    stubs.gamescope("3.16.24", SAY_NODE);
    stubs.program("pw-dump", &format!("cat <<'END'\n{}\nEND", include_str!("pw-dump.json")));
    let mut config = stubs.config();
    config.gamescope_node = Some(44);
    let output =
        open(&config).expect("opens").create(mode(1280, 720), &AppLaunch::default()).expect("attaches");
    assert!(output.contained_app.is_none());
    assert_eq!((output.effective_mode.width(), output.effective_mode.height()), (320, 180));
    assert!(output.path.reason.contains("320x180"), "{}", output.path.reason);
    let OutputSource::PipeWire(target) = &output.source else { panic!("not PipeWire") };
    assert_eq!((target.node, target.size), (NodeTarget::Id(44), Some((320, 180))));
    assert!(look(&config).version.ends_with("runs with node 44"));

    config.gamescope_node = Some(45);
    let created = open(&config).expect("opens").create(mode(1280, 720), &AppLaunch::default());
    let Err(error) = created else { panic!("must be refused") };
    let text = error.to_string();
    assert!(
        text.contains("node 45") && text.contains("found: 44") && text.contains("LUMEN_GAMESCOPE_NODE"),
        "{text}"
    );
    assert!(matches!(look(&config).state, State::Obstructed { .. }));

    // Game Mode needs no setting.
    config.gamescope_node = None;
    config.session.variables.insert("XDG_CURRENT_DESKTOP".into(), "gamescope".into());
    let output =
        open(&config).expect("opens").create(mode(320, 180), &AppLaunch::default()).expect("attaches");
    assert_eq!((output.effective_mode, output.path.reason.as_str()), (mode(320, 180), ""));
}

#[test]
fn a_dump_that_does_not_know_us_is_not_taken_for_ours() {
    let stubs = Stubs::new();
    let known = stubs.path("known");
    stubs.gamescope("3.16.24", "echo 'nothing about a node'");
    // Until it is told our process, the dump has a gamescope of somebody else's only.
    let dump = include_str!("pw-dump.json");
    stubs.program(
        "pw-dump",
        &format!(
            "cat > {0}/all <<'END'\n{dump}\nEND\nsed \"s/149/$(cat {1} || echo 149)/\" {0}/all",
            stubs.dir.path().display(),
            known.display()
        ),
    );
    let app = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600", known.display());
    let output = stubs.create(mode(640, 360), &app).expect("found");
    let OutputSource::PipeWire(target) = &output.source else { panic!("not PipeWire") };
    assert_eq!(target.node, NodeTarget::Id(44));
    assert!(Path::new(&known).exists());
}
