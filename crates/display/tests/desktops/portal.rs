//! Existing monitors through the desktop portal: the real ones of sway and KWin, and one that misbehaves.
#![expect(clippy::unwrap_used, reason = "a test whose world fails has failed")]

mod fake;
mod real;

use fake::{Answer, Behaviour, FakePortal};
use lumen_display::portal::{Patience, Portal};
use lumen_display::{Chooser, DisplayConfig, DisplayKind, SessionEnvironment, State, VideoSource};
use lumen_lab::{Session, SessionOptions, patient, wait_for};
use lumen_media::{AppLaunch, DisplayError, Mode, NodeTarget, OutputSource, VirtualDisplay, VirtualOutput};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

/// Short, for a portal that will not answer anyway.
fn impatience() -> Patience {
    Patience { step: patient(Duration::from_millis(800)), person: patient(Duration::from_millis(1200)) }
}

fn mode(width: u32, height: u32, hertz: u32) -> Mode {
    Mode::new(width, height, hertz * 1000).expect("a valid mode")
}

/// A session with a bus and nothing else.
fn bus_only(name: &str) -> Option<Session> {
    if !lumen_lab::available("dbus-daemon") {
        lumen_lab::left_out(name, "dbus-daemon is not installed");
        return None;
    }
    Some(Session::start_with(name, SessionOptions { pipewire: false, system_bus: false }).unwrap())
}

fn config(session: &Session, variables: BTreeMap<String, String>) -> DisplayConfig {
    let state_dir = session.home().join("state");
    std::fs::create_dir_all(&state_dir).unwrap();
    DisplayConfig {
        state_dir,
        session: SessionEnvironment { runtime_dir: session.runtime_dir().into(), variables },
        source: VideoSource::Portal,
        ..DisplayConfig::new(session.runtime_dir())
    }
}

fn impatient(session: &Session) -> Portal {
    Portal::new(config(session, session.env()), impatience())
}

fn create(portal: &Portal) -> Result<VirtualOutput, DisplayError> {
    portal.create(mode(1280, 720, 60), &AppLaunch::default())
}

fn refused(portal: &Portal) -> DisplayError {
    create(portal).err().expect("this portal grants nothing")
}

fn node(output: &VirtualOutput) -> u32 {
    let OutputSource::PipeWire(target) = &output.source else { panic!("a portal gives PipeWire nodes") };
    let NodeTarget::Id(id) = target.node else { panic!("a portal gives ids") };
    assert!(target.remote_fd.is_some(), "the node is only seen by the portal's connection");
    id
}

/// What the chooser finds of the portal.
fn found(session: &Session, variables: BTreeMap<String, String>) -> (State, String) {
    let chooser = Chooser::new(DisplayKind::Auto, config(session, variables)).expect("a keyboard");
    let findings = chooser.survey();
    let finding =
        findings.into_iter().find(|finding| finding.kind == DisplayKind::Portal).expect("looked for");
    (finding.state, finding.version)
}

fn token_file(session: &Session) -> PathBuf {
    session.home().join("state/portal/unknown-screen-cast.token")
}

/// What the portal was asked, once `last` is among it.
fn asked_until(portal: &FakePortal, last: &str) -> Vec<String> {
    wait_for(&format!("{last} at the portal"), Duration::from_secs(5), || {
        let asked = portal.asked();
        asked.iter().any(|line| line == last).then_some(asked)
    })
    .unwrap_or_else(|cause| panic!("{cause}: {:?}", portal.asked()))
}

#[test]
fn without_a_portal_it_is_absent_at_once() {
    let Some(session) = bus_only("portal-missing") else { return };
    let error = refused(&impatient(&session));
    assert!(matches!(error, DisplayError::Absent { .. }), "{error}");
    assert_eq!(found(&session, session.env()).0, State::Absent);
}

#[test]
fn a_portal_that_is_installed_is_not_started_for_a_look() {
    let Some(session) = bus_only("portal-installed") else { return };
    let service = "[D-BUS Service]\nName=org.freedesktop.portal.Desktop\nExec=/bin/false\n";
    std::fs::write(session.services_dir().join("portal.service"), service).unwrap();
    session.stop_bus();
    session.start_bus().unwrap();
    // Without a desktop it would be useless, with one it can be had.
    assert_eq!(found(&session, session.env()).0, State::Absent);
    let mut variables = session.env();
    variables.insert("DISPLAY".into(), ":7".into());
    let (state, version) = found(&session, variables);
    assert_eq!(state, State::Ready);
    assert!(version.contains("not started"), "{version}");
    // This one does not start.
    let error = refused(&impatient(&session));
    assert!(matches!(error, DisplayError::Absent { .. }), "{error}");
}

#[test]
fn a_portal_that_never_answers_times_out() {
    let Some(session) = bus_only("portal-mute") else { return };
    // Nobody reads what this connection gets.
    let mute = session.bus().unwrap();
    mute.request_name("org.freedesktop.portal.Desktop").unwrap();
    let error = refused(&impatient(&session));
    assert!(matches!(error, DisplayError::Timeout { limit, .. } if limit == impatience().step), "{error}");
    let (state, _) = found(&session, session.env());
    assert!(matches!(state, State::Obstructed { .. }), "{state:?}");
}

