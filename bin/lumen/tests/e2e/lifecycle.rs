//! How sessions begin, pause and end, and that nothing is left of them.

use crate::lab::{Lab, PATIENCE, Viewer, wait_for};
use lumen_testkit::{Codec, Ending, InputPacket, StreamOptions, StreamRequest};
use std::time::Duration;

fn request() -> StreamRequest {
    StreamRequest::new(1280, 720, 60)
}

#[test]
fn input_arrives_where_it_was_aimed() {
    let lab = Lab::start("");
    let client = lab.paired(0);
    let stream = lab.launch(&client, "testcard", &request());
    let mut viewer = Viewer::new(Codec::H264);
    viewer.watch(&stream, 3);
    for packet in [
        InputPacket::MousePosition { x: 0, y: 0, width: 1279, height: 719 },
        InputPacket::MousePosition { x: 1279, y: 719, width: 1279, height: 719 },
        InputPacket::MousePosition { x: 640, y: 360, width: 1279, height: 719 },
        InputPacket::MouseMove { dx: -40, dy: 25 },
        InputPacket::MouseButton { down: true, button: 3 },
        InputPacket::MouseButton { down: false, button: 3 },
        InputPacket::Scroll(-120),
        InputPacket::ScrollHorizontal(60),
        InputPacket::key(true, 0x41),
        InputPacket::key(false, 0x41),
        InputPacket::key(true, 0xa0),
        InputPacket::key(true, 0x42),
        InputPacket::key(false, 0x42),
        InputPacket::key(false, 0xa0),
    ] {
        stream.send_input(packet).expect("queued");
    }
    let seen = |kind: &str, fits: &dyn Fn(&serde_json::Value) -> bool| {
        wait_for(kind, PATIENCE, || {
            lab.input_log().into_iter().find(|event| event["type"] == kind && fits(event))
        })
    };
    let near = |event: &serde_json::Value, x: f64, y: f64| {
        let at = |key: &str| event[key].as_f64().unwrap_or(f64::NAN);
        (at("x") - x).abs() <= 1.0 && (at("y") - y).abs() <= 1.0
    };
    seen("pointer_motion", &|event| near(event, 1279.0, 719.0));
    seen("pointer_motion", &|event| near(event, 640.0, 360.0));
    seen("pointer_motion", &|event| near(event, 600.0, 385.0));
    seen("button", &|event| event["code"] == 0x111 && event["state"] == "pressed");
    seen("button", &|event| event["code"] == 0x111 && event["state"] == "released");
    // KEY_A, and KEY_B while shift is held.
    seen("key", &|event| event["code"] == 30 && event["state"] == "pressed");
    seen("key", &|event| event["code"] == 30 && event["state"] == "released");
    seen("key", &|event| {
        event["code"] == 48 && event["state"] == "pressed" && event["modifiers"]["depressed"] == 1
    });
    seen("axis_value120", &|event| event["axis"] == "vertical" && event["v120"] == 120);
    seen("axis_value120", &|event| event["axis"] == "horizontal" && event["v120"] == 60);
}

#[test]
fn a_client_leaves_comes_back_and_quits() {
    let lab = Lab::start("[display]\nlinger_seconds = 0\n");
    let client = lab.paired(0);
    let stream = lab.launch(&client, "testcard", &request());
    let mut viewer = Viewer::new(Codec::H264);
    viewer.watch(&stream, 5);
    let first_run = viewer.codes.last().expect("codes").frame;
    assert_eq!(stream.disconnect(PATIENCE), Ending::Left);
    wait_for("the session to pause", PATIENCE, || (lab.session_state()? == "paused").then_some(()));
    let info = client.server_info().expect("answers");
    assert_eq!(info.current_game, lab.app(&client, "testcard"));
    assert!(info.state.ends_with("_BUSY"), "{}", info.state);
    assert!(!lab.app_processes().is_empty(), "the app goes on");

    let stream = client.resume(&request(), &StreamOptions::default()).expect("resumes");
    let first = stream.next_frame(PATIENCE).expect("a frame");
    assert_eq!(first.index, 1, "counting starts anew");
    let mut viewer = Viewer::new(Codec::H264);
    viewer.show(&first);
    viewer.watch(&stream, 5);
    assert!(viewer.codes.last().expect("codes").frame > first_run, "the same app goes on");
    assert_eq!(stream.violations(), []);

    // A second client of the same certificate cancels: the one that streams sees a graceful end.
    client.cancel().expect("cancelled");
    assert_eq!(stream.wait_end(PATIENCE), Some(Ending::Graceful));
    let info = client.server_info().expect("answers");
    assert_eq!((info.current_game, info.state.ends_with("_FREE")), (0, true));
    client.cancel().expect("cancelling nothing is fine");
    lab.assert_nothing_left();
}

