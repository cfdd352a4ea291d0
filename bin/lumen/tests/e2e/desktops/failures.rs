//! What goes wrong in desktops: they die, hang, come late. The client keeps its session or gets a clean end within five
//! seconds; the host lives on and streams again when the desktop is back.

use super::{
    Expected, NO_LINGER, assert_path, assert_restored, print_figures, sway, trace, watch, watch_again,
};
use crate::lab::{Lab, PATIENCE, now, testcard, wait_for};
use lumen_lab::{Desktop, Mutter, MutterOptions, Process, Session, Sway, SwayOptions, patient, session_for};
use lumen_testkit::{Ending, StreamRequest};
use std::time::Duration;

/// What the client shows when the host lost the picture: the protocol has no number of its own for it.
const HOST_FAILURE: u32 = 0x800e_9400;

/// For the host to recover or to give up, with what the machine needs beside.
const VERDICT: Duration = Duration::from_secs(8);

fn sway_session() -> Option<Session> {
    session_for("sway", &["sway", "wayland-info", "pipewire"])
}

fn start_sway(session: &Session) -> Sway {
    Sway::start(session, &SwayOptions::default()).expect("sway starts")
}

/// The test card, started by the user in the desktop, not by the host.
fn card_on(desktop: &impl Desktop) -> Process {
    let mut command = desktop.session().command(testcard());
    command.envs(desktop.variables()).args(["--style", "box", "--clock", "callback"]);
    desktop.session().spawn("testcard", command).expect("the card starts")
}

