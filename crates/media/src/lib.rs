//! What every stage of a stream shares: the mode a client asked for, frames and how they travel, colour, clocks, input
//! events and the seams (`VirtualDisplay`, `FrameSource`, `InputSink`) behind which compositors and captures stand.
//!
//! This crate depends on no other crate of Lumen and speaks to no system interface but the monotonic clock.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod clock;
pub mod codec;
pub mod colour;
pub mod display;
pub mod frame;
pub mod input;
pub mod mode;
pub mod pen;
pub mod priority;
pub mod slot;
pub mod stats;

pub use clock::Timestamp;
pub use codec::{AccessUnit, Codec, FrameKind};
pub use colour::{Colour, Matrix, Range};
pub use display::{
    AppLaunch, ContainedApp, DisplayError, FrameSource, NodeTarget, OutputSource, PathReport, PipeWireTarget,
    RateRequest, SourceReport, VirtualDisplay, VirtualOutput, WaylandTarget,
};
pub use frame::{Frame, PixelBuffer, PixelFormat};
pub use input::{InputEvent, InputReport, InputSink, TouchPhase};
pub use mode::{Mode, ModeError};
pub use pen::{Pen, PenContact, PenPointer};
