//! Hyprland: a headless output at run time, captured directly. Needs a KMS card, and so the virtual machine.

use super::{Expected, Monitor, NO_LINGER, whole_session};
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

#[test]
fn vm_hyprland_makes_an_output_in_the_clients_mode() {
    let Some(session) = session() else { return };
    let hyprland = Hyprland::start(&session, &HyprlandOptions::default()).expect("Hyprland starts");
    let lab = Lab::start_in(hyprland.env(), NO_LINGER);
    let client = lab.paired(0);
    let request = StreamRequest::new(640, 360, 60);
    let expected = Expected {
        app: "testcard",
        backend: "hyprland",
        capture: "",
        codes: 5,
        seconds: 0,
        monitor: Some(Monitor::of(&request)),
    };
    whole_session(&hyprland, &lab, &client, &request, &expected);
}
