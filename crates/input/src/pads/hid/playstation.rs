//! What both PlayStation gamepads have in common: how values become bytes.

use super::super::report::{FINGERS, GRAVITY, PadReport, flipped};
use lumen_gamestream::control::TriggerEffects;
use lumen_gamestream::input::{BatteryState, Buttons};

/// Width of the touchpad in its own units.
pub const TOUCH_WIDTH: f32 = 1920.0;
/// Raw units of a degree per second, and of standard gravity: what our calibration says.
const GYRO_UNITS: f32 = 16.0;
const GRAVITY_UNITS: f32 = 8192.0;

/// The calibration that goes with those units; `SPEED` degrees per second were measured as ±`GYRO_AT_SPEED`.
const SPEED: i16 = 540;
const GYRO_AT_SPEED: i16 = SPEED * GYRO_UNITS as i16;
const ONE_G: i16 = GRAVITY_UNITS as i16;

/// Fills a calibration report of 17 little-endian numbers behind its id: three biases, plus and minus of each gyroscope
/// axis, its speed both ways, plus and minus of each accelerometer axis.
pub fn calibration(id: u8, length: usize) -> Vec<u8> {
    let numbers: [i16; 17] = [
        0,
        0,
        0,
        GYRO_AT_SPEED,
        -GYRO_AT_SPEED,
        GYRO_AT_SPEED,
        -GYRO_AT_SPEED,
        GYRO_AT_SPEED,
        -GYRO_AT_SPEED,
        SPEED,
        SPEED,
        ONE_G,
        -ONE_G,
        ONE_G,
        -ONE_G,
        ONE_G,
        -ONE_G,
    ];
    let mut report = vec![id];
    report.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    report.resize(length, 0);
    report
}

/// The pairing report: its id, then the address with its last byte first.
pub fn pairing(id: u8, length: usize, address: [u8; 6]) -> Vec<u8> {
    let mut report = vec![id];
    report.extend(address.iter().rev());
    report.resize(length, 0);
    report
}

/// A stick's axis as a byte, 128 in the middle.
pub fn stick((x, y): (i16, i16)) -> [u8; 2] {
    let byte = |value: i16| ((i32::from(value) + 0x8000) >> 8) as u8;
    [byte(x), byte(flipped(y))]
}

/// Direction and the four buttons: square, cross, circle, triangle are the wire's X, A, B, Y.
pub fn hat_and_face(buttons: Buttons) -> u8 {
    let held = |button| buttons.contains(button);
    let (vertical, horizontal) = (
        i8::from(held(Buttons::DOWN)) - i8::from(held(Buttons::UP)),
        i8::from(held(Buttons::RIGHT)) - i8::from(held(Buttons::LEFT)),
    );
    let hat = match (horizontal, vertical) {
        (0, -1) => 0,
        (1, -1) => 1,
        (1, 0) => 2,
        (1, 1) => 3,
        (0, 1) => 4,
        (-1, 1) => 5,
        (-1, 0) => 6,
        (-1, -1) => 7,
        _ => 8,
    };
    hat | bits(buttons, [Buttons::X, Buttons::A, Buttons::B, Buttons::Y]) << 4
}

/// The eight buttons of the second byte. Triggers count as pressed as soon as they move.
pub fn shoulders(report: &PadReport) -> u8 {
    bits(report.buttons, [Buttons::LEFT_SHOULDER, Buttons::RIGHT_SHOULDER])
        | u8::from(report.triggers.0 > 0) << 2
        | u8::from(report.triggers.1 > 0) << 3
        | bits(report.buttons, [Buttons::BACK, Buttons::START, Buttons::LEFT_STICK, Buttons::RIGHT_STICK])
            << 4
}

/// One bit per button, the first one lowest.
pub fn bits<const N: usize>(buttons: Buttons, order: [Buttons; N]) -> u8 {
    order.iter().enumerate().fold(0, |bits, (at, button)| bits | u8::from(buttons.contains(*button)) << at)
}

/// Gyroscope, then accelerometer.
pub fn motion(report: &PadReport) -> [u8; 12] {
    let mut bytes = [0; 12];
    let gyroscope = report.gyroscope.map(|value| value * GYRO_UNITS);
    let accelerometer = report.accelerometer.map(|value| value / GRAVITY * GRAVITY_UNITS);
    for (at, value) in gyroscope.into_iter().chain(accelerometer).enumerate() {
        // Saturates.
        bytes[2 * at..2 * at + 2].copy_from_slice(&(value.round() as i16).to_le_bytes());
    }
    bytes
}

/// The two fingers of a touchpad of that height: a number with the top bit set while there is none, and two times 12 bits.
pub fn touch(report: &PadReport, height: f32) -> [u8; 4 * FINGERS] {
    let mut bytes = [0; 4 * FINGERS];
    for (finger, bytes) in report.fingers.iter().zip(bytes.chunks_exact_mut(4)) {
        let Some(finger) = finger else {
            bytes[0] = 0x80;
            continue;
        };
        let x = (finger.x * (TOUCH_WIDTH - 1.0)).round() as u16;
        let y = (finger.y * (height - 1.0)).round() as u16;
        bytes[0] = finger.id & 0x7f;
        bytes[1] = x as u8;
        bytes[2] = (x >> 8) as u8 & 0x0f | (y as u8 & 0x0f) << 4;
        bytes[3] = (y >> 4) as u8;
    }
    bytes
}

/// The charge in tenths, 0 to 10; full when nobody knows, so that no warning appears.
pub fn charge(battery: (BatteryState, Option<u8>)) -> u8 {
    match battery {
        (BatteryState::Full, _) | (_, None) => 10,
        (_, Some(percent)) => (percent / 10).min(10),
    }
}

/// Whether it hangs on a cable as far as games need to know.
pub fn on_cable(state: BatteryState) -> bool {
    !matches!(state, BatteryState::Discharging)
}

/// A motor's byte as the 16 bits of the wire.
pub fn strength(byte: u8) -> u16 {
    u16::from(byte) * 0x101
}

/// A trigger effect: its type and ten parameters, out of 11 bytes.
pub fn effect(bytes: &[u8]) -> Option<(u8, [u8; 10])> {
    let (kind, parameters) = bytes.split_first()?;
    Some((*kind, *parameters.first_chunk()?))
}

/// Whether any trigger has an effect.
pub fn any(effects: &TriggerEffects) -> bool {
    effects.left.is_some() || effects.right.is_some()
}
