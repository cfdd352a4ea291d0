//! Opus packets in, datagrams out.

use super::crypt::{AudioKey, encrypted_len};
use super::layout::PacketDuration;
use lumen_fec::{Encoder, Layout};

/// Bytes of an audio datagram at most, what clients have room for (protocol text §7.1).
pub const MAX_DATAGRAM: usize = 1400;

const RTP_HEADER: usize = 12;
/// RTP header and FEC header of a parity packet.
const PARITY_HEADER: usize = 24;
/// A parity packet has the payload of its data packets and the larger header.
const MAX_PAYLOAD: usize = MAX_DATAGRAM - PARITY_HEADER;

/// Bytes of an Opus packet at most, so that its ciphertext and its parity fit a datagram too.
pub const MAX_OPUS: usize = MAX_PAYLOAD - 1;

const DATA_SHARDS: usize = 4;
const PARITY_SHARDS: usize = 2;
/// Coefficients of the two parity rows; not the Cauchy code of video (protocol text §7.3).
const PARITY_MATRIX: [u8; DATA_SHARDS * PARITY_SHARDS] = [0x77, 0x40, 0x38, 0x0e, 0xc7, 0xa7, 0x0d, 0x6c];

/// Version 2, no extension.
const RTP_FIRST: u8 = 0x80;
const TYPE_DATA: u8 = 97;
const TYPE_PARITY: u8 = 127;

/// An Opus packet is too long for a datagram; it was not sent and took no number. Lower the bitrate or the duration of
/// packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an Opus packet of {0} bytes does not fit a datagram of 1400; lower the bitrate or the packet duration"
)]
pub struct PayloadTooLarge(pub usize);

/// The datagrams that one Opus packet made: one, or three at the end of a block.
#[derive(Clone, Debug)]
pub struct AudioPackets {
    packets: [[u8; MAX_DATAGRAM]; 1 + PARITY_SHARDS],
    lengths: [usize; 1 + PARITY_SHARDS],
    count: usize,
}

impl Default for AudioPackets {
    fn default() -> Self {
        Self { packets: [[0; MAX_DATAGRAM]; 1 + PARITY_SHARDS], lengths: [0; 1 + PARITY_SHARDS], count: 0 }
    }
}

impl AudioPackets {
    /// No datagrams.
    pub fn new() -> Self {
        Self::default()
    }

    /// The datagrams in the order in which they are sent.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.packets.iter().zip(self.lengths).take(self.count).map(|(packet, length)| &packet[..length])
    }

    /// Adds a datagram made of two parts, which fit together.
    fn push(&mut self, header: &[u8], payload: &[u8]) {
        let packet = &mut self.packets[self.count];
        packet[..header.len()].copy_from_slice(header);
        packet[header.len()..header.len() + payload.len()].copy_from_slice(payload);
        self.lengths[self.count] = header.len() + payload.len();
        self.count += 1;
    }
}

/// Numbers, encrypts and protects Opus packets (protocol text §7).
pub struct AudioPacketizer {
    duration: PacketDuration,
    key: Option<AudioKey>,
    encoder: Encoder,
    /// Data packets made so far; the sequence number is its low 16 bits.
    counter: u32,
    /// Payloads of the current block and room for their parity, `MAX_PAYLOAD` bytes each.
    block: Box<[u8; MAX_PAYLOAD * (DATA_SHARDS + PARITY_SHARDS)]>,
    /// Length of the block's payloads; none once two differed.
    block_len: Option<usize>,
}

impl AudioPacketizer {
    /// For a new stream: packets count from 0. `key` is given if audio is encrypted.
    pub fn new(duration: PacketDuration, key: Option<AudioKey>) -> Self {
        let encoder = Encoder::with_matrix(DATA_SHARDS, &PARITY_MATRIX)
            .expect("the matrix has two rows of four coefficients");
        Self {
            duration,
            key,
            encoder,
            counter: 0,
            block: Box::new([0; MAX_PAYLOAD * (DATA_SHARDS + PARITY_SHARDS)]),
            block_len: None,
        }
    }

    /// The sequence number of the next data packet.
    pub fn next_sequence(&self) -> u16 {
        self.counter as u16
    }

    /// Replaces the content of `out` by the datagrams of one Opus packet: its own, and after every fourth the parity
    /// of those four. Packets of one stream must have one length; a block whose packets differ goes without parity.
    ///
    /// # Errors
    /// [`PayloadTooLarge`]; `out` is empty then.
    pub fn packetize(&mut self, opus: &[u8], out: &mut AudioPackets) -> Result<(), PayloadTooLarge> {
        out.count = 0;
        let length = if self.key.is_some() { encrypted_len(opus.len()) } else { opus.len() };
        if length > MAX_PAYLOAD {
            return Err(PayloadTooLarge(opus.len()));
        }
        let index = self.counter as usize % DATA_SHARDS;
        let sequence = self.next_sequence();
        let header = rtp_header(TYPE_DATA, sequence, self.timestamp(self.counter));
        let slot = &mut self.block[index * MAX_PAYLOAD..(index + 1) * MAX_PAYLOAD];
        slot[..opus.len()].copy_from_slice(opus);
        if let Some(key) = &self.key {
            key.encrypt(sequence, slot, opus.len());
        }
        out.push(&header, &slot[..length]);
        self.block_len = match index {
            0 => Some(length),
            _ => self.block_len.filter(|first| *first == length),
        };
        if index == DATA_SHARDS - 1 {
            self.push_parity(out);
        }
        self.counter = self.counter.wrapping_add(1);
        Ok(())
    }

    /// Adds the parity of the block that the current packet completes.
    fn push_parity(&mut self, out: &mut AudioPackets) {
        let Some(length) = self.block_len else { return };
        let layout = Layout { stride: MAX_PAYLOAD, offset: 0, shard_len: length };
        self.encoder
            .encode_strided(self.block.as_mut_slice(), layout)
            .expect("the block has room for six payloads of any checked length");
        let base = self.counter - (DATA_SHARDS as u32 - 1);
        for (index, parity) in self.block.chunks_exact(MAX_PAYLOAD).skip(DATA_SHARDS).enumerate() {
            let sequence = (base as u16).wrapping_add((DATA_SHARDS + index) as u16);
            let mut header = [0; PARITY_HEADER];
            header[..RTP_HEADER].copy_from_slice(&rtp_header(TYPE_PARITY, sequence, 0));
            header[12] = index as u8;
            header[13] = TYPE_DATA;
            header[14..16].copy_from_slice(&(base as u16).to_be_bytes());
            header[16..20].copy_from_slice(&self.timestamp(base).to_be_bytes());
            out.push(&header, &parity[..length]);
        }
    }

    /// Milliseconds, not samples (protocol text §7.1).
    fn timestamp(&self, counter: u32) -> u32 {
        counter.wrapping_mul(self.duration.millis())
    }
}

fn rtp_header(packet_type: u8, sequence: u16, timestamp: u32) -> [u8; RTP_HEADER] {
    let mut header = [0; RTP_HEADER];
    header[0] = RTP_FIRST;
    header[1] = packet_type;
    header[2..4].copy_from_slice(&sequence.to_be_bytes());
    header[4..8].copy_from_slice(&timestamp.to_be_bytes());
    header
}

#[cfg(test)]
#[path = "packetizer_tests.rs"]
mod tests;
