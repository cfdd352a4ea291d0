//! Audio: Opus layouts, packets, FEC and encryption (protocol text §7.1–7.4).
//!
//! An [`AudioPacketizer`] turns each Opus packet into a datagram, and every fourth into three: the last two carry parity.

mod crypt;
mod layout;
mod packetizer;

pub use crypt::{AudioKey, audio_iv};
pub use layout::{OpusLayout, PacketDuration, Quality, SurroundParams};
pub use packetizer::{AudioPacketizer, AudioPackets, MAX_DATAGRAM, MAX_OPUS, PayloadTooLarge};
