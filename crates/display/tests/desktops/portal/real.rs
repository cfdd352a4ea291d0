//! The portals of sway and KWin.

use super::{config, create, found, mode, node};
use crate::eyes;
use lumen_display::State;
use lumen_display::portal::{self, InputConnection, Patience, Portal};
use lumen_lab::{
    Desktop, Kwin, KwinOptions, KwinRenderer, Mode, PortalKind, PortalOptions, Portals, Process, Session,
    Sway, SwayOptions, patient, session_for, wait_for,
};
use lumen_media::slot::Wait;
use lumen_media::{AppLaunch, DisplayError, FrameSource, InputEvent, VirtualDisplay, VirtualOutput, clock};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const PORTAL: &str = "/usr/libexec/xdg-desktop-portal";
const WLR: &str = "/usr/libexec/xdg-desktop-portal-wlr";
/// For pictures to come.
const LOOK: Duration = Duration::from_secs(20);

struct World {
    portals: Portals,
    sway: Sway,
    session: Session,
}

/// sway with one monitor of 640×360 and its portal.
fn sway(name: &str) -> Option<World> {
    let session = session_for(name, &["sway", "pipewire", "wireplumber", PORTAL, WLR])?;
    let options = SwayOptions { outputs: vec![Mode::new(640, 360, 60.0)], ..SwayOptions::default() };
    let sway = Sway::start(&session, &options).expect("sway");
    let kind = PortalKind::Wlr { output: "HEADLESS-1".into(), max_fps: 60 };
    let portals = Portals::start(&sway, kind).expect("portals");
    Some(World { portals, sway, session })
}

fn patient_portal(desktop: &impl Desktop) -> Portal {
    let Patience { step, person } = Patience::DEFAULT;
    let patience = Patience { step: lumen_lab::patient(step), person: lumen_lab::patient(person) };
    Portal::new(config(desktop.session(), desktop.env()), patience)
}

fn show_testcard(desktop: &impl Desktop) -> Process {
    let path = eyes::testcard();
    desktop.spawn("testcard", path.to_str().expect("a plain path"), &[]).expect("the test card starts")
}

/// Pictures of an output; what keeps it alive comes beside.
fn open(session: &Session, output: VirtualOutput) -> (Box<dyn FrameSource>, Box<dyn Send>) {
    let VirtualOutput { source, effective_mode, keepalive, .. } = output;
    (eyes::open(source, effective_mode, session.runtime_dir()), keepalive)
}

/// Looks until `count` cards of 640×360 were seen.
fn see(frames: &mut dyn FrameSource, count: usize, what: &str) {
    // The first pictures may show the card before it fills the screen.
    eyes::look(frames, 2, LOOK);
    let seen = eyes::look(frames, count, LOOK);
    seen.print(what);
    assert_eq!(seen.cards.len(), count, "{seen:?}, {:?}", frames.report());
    assert_eq!(seen.sizes, [(640, 360)]);
    assert!(seen.colours_are_right(), "{seen:?}");
}

/// Waits until the source is closed; pictures that come before are dropped.
fn wait_closed(frames: &mut dyn FrameSource) {
    let deadline = clock::now() + patient(LOOK);
    loop {
        match frames.wait_latest(Some(deadline)) {
            Wait::Closed => return,
            Wait::Deadline => panic!("the source does not close; {:?}", frames.report()),
            Wait::Value(_) | Wait::Nudged => {}
        }
    }
}

fn nodes(session: &Session) -> Vec<u32> {
    session.video_nodes().expect("pw-dump").into_iter().map(|(id, _)| id).collect()
}

