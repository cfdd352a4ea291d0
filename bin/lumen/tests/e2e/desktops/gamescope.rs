//! gamescope: started at the client's mode with the app inside, or attached to. Needs the virtual machine.

use super::{Expected, HOST_FAILURE, NO_LINGER, VERDICT, resumes};
use crate::lab::{Lab, PATIENCE, now, testcard};
use lumen_lab::{
    Desktop, Gamescope, GamescopeOptions, Session, left_out, patient, render_node, session_for, wait_for,
};
use lumen_testkit::{Ending, StreamRequest};
use std::process::Command;

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
        format: "",
        codes: 5,
        seconds: 0,
        monitor: None,
    }
}

#[test]
fn vm_gamescope_is_started_with_the_app_inside() {
    let Some(session) = session() else { return };
    let lab = spawning(&session);
    let client = lab.paired(0);
    let request = StreamRequest::new(320, 180, 60);
    let mut stream = lab.launch(&client, "testcard", &request);
    let figures = super::watch(&lab, &stream, &request, 5, 0);
    super::assert_path(&lab, &expected());
    super::print_figures(&expected(), &request, &figures);
    for round in ["same", "same again"] {
        stream.disconnect(patient(PATIENCE));
        stream = resumes(&lab, &client, &request, &format!("gamescope, {round} mode"));
        super::watch(&lab, &stream, &request, 2, 0);
    }
    stream.disconnect(patient(PATIENCE));
    client.cancel().expect("cancelled");
    gone(&session, &lab);
}

/// Its app dies with it, so the session is over; the next launch has both again. One that hangs is noticed too.
#[test]
fn vm_a_gamescope_that_dies_or_hangs_ends_the_stream_cleanly_and_serves_again() {
    let Some(session) = session() else { return };
    let lab = spawning(&session);
    let client = lab.paired(0);
    let request = StreamRequest::new(320, 180, 60);
    for signal in ["KILL", "STOP", "KILL"] {
        let stream = lab.launch(&client, "testcard", &request);
        super::watch(&lab, &stream, &request, 3, 0);
        let killed = now();
        let killing = Command::new("pkill").args(["--signal", signal, "--exact", "gamescope-wl"]).status();
        assert!(killing.expect("pkill runs").success(), "{:?}", lab.app_commands());
        let ending = stream.wait_end(patient(VERDICT)).expect("the client is told");
        println!("SIG{signal} to gamescope: the client got {ending:?} after {:?}", now() - killed);
        assert!(matches!(ending, Ending::Graceful | Ending::HostError(HOST_FAILURE)), "{ending:?}");
        let _ = client.cancel();
        gone(&session, &lab);
    }
}

pub fn spawning(session: &Session) -> Lab {
    let mut env = session.env();
    env.extend(Gamescope::environment());
    env.remove("XDG_CURRENT_DESKTOP");
    Lab::start_in(env, "[display]\nlinger_seconds = 0\ncompositor = \"gamescope\"\n")
}

fn gone(session: &Session, lab: &Lab) {
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
    // It belongs to its user: it goes on with what runs in it, and nothing of ours is left.
    wait_for("the host's own programs and its capture to end", patient(PATIENCE), || {
        let nodes = session.video_nodes().ok()?;
        (lab.app_processes().is_empty() && nodes.len() == 1).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {:?}", lab.app_commands()));
    assert!(gamescope.process().is_running(), "{}", gamescope.process().log_tail(20));
    let stream = lab.launch(&client, "Desktop", &request);
    super::watch(&lab, &stream, &request, 5, 0);
    stream.disconnect(patient(PATIENCE));
    client.cancel().expect("cancelled");
}
