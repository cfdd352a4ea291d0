//! Hyprland, which needs a KMS card and udev, so the virtual machine.

use crate::eyes::{self, look, wait_for_the_end, wl_outputs};
use crate::killed;
use lumen_display::{Chooser, DisplayConfig, DisplayKind, SessionEnvironment, State, Topology};
use lumen_lab::{Desktop, Hyprland, HyprlandOptions, Process, Session, wait_for};
use lumen_media::{AppLaunch, Mode, OutputSource, VirtualDisplay, VirtualOutput, WaylandTarget, clock};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// For anything that must come.
const SOON: Duration = Duration::from_secs(10);
/// Test cards that have to be seen.
const CARDS: usize = 5;

struct Lab {
    session: Session,
    hyprland: Hyprland,
    state: TempDir,
}

impl Lab {
    fn start(name: &str) -> Option<Self> {
        if lumen_lab::render_node().is_none() {
            lumen_lab::left_out(name, "no DRM device: Hyprland does not start");
            return None;
        }
        let session = lumen_lab::session_for(name, &["Hyprland"])?;
        let hyprland = Hyprland::start(&session, &HyprlandOptions::default()).expect("Hyprland");
        Some(Self { session, hyprland, state: tempfile::tempdir().expect("temporary directory") })
    }

    fn chooser(&self, topology: Topology) -> Chooser {
        chooser(self.session.runtime_dir(), self.state.path(), topology)
    }

    fn create(&self, topology: Topology, mode: Mode) -> VirtualOutput {
        self.chooser(topology).create(mode, &AppLaunch::default()).expect("an output")
    }

    fn monitors(&self) -> Vec<Value> {
        let mut monitors = self.hyprland.monitors().expect("an answer");
        for monitor in &mut monitors {
            let keep = [
                "name",
                "width",
                "height",
                "refreshRate",
                "x",
                "y",
                "scale",
                "transform",
                "focused",
                "disabled",
            ];
            monitor.as_object_mut().expect("a monitor").retain(|key, _| keep.contains(&key.as_str()));
        }
        monitors
    }

    fn monitor(&self, name: &str) -> Option<Value> {
        self.monitors().into_iter().find(|monitor| monitor["name"] == name)
    }

    /// Waits until the monitors are those of `before`: Hyprland acts between two frames.
    fn assert_restored(&self, before: &[Value]) {
        let same = wait_for("the monitors as before", SOON, || (self.monitors() == before).then_some(()));
        assert!(same.is_ok(), "{:#?} is not {before:#?}", self.monitors());
        assert_eq!(self.journal(), 0);
    }

    fn journal(&self) -> usize {
        std::fs::read_dir(self.state.path().join("layout")).into_iter().flatten().count()
    }

    /// Name of the monitor that a program's window is on.
    fn monitor_of(&self, program: &Process) -> Option<String> {
        let clients: Vec<Value> = serde_json::from_str(&self.hyprland.ask("j/clients").ok()?).ok()?;
        let window = clients.into_iter().find(|window| window["pid"] == program.pid())?;
        let monitors = self.hyprland.monitors().ok()?;
        let monitor = monitors.into_iter().find(|monitor| monitor["id"] == window["monitor"])?;
        Some(monitor["name"].as_str()?.to_owned())
    }

    fn where_a_window_opens(&self, output: &VirtualOutput) -> String {
        let card = self.testcard(output);
        wait_for("a window", SOON, || self.monitor_of(&card)).expect("a window")
    }

    fn testcard(&self, output: &VirtualOutput) -> Process {
        let mut command = self.session.command(eyes::testcard());
        command.envs(output.env.iter().cloned()).args(["--backend", "wayland", "--clock", "callback"]);
        self.session.spawn("card", command).expect("the test card")
    }
}

fn chooser(runtime_dir: &Path, state: &Path, topology: Topology) -> Chooser {
    // Nothing of Hyprland is in the environment: a service of the user's has none of it either.
    let session = SessionEnvironment { runtime_dir: runtime_dir.to_owned(), ..SessionEnvironment::default() };
    let config =
        DisplayConfig { state_dir: state.to_owned(), session, topology, ..DisplayConfig::new(runtime_dir) };
    Chooser::new(DisplayKind::Hyprland, config).expect("a chooser")
}

fn target(output: &VirtualOutput) -> WaylandTarget {
    let OutputSource::Wayland(target) = &output.source else { panic!("not Wayland") };
    target.clone()
}

fn mode(width: u32, height: u32, refresh_mhz: u32) -> Mode {
    Mode::new(width, height, refresh_mhz).expect("a mode")
}

