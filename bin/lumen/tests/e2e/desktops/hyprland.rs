//! Hyprland: a headless output at run time, captured directly. Needs a KMS card, and so the virtual machine.

use super::{Expected, Monitor, NO_LINGER, dies_for_good, reconnects, whole_session};
use crate::lab::Lab;
use lumen_lab::{Desktop, Hyprland, HyprlandOptions, Session, left_out, render_node, session_for};
use lumen_testkit::StreamRequest;

fn session() -> Option<Session> {
    if render_node().is_none() {
        left_out("Hyprland", "there is no render node");
        return None;
    }
    session_for("hyprland", &["Hyprland", "wayland-info", "pipewire"])
}

fn hyprland(session: &Session) -> Hyprland {
    Hyprland::start(session, &HyprlandOptions::default()).expect("Hyprland starts")
}

fn expected(request: &StreamRequest) -> Expected<'static> {
    Expected {
        app: "testcard",
        backend: "hyprland",
        capture: "ext-image-copy-capture",
        format: "",
        codes: 5,
        seconds: 0,
        monitor: Some(Monitor::of(request)),
    }
}

#[test]
fn vm_hyprland_makes_an_output_in_the_clients_mode() {
    let Some(session) = session() else { return };
    let hyprland = hyprland(&session);
    let lab = Lab::start_in(hyprland.env(), NO_LINGER);
    let client = lab.paired(0);
    let request = StreamRequest::new(640, 360, 60);
    whole_session(&hyprland, &lab, &client, &request, &expected(&request));
}

#[test]
fn vm_reconnects_to_hyprland_reuse_the_output_in_either_mode() {
    let Some(session) = session() else { return };
    let hyprland = hyprland(&session);
    let lab = Lab::start_in(hyprland.env(), NO_LINGER);
    let (client, request) = (lab.paired(0), StreamRequest::new(640, 360, 60));
    reconnects(&hyprland, &lab, &client, &request, &StreamRequest::new(480, 270, 60), &expected(&request));
}

#[test]
fn vm_a_hyprland_that_dies_ends_the_stream_cleanly_and_serves_again() {
    let Some(session) = session() else { return };
    let request = StreamRequest::new(640, 360, 60);
    dies_for_good(&session, hyprland, &request, &expected(&request));
}

#[test]
fn vm_m0_records_an_output_of_hyprland() {
    let Some(session) = session() else { return };
    super::records(&hyprland(&session), "hyprland", 3);
}
