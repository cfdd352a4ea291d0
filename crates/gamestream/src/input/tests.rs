use super::*;
use proptest::prelude::*;

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex.replace(' ', "")).unwrap()
}

/// The example packets of protocol text §9.2, and what they stand for.
fn golden() -> Vec<(&'static str, InputPacket)> {
    let key = |pressed, by_layout| {
        InputPacket::Key(Key {
            code: 0x41,
            pressed,
            by_layout,
            on_screen: false,
            modifiers: Modifiers::SHIFT,
        })
    };
    vec![
        ("0000000a 03000000 00 4180 01 0000", key(true, false)),
        ("0000000a 04000000 01 4180 01 0000", key(false, true)),
        ("00000005 17000000 61", InputPacket::Text("a".into())),
        ("00000006 17000000 c3a9", InputPacket::Text("é".into())),
        ("00000008 07000000 ffff ffff", InputPacket::MouseMotion { dx: -1, dy: -1 }),
        (
            "0000000e 05000000 0064 00c8 0000 04ff 02cf",
            InputPacket::MousePosition(MousePosition { x: 100, y: 200, width: 1279, height: 719 }),
        ),
        ("00000005 08000000 01", InputPacket::MouseButton { button: MouseButton::Left, pressed: true }),
        ("00000005 09000000 05", InputPacket::MouseButton { button: MouseButton::X2, pressed: false }),
        ("0000000a 0a000000 ff88 ff88 0000", InputPacket::Scroll { amount: -120 }),
        ("00000006 01000055 003c", InputPacket::HorizontalScroll { amount: 60 }),
        ("00000006 0d000000 0100", InputPacket::EnableHaptics),
    ]
    .into_iter()
    .chain(golden_pads())
    .chain(golden_touches())
    .collect()
}

fn golden_pads() -> Vec<(&'static str, InputPacket)> {
    vec![
        (
            "0000001e 0c000000 1a00 0100 0200 1400 0010 10 20 ffff 0200 fdff 0400 9c00 1000 5500",
            InputPacket::Controller(ControllerState {
                controller: 1,
                active_mask: 0b10,
                buttons: Buttons::A | Buttons::TOUCHPAD,
                left_trigger: 0x10,
                right_trigger: 0x20,
                left_stick: (-1, 2),
                right_stick: (-3, 4),
            }),
        ),
        (
            "0000000c 04000055 01 02 0a01 ffff3f00",
            InputPacket::ControllerArrival(ControllerArrival {
                controller: 1,
                kind: ControllerKind::PlayStation,
                capabilities: PadCapabilities::from_bits(0x010a),
                buttons: Buttons::from_bits(0x3f_ffff),
            }),
        ),
        (
            "00000018 05000055 01 03 00 01 03000000 0000403f 0000003f 0000803f",
            InputPacket::ControllerTouch(ControllerTouch {
                controller: 1,
                event: TouchEvent::Move,
                touchpad: 1,
                pointer: 3,
                x: 0.75,
                y: 0.5,
                pressure: 1.0,
            }),
        ),
        (
            "00000014 06000055 01 02 0000 0000803f 00000040 00004040",
            InputPacket::Motion(Motion {
                controller: 1,
                sensor: MotionSensor::Gyroscope,
                x: 1.0,
                y: 2.0,
                z: 3.0,
            }),
        ),
        (
            "00000008 07000055 01 03 50 00",
            InputPacket::Battery(Battery { controller: 1, state: BatteryState::Charging, percent: Some(80) }),
        ),
    ]
}

fn golden_touches() -> Vec<(&'static str, InputPacket)> {
    vec![
        (
            "00000020 02000055 01 00 5a00 07000000 0000003f 0000803e 0000803f cdcccc3d cdcc4c3d",
            InputPacket::Touch(Touch {
                event: TouchEvent::Down,
                pointer: 7,
                x: 0.5,
                y: 0.25,
                pressure: 1.0,
                contact: (0.1, 0.05),
                rotation: Some(90),
            }),
        ),
        (
            "00000020 03000055 01 01 01 00 0000003f 0000803e 0000803f ffff 2d 00 00000000 00000000",
            InputPacket::Pen(Pen {
                event: TouchEvent::Down,
                tool: PenTool::Pen,
                buttons: 1,
                x: 0.5,
                y: 0.25,
                pressure: 1.0,
                rotation: None,
                tilt: Some(45),
                contact: (0.0, 0.0),
            }),
        ),
    ]
}

#[test]
fn example_packets_decode() {
    for (packet, expected) in golden() {
        assert_eq!(InputPacket::decode(&bytes(packet)), Ok(expected), "{packet}");
    }
}

