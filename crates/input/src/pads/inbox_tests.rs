use super::*;
use lumen_gamestream::control::MotionSensor;
use lumen_gamestream::input::{Buttons, Motion};

fn state(controller: u8, buttons: u32, x: i16) -> InputPacket {
    InputPacket::Controller(ControllerState {
        controller,
        active_mask: 0xffff,
        buttons: Buttons::from_bits(buttons),
        left_trigger: 0,
        right_trigger: 0,
        left_stick: (x, 0),
        right_stick: (0, 0),
    })
}

fn packets(inbox: &Inbox) -> Vec<PadPacket> {
    let mut notes = VecDeque::new();
    inbox.take(&mut notes);
    let packets = notes.into_iter().filter_map(|note| match note {
        Note::Packet(packet) => Some(packet),
        _ => None,
    });
    packets.collect()
}

#[test]
fn a_flood_of_positions_keeps_every_button() {
    let inbox = Inbox::new().unwrap();
    let mut input = inbox.connect(Box::new(|_| {}));
    let mut expected = Vec::new();
    for event in 0..10_000u32 {
        // A button changes every hundredth time.
        let packet = state(0, event / 100 % 2, event as i16);
        assert!(input.handle(&packet));
        if event % 100 == 99 {
            expected.push(PadPacket::of(&packet).unwrap());
        }
    }
    assert_eq!(packets(&inbox), expected);
}

#[test]
fn triggers_that_are_pulled_are_not_merged_away() {
    let inbox = Inbox::new().unwrap();
    let mut input = inbox.connect(Box::new(|_| {}));
    for left_trigger in [0, 0x10, 0x90, 0xff, 0x10, 0] {
        let InputPacket::Controller(mut packet) = state(0, 0, 0) else { unreachable!() };
        packet.left_trigger = left_trigger;
        input.handle(&InputPacket::Controller(packet));
    }
    let seen: Vec<u8> = packets(&inbox)
        .iter()
        .map(|packet| match packet {
            PadPacket::State(state) => state.left_trigger,
            _ => unreachable!(),
        })
        .collect();
    assert_eq!(seen, [0, 0x10, 0xff, 0x10, 0]);
}

#[test]
fn only_samples_of_one_sensor_replace_each_other() {
    let inbox = Inbox::new().unwrap();
    let mut input = inbox.connect(Box::new(|_| {}));
    let sample = |sensor, x| InputPacket::Motion(Motion { controller: 0, sensor, x, y: 0.0, z: 0.0 });
    use MotionSensor::{Accelerometer, Gyroscope};
    for packet in [
        sample(Gyroscope, 1.0),
        sample(Gyroscope, 2.0),
        sample(Accelerometer, 3.0),
        sample(Gyroscope, 4.0),
        state(0, 0, 0),
        state(1, 0, 0),
    ] {
        input.handle(&packet);
    }
    assert_eq!(packets(&inbox).len(), 5);
}

#[test]
fn a_queue_that_nobody_empties_stays_bounded() {
    let inbox = Inbox::new().unwrap();
    let mut input = inbox.connect(Box::new(|_| {}));
    for event in 0..3 * CAPACITY as u32 {
        input.handle(&state(0, event, 0));
    }
    assert!(packets(&inbox).len() <= CAPACITY);
}

#[test]
fn an_older_connection_has_no_effect() {
    let inbox = Inbox::new().unwrap();
    let mut old = inbox.connect(Box::new(|_| {}));
    let mut new = inbox.connect(Box::new(|_| {}));
    assert!(old.handle(&state(0, 1, 0)), "it is a gamepad's packet all the same");
    new.handle(&state(1, 1, 0));
    assert_eq!(packets(&inbox).iter().map(PadPacket::controller).collect::<Vec<_>>(), [1]);
    inbox.disconnect();
    new.handle(&state(1, 1, 0));
    assert!(packets(&inbox).is_empty());
    assert!(!new.handle(&InputPacket::EnableHaptics));
}

#[test]
fn what_is_held_is_known() {
    let inbox = Inbox::new().unwrap();
    let mut input = inbox.connect(Box::new(|_| {}));
    input.handle(&state(0, 0, 0));
    assert!(!input.holds_anything());
    input.handle(&state(0, 0, 1));
    input.handle(&state(1, 4, 0));
    input.handle(&state(0, 0, 0));
    assert!(input.holds_anything());
    input.release_all();
    assert!(!input.holds_anything());
    // A game goes on turning by the last sample of a client that is gone.
    input.handle(&InputPacket::Motion(Motion {
        controller: 0,
        sensor: MotionSensor::Gyroscope,
        x: 1.0,
        y: 0.0,
        z: 0.0,
    }));
    assert!(input.holds_anything());
    input.release_all();
    assert!(!input.holds_anything());
}

#[test]
fn what_does_not_fit_still_lets_go() {
    let inbox = Inbox::new().unwrap();
    let mut input = inbox.connect(Box::new(|_| {}));
    // Buttons change with each packet, so nothing can be merged.
    for event in 0..2 * CAPACITY as u32 {
        input.handle(&state((event % 2) as u8, 1 + event % 3, 0));
    }
    for controller in [0, 1] {
        input.handle(&state(controller, 0, 0));
    }
    let packets = packets(&inbox);
    assert_eq!(packets.len(), CAPACITY - 1, "the connection's own note is there too");
    for controller in [0, 1] {
        let of_this =
            |packet: &&PadPacket| matches!(packet, PadPacket::State(state) if state.controller == controller);
        let last = packets.iter().rev().find(of_this).unwrap();
        assert_eq!(Some(last), PadPacket::of(&state(controller, 0, 0)).as_ref());
    }
}
