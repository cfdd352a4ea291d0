//! Lumen's own headless compositor.
//!
//! [`BuiltinDisplay`] is a [`lumen_media::VirtualDisplay`] that needs nothing of the machine: no GPU, no D-Bus, no seat,
//! no other program. Each output is one thread with its own Wayland socket; the app that is started with the output's
//! environment opens there. It composes at the moment a client commits, at most at the output's rate, straight into
//! the buffer that the conversion reads (`docs/design/compositor.md` draws the frame clock).
#![deny(unsafe_code)]
#![deny(missing_docs)]

mod client;
mod compose;
mod cursor;
mod desk;
mod display;
mod frame_clock;
mod handlers;
mod input;
mod keyboard;
mod pool;
mod seat;
mod shared;
mod socket;
mod state;
#[allow(unsafe_code, reason = "pixman draws into memory that other threads read")]
mod sys;
mod tablet;
mod text;
mod thread;

pub use display::{BuiltinConfig, BuiltinDisplay};
pub use socket::cleanup_stale;
