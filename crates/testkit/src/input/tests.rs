use super::*;

fn check(packet: InputPacket, golden: &str) {
    let golden: String = golden.chars().filter(|c| !c.is_whitespace()).collect();
    assert_eq!(hex::encode(packet.encode()), golden, "{packet:?}");
}

#[test]
fn keyboard_and_text_match_the_examples_of_section_9() {
    check(
        InputPacket::Key { down: true, code: 0x8041, modifiers: 1, flags: 0 },
        "0000000a 03000000 00 4180 01 0000",
    );
    check(
        InputPacket::Key { down: false, code: 0x8041, modifiers: 1, flags: 1 },
        "0000000a 04000000 01 4180 01 0000",
    );
    check(InputPacket::Text("a".into()), "00000005 17000000 61");
    check(InputPacket::Text("é".into()), "00000006 17000000 c3a9");
}

#[test]
fn mouse_matches_the_examples_of_section_9() {
    check(InputPacket::MouseMove { dx: -1, dy: -1 }, "00000008 07000000 ffff ffff");
    check(
        InputPacket::MousePosition { x: 100, y: 200, width: 1280, height: 720 },
        "0000000e 05000000 0064 00c8 0000 04ff 02cf",
    );
    check(InputPacket::MouseButton { down: true, button: 1 }, "00000005 08000000 01");
    check(InputPacket::MouseButton { down: false, button: 5 }, "00000005 09000000 05");
    check(InputPacket::Scroll(-120), "0000000a 0a000000 ff88 ff88 0000");
    check(InputPacket::ScrollHorizontal(60), "00000006 01000055 003c");
}

#[test]
fn gamepads_match_the_examples_of_section_9() {
    let state = PadState {
        number: 1,
        active_mask: 0b10,
        buttons: 0x0010_1000,
        left_trigger: 0x10,
        right_trigger: 0x20,
        left_stick: (-1, 2),
        right_stick: (-3, 4),
    };
    check(
        InputPacket::Pad(state),
        "0000001e 0c000000 1a00 0100 0200 1400 0010 10 20 ffff 0200 fdff 0400 9c00 1000 5500",
    );
    check(
        InputPacket::PadArrival { number: 1, kind: 2, capabilities: 0x010a, buttons: 0x3f_ffff },
        "0000000c 04000055 01 02 0a01 ffff3f00",
    );
    check(InputPacket::PadBattery { number: 1, state: 3, percent: 0x50 }, "00000008 07000055 01 03 50 00");
    check(InputPacket::EnableHaptics, "00000006 0d000000 0100");
    check(
        InputPacket::PadMotion { number: 1, kind: 2, axes: [1.0, 2.0, 3.0] },
        "00000014 06000055 01 02 0000 0000803f 00000040 00004040",
    );
    check(
        InputPacket::PadTouch {
            number: 1,
            event: Contact::Move,
            touchpad: 1,
            pointer: 3,
            x: 0.75,
            y: 0.5,
            pressure: 1.0,
        },
        "00000018 05000055 01 03 00 01 03000000 0000403f 0000003f 0000803f",
    );
}

#[test]
fn touch_and_pen_match_the_examples_of_section_9() {
    check(
        InputPacket::Touch {
            event: Contact::Down,
            rotation: 90,
            pointer: 7,
            x: 0.5,
            y: 0.25,
            pressure: 1.0,
            major: 0.1,
            minor: 0.05,
        },
        "00000020 02000055 01 00 5a00 07000000 0000003f 0000803e 0000803f cdcccc3d cdcc4c3d",
    );
    check(
        InputPacket::Pen {
            event: Contact::Down,
            tool: 1,
            buttons: 1,
            x: 0.5,
            y: 0.25,
            pressure: 1.0,
            rotation: 0xffff,
            tilt: 0x2d,
            major: 0.0,
            minor: 0.0,
        },
        "00000020 03000055 01 01 01 00 0000003f 0000803e 0000803f ffff 2d 00 00000000 00000000",
    );
}

#[test]
fn sizes_channels_and_reliability_follow_the_tables() {
    let gyro = |axes| InputPacket::PadMotion { number: 3, kind: 2, axes };
    assert_eq!(gyro([0.0; 3]).delivery(), Delivery::Reliable);
    assert_eq!(gyro([0.0, 1.0, 0.0]).delivery(), Delivery::Unreliable);
    assert_eq!(gyro([0.0; 3]).channel(), 0x23);
    assert_eq!(InputPacket::key(true, 0x41).channel(), 0x02);
    assert_eq!(InputPacket::key(true, 0x41).delivery(), Delivery::Reliable);
    assert_eq!(InputPacket::Text("x".into()).channel(), 0x06);
    assert_eq!(InputPacket::Pad(PadState { number: 15, ..PadState::default() }).channel(), 0x1f);
}
