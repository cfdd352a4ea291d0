//! A frame put together from its blocks (protocol text §6.3, §6.4, §6.7).
use std::time::Duration;

use super::block::Block;
use crate::clock::Time;
use crate::video::packet::{HEADER_LENGTH, Header};
use crate::video::{Frame, FrameType, Rule};

/// Short frame header.
const FRAME_HEADER: usize = 8;
/// Host latency beyond this is no measurement: one second, in 0.1 ms.
const LATENCY_LIMIT: u16 = 10_000;

/// Blocks of a frame so far.
#[derive(Debug)]
pub(super) struct Assembly {
    /// Timestamp of the frame's first packet.
    pub timestamp: u32,
    /// Index of the frame's last block.
    pub last_block: u8,
    /// Packets received.
    pub packets: u32,
    first_packet: Time,
    recovered: u32,
    long_term_candidate: bool,
    /// Payloads of all data shards.
    payload: Vec<u8>,
    /// Data shards per block.
    block_sizes: Vec<usize>,
}

impl Assembly {
    /// Begins with the frame's first packet.
    pub fn new(header: &Header, now: Time) -> Self {
        Assembly {
            timestamp: header.timestamp,
            last_block: header.last_block,
            packets: 0,
            first_packet: now,
            recovered: 0,
            long_term_candidate: false,
            payload: Vec::new(),
            block_sizes: Vec::new(),
        }
    }

    /// Adds a finished block.
    pub fn append(&mut self, block: &Block, recovered: usize) {
        self.recovered += recovered as u32;
        self.block_sizes.push(block.header.data_shards);
        for shard in block.data() {
            self.long_term_candidate |= shard[25] & 1 != 0;
            self.payload.extend_from_slice(&shard[HEADER_LENGTH..]);
        }
    }

    /// The frame and how many bytes of its data were in the first packet. `None` when a client could not use it.
    pub fn into_frame(
        self,
        index: u32,
        chunk: usize,
        now: Time,
        problems: &mut Vec<(Rule, String)>,
    ) -> Option<(Frame, usize)> {
        self.check_split(problems);
        let header: [u8; FRAME_HEADER] = *self.payload.first_chunk()?;
        if header[0] != 0x01 || header[6..] != [0, 0] {
            problems.push((Rule::FrameHeader, format!("header {}", hex::encode(header))));
            if header[0] != 0x01 {
                return None;
            }
        }
        let latency = u16::from_le_bytes([header[1], header[2]]);
        if latency > LATENCY_LIMIT {
            problems.push((Rule::Latency, format!("{latency} tenths of a millisecond")));
        }
        let kind = match header[3] {
            1 => FrameType::Predicted,
            2 | 104 => FrameType::Idr,
            4 => FrameType::IntraRefresh,
            5 => FrameType::AfterInvalidation,
            other => FrameType::Other(other),
        };
        if matches!(kind, FrameType::Other(_)) || header[3] == 104 {
            problems.push((Rule::FrameHeader, format!("frame type {}", header[3])));
        }
        let end = self.end(usize::from(u16::from_le_bytes([header[4], header[5]])), chunk, problems);
        if self.payload[end..].iter().any(|&byte| byte != 0) {
            problems.push((Rule::Padding, "bytes other than zero behind the frame's end".to_owned()));
        }
        let first_length = chunk.min(end) - FRAME_HEADER;
        let mut data = self.payload;
        data.truncate(end);
        data.drain(..FRAME_HEADER);
        let frame = Frame {
            index,
            kind,
            data,
            rtp_timestamp: self.timestamp,
            host_latency: (latency != 0).then(|| Duration::from_micros(u64::from(latency) * 100)),
            first_packet: self.first_packet,
            complete: now,
            packets: self.packets,
            recovered: self.recovered,
            blocks: self.last_block + 1,
            long_term_candidate: self.long_term_candidate,
        };
        Some((frame, first_length))
    }

    /// End of the frame in the payload, from lastPayloadLen. With a bad one, all of the payload.
    fn end(&self, last: usize, chunk: usize, problems: &mut Vec<(Rule, String)>) -> usize {
        let before = self.payload.len() - chunk;
        let least = if before == 0 { FRAME_HEADER + 1 } else { 1 };
        if (least..=chunk).contains(&last) {
            return before + last;
        }
        problems.push((Rule::LastPayloadLength, format!("{last}, not within {least}..={chunk}")));
        self.payload.len()
    }

    fn check_split(&self, problems: &mut Vec<(Rule, String)>) {
        let (total, blocks) = (self.block_sizes.iter().sum::<usize>(), self.block_sizes.len());
        let share = total.div_ceil(blocks.max(1));
        let all_but_last = &self.block_sizes[..blocks.saturating_sub(1)];
        if all_but_last.iter().any(|&size| size != share) {
            problems.push((Rule::BlockSplit, format!("blocks of {:?} data shards", self.block_sizes)));
        }
    }
}
