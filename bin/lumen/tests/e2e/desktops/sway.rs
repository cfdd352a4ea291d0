//! sway: a headless output in the running session, captured directly; an existing monitor through the portal.

use super::{BY_PORTAL, Expected, Monitor, NO_LINGER, portal_installed, reconnects, whole_session};
use crate::lab::{Lab, PATIENCE};
use lumen_lab::{
    Desktop, Mode, PortalKind, Portals, Session, Sway, SwayOptions, left_out, patient, session_for,
};
use lumen_testkit::StreamRequest;

fn session() -> Option<Session> {
    session_for("sway", &["sway", "wayland-info", "pipewire"])
}

pub fn expected(request: &StreamRequest) -> Expected<'static> {
    Expected {
        app: "testcard",
        backend: "wlroots",
        capture: "ext-image-copy-capture",
        format: "",
        codes: 20,
        seconds: 4,
        monitor: Some(Monitor::of(request)),
    }
}

#[test]
fn outputs_of_sway_have_exactly_the_clients_mode() {
    let Some(session) = session() else { return };
    let sway = Sway::start(&session, &SwayOptions::default()).expect("sway starts");
    let lab = Lab::start_in(sway.env(), NO_LINGER);
    let client = lab.paired(0);
    for request in [
        StreamRequest::new(1264, 720, 60),
        StreamRequest::new(1264, 720, 120),
        StreamRequest { refresh_x100: 5994, ..StreamRequest::new(1264, 720, 60) },
        StreamRequest::new(640, 360, 30),
    ] {
        whole_session(&sway, &lab, &client, &request, &expected(&request));
    }
}

#[test]
fn reconnects_to_sway_reuse_the_output_or_get_one_of_the_new_size() {
    let Some(session) = session() else { return };
    let sway = Sway::start(&session, &SwayOptions::default()).expect("sway starts");
    let lab = Lab::start_in(sway.env(), NO_LINGER);
    let (request, other) = (StreamRequest::new(1264, 720, 60), StreamRequest::new(960, 540, 60));
    reconnects(&sway, &lab, &lab.paired(0), &request, &other, &expected(&request));
}

#[test]
fn a_monitor_of_sway_is_shown_through_the_portal_in_the_clients_size() {
    let Some(session) = session() else { return };
    if !portal_installed("xdg-desktop-portal-wlr") {
        return left_out("the portal of sway", "xdg-desktop-portal-wlr is not installed");
    }
    let options = SwayOptions { outputs: vec![Mode::new(1280, 720, 60.0)], ..SwayOptions::default() };
    let sway = Sway::start(&session, &options).expect("sway starts");
    let mut env = sway.env();
    env.insert("LUMEN_VIDEO_SOURCE".into(), "portal".into());
    for (request, env, extra) in [
        (StreamRequest::new(960, 540, 60), sway.env(), BY_PORTAL),
        (StreamRequest::new(1280, 720, 60), env, NO_LINGER),
    ] {
        // A portal of its own each time: this one sometimes dies when a second reader comes.
        let kind = PortalKind::Wlr { output: "HEADLESS-1".into(), max_fps: 60 };
        let portals = Portals::start(&sway, kind).expect("the portal starts");
        let lab = Lab::start_in(env, extra);
        let client = lab.paired(0);
        let expected =
            Expected { backend: "portal", capture: "pipewire", monitor: None, ..expected(&request) };
        let mut stream = lab.launch(&client, "testcard", &request);
        let figures = super::watch_again(&lab, &stream, &request, (1280, 720), 20, 4);
        super::assert_path(&lab, &expected);
        super::print_figures(&expected, &request, &figures);
        for round in ["same", "same again", "same after a while"] {
            stream.disconnect(patient(PATIENCE));
            if round == "same after a while" {
                super::falls_asleep(&lab);
            }
            stream = super::resumes(&lab, &client, &request, &format!("portal of sway, {round} mode"));
            super::watch_again(&lab, &stream, &request, (1280, 720), 5, 0);
        }
        stream.disconnect(patient(PATIENCE));
        client.cancel().expect("cancelled");
        // The capture of an existing monitor lives as long as the host, and with it its node.
        drop(lab);
        drop(portals);
        let gone = || session.video_nodes().ok()?.is_empty().then_some(());
        lumen_lab::wait_for("the portal's node to be gone", patient(PATIENCE), gone).expect("gone");
    }
}

/// A variable of the environment wins over what is found and what the file says.
#[test]
fn variables_choose_the_compositor_and_the_source() {
    let Some(session) = session() else { return };
    let sway = Sway::start(&session, &SwayOptions::default()).expect("sway starts");
    let request = StreamRequest::new(640, 360, 60);
    for (name, value, backend) in [
        ("LUMEN_COMPOSITOR", "built-in", "built-in"),
        ("LUMEN_COMPOSITOR", "wlroots", "wlroots"),
        ("LUMEN_VIDEO_SOURCE", "test-pattern", "test-pattern"),
    ] {
        let mut env = sway.env();
        env.insert(name.into(), value.into());
        let lab = Lab::start_in(env, NO_LINGER);
        let client = lab.paired(0);
        let stream = lab.launch(&client, "testcard", &request);
        stream.next_frame(patient(PATIENCE)).expect("a frame");
        super::assert_path(&lab, &Expected { backend, capture: "", ..expected(&request) });
        let display = lab.status()["sessions"][0]["display"].clone();
        println!("{name}={value}: {display}");
        stream.disconnect(patient(PATIENCE));
        client.cancel().expect("cancelled");
    }
}

#[test]
fn m0_records_an_output_of_sway() {
    let Some(session) = session() else { return };
    let sway = Sway::start(&session, &SwayOptions::default()).expect("sway starts");
    super::records(&sway, "sway-virtual", 10);
}
