//! Xbox and Switch Pro.

use crate::support::{Rig, wait_for};
use evdev::{
    AbsoluteAxisCode as Axis, FFEffectCode, FFEffectData, FFEffectKind, FFReplay, FFTrigger, KeyCode,
};
use lumen_gamestream::control::HostMessage;
use lumen_gamestream::input::{Buttons, ControllerKind};
use lumen_lab::gamepads::{self, Part};
use std::time::Duration;

fn effect(strong: u16, weak: u16, length: u16) -> FFEffectData {
    FFEffectData {
        direction: 0,
        trigger: FFTrigger::default(),
        replay: FFReplay { length, delay: 0 },
        kind: FFEffectKind::Rumble { strong_magnitude: strong, weak_magnitude: weak },
    }
}

fn rumble(controller: u16, low_frequency: u16, high_frequency: u16) -> HostMessage {
    HostMessage::Rumble { controller, low_frequency, high_frequency }
}

#[test]
fn vm_an_xbox_pad_has_its_ids_buttons_and_axes() {
    let Some(mut rig) = Rig::start("an Xbox pad") else { return };
    rig.arrive(0, ControllerKind::Xbox, 0x03, 0xf7ff);
    rig.state(0, |_| {});
    let device = rig.device(0, Part::Buttons);
    let id = device.input_id();
    assert_eq!((id.bus_type().0, id.vendor(), id.product()), (3, 0x045e, 0x02ea));
    assert_eq!(device.name(), Some("Microsoft X-Box One S pad"));
    let range = |axis| {
        let info = device.get_absinfo().unwrap().find(|(code, _)| *code == axis).expect("the axis").1;
        (info.minimum(), info.maximum())
    };
    for axis in [Axis::ABS_X, Axis::ABS_Y, Axis::ABS_RX, Axis::ABS_RY] {
        assert_eq!(range(axis), (-32768, 32767), "{axis:?}");
    }
    assert_eq!((range(Axis::ABS_Z), range(Axis::ABS_HAT0X)), ((0, 255), (-1, 1)));
    assert!(device.supported_ff().is_some_and(|ff| ff.contains(FFEffectCode::FF_RUMBLE)));

    let buttons = [
        (Buttons::A, KeyCode::BTN_SOUTH),
        (Buttons::B, KeyCode::BTN_EAST),
        (Buttons::X, KeyCode::BTN_NORTH),
        (Buttons::Y, KeyCode::BTN_WEST),
        (Buttons::LEFT_SHOULDER, KeyCode::BTN_TL),
        (Buttons::RIGHT_SHOULDER, KeyCode::BTN_TR),
        (Buttons::BACK, KeyCode::BTN_SELECT),
        (Buttons::START, KeyCode::BTN_START),
        (Buttons::HOME, KeyCode::BTN_MODE),
        (Buttons::LEFT_STICK, KeyCode::BTN_THUMBL),
        (Buttons::RIGHT_STICK, KeyCode::BTN_THUMBR),
    ];
    for (button, key) in buttons {
        rig.state(0, |state| state.buttons = button);
        wait_for(&format!("{key:?} alone"), || (gamepads::keys(&device) == [key]).then_some(()));
    }
    rig.state(0, |state| {
        state.buttons = Buttons::UP | Buttons::LEFT;
        state.left_stick = (-32768, -32768);
        state.right_stick = (32767, 100);
        (state.left_trigger, state.right_trigger) = (1, 255);
    });
    let expected = [
        (Axis::ABS_X, -32768),
        (Axis::ABS_Y, 32767),
        (Axis::ABS_RX, 32767),
        (Axis::ABS_RY, -100),
        (Axis::ABS_Z, 1),
        (Axis::ABS_RZ, 255),
        (Axis::ABS_HAT0X, -1),
        (Axis::ABS_HAT0Y, -1),
    ];
    for (axis, value) in expected {
        wait_for(&format!("{axis:?} at {value}"), || (gamepads::axis(&device, axis) == value).then_some(()));
    }
    rig.input.release_all();
    wait_for("everything to be let go", || {
        let still = expected.iter().all(|(axis, _)| gamepads::axis(&device, *axis) == 0);
        (still && gamepads::keys(&device).is_empty()).then_some(())
    });
    rig.end();
}

