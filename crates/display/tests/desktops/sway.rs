//! sway and its kin: exact modes, pictures by both copy protocols, places of monitors and windows, ends of all kinds.

mod idle;

use crate::eyes::{self, Seen, look, wait_for_the_end};
use crate::killed;
use lumen_capture::{CopyProtocol, open_screencopy};
use lumen_display::{Chooser, DisplayConfig, DisplayKind, Finding, SessionEnvironment, State, Topology};
use lumen_lab::{Desktop, Labwc, Process, Session, Sway, SwayOptions, wait_for};
use lumen_media::slot::Wait;
use lumen_media::{
    AppLaunch, DisplayError, FrameSource, Mode, OutputSource, VirtualDisplay, VirtualOutput, WaylandTarget,
    clock,
};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// For anything that must come.
const SOON: Duration = Duration::from_secs(10);

struct Lab {
    session: Session,
    sway: Sway,
    state: TempDir,
}

impl Lab {
    fn start(name: &str, monitors: &[(u32, u32)]) -> Option<Self> {
        let outputs =
            monitors.iter().map(|(width, height)| lumen_lab::Mode::new(*width, *height, 60.0)).collect();
        Self::start_with(name, &SwayOptions { outputs, ..SwayOptions::default() })
    }

    fn start_with(name: &str, options: &SwayOptions) -> Option<Self> {
        let session = lumen_lab::session_for(name, &["sway"])?;
        let sway = Sway::start(&session, options).expect("sway");
        let state = tempfile::tempdir().expect("temporary directory");
        Some(Self { session, sway, state })
    }

    fn chooser(&self, topology: Topology) -> Chooser {
        chooser(self.session.runtime_dir(), self.state.path(), topology)
    }

    fn create(&self, topology: Topology, mode: Mode) -> VirtualOutput {
        self.chooser(topology).create(mode, &AppLaunch::default()).expect("an output")
    }

    /// What a user sees of the monitors.
    fn layout(&self) -> Vec<Value> {
        let mut layout = self.sway.outputs().expect("an answer");
        for output in &mut layout {
            let keep = [
                "name",
                "active",
                "rect",
                "current_mode",
                "scale",
                "transform",
                "current_workspace",
                "focused",
            ];
            output.as_object_mut().expect("an output").retain(|key, _| keep.contains(&key.as_str()));
        }
        layout.sort_by_key(|output| output["name"].to_string());
        layout
    }

    fn testcard(&self, name: &str, output: &VirtualOutput, arguments: &[&str]) -> Process {
        let mut command = self.session.command(eyes::testcard());
        command.envs(output.env.iter().cloned()).args(["--clock", "callback"]).args(arguments);
        self.session.spawn(name, command).expect("the test card")
    }

    /// The output on which the window of `process` is.
    fn output_of(&self, process: &Process) -> Option<String> {
        let tree = self.sway.tree().expect("an answer");
        let outputs = tree["nodes"].as_array().expect("outputs");
        let shows = |output: &&Value| has_window(output, process.pid());
        outputs.iter().find(shows).and_then(|output| output["name"].as_str()).map(str::to_owned)
    }

    fn journal(&self) -> usize {
        std::fs::read_dir(self.state.path().join("layout")).into_iter().flatten().count()
    }
}

fn has_window(node: &Value, pid: u32) -> bool {
    let below = |key: &str| node[key].as_array().into_iter().flatten().any(|node| has_window(node, pid));
    node["pid"] == pid || below("nodes") || below("floating_nodes")
}

fn config(runtime_dir: &Path, state: &Path, topology: Topology) -> DisplayConfig {
    DisplayConfig {
        state_dir: state.to_owned(),
        session: SessionEnvironment { runtime_dir: runtime_dir.to_owned(), ..SessionEnvironment::default() },
        topology,
        ..DisplayConfig::new(runtime_dir)
    }
}

fn chooser(runtime_dir: &Path, state: &Path, topology: Topology) -> Chooser {
    Chooser::new(DisplayKind::Wlroots, config(runtime_dir, state, topology)).expect("a chooser")
}

