//! GNOME's compositor: exact modes, pictures, places of monitors and windows, ends of all kinds.

use crate::eyes::{self, Told, look, wait_for_the_end, wl_outputs};
use crate::killed;
use lumen_display::{Chooser, DisplayConfig, DisplayKind, SessionEnvironment, State, Topology};
use lumen_lab::{Desktop, GnomeShell, Mutter, MutterOptions, Process, Session, wait_for};
use lumen_media::slot::Wait;
use lumen_media::{AppLaunch, DisplayError, Mode, VirtualDisplay, VirtualOutput, clock};
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use zbus::zvariant::OwnedValue;

/// For anything that must come.
const SOON: Duration = Duration::from_secs(10);

struct Lab {
    session: Session,
    mutter: Mutter,
    state: TempDir,
}

/// A monitor in the layout: connector, mode, x, y, scale, primary.
type Place = (String, String, i32, i32, f64, bool);

impl Lab {
    fn start(name: &str, monitors: &[(u32, u32)]) -> Option<Self> {
        let session = lumen_lab::session_for(name, &["mutter", "pipewire", "wireplumber"])?;
        let mutter = start_mutter(&session, monitors);
        let state = tempfile::tempdir().expect("temporary directory");
        Some(Self { session, mutter, state })
    }

    fn config(&self, topology: Topology) -> DisplayConfig {
        config(&self.session.runtime_dir().display().to_string(), self.state.path(), topology)
    }

    fn chooser(&self, topology: Topology) -> Chooser {
        Chooser::new(DisplayKind::Mutter, self.config(topology)).expect("a chooser")
    }

    fn create(&self, topology: Topology, mode: Mode) -> VirtualOutput {
        self.chooser(topology).create(mode, &AppLaunch::default()).expect("an output")
    }

    /// The layout, as Mutter tells it to anyone.
    fn layout(&self) -> Vec<Place> {
        layout(&self.session)
    }

    fn wait_for_layout(&self, what: &str, wanted: &[Place]) {
        if wait_for(what, SOON, || (self.layout() == wanted).then_some(())).is_err() {
            panic!("{what}: {:?} instead of {wanted:?}", self.layout());
        }
    }

    fn outputs(&self) -> Vec<Told> {
        let display = self.mutter.wayland_display().expect("a Wayland display");
        wl_outputs(&self.session.runtime_dir().join(display))
    }

    fn testcard(&self, name: &str, env: &[(String, String)]) -> Process {
        let mut command = self.session.command(eyes::testcard());
        let log = self.card_log(name);
        command.envs(env.iter().cloned()).args(["--clock", "callback", "--log"]).arg(log);
        self.session.spawn(name, command).expect("the test card")
    }

    fn card_log(&self, name: &str) -> std::path::PathBuf {
        self.session.home().join(format!("{name}.jsonl"))
    }

    /// The size that a new full-screen window is given: that of the monitor where it opened.
    fn where_windows_open(&self, name: &str, env: &[(String, String)]) -> (u64, u64) {
        let card = self.testcard(name, env);
        let log = self.card_log(name);
        card.wait_until("the window's size", SOON, || {
            let text = std::fs::read_to_string(&log).ok()?;
            let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            let configured = lines.into_iter().find(|line| line["fullscreen"] == true)?;
            Some((configured["width"].as_u64()?, configured["height"].as_u64()?))
        })
        .expect("a full-screen window")
    }

    fn journal(&self) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(self.state.path().join("layout")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }
}

fn start_mutter(session: &Session, monitors: &[(u32, u32)]) -> Mutter {
    let monitors =
        monitors.iter().map(|(width, height)| lumen_lab::Mode::new(*width, *height, 60.0)).collect();
    Mutter::start(session, &MutterOptions { monitors }).expect("Mutter")
}

fn config(runtime_dir: &str, state: &Path, topology: Topology) -> DisplayConfig {
    let bus = format!("unix:path={runtime_dir}/bus");
    DisplayConfig {
        state_dir: state.to_owned(),
        session: SessionEnvironment {
            runtime_dir: runtime_dir.into(),
            variables: [("DBUS_SESSION_BUS_ADDRESS".to_owned(), bus)].into(),
        },
        topology,
        ..DisplayConfig::new(runtime_dir)
    }
}