#[test]
fn sway_shows_its_monitor_at_its_own_size_and_the_session_is_kept() {
    let Some(World { portals, sway, session }) = sway("portal-sway") else { return };
    let (state, version) = found(&session, sway.env());
    assert_eq!(state, State::Ready);
    eprintln!("{version}");
    let card = show_testcard(&sway);
    let portal = patient_portal(&sway);
    let output = create(&portal).expect("granted without a question");
    assert_eq!(output.effective_mode, mode(640, 360, 60));
    assert!(output.path.reason.contains("640x360, and scaled to 1280x720"), "{}", output.path.reason);
    let env: std::collections::BTreeMap<_, _> = output.env.iter().cloned().collect();
    assert_eq!(env.get("WAYLAND_DISPLAY").map(String::as_str), sway.wayland_display());
    let first = node(&output);
    let (mut frames, keepalive) = open(&session, output);
    see(frames.as_mut(), 200, "sway by its portal");
    eprintln!("{:?}", frames.report());

    // Another client, while the first watches and after.
    let second = create(&portal).expect("the same session");
    assert_eq!(node(&second), first);
    let (mut more, other_keepalive) = open(&session, second);
    see(more.as_mut(), 20, "sway by its portal, another client");
    drop((frames, more, keepalive, other_keepalive));
    let third = create(&portal).expect("still the same session");
    assert_eq!(node(&third), first);

    // The whole of it ends with the host.
    assert!(nodes(&session).contains(&first));
    drop((third, portal));
    wait_for("end of the node", Duration::from_secs(10), || {
        (!nodes(&session).contains(&first)).then_some(())
    })
    .unwrap();
    assert!(portals.frontend.as_ref().is_some_and(lumen_lab::Process::is_running));
    drop(card);
}

#[test]
fn the_portals_of_sway_end_and_come_back() {
    let Some(World { mut portals, sway, session }) = sway("portal-sway-ends") else { return };
    let _card = show_testcard(&sway);
    let portal = patient_portal(&sway);
    let output = create(&portal).expect("granted");
    let (mut frames, _keepalive) = open(&session, output);
    see(frames.as_mut(), 2, "sway by its portal");
    // Its half draws: without it there is no picture.
    portals.backend.as_ref().expect("runs").kill();
    wait_closed(frames.as_mut());
    // Whatever the rest of the portal answers now, it is an answer.
    let error = wait_for("the end of the session", LOOK, || create(&portal).err());
    eprintln!("without its half: {}", error.expect("nobody shows a monitor"));
    portals.frontend.as_ref().expect("runs").kill();
    session.wait_for_no_name("org.freedesktop.portal.Desktop", Duration::from_secs(5)).unwrap();
    let error = create(&portal).err().expect("nobody there");
    assert!(matches!(error, DisplayError::Absent { .. }), "{error}");

    portals.frontend = None;
    portals.backend = None;
    drop(portals);
    let kind = PortalKind::Wlr { output: "HEADLESS-1".into(), max_fps: 60 };
    let _portals = Portals::start(&sway, kind).expect("portals");
    let output = create(&portal).expect("granted again");
    let (mut frames, _keepalive) = open(&session, output);
    see(frames.as_mut(), 3, "sway by its portal, come back");
}

#[test]
fn a_portal_killed_in_front_is_asked_anew() {
    let Some(World { mut portals, sway, session }) = sway("portal-sway-front") else { return };
    let portal = patient_portal(&sway);
    let first = create(&portal).expect("granted");
    let frontend = portals.frontend.take().expect("runs");
    frontend.kill();
    drop(frontend);
    session.wait_for_no_name("org.freedesktop.portal.Desktop", Duration::from_secs(5)).unwrap();
    let error = create(&portal).err().expect("nobody there");
    assert!(matches!(error, DisplayError::Absent { .. }), "{error}");
    let command = sway.command(PORTAL);
    let frontend = session.spawn("xdg-desktop-portal", command).expect("starts");
    session.wait_for_name("org.freedesktop.portal.Desktop", &frontend, Duration::from_secs(10)).unwrap();
    let second = create(&portal).expect("granted anew");
    assert_ne!(node(&first), node(&second));
}

#[test]
fn a_portal_without_its_half_shows_no_monitors() {
    let Some(session) = session_for("portal-half", &["sway", PORTAL, WLR]) else { return };
    let sway = Sway::start(&session, &SwayOptions::default()).expect("sway");
    let kind = PortalKind::Wlr { output: "HEADLESS-1".into(), max_fps: 60 };
    let options = PortalOptions { kind, backend: false, frontend: true };
    let _portals = Portals::start_with(&sway, &options).expect("the front");
    let error = create(&patient_portal(&sway)).err().expect("nobody shows a monitor");
    assert!(matches!(&error, DisplayError::Unsupported { remedy, .. } if remedy.contains("-wlr")), "{error}");
    let (state, _) = found(&session, sway.env());
    assert!(
        matches!(&state, State::Obstructed { remedy, .. } if remedy.contains("portals.conf")),
        "{state:?}"
    );
}

