//! DualSense and DualShock 4, with the kernel's own driver between us and the game.

use crate::support::{Rig, wait_for};
use evdev::{AbsoluteAxisCode as Axis, FFEffectData, FFEffectKind, FFReplay, FFTrigger, KeyCode};
use lumen_gamestream::control::{HostMessage, MotionSensor, TriggerEffects};
use lumen_gamestream::input::{
    Battery, BatteryState, Buttons, ControllerKind, ControllerTouch, InputPacket, Motion, TouchEvent,
};
use lumen_input::pads::{MOTION_RATE_HZ, Pads, PadsConfig};
use lumen_lab::gamepads::{self, Part};

/// Everything but trigger rumble and a second touchpad.
const CAPABILITIES: u16 = 0xfb;

fn wait_for_axis(device: &evdev::Device, axis: Axis, value: i32) {
    let mut seen = i32::MIN;
    let found = lumen_lab::wait_for("an axis", crate::support::PATIENCE, || {
        seen = gamepads::axis(device, axis);
        (seen == value).then_some(())
    });
    assert!(found.is_ok(), "{axis:?} is {seen}, not {value}");
}

fn buttons_and_sticks(rig: &mut Rig, device: &evdev::Device) {
    let buttons = [
        (Buttons::A, KeyCode::BTN_SOUTH),
        (Buttons::B, KeyCode::BTN_EAST),
        (Buttons::X, KeyCode::BTN_WEST),
        (Buttons::Y, KeyCode::BTN_NORTH),
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
        wait_for(&format!("{key:?} alone"), || (gamepads::keys(device) == [key]).then_some(()));
    }
    rig.state(0, |state| {
        state.buttons = Buttons::DOWN | Buttons::RIGHT;
        state.left_stick = (-32768, -32768);
        state.right_stick = (32767, 32767);
        (state.left_trigger, state.right_trigger) = (9, 255);
    });
    for (axis, value) in [
        (Axis::ABS_X, 0),
        (Axis::ABS_Y, 255),
        (Axis::ABS_RX, 255),
        (Axis::ABS_RY, 0),
        (Axis::ABS_Z, 9),
        (Axis::ABS_RZ, 255),
        (Axis::ABS_HAT0X, 1),
        (Axis::ABS_HAT0Y, 1),
    ] {
        wait_for_axis(device, axis, value);
    }
    let keys = gamepads::keys(device);
    assert!(keys.contains(&KeyCode::BTN_TL2) && keys.contains(&KeyCode::BTN_TR2), "{keys:?}");
}

fn motion(rig: &mut Rig) {
    let device = rig.device(0, Part::Motion);
    let mut sample = |sensor, [x, y, z]: [f32; 3]| {
        rig.input.handle(&InputPacket::Motion(Motion { controller: 0, sensor, x, y, z }));
    };
    sample(MotionSensor::Gyroscope, [1.0, -90.0, 400.0]);
    sample(MotionSensor::Accelerometer, [9.806_65, -9.806_65 / 2.0, 0.0]);
    // The driver's units: 1024 a degree per second, 8192 for gravity.
    for (axis, value) in [
        (Axis::ABS_RX, 1024),
        (Axis::ABS_RY, -90 * 1024),
        (Axis::ABS_RZ, 400 * 1024),
        (Axis::ABS_X, 8192),
        (Axis::ABS_Y, -4096),
        (Axis::ABS_Z, 0),
    ] {
        wait_for_axis(&device, axis, value);
    }
}

fn touch(rig: &mut Rig, height: i32) {
    let device = rig.device(0, Part::Touchpad);
    let mut finger = |event, pointer, x, y| {
        let touch = ControllerTouch { controller: 0, event, touchpad: 0, pointer, x, y, pressure: 1.0 };
        rig.input.handle(&InputPacket::ControllerTouch(touch));
    };
    finger(TouchEvent::Down, 77, 0.0, 0.0);
    finger(TouchEvent::Move, 77, 1.0, 1.0);
    wait_for("a finger", || gamepads::keys(&device).contains(&KeyCode::BTN_TOOL_FINGER).then_some(()));
    wait_for_axis(&device, Axis::ABS_X, 1919);
    wait_for_axis(&device, Axis::ABS_Y, height - 1);
    finger(TouchEvent::Down, 78, 0.5, 0.5);
    wait_for("two fingers", || gamepads::keys(&device).contains(&KeyCode::BTN_TOOL_DOUBLETAP).then_some(()));
    finger(TouchEvent::CancelAll, 0, 0.0, 0.0);
    wait_for("no finger", || (!gamepads::keys(&device).contains(&KeyCode::BTN_TOUCH)).then_some(()));
    rig.state(0, |state| state.buttons = Buttons::TOUCHPAD);
    wait_for("its button", || gamepads::keys(&device).contains(&KeyCode::BTN_LEFT).then_some(()));
}

fn battery(rig: &mut Rig, percent: &str) {
    let supply = wait_for("its battery", || gamepads::sysfs("power_supply", &rig.phys(0)).pop());
    let battery = Battery { controller: 0, state: BatteryState::Discharging, percent: Some(47) };
    rig.input.handle(&InputPacket::Battery(battery));
    let read = |name: &str| std::fs::read_to_string(supply.join(name)).unwrap_or_default();
    wait_for("its charge", || (read("capacity").trim() == percent).then_some(()));
    assert_eq!(read("status").trim(), "Discharging");
}