type Properties = HashMap<String, OwnedValue>;
type Name = (String, String, String, String);
type RawMode = (String, i32, i32, f64, f64, Vec<f64>, Properties);
type RawPlace = (i32, i32, f64, u32, bool, Vec<Name>, Properties);
type RawState = (u32, Vec<(Name, Vec<RawMode>, Properties)>, Vec<RawPlace>, Properties);

const DISPLAY_CONFIG: &str = "org.gnome.Mutter.DisplayConfig";

fn monitors(session: &Session) -> RawState {
    let bus = session.bus().expect("the bus");
    let path = "/org/gnome/Mutter/DisplayConfig";
    let answer = bus.call_method(Some(DISPLAY_CONFIG), path, Some(DISPLAY_CONFIG), "GetCurrentState", &());
    answer.expect("an answer").body().deserialize().expect("the monitors")
}

fn layout(session: &Session) -> Vec<Place> {
    let (_, monitors, placed, _) = monitors(session);
    let mode = |connector: &str| {
        let (_, modes, _) = monitors.iter().find(|(name, ..)| name.0 == connector).expect("its monitor");
        let current = modes.iter().find(|mode| mode.6.contains_key("is-current"));
        current.expect("a current mode").0.clone()
    };
    let mut places: Vec<_> = placed
        .into_iter()
        .map(|(x, y, scale, _, primary, names, _)| {
            (names[0].0.clone(), mode(&names[0].0), x, y, scale, primary)
        })
        .collect();
    places.sort_by(|one, two| one.0.cmp(&two.0));
    places
}

/// Gives the monitors another layout than the one that Mutter would choose, as a user may.
fn rearrange(session: &Session, places: &[Place]) {
    let serial = monitors(session).0;
    let placed: Vec<_> = places
        .iter()
        .map(|(connector, mode, x, y, scale, primary)| {
            let head = (connector.as_str(), mode.as_str(), HashMap::<&str, zbus::zvariant::Value<'_>>::new());
            (*x, *y, *scale, 0_u32, *primary, vec![head])
        })
        .collect();
    let bus = session.bus().expect("the bus");
    let nothing = HashMap::<&str, zbus::zvariant::Value<'_>>::new();
    let path = "/org/gnome/Mutter/DisplayConfig";
    let asked = (serial, 1_u32, placed, nothing);
    bus.call_method(Some(DISPLAY_CONFIG), path, Some(DISPLAY_CONFIG), "ApplyMonitorsConfig", &asked)
        .expect("the layout is taken");
    wait_for("the user's layout", SOON, || (layout(session) == places).then_some(())).expect("the layout");
}

fn place(connector: &str, mode: &str, (x, y): (i32, i32), scale: f64, primary: bool) -> Place {
    (connector.into(), mode.into(), x, y, scale, primary)
}

fn mode(width: u32, height: u32, refresh_mhz: u32) -> Mode {
    Mode::new(width, height, refresh_mhz).expect("a mode")
}

#[test]
fn modes_are_exact_and_pictures_show_them() {
    let Some(lab) = Lab::start("mutter-modes", &[]) else { return };
    println!("{}", lab.mutter.version().expect("a version"));
    for refresh in [120_000, 59_940] {
        let wanted = mode(1264, 720, refresh);
        let asked = clock::now();
        let output = lab.create(Topology::Primary, wanted);
        println!("1264x720 at {refresh} mHz: output after {:?}", clock::now().since(asked));
        assert_eq!(output.effective_mode, wanted);
        assert_eq!(output.path.effective, "mutter");
        let name = format!("1264x720@{}.{:03}", refresh / 1000, refresh % 1000);
        let layout = lab.layout();
        assert_eq!(layout.len(), 1, "{layout:?}");
        assert_eq!((layout[0].1.as_str(), layout[0].5), (name.as_str(), true));
        let told = lab.outputs();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].width, told[0].height, told[0].refresh), (1264, 720, refresh as i32));

        let mut frames = eyes::open(output.source, output.effective_mode, lab.session.runtime_dir());
        let card = lab.testcard("card", &output.env);
        // The window's way onto the screen is not what is measured.
        look(frames.as_mut(), 5, SOON);
        let seen = look(frames.as_mut(), 100, SOON);
        seen.print(&format!("1264x720 at {refresh} mHz ({})", frames.report().format));
        assert!(seen.cards.len() >= 20, "{seen:?}");
        match lumen_lab::overload() {
            Some(load) => lumen_lab::left_out("the share of pictures", &format!("the load is {load}")),
            None => assert!(seen.share() >= 0.9, "{seen:?}"),
        }
        assert!(seen.colours_are_right(), "{}", seen.worst_colour);
        assert_eq!(seen.sizes, [(1264, 720)]);
        drop(card);
        drop(frames);
        drop(output.keepalive);
        assert_eq!(lab.layout(), [], "the output is gone when its drop returns");
        assert!(lab.journal().is_empty());
    }
    let nodes = wait_for("the end of the nodes", SOON, || {
        lab.session.video_nodes().expect("PipeWire answers").is_empty().then_some(())
    });
    assert!(nodes.is_ok(), "{:?}", lab.session.video_nodes());
}