#[test]
fn a_client_that_comes_back_in_another_mode_finds_its_app_there() {
    let lab = Lab::start("");
    let client = lab.paired(0);
    let stream = lab.launch(&client, "testcard", &request());
    let mut viewer = Viewer::new(Codec::H264);
    viewer.watch(&stream, 5);
    let before = viewer.codes.last().expect("codes").frame;
    stream.disconnect(PATIENCE);
    let other = StreamRequest::new(1112, 834, 90);
    let stream = client.resume(&other, &StreamOptions::default()).expect("resumes");
    let mut viewer = Viewer::new(Codec::H264);
    viewer.watch(&stream, 5);
    let picture = viewer.last.as_ref().expect("decoded");
    assert_eq!((picture.width, picture.height), (1112, 834));
    assert!(viewer.codes.last().expect("codes").frame > before, "the same app goes on");
}

#[test]
fn a_client_that_vanishes_is_let_go_and_may_return() {
    let lab = Lab::start("");
    let client = lab.paired(0);
    let stream = lab.launch(&client, "testcard", &request());
    Viewer::new(Codec::H264).watch(&stream, 3);
    stream.send_input(InputPacket::key(true, 0x41)).expect("queued");
    wait_for("the key", PATIENCE, || {
        lab.input_log().into_iter().find(|event| event["code"] == 30 && event["state"] == "pressed")
    });
    stream.kill();
    // Held keys go after a second of silence, long before the session pauses.
    wait_for("the key's release", Duration::from_secs(6), || {
        lab.input_log().into_iter().find(|event| event["code"] == 30 && event["state"] == "released")
    });
    assert_eq!(lab.session_state().as_deref(), Some("streaming"));
    wait_for("the session to pause", Duration::from_secs(14), || {
        (lab.session_state()? == "paused").then_some(())
    });
    let stream = client.resume(&request(), &StreamOptions::default()).expect("resumes");
    Viewer::new(Codec::H264).watch(&stream, 3);
}

#[test]
fn a_client_that_reconnects_at_once_replaces_its_old_stream() {
    let lab = Lab::start("");
    let client = lab.paired(0);
    let stream = lab.launch(&client, "testcard", &request());
    Viewer::new(Codec::H264).watch(&stream, 3);
    stream.kill();
    let stream = client.resume(&request(), &StreamOptions::default()).expect("resumes");
    Viewer::new(Codec::H264).watch(&stream, 3);
    assert_eq!(stream.violations(), []);
}

#[test]
fn an_app_that_ends_ends_the_stream_gracefully() {
    let lab =
        Lab::start("[display]\nlinger_seconds = 0\n[[apps]]\ntitle = \"short\"\ncommand = \"sleep 3\"\n");
    let client = lab.paired(0);
    let stream = lab.launch(&client, "short", &request());
    stream.next_frame(PATIENCE).expect("the empty desktop is a picture too");
    assert_eq!(stream.wait_end(PATIENCE), Some(Ending::Graceful));
    assert_eq!(client.server_info().expect("answers").current_game, 0);
    lab.assert_nothing_left();
}

#[test]
fn nothing_is_left_when_the_host_is_stopped() {
    let mut lab = Lab::start("");
    let client = lab.paired(0);
    let stream = lab.launch(&client, "testcard", &request());
    Viewer::new(Codec::H264).watch(&stream, 3);
    lab.stop_host();
    assert_eq!(stream.wait_end(PATIENCE), Some(Ending::Graceful), "the client is told");
    lab.assert_nothing_left();
}

