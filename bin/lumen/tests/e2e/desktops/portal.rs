//! A portal that fails: missing, slow, denying, or its backend dies or hangs while it copies pictures.

use super::{BY_PORTAL, HOST_FAILURE, VERDICT, card_on, portal_installed, watch, watch_again};
use crate::lab::{Lab, PATIENCE, now, wait_for};
use lumen_lab::{Desktop, Mode, PortalKind, Portals, Session, Sway, SwayOptions, patient, session_for};
use lumen_testkit::{Client, Ending, StreamRequest};
use std::time::Duration;

fn session() -> Option<Session> {
    session_for("sway's portal", &["sway", "wayland-info", "pipewire"])
        .filter(|_| portal_installed("xdg-desktop-portal-wlr"))
}

fn start_sway(session: &Session) -> Sway {
    let options = SwayOptions { outputs: vec![Mode::new(640, 360, 60.0)], ..SwayOptions::default() };
    Sway::start(session, &options).expect("sway starts")
}

/// A monitor of sway that the portal shows as `kind` says; without `kind` there is no portal.
struct Shown {
    // Dropped in this order.
    client: Client,
    lab: Lab,
    portals: Option<Portals>,
    sway: Sway,
}

impl Shown {
    fn start(session: &Session, kind: Option<PortalKind>) -> Self {
        let sway = start_sway(session);
        let portals = kind.map(|kind| Portals::start(&sway, kind).expect("the portal starts"));
        let lab = Lab::start_in(sway.env(), BY_PORTAL);
        let client = lab.paired(0);
        Self { client, lab, portals, sway }
    }

    /// What the client is told, and after how long.
    fn is_refused(&self, what: &str) {
        let asked = now();
        let app = self.lab.app(&self.client, "testcard");
        let refused = self.client.request_launch(app, &StreamRequest::new(1264, 720, 60));
        let text = refused.expect_err("nobody shows a monitor").to_string();
        println!("{what}: after {:?}: {text}", now() - asked);
        assert!(text.to_lowercase().contains("portal"), "{text}");
        assert!(self.client.server_info().is_ok());
    }
}

/// Without a question.
fn allowing() -> PortalKind {
    PortalKind::Wlr { output: "HEADLESS-1".into(), max_fps: 60 }
}

fn asking(chooser: String) -> PortalKind {
    PortalKind::WlrAsking { chooser }
}

/// Somebody at the machine says no, or nothing at all.
#[test]
fn a_portal_that_denies_or_never_answers_is_named_to_the_client() {
    let Some(session) = session() else { return };
    for chooser in ["true", "sleep 1000"] {
        let shown = Shown::start(&session, Some(asking(chooser.into())));
        shown.is_refused(&format!("portal, {chooser:?}"));
    }
}

#[test]
fn a_portal_that_is_missing_is_named_to_the_client() {
    let Some(session) = session() else { return };
    Shown::start(&session, None).is_refused("no portal");
}

/// Whoever has to click needs a moment for it.
#[test]
fn a_portal_that_takes_a_while_to_say_yes_is_waited_for() {
    let Some(session) = session() else { return };
    let chooser = "sleep 3; echo 'Monitor: HEADLESS-1'";
    let Shown { client, lab, .. } = &Shown::start(&session, Some(asking(chooser.into())));
    let request = StreamRequest::new(640, 360, 60);
    let asked = now();
    let stream = lab.launch(client, "testcard", &request);
    println!("portal, yes after 3 s: streaming after {:?}", now() - asked);
    watch(lab, &stream, &request, 20, 0);
    stream.disconnect(patient(PATIENCE));
    client.cancel().expect("cancelled");
}

/// The service that starts it again after a crash does so here too.
#[test]
fn a_backend_that_dies_in_mid_stream_is_asked_again() {
    let Some(session) = session() else { return };
    let mut shown = Shown::start(&session, Some(allowing()));
    let Shown { client, lab, portals, sway } = &mut shown;
    let portals = portals.as_mut().expect("a portal");
    let request = StreamRequest::new(640, 360, 60);
    let stream = lab.launch(client, "Desktop", &request);
    let card = card_on(sway);
    watch(lab, &stream, &request, 20, 0);
    let died = now();
    portals.restart_backend(sway, &allowing()).expect("it starts again");
    let absent = now() - died;
    wait_for("the verdict", VERDICT, || {
        (stream.ending().is_some() || lab.log().contains("the output is back")).then_some(())
    });
    println!("portal backend away for {absent:?}: verdict after {:?}", now() - died);
    if stream.ending().is_some() {
        // A busy machine may take longer to start it than a client is kept waiting.
        assert!(absent > Duration::from_secs(2), "{}", lab.log());
        let _ = client.cancel();
        return;
    }
    watch_again(lab, &stream, &request, (request.width, request.height), 20, 0);
    assert_eq!(stream.ending(), None);
    drop(card);
    stream.disconnect(patient(PATIENCE));
    client.cancel().expect("cancelled");
}

/// The compositor lives, but nobody copies its pictures any more; or nobody ever will again.
#[test]
fn a_backend_that_hangs_or_dies_for_good_ends_the_stream_cleanly() {
    let Some(session) = session() else { return };
    let request = StreamRequest::new(640, 360, 60);
    for how in ["hangs", "dies"] {
        let Shown { client, lab, portals, sway } = &Shown::start(&session, Some(allowing()));
        let portals = portals.as_ref().expect("a portal");
        let stream = lab.launch(client, "Desktop", &request);
        let card = card_on(sway);
        watch(lab, &stream, &request, 20, 0);
        let backend = portals.backend.as_ref().expect("it runs");
        let failed = now();
        if how == "hangs" {
            backend.freeze()
        } else {
            backend.kill()
        }
        let ending = stream.wait_end(patient(VERDICT)).expect("the client is told");
        println!("portal backend {how}: the client got {ending:?} after {:?}", now() - failed);
        assert_eq!(ending, Ending::HostError(HOST_FAILURE));
        drop(card);
        let _ = client.cancel();
        assert!(client.server_info().is_ok());
        if how == "hangs" {
            backend.thaw();
            let stream = lab.launch(client, "testcard", &request);
            watch(lab, &stream, &request, 20, 0);
            stream.disconnect(patient(PATIENCE));
            client.cancel().expect("cancelled");
        }
    }
}

/// Whoever stops the host does not have to wait for an answer that nobody gives.
#[test]
fn a_host_is_stopped_while_the_portal_asks() {
    let Some(session) = session() else { return };
    let asked = session.runtime_dir().join("asked");
    let chooser = format!("touch {}; sleep 1000", asked.display());
    let mut shown = Shown::start(&session, Some(asking(chooser)));
    let Shown { client, lab, .. } = &mut shown;
    let app = lab.app(client, "testcard");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| client.request_launch(app, &StreamRequest::new(640, 360, 60)));
        wait_for("the question", PATIENCE, || asked.exists().then_some(()));
        let stopped = now();
        lab.stop_host();
        let waited = now() - stopped;
        println!("portal asks: the host stopped after {waited:?}");
        // It would give up the question itself after fifteen seconds.
        assert!(waited < Duration::from_secs(10), "{waited:?}");
        assert!(waiting.join().expect("no panic").is_err());
    });
}
