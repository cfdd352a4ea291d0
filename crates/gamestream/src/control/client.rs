//! What clients say (protocol text §8.4).

use super::ControlError;
use crate::input::InputPacket;

/// A message from the client.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientMessage {
    /// 0x0302: the next frame shall be a key frame. Always the first message of a session.
    RequestIdr,
    /// 0x0307: the second message.
    StartB,
    /// 0x0200: alive, every 100 ms; no reply.
    Ping,
    /// 0x0206.
    Input(InputPacket),
    /// 0x0301: do not reference these frames any more, both inclusive. Ranges may repeat and overlap.
    InvalidateFrames {
        /// First lost frame index.
        first: u32,
        /// Last lost frame index.
        last: u32,
    },
    /// 0x0350: a long-term reference was decoded.
    LongTermAck {
        /// Its frame index.
        frame: u32,
    },
    /// 0x5502: how a FEC block fared; statistics only. (The same number means something else to clients.)
    FecStatus(FecStatus),
    /// 0x0201: loss statistics of older clients.
    LossStats(LossStats),
    /// A type that is not defined; ignore it.
    Unknown {
        /// Its number.
        kind: u16,
    },
}

/// The fate of one FEC block that needed recovery or was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FecStatus {
    /// Frame index.
    pub frame: u32,
    /// Highest RTP sequence number received.
    pub highest_received: u16,
    /// Next sequence number expected without a gap.
    pub next_contiguous: u16,
    /// Packets missing below the highest.
    pub missing: u16,
    /// Data packets of the block.
    pub total_data: u16,
    /// Parity packets of the block.
    pub total_parity: u16,
    /// Data packets received.
    pub received_data: u16,
    /// Parity packets received.
    pub received_parity: u16,
    /// Percentage that the host sent.
    pub fec_percent: u8,
    /// Which block of the frame.
    pub block: u8,
    /// Blocks of the frame.
    pub blocks: u8,
}

/// Loss over an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossStats {
    /// Frames lost.
    pub lost: u32,
    /// Milliseconds that the count covers.
    pub interval_ms: u32,
    /// The last frame that arrived whole.
    pub last_good_frame: u64,
}

impl ClientMessage {
    /// Decodes the opened content of a frame: type, length, payload.
    ///
    /// # Errors
    /// [`ControlError::Length`], [`ControlError::Short`] or [`ControlError::Input`].
    pub fn decode(inner: &[u8]) -> Result<Self, ControlError> {
        let (head, payload) = inner.split_first_chunk::<4>().ok_or(ControlError::Length)?;
        let kind = u16::from_le_bytes([head[0], head[1]]);
        if usize::from(u16::from_le_bytes([head[2], head[3]])) != payload.len() {
            return Err(ControlError::Length);
        }
        let short = ControlError::Short(kind);
        Ok(match kind {
            0x0302 => Self::RequestIdr,
            0x0307 => Self::StartB,
            0x0200 => Self::Ping,
            0x0206 => Self::Input(InputPacket::decode(payload)?),
            0x0301 => Self::InvalidateFrames {
                first: u32_le(payload, 0).ok_or(short)?,
                last: u32_le(payload, 8).ok_or(short)?,
            },
            0x0350 => Self::LongTermAck { frame: u32_le(payload, 0).ok_or(short)? },
            0x5502 => Self::FecStatus(FecStatus::decode(payload).ok_or(short)?),
            0x0201 => Self::LossStats(LossStats::decode(payload).ok_or(short)?),
            kind => Self::Unknown { kind },
        })
    }
}

impl FecStatus {
    /// The one big-endian payload of the stream.
    fn decode(payload: &[u8]) -> Option<Self> {
        let payload = payload.first_chunk::<21>()?;
        let u16_be = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
        Some(Self {
            frame: u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]]),
            highest_received: u16_be(4),
            next_contiguous: u16_be(6),
            missing: u16_be(8),
            total_data: u16_be(10),
            total_parity: u16_be(12),
            received_data: u16_be(14),
            received_parity: u16_be(16),
            fec_percent: payload[18],
            block: payload[19],
            blocks: payload[20],
        })
    }
}

impl LossStats {
    fn decode(payload: &[u8]) -> Option<Self> {
        Some(Self {
            lost: u32_le(payload, 0)?,
            interval_ms: u32_le(payload, 4)?,
            last_good_frame: u64::from(u32_le(payload, 12)?) | u64::from(u32_le(payload, 16)?) << 32,
        })
    }
}

fn u32_le(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
