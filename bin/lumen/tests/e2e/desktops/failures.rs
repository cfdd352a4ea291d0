//! What goes wrong in desktops: they die, hang, come late. The client keeps its session or gets a clean end within five
//! seconds; the host lives on and streams again when the desktop is back.

use super::{
    Expected, HOST_FAILURE, NO_LINGER, VERDICT, assert_path, assert_restored, card_on, dies_for_good,
    looks_at, mutter, pipewire_restarts, sway, trace, watch, watch_again, whole_session,
};
use crate::lab::{Lab, PATIENCE, now, wait_for};
use lumen_lab::{Desktop, Mode, Mutter, MutterOptions, Session, Sway, SwayOptions, patient, session_for};
use lumen_testkit::{Decoder, Ending, StreamRequest};
use rustix::process::Signal;
use std::time::Duration;

fn sway_session() -> Option<Session> {
    session_for("sway", &["sway", "wayland-info", "pipewire"])
}

fn mutter_session() -> Option<Session> {
    session_for("mutter", &["mutter", "wayland-info", "pipewire"])
}

fn start_mutter(session: &Session) -> Mutter {
    Mutter::start(session, &MutterOptions::default()).expect("mutter starts")
}

fn start_sway(session: &Session) -> Sway {
    Sway::start(session, &SwayOptions::default()).expect("sway starts")
}

fn sway_once(request: &StreamRequest) -> Expected<'static> {
    Expected { seconds: 0, ..sway::expected(request) }
}

fn mutter_once(request: &StreamRequest) -> Expected<'static> {
    Expected { seconds: 0, ..mutter::expected(request) }
}

#[test]
fn a_compositor_that_dies_for_good_ends_the_stream_cleanly_and_serves_again_later() {
    let Some(session) = sway_session() else { return };
    let request = StreamRequest::new(1264, 720, 60);
    dies_for_good(&session, start_sway, &request, &sway_once(&request));
}

#[test]
fn a_mutter_that_dies_ends_the_stream_cleanly_and_serves_again_later() {
    let Some(session) = mutter_session() else { return };
    let request = StreamRequest::new(640, 360, 60);
    dies_for_good(&session, start_mutter, &request, &mutter_once(&request));
}

/// Hanging, a compositor closes nothing: its pictures just stop.
#[test]
fn a_compositor_that_hangs_in_mid_stream_is_noticed() {
    let Some(session) = sway_session() else { return };
    let request = StreamRequest::new(1264, 720, 60);
    hangs(&start_sway(&session), &request, &sway_once(&request));
    let Some(session) = mutter_session() else { return };
    let request = StreamRequest::new(640, 360, 60);
    hangs(&start_mutter(&session), &request, &mutter_once(&request));
}

fn hangs(desktop: &impl Desktop, request: &StreamRequest, expected: &Expected<'_>) {
    let (lab, client, stream, card) = looks_at(desktop, request, 20);
    let hung = now();
    desktop.process().freeze();
    let ending = stream.wait_end(patient(VERDICT)).expect("the client is told");
    println!("{} hangs: the client got {ending:?} after {:?}", expected.backend, now() - hung);
    assert_eq!(ending, Ending::HostError(HOST_FAILURE));
    let log = lab.log();
    assert!(log.contains("the desktop hangs"), "{log}");
    desktop.process().thaw();
    drop(card);
    let _ = client.cancel();
    wait_for("the layout of before", PATIENCE * 2, || {
        (super::monitors(desktop).len() <= usize::from(expected.backend != "mutter")).then_some(())
    });
    whole_session(desktop, &lab, &client, request, expected);
}

/// Longer than the host waits for the output's removal: the user's own monitor, turned off for the stream, is not forgotten.
#[test]
fn a_sway_that_hangs_for_long_gets_its_layout_back_when_it_answers() {
    let Some(session) = sway_session() else { return };
    let request = StreamRequest::new(1264, 720, 60);
    hangs_for_long(&start_sway(&session), &request, &sway_once(&request), "stays in sway until that answers");
}

#[test]
fn a_mutter_that_hangs_for_long_gets_its_layout_back_when_it_answers() {
    let Some(session) = mutter_session() else { return };
    let options = MutterOptions { monitors: vec![Mode::new(800, 600, 60.0)] };
    let mutter = Mutter::start(&session, &options).expect("mutter starts");
    let request = StreamRequest::new(640, 360, 60);
    hangs_for_long(&mutter, &request, &mutter_once(&request), "is restored when");
}

fn hangs_for_long(desktop: &impl Desktop, request: &StreamRequest, expected: &Expected<'_>, given_up: &str) {
    let before = super::monitors(desktop);
    let lab = Lab::start_in(desktop.env(), "[display]\nlinger_seconds = 0\ntopology = \"exclusive\"\n");
    let client = lab.paired(0);
    let stream = lab.launch(&client, "Desktop", request);
    let card = card_on(desktop);
    watch(&lab, &stream, request, 5, 0);
    assert!(!super::monitors(desktop).keys().any(|name| before.contains_key(name)), "the others are off");
    desktop.process().freeze();
    let ending = stream.wait_end(patient(VERDICT)).expect("the client is told");
    assert_eq!(ending, Ending::HostError(HOST_FAILURE));
    wait_for("the removal to be given up", PATIENCE, || lab.log().contains(given_up).then_some(()));
    desktop.process().thaw();
    drop(card);
    let _ = client.cancel();
    wait_for("the layout of before", PATIENCE, || (super::monitors(desktop) == before).then_some(()));
    whole_session(desktop, &lab, &client, request, expected);
}

