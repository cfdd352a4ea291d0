//! Sound: what the desktop plays, as Opus packets in their slots.
//!
//! * [`Sound`] is one session's connection to PipeWire, on a thread of its own: the sink made for the session, the streams
//!   that are moved to it and back, the capture. It outlives PipeWire's restarts.
//! * [`Packets`] is the thread that makes packets of what is captured: store, clock drift, gain, encoder. What it does is
//!   in pure parts that know no clock.
//!
//! States, clocks and buffers are drawn in `docs/design/audio.md`.
#![deny(unsafe_code)]
#![deny(missing_docs)]

mod channels;
mod drift;
mod encoder;
mod gain;
mod inbox;
mod jitter;
mod packets;
mod resample;
mod slots;
mod sound;
#[allow(unsafe_code, reason = "speaks to libopus")]
mod sys;

pub use channels::Channels;
pub use encoder::Encoder;
pub use packets::{PacketError, PacketReport, PacketSettings, Packets};
pub use sound::{Capture, SINK_PREFIX, Sound, SoundConfig, SoundReport, Survey, survey};
pub use sys::OpusError;
