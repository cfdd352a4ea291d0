//! Codecs and what comes out of an encoder.

use crate::Timestamp;
use std::fmt;

/// A video codec of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// H.264, High profile, 4:2:0, 8 bit.
    H264,
    /// HEVC Main.
    Hevc,
    /// AV1 Main, 8 bit.
    Av1,
}

impl Codec {
    /// All codecs, in the order in which they are preferred for software encoding.
    pub const ALL: [Codec; 3] = [Codec::H264, Codec::Hevc, Codec::Av1];
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Codec::H264 => "H.264",
            Codec::Hevc => "HEVC",
            Codec::Av1 => "AV1",
        })
    }
}

/// What a client may do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// References earlier frames.
    Predicted,
    /// Stands alone and carries its parameter sets.
    Idr,
    /// References only frames older than those the client reported lost.
    AfterInvalidation,
}

/// One encoded frame, complete, in Annex B (H.264, HEVC) or as a temporal unit of low-overhead OBUs (AV1).
#[derive(Clone, Debug)]
pub struct AccessUnit {
    /// Encoded bytes.
    pub data: Vec<u8>,
    /// Whether it stands alone.
    pub kind: FrameKind,
    /// When the picture was composed; for a repeat, when the repeat was due.
    pub captured: Timestamp,
    /// Stage times on the way here, for the statistics.
    pub stages: crate::stats::StageTimes,
}