#[test]
fn every_truncation_is_dropped_and_longer_bodies_are_taken() {
    for (packet, expected) in golden() {
        let whole = bytes(packet);
        for len in 0..whole.len() {
            // The bytes end early.
            assert_eq!(InputPacket::decode(&whole[..len]), Err(InputError::Short), "{packet} cut to {len}");
            // So does the body, and the size field says so; a shorter text is a text, unless it cuts a character.
            if len >= 8 && !matches!(expected, InputPacket::Text(_)) {
                let mut short = whole[..len].to_vec();
                short[..4].copy_from_slice(&(len as u32 - 4).to_be_bytes());
                assert_eq!(InputPacket::decode(&short), Err(InputError::Short), "{packet} of {len}");
            }
        }
        if !matches!(expected, InputPacket::Text(_)) {
            let mut longer = whole.clone();
            longer.extend([0xee; 5]);
            let size = longer.len() as u32 - 4;
            longer[..4].copy_from_slice(&size.to_be_bytes());
            assert_eq!(InputPacket::decode(&longer), Ok(expected), "{packet} longer");
        }
    }
}

#[test]
fn a_text_that_is_too_long_ends_with_a_whole_character() {
    // 341 characters of three bytes, and a third of the next.
    let long = "東".repeat(400);
    let mut packet = (long.len() as u32 + 4).to_be_bytes().to_vec();
    packet.extend(bytes("17000000"));
    packet.extend(long.as_bytes());
    assert_eq!(InputPacket::decode(&packet), Ok(InputPacket::Text("東".repeat(341))));
    // A broken character is still none.
    packet.truncate(8 + 30);
    packet[..4].copy_from_slice(&34_u32.to_be_bytes());
    packet[20] = 0xff;
    assert_eq!(InputPacket::decode(&packet), Err(InputError::Value));
}

#[test]
fn undefined_values_are_dropped() {
    for packet in [
        "00000005 08000000 06",
        "00000005 08000000 00",
        "00000005 17000000 ff",
        "0000000e 05000000 0064 00c8 0000 0000 02cf",
        "0000000e 05000000 0064 00c8 0000 04ff ffff",
        "00000014 06000055 01 03 0000 0000803f 00000040 00004040",
        "00000014 06000055 01 02 0000 0000c07f 00000040 00004040",
        "00000014 06000055 10 02 0000 0000803f 00000040 00004040",
        "0000000c 04000055 10 02 0a01 ffff3f00",
        "00000018 05000055 01 08 00 01 03000000 0000403f 0000003f 0000803f",
    ] {
        assert_eq!(InputPacket::decode(&bytes(packet)), Err(InputError::Value), "{packet}");
    }
    assert_eq!(InputPacket::decode(&bytes("00000004 17000000")), Err(InputError::Short), "empty text");
    assert_eq!(InputPacket::decode(&bytes("00000004 ff000000")), Ok(InputPacket::Unknown { magic: 0xff }));
}

#[test]
fn unknown_marks_become_none() {
    let battery = InputPacket::decode(&bytes("00000008 07000055 00 09 ff 00"));
    let expected = Battery { controller: 0, state: BatteryState::Unknown, percent: None };
    assert_eq!(battery, Ok(InputPacket::Battery(expected)));
}

#[test]
fn positions_are_normalised_and_clamped() {
    let position = |x, y| MousePosition { x, y, width: 1279, height: 719 }.normalised();
    assert_eq!(position(0, 719), (0.0, 1.0));
    assert_eq!(position(-5, 2000), (0.0, 1.0));
}

#[test]
fn a_pad_is_present_by_its_own_bit() {
    let state = |controller, active_mask| ControllerState {
        controller,
        active_mask,
        buttons: Buttons::default(),
        left_trigger: 0,
        right_trigger: 0,
        left_stick: (0, 0),
        right_stick: (0, 0),
    };
    assert!(state(15, 0x8000).is_present());
    assert!(!state(1, 0x8001).is_present());
}

proptest! {
    #[test]
    fn any_bytes_are_answered(mut packet in prop::collection::vec(any::<u8>(), 0..64), magic in 0u8..0x20, high: bool) {
        if packet.len() >= 8 {
            let size = packet.len() as u32 - 4;
            packet[..4].copy_from_slice(&size.to_be_bytes());
            packet[4..8].copy_from_slice(&[magic, 0, 0, if high { 0x55 } else { 0 }]);
        }
        let _ = InputPacket::decode(&packet);
    }
}
