//! The control stream's messages and how they are sealed (protocol text §8). ENet, which carries them, is not here.

mod cipher;
mod client;
mod host;

pub use cipher::ControlCipher;
pub use client::{ClientMessage, FecStatus, LossStats};
pub use host::{HdrMetadata, HostMessage, MotionSensor, Termination, TriggerEffects};

use crate::input::InputError;

/// Why a frame from a client was dropped. Never a reason to disconnect; count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// Not the outer type of a sealed frame.
    #[error("the frame is not sealed")]
    NotSealed,
    /// A length field does not fit the bytes.
    #[error("a length does not fit the frame")]
    Length,
    /// The tag does not fit: a burst of these means the key of an older launch.
    #[error("the frame does not open with this session's key")]
    Tag,
    /// A sequence number that was already used, or is too old to tell.
    #[error("the frame was replayed")]
    Replayed,
    /// The payload of a known message is too short.
    #[error("the payload of message {0:#06x} is too short")]
    Short(u16),
    /// The input packet inside was refused.
    #[error("input: {0}")]
    Input(#[from] InputError),
}

#[cfg(test)]
mod tests;