#[test]
fn an_output_that_is_taken_away_in_mid_stream_is_made_again() {
    let Some(session) = sway_session() else { return };
    let sway = start_sway(&session);
    let lab = Lab::start_in(sway.env(), NO_LINGER);
    let client = lab.paired(0);
    let request = StreamRequest::new(1264, 720, 60);
    let stream = lab.launch(&client, "Desktop", &request);
    let _card = card_on(&sway);
    watch(&lab, &stream, &request, 5, 0);
    let taken = now();
    sway.run("output HEADLESS-2 unplug").expect("sway obeys");
    wait_for("the host to make it again", VERDICT, || lab.log().contains("the output is back").then_some(()));
    println!("output unplugged: back after {:?}", now() - taken);
    let _card = card_on(&sway);
    watch_again(&lab, &stream, &request, (request.width, request.height), 5, 0);
    assert!(stream.ending().is_none());
    stream.disconnect(patient(PATIENCE));
    client.cancel().expect("cancelled");
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
    let expected = sway_once(&request);
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
    let Some(session) = mutter_session() else { return };
    let request = StreamRequest::new(640, 360, 60);
    pipewire_restarts(&session, start_mutter, &request, &mutter_once(&request));
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
    whole_session(&sway, &lab, &client, &request, &sway_once(&request));
}

/// Busy for a moment just when a client comes.
#[test]
fn a_compositor_that_answers_late_is_waited_for() {
    let Some(session) = sway_session() else { return };
    let sway = start_sway(&session);
    let lab = Lab::start_in(sway.env(), NO_LINGER);
    let client = lab.paired(0);
    let request = StreamRequest::new(1264, 720, 60);
    for what in ["launch", "resume"] {
        sway.process().freeze();
        let asked = now();
        let stream = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(900));
                sway.process().thaw();
            });
            match what {
                "launch" => lab.launch(&client, "testcard", &request),
                _ => super::resumes(&lab, &client, &request, "sway, late"),
            }
        });
        println!("sway answers 900 ms late: {what} took {:?}", now() - asked);
        watch_again(&lab, &stream, &request, (request.width, request.height), 20, 0);
        assert_path(&lab, &sway_once(&request));
        stream.disconnect(patient(PATIENCE));
    }
    client.cancel().expect("cancelled");
}

/// A producer of video that has none of the formats that we read.
#[test]
fn a_format_that_nobody_can_read_is_named_and_the_host_lives_on() {
    let Some(session) = session_for("an odd producer", &["pipewire", "wireplumber"]) else { return };
    let odd = session.odd_producer("gamescope").expect("PipeWire makes it");
    let mut env = session.env();
    env.insert("LUMEN_GAMESCOPE_NODE".into(), odd.to_string());
    let lab = Lab::start_in(env, NO_LINGER);
    let client = lab.paired(0);
    for round in ["first", "second"] {
        let app = lab.app(&client, "Desktop");
        let refused = client.request_launch(app, &StreamRequest::new(320, 240, 60));
        let text = refused.expect_err("nothing can be read").to_string();
        println!("formats that nobody reads, {round} try: {text}");
        assert!(
            text.contains("no picture format") && text.contains("RGB") && text.contains("UYVY"),
            "{text}"
        );
        assert!(lab.log().contains("no picture format"), "{}", lab.log());
    }
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
    whole_session(&sway, &lab, &client, &request, &sway_once(&request));
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

/// Whoever locks sway locks it for the client too: it sees the lock screen, keeps its session, and can unlock.
#[test]
fn a_locked_sway_shows_its_lock_screen_and_goes_on() {
    let Some(session) = session_for("sway", &["sway", "swaylock", "wayland-info", "pipewire"]) else {
        return;
    };
    let sway = start_sway(&session);
    let before = trace(&sway);
    let lab = Lab::start_in(sway.env(), NO_LINGER);
    let client = lab.paired(0);
    let request = StreamRequest::new(1264, 720, 60);
    let stream = lab.launch(&client, "testcard", &request);
    watch(&lab, &stream, &request, 5, 0);
    let lock = sway
        .spawn("swaylock", "swaylock", &["--color", "0000ff", "--no-unlock-indicator"])
        .expect("it locks");
    let mut decoder = Decoder::new(request.codec).expect("decoder");
    stream.request_idr().expect("the stream runs");
    let mut blue = false;
    wait_for("the lock screen at the client", PATIENCE, || {
        let frame = stream.next_frame(PATIENCE).expect("a frame");
        // What was queued before the IDR frame belongs to pictures that this decoder never saw.
        for picture in decoder.decode(&frame.data).unwrap_or_default() {
            // BT.709, limited range: (0, 0, 255) is (32, 240, 118).
            let planes = [(0, 32), (1, 240), (2, 118)];
            blue = planes.iter().all(|(plane, value)| {
                let samples = &picture.planes[*plane].samples;
                let others = samples.iter().filter(|sample| sample.abs_diff(*value) > 3).count();
                // The pointer may be shown in front.
                others * 200 < samples.len()
            });
        }
        blue.then_some(())
    });
    assert!(stream.ending().is_none(), "the client keeps its session");
    // A right password would do the same.
    lock.signal(Signal::USR1);
    watch_again(&lab, &stream, &request, (request.width, request.height), 20, 0);
    stream.disconnect(patient(PATIENCE));
    client.cancel().expect("cancelled");
    assert_restored(&sway, &lab, &before);
}
