//! A client's input packets as events for a compositor.
//!
//! [`Mapper`] translates Windows key codes, buttons, motion, wheel, text, touch and pen (protocol text §9.2, §9.5),
//! hands [`InputEvent`](lumen_media::InputEvent)s to an [`InputSink`](lumen_media::InputSink) and remembers what is held
//! down, so that nothing stays pressed when the client goes away. Gamepads are not its business: [`pads`] makes devices of
//! the kernel of them.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod contacts;
mod fake_input;
mod finger;
mod keyboard;
pub mod keymap;
mod kwin;
mod libei;
mod mapper;
pub mod pads;
mod protocol;
mod sink;
mod wlroots;

pub use kwin::{KwinTarget, kwin};
pub use libei::{Beyond, LibeiTarget, Place, Socket, Typist, libei};
pub use mapper::{Accept, Dropped, Mapper};
pub use sink::InputError;
pub use wlroots::{WlrootsOutput, WlrootsTarget, wlroots};