fn desktop_app(expected: Expected<'static>) -> Expected<'static> {
    Expected { app: "Desktop", seconds: 0, ..expected }
}

#[test]
fn a_compositor_that_dies_for_good_ends_the_stream_cleanly_and_serves_again_later() {
    let Some(session) = sway_session() else { return };
    let first = start_sway(&session);
    let lab = Lab::start_in(first.env(), NO_LINGER);
    let client = lab.paired(0);
    let request = StreamRequest::new(1264, 720, 60);
    let expected = sway::expected(&request);
    let stream = lab.launch(&client, "Desktop", &request);
    let _card = card_on(&first);
    watch(&lab, &stream, &request, 20, 0);
    let died = now();
    first.kill();
    let ending = stream.wait_end(patient(VERDICT)).expect("the client is told");
    println!("sway killed: the client got {ending:?} after {:?}", now() - died);
    assert_eq!(ending, Ending::HostError(HOST_FAILURE));
    assert!(lab.log().contains("could not be made again in time"), "{}", lab.log());
    drop(first);
    let _ = client.cancel();
    let again = start_sway(&session);
    let before = trace(&again);
    let stream = lab.launch(&client, "testcard", &request);
    let figures = watch(&lab, &stream, &request, 20, 0);
    assert_path(&lab, &expected);
    print_figures(&expected, &request, &figures);
    stream.disconnect(patient(PATIENCE));
    client.cancel().expect("cancelled");
    assert_restored(&again, &lab, &before);
}

#[test]
fn a_compositor_that_restarts_is_found_again_while_the_client_keeps_its_session() {
    let Some(session) = sway_session() else { return };
    let first = start_sway(&session);
    // As a user's service: the host knows the runtime directory, not the sockets in it.
    let mut env = session.env();
    env.insert("XDG_CURRENT_DESKTOP".into(), "sway".into());
    let lab = Lab::start_in(env, NO_LINGER);
    let client = lab.paired(0);
    let request = StreamRequest::new(1264, 720, 60);
    let expected = desktop_app(sway::expected(&request));
    let stream = lab.launch(&client, "Desktop", &request);
    let _card = card_on(&first);
    watch(&lab, &stream, &request, 20, 0);
    let died = now();
    first.kill();
    drop(first);
    let second = start_sway(&session);
    wait_for("the host to make its output in the new sway", VERDICT, || {
        (super::monitors(&second).len() == 2).then_some(())
    });
    let recovered = now() - died;
    let _card = card_on(&second);
    watch_again(&lab, &stream, &request, (request.width, request.height), 20, 0);
    assert_path(&lab, &expected);
    println!("sway restarted: output made again {recovered:?} after the crash; the stream went on");
    assert!(stream.ending().is_none());
    stream.disconnect(patient(PATIENCE));
    client.cancel().expect("cancelled");
}

#[test]
fn pipewire_restarted_in_mid_stream_is_survived() {
    let Some(session) = session_for("mutter", &["mutter", "wayland-info", "pipewire"]) else { return };
    let mutter = Mutter::start(&session, &MutterOptions::default()).expect("mutter starts");
    let lab = Lab::start_in(mutter.env(), NO_LINGER);
    let client = lab.paired(0);
    let request = StreamRequest::new(640, 360, 60);
    let stream = lab.launch(&client, "Desktop", &request);
    let card = card_on(&mutter);
    watch(&lab, &stream, &request, 20, 0);
    let broken = now();
    session.restart_pipewire().expect("restarts");
    // Mutter's connection to the old daemon is gone too; it takes a new one for the next screen cast. What happens, the
    // client is never left with a frozen picture.
    let ended = stream.wait_end(patient(VERDICT));
    println!("PipeWire restarted: {ended:?} after {:?}", now() - broken);
    match ended {
        None => {
            drop(card);
            let _card = card_on(&mutter);
            watch_again(&lab, &stream, &request, (request.width, request.height), 20, 0);
            stream.disconnect(patient(PATIENCE));
        }
        Some(ending) => assert_eq!(ending, Ending::HostError(HOST_FAILURE)),
    }
    let _ = client.cancel();
    // And it streams again.
    let stream = lab.launch(&client, "testcard", &request);
    watch(&lab, &stream, &request, 20, 0);
    stream.disconnect(patient(PATIENCE));
    client.cancel().expect("cancelled");
}

#[test]
fn a_compositor_that_never_answers_costs_one_launch_and_not_the_host() {
    let Some(session) = sway_session() else { return };
    let sway = start_sway(&session);
    let lab = Lab::start_in(sway.env(), "[display]\nlinger_seconds = 0\ncompositor = \"wlroots\"\n");
    let client = lab.paired(0);
    let request = StreamRequest::new(1264, 720, 60);
    sway.process().freeze();
    let asked = now();
    let refused = client.request_launch(lab.app(&client, "testcard"), &request);
    println!("sway frozen: /launch answered after {:?}: {refused:?}", now() - asked);
    assert!(refused.is_err(), "{refused:?}");
    assert!(now() - asked < patient(Duration::from_secs(15)));
    assert!(client.server_info().is_ok(), "the host answers others meanwhile");
    sway.process().thaw();
    let _ = client.cancel();
    let stream = lab.launch(&client, "testcard", &request);
    watch(&lab, &stream, &request, 20, 0);
    stream.disconnect(patient(PATIENCE));
    client.cancel().expect("cancelled");
}

#[test]
fn a_host_that_started_before_the_desktop_uses_it_when_it_is_there() {
    let Some(session) = sway_session() else { return };
    let lab = Lab::start_in(session.env(), NO_LINGER);
    let client = lab.paired(0);
    let request = StreamRequest::new(1264, 720, 60);
    let stream = lab.launch(&client, "testcard", &request);
    watch(&lab, &stream, &request, 5, 0);
    assert_path(&lab, &Expected { backend: "built-in", capture: "in-process", ..sway::expected(&request) });
    stream.disconnect(patient(PATIENCE));
    client.cancel().expect("cancelled");
    let sway = start_sway(&session);
    let before = trace(&sway);
    let stream = lab.launch(&client, "testcard", &request);
    watch(&lab, &stream, &request, 20, 0);
    assert_path(&lab, &sway::expected(&request));
    stream.disconnect(patient(PATIENCE));
    client.cancel().expect("cancelled");
    assert_restored(&sway, &lab, &before);
}

#[test]
fn what_a_killed_host_left_in_sway_is_gone_after_the_next_start() {
    let Some(session) = sway_session() else { return };
    let sway = start_sway(&session);
    let before = trace(&sway);
    let mut lab = Lab::start_in(sway.env(), NO_LINGER);
    let client = lab.paired(0);
    let request = StreamRequest::new(1264, 720, 60);
    let stream = lab.launch(&client, "testcard", &request);
    watch(&lab, &stream, &request, 5, 0);
    lab.kill_host();
    stream.kill();
    assert_ne!(trace(&sway), before, "sway keeps the output of a host that was killed");
    lab.start_host();
    assert_restored(&sway, &lab, &before);
}

#[test]
fn a_portal_that_is_missing_is_named_to_the_client() {
    let Some(session) = sway_session() else { return };
    let sway = start_sway(&session);
    let lab = Lab::start_in(sway.env(), "[display]\nlinger_seconds = 0\nsource = \"portal\"\n");
    let client = lab.paired(0);
    let asked = now();
    let refused = client.request_launch(lab.app(&client, "testcard"), &StreamRequest::new(1264, 720, 60));
    let text = refused.expect_err("there is no portal").to_string();
    println!("no portal: after {:?}: {text}", now() - asked);
    assert!(text.to_lowercase().contains("portal"), "{text}");
}

#[test]
fn the_doctor_names_the_desktop_and_what_it_lacks() {
    let Some(session) = sway_session() else { return };
    let examine = |lab: &Lab| {
        let text = String::from_utf8_lossy(&lab.lumen(&["doctor"]).stdout).into_owned();
        let lines: Vec<_> = text.lines().filter(|line| line.contains("display")).map(str::to_owned).collect();
        assert!(!lines.is_empty(), "{text}");
        lines
    };
    let lab = Lab::start_in(session.env(), NO_LINGER);
    let none = examine(&lab);
    println!("no desktop: {none:#?}");
    let remedy = none.iter().any(|line| line.contains("built-in") && line.contains("log into KDE"));
    assert!(remedy, "{none:?}");
    drop(lab);
    let sway = start_sway(&session);
    let lab = Lab::start_in(sway.env(), NO_LINGER);
    let found = examine(&lab);
    println!("sway: {found:#?}");
    assert!(found.iter().any(|line| line.contains("sway")), "{found:?}");
    drop(lab);
    let Some(session) = session_for("mutter", &["mutter"]) else { return };
    let mutter = Mutter::start(&session, &MutterOptions::default()).expect("mutter starts");
    let lab = Lab::start_in(mutter.env(), NO_LINGER);
    let found = examine(&lab);
    println!("GNOME: {found:#?}");
    assert!(found.iter().any(|line| line.to_lowercase().contains("mutter")), "{found:?}");
}