fn rumble(rig: &Rig, device: &mut evdev::Device) {
    let data = FFEffectData {
        direction: 0,
        trigger: FFTrigger::default(),
        replay: FFReplay { length: 0, delay: 0 },
        kind: FFEffectKind::Rumble { strong_magnitude: 0xffff, weak_magnitude: 0x4000 },
    };
    let mut effect = device.upload_ff_effect(data).expect("uploaded");
    effect.play(1).expect("played");
    // Eight bits per motor.
    rig.message(HostMessage::Rumble { controller: 0, low_frequency: 0xffff, high_frequency: 0x4040 });
    effect.stop().expect("stopped");
    rig.message(HostMessage::Rumble { controller: 0, low_frequency: 0, high_frequency: 0 });
}

fn sensors_are_asked_for(rig: &Rig) {
    for sensor in [MotionSensor::Accelerometer, MotionSensor::Gyroscope] {
        rig.message(HostMessage::MotionRequest { controller: 0, rate_hz: MOTION_RATE_HZ, sensor });
    }
}

#[test]
fn vm_a_dualsense_is_whole() {
    let Some(mut rig) = Rig::start("a DualSense") else { return };
    rig.arrive(0, ControllerKind::PlayStation, CAPABILITIES, 0);
    rig.state(0, |_| {});
    sensors_are_asked_for(&rig);
    let mut device = rig.device(0, Part::Buttons);
    let id = device.input_id();
    assert_eq!((id.bus_type().0, id.vendor(), id.product()), (3, 0x054c, 0x0ce6));
    println!("{:?} {:?} {:?}", device.name(), device.physical_path(), device.unique_name());
    buttons_and_sticks(&mut rig, &device);
    motion(&mut rig);
    touch(&mut rig, 1080);
    battery(&mut rig, "45");
    rumble(&rig, &mut device);

    let phys = rig.phys(0);
    let light = wait_for("its light", || {
        gamepads::sysfs("leds", &phys).into_iter().find(|led| led.join("multi_intensity").exists())
    });
    std::fs::write(light.join("multi_intensity"), "10 200 30").expect("a colour");
    std::fs::write(light.join("brightness"), "255").expect("a brightness");
    rig.message(HostMessage::Led { controller: 0, rgb: [10, 200, 30] });

    let mut report = [0; 63];
    report[..2].copy_from_slice(&[0x02, 0x0c]);
    report[11..22].copy_from_slice(&[0x21, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    report[22] = 0x26;
    gamepads::write_raw(&phys, &report).expect("written");
    let effects =
        TriggerEffects { right: Some((0x21, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])), left: Some((0x26, [0; 10])) };
    rig.message(HostMessage::AdaptiveTriggers { controller: 0, effects });
    // Whatever programs write: the gamepad goes on.
    for length in [1, 2, 47, 64, 200, 4000] {
        let _ = gamepads::write_raw(&phys, &vec![0x02; length]);
        let _ = gamepads::write_raw(&phys, &vec![0xff; length]);
    }
    rig.state(0, |state| state.buttons = Buttons::B);
    wait_for("a button after all that", || (gamepads::keys(&device) == [KeyCode::BTN_EAST]).then_some(()));

    // Two of them have addresses of their own: the driver takes no address twice.
    rig.arrive(1, ControllerKind::PlayStation, CAPABILITIES, 0);
    let second = rig.device(1, Part::Buttons);
    assert_ne!(second.unique_name(), device.unique_name());
    drop((device, second));
    rig.end();
    assert!(gamepads::sysfs("power_supply", &phys).is_empty() && gamepads::sysfs("hidraw", &phys).is_empty());
}

#[test]
fn vm_a_dualshock_4_is_whole() {
    use lumen_input::pads::{PadChoice, PadKind};
    let Some(mut rig) = Rig::start("a DualShock 4") else { return };
    let choice = PadChoice::Always(PadKind::DualShock4);
    rig.pads = Some(Pads::start(PadsConfig { choice, owner: rig.owner.clone() }).expect("a thread"));
    let (sender, messages) = std::sync::mpsc::channel();
    rig.input = rig.pads.as_ref().expect("running").connect(move |message| _ = sender.send(message));
    rig.messages = messages;
    rig.arrive(0, ControllerKind::PlayStation, CAPABILITIES, 0);
    rig.state(0, |_| {});
    sensors_are_asked_for(&rig);
    let mut device = rig.device(0, Part::Buttons);
    let id = device.input_id();
    assert_eq!((id.bus_type().0, id.vendor(), id.product()), (3, 0x054c, 0x09cc));
    buttons_and_sticks(&mut rig, &device);
    motion(&mut rig);
    touch(&mut rig, 942);
    battery(&mut rig, "45");
    rumble(&rig, &mut device);
    let phys = rig.phys(0);
    let mut report = [0; 32];
    report[..9].copy_from_slice(&[0x05, 0x02, 0, 0, 0, 0, 9, 8, 7]);
    wait_for("its raw node", || gamepads::write_raw(&phys, &report).ok());
    rig.message(HostMessage::Led { controller: 0, rgb: [9, 8, 7] });
    drop(device);
    rig.end();
}
