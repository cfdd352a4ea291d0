//! The test card: what it draws, and how to read it back from a picture that went through a lossy codec.
//!
//! * [`code`]: a block of black and white cells with a frame counter and the time of drawing.
//! * [`bars`]: eight colour bars and the check of their colours.
//! * [`card`]: whole frames in three styles, as the client of the same name shows them.
//! * [`picture`]: decoded pictures (PPM, PGM, planes) as the two readers take them.
//!
//! Where the block and the bars lie follows from the size of the picture alone, so a reader needs nothing else.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod bars;
pub mod card;
pub mod code;
pub mod picture;

/// A rectangle in pixels; the origin is the picture's top left corner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

/// CLOCK_MONOTONIC in nanoseconds: the clock of every time code and of the input log.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