#[test]
fn a_response_that_never_comes_times_out_and_closes_the_request() {
    let Some(session) = bus_only("portal-no-response") else { return };
    let fake = FakePortal::start(&session, Behaviour { create: Answer::Nothing, ..Behaviour::default() });
    let error = refused(&impatient(&session));
    assert!(matches!(error, DisplayError::Timeout { limit, .. } if limit == impatience().step), "{error}");
    assert_eq!(asked_until(&fake, "Request.Close"), ["CreateSession", "Request.Close"]);
}

#[test]
fn nobody_who_clicks_times_out_and_takes_the_question_off_the_screen() {
    let Some(session) = bus_only("portal-nobody") else { return };
    let fake = FakePortal::start(&session, Behaviour { start: Answer::Nothing, ..Behaviour::default() });
    let error = refused(&impatient(&session));
    assert!(matches!(error, DisplayError::Timeout { limit, .. } if limit == impatience().person), "{error}");
    let text = error.to_string();
    assert!(text.contains("screen of this machine") && text.contains("kde-authorized"), "{text}");
    // Two calls that nobody waits for: either may be heard first.
    asked_until(&fake, "Session.Close");
    let mut asked = asked_until(&fake, "Request.Close").split_off(2);
    asked[1..].sort();
    assert_eq!(asked, ["Start", "Request.Close", "Session.Close"]);
}

#[test]
fn a_refusal_is_told_with_the_remedy() {
    let Some(session) = bus_only("portal-denies") else { return };
    let fake = FakePortal::start(&session, Behaviour { start: Answer::Code(1), ..Behaviour::default() });
    let portal = impatient(&session);
    let error = refused(&portal);
    assert!(
        matches!(&error, DisplayError::Forbidden { remedy, .. } if remedy.contains("kde-authorized")),
        "{error}"
    );
    asked_until(&fake, "Session.Close");
    fake.behave(Behaviour { create: Answer::Code(2), ..Behaviour::default() });
    let error = refused(&portal);
    assert!(
        matches!(&error, DisplayError::Forbidden { cause, .. } if cause.contains("response 2")),
        "{error}"
    );
}

#[test]
fn a_portal_that_dies_meanwhile_is_gone() {
    let Some(session) = bus_only("portal-dies") else { return };
    let fake = FakePortal::start(&session, Behaviour { start: Answer::Nothing, ..Behaviour::default() });
    let patience = Patience { person: patient(Duration::from_secs(60)), ..impatience() };
    let portal = Portal::new(config(&session, session.env()), patience);
    let error = std::thread::scope(|scope| {
        let asking = scope.spawn(|| refused(&portal));
        asked_until(&fake, "Start");
        drop(fake);
        asking.join().unwrap()
    });
    assert!(matches!(error, DisplayError::Gone { .. }), "{error}");
}

#[test]
fn a_session_is_kept_until_the_desktop_closes_it() {
    let Some(session) = bus_only("portal-session") else { return };
    let slow = Answer::Late(Duration::from_millis(300));
    let fake = FakePortal::start(&session, Behaviour { start: slow, ..Behaviour::default() });
    let portal = impatient(&session);
    let first = create(&portal).expect("granted");
    assert_eq!(node(&first), 77);
    // The monitor's own size.
    assert_eq!(first.effective_mode, mode(800, 600, 60));
    assert!(first.path.reason.contains("existing monitor") && first.path.reason.contains("1280x720"));
    let question = "SelectSources types Some(1), cursor Some(2), persist Some(2), token None";
    let asked = ["CreateSession", question, "Start", "OpenPipeWireRemote"];
    assert_eq!(fake.asked(), asked);
    drop(first);
    let second = create(&portal).expect("granted before");
    assert_eq!(fake.asked()[4..], ["OpenPipeWireRemote"]);

    fake.close_session();
    // The signal and our next call take different ways.
    let third = wait_for("another session", Duration::from_secs(5), || {
        let output = create(&portal).expect("granted anew");
        (fake.asked().iter().filter(|line| *line == "Start").count() == 2).then_some(output)
    })
    .unwrap();
    assert!(fake.asked().iter().any(|line| line.ends_with("token Some(\"token-1\")")), "{:?}", fake.asked());
    drop((second, third, portal));
    asked_until(&fake, "Session.Close");
}

#[test]
fn a_restore_token_is_kept_private_replaced_and_forgotten_when_refused() {
    let Some(session) = bus_only("portal-tokens") else { return };
    let fake = FakePortal::start(&session, Behaviour::default());
    let file = token_file(&session);
    for number in 1..=2 {
        create(&impatient(&session)).expect("granted");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("token-{number}"));
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    fake.behave(Behaviour { refuses_tokens: true, ..Behaviour::default() });
    create(&impatient(&session)).expect("granted by a question");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "token-3");
    let questions = fake.asked().into_iter().filter(|line| line.starts_with("SelectSources"));
    let tokens: Vec<_> = questions.map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect();
    assert_eq!(tokens, ["None", "Some(\"token-1\")", "Some(\"token-2\")", "None"]);
}

#[test]
fn a_portal_that_takes_no_input_says_so() {
    let Some(session) = bus_only("portal-no-input") else { return };
    let _fake = FakePortal::start(&session, Behaviour::default());
    let portal = impatient(&session);
    let error = portal.connect_input().err().expect("no RemoteDesktop here");
    assert!(matches!(error, DisplayError::Unsupported { .. }), "{error}");
    let (state, version) = found(&session, session.env());
    assert_eq!(state, State::Ready);
    assert_eq!(version, "xdg-desktop-portal: ScreenCast 4, no RemoteDesktop");
}
