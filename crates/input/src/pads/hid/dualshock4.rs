//! The PlayStation 4 gamepad (second version) as it speaks over USB.

use super::super::feedback::DeviceFeedback;
use super::super::report::PadReport;
use super::descriptor::{DESKTOP, Descriptor};
use super::{Identity, Model, REPORT, playstation};
use lumen_gamestream::input::{BatteryState, Buttons};
use lumen_media::Timestamp;

const INPUT: u8 = 0x01;
const OUTPUT: u8 = 0x05;
/// Content of an output report, its id not counted.
const OUTPUT_LENGTH: usize = 31;
const CALIBRATION: u8 = 0x02;
const PAIRING: u8 = 0x12;
const FIRMWARE: u8 = 0xa3;
const TOUCH_HEIGHT: f32 = 942.0;

// In an output report, its id counted.
const FLAGS: usize = 1;
const MOTOR_RIGHT: usize = 4;
const MOTOR_LEFT: usize = 5;
const LIGHT: usize = 6;

/// One DualShock 4.
pub struct DualShock4 {
    address: [u8; 6],
    sequence: u8,
}

impl DualShock4 {
    /// With this address.
    pub fn new(address: [u8; 6]) -> Self {
        Self { address, sequence: 0 }
    }
}

impl Model for DualShock4 {
    fn identity(&self) -> Identity {
        // Sticks, the hat, 14 buttons, a counter, triggers, what the kernel's driver reads by itself.
        let input = [0x30, 0x31, 0x32, 0x35]
            .into_iter()
            .fold(Descriptor::gamepad().report(INPUT), Descriptor::usage)
            .to(255)
            .input(4, 8)
            .hat()
            .buttons(14)
            .opaque(0x20, 6, 1)
            .page(DESKTOP)
            .usage(0x33)
            .usage(0x34)
            .to(255)
            .input(2, 8)
            .opaque(0x21, 54, 8);
        let reports = input
            .output_report(OUTPUT, 0x22, OUTPUT_LENGTH as u8)
            .feature_report(CALIBRATION, 0x24, 36)
            .feature_report(PAIRING, 0x25, 15)
            .feature_report(FIRMWARE, 0x26, 48);
        Identity {
            name: "Sony Interactive Entertainment Wireless Controller",
            vendor: 0x054c,
            product: 0x09cc,
            version: 0x0100,
            descriptor: reports.end(),
        }
    }

    fn input(&mut self, report: &PadReport, now: Timestamp) -> [u8; REPORT] {
        let mut bytes = [0; REPORT];
        bytes[0] = INPUT;
        bytes[1..3].copy_from_slice(&playstation::stick(report.left_stick));
        bytes[3..5].copy_from_slice(&playstation::stick(report.right_stick));
        bytes[5] = playstation::hat_and_face(report.buttons);
        bytes[6] = playstation::shoulders(report);
        bytes[7] = playstation::bits(report.buttons, [Buttons::HOME, Buttons::TOUCHPAD]) | self.sequence << 2;
        // It has no button of its own for that one, which some clients send for a click on the touchpad.
        bytes[7] |= playstation::bits(report.buttons, [Buttons::MISC]) << 1;
        self.sequence = self.sequence.wrapping_add(1);
        (bytes[8], bytes[9]) = report.triggers;
        // 16/3 of a microsecond.
        let clock = (now.as_nanos() / 1000 * 3 / 16) as u16;
        bytes[10..12].copy_from_slice(&clock.to_le_bytes());
        bytes[13..25].copy_from_slice(&playstation::motion(report));
        let (state, _) = report.battery;
        let cable = u8::from(playstation::on_cable(state)) << 4;
        // On a cable 11 is full and 10 nearly so.
        let full =
            u8::from(matches!(state, BatteryState::Full | BatteryState::Unknown | BatteryState::Absent));
        bytes[30] = (playstation::charge(report.battery) + full) | cable;
        bytes[33] = 1;
        bytes[34] = (clock >> 8) as u8;
        bytes[35..43].copy_from_slice(&playstation::touch(report, TOUCH_HEIGHT));
        bytes
    }

    fn feature(&self, id: u8) -> Option<Vec<u8>> {
        match id {
            CALIBRATION => Some(playstation::calibration(CALIBRATION, 37)),
            PAIRING => Some(playstation::pairing(PAIRING, 16, self.address)),
            FIRMWARE => {
                let mut report = vec![0; 49];
                report[0] = FIRMWARE;
                report[1..12].copy_from_slice(b"Sep 21 2018");
                report[17..25].copy_from_slice(b"04:50:51");
                report[35..37].copy_from_slice(&0xb400_u16.to_le_bytes());
                report[41..43].copy_from_slice(&0xa00b_u16.to_le_bytes());
                Some(report)
            }
            _ => None,
        }
    }

    fn output(&mut self, report: &[u8], feedback: &mut dyn FnMut(DeviceFeedback)) {
        let Some(report) = report.get(..=OUTPUT_LENGTH).filter(|report| report[0] == OUTPUT) else { return };
        if report[FLAGS] & 0x01 != 0 {
            feedback(DeviceFeedback::Rumble {
                low_frequency: playstation::strength(report[MOTOR_LEFT]),
                high_frequency: playstation::strength(report[MOTOR_RIGHT]),
            });
        }
        if report[FLAGS] & 0x02 != 0 {
            feedback(DeviceFeedback::Led([report[LIGHT], report[LIGHT + 1], report[LIGHT + 2]]));
        }
    }
}

#[cfg(test)]
#[path = "dualshock4_tests.rs"]
mod tests;
