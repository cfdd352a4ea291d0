//! Video stream (protocol text §6).
use std::time::Duration;

use crate::clock::Time;

/// `frameType` of the frame header (protocol text §6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameType {
    /// 1.
    Predicted,
    /// 2 (or 104 of old hosts).
    Idr,
    /// 4: a refresh wave completes here.
    IntraRefresh,
    /// 5: first frame after reference invalidation.
    AfterInvalidation,
    /// Anything else.
    Other(u8),
}

/// A complete frame, as the decoder gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// `frameIndex`, from 1.
    pub index: u32,
    /// Type in the frame header.
    pub kind: FrameType,
    /// Codec data without padding.
    pub data: Vec<u8>,
    /// 90 kHz RTP timestamp.
    pub rtp_timestamp: u32,
    /// Host processing latency; `None` when the host did not measure it.
    pub host_latency: Option<Duration>,
    /// Arrival of the frame's first packet.
    pub first_packet: Time,
    /// Arrival of the packet that completed the frame.
    pub complete: Time,
    /// Datagrams of the frame that arrived before it was complete.
    pub packets: u32,
    /// Data shards that had to be recovered.
    pub recovered: u32,
    /// FEC blocks.
    pub blocks: u8,
    /// extraFlags 0x01.
    pub long_term_candidate: bool,
}

/// Counters of the video stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VideoStatistics {
    /// Frames handed out.
    pub frames: u64,
    /// Of these, frames that needed parity.
    pub frames_recovered: u64,
    /// Frames lost on the network (unrecoverable or never seen).
    pub frames_lost: u64,
    /// Complete frames thrown away while waiting for a recovery point.
    pub frames_discarded: u64,
    /// IDR frames handed out.
    pub idr_frames: u64,
    /// Data shards brought back by parity.
    pub shards_recovered: u64,
    /// Datagrams of any kind.
    pub datagrams: u64,
    /// Their UDP payload bytes.
    pub bytes: u64,
    /// Datagrams that came again.
    pub duplicates: u64,
    /// Datagrams behind one with a higher sequence number.
    pub out_of_order: u64,
    /// Datagrams of frames already done with.
    pub stale: u64,
    /// Datagrams that failed decryption or were no video packet.
    pub rejected: u64,
    /// Violations, also those beyond the bounded list.
    pub violations: u64,
    /// Pings sent by the driver.
    pub pings: u64,
}

/// Something the host did that the text does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Frame it belongs to, 0 when unknown.
    pub frame: u32,
    /// The rule.
    pub rule: Rule,
    /// Values seen.
    pub detail: String,
}

/// Rules of the text, each with its section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// §6.2: UDP payload is packetSize + 16 (+ 32 when encrypted).
    DatagramLength,
}
