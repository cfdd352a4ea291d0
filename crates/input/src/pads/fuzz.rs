//! Bodies of the fuzz targets, here so that every build checks them.

use super::feedback::DeviceFeedback;
use super::hid::Model;
use super::hid::dualsense::DualSense;
use super::hid::dualshock4::DualShock4;
use super::hid::uhid;

/// What a program that opens a gamepad can write, and what the kernel would hand on.
pub fn output(data: &[u8]) {
    let models: [Box<dyn Model>; 2] = [Box::new(DualSense::new([2; 6])), Box::new(DualShock4::new([2; 6]))];
    for mut model in models {
        let mut said = Vec::new();
        model.output(data, &mut |feedback| said.push(feedback));
        assert!(said.len() <= 3);
        for feedback in said {
            if let DeviceFeedback::Rumble { low_frequency, high_frequency } = feedback {
                // A byte of the report, spread over 16 bits.
                assert!(low_frequency % 0x101 == 0 && high_frequency % 0x101 == 0);
            }
        }
        if let Some(id) = data.first() {
            let report = model.feature(*id);
            assert!(report.is_none_or(|report| report[0] == *id && report.len() <= 64));
        }
    }
    let _ = uhid::parse(data);
}
