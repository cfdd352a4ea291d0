//! The two session descriptions of the handshake: what the host offers (DESCRIBE, protocol text §5.5) and what the
//! client chose (ANNOUNCE, §5.6).

mod announce;
mod describe;

pub use announce::{
    AudioParameters, AudioQuality, ColourSpace, ColourWish, ControlEncryption, SdpError, StreamParameters,
    VideoCodec,
};
pub use describe::HostFeatures;

use std::ops::BitOr;

/// Which streams are encrypted, as the three `x-ss-general.encryption…` attributes count them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Encryption(u32);

impl Encryption {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Control with the v2 nonces. Always to be offered: the legacy nonces repeat.
    pub const CONTROL_V2: Self = Self(0x1);
    /// Video.
    pub const VIDEO: Self = Self(0x2);
    /// Audio.
    pub const AUDIO: Self = Self(0x4);
    /// All of them.
    pub const ALL: Self = Self(0x7);

    /// From the number on the wire; unknown bits are dropped.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// The number on the wire.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all of `other` is in it.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Encryption {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What a client says it can do (`x-ml-general.featureFlags`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientFeatures(u32);

impl ClientFeatures {
    /// It reports the state of FEC blocks (control message 0x5502).
    pub const FEC_STATUS: Self = Self(0x1);
    /// It sends the ping payload and the connect data it was given; without this, streams are matched by address.
    pub const SESSION_ID: Self = Self(0x2);

    /// From the number on the wire.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Whether all of `other` is in it.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

#[cfg(test)]
pub(crate) mod tests;
