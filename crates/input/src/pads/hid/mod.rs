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
use std::collections::BTreeSet;
use std::iter;
use std::sync::{Mutex, PoisonError};
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

/// Those of this process's gamepads.
static TAKEN: Mutex<BTreeSet<[u8; 6]>> = Mutex::new(BTreeSet::new());

/// A gamepad's address, which the kernel wants to be unlike all others, in the range of addresses that belong to nobody.
///
/// The kernel's driver passes over a second gamepad with the address of one that is still there, for instance when the
/// client is back before the one of its last stream was pulled out. Nobody else gets it while this exists.
#[derive(Debug)]
pub(super) struct Address([u8; 6]);

impl Address {
    /// Made from the gamepad's mark: games know their gamepads again by it.
    pub(super) fn of(mark: &str) -> Self {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let more = (2..).map(|count| address(&format!("{mark}/{count}")));
        let free = iter::once(address(mark)).chain(more).find(|address| taken.insert(*address));
        Self(free.expect("no end of candidates"))
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> [u8; 6] {
        self.0
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        TAKEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

fn address(mark: &str) -> [u8; 6] {
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

    #[test]
    fn a_gamepad_that_is_back_early_gets_another_address() {
        let first = Address::of("lumen/a/b/0");
        let [second, third] = [Address::of("lumen/a/b/0"), Address::of("lumen/a/b/0")];
        assert!(first.0 != second.0 && second.0 != third.0 && third.0 != first.0);
        let usual = first.bytes();
        drop((first, second, third));
        assert_eq!(Address::of("lumen/a/b/0").bytes(), usual);
    }
}
