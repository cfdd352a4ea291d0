//! A host that gets killed: this test program once more, in a process of its own.

use crate::gamescope;
use lumen_display::{Chooser, DisplayConfig, DisplayKind, SessionEnvironment, Topology};
use lumen_lab::{Process, Session};
use lumen_media::{AppLaunch, Mode, VirtualDisplay};
use std::path::Path;
use std::time::Duration;

/// Set in that process: the desktop, the topology, the runtime folder and the state folder.
const TOLD: &str = "LUMEN_TEST_KILLED_HOST";
const READY: &str = "the output is there";
/// For an output, also on an emulated processor.
const SOON: Duration = Duration::from_secs(30);

/// Starts one that has an output on `kind`, and waits until it is there.
pub fn host(session: &Session, kind: DisplayKind, state: &Path, topology: Topology) -> Process {
    let mut command = session.command(std::env::current_exe().expect("the path of this program"));
    command.args(["--exact", "killed::plays_a_host_that_is_killed", "--nocapture"]);
    let (runtime_dir, state) = (session.runtime_dir().display(), state.display());
    command.env(TOLD, format!("{kind}\n{topology:?}\n{runtime_dir}\n{state}"));
    let host = session.spawn("host", command).expect("a host");
    host.wait_for_log(READY, SOON).expect("an output");
    host
}

/// Not a test by itself.
#[test]
fn plays_a_host_that_is_killed() {
    #[expect(clippy::disallowed_methods, reason = "the only way to tell a test program what to play")]
    let Ok(told) = std::env::var(TOLD) else { return };
    let told: Vec<_> = told.lines().collect();
    let [kind, topology, runtime_dir, state] = told[..] else { panic!("{told:?}") };
    let kind: DisplayKind = kind.parse().expect("a desktop");
    let (runtime_dir, state) = (Path::new(runtime_dir), Path::new(state));
    let _output = if kind == DisplayKind::Gamescope {
        gamescope::create(&gamescope::config(runtime_dir, state), &gamescope::CARD).expect("an output")
    } else {
        let bus = format!("unix:path={}", runtime_dir.join("bus").display());
        let config = DisplayConfig {
            state_dir: state.to_owned(),
            session: SessionEnvironment {
                runtime_dir: runtime_dir.to_owned(),
                variables: [("DBUS_SESSION_BUS_ADDRESS".to_owned(), bus)].into(),
            },
            topology: if topology == "Exclusive" { Topology::Exclusive } else { Topology::Primary },
            ..DisplayConfig::new(runtime_dir)
        };
        let mode = Mode::new(640, 360, 60_000).expect("a mode");
        Chooser::new(kind, config).expect("a chooser").create(mode, &AppLaunch::default()).expect("an output")
    };
    println!("{READY}");
    std::thread::sleep(SOON * 20);
}
