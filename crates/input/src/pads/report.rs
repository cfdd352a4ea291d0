//! Everything that a gamepad can say at one moment, whatever it is.

use lumen_gamestream::input::{BatteryState, Buttons, ControllerState};

/// Fingers that a touchpad tells apart.
pub const FINGERS: usize = 2;

/// The whole state of a gamepad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PadReport {
    /// Buttons held.
    pub buttons: Buttons,
    /// Left and right, 0 to 255.
    pub triggers: (u8, u8),
    /// x, y; positive is right and up.
    pub left_stick: (i16, i16),
    /// x, y; positive is right and up.
    pub right_stick: (i16, i16),
    /// Fingers on the touchpad.
    pub fingers: [Option<Finger>; FINGERS],
    /// Degrees per second about x (right), y (up), z (toward the player).
    pub gyroscope: [f32; 3],
    /// m/s² along x, y, z; a gamepad that lies still has gravity in y.
    pub accelerometer: [f32; 3],
    /// What the battery does, and its charge in per cent when known.
    pub battery: (BatteryState, Option<u8>),
}

/// A finger on a touchpad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finger {
    /// Another number for every touch, 0 to 127.
    pub id: u8,
    /// 0 (left) to 1.
    pub x: f32,
    /// 0 (top) to 1.
    pub y: f32,
}

/// Gravity in m/s².
pub const GRAVITY: f32 = 9.806_65;

impl Default for PadReport {
    /// Untouched, lying still.
    fn default() -> Self {
        Self {
            buttons: Buttons::default(),
            triggers: (0, 0),
            left_stick: (0, 0),
            right_stick: (0, 0),
            fingers: [None; FINGERS],
            gyroscope: [0.0; 3],
            accelerometer: [0.0, GRAVITY, 0.0],
            battery: (BatteryState::Unknown, None),
        }
    }
}

impl PadReport {
    /// Takes over what a state packet says.
    pub(super) fn take(&mut self, state: &ControllerState) {
        self.buttons = state.buttons;
        self.triggers = (state.left_trigger, state.right_trigger);
        self.left_stick = state.left_stick;
        self.right_stick = state.right_stick;
    }

    /// Lets go of everything; what the battery said stays.
    pub(super) fn release(&mut self) {
        *self = Self { battery: self.battery, ..Self::default() };
    }
}

/// A stick's value upside down: up is positive on the wire and negative in Linux and HID.
pub(super) fn flipped(value: i16) -> i16 {
    value.checked_neg().unwrap_or(i16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_value_flips_to_the_highest() {
        assert_eq!([i16::MIN, -1, 0, 1, i16::MAX].map(flipped), [i16::MAX, 1, 0, -1, -i16::MAX]);
    }
}