#[test]
fn programs_are_told_where_the_desktop_is() {
    let Some(lab) = Lab::start("mutter-env", &[(1280, 720)]) else { return };
    let output = lab.create(Topology::Extend, mode(800, 600, 60_000));
    let env: HashMap<_, _> = output.env.iter().cloned().collect();
    assert_eq!(env["WAYLAND_DISPLAY"], lab.mutter.wayland_display().expect("a display"));
    assert_eq!(env["XDG_RUNTIME_DIR"], lab.session.runtime_dir().display().to_string());
    assert_eq!(env["DBUS_SESSION_BUS_ADDRESS"], lab.session.bus_address());
    assert_eq!(env["XDG_CURRENT_DESKTOP"], "GNOME");
}

/// What a user may have: the second monitor on the left, scaled, primary.
fn users_layout() -> [Place; 2] {
    [
        place("Meta-0", "1280x720@60.000", (800, 0), 1.0, false),
        place("Meta-1", "1000x750@60.000", (0, 0), 1.25, true),
    ]
}

#[test]
fn windows_open_where_the_topology_wants_them_and_the_layout_comes_back() {
    let Some(lab) = Lab::start("mutter-topology", &[(1280, 720), (1000, 750)]) else { return };
    let before = users_layout();
    rearrange(&lab.session, &before);
    let mut env = Vec::new();
    for topology in [Topology::Extend, Topology::Primary, Topology::Exclusive] {
        let output = lab.create(topology, mode(1264, 720, 60_000));
        let frames = eyes::open(output.source, output.effective_mode, lab.session.runtime_dir());
        let layout = lab.layout();
        println!("{topology:?}: {layout:?}");
        let ours = layout.iter().find(|place| place.1 == "1264x720@60.000").expect("ours").clone();
        let kept: Vec<_> = layout.iter().filter(|place| place.0 != ours.0).cloned().collect();
        match topology {
            Topology::Extend => assert_eq!((kept.as_slice(), ours.5), (before.as_slice(), false)),
            Topology::Primary => {
                assert!(kept.iter().all(|place| !place.5) && ours.5, "{layout:?}");
                assert_eq!(kept[0], before[0]);
                assert_eq!((kept[1].2, kept[1].3, kept[1].4), (before[1].2, before[1].3, before[1].4));
            }
            _ => assert_eq!((kept.len(), ours.2, ours.3, ours.5), (0, 0, 0, true)),
        }
        let opened = lab.where_windows_open(&format!("{topology:?}"), &output.env);
        println!("{topology:?}: a new window opens on the monitor of {}x{}", opened.0, opened.1);
        assert_eq!(opened == (1264, 720), topology != Topology::Extend, "{opened:?}");
        env = output.env;
        drop(frames);
        drop(output.keepalive);
        assert_eq!(lab.layout(), before, "as before when the drop returns");
        assert!(lab.journal().is_empty());
    }
    let opened = lab.where_windows_open("after", &env);
    assert_ne!(opened, (1264, 720));
}