fn mode(width: u32, height: u32, refresh_mhz: u32) -> Mode {
    Mode::new(width, height, refresh_mhz).expect("a mode")
}

fn target(output: &VirtualOutput) -> WaylandTarget {
    match &output.source {
        OutputSource::Wayland(target) => target.clone(),
        _ => panic!("sway's outputs are captured by Wayland"),
    }
}

fn pictures(output: &VirtualOutput) -> Box<dyn FrameSource> {
    pictures_by(&target(output), CopyProtocol::Best)
}

fn pictures_by(target: &WaylandTarget, protocol: CopyProtocol) -> Box<dyn FrameSource> {
    let mut frames = open_screencopy(target, protocol).expect("the output's pictures");
    frames.set_active(true);
    frames
}

fn soon() -> lumen_media::Timestamp {
    clock::now() + lumen_lab::patient(SOON)
}

fn check(seen: &Seen, size: (u32, u32), what: &str) {
    seen.print(what);
    assert!(seen.cards.len() >= 20, "{what}: {} cards", seen.cards.len());
    assert_eq!(seen.sizes.last(), Some(&size), "{what}");
    assert!(seen.colours_are_right(), "{what}: {}", seen.worst_colour);
}

#[test]
fn modes_are_exact_and_outputs_go_without_a_trace() {
    let Some(lab) = Lab::start("sway-modes", &[(1280, 720)]) else { return };
    let before = lab.layout();
    for wanted in [
        mode(1264, 720, 120_000),
        mode(1264, 720, 59_940),
        mode(1920, 1080, 240_000),
        mode(1366, 768, 119_880),
        mode(320, 180, 30_000),
    ] {
        let output = lab.create(Topology::Primary, wanted);
        assert_eq!(output.effective_mode, wanted);
        let name = target(&output).output;
        let now = lab.sway.outputs().expect("an answer");
        let told = now.iter().find(|output| output["name"] == name.as_str()).expect("the output");
        let found = &told["current_mode"];
        assert_eq!(found["width"], wanted.width());
        assert_eq!(found["height"], wanted.height());
        assert_eq!(found["refresh"], wanted.refresh_mhz());
        assert_eq!(told["rect"]["x"], 1280, "right of the other");
        assert_eq!(lab.journal(), 1);
        drop(output);
        assert_eq!(lab.layout(), before, "{wanted}");
        assert_eq!(lab.journal(), 0);
    }
}

#[test]
fn pictures_flow_at_the_rate_that_sway_draws() {
    let Some(lab) = Lab::start("sway-pictures", &[(1280, 720)]) else { return };
    for (rate, cards) in [(60_000, 240), (120_000, 480)] {
        let wanted = mode(1264, 720, rate);
        let output = lab.create(Topology::Primary, wanted);
        let _card = lab.testcard("card", &output, &[]);
        let what = |protocol: &str| format!("sway {wanted} by {protocol}");
        let mut frames = pictures(&output);
        assert_eq!(frames.report().path, "ext-image-copy-capture");
        assert_eq!(frames.report().fallback, "");
        check(&look(&mut *frames, cards, SOON), (1264, 720), &what("ext-image-copy-capture"));
        let report = frames.report();
        assert_eq!((report.negotiations, report.dropped), (1, 0), "{report:?}");
        drop(frames);
        let mut frames = pictures_by(&target(&output), CopyProtocol::WlrScreencopy);
        assert_eq!(frames.report().path, "wlr-screencopy");
        assert!(!frames.report().fallback.is_empty());
        check(&look(&mut *frames, cards, SOON), (1264, 720), &what("wlr-screencopy"));
    }
}

