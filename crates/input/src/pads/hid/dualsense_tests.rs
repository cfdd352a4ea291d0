use super::super::super::report::{Finger, GRAVITY};
use super::*;
use proptest::prelude::*;

/// The one device whose bytes are known from outside: 273 bytes describe it over USB, of which this part is the input
/// report.
#[test]
fn the_descriptor_begins_like_the_real_one() {
    let descriptor = DualSense::new([0; 6]).identity().descriptor;
    let real = hex("05010905a10185010930093109320935093309341500 26ff007508950681020600ff0920");
    assert_eq!(descriptor[..real.len()], real);
    let bits: u32 = 6 * 8 + 8 + 4 + 15 + 13 + 52 * 8;
    assert_eq!(bits as usize, (REPORT - 1) * 8);
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.bytes().filter_map(|byte| (byte as char).to_digit(16).map(|d| d as u8)).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn a_state_has_its_bytes() {
    let mut pad = DualSense::new([0; 6]);
    let report = PadReport {
        buttons: Buttons::A
            | Buttons::UP
            | Buttons::RIGHT
            | Buttons::START
            | Buttons::HOME
            | Buttons::TOUCHPAD,
        triggers: (0, 200),
        left_stick: (i16::MIN, i16::MAX),
        right_stick: (0, -1),
        fingers: [Some(Finger { id: 5, x: 1.0, y: 1.0 }), None],
        gyroscope: [1.0, -2.0, 1e9],
        accelerometer: [0.0, GRAVITY, -GRAVITY],
        battery: (BatteryState::Discharging, Some(47)),
    };
    let bytes = pad.input(&report, Timestamp::from_nanos(3_000_000));
    assert_eq!(bytes[..8], [1, 0, 0, 0x80, 0x80, 0, 200, 0]);
    assert_eq!(bytes[8..11], [0x21, 0x28, 0x03]);
    assert_eq!(bytes[16..28], [16, 0, 0xe0, 0xff, 0xff, 0x7f, 0, 0, 0, 0x20, 0, 0xe0]);
    assert_eq!(bytes[28..32], 9000u32.to_le_bytes());
    // 1919, 1079.
    assert_eq!(bytes[33..41], [5, 0x7f, 0x77, 0x43, 0x80, 0, 0, 0]);
    assert_eq!(bytes[53..55], [0x04, 0x08]);
    assert_eq!(pad.input(&report, Timestamp::default())[7], 1);
    let still = pad.input(&PadReport::default(), Timestamp::default());
    assert_eq!(still[..11], [1, 0x80, 0x80, 0x80, 0x80, 0, 0, 2, 8, 0, 0]);
    assert_eq!((still[33], still[37], still[53]), (0x80, 0x80, 0x2a));
}

#[test]
fn the_driver_finds_what_it_asks_for() {
    let pad = DualSense::new([2, 3, 4, 5, 6, 7]);
    let lengths = [CALIBRATION, PAIRING, FIRMWARE].map(|id| pad.feature(id).map(|report| report.len()));
    assert_eq!(lengths, [Some(41), Some(20), Some(64)]);
    assert_eq!(pad.feature(PAIRING).unwrap()[..7], [9, 7, 6, 5, 4, 3, 2]);
    assert_eq!(pad.feature(0x81), None);
    let calibration = pad.feature(CALIBRATION).unwrap();
    let number = |at: usize| f64::from(i16::from_le_bytes([calibration[at], calibration[at + 1]]));
    // As the kernel's driver computes it: 1/1024 of a degree per second and 1/8192 of gravity in one raw unit.
    let speed = number(19) + number(21);
    assert_eq!(speed * 1024.0 / (number(7).abs() + number(9).abs()), 64.0);
    assert_eq!(2.0 * 8192.0 / (number(23) - number(25)), 1.0);
}

#[test]
fn what_games_write_is_understood() {
    let mut pad = DualSense::new([0; 6]);
    let mut report = [0; 63];
    report[0] = OUTPUT;
    (report[MOTOR_RIGHT], report[MOTOR_LEFT]) = (0x20, 0xff);
    report[TRIGGER_RIGHT..TRIGGER_RIGHT + 11].copy_from_slice(&[0x21, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    report[TRIGGER_LEFT] = 0x26;
    report[LIGHT..LIGHT + 3].copy_from_slice(&[1, 2, 3]);
    let mut said = |report: &[u8]| {
        let mut said = Vec::new();
        pad.output(report, &mut |feedback| said.push(feedback));
        said
    };
    assert_eq!(said(&report), [], "nothing is marked as valid");
    let rumble = DeviceFeedback::Rumble { low_frequency: 0xffff, high_frequency: 0x2020 };
    report[FLAGS_2] = 0x04;
    assert_eq!(said(&report), [rumble]);
    report[FLAGS_2] = 0;
    report[FLAGS_0] = 0x03 | 0x04;
    report[FLAGS_1] = 0x04;
    let right = Some((0x21, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]));
    let triggers = DeviceFeedback::Triggers(TriggerEffects { right, left: None });
    assert_eq!(said(&report), [rumble, triggers, DeviceFeedback::Led([1, 2, 3])]);
    report[FLAGS_0] = 0x08;
    report[FLAGS_1] = 0;
    let left = Some((0x26, [0; 10]));
    assert_eq!(said(&report), [DeviceFeedback::Triggers(TriggerEffects { left, right: None })]);
    // SDL marks the motors while they run, and nothing when they are to stop.
    assert_eq!(said(&[OUTPUT, 0x03, 0, 0xff, 0xff].into_iter().chain([0; 43]).collect::<Vec<_>>()).len(), 1);
    let stopped = DeviceFeedback::Rumble { low_frequency: 0, high_frequency: 0 };
    assert_eq!(said(&[OUTPUT].into_iter().chain([0; 47]).collect::<Vec<_>>()), [stopped]);
    assert_eq!(said(&report[..47]), [], "too short");
    assert_eq!(said(&[]), []);
}

proptest! {
    #[test]
    fn no_bytes_of_games_do_harm(data in prop::collection::vec(any::<u8>(), 0..80), id in 0u8..6, valid: bool) {
        let mut data = data;
        if valid && let Some(first) = data.first_mut() {
            *first = id;
        }
        crate::pads::fuzz::output(&data);
    }

    #[test]
    fn any_state_fits(buttons: u32, sticks: [i16; 4], samples: [f32; 6], finger in (0u8..128, 0.0f32..=1.0, 0.0f32..=1.0)) {
        let [a, b, c, d] = sticks;
        let [x, y, z, u, v, w] = samples;
        let report = PadReport {
            buttons: Buttons::from_bits(buttons),
            left_stick: (a, b),
            right_stick: (c, d),
            gyroscope: [x, y, z],
            accelerometer: [u, v, w],
            fingers: [None, Some(Finger { id: finger.0, x: finger.1, y: finger.2 })],
            ..PadReport::default()
        };
        let bytes = DualSense::new([0; 6]).input(&report, Timestamp::default());
        prop_assert!(bytes[8] & 0x0f <= 8);
        let [_, low, mixed, high] = [bytes[37], bytes[38], bytes[39], bytes[40]];
        prop_assert!(u16::from(low) | u16::from(mixed & 0x0f) << 8 < 1920);
        prop_assert!(u16::from(mixed >> 4) | u16::from(high) << 4 < 1080);
    }
}