#[test]
fn what_a_killed_host_leaves_is_cleaned_at_the_next_start() {
    let mut lab = Lab::start("");
    let client = lab.paired(0);
    // An app that minds neither the end of its compositor nor requests to end.
    let stream = lab.launch(&client, "testcard", &request());
    Viewer::new(Codec::H264).watch(&stream, 3);
    let stubborn = std::process::Command::new("sh")
        .args(["-c", "trap '' TERM HUP; sleep 300"])
        .env("LUMEN_HOST", std::fs::read_to_string(lab.path("state/unique-id")).expect("an id").trim())
        .spawn();
    let mut stubborn = stubborn.expect("sh is there");
    lab.kill_host();
    drop(stream);
    assert!(!lab.app_processes().is_empty());
    lab.start_host();
    stubborn.wait().expect("ended by the new host");
    lab.assert_nothing_left();
    assert!(lab.log().contains("had left behind"), "the log says so");
    let stream = lab.launch(&client, "testcard", &request());
    Viewer::new(Codec::H264).watch(&stream, 3);
}

#[test]
fn two_clients_do_not_see_each_other() {
    let lab = Lab::start("");
    let [first, second] = [0, 1].map(|identity| lab.paired(identity));
    let stream = lab.launch(&first, "testcard", &StreamRequest::new(640, 360, 30));
    let mut viewer = Viewer::new(Codec::H264);
    viewer.watch(&stream, 3);
    let info = second.server_info().expect("answers");
    assert_eq!((info.current_game, info.state.ends_with("_FREE")), (0, true));
    assert!(second.resume(&request(), &StreamOptions::default()).is_err(), "nothing of its own runs");
    second.cancel().expect("cancels nothing");
    let other = lab.launch(&second, "scroll", &StreamRequest::new(320, 180, 30));
    Viewer::new(Codec::H264).watch(&other, 3);
    let seen = viewer.codes.len();
    viewer.watch(&stream, seen + 3);
    assert_eq!(lab.status()["sessions"].as_array().map(Vec::len), Some(2));
    assert_eq!(stream.violations(), []);
    assert_eq!(other.violations(), []);
}

/// Open descriptors, threads and resident kilobytes of a process.
fn footprint(pid: u32) -> (usize, usize, usize) {
    let count = |what: &str| std::fs::read_dir(format!("/proc/{pid}/{what}")).map_or(0, Iterator::count);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = resident.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
    (count("fd"), count("task"), kilobytes)
}

/// Connects, leaves, comes back and quits again and again: nothing piles up. 10 rounds, 200 with `./check --long`.
#[test]
fn many_sessions_leave_nothing_behind() {
    #[expect(clippy::disallowed_methods, reason = "only tests look at this variable")]
    let rounds = if std::env::var_os("LUMEN_LONG_TESTS").is_some() { 200 } else { 10 };
    let lab = Lab::start("[display]\nlinger_seconds = 0\n");
    let client = lab.paired(0);
    let small = StreamRequest::new(320, 180, 30);
    let mut before = None;
    for round in 0..rounds {
        let stream = lab.launch(&client, "testcard", &small);
        stream.next_frame(PATIENCE).expect("a frame");
        match round % 3 {
            0 => drop(stream.disconnect(PATIENCE)),
            1 => stream.kill(),
            _ => drop(stream),
        }
        let stream = client.resume(&small, &StreamOptions::default()).expect("resumes");
        stream.next_frame(PATIENCE).expect("a frame");
        client.cancel().expect("cancelled");
        assert!(stream.wait_end(PATIENCE).is_some_and(|ending| ending.is_clean()));
        drop(stream);
        lab.assert_nothing_left();
        // The first rounds warm up pools, threads of the runtime and the allocator.
        if round == 3 {
            before = Some(footprint(lab.host_pid()));
        }
    }
    let (fds, threads, kilobytes) = before.expect("warmed up");
    // Connections of the last requests close by themselves.
    wait_for("descriptors and threads to be as before", PATIENCE, || {
        let now = footprint(lab.host_pid());
        (now.0 <= fds + 2 && now.1 <= threads + 2).then_some(())
    });
    let grown = footprint(lab.host_pid()).2.saturating_sub(kilobytes);
    println!(
        "{rounds} rounds: {fds} descriptors, {threads} threads, {kilobytes} kB, {grown} kB more at the end"
    );
    assert!(grown < 40_000, "the host grew by {grown} kB");
}
