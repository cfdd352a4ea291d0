//! Access units in, datagrams out.

use super::batch::ShardBatch;
use super::crypt::{self, Sealer};
use super::header::{
    CoveredFields, FRAME_HEADER, FrameType, PACKET_HEADER, StampedFields, fec_info, frame_header,
    last_payload_len, multi_fec_blocks,
};
use super::layout::{BlockPlan, MAX_BLOCKS, MAX_DATA_SHARDS, PacketSize, PacketSizeError, plan_frame};
use crate::crypto::SessionKey;
use lumen_fec::{CodecCache, Layout};

/// What a session agreed on about its video packets.
#[derive(Clone, Debug)]
pub struct PacketizerConfig {
    /// As announced by the client, in bytes; with encryption already reduced by it (protocol text §6.3).
    pub packet_size: u16,
    /// Parity in percent of the data; 0 switches FEC off.
    pub fec_percent: u8,
    /// Parity packets that a block gets at least, as the client announced; capped at 16.
    pub min_fec_packets: u8,
    /// The session's key if video is encrypted. Nonces count from 0, so no two packetizers may have the same key:
    /// each launch and each resume brings a new one.
    pub encryption: Option<SessionKey>,
}

/// Why a packetizer was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketizerError {
    /// The client announced a packet size that cannot be served.
    #[error(transparent)]
    PacketSize(#[from] PacketSizeError),
}

/// What is said about a frame besides its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameMeta {
    /// What a client may do with it.
    pub kind: FrameType,
    /// Capture time on a 90 kHz clock; never less than the frame before, but for wrapping.
    pub rtp_timestamp: u32,
    /// Capture to send in 0.1 ms; 0 is not measured.
    pub host_latency: u16,
    /// The client shall acknowledge the frame as a long-term reference.
    pub ltr: bool,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameInfo {
    /// Number on the wire, by which clients report loss.
    pub frame_index: u32,
    /// Datagrams, data and parity.
    pub packets: usize,
    /// Datagrams that carry parity.
    pub parity_packets: usize,
    /// FEC blocks, 1 to 4.
    pub blocks: usize,
}

/// The frame has more packets than the wire can number; it was not sent and its index not used. The encoder has to
/// make a smaller one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a frame of {access_unit} bytes exceeds the {limit} bytes that 4 blocks of 1023 packets carry; lower the bitrate"
)]
pub struct TooLarge {
    /// Its length in bytes.
    pub access_unit: usize,
    /// What would have been possible.
    pub limit: usize,
}

/// Cuts frames into datagrams with parity, numbered and encrypted (protocol text §6).
pub struct Packetizer {
    size: PacketSize,
    fec_percent: u8,
    min_fec_packets: u8,
    sealer: Option<Sealer>,
    codecs: CodecCache,
    next_frame_index: u32,
    /// Packets made so far, data and parity: sequence number, stream packet index and nonce at once.
    counter: u64,
}

impl Packetizer {
    /// For a new stream: frames count from 1, packets and nonces from 0.
    ///
    /// # Errors
    /// [`PacketizerError`] if the client's packet size cannot be served.
    pub fn new(config: PacketizerConfig) -> Result<Self, PacketizerError> {
        let size = PacketSize::new(config.packet_size)?;
        Ok(Self::with_size(size, &config))
    }

    fn with_size(size: PacketSize, config: &PacketizerConfig) -> Self {
        Self {
            size,
            fec_percent: config.fec_percent,
            min_fec_packets: config.min_fec_packets,
            sealer: config.encryption.as_ref().map(Sealer::new),
            codecs: CodecCache::new(),
            next_frame_index: 1,
            counter: 0,
        }
    }

    /// The number that the next frame will have.
    pub fn next_frame_index(&self) -> u32 {
        self.next_frame_index
    }

    /// Parity in percent of the data, for the frames to come.
    pub fn fec_percent(&self) -> u8 {
        self.fec_percent
    }

    /// Changes the share of parity from the next frame on; 0 switches FEC off.
    pub fn set_fec_percent(&mut self, percent: u8) {
        self.fec_percent = percent;
    }

    /// Bytes of each UDP payload.
    pub fn segment_size(&self) -> usize {
        self.prefix() + self.size.datagram()
    }

    /// The largest access unit in bytes that can be sent.
    pub fn max_access_unit(&self) -> usize {
        MAX_BLOCKS * MAX_DATA_SHARDS * self.size.payload() - FRAME_HEADER
    }

