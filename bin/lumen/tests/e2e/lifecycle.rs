//! How sessions begin, pause and end, and that nothing is left of them.

use crate::lab::{Lab, PATIENCE, Viewer, now, wait_for};
use lumen_testkit::client::LaunchReply;
use lumen_testkit::input::Contact;
use lumen_testkit::rtsp::{self, RtspError};
use lumen_testkit::{
    Client, ClientError, Codec, Ending, Generation, InputPacket, Stream, StreamOptions, StreamRequest,
};
use std::net::SocketAddr;
use std::time::Duration;

// Windows virtual keys.
const KEY_Q: u8 = 0x51;
const CAPS_LOCK: u8 = 0x14;
const NUMPAD_7: u8 = 0x67;

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
    let seen = |kind: &str, fits: &dyn Fn(&serde_json::Value) -> bool| {
        wait_for(kind, PATIENCE, || {
            lab.input_log().into_iter().find(|event| event["type"] == kind && fits(event))
        })
    };
    let near = |event: &serde_json::Value, x: f64, y: f64| {
        let at = |key: &str| event[key].as_f64().unwrap_or(f64::NAN);
        (at("x") - x).abs() <= 1.0 && (at("y") - y).abs() <= 1.0
    };
    // Each is waited for: positions of which the later one is known already are left out.
    for (x, y) in [(0, 0), (1279, 719), (640, 360)] {
        let packet = InputPacket::MousePosition { x, y, width: 1279, height: 719 };
        stream.send_input(packet).expect("queued");
        seen("pointer_motion", &|event| near(event, x.into(), y.into()));
    }
    for packet in [
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
    // The pen, to a program that knows tablets.
    let pen = |event, x, pressure| InputPacket::Pen {
        event,
        tool: 2,
        buttons: 1,
        x,
        y: 0.5,
        pressure,
        rotation: 90,
        tilt: 30,
        major: 0.0,
        minor: 0.0,
    };
    stream.send_input(pen(Contact::Down, 0.25, 0.5)).expect("queued");
    let touching = seen("tablet", &|event| {
        event["down"] == true && !event["buttons"].as_array().is_none_or(Vec::is_empty)
    });
    assert!(near(&touching, 320.0, 360.0), "{touching}");
    assert_eq!((&touching["tool"], &touching["buttons"]), (&"eraser".into(), &serde_json::json!([0x14b])));
    assert!((touching["pressure"].as_f64().expect("a number") - 0.5).abs() < 0.001, "{touching}");
    assert!((touching["tilt_x"].as_f64().expect("a number") + 30.0).abs() < 0.1, "{touching}");
    stream.send_input(pen(Contact::Up, 0.25, 0.0)).expect("queued");
    stream.send_input(pen(Contact::HoverLeave, 0.0, 0.0)).expect("queued");
    seen("tablet", &|event| event["near"] == false);
    // Text, also beyond the layout, which is as before afterwards.
    for text in ["h", "é", "東", "🎉"] {
        stream.send_input(InputPacket::Text(text.into())).expect("queued");
        seen("typed", &|event| event["text"] == text);
    }
    let tap = |key| {
        for down in [true, false] {
            stream.send_input(InputPacket::key(down, key)).expect("queued");
        }
    };
    tap(KEY_Q);
    // CapsLock changes keys, not text, and outlives it.
    tap(CAPS_LOCK);
    stream.send_input(InputPacket::Text("ß".into())).expect("queued");
    tap(KEY_Q);
    tap(CAPS_LOCK);
    tap(KEY_Q);
    tap(NUMPAD_7);
    let typed = || -> String {
        let events = lab.input_log().into_iter().filter(|event| event["type"] == "typed");
        events.filter_map(|event| Some(event["text"].as_str()?.to_owned())).collect()
    };
    wait_for("what was typed, in its order", PATIENCE, || typed().ends_with("qßQq7").then_some(()));
    let input = lab.status()["sessions"][0]["input"].clone();
    println!("input by {input}");
    assert!(input["delivered"].as_u64().is_some_and(|count| count > 20), "{input}");
    assert_eq!(input["dropped"], 0, "{input}");
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
    let down = InputPacket::Touch {
        event: Contact::Down,
        rotation: 0,
        pointer: 7,
        x: 0.5,
        y: 0.5,
        pressure: 1.0,
        major: 0.0,
        minor: 0.0,
    };
    stream.send_input(down).expect("queued");
    let logged = |kind: &'static str| lab.input_log().into_iter().find(|event| event["type"] == kind);
    wait_for("the finger", PATIENCE, || logged("touch_down"));
    stream.kill();
    // What is held goes after a second of silence, long before the session pauses.
    wait_for("the key's release", Duration::from_secs(4), || {
        lab.input_log().into_iter().find(|event| event["code"] == 30 && event["state"] == "released")
    });
    wait_for("the finger's end", PATIENCE, || logged("touch_cancel"));
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
fn a_stubborn_app_does_not_keep_the_host_from_stopping() {
    let mut lab = Lab::start(
        "[[apps]]\ntitle = \"stubborn\"\n\
         command = [\"sh\", \"-c\", \"trap '' TERM HUP; while :; do sleep 1; done\"]\n",
    );
    let client = lab.paired(0);
    let stream = lab.launch(&client, "stubborn", &request());
    stream.next_frame(PATIENCE).expect("the empty desktop is a picture too");
    assert!(lab.app_commands().iter().any(|command| command.contains("trap")));
    let started = now();
    lab.stop_host();
    let took = now() - started;
    println!("the host stopped in {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
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

#[test]
fn unpairing_ends_the_stream_and_shuts_the_client_out() {
    let lab = Lab::start("[display]\nlinger_seconds = 0\n");
    let client = lab.paired(0);
    let stream = lab.launch(&client, "testcard", &request());
    Viewer::new(Codec::H264).watch(&stream, 3);
    assert!(lab.lumen(&["unpair", "client 0"]).status.success());
    assert_eq!(stream.wait_end(PATIENCE), Some(Ending::Graceful));
    let unauthorised = |error: ClientError| {
        assert!(matches!(error, ClientError::Status { code: 401, .. }), "{error}");
    };
    unauthorised(client.server_info().expect_err("a stranger"));
    unauthorised(client.app_list().expect_err("a stranger"));
    unauthorised(client.request_resume(&request()).expect_err("a stranger"));
    assert_eq!(lab.session_state(), None);
    lab.assert_nothing_left();
}

#[test]
fn a_launch_that_was_never_connected_can_be_cancelled() {
    let lab = Lab::start("[display]\nlinger_seconds = 0\n");
    let client = lab.paired(0);
    let app = lab.app(&client, "testcard");
    let reply = client.request_launch(app, &request()).expect("launches");
    assert_eq!(lab.session_state().as_deref(), Some("pending"));
    assert_eq!(client.server_info().expect("answers").current_game, app);
    client.cancel().expect("cancelled");
    lab.assert_nothing_left();
    // What it was promised is void, and it is told at once rather than by a silence.
    let started = now();
    assert!(client.connect_to(&reply, &request(), &StreamOptions::default()).is_err());
    assert!(now() - started < Duration::from_secs(5), "{:?}", now() - started);
    let stream = lab.launch(&client, "testcard", &request());
    Viewer::new(Codec::H264).watch(&stream, 3);
}

#[test]
fn an_app_that_ends_while_its_client_connects_is_no_riddle() {
    let lab = Lab::start(
        "[display]\nlinger_seconds = 0\n[[apps]]\ntitle = \"brief\"\ncommand = [\"sleep\", \"0.3\"]\n",
    );
    let client = lab.paired(0);
    let brief = lab.app(&client, "brief");
    let reply = client.request_launch(brief, &request()).expect("launches");
    // The end falls into the handshake, before the first picture or just after it: whichever, the client learns of it.
    match client.connect_to(&reply, &request(), &StreamOptions::default()) {
        Err(error) => {
            println!("refused: {error}");
            assert!(matches!(error, ClientError::Rtsp(_) | ClientError::NoControl), "{error}");
        }
        Ok(stream) => {
            let ending = stream.wait_end(PATIENCE);
            println!("ended: {ending:?}");
            assert!(matches!(ending, Some(Ending::Graceful | Ending::Early)), "{ending:?}");
        }
    }
    assert_eq!(client.server_info().expect("answers").current_game, 0);
    assert_eq!(lab.session_state(), None);
    lab.assert_nothing_left();
    let stream = lab.launch(&client, "testcard", &request());
    Viewer::new(Codec::H264).watch(&stream, 3);
}

#[test]
fn an_app_that_ends_between_announce_and_play_voids_the_rest_of_the_handshake() {
    let lab = Lab::start(
        "[display]\nlinger_seconds = 0\n[[apps]]\ntitle = \"gated\"\n\
         command = [\"sh\", \"-c\", \"while ! [ -e \\\"$HOME/gate\\\" ]; do sleep 0.05; done\"]\n",
    );
    let client = lab.paired(0);
    let reply = client.request_launch(lab.app(&client, "gated"), &request()).expect("launches");
    let target = rtsp::Target::parse(&reply.session_url);
    let address = SocketAddr::new(client.host().ip, target.port);
    let mut cipher = target.encrypted.then(|| rtsp::Cipher::new(&reply.key));
    let mut handshake = rtsp::Handshake::new(&request(), Generation::Current, target, client.host().ip);
    let mut ended = None;
    let outcome = rtsp::run(&mut handshake, address, cipher.as_mut(), |handshake| {
        if handshake.next_request().is_some_and(|next| next.method == "PLAY") {
            assert_eq!(lab.session_state().as_deref(), Some("starting"));
            std::fs::write(lab.path("gate"), "").expect("writable");
            wait_for("the session to be gone", PATIENCE, || lab.session_state().is_none().then_some(()));
            ended = Some(now());
        }
        Ok(())
    });
    let error = outcome.expect_err("there is nothing to play");
    let took = now() - ended.expect("ANNOUNCE was answered");
    println!("PLAY after {took:?}: {error}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(client.server_info().expect("answers").current_game, 0);
    lab.assert_nothing_left();
}

/// Connects to whichever of several launches is the newest: the host knows the others no more.
fn connect_to_newest(client: &Client, replies: &[LaunchReply]) -> Stream {
    let tried: Vec<_> =
        replies.iter().map(|reply| client.connect_to(reply, &request(), &StreamOptions::default())).collect();
    let told: Vec<_> = tried.iter().map(|tried| tried.as_ref().err().map(ToString::to_string)).collect();
    let mut streams: Vec<_> = tried.into_iter().filter_map(Result::ok).collect();
    assert_eq!(streams.len(), 1, "{told:?}");
    streams.remove(0)
}

#[test]
fn an_app_launched_twice_at_once_runs_once() {
    let lab = Lab::start("[display]\nlinger_seconds = 0\n");
    let client = lab.paired(0);
    let app = lab.app(&client, "testcard");
    let launch = || client.request_launch(app, &request());
    let replies = std::thread::scope(|scope| {
        let launches = [scope.spawn(launch), scope.spawn(launch)];
        launches.map(|launch| launch.join().expect("no panic").expect("an impatient user sees no error"))
    });
    let stream = connect_to_newest(&client, &replies);
    let mut viewer = Viewer::new(Codec::H264);
    viewer.watch(&stream, 5);
    assert_eq!(stream.violations(), []);
    assert_eq!(lab.app_processes().len(), 1, "{:?}", lab.app_commands());
    assert_eq!(lab.status()["sessions"].as_array().map(Vec::len), Some(1));
    client.cancel().expect("cancelled");
    lab.assert_nothing_left();
}

#[test]
fn another_app_takes_the_place_of_one_that_nobody_connected_to() {
    let lab = Lab::start("[display]\nlinger_seconds = 0\n");
    let client = lab.paired(0);
    let first = client.request_launch(lab.app(&client, "testcard"), &request()).expect("launches");
    let stream = lab.launch(&client, "scroll", &request());
    Viewer::new(Codec::H264).watch(&stream, 5);
    assert_eq!(client.server_info().expect("answers").current_game, lab.app(&client, "scroll"));
    wait_for("the first app to be gone", PATIENCE, || {
        let running = lab.app_commands();
        (running.len() == 1 && running[0].contains("scroll")).then_some(())
    });
    assert!(client.connect_to(&first, &request(), &StreamOptions::default()).is_err(), "void");
    assert_eq!(stream.ending(), None, "and its remains do not touch the second");
    client.cancel().expect("cancelled");
    assert_eq!(stream.wait_end(PATIENCE), Some(Ending::Graceful));
    lab.assert_nothing_left();
}

#[test]
fn a_stream_is_taken_over_in_another_mode() {
    let lab = Lab::start("");
    let client = lab.paired(0);
    let old = lab.launch(&client, "testcard", &request());
    let mut viewer = Viewer::new(Codec::H264);
    viewer.watch(&old, 5);
    let before = viewer.codes.last().expect("codes").frame;
    let other = StreamRequest::new(1112, 834, 30);
    let stream = client.resume(&other, &StreamOptions::default()).expect("resumes");
    assert_eq!(old.wait_end(PATIENCE), Some(Ending::Graceful), "the older stream is told");
    let mut viewer = Viewer::new(Codec::H264);
    viewer.watch(&stream, 5);
    let picture = viewer.last.as_ref().expect("decoded");
    assert_eq!((picture.width, picture.height), (1112, 834));
    assert!(viewer.codes.last().expect("codes").frame > before, "the same app goes on");
    // The end of the old one's threads and sockets is nothing to the new one.
    drop(old);
    let seen = viewer.codes.len();
    viewer.watch(&stream, seen + 5);
    assert_eq!(stream.violations(), []);
    assert_eq!(lab.app_processes().len(), 1);
}

#[test]
fn a_refused_announce_tells_its_status() {
    let lab = Lab::start("");
    let client = lab.paired(0);
    // No client sends packets as small as this.
    let small = StreamRequest { packet_size: 64, ..request() };
    let app = lab.app(&client, "testcard");
    let error = client.launch(app, &small, &StreamOptions::default()).expect_err("refused");
    let told = matches!(&error, ClientError::Rtsp(RtspError::Code { request: "ANNOUNCE", code: 400 }));
    assert!(told, "{error}");
    // The user corrects it and tries again.
    let stream = lab.launch(&client, "testcard", &request());
    Viewer::new(Codec::H264).watch(&stream, 3);
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
        if round % 50 == 49 {
            println!("after {} rounds: {:?}", round + 1, footprint(lab.host_pid()));
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
