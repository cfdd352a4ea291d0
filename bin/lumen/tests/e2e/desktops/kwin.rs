//! KWin: a virtual output by its screen cast protocol, with the permission that `lumen setup` installs. Needs OpenGL,
//! and so the virtual machine.

use super::{
    BY_PORTAL, Expected, Monitor, dies_for_good, input, pipewire_restarts, portal_installed, reconnects,
    resumes, whole_session,
};
use crate::lab::{Lab, PATIENCE};
use lumen_lab::{
    Desktop, Kwin, KwinOptions, KwinRenderer, Mode, PortalKind, Portals, Session, left_out, patient,
    render_node, session_for,
};
use lumen_testkit::StreamRequest;

fn session() -> Option<Session> {
    if render_node().is_none() {
        left_out("KWin", "there is no render node");
        return None;
    }
    session_for("kwin", &["kwin_wayland", "wayland-info", "pipewire"])
}

fn kwin(session: &Session, permission_checks: bool) -> Kwin {
    let options = KwinOptions {
        renderer: KwinRenderer::OpenGl,
        mode: Mode::new(320, 180, 60.0),
        permission_checks,
        ..KwinOptions::default()
    };
    Kwin::start(session, &options).expect("KWin starts")
}

fn expected(request: &StreamRequest) -> Expected<'static> {
    Expected {
        app: "testcard",
        backend: "kwin",
        capture: "pipewire",
        format: "",
        codes: 5,
        seconds: 0,
        monitor: Some(Monitor::by_formula(request)),
    }
}

/// A user's way: without the permission an existing monitor or nothing; after `lumen setup` the client's own mode.
#[test]
fn vm_kwin_streams_after_setup_by_shared_memory_and_by_dmabuf() {
    let Some(session) = session() else { return };
    let kwin = kwin(&session, true);
    let request = StreamRequest::new(640, 360, 60);
    for dmabuf in [false, true] {
        let extra =
            format!("[display]\nlinger_seconds = 0\ncompositor = \"kwin\"\n[capture]\ndmabuf = {dmabuf}\n");
        let lab = Lab::start_in(kwin.env(), &extra);
        if !dmabuf {
            let doctor = String::from_utf8_lossy(&lab.lumen(&["doctor"]).stdout).into_owned();
            let line = doctor.lines().find(|line| line.contains("kwin")).unwrap_or_default().to_owned();
            println!("doctor without the grant: {line}");
            assert!(line.contains("lumen setup"), "{doctor}");
            let refused = lab.paired(0);
            let app = lab.app(&refused, "testcard");
            assert!(refused.request_launch(app, &request).is_err(), "launched without the grant");
            let _ = refused.cancel();
        }
        let setup = lab.lumen(&["setup"]);
        assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
        let client = lab.paired(1);
        let format = if dmabuf { "DmaBuf" } else { "MemFd" };
        whole_session(&kwin, &lab, &client, &request, &Expected { format, ..expected(&request) });
        let removed = lab.lumen(&["setup", "--remove"]);
        assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
    }
}

#[test]
fn vm_kwin_reconnects_and_gives_more_than_sixty_hertz() {
    let Some(session) = session() else { return };
    let kwin = kwin(&session, false);
    let lab = Lab::start_in(kwin.env(), "[display]\nlinger_seconds = 0\n");
    let client = lab.paired(0);
    let fast = StreamRequest::new(640, 360, 120);
    whole_session(&kwin, &lab, &client, &fast, &expected(&fast));
    let request = StreamRequest::new(640, 360, 60);
    reconnects(&kwin, &lab, &client, &request, &StreamRequest::new(480, 270, 60), &expected(&request));
}

#[test]
fn vm_a_kwin_that_dies_ends_the_stream_cleanly_and_serves_again() {
    let Some(session) = session() else { return };
    let request = StreamRequest::new(640, 360, 60);
    dies_for_good(&session, |session| kwin(session, false), &request, &expected(&request));
}

#[test]
fn vm_pipewire_restarted_under_kwin_is_survived() {
    let Some(session) = session() else { return };
    let request = StreamRequest::new(640, 360, 60);
    pipewire_restarts(&session, |session| kwin(session, false), &request, &expected(&request));
}

#[test]
fn vm_kwin_shows_a_monitor_through_the_portal_without_a_click() {
    let Some(session) = session() else { return };
    if !portal_installed("xdg-desktop-portal-kde") {
        return left_out("the portal of KDE", "xdg-desktop-portal-kde is not installed");
    }
    let kwin = kwin(&session, true);
    let _portals = Portals::start(&kwin, PortalKind::Kde { authorized: true }).expect("the portal starts");
    let lab = Lab::start_in(kwin.env(), BY_PORTAL);
    let client = lab.paired(0);
    let request = StreamRequest::new(320, 180, 60);
    let mut stream = lab.launch(&client, "testcard", &request);
    let figures = super::watch(&lab, &stream, &request, 5, 0);
    let expected = Expected { backend: "portal", ..expected(&request) };
    super::assert_path(&lab, &expected);
    super::print_figures(&expected, &request, &figures);
    for round in ["same", "same again"] {
        stream.disconnect(patient(PATIENCE));
        stream = resumes(&lab, &client, &request, &format!("portal of KDE, {round} mode"));
        super::watch(&lab, &stream, &request, 5, 0);
    }
    // The same grant carries input.
    let stream = input::kwin_takes_a_click_and_a_key(&lab, stream, (320, 180));
    stream.disconnect(patient(PATIENCE));
    client.cancel().expect("cancelled");
}

#[test]
fn vm_m0_records_an_output_of_kwin() {
    let Some(session) = session() else { return };
    super::records(&kwin(&session, false), "kwin-virtual", 3);
}
