//! Mutter, GNOME's compositor: a virtual monitor by its own D-Bus interface, captured over PipeWire.

use super::{Expected, Monitor, NO_LINGER, reconnects, whole_session};
use crate::lab::Lab;
use lumen_lab::{Desktop, Mutter, MutterOptions, Session, session_for};
use lumen_testkit::StreamRequest;

fn session() -> Option<Session> {
    session_for("mutter", &["mutter", "wayland-info", "pipewire"])
}

pub fn expected(request: &StreamRequest) -> Expected<'static> {
    Expected {
        app: "testcard",
        backend: "mutter",
        capture: "pipewire",
        format: "",
        codes: 20,
        seconds: 4,
        monitor: Some(Monitor::of(request)),
    }
}

#[test]
fn monitors_of_mutter_have_exactly_the_clients_mode() {
    let Some(session) = session() else { return };
    let mutter = Mutter::start(&session, &MutterOptions::default()).expect("mutter starts");
    let lab = Lab::start_in(mutter.env(), NO_LINGER);
    let client = lab.paired(0);
    for request in [
        StreamRequest::new(1264, 720, 60),
        StreamRequest::new(1264, 720, 120),
        StreamRequest { refresh_x100: 5994, ..StreamRequest::new(1264, 720, 60) },
        StreamRequest::new(640, 360, 60),
    ] {
        whole_session(&mutter, &lab, &client, &request, &expected(&request));
    }
}

#[test]
fn reconnects_to_mutter_reuse_the_monitor_or_get_one_of_the_new_size() {
    let Some(session) = session() else { return };
    let mutter = Mutter::start(&session, &MutterOptions::default()).expect("mutter starts");
    let lab = Lab::start_in(mutter.env(), NO_LINGER);
    let (request, other) = (StreamRequest::new(1264, 720, 60), StreamRequest::new(960, 540, 60));
    reconnects(&mutter, &lab, &lab.paired(0), &request, &other, &expected(&request));
}

/// For finding out what a producer does not like: exactly one format is offered.
#[test]
fn one_fixed_format_is_offered_when_the_variable_says_so() {
    let Some(session) = session() else { return };
    let mutter = Mutter::start(&session, &MutterOptions::default()).expect("mutter starts");
    let mut env = mutter.env();
    env.insert("LUMEN_PW_FIXED_POD".into(), "1".into());
    let lab = Lab::start_in(env, NO_LINGER);
    let client = lab.paired(0);
    let request = StreamRequest::new(640, 360, 60);
    whole_session(&mutter, &lab, &client, &request, &Expected { seconds: 0, ..expected(&request) });
    let log = lab.log();
    let line = log.lines().find(|line| line.contains("one fixed format"));
    println!("{}", line.unwrap_or_else(|| panic!("{log}")));
}

#[test]
fn m0_records_a_monitor_of_mutter() {
    let Some(session) = session() else { return };
    let mutter = Mutter::start(&session, &MutterOptions::default()).expect("mutter starts");
    super::records(&mutter, "mutter-virtual", 10);
}