#[test]
fn vm_an_output_is_made_seen_and_removed_in_every_place() {
    let Some(lab) = Lab::start("hyprland") else { return };
    // A look gives up before an emulated processor answers; the next is quicker.
    wait_for("a look that finds Hyprland", SOON, || {
        let findings = lab.chooser(Topology::Primary).survey();
        let finding = findings.into_iter().find(|finding| finding.kind == DisplayKind::Hyprland)?;
        (finding.state == State::Ready && finding.version.starts_with("Hyprland 0.")).then_some(())
    })
    .unwrap_or_else(|_| panic!("{:?}", lab.chooser(Topology::Primary).survey()));
    let before = lab.monitors();
    println!("{before:?}");

    // A window opens on the output, and its pictures are seen.
    let begun = clock::now();
    let output = lab.create(Topology::Primary, mode(640, 360, 60_000));
    println!("Hyprland: output after {:.1} s", clock::now().since(begun).as_secs_f64());
    let name = target(&output).output;
    assert_eq!(lab.monitor(&name).expect("there")["focused"], true);
    let mut frames =
        eyes::open(OutputSource::Wayland(target(&output)), output.effective_mode, lab.session.runtime_dir());
    let card = lab.testcard(&output);
    let seen = look(frames.as_mut(), CARDS, SOON);
    seen.print(&format!("Hyprland 640x360, {:?}", frames.report()));
    assert!(seen.cards.len() >= CARDS, "{} cards; {}", seen.cards.len(), card.log());
    assert!(seen.colours_are_right(), "{}", seen.worst_colour);
    assert!(seen.sizes.ends_with(&[(640, 360)]), "{:?}", seen.sizes);

    assert_eq!(lab.monitor_of(&card), Some(name.clone()), "primary takes new windows");

    // A reload of the configuration would give it the mode of all monitors.
    assert_eq!(lab.hyprland.ask("reload").expect("an answer"), "ok");
    wait_for("the mode after a reload", SOON, || {
        let monitor = lab.monitor(&name)?;
        (monitor["width"] == 640 && monitor["height"] == 360).then_some(())
    })
    .expect("its mode again");
    drop((card, frames));
    drop(output);
    lab.assert_restored(&before);

    // Rates are what programs are told.
    let output = lab.create(Topology::Extend, mode(1264, 720, 59_940));
    let name = target(&output).output;
    let told = wl_outputs(&target(&output).socket).into_iter().find(|told| told.name == name).expect("told");
    println!("Hyprland 1264x720@59.94: {told:?}");
    assert_eq!((told.width, told.height), (1264, 720));
    assert!(told.refresh.abs_diff(59_940) <= 10, "{told:?}");
    assert_eq!(lab.monitor(&name).expect("there")["focused"], false, "extend takes no focus");
    assert_ne!(lab.where_a_window_opens(&output), name, "extend leaves new windows");
    drop(output);
    lab.assert_restored(&before);

    // The other monitors are dark meanwhile.
    let output = lab.create(Topology::Exclusive, mode(640, 360, 60_000));
    let lit: Vec<_> = lab.monitors().into_iter().filter(|monitor| monitor["disabled"] != true).collect();
    assert_eq!(lit.len(), 1, "{lit:?}");
    assert_eq!(lit[0]["name"], target(&output).output.as_str());
    drop(output);
    lab.assert_restored(&before);
}

#[test]
fn vm_a_killed_host_and_a_killed_hyprland_are_got_over() {
    let Some(lab) = Lab::start("hyprland-killed") else { return };
    let before = lab.monitors();
    for topology in [Topology::Exclusive, Topology::Primary] {
        let host = killed::host(&lab.session, DisplayKind::Hyprland, lab.state.path(), topology);
        assert_ne!(lab.monitors(), before);
        assert_eq!(lab.journal(), 1);
        host.kill();
        lab.chooser(Topology::Primary).clean_up();
        lab.assert_restored(&before);
    }

    let output = lab.create(Topology::Primary, mode(640, 360, 60_000));
    let mut frames =
        eyes::open(OutputSource::Wayland(target(&output)), output.effective_mode, lab.session.runtime_dir());
    lab.hyprland.kill();
    wait_for_the_end(frames.as_mut(), SOON);
    drop(output);
    assert_eq!(lab.journal(), 0);
    let Err(error) = lab.chooser(Topology::Primary).create(mode(640, 360, 60_000), &AppLaunch::default())
    else {
        panic!("nobody is there")
    };
    assert!(error.to_string().contains("hyprland"), "{error}");
}