#[test]
fn two_outputs_live_side_by_side_and_end_in_any_order() {
    let Some(lab) = Lab::start("mutter-two", &[(1280, 720), (1000, 750)]) else { return };
    let before = users_layout();
    rearrange(&lab.session, &before);
    let chooser = lab.chooser(Topology::Primary);
    let (first, second) = std::thread::scope(|scope| {
        let create = |mode| chooser.create(mode, &AppLaunch::default()).expect("an output");
        let first = scope.spawn(move || create(mode(1264, 720, 60_000)));
        let second = scope.spawn(move || create(mode(640, 480, 75_000)));
        (first.join().expect("no panic"), second.join().expect("no panic"))
    });
    let layout = lab.layout();
    println!("{layout:?}");
    assert_eq!(layout.len(), 4);
    assert_eq!(layout.iter().filter(|place| place.5).count(), 1);
    let mut one = eyes::open(first.source, first.effective_mode, lab.session.runtime_dir());
    let mut two = eyes::open(second.source, second.effective_mode, lab.session.runtime_dir());
    let _card = lab.testcard("card", &first.env);
    // The pointer is on the newer one, and so is the window; the other shows the background.
    let newest = layout.iter().max_by_key(|place| place.2).expect("some").1.clone();
    let on_first = look(one.as_mut(), 20, if newest.starts_with("1264") { SOON } else { SOON / 10 });
    let on_second = look(two.as_mut(), 20, if newest.starts_with("640") { SOON } else { SOON / 10 });
    on_first.print("first");
    on_second.print("second");
    assert!(on_first.cards.len().max(on_second.cards.len()) >= 20);
    drop((one, first.keepalive));
    let left = lab.layout();
    assert_eq!(left.len(), 3, "{left:?}");
    assert_eq!(left.iter().find(|place| place.5).expect("a primary one").1, "640x480@75.000");
    assert!(!lab.journal().is_empty());
    drop((two, second.keepalive));
    assert_eq!(lab.layout(), before);
    assert!(lab.journal().is_empty());
}

#[test]
fn a_client_that_comes_back_gets_its_mode_each_time() {
    let Some(lab) = Lab::start("mutter-again", &[]) else { return };
    let chooser = lab.chooser(Topology::Primary);
    let mut card = None;
    for (width, height, refresh) in [(1280, 720, 60_000), (800, 600, 60_000), (800, 600, 60_000)] {
        let asked = clock::now();
        let output = chooser.create(mode(width, height, refresh), &AppLaunch::default()).expect("an output");
        let card = card.get_or_insert_with(|| lab.testcard("card", &output.env));
        let mut frames = eyes::open(output.source, output.effective_mode, lab.session.runtime_dir());
        let first = match frames.wait_latest(Some(asked + SOON)) {
            Wait::Value(frame) => frame,
            other => panic!("no picture: {other:?}"),
        };
        println!("{width}x{height}: first picture after {:?}", clock::now().since(asked));
        assert_eq!((first.width, first.height), (width, height));
        let seen = look(frames.as_mut(), 20, SOON);
        seen.print(&format!("{width}x{height}"));
        assert!(seen.cards.len() >= 20, "{seen:?}");
        assert!(card.is_running(), "the app outlives the output");
    }
}

#[test]
fn what_a_killed_host_changed_is_restored_at_the_next_start() {
    let Some(lab) = Lab::start("mutter-killed-host", &[(1280, 720), (1000, 750)]) else { return };
    let before = users_layout();
    rearrange(&lab.session, &before);
    for topology in [Topology::Primary, Topology::Exclusive] {
        let host = killed::host(&lab.session, DisplayKind::Mutter, lab.state.path(), topology);
        let during = lab.layout();
        assert_eq!(during.len(), if topology == Topology::Exclusive { 1 } else { 3 }, "{during:?}");
        assert_ne!(during, before);
        assert_eq!(lab.journal().len(), 1);
        host.kill();
        // By itself Mutter takes the monitor away with its owner, but brings its own layout, not the user's.
        wait_for("the end of the monitor", SOON, || (lab.layout().len() == 2).then_some(()))
            .expect("its end");
        assert_ne!(lab.layout(), before, "{topology:?}");
        lab.chooser(Topology::Primary).clean_up();
        assert_eq!(lab.layout(), before, "{topology:?}");
        assert!(lab.journal().is_empty());
    }
}

