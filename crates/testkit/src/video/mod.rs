//! Video stream (protocol text §6): datagrams in, frames and requests to the host out.
use std::time::Duration;

use crate::clock::Time;

pub mod bitstream;
pub mod crypt;
mod depacketizer;
mod packet;
mod report;

pub use depacketizer::{Depacketizer, Event, Settings};
pub use packet::Header;
pub use report::FecReport;

#[cfg(test)]
pub(crate) mod reference;
#[cfg(test)]
pub(crate) mod tests;

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
    /// Data shards of frames already done with.
    pub stale: u64,
    /// Parity that came after its block was complete, as most does.
    pub surplus_parity: u64,
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
    /// §6.9: the datagram does not decrypt.
    Authentication,
    /// §6.9: the IV is a counter, zeros and 'V', one per datagram, never used twice.
    Iv,
    /// §6.9: the clear frame number equals the frame index inside.
    ClearFrameNumber,
    /// §6.2: RTP byte 0x90, payload type 0, ssrc and reserved bytes zero.
    RtpHeader,
    /// §6.2: the first sequence number is below 0x8000.
    StartSequence,
    /// §6.2: sequence numbers run on without a gap over data and parity, and follow the shard index.
    Sequence,
    /// §6.2: streamPacketIndex is the packet counter shifted by 8, contiguous within a block.
    StreamPacketIndex,
    /// §6.2: frame indices start at 1.
    FrameIndex,
    /// §6.2: start, end and picture flags stand on the right shards.
    Flags,
    /// §6.2: multiFecFlags 0x10 and a block index not above the last.
    MultiFec,
    /// §6.2, §6.6: D ≥ 1, D + P ≤ 255, shard index below D + P, same shape in the whole block.
    FecInfo,
    /// §6.6: at least minRequiredFecPackets parity shards when there are any.
    MinimumParity,
    /// §6.7: blocks 0…B−2 have ceil(C/B) data shards, the last one the rest.
    BlockSplit,
    /// §6.5: parity does not give back the shard it covers.
    Parity,
    /// §6.4: header type 0x01, reserved bytes zero, a known frame type.
    FrameHeader,
    /// §6.4: lastPayloadLen says where the frame ends in its last packet.
    LastPayloadLength,
    /// §6.3: padding of the last packet is zero.
    Padding,
    /// §6.4: host latency above one second is no measurement.
    Latency,
    /// §6.12: one timestamp per frame, never going back.
    Timestamp,
    /// §6.10: the first frame is an IDR.
    FirstFrame,
    /// §6.4, §6.11: the frame type says IDR if and only if the bitstream does.
    FrameType,
    /// §6.11: parameter sets lie inside the first packet.
    FirstPacket,
    /// §6.11: framing, order and kinds of NAL units or OBUs.
    Bitstream,
    /// §8.2: a control packet that is no valid encrypted frame.
    ControlFrame,
}
