//! Where pictures come from when no compositor of ours makes them: PipeWire nodes, the copy protocols of Wayland
//! compositors, a test pattern.
#![deny(unsafe_code)]
#![deny(missing_docs)]

mod open;
mod pipewire;
mod screencopy;
mod test_pattern;

pub use open::{CaptureConfig, CaptureError, open};
pub use screencopy::{CopyProtocol, open_screencopy};
pub use test_pattern::{BARS, TestPattern};
