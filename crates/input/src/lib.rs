//! A client's input packets as events for a compositor.
//!
//! [`Mapper`] translates Windows key codes, buttons, motion, wheel, text, touch and pen (protocol text §9.2, §9.5),
//! hands [`InputEvent`](lumen_media::InputEvent)s to an [`InputSink`](lumen_media::InputSink) and remembers what is held
//! down, so that nothing stays pressed when the client goes away. Gamepads are not its business: [`pads`] makes devices of
//! the kernel of them.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod contacts;
pub mod keymap;
mod mapper;
pub mod pads;

pub use mapper::{Accept, Dropped, Mapper, Placement};
