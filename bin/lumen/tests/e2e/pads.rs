//! Gamepads from the client's packet to the game, and from the game to the client's message. They need `/dev/uinput` and
//! `/dev/uhid`, which the lab's virtual machine has.

use crate::lab::{Lab, PATIENCE, now, wait_for};
use evdev::{AbsoluteAxisCode as Axis, Device, FFEffectData, FFEffectKind, FFReplay, FFTrigger, KeyCode};
use lumen_lab::gamepads::{self, Part};
use lumen_testkit::control::HostMessage;
use lumen_testkit::input::{Contact, InputPacket, PadState};
use lumen_testkit::{Client, Stream, StreamOptions, StreamRequest};
use serde_json::json;

const XBOX: u8 = 1;
const PLAYSTATION: u8 = 2;
const A: u32 = 0x1000;
const B: u32 = 0x2000;
/// Rumble, touchpad, both sensors, battery, light.
const CAPABILITIES: u16 = 0xfb;

/// `None`, with a line that says why, where there can be no gamepads. What is streamed does not matter.
fn start(name: &str) -> Option<(Lab, Client)> {
    if let Some(obstacle) = gamepads::obstacle() {
        lumen_lab::left_out(name, &obstacle);
        return None;
    }
    let lab = Lab::start("[display]\nsource = \"test-pattern\"\n");
    let client = lab.paired(0);
    Some((lab, client))
}

fn request() -> StreamRequest {
    StreamRequest::new(640, 360, 30)
}

/// How the devices of this lab's host begin.
fn mark(lab: &Lab) -> String {
    let id = std::fs::read_to_string(lab.path("state/unique-id")).expect("it has an id");
    format!("lumen/{}/", &id.trim()[..8])
}

fn phys(lab: &Lab, number: u8) -> Option<String> {
    gamepads::plugged(&mark(lab)).into_iter().find(|path| path.ends_with(&format!("/{number}")))
}

fn device(lab: &Lab, number: u8, part: Part) -> Device {
    wait_for(&format!("{part:?} of gamepad {number}"), PATIENCE, || gamepads::find(&phys(lab, number)?, part))
}

fn keys(device: &Device, wanted: &[KeyCode]) {
    wait_for(&format!("{wanted:?}"), PATIENCE, || (gamepads::keys(device) == wanted).then_some(()));
}

fn axis(device: &Device, axis: Axis, value: i32) {
    wait_for(&format!("{axis:?} at {value}"), PATIENCE, || {
        (gamepads::axis(device, axis) == value).then_some(())
    });
}

/// What the status says of a gamepad.
fn shown(lab: &Lab, number: usize, kind: &str) {
    let wanted = json!({ "number": number, "requested": kind, "effective": kind, "reason": null });
    wait_for(&format!("{wanted} in the status"), PATIENCE, || {
        (lab.status()["sessions"][0]["gamepads"][number] == wanted).then_some(())
    });
}

fn none_left(lab: &Lab) {
    wait_for("the gamepads to be gone", PATIENCE, || gamepads::plugged(&mark(lab)).is_empty().then_some(()));
}

fn arrive(stream: &Stream, number: u8, kind: u8, capabilities: u16, active_mask: u16) {
    let arrival = InputPacket::PadArrival { number, kind, capabilities, buttons: 0xf7ff };
    stream.send_input(arrival).expect("queued");
    state(stream, number, active_mask, 0);
}

fn state(stream: &Stream, number: u8, active_mask: u16, buttons: u32) {
    let state = PadState { number: number.into(), active_mask, buttons, ..PadState::default() };
    stream.send_input(InputPacket::Pad(state)).expect("queued");
}

/// Waits for a message, letting others pass.
fn message(stream: &Stream, wanted: &HostMessage) {
    let deadline = now() + lumen_lab::patient(PATIENCE);
    let mut others = Vec::new();
    while now() < deadline {
        match stream.next_message(PATIENCE) {
            Ok(message) if message == *wanted => return,
            Ok(message) => others.push(message),
            Err(_) => {}
        }
    }
    panic!("waited in vain for {wanted:?}; there came {others:?}");
}

fn rumble(stream: &Stream, device: &mut Device, controller: u16) {
    let kind = FFEffectKind::Rumble { strong_magnitude: 0xffff, weak_magnitude: 0x8080 };
    let replay = FFReplay { length: 0, delay: 0 };
    let data = FFEffectData { direction: 0, trigger: FFTrigger::default(), replay, kind };
    // Newer kernels show a device a moment before they take effects for it.
    let mut effect = wait_for("an upload", PATIENCE, || device.upload_ff_effect(data).ok());
    effect.play(1).expect("played");
    message(stream, &HostMessage::Rumble { controller, low: 0xffff, high: 0x8080 });
    effect.stop().expect("stopped");
    message(stream, &HostMessage::Rumble { controller, low: 0, high: 0 });
}

/// From the client's gamepad to what a desktop shows.
fn battery(lab: &Lab, stream: &Stream, number: u8) {
    let supply =
        wait_for("its battery", PATIENCE, || gamepads::sysfs("power_supply", &phys(lab, number)?).pop());
    // 2: discharging.
    stream.send_input(InputPacket::PadBattery { number, state: 2, percent: 47 }).expect("queued");
    let read = |name: &str| std::fs::read_to_string(supply.join(name)).unwrap_or_default();
    // A DualSense tells tenths.
    wait_for("its charge", PATIENCE, || {
        (read("capacity").trim() == "45" && read("status").trim() == "Discharging").then_some(())
    });
}