/// The compositor speaks first: the version of its side of the handshake, an event of object 0.
fn assert_input_answers(input: &InputConnection) {
    let mut socket = UnixStream::from(input.socket.try_clone().expect("a descriptor"));
    socket.set_read_timeout(Some(patient(LOOK))).expect("a socket");
    let mut head = [0xff; 16];
    socket.read_exact(&mut head).expect("the compositor's handshake");
    let (object, length) = (&head[..8], &head[8..12]);
    assert_eq!(object, [0; 8]);
    // Header and one number.
    assert_eq!(length, 20_u32.to_ne_bytes());
}

fn kwin(name: &str, renderer: KwinRenderer) -> Option<(Kwin, Session)> {
    let session = session_for(name, &["kwin_wayland", "pipewire", "wireplumber", PORTAL])?;
    let mode = Mode::new(640, 360, 60.0);
    let options = KwinOptions { mode, renderer, ..KwinOptions::default() };
    let kwin = Kwin::start(&session, &options).expect("KWin");
    Some((kwin, session))
}

#[test]
fn kwin_takes_input_by_a_grant_written_ahead_and_none_after_it_is_taken_back() {
    let Some((kwin, session)) = kwin("portal-kwin", KwinRenderer::QPainter) else { return };
    let portals = Portals::start(&kwin, PortalKind::Kde { authorized: false }).expect("portals");
    let config = config(&session, kwin.env());
    assert!(!portal::authorized(&config).expect("a store"));
    assert!(portal::authorize(&config).expect("a store"));
    assert!(!portal::authorize(&config).expect("a store"), "it was there already");
    assert_eq!(portals.grants("kde-authorized", "remote-desktop").expect("a store")[""], ["yes"]);

    let display = patient_portal(&kwin);
    let input = display.connect_input().expect("granted without a question");
    assert_input_answers(&input);
    drop(input);
    // The next host needs no grant: it was answered once.
    let token = config.state_dir.join("portal/kde-remote-desktop.token");
    assert!(!std::fs::read_to_string(&token).expect("a restore token").is_empty());

    assert!(portal::deauthorize(&config).expect("a store"));
    assert!(!portal::deauthorize(&config).expect("a store"), "it is gone already");
    assert!(!portal::authorized(&config).expect("a store"));
    assert!(!token.exists());
    // Now it asks, and nobody is there.
    let patience = Patience { person: Duration::from_secs(3), ..Patience::DEFAULT };
    let asking = Portal::new(config, patience);
    let error = asking.connect_input().err().expect("nobody clicks");
    assert!(matches!(error, DisplayError::Timeout { .. } | DisplayError::Forbidden { .. }), "{error}");
    eprintln!("without the grant: {error}");
}

/// KWin casts no screen without OpenGL, so this one runs in the virtual machine.
#[test]
fn vm_kwin_shows_a_monitor_and_takes_input_by_one_grant() {
    if lumen_lab::render_node().is_none() {
        return lumen_lab::left_out("portal-kwin-picture", "no DRM render node: KWin casts no screen");
    }
    let Some((kwin, session)) = kwin("portal-kwin-picture", KwinRenderer::OpenGl) else { return };
    let _portals = Portals::start(&kwin, PortalKind::Kde { authorized: false }).expect("portals");
    let config = config(&session, kwin.env());
    assert!(portal::authorize(&config).expect("a store"));
    let _card = show_testcard(&kwin);
    let display = patient_portal(&kwin);
    let output = display.create(mode(1280, 720, 60), &AppLaunch::default()).expect("no click");
    assert_eq!(output.effective_mode, mode(640, 360, 60));
    let shown = node(&output);
    let input = output.input.clone();
    let (mut frames, _keepalive) = open(&session, output);
    see(frames.as_mut(), 5, "KWin by its portal");
    eprintln!("{:?}", frames.report());

    // The same session takes input: another would show another node.
    let taken = || {
        // What comes while the sink still connects waits two seconds, which is little for an emulated processor.
        input.send(InputEvent::PointerAbsolute { x: 0.25, y: 0.75 });
        (input.report().delivered > 0).then(|| input.report())
    };
    let report = lumen_lab::wait_for("input by the same grant", LOOK, taken)
        .unwrap_or_else(|error| panic!("{error}: {:?}", input.report()));
    assert_eq!(report.path, "libei", "{report:?}");
    let again = display.create(mode(1280, 720, 60), &AppLaunch::default()).expect("the same session");
    assert_eq!(node(&again), shown);
    see(frames.as_mut(), 1, "KWin by its portal, with input");
}
