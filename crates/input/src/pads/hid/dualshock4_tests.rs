use super::super::super::report::Finger;
use super::*;

#[test]
fn a_state_has_its_bytes() {
    let mut pad = DualShock4::new([0; 6]);
    let report = PadReport {
        buttons: Buttons::Y | Buttons::DOWN | Buttons::LEFT_SHOULDER | Buttons::TOUCHPAD,
        triggers: (255, 0),
        left_stick: (i16::MAX, i16::MIN),
        fingers: [None, Some(Finger { id: 1, x: 1.0, y: 1.0 })],
        gyroscope: [0.0, 0.0, -1.0],
        battery: (BatteryState::Charging, Some(100)),
        ..PadReport::default()
    };
    let bytes = pad.input(&report, Timestamp::from_nanos(16_000_000));
    assert_eq!(bytes[..10], [1, 0xff, 0xff, 0x80, 0x80, 0x84, 0x05, 0x02, 255, 0]);
    assert_eq!(bytes[10..12], 3000u16.to_le_bytes());
    assert_eq!(bytes[13..25], [0, 0, 0, 0, 0xf0, 0xff, 0, 0, 0, 0x20, 0, 0]);
    assert_eq!(bytes[30], 0x1a);
    assert_eq!(bytes[33], 1);
    // 1919, 941.
    assert_eq!(bytes[35..43], [0x80, 0, 0, 0, 1, 0x7f, 0xd7, 0x3a]);
    assert_eq!(pad.input(&report, Timestamp::default())[7], 0x06);
    assert_eq!(pad.input(&PadReport::default(), Timestamp::default())[30], 0x1b);
    // Home, touchpad.
    for (buttons, expected) in [
        (Buttons::MISC, 0x02),
        (Buttons::MISC | Buttons::TOUCHPAD, 0x02),
        (Buttons::MISC | Buttons::HOME, 0x03),
        (Buttons::A, 0),
    ] {
        let bytes = pad.input(&PadReport { buttons, ..PadReport::default() }, Timestamp::default());
        assert_eq!(bytes[7] & 0x03, expected, "{buttons:?}");
    }
}

#[test]
fn the_driver_finds_what_it_asks_for() {
    let pad = DualShock4::new([2, 3, 4, 5, 6, 7]);
    let lengths = [CALIBRATION, PAIRING, FIRMWARE].map(|id| pad.feature(id).map(|report| report.len()));
    assert_eq!(lengths, [Some(37), Some(16), Some(49)]);
    assert_eq!(pad.feature(PAIRING).unwrap()[..7], [0x12, 7, 6, 5, 4, 3, 2]);
    assert_eq!(4 * 8 + 4 + 14 + 6 + 2 * 8 + 54 * 8, (REPORT - 1) * 8);
}

#[test]
fn what_games_write_is_understood() {
    let mut pad = DualShock4::new([0; 6]);
    let mut said = |report: &[u8]| {
        let mut said = Vec::new();
        pad.output(report, &mut |feedback| said.push(feedback));
        said
    };
    let mut report = [0; 32];
    report[..9].copy_from_slice(&[OUTPUT, 0, 0, 0, 1, 2, 7, 8, 9]);
    assert_eq!(said(&report), []);
    report[FLAGS] = 0x03;
    let rumble = DeviceFeedback::Rumble { low_frequency: 0x202, high_frequency: 0x101 };
    assert_eq!(said(&report), [rumble, DeviceFeedback::Led([7, 8, 9])]);
    assert_eq!(said(&report[..31]), []);
}
