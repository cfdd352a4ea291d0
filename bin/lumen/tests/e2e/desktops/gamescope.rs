//! gamescope: started at the client's mode with the app inside, or attached to. Needs the virtual machine.

use super::{Expected, NO_LINGER};
use crate::lab::{Lab, PATIENCE, testcard};
use lumen_lab::{
    Gamescope, GamescopeOptions, Session, left_out, patient, render_node, session_for, wait_for,
};
use lumen_testkit::StreamRequest;

fn session() -> Option<Session> {
    if render_node().is_none() {
        left_out("gamescope", "there is no render node");
        return None;
    }
    session_for("gamescope", &["gamescope", "Xwayland", "pipewire"])
}

fn expected() -> Expected<'static> {
    Expected {
        app: "testcard",
        backend: "gamescope",
        capture: "pipewire",
        codes: 5,
        seconds: 0,
        monitor: None,
    }
}

#[test]
fn vm_gamescope_is_started_with_the_app_inside() {
    let Some(session) = session() else { return };
    let mut env = session.env();
    env.extend(Gamescope::environment());
    env.remove("XDG_CURRENT_DESKTOP");
    let lab = Lab::start_in(env, "[display]\nlinger_seconds = 0\ncompositor = \"gamescope\"\n");
    let client = lab.paired(0);
    let request = StreamRequest::new(320, 180, 60);
    let stream = lab.launch(&client, "testcard", &request);
    let figures = super::watch(&lab, &stream, &request, 5, 0);
    super::assert_path(&lab, &expected());
    super::print_figures(&expected(), &request, &figures);
    stream.disconnect(patient(PATIENCE));
    client.cancel().expect("cancelled");
    wait_for("gamescope and its node to be gone", patient(PATIENCE), || {
        let nodes = session.video_nodes().ok()?;
        (nodes.is_empty() && lab.app_processes().is_empty()).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {:?}", lab.app_commands()));
}

#[test]
fn vm_a_running_gamescope_is_attached_to_by_its_node() {
    let Some(session) = session() else { return };
    let card = testcard().display().to_string();
    let app = [card.as_str(), "--backend", "x11", "--style", "box", "--clock", "callback"];
    let gamescope = Gamescope::start(&session, &GamescopeOptions::default(), &app).expect("gamescope starts");
    let mut env = session.env();
    env.insert("LUMEN_GAMESCOPE_NODE".into(), gamescope.node().to_string());
    let lab = Lab::start_in(env, NO_LINGER);
    let client = lab.paired(0);
    let request = StreamRequest::new(320, 180, 60);
    let stream = lab.launch(&client, "Desktop", &request);
    let figures = super::watch(&lab, &stream, &request, 5, 0);
    super::assert_path(&lab, &expected());
    super::print_figures(&expected(), &request, &figures);
    stream.disconnect(patient(PATIENCE));
    client.cancel().expect("cancelled");
}
