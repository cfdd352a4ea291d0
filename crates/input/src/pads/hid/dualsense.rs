//! The PlayStation 5 gamepad as it speaks over USB.

use super::super::feedback::DeviceFeedback;
use super::super::report::PadReport;
use super::descriptor::Descriptor;
use super::{Identity, Model, REPORT, playstation};
use lumen_gamestream::control::TriggerEffects;
use lumen_gamestream::input::{BatteryState, Buttons};
use lumen_media::Timestamp;

const INPUT: u8 = 0x01;
const OUTPUT: u8 = 0x02;
/// Content of an output report, its id not counted.
const OUTPUT_LENGTH: usize = 47;
const CALIBRATION: u8 = 0x05;
const PAIRING: u8 = 0x09;
const FIRMWARE: u8 = 0x20;
const TOUCH_HEIGHT: f32 = 1080.0;

// In an output report, its id counted.
const FLAGS_0: usize = 1;
const FLAGS_1: usize = 2;
const MOTOR_RIGHT: usize = 3;
const MOTOR_LEFT: usize = 4;
const TRIGGER_RIGHT: usize = 11;
const TRIGGER_LEFT: usize = 22;
const FLAGS_2: usize = 39;
const LIGHT: usize = 45;

/// One DualSense.
pub struct DualSense {
    address: [u8; 6],
    sequence: u8,
}

impl DualSense {
    /// With this address.
    pub fn new(address: [u8; 6]) -> Self {
        Self { address, sequence: 0 }
    }
}

impl Model for DualSense {
    fn identity(&self) -> Identity {
        // Sticks and triggers, a counter, the hat, 15 buttons, what the kernel's driver reads by itself.
        let input = [0x30, 0x31, 0x32, 0x35, 0x33, 0x34]
            .into_iter()
            .fold(Descriptor::gamepad().report(INPUT), Descriptor::usage)
            .to(255)
            .input(6, 8)
            .opaque(0x20, 1, 8)
            .hat()
            .buttons(15)
            .opaque(0x21, 13, 1)
            .opaque(0x22, 52, 8);
        let reports = input
            .output_report(OUTPUT, 0x23, OUTPUT_LENGTH as u8)
            .feature_report(CALIBRATION, 0x33, 40)
            .feature_report(0x08, 0x34, 47)
            .feature_report(PAIRING, 0x24, 19)
            .feature_report(FIRMWARE, 0x26, 63)
            .feature_report(0x22, 0x40, 63);
        Identity {
            name: "Sony Interactive Entertainment DualSense Wireless Controller",
            vendor: 0x054c,
            product: 0x0ce6,
            version: 0x0100,
            descriptor: reports.end(),
        }
    }

    fn input(&mut self, report: &PadReport, now: Timestamp) -> [u8; REPORT] {
        let mut bytes = [0; REPORT];
        bytes[0] = INPUT;
        bytes[1..3].copy_from_slice(&playstation::stick(report.left_stick));
        bytes[3..5].copy_from_slice(&playstation::stick(report.right_stick));
        (bytes[5], bytes[6]) = report.triggers;
        bytes[7] = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        bytes[8] = playstation::hat_and_face(report.buttons);
        bytes[9] = playstation::shoulders(report);
        bytes[10] = playstation::bits(report.buttons, [Buttons::HOME, Buttons::TOUCHPAD, Buttons::MISC]);
        bytes[16..28].copy_from_slice(&playstation::motion(report));
        // A third of a microsecond; wraps every 24 minutes, as the real one does.
        let clock = (now.as_nanos() / 1000 * 3) as u32;
        bytes[28..32].copy_from_slice(&clock.to_le_bytes());
        bytes[33..41].copy_from_slice(&playstation::touch(report, TOUCH_HEIGHT));
        let (state, percent) = report.battery;
        let charging = match state {
            BatteryState::Discharging => 0x00,
            BatteryState::Charging => 0x10,
            BatteryState::NotCharging if percent.is_some_and(|percent| percent < 100) => 0x10,
            _ => 0x20,
        };
        bytes[53] = playstation::charge(report.battery) | charging;
        // USB carries data, and power unless the battery drains.
        bytes[54] = if playstation::on_cable(state) { 0x18 } else { 0x08 };
        bytes
    }

    fn feature(&self, id: u8) -> Option<Vec<u8>> {
        match id {
            CALIBRATION => Some(playstation::calibration(CALIBRATION, 41)),
            PAIRING => Some(playstation::pairing(PAIRING, 20, self.address)),
            FIRMWARE => {
                let mut report = vec![0; 64];
                report[0] = FIRMWARE;
                report[1..20].copy_from_slice(b"Jul  4 202310:10:10");
                report[24..28].copy_from_slice(&0x0100_0208_u32.to_le_bytes());
                report[28..32].copy_from_slice(&0x0110_0034_u32.to_le_bytes());
                // From 2.21 on drivers use the newer way to say how strong the motors shall be.
                report[44..46].copy_from_slice(&0x0224_u16.to_le_bytes());
                Some(report)
            }
            _ => None,
        }
    }

    fn output(&mut self, report: &[u8], feedback: &mut dyn FnMut(DeviceFeedback)) {
        let Some(report) = report.get(..=OUTPUT_LENGTH).filter(|report| report[0] == OUTPUT) else { return };
        let (flags_0, flags_1, flags_2) = (report[FLAGS_0], report[FLAGS_1], report[FLAGS_2]);
        let motors = report[MOTOR_LEFT] | report[MOTOR_RIGHT];
        // SDL, which Steam and many games use, stops the motors so: the gamepad's own haptics are to have their turn.
        let stops = flags_0 | flags_1 | motors == 0;
        // Either of the two ways, or haptics off.
        if flags_0 & 0x03 != 0 || flags_2 & 0x04 != 0 || stops {
            feedback(DeviceFeedback::Rumble {
                low_frequency: playstation::strength(report[MOTOR_LEFT]),
                high_frequency: playstation::strength(report[MOTOR_RIGHT]),
            });
        }
        let trigger = |valid: u8, at: usize| {
            (flags_0 & valid != 0).then(|| playstation::effect(&report[at..])).flatten()
        };
        let effects =
            TriggerEffects { right: trigger(0x04, TRIGGER_RIGHT), left: trigger(0x08, TRIGGER_LEFT) };
        if playstation::any(&effects) {
            feedback(DeviceFeedback::Triggers(effects));
        }
        if flags_1 & 0x04 != 0 {
            feedback(DeviceFeedback::Led([report[LIGHT], report[LIGHT + 1], report[LIGHT + 2]]));
        }
    }
}

#[cfg(test)]
#[path = "dualsense_tests.rs"]
mod tests;
