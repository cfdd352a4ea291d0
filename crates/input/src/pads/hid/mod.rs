//! Gamepads of `/dev/uhid`: we speak the gamepad's own reports, and the kernel's driver for it makes devices of them, with
//! touchpad, motion sensors, light and battery.

pub(super) mod descriptor;
pub(super) mod dualsense;
pub(super) mod dualshock4;
pub(super) mod playstation;
pub mod uhid;

use super::feedback::DeviceFeedback;
use super::report::PadReport;
use lumen_media::Timestamp;
use std::time::Duration;

/// Length of an input report of either PlayStation gamepad over USB, its id included.
pub(super) const REPORT: usize = 64;
/// A real one reports every 4 ms whether something changed or not. A library that many games use takes one that says
/// nothing for 16 ms after opening it for one on Bluetooth, and then speaks another format.
pub(super) const HEARTBEAT: Duration = Duration::from_millis(8);

/// What the kernel is told of a device.
pub(super) struct Identity {
    pub name: &'static str,
    pub vendor: u32,
    pub product: u32,
    pub version: u32,
    pub descriptor: Vec<u8>,
}

/// The format of a gamepad's reports.
pub(super) trait Model: Send {
    /// What the kernel is told.
    fn identity(&self) -> Identity;
    /// The state as an input report, its id first.
    fn input(&mut self, report: &PadReport, now: Timestamp) -> [u8; REPORT];
    /// A feature report, its id first; `None` if there is none with this id.
    fn feature(&self, id: u8) -> Option<Vec<u8>>;
    /// What an output report asks for, its id first. Any program that may open the device writes it, with any bytes.
    fn output(&mut self, report: &[u8], feedback: &mut dyn FnMut(DeviceFeedback));
}

/// A gamepad's address, which the kernel wants to be unlike all others: made from its mark, in the range of addresses that
/// belong to nobody.
pub(super) fn address(mark: &str) -> [u8; 6] {
    // FNV-1a
    let hash = mark
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let [mut first, rest @ .., _, _] = hash.to_be_bytes();
    first = first & 0xfc | 0x02;
    let [a, b, c, d, e] = rest;
    [first, a, b, c, d, e]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_differ_and_are_local() {
        let (a, b) = (address("lumen/1/2/0"), address("lumen/1/2/1"));
        assert_ne!(a, b);
        assert_eq!(a, address("lumen/1/2/0"));
        assert_eq!((a[0] & 3, b[0] & 3), (2, 2));
    }
}
