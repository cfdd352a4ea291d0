//! GNOME Shell whole: what only the shell does, such as its overview and its lock screen.

use super::{Expected, HOST_FAILURE, NO_LINGER, VERDICT, watch, whole_session};
use crate::lab::{Lab, now};
use lumen_lab::{Desktop, GnomeShell, Mode, Session, patient, session_for};
use lumen_testkit::{Ending, StreamRequest};

fn session() -> Option<Session> {
    session_for("gnome-shell", &["gnome-shell", "wayland-info", "pipewire"])
}

/// Right after the login, with nobody at the machine; then it is locked in mid-stream and unlocked again.
#[test]
fn gnome_shell_shows_the_app_and_a_lock_ends_the_stream_with_its_reason() {
    let Some(session) = session() else { return };
    let shell = GnomeShell::start(&session, Mode::new(1024, 768, 60.0)).expect("GNOME Shell starts");
    let lab = Lab::start_in(shell.env(), NO_LINGER);
    let client = lab.paired(0);
    let request = StreamRequest::new(1264, 720, 60);
    let expected = super::mutter::expected(&request);
    whole_session(&shell, &lab, &client, &request, &expected);

    let stream = lab.launch(&client, "testcard", &request);
    watch(&lab, &stream, &request, 5, 0);
    let locked = now();
    shell.lock().expect("locked");
    let ending = stream.wait_end(patient(VERDICT)).expect("the client is told");
    println!("GNOME locked in mid-stream: the client got {ending:?} after {:?}", now() - locked);
    assert_eq!(ending, Ending::HostError(HOST_FAILURE));
    let log = lab.log();
    let said = log.lines().find(|line| line.contains("locked"));
    println!("{}", said.unwrap_or_else(|| panic!("{log}")));
    let _ = client.cancel();
    let refused = client.request_launch(lab.app(&client, "testcard"), &request);
    let text = refused.expect_err("it is locked").to_string();
    println!("while locked: {text}");
    assert!(text.contains("locked"), "{text}");

    shell.unlock().expect("unlocked");
    let _ = client.cancel();
    whole_session(&shell, &lab, &client, &request, &Expected { seconds: 0, ..expected });
}