    /// Replaces the content of `out` by the datagrams of one frame, in the order in which they are to be sent.
    ///
    /// # Errors
    /// [`TooLarge`]; `out` is empty then and nothing was numbered.
    pub fn packetize(
        &mut self,
        frame: FrameMeta,
        access_unit: &[u8],
        out: &mut ShardBatch,
    ) -> Result<FrameInfo, TooLarge> {
        out.clear();
        let plan = plan_frame(access_unit.len(), self.size, self.fec_percent, self.min_fec_packets)
            .ok_or(TooLarge { access_unit: access_unit.len(), limit: self.max_access_unit() })?;
        let segment = self.segment_size();
        let mut slots = out.reset(plan.data() + plan.parity(), segment);
        let mut source = FrameSource::new(frame, access_unit, self.size);
        let frame_index = self.next_frame_index;
        let last_block = plan.blocks().len() - 1;
        for (index, block) in plan.blocks().iter().enumerate() {
            let (block_slots, later) = slots.split_at_mut((block.data + block.parity.shards) * segment);
            slots = later;
            self.fill(block_slots, *block, &mut source);
            self.protect(block_slots, *block);
            let blocks = multi_fec_blocks(index as u8, last_block as u8);
            self.finish(block_slots, *block, frame, blocks);
        }
        // 0 is refused by clients, so the numbers skip it when they wrap, after months.
        self.next_frame_index = frame_index.checked_add(1).unwrap_or(1);
        Ok(FrameInfo {
            frame_index,
            packets: plan.data() + plan.parity(),
            parity_packets: plan.parity(),
            blocks: plan.blocks().len(),
        })
    }

    /// Writes the data shards of a block as the parity covers them.
    fn fill(&self, slots: &mut [u8], block: BlockPlan, source: &mut FrameSource<'_>) {
        let (segment, prefix) = (self.segment_size(), self.prefix());
        for (shard, slot) in slots.chunks_exact_mut(segment).take(block.data).enumerate() {
            let fields = CoveredFields {
                counter: self.counter + shard as u64,
                first: shard == 0,
                last: shard + 1 == block.data,
                ltr: source.ltr,
            };
            let (header, payload) = slot[prefix..].split_at_mut(PACKET_HEADER);
            header.copy_from_slice(&fields.header());
            source.read(payload);
        }
    }

    /// Computes the parity shards of a block behind its data.
    fn protect(&mut self, slots: &mut [u8], block: BlockPlan) {
        if block.parity.shards == 0 {
            return;
        }
        let layout =
            Layout { stride: self.segment_size(), offset: self.prefix(), shard_len: self.size.datagram() };
        self.codecs
            .encoder(block.data, block.parity.shards)
            .expect("blocks with parity are planned to have at most 255 shards")
            .encode_strided(slots, layout)
            .expect("the slots are made for the block");
    }

    /// Numbers and encrypts all packets of a block.
    fn finish(&mut self, slots: &mut [u8], block: BlockPlan, frame: FrameMeta, multi_fec_blocks: u8) {
        let (segment, prefix) = (self.segment_size(), self.prefix());
        for (shard, slot) in slots.chunks_exact_mut(segment).enumerate() {
            let fields = StampedFields {
                counter: self.counter,
                rtp_timestamp: frame.rtp_timestamp,
                frame_index: self.next_frame_index,
                multi_fec_blocks,
                fec_info: fec_info(block.data as u16, shard as u16, block.parity.percent),
            };
            if let Some(header) = slot[prefix..].first_chunk_mut() {
                fields.stamp(header);
            }
            if let Some(sealer) = &self.sealer {
                sealer.seal(slot, self.counter, self.next_frame_index);
            }
            self.counter += 1;
        }
    }

    fn prefix(&self) -> usize {
        if self.sealer.is_some() { crypt::PREFIX } else { 0 }
    }
}

/// The bytes of a frame, handed out in pieces of a payload: frame header, access unit, zeros.
struct FrameSource<'a> {
    /// Until the first packet is written.
    header: Option<[u8; FRAME_HEADER]>,
    rest: &'a [u8],
    ltr: bool,
}

impl<'a> FrameSource<'a> {
    fn new(frame: FrameMeta, access_unit: &'a [u8], size: PacketSize) -> Self {
        let last = last_payload_len(access_unit.len(), size.payload());
        let header = frame_header(frame.kind, frame.host_latency, last);
        Self { header: Some(header), rest: access_unit, ltr: frame.ltr }
    }

    /// Fills a payload.
    fn read(&mut self, mut payload: &mut [u8]) {
        if let Some(header) = self.header.take() {
            let (head, rest) = payload.split_at_mut(FRAME_HEADER);
            head.copy_from_slice(&header);
            payload = rest;
        }
        let (piece, rest) = self.rest.split_at(payload.len().min(self.rest.len()));
        let (used, padding) = payload.split_at_mut(piece.len());
        used.copy_from_slice(piece);
        padding.fill(0);
        self.rest = rest;
    }
}

#[cfg(test)]
#[path = "packetizer_tests.rs"]
mod tests;