#[test]
fn vm_rumble_reaches_the_client_and_ends() {
    let Some(mut rig) = Rig::start("rumble") else { return };
    // Nothing introduced it: a generic one, and rumble is allowed.
    rig.state(3, |_| {});
    let mut device = rig.device(3, Part::Buttons);
    assert_eq!(device.input_id().product(), 0x028e);
    // Newer kernels show a device a moment before they take effects for it.
    let mut long = wait_for("an upload", || device.upload_ff_effect(effect(0x8000, 0x1234, 0)).ok());
    long.play(1).expect("played");
    rig.message(rumble(3, 0x8000, 0x1234));
    long.update(effect(0x4000, 0, 0)).expect("updated");
    rig.message(rumble(3, 0x4000, 0));
    long.stop().expect("stopped");
    rig.message(rumble(3, 0, 0));
    // One that ends by itself.
    let mut short = device.upload_ff_effect(effect(1000, 2000, 50)).expect("uploaded");
    short.play(1).expect("played");
    rig.message(rumble(3, 1000, 2000));
    rig.message(rumble(3, 0, 0));
    // A game that is gone leaves nothing moving.
    long.play(1).expect("played");
    rig.message(rumble(3, 0x4000, 0));
    drop((long, short, device));
    rig.message(rumble(3, 0, 0));
    // A gamepad that goes while it rumbles.
    let mut device = rig.device(3, Part::Buttons);
    let mut again = device.upload_ff_effect(effect(7, 8, 0)).expect("uploaded");
    again.play(1).expect("played");
    rig.message(rumble(3, 7, 8));
    rig.state(3, |state| state.active_mask = 0);
    rig.message(rumble(3, 0, 0));
    drop((again, device));
    rig.end();
}

#[test]
fn vm_sixteen_pads_come_and_go() {
    let Some(mut rig) = Rig::start("sixteen pads") else { return };
    for number in 0..16 {
        rig.arrive(number, ControllerKind::Xbox, 0x03, if number == 4 { 0x20_0000 } else { 0xf_0000 });
    }
    rig.arrive(7, ControllerKind::Nintendo, 0x03, 0);
    let mut expected = [0x0b00; 16];
    (expected[4], expected[7]) = (0x0b12, 0x2009);
    for (number, product) in (0..).zip(expected) {
        // The eighth is there as an Xbox pad first, which goes in its own time.
        rig.device_that(number, Part::Buttons, |device| device.input_id().product() == product);
    }
    let switch = rig.device_that(7, Part::Buttons, |device| device.input_id().product() == 0x2009);
    rig.state(7, |state| {
        state.buttons = Buttons::X | Buttons::MISC;
        state.right_trigger = 200;
    });
    let held = [KeyCode::BTN_WEST, KeyCode::BTN_Z, KeyCode::BTN_TR2];
    wait_for("the Switch's buttons", || {
        let keys = gamepads::keys(&switch);
        held.iter().all(|key| keys.contains(key)).then_some(())
    });
    rig.state(9, |state| state.active_mask = 0);
    wait_for("the tenth to go", || gamepads::find(&rig.phys(9), Part::Buttons).is_none().then_some(()));
    wait_for("fifteen to be counted", || {
        rig.pads.as_ref().is_some_and(|pads| pads.counts().pads == 15).then_some(())
    });
    rig.end();
}

#[test]
fn vm_pads_that_stay_let_go_and_tell_the_next_connection() {
    let Some(mut rig) = Rig::start("pads that stay") else { return };
    rig.arrive(0, ControllerKind::Xbox, 0x03, 0);
    rig.state(0, |state| state.buttons = Buttons::A);
    let mut device = rig.device(0, Part::Buttons);
    wait_for("the button", || (gamepads::keys(&device) == [KeyCode::BTN_SOUTH]).then_some(()));
    let pads = rig.pads.as_ref().expect("running");
    pads.disconnect();
    wait_for("the button's release", || gamepads::keys(&device).is_empty().then_some(()));
    // Late packets of the connection that is gone.
    rig.state(0, |state| state.buttons = Buttons::B);
    let mut effect = wait_for("an upload", || device.upload_ff_effect(effect(5, 6, 0)).ok());
    effect.play(1).expect("played");
    let quiet = rig.messages.recv_timeout(Duration::from_millis(200));
    assert!(quiet.is_err(), "nobody is there to hear {quiet:?}");
    let (sender, messages) = std::sync::mpsc::channel();
    rig.input = rig.pads.as_ref().expect("running").connect(move |message| _ = sender.send(message));
    rig.messages = messages;
    rig.message(rumble(0, 5, 6));
    assert_eq!(gamepads::keys(&device), []);
    rig.state(0, |state| state.buttons = Buttons::Y);
    wait_for("the same device", || (gamepads::keys(&device) == [KeyCode::BTN_WEST]).then_some(()));
    drop((effect, device));
    rig.end();
}