/// What a game does to the triggers of a DualSense.
fn triggers(lab: &Lab, stream: &Stream, number: u8) {
    let phys = phys(lab, number).expect("it is there");
    let mut report = [0; 63];
    // Both triggers are marked as changed; the right one comes first.
    report[..2].copy_from_slice(&[0x02, 0x0c]);
    report[11..22].copy_from_slice(&[0x21, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    report[22] = 0x26;
    gamepads::write_raw(&phys, &report).expect("written");
    let mut effect = vec![0x0c, 0x26, 0x21];
    effect.extend([0; 10]);
    effect.extend(1..=10);
    message(stream, &HostMessage::AdaptiveTriggers { controller: number.into(), effect });
}

#[test]
fn vm_two_pads_of_a_client_are_whole() {
    let Some((lab, client)) = start("gamepads through the whole host") else { return };
    let stream = lab.launch(&client, "Desktop", &request());
    arrive(&stream, 0, XBOX, 0x03, 0b01);
    state(&stream, 0, 0b01, A);
    let mut xbox = device(&lab, 0, Part::Buttons);
    assert_eq!((xbox.input_id().vendor(), xbox.input_id().product()), (0x045e, 0x02ea));
    keys(&xbox, &[KeyCode::BTN_SOUTH]);
    shown(&lab, 0, "Xbox One");
    rumble(&stream, &mut xbox, 0);

    // Another one, while the first is held.
    arrive(&stream, 1, PLAYSTATION, CAPABILITIES, 0b11);
    for kind in [1, 2] {
        message(&stream, &HostMessage::MotionState { controller: 1, rate_hz: 200, kind });
    }
    let mut dualsense = device(&lab, 1, Part::Buttons);
    assert_eq!((dualsense.input_id().vendor(), dualsense.input_id().product()), (0x054c, 0x0ce6));
    shown(&lab, 1, "DualSense");
    state(&stream, 1, 0b11, B);
    keys(&dualsense, &[KeyCode::BTN_EAST]);
    keys(&xbox, &[KeyCode::BTN_SOUTH]);
    rumble(&stream, &mut dualsense, 1);
    let light = wait_for("its light", PATIENCE, || {
        let lights = gamepads::sysfs("leds", &phys(&lab, 1)?);
        lights.into_iter().find(|light| light.join("multi_intensity").exists())
    });
    std::fs::write(light.join("multi_intensity"), "1 2 250").expect("a colour");
    std::fs::write(light.join("brightness"), "255").expect("a brightness");
    message(&stream, &HostMessage::Led { controller: 1, rgb: [1, 2, 250] });

    let motion = device(&lab, 1, Part::Motion);
    for (kind, axes) in [(2, [2.0, 0.0, -3.0]), (1, [0.0, 9.806_65, 0.0])] {
        // Unreliable on the wire, and nothing is lost on this network.
        stream.send_input(InputPacket::PadMotion { number: 1, kind, axes }).expect("queued");
    }
    axis(&motion, Axis::ABS_RX, 2048);
    axis(&motion, Axis::ABS_RZ, -3072);
    axis(&motion, Axis::ABS_Y, 8192);
    let touchpad = device(&lab, 1, Part::Touchpad);
    let (number, pointer) = (1, 5);
    let touch = InputPacket::PadTouch {
        number,
        event: Contact::Down,
        touchpad: 0,
        pointer,
        x: 1.0,
        y: 0.0,
        pressure: 1.0,
    };
    stream.send_input(touch).expect("queued");
    axis(&touchpad, Axis::ABS_X, 1919);

    battery(&lab, &stream, 1);
    triggers(&lab, &stream, 1);

    // One goes, the other stays.
    state(&stream, 0, 0b10, 0);
    wait_for("the first to go", PATIENCE, || phys(&lab, 0).is_none().then_some(()));
    keys(&dualsense, &[KeyCode::BTN_EAST]);
    drop((xbox, dualsense, motion, touchpad));
    stream.disconnect(PATIENCE);
    none_left(&lab);
    let log = lab.log();
    let warnings: Vec<_> =
        log.lines().filter(|line| line.contains("WARN") && line.contains("gamepad")).collect();
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn vm_pads_last_as_long_as_the_client_wants_and_never_longer() {
    let Some((mut lab, client)) = start("the life of gamepads") else { return };
    let keep = StreamRequest { keep_gamepads: true, ..request() };
    let stream = lab.launch(&client, "Desktop", &keep);
    arrive(&stream, 0, XBOX, 0x03, 1);
    state(&stream, 0, 1, A);
    let xbox = device(&lab, 0, Part::Buttons);
    keys(&xbox, &[KeyCode::BTN_SOUTH]);
    // It stays through a pause, let go.
    stream.disconnect(PATIENCE);
    keys(&xbox, &[]);
    let stream = client.resume(&keep, &StreamOptions::default()).expect("resumes");
    arrive(&stream, 0, XBOX, 0x03, 1);
    state(&stream, 0, 1, B);
    keys(&xbox, &[KeyCode::BTN_EAST]);
    client.cancel().expect("cancelled");
    none_left(&lab);
    drop((xbox, stream));

    // A host that is killed takes them along.
    let stream = lab.launch(&client, "Desktop", &request());
    arrive(&stream, 0, PLAYSTATION, CAPABILITIES, 1);
    drop(device(&lab, 0, Part::Touchpad));
    lab.kill_host();
    none_left(&lab);
}
