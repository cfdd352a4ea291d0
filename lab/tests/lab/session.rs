use crate::{in_session, remains};
use lumen_lab::{Session, SessionOptions, wait_for};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn a_session_has_a_bus_of_its_own_and_ends_what_it_started() {
    in_session("bus", &[], |session| {
        assert!(session.has_name("org.freedesktop.DBus"));
        assert!(!session.has_name("org.freedesktop.portal.Desktop"), "nothing of the machine is activated");
        // A program that nobody holds, in a process group of its own.
        let mut stray = session.command("sleep").arg("1000").process_group(0).spawn().unwrap();
        wait_for("stray", Duration::from_secs(5), || {
            session.processes().iter().any(|(_, name)| name == "sleep").then_some(())
        })
        .unwrap();
        std::thread::spawn(move || stray.wait());
    });
}

#[test]
fn pipewire_is_restarted() {
    in_session("pipewire", &["pipewire", "wireplumber", "pw-dump"], |session| {
        assert!(!session.pipewire_objects().unwrap().is_empty());
        let first = session.processes().into_iter().find(|(_, name)| name == "pipewire");
        session.restart_pipewire().unwrap();
        let second = session.processes().into_iter().find(|(_, name)| name == "pipewire");
        assert!(first.is_some() && second.is_some() && first != second, "{first:?} {second:?}");
        assert!(!session.pipewire_objects().unwrap().is_empty());
        session.stop_pipewire();
        assert!(session.pipewire_objects().is_err());
    });
}

#[test]
fn what_ends_too_early_is_told_with_its_log() {
    in_session("early", &[], |session| {
        let mut command = session.command("sh");
        command.args(["-c", "echo the reason; exit 3"]);
        let process = session.spawn("early", command).unwrap();
        let error = process.wait_for_log("ready", Duration::from_secs(5)).unwrap_err().to_string();
        assert!(error.contains("the reason") && error.contains('3'), "{error}");
    });
}

/// This binary runs itself, is killed, and must leave no process.
#[test]
fn nothing_survives_a_killed_test() {
    const NAME: &str = "session::nothing_survives_a_killed_test";
    if std::env::args().any(|word| word == "--nocapture")
        && std::env::args().any(|word| word == NAME)
        && is_child()
    {
        let options = SessionOptions { pipewire: false, system_bus: true };
        let session = Session::start_with("killed", options).unwrap();
        println!("\nrunning in {}", session.runtime_dir().display());
        std::thread::sleep(Duration::from_secs(600));
    }
    if !lumen_lab::available("dbus-daemon") {
        return lumen_lab::left_out(NAME, "dbus-daemon is not installed");
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([NAME, "--exact", "--nocapture", "--test-threads=1", CHILD])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let runtime_dir = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("running in ").map(std::path::PathBuf::from))
        .expect("the child tells its session");
    assert_eq!(remains(&runtime_dir).1.len(), 2, "two buses run");
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for("end of the buses", Duration::from_secs(5), || remains(&runtime_dir).1.is_empty().then_some(()))
        .unwrap();
    // Nobody was left to remove the directory; the next session does, be it this test's or another's.
    let options = SessionOptions { pipewire: false, system_bus: false };
    drop(Session::start_with("next", options).unwrap());
    assert!(!runtime_dir.exists());
}

/// A filter that matches no test and marks the child.
const CHILD: &str = "lumen-lab-child";

fn is_child() -> bool {
    std::env::args().any(|word| word == CHILD)
}