#[test]
fn a_still_screen_costs_nothing_and_activation_shows_it_again() {
    let Some(lab) = Lab::start("sway-still", &[]) else { return };
    let output = lab.create(Topology::Primary, mode(640, 360, 60_000));
    let card = lab.testcard("card", &output, &["--style", "static"]);
    wait_for("the window", SOON, || lab.output_of(&card)).expect("a window");
    for protocol in [CopyProtocol::Best, CopyProtocol::WlrScreencopy] {
        let mut frames = open_screencopy(&target(&output), protocol).expect("the output's pictures");
        assert!(frames.try_latest().is_none(), "inactive until told");
        let mut sequence = 0;
        for _ in 0..3 {
            frames.set_active(true);
            let seen = look(&mut *frames, 1, SOON);
            assert_eq!(seen.cards.len(), 1, "{protocol:?}");
            assert!(frames.report().arrived > sequence);
            sequence = frames.report().arrived;
            frames.set_active(false);
        }
        frames.set_active(true);
        look(&mut *frames, 1, SOON);
        // One more may follow what was drawn before; then it is quiet.
        let mut more = 0;
        while let Wait::Value(_) = frames.wait_latest(Some(clock::now() + Duration::from_millis(400))) {
            more += 1;
        }
        assert!(more <= 3, "{protocol:?}: {more} pictures of a still screen");
    }
}

#[test]
fn pictures_follow_a_change_of_mode_and_stay_upright() {
    let Some(lab) = Lab::start("sway-renegotiates", &[(1280, 720)]) else { return };
    for protocol in [CopyProtocol::Best, CopyProtocol::WlrScreencopy] {
        let output = lab.create(Topology::Primary, mode(1264, 720, 60_000));
        let name = target(&output).output;
        let _card = lab.testcard("card", &output, &[]);
        let mut frames = pictures_by(&target(&output), protocol);
        check(&look(&mut *frames, 20, SOON), (1264, 720), "before");
        // What readers hold is not written to again.
        let Wait::Value(held) = frames.wait_latest(Some(soon())) else { panic!("no picture") };
        let copy = held.pixels.bytes().to_vec();
        lab.sway.run(&format!("output {name} mode --custom 800x600@75Hz")).expect("another mode");
        sees(&mut *frames, (800, 600));
        check(&look(&mut *frames, 20, SOON), (800, 600), "after");
        assert_eq!(held.pixels.bytes(), copy);
        assert_eq!(frames.report().negotiations, 2);
        for (transform, size) in [
            ("90", (600, 800)),
            ("180", (800, 600)),
            ("270", (600, 800)),
            ("flipped", (800, 600)),
            ("flipped-90", (600, 800)),
            ("flipped-180", (800, 600)),
            ("flipped-270", (600, 800)),
            ("normal", (800, 600)),
        ] {
            lab.sway.run(&format!("output {name} transform {transform}")).expect("a transform");
            sees(&mut *frames, size);
            let seen = look(&mut *frames, 3, SOON);
            assert!(seen.cards.len() >= 3 && seen.colours_are_right(), "{protocol:?} {transform}");
        }
    }
}

/// Looks until a test card of `size` comes.
fn sees(frames: &mut dyn FrameSource, size: (u32, u32)) {
    let deadline = soon();
    while clock::now() < deadline {
        let seen = look(frames, 1, SOON);
        if seen.sizes.last() == Some(&size) && !seen.cards.is_empty() {
            return;
        }
    }
    panic!("no picture of {size:?}");
}

#[test]
fn two_clients_have_an_output_each() {
    let Some(lab) = Lab::start("sway-two", &[(1280, 720)]) else { return };
    let before = lab.layout();
    let chooser = lab.chooser(Topology::Primary);
    let modes = [mode(1264, 720, 60_000), mode(800, 600, 120_000)];
    let outputs = std::thread::scope(|scope| {
        let making = modes.map(|mode| {
            scope.spawn({
                let chooser = &chooser;
                move || chooser.create(mode, &AppLaunch::default()).expect("an output")
            })
        });
        making.map(|thread| thread.join().expect("no panic"))
    });
    for (index, output) in outputs.iter().enumerate() {
        assert_eq!(output.effective_mode, modes[index]);
        lab.sway.run(&format!("focus output {}", target(output).output)).expect("focus");
        let card = lab.testcard(&format!("card-{index}"), output, &[]);
        let size = (modes[index].width(), modes[index].height());
        check(&look(&mut *pictures(output), 20, SOON), size, &format!("output {index}"));
        drop(card);
    }
    let places: Vec<_> = lab.layout().iter().map(|output| output["rect"]["x"].clone()).collect();
    assert_eq!(places.len(), 3);
    assert!(places[0] == 0 && places[1] != places[2], "{places:?}");
    let [first, second] = outputs;
    drop(first);
    assert_eq!(lab.layout().len(), 2);
    check(
        &{
            let _card = lab.testcard("card-again", &second, &[]);
            look(&mut *pictures(&second), 20, SOON)
        },
        (800, 600),
        "the one that stays",
    );
    drop(second);
    assert_eq!(lab.layout(), before);
    assert_eq!(lab.journal(), 0);
}