#[test]
fn a_mutter_that_dies_closes_the_pictures_and_the_next_one_serves() {
    let Some(mut lab) = Lab::start("mutter-dies", &[(1280, 720)]) else { return };
    let output = lab.create(Topology::Primary, mode(1264, 720, 60_000));
    let mut frames = eyes::open(output.source, output.effective_mode, lab.session.runtime_dir());
    let card = lab.testcard("card", &output.env);
    assert!(look(frames.as_mut(), 5, SOON).cards.len() >= 5);
    lab.mutter.kill();
    let killed = clock::now();
    wait_for_the_end(frames.as_mut(), SOON);
    println!("closed {:?} after the kill", clock::now().since(killed));
    drop(card);
    let gone = lab.chooser(Topology::Primary).create(mode(1264, 720, 60_000), &AppLaunch::default());
    assert!(matches!(gone, Err(DisplayError::Absent { .. })), "{:?}", gone.err());
    let dropped = clock::now();
    drop((frames, output.keepalive));
    println!("dropped in {:?}", clock::now().since(dropped));
    assert!(lab.journal().is_empty(), "the layout ended with its Mutter");

    lab.mutter = start_mutter(&lab.session, &[(1280, 720)]);
    let before = lab.layout();
    let output = lab.create(Topology::Primary, mode(1264, 720, 60_000));
    let mut frames = eyes::open(output.source, output.effective_mode, lab.session.runtime_dir());
    let _card = lab.testcard("card-2", &output.env);
    assert!(look(frames.as_mut(), 5, SOON).cards.len() >= 5);
    drop((frames, output.keepalive));
    assert_eq!(lab.layout(), before);
}

#[test]
fn a_mutter_that_does_not_answer_costs_five_seconds_and_leaves_nothing() {
    let Some(lab) = Lab::start("mutter-frozen", &[(1280, 720)]) else { return };
    let before = lab.layout();
    let output = lab.create(Topology::Primary, mode(800, 600, 60_000));
    lab.mutter.process().freeze();
    let asked = clock::now();
    let error = lab
        .chooser(Topology::Primary)
        .create(mode(1264, 720, 60_000), &AppLaunch::default())
        .err()
        .expect("nobody answers");
    let took = clock::now().since(asked);
    println!("after {took:?}: {error}");
    assert!(matches!(error, DisplayError::Timeout { .. }), "{error:?}");
    assert!(took < Duration::from_millis(7500), "{took:?}");
    let finding = finding(&lab.chooser(Topology::Primary));
    println!("{finding:?}");
    assert!(matches!(finding, State::Silent { .. }));
    lab.mutter.process().thaw();
    drop(output.keepalive);
    lab.wait_for_layout("the layout as before", &before);
    // What was asked for while it was frozen ended with its connection.
    let output = lab.create(Topology::Extend, mode(1264, 720, 60_000));
    assert_eq!(lab.layout().len(), 2);
    drop(output.keepalive);
    assert_eq!(lab.layout(), before);
}

fn finding(chooser: &Chooser) -> State {
    let findings = chooser.survey();
    findings.into_iter().find(|finding| finding.kind == DisplayKind::Mutter).expect("a finding").state
}

#[test]
fn an_old_gnome_takes_its_mode_from_pipewire() {
    let Some(lab) = Lab::start("mutter-old", &[(1280, 720)]) else { return };
    let before = lab.layout();
    // Only the version is old; what it leads to is served by new ones as well.
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _entered = runtime.enter();
    let shell = lab.session.bus().expect("the bus");
    shell.object_server().at("/org/gnome/Shell", OldShell).expect("an object");
    shell.request_name("org.gnome.Shell").expect("a name");
    let chooser = lab.chooser(Topology::Primary);
    let finding = chooser.survey().into_iter().find(|finding| finding.kind == DisplayKind::Mutter);
    assert_eq!(finding.expect("a finding").version, "GNOME Shell 46.10");
    let output = chooser.create(mode(1264, 720, 60_000), &AppLaunch::default()).expect("an output");
    println!("{:?}", output.path);
    assert_eq!(lab.layout(), before, "the monitor comes with the first reader");
    let mut frames = eyes::open(output.source, output.effective_mode, lab.session.runtime_dir());
    let ours = wait_for("our monitor to be primary", SOON, || {
        lab.layout().into_iter().find(|place| place.1.starts_with("1264x720@60") && place.5)
    });
    println!("{:?}", ours.expect("our monitor"));
    // The pointer follows the layout, and windows the pointer.
    wait_for("windows to open on our monitor", SOON, || {
        (lab.where_windows_open("probe", &output.env) == (1264, 720)).then_some(())
    })
    .expect("windows open there");
    let _card = lab.testcard("card", &output.env);
    let seen = look(frames.as_mut(), 20, SOON);
    seen.print("by negotiation");
    assert!(seen.cards.len() >= 20, "{seen:?}");
    drop((frames, output.keepalive));
    assert_eq!(lab.layout(), before);
}

