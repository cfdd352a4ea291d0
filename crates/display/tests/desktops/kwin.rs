//! KDE's compositor. What needs its pictures needs OpenGL, and so a DRM render node: those tests are named `vm_…` and run
//! in the lab's virtual machine; the permission, the layout and the refusals are tested everywhere.

use crate::eyes::{self, Told, look, wait_for_the_end, wl_outputs};
use crate::killed;
use lumen_display::{
    Chooser, DisplayConfig, DisplayKind, Finding, SessionEnvironment, State, Topology, kwin_setup,
};
use lumen_lab::{Desktop, Kwin, KwinOptions, KwinRenderer, Session, wait_for};
use lumen_media::{
    AppLaunch, DisplayError, Mode, NodeTarget, OutputSource, VirtualDisplay, VirtualOutput, clock,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// For anything that must come.
const SOON: Duration = Duration::from_secs(10);

struct Lab {
    session: Session,
    kwin: Kwin,
    state: TempDir,
}

impl Lab {
    fn start(name: &str, options: &KwinOptions) -> Option<Self> {
        let session = lumen_lab::session_for(name, &["kwin_wayland", "pipewire", "wireplumber"])?;
        let kwin = Kwin::start(&session, options).expect("KWin");
        let state = tempfile::tempdir().expect("temporary directory");
        Some(Self { session, kwin, state })
    }

    /// One that draws with OpenGL, with `outputs` monitors of 800×600.
    fn with_pictures(name: &str, outputs: u32) -> Option<Self> {
        if lumen_lab::render_node().is_none() {
            lumen_lab::left_out(name, "no DRM render node: KWin casts no screen");
            return None;
        }
        let lab = Self::start(
            name,
            &KwinOptions {
                outputs,
                mode: lumen_lab::Mode::new(800, 600, 60.0),
                renderer: KwinRenderer::OpenGl,
                ..KwinOptions::default()
            },
        )?;
        let report = kwin_setup::install(&lab.config(Topology::Primary), &own()).expect("a permission");
        println!("{name}: {report:?}");
        // Where the processor is emulated, KWin is on the bus long before it has time to answer.
        wait_until_ready(&lab.chooser(Topology::Primary));
        Some(lab)
    }

    fn config(&self, topology: Topology) -> DisplayConfig {
        config(self.kwin.env(), self.session.runtime_dir(), self.state.path(), topology)
    }

    fn chooser(&self, topology: Topology) -> Chooser {
        Chooser::new(DisplayKind::Kwin, self.config(topology)).expect("a chooser")
    }

    fn create(&self, topology: Topology, mode: Mode) -> Result<VirtualOutput, DisplayError> {
        self.chooser(topology).create(mode, &AppLaunch::default())
    }

    fn found(&self) -> Finding {
        found(&self.chooser(Topology::Primary))
    }

    fn outputs(&self) -> Vec<Told> {
        let display = self.kwin.wayland_display().expect("a Wayland display");
        let mut told = wl_outputs(&self.session.runtime_dir().join(display));
        told.sort_by(|a, b| a.name.cmp(&b.name));
        told
    }

    fn names(&self) -> Vec<String> {
        self.outputs().into_iter().map(|told| told.name).collect()
    }

    fn wait_for_names(&self, what: &str, wanted: &[&str]) {
        if wait_for(what, SOON, || (self.names() == wanted).then_some(())).is_err() {
            panic!("{what}: {:?} instead of {wanted:?}", self.names());
        }
    }

    fn journal(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.state.path().join("layout")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }

    /// What KWin's configurator says of the outputs, by name: (enabled, x, priority).
    fn layout(&self) -> BTreeMap<String, (bool, i64, i64)> {
        let output = self.kwin.command("kscreen-doctor").arg("-j").output().expect("kscreen-doctor");
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let outputs = told["outputs"].as_array().expect("outputs").iter();
        outputs
            .map(|output| {
                let name = output["name"].as_str().expect("a name").to_owned();
                let priority = output["priority"].as_i64().unwrap_or_default();
                (name, (output["enabled"] == true, output["pos"]["x"].as_i64().unwrap_or_default(), priority))
            })
            .collect()
    }

    fn configure(&self, changes: &[&str]) {
        let status =
            self.kwin.command("kscreen-doctor").args(changes).output().expect("kscreen-doctor").status;
        assert!(status.success(), "{changes:?}");
    }

    fn testcard(&self, name: &str, env: &[(String, String)], more: &[&str]) -> lumen_lab::Process {
        let mut command = self.session.command(eyes::testcard());
        let log = self.session.home().join(format!("{name}.jsonl"));
        command.envs(env.iter().cloned()).args(["--clock", "callback", "--log"]).arg(log).args(more);
        self.session.spawn(name, command).expect("the test card")
    }

    /// The size that a new full-screen window is given: that of the monitor where it opened.
    fn where_windows_open(&self, name: &str, env: &[(String, String)]) -> (u64, u64) {
        let card = self.testcard(name, env, &[]);
        let log = self.session.home().join(format!("{name}.jsonl"));
        card.wait_until("the window's size", SOON, || {
            let text = std::fs::read_to_string(&log).ok()?;
            let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            let configured = lines.into_iter().find(|line| line["fullscreen"] == true)?;
            Some((configured["width"].as_u64()?, configured["height"].as_u64()?))
        })
        .expect("a full-screen window")
    }

    fn video_nodes(&self) -> Vec<(u32, String)> {
        self.session.video_nodes().expect("pw-dump")
    }

    /// Largest rate that the node with this serial offers, in hertz.
    fn offered_rate(&self, serial: u64) -> f64 {
        let objects = self.session.pipewire_objects().expect("pw-dump");
        let node = objects
            .iter()
            .find(|object| object["info"]["props"]["object.serial"] == serial)
            .expect("the node");
        let formats = node["info"]["params"]["EnumFormat"].as_array().expect("formats");
        let rate = |format: &serde_json::Value| {
            let rate = &format["maxFramerate"];
            // A choice lists its default first.
            let rate = if rate["default"].is_object() { &rate["default"] } else { rate };
            Some(rate["num"].as_f64()? / rate["denom"].as_f64()?)
        };
        formats.iter().filter_map(rate).fold(0.0, f64::max)
    }
}

fn found(chooser: &Chooser) -> Finding {
    chooser.survey().into_iter().find(|finding| finding.kind == DisplayKind::Kwin).expect("listed")
}

fn wait_until_ready(chooser: &Chooser) {
    // Twice in a row: a KWin that loads its effects answers now and then.
    let ready = || (0..2).all(|_| found(chooser).state == State::Ready).then_some(());
    if wait_for("KWin to be ready", SOON, ready).is_err() {
        panic!("KWin is not ready: {:?}", found(chooser));
    }
}

fn own() -> PathBuf {
    std::env::current_exe().expect("the path of this program")
}

fn config(
    variables: BTreeMap<String, String>,
    runtime_dir: &Path,
    state: &Path,
    topology: Topology,
) -> DisplayConfig {
    DisplayConfig {
        state_dir: state.to_owned(),
        session: SessionEnvironment { runtime_dir: runtime_dir.to_owned(), variables },
        topology,
        ..DisplayConfig::new(runtime_dir)
    }
}

fn mode(width: u32, height: u32, refresh_mhz: u32) -> Mode {
    Mode::new(width, height, refresh_mhz).expect("a mode")
}

fn serial(output: &VirtualOutput) -> u64 {
    let OutputSource::PipeWire(target) = &output.source else { panic!("not PipeWire") };
    assert!(target.remote_fd.is_none() && !target.cursor_metadata);
    let NodeTarget::Serial(serial) = target.node else { panic!("no serial: {:?}", target.node) };
    serial
}

fn source(output: &VirtualOutput) -> OutputSource {
    let OutputSource::PipeWire(target) = &output.source else { panic!("not PipeWire") };
    OutputSource::PipeWire(lumen_media::PipeWireTarget { remote_fd: None, ..*target })
}

#[test]
fn the_permission_is_missed_given_and_taken_away() {
    let Some(lab) = Lab::start("kwin-permission", &KwinOptions::default()) else { return };
    let found = lab.found();
    println!("without: {found:?}");
    let said = lab.kwin.version().expect("a version");
    assert!(said.contains(found.version.trim_start_matches("KWin ")) && found.version.len() > 5, "{said}");
    let State::Obstructed { cause, remedy } = &found.state else { panic!("{found:?}") };
    assert!(cause.contains("desktop entry") && remedy.contains("lumen setup"), "{found:?}");
    let error = lab.create(Topology::Primary, mode(640, 360, 60_000)).err().expect("no permission");
    println!("without: {error}");
    assert!(
        matches!(&error, DisplayError::Forbidden { remedy, .. } if remedy.contains("lumen setup")),
        "{error}"
    );

    let config = lab.config(Topology::Primary);
    let report = kwin_setup::install(&config, &own()).expect("installed");
    println!("{report:?}");
    assert!(report.written && report.seen == Some(true) && report.warnings.is_empty(), "{report:?}");
    assert!(report.file.starts_with(lab.session.data_dir()));
    let again = kwin_setup::install(&config, &own()).expect("installed");
    assert!(!again.written && again.seen == Some(true));
    // Now the next thing is in the way: KWin draws without OpenGL here. Its own refusal is read by that, not by its text.
    let found = lab.found();
    println!("with: {found:?}");
    assert!(
        matches!(&found.state, State::Obstructed { cause, .. } if cause.contains("QPainter")),
        "{found:?}"
    );
    let before = lab.outputs();
    let error = lab.create(Topology::Primary, mode(640, 360, 60_000)).err().expect("no OpenGL");
    println!("with: {error}");
    assert!(
        matches!(&error, DisplayError::Unsupported { cause, .. } if cause.contains("QPainter")),
        "{error}"
    );
    assert_eq!(lab.outputs(), before);
    assert!(lab.journal().is_empty(), "{:?}", lab.journal());

    assert_eq!(kwin_setup::remove(&config).expect("removed"), Some(report.file.clone()));
    assert!(!report.file.exists());
    wait_for("KWin to hide its screens", SOON, || {
        matches!(lab.found().state, State::Obstructed { remedy, .. } if remedy.contains("lumen setup"))
            .then_some(())
    })
    .expect("hidden");
    // A permission for another program is told from none.
    let other = kwin_setup::install(&config, Path::new("/bin/sh")).expect("installed");
    assert!(other.written && other.seen.is_none());
    let found = lab.found();
    println!("another: {found:?}");
    let State::Obstructed { cause, .. } = found.state else { panic!("{found:?}") };
    assert!(cause.contains("is not the program that runs"), "{cause}");
}

#[test]
fn a_layout_left_behind_is_restored() {
    let options = KwinOptions { outputs: 2, ..KwinOptions::default() };
    let Some(lab) = Lab::start("kwin-left", &options) else { return };
    lab.configure(&["output.Virtual-0.priority.1", "output.Virtual-1.priority.2"]);
    let before = lab.layout();
    // As a host writes it before it changes anything.
    let place = |name: &str, x: i32| {
        serde_json::json!({"name": name, "uuid": "", "enabled": true, "position": [x, 0],
            "mode": [1280, 720, 60000], "scale": 1.0, "transform": 0})
    };
    let entry = serde_json::json!({
        "kwin": null,
        "before": {"places": [place("Virtual-0", 0), place("Virtual-1", 1280)]},
    });
    let folder = lab.state.path().join("layout");
    std::fs::create_dir_all(&folder).expect("made");
    let display = lab.kwin.wayland_display().expect("a display");
    std::fs::write(folder.join(format!("kwin-{display}.json")), entry.to_string()).expect("written");
    lab.configure(&["output.Virtual-1.priority.1", "output.Virtual-0.disable"]);
    lab.wait_for_names("one monitor", &["Virtual-1"]);
    lab.chooser(Topology::Primary).clean_up();
    assert_eq!(lab.names(), ["Virtual-0", "Virtual-1"]);
    let after = lab.layout();
    println!("before {before:?}, after {after:?}");
    assert_eq!(after["Virtual-0"].1, 0);
    assert_eq!(after["Virtual-1"].1, 1280);
    assert!(after["Virtual-0"].2 < after["Virtual-1"].2, "{after:?}");
    assert!(lab.journal().is_empty());
}

#[test]
fn no_kwin_a_frozen_one_and_a_dead_one_are_told_apart() {
    let Some(lab) = Lab::start("kwin-frozen", &KwinOptions::default()) else { return };
    lab.kwin.process().freeze();
    let begun = clock::now();
    let found = lab.found();
    println!("frozen: {found:?} after {:?}", clock::now().since(begun));
    assert!(
        matches!(&found.state, State::Silent { cause, .. } if cause.contains("does not answer")),
        "{found:?}"
    );
    let error = lab.create(Topology::Primary, mode(640, 360, 60_000)).err().expect("frozen");
    println!("frozen: {error} after {:?}", clock::now().since(begun));
    assert!(matches!(error, DisplayError::Timeout { .. }), "{error}");
    lab.kwin.process().thaw();
    wait_for("KWin to answer", SOON, || (lab.found().version.len() > "KWin ".len()).then_some(()))
        .expect("awake");
    lab.kwin.kill();
    lab.kwin.process().wait(SOON).expect("dead");
    let error = lab.create(Topology::Primary, mode(640, 360, 60_000)).err().expect("dead");
    println!("dead: {error}");
    assert!(matches!(error, DisplayError::Absent { .. }), "{error}");
    assert_eq!(lab.found().state, State::Absent);
}

#[test]
fn vm_an_output_shows_the_testcard_in_memory_and_dmabufs() {
    let Some(lab) = Lab::with_pictures("kwin-pictures", 1) else { return };
    let begun = clock::now();
    let output = lab.create(Topology::Primary, mode(640, 360, 60_000)).expect("an output");
    println!("made in {:?}: {:?} {:?}", clock::now().since(begun), output.path, output.env);
    assert_eq!(output.effective_mode, mode(640, 360, 60_000));
    let serial = serial(&output);
    let told = lab.outputs();
    assert!(
        told.contains(&Told { name: "Virtual-lumen".into(), width: 640, height: 360, refresh: 60_000 }),
        "{told:?}"
    );
    assert_eq!(lab.video_nodes().len(), 1);
    let _card = lab.testcard("card", &output.env, &[]);
    for dmabuf in [false, true] {
        let config = lumen_capture::CaptureConfig {
            dmabuf,
            runtime_dir: Some(lab.session.runtime_dir().to_owned()),
            ..Default::default()
        };
        let mut frames = lumen_capture::open(source(&output), output.effective_mode, &config)
            .expect("the output's pictures");
        frames.set_active(true);
        let seen = look(frames.as_mut(), 5, SOON);
        let report = frames.report();
        seen.print(&format!("KWin, node {serial}, {}", report.format));
        assert!(seen.cards.len() >= 5 && seen.colours_are_right(), "{seen:?} {report:?}");
        assert_eq!(seen.sizes, [(640, 360)]);
        let kind = if dmabuf { "DmaBuf" } else { "MemFd" };
        assert!(report.format.contains(kind), "{report:?}");
    }
    drop(output);
    lab.wait_for_names("the end of the output", &["Virtual-0"]);
    assert!(lab.video_nodes().is_empty(), "{:?}", lab.video_nodes());
    assert!(lab.journal().is_empty());
}

#[test]
fn vm_other_rates_are_custom_modes() {
    let Some(lab) = Lab::with_pictures("kwin-rates", 1) else { return };
    let wishes =
        [(mode(640, 360, 120_000), 300), (mode(1264, 720, 59_940), 100), (mode(1600, 900, 120_000), 100)];
    for (asked, near) in wishes {
        let begun = clock::now();
        let output = lab.create(Topology::Primary, asked).expect("an output");
        let made = output.effective_mode;
        let took = clock::now().since(begun);
        println!("asked {asked}: {made} in {took:?}, {}", output.path.reason);
        assert_eq!((made.width(), made.height()), (asked.width(), asked.height()));
        assert!(made.refresh_mhz().abs_diff(asked.refresh_mhz()) <= near, "{made}");
        let told = lab.outputs().into_iter().find(|told| told.name == "Virtual-lumen").expect("the output");
        assert_eq!(told.refresh, made.refresh_mhz().cast_signed());
        assert_eq!((told.width, told.height), (asked.width().cast_signed(), asked.height().cast_signed()));
        // The stream takes the rate over with its first picture.
        let mut frames = eyes::open(source(&output), made, lab.session.runtime_dir());
        let _card = lab.testcard(&format!("card-{}", asked.width()), &output.env, &[]);
        let seen = look(frames.as_mut(), 2, SOON);
        let rate = lab.offered_rate(serial(&output));
        println!("node offers {rate} Hz, {:?}, {:?}", seen.sizes, frames.report());
        assert!(seen.cards.len() >= 2, "{seen:?}");
        assert_eq!(seen.sizes.last(), Some(&(asked.width(), asked.height())));
        assert!((rate - f64::from(made.refresh_mhz()) / 1000.0).abs() <= 1.0, "{rate}");
    }
    // KWin remembers the modes of an output by its name; what is asked for now counts.
    let output = lab.create(Topology::Primary, mode(1600, 900, 60_000)).expect("an output");
    assert_eq!(output.effective_mode, mode(1600, 900, 60_000));
    drop(output);
    // Not a multiple of 8: the size is kept, the rate is not, and it says so.
    let output = lab.create(Topology::Primary, mode(1366, 768, 120_000)).expect("an output");
    assert_eq!(output.effective_mode, mode(1366, 768, 60_000));
    assert!(output.path.reason.contains("multiples of 8"), "{}", output.path.reason);
    drop(output);
    lab.wait_for_names("the end of the outputs", &["Virtual-0"]);
}

#[test]
fn vm_the_topology_is_given_and_taken_back() {
    let Some(lab) = Lab::with_pictures("kwin-topology", 2) else { return };
    lab.configure(&["output.Virtual-0.priority.1", "output.Virtual-1.priority.2"]);
    let before = lab.layout();
    let restored = |what: &str| {
        lab.wait_for_names(what, &["Virtual-0", "Virtual-1"]);
        assert_eq!(lab.layout(), before, "{what}");
        assert!(lab.journal().is_empty(), "{what}");
    };

    let output = lab.create(Topology::Primary, mode(640, 360, 60_000)).expect("an output");
    println!("primary: {} {:?}", output.path.reason, lab.layout());
    assert_eq!(lab.layout()["Virtual-lumen"].1, 1600);
    assert!(lab.layout().values().all(|place| place.2 >= lab.layout()["Virtual-lumen"].2));
    assert_eq!(lab.where_windows_open("on-primary", &output.env), (640, 360));
    // A second client has an output of its own, with a name of its own.
    let second = lab.create(Topology::Primary, mode(648, 368, 60_000)).expect("an output");
    assert_eq!(lab.names(), ["Virtual-0", "Virtual-1", "Virtual-lumen", "Virtual-lumen-2"]);
    assert_eq!(lab.layout()["Virtual-lumen"].1, 1600);
    assert_eq!(lab.where_windows_open("on-second", &second.env), (648, 368));
    drop(output);
    assert_eq!(lab.names(), ["Virtual-0", "Virtual-1", "Virtual-lumen-2"]);
    drop(second);
    restored("after primary");

    let output = lab.create(Topology::Extend, mode(640, 360, 60_000)).expect("an output");
    println!("extend: {} {:?}", output.path.reason, lab.layout());
    assert_eq!(lab.where_windows_open("on-extend", &output.env), (800, 600));
    drop(output);
    restored("after extend");

    let output = lab.create(Topology::Exclusive, mode(640, 360, 60_000)).expect("an output");
    println!("exclusive: {} {:?}", output.path.reason, lab.layout());
    assert_eq!(lab.names(), ["Virtual-lumen"]);
    assert_eq!(lab.where_windows_open("on-exclusive", &output.env), (640, 360));
    drop(output);
    restored("after exclusive");

    // KWin remembers that the others were off beside an output of this name; that is not what is asked for now.
    let output = lab.create(Topology::Extend, mode(640, 360, 60_000)).expect("an output");
    assert_eq!(lab.names(), ["Virtual-0", "Virtual-1", "Virtual-lumen"]);
    drop(output);
    restored("after extend again");
}

#[test]
fn vm_a_killed_host_leaves_nothing() {
    let Some(lab) = Lab::with_pictures("kwin-killed-host", 2) else { return };
    let before = lab.layout();
    for (topology, during) in [
        (Topology::Exclusive, &["Virtual-lumen"][..]),
        (Topology::Primary, &["Virtual-0", "Virtual-1", "Virtual-lumen"]),
    ] {
        let host = killed::host(&lab.session, DisplayKind::Kwin, lab.state.path(), topology);
        assert_eq!(lab.names(), during);
        assert_ne!(lab.layout(), before);
        assert_eq!(lab.journal().len(), 1);
        host.kill();
        lab.wait_for_names("the monitors", &["Virtual-0", "Virtual-1"]);
        lab.chooser(Topology::Primary).clean_up();
        assert_eq!(lab.layout(), before, "{topology:?}");
        assert!(lab.journal().is_empty());
    }
}

#[test]
fn vm_a_kwin_that_dies_closes_the_pictures_and_the_next_one_serves() {
    let Some(lab) = Lab::with_pictures("kwin-dies", 1) else { return };
    let output = lab.create(Topology::Primary, mode(640, 360, 60_000)).expect("an output");
    let mut frames = eyes::open(source(&output), output.effective_mode, lab.session.runtime_dir());
    let _card = lab.testcard("card", &output.env, &[]);
    assert!(look(frames.as_mut(), 2, SOON).cards.len() >= 2);
    lab.kwin.kill();
    wait_for_the_end(frames.as_mut(), SOON);
    let begun = clock::now();
    drop(output);
    println!("let go of it in {:?}", clock::now().since(begun));
    let options = KwinOptions { renderer: KwinRenderer::OpenGl, ..KwinOptions::default() };
    let next = Kwin::start(&lab.session, &options).expect("KWin again");
    let config = config(next.env(), lab.session.runtime_dir(), lab.state.path(), Topology::Primary);
    let chooser = Chooser::new(DisplayKind::Kwin, config).expect("a chooser");
    wait_until_ready(&chooser);
    let output = chooser.create(mode(640, 360, 60_000), &AppLaunch::default()).expect("an output again");
    assert_eq!(output.effective_mode, mode(640, 360, 60_000));
}