#[test]
fn primary_takes_new_windows_and_extend_leaves_them() {
    let Some(lab) = Lab::start("sway-topology", &[(1280, 720), (1024, 768)]) else { return };
    lab.sway.run("focus output HEADLESS-2").expect("focus");
    let before = lab.layout();
    for topology in [Topology::Primary, Topology::Extend] {
        let output = lab.create(topology, mode(1264, 720, 60_000));
        let card = lab.testcard("card", &output, &[]);
        let shown = wait_for("the window", SOON, || lab.output_of(&card)).expect("a window");
        match topology {
            Topology::Primary => assert_eq!(shown, target(&output).output),
            _ => assert_eq!(shown, "HEADLESS-2"),
        }
        drop(output);
        let after = wait_for("a place for the window", SOON, || lab.output_of(&card)).expect("it lives on");
        assert!(after.starts_with("HEADLESS-") && ["HEADLESS-1", "HEADLESS-2"].contains(&after.as_str()));
        assert_eq!(lab.layout(), before, "{topology:?}");
        drop(card);
        wait_for("the end of the window", SOON, || (lab.layout() == before).then_some(()))
            .expect("as before");
    }
}

#[test]
fn exclusive_turns_the_others_off_and_on_again() {
    let Some(lab) = Lab::start("sway-exclusive", &[(1280, 720), (1024, 768)]) else { return };
    lab.sway.run("output HEADLESS-1 scale 1.25").expect("a scale");
    let before = lab.layout();
    let output = lab.create(Topology::Exclusive, mode(1264, 720, 60_000));
    let active = || lab.layout().iter().filter(|output| output["active"] == true).count();
    assert_eq!(active(), 1);
    let second = lab.create(Topology::Exclusive, mode(800, 600, 60_000));
    assert_eq!(active(), 2, "one of ours does not turn off another");
    drop(output);
    assert_eq!(active(), 1);
    drop(second);
    assert_eq!(lab.layout(), before);
}

#[test]
fn monitors_that_sway_placed_itself_stay_where_they_are() {
    let Some(lab) = Lab::start("sway-places", &[]) else { return };
    lab.sway.run("create_output").expect("a monitor");
    lab.sway.run("create_output").expect("a monitor");
    let before = lab.layout();
    let output = lab.create(Topology::Extend, mode(1264, 720, 60_000));
    let name = target(&output).output;
    let others: Vec<_> = lab.layout().into_iter().filter(|output| output["name"] != name.as_str()).collect();
    assert_eq!(others, before);
    drop(output);
    assert_eq!(lab.layout(), before);
}

#[test]
fn what_a_killed_host_left_is_removed_at_the_next_start() {
    for topology in [Topology::Primary, Topology::Exclusive] {
        let Some(lab) = Lab::start("sway-killed-host", &[(1280, 720), (1024, 768)]) else { return };
        let before = lab.layout();
        let host = killed::host(&lab.session, DisplayKind::Wlroots, lab.state.path(), topology);
        assert_eq!((lab.layout().len(), lab.journal()), (3, 1));
        // A host that lives keeps its output.
        lab.chooser(Topology::Primary).clean_up();
        assert_eq!((lab.layout().len(), lab.journal()), (3, 1));
        host.kill();
        lab.chooser(Topology::Primary).clean_up();
        assert_eq!(lab.layout(), before, "{topology:?}");
        assert_eq!(lab.journal(), 0);
    }
}

