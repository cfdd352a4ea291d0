//! Gamepads: the client's packets become devices that games find, and what games write to those goes back to the client
//! (`docs/design/pads.md`).
//!
//! [`Pads`] is a client's set of gamepads with the thread that serves them. [`PadInput`] is what its connection writes
//! packets into, from a thread that must not wait.

mod feedback;
mod hid;
mod inbox;
mod kind;
mod manager;
mod plugs;
mod presence;
mod report;
mod rumble;
mod uinput;
mod worker;

pub use feedback::{DeviceFeedback, MOTION_RATE_HZ};
pub use inbox::PadInput;
pub use kind::{PadChoice, PadKind};
pub use manager::{Devices, MAX_PADS, Manager, PadCounts, PadPacket};
pub use plugs::{Access, access};
pub use presence::{PadView, PlugError, Plugged};
pub use report::{Finger, PadReport};
pub use worker::{Pads, PadsConfig};

/// How a device says whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PadMark {
    /// Where it is plugged in: `lumen/HOST/CLIENT/NUMBER`, 63 characters at most.
    pub phys: String,
    /// What makes it unlike all others. The driver of PlayStation gamepads replaces it by their address.
    pub unique: String,
}

impl PadMark {
    /// Of one gamepad of a client.
    pub fn new(owner: &str, number: u8) -> Self {
        let owner: String = owner.chars().filter(|c| c.is_ascii_graphic()).take(48).collect();
        let phys = format!("lumen/{owner}/{number}");
        Self { unique: phys.clone(), phys }
    }
}

#[doc(hidden)]
pub mod fuzz;