/// GNOME Shell's version, and nothing else of it.
struct OldShell;

#[zbus::interface(name = "org.gnome.Shell")]
impl OldShell {
    #[zbus(property)]
    fn shell_version(&self) -> &str {
        "46.10"
    }
}

#[test]
fn no_mutter_is_told_apart_from_one_that_refuses() {
    let Some(session) = lumen_lab::session_for("mutter-absent", &[]) else { return };
    let state = tempfile::tempdir().expect("temporary directory");
    let config = config(&session.runtime_dir().display().to_string(), state.path(), Topology::Primary);
    let chooser = Chooser::new(DisplayKind::Mutter, config).expect("a chooser");
    assert_eq!(finding(&chooser), State::Absent);
    let error = chooser.create(mode(1264, 720, 60_000), &AppLaunch::default()).err().expect("no GNOME");
    println!("{error}");
    assert!(matches!(error, DisplayError::Absent { .. }));
}

/// The whole shell, where it is installed: what only it does is to lock.
#[test]
fn a_locked_gnome_says_so_and_serves_again_when_unlocked() {
    let programs = ["gnome-shell", "pipewire", "wireplumber"];
    let Some(session) = lumen_lab::session_for("gnome-shell", &programs) else { return };
    let shell = GnomeShell::start(&session, lumen_lab::Mode::new(1280, 720, 60.0)).expect("GNOME Shell");
    let eval = |line: &str| shell.eval(line).expect("it runs");

    let state = tempfile::tempdir().expect("temporary directory");
    let config = config(&session.runtime_dir().display().to_string(), state.path(), Topology::Primary);
    let chooser = Chooser::new(DisplayKind::Mutter, config).expect("a chooser");
    assert_eq!(finding(&chooser), State::Ready);
    let before = layout(&session);
    // After the login the shell shows its overview; an app opens in front.
    let card = AppLaunch { command: vec!["testcard".into()], ..AppLaunch::default() };
    let output = chooser.create(mode(1264, 720, 60_000), &card).expect("an output");
    // Not where it was: in the top left corner, at the barriers of the shell.
    assert_eq!(eval("global.get_pointer().join()"), "\"1912,360,0\"");
    let mut frames = eyes::open(output.source, output.effective_mode, session.runtime_dir());
    let mut card = session.command(eyes::testcard());
    card.envs(output.env.iter().cloned()).args(["--clock", "callback"]);
    let _card = session.spawn("card", card).expect("the test card");
    let seen = look(frames.as_mut(), 20, SOON * 3);
    seen.print("GNOME Shell");
    assert!(seen.cards.len() >= 20, "{seen:?}");

    shell.lock().expect("locked");
    wait_for_the_end(frames.as_mut(), SOON);
    drop((frames, output.keepalive));
    let error = chooser.create(mode(800, 600, 60_000), &AppLaunch::default()).err().expect("it is locked");
    println!("{error}");
    assert!(matches!(error, DisplayError::Locked { .. }), "{error:?}");
    assert_eq!(finding(&chooser), State::Locked);

    shell.unlock().expect("unlocked");
    let output = chooser.create(mode(800, 600, 60_000), &AppLaunch::default()).expect("an output");
    drop(output.keepalive);
    wait_for("the layout as before", SOON, || (layout(&session) == before).then_some(())).expect("restored");
}