#[test]
fn a_sway_that_dies_closes_the_pictures_and_the_next_one_serves() {
    let Some(mut lab) = Lab::start("sway-dies", &[(1280, 720)]) else { return };
    let chooser = lab.chooser(Topology::Primary);
    let output = chooser.create(mode(1264, 720, 60_000), &AppLaunch::default()).expect("an output");
    let card = lab.testcard("card", &output, &[]);
    let mut frames = pictures(&output);
    check(&look(&mut *frames, 20, SOON), (1264, 720), "before its death");
    lab.sway.kill();
    wait_for_the_end(&mut *frames, SOON);
    drop(frames);
    drop(output);
    assert_eq!(lab.journal(), 0, "nothing to restore in a sway that is gone");
    drop(card);
    let refused = chooser.create(mode(1264, 720, 60_000), &AppLaunch::default());
    assert!(matches!(refused.map(drop), Err(DisplayError::Absent { .. })));
    lab.sway = Sway::start(&lab.session, &SwayOptions::default()).expect("another sway");
    let output = chooser.create(mode(1264, 720, 60_000), &AppLaunch::default()).expect("an output");
    let _card = lab.testcard("card", &output, &[]);
    check(&look(&mut *pictures(&output), 20, SOON), (1264, 720), "after its return");
}

#[test]
fn an_output_that_goes_closes_its_pictures() {
    let Some(lab) = Lab::start("sway-unplugged", &[(1280, 720)]) else { return };
    let before = lab.layout();
    for protocol in [CopyProtocol::Best, CopyProtocol::WlrScreencopy] {
        let output = lab.create(Topology::Primary, mode(640, 360, 60_000));
        let mut frames = pictures_by(&target(&output), protocol);
        let gone = target(&output);
        lab.sway.run(&format!("output {} unplug", gone.output)).expect("unplugged");
        wait_for_the_end(&mut *frames, SOON);
        assert!(open_screencopy(&gone, protocol).is_err());
        drop(output);
        assert_eq!(lab.layout(), before);
        assert_eq!(lab.journal(), 0);
    }
}

#[test]
fn a_sway_that_hangs_is_given_up() {
    let Some(lab) = Lab::start("sway-hangs", &[(1280, 720)]) else { return };
    let output = lab.create(Topology::Primary, mode(640, 360, 60_000));
    let chooser = lab.chooser(Topology::Primary);
    lab.sway.process().freeze();
    let refused = chooser.create(mode(640, 360, 60_000), &AppLaunch::default());
    assert!(matches!(refused.map(drop), Err(DisplayError::Timeout { .. })));
    assert!(open_screencopy(&target(&output), CopyProtocol::Best).is_err());
    drop(output);
    assert_eq!(lab.journal(), 1, "kept for the next start");
    lab.sway.process().thaw();
}

#[test]
fn programs_are_told_how_to_open_on_it() {
    let options = SwayOptions { xwayland: true, ..SwayOptions::default() };
    let Some(lab) = Lab::start_with("sway-env", &options) else { return };
    let output = lab.create(Topology::Primary, mode(640, 360, 60_000));
    let value = |name: &str| {
        output.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    assert_eq!(Some(value("WAYLAND_DISPLAY").as_str()), lab.sway.wayland_display());
    assert_eq!(value("SWAYSOCK"), lab.sway.variables()["SWAYSOCK"]);
    assert_eq!(value("XDG_CURRENT_DESKTOP"), "sway");
    assert_eq!(PathBuf::from(value("XDG_RUNTIME_DIR")), lab.session.runtime_dir());
    if lumen_lab::available("Xwayland") {
        let display = value("DISPLAY");
        assert!(display.strip_prefix(':').is_some_and(|number| number.parse::<u32>().is_ok()), "{display:?}");
    }
}

fn finding(session: &Session) -> Finding {
    let state = tempfile::tempdir().expect("temporary directory");
    let findings = chooser(session.runtime_dir(), state.path(), Topology::Primary).survey();
    findings.into_iter().find(|finding| finding.kind == DisplayKind::Wlroots).expect("always asked")
}

#[test]
fn a_look_tells_sway_from_what_cannot_make_outputs() {
    let Some(lab) = Lab::start("sway-look", &[(1280, 720)]) else { return };
    let found = finding(&lab.session);
    assert_eq!(found.state, State::Ready);
    assert!(found.version.starts_with("sway 1."), "{}", found.version);
    drop(lab);

    let Some(session) = lumen_lab::session_for("labwc-look", &["labwc"]) else { return };
    assert_eq!(finding(&session).state, State::Absent);
    let labwc = Labwc::start(&session).expect("labwc");
    let found = finding(&session);
    let State::Obstructed { cause, remedy } = found.state else { panic!("{found:?}") };
    assert!(cause.contains("labwc") && remedy.contains("portal"), "{cause} {remedy}");
    let state = tempfile::tempdir().expect("temporary directory");
    let chooser = chooser(session.runtime_dir(), state.path(), Topology::Primary);
    assert!(chooser.create(mode(640, 360, 60_000), &AppLaunch::default()).is_err());
    drop(labwc);
}

#[test]
fn a_sway_inside_another_desktop_says_so() {
    let Some(lab) = Lab::start("sway-nested", &[(1280, 720)]) else { return };
    let config = lab.session.write_config("sway/inner", "xwayland disable\n").expect("a configuration");
    let mut command = lab.sway.command("sway");
    command.arg("-c").arg(config).env("WLR_BACKENDS", "wayland").env("WLR_RENDERER", "pixman");
    command.env_remove("SWAYSOCK");
    let inner = lab.session.spawn("inner", command).expect("another sway");
    let suffix = format!(".{}.sock", inner.pid());
    let environment = config_of(&lab, |name| name.ends_with(&suffix));
    let chooser = wait_for("the inner sway", SOON, || {
        let chooser = Chooser::new(DisplayKind::Wlroots, environment()?).expect("a chooser");
        let findings = chooser.survey();
        let found = findings.into_iter().find(|finding| finding.kind == DisplayKind::Wlroots)?;
        match found.state {
            State::Obstructed { cause, .. } => cause.contains("inside another").then_some(chooser),
            _ => None,
        }
    })
    .expect("it is told apart");
    let before = lab.layout();
    let refused = chooser.create(mode(640, 360, 60_000), &AppLaunch::default());
    let Err(DisplayError::Unsupported { cause, .. }) = refused.map(drop) else { panic!("an output") };
    assert!(cause.contains("inside another"), "{cause}");
    assert_eq!(lab.layout(), before);
    assert_eq!(lab.journal(), 0);
}

/// A configuration for the sway whose IPC socket has a name that is `wanted`, once there is one.
fn config_of(lab: &Lab, wanted: impl Fn(&str) -> bool) -> impl Fn() -> Option<DisplayConfig> {
    move || {
        let mut config = config(lab.session.runtime_dir(), lab.state.path(), Topology::Primary);
        let socket = config.session.sockets(|name| name.starts_with("sway-ipc.") && wanted(name)).pop()?;
        config.session.variables.insert("SWAYSOCK".to_owned(), socket.display().to_string());
        Some(config)
    }
}

#[test]
fn a_compositor_with_the_older_protocol_alone_is_captured_too() {
    let Some(session) = lumen_lab::session_for("cage", &["cage"]) else { return };
    let mut command = session.command("cage");
    command.args(["--"]).arg(eyes::testcard()).args(["--clock", "callback"]);
    command.env("WLR_BACKENDS", "headless").env("WLR_RENDERER", "pixman");
    command.env("LIBSEAT_BACKEND", "noop").env("WLR_LIBINPUT_NO_DEVICES", "1");
    let cage = session.spawn("cage", command).expect("cage");
    let socket = session.runtime_dir().join("wayland-0");
    cage.wait_until("the socket of cage", SOON, || socket.exists().then_some(())).expect("a socket");
    let target = WaylandTarget { socket, output: "HEADLESS-1".into() };
    let mut frames = pictures_by(&target, CopyProtocol::Best);
    assert_eq!(frames.report().path, "wlr-screencopy");
    assert_eq!(frames.report().fallback, "the compositor has no ext-image-copy-capture-v1");
    let seen = look(&mut *frames, 60, SOON);
    seen.print("cage by wlr-screencopy");
    assert!(seen.cards.len() >= 20 && seen.colours_are_right());
    cage.kill();
    wait_for_the_end(&mut *frames, SOON);
}
