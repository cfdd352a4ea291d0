//! The plaintext datagram header (protocol text §6.2).

/// RTP header, reserved word and NV header together.
pub const HEADER_LENGTH: usize = 32;

/// Start of the first data shard of a block.
pub const FLAG_START: u8 = 0x04;
/// Last data shard of a block.
pub const FLAG_END: u8 = 0x02;
/// Picture data.
pub const FLAG_PICTURE: u8 = 0x01;

/// Header fields of one datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// RTP byte 0, 0x90.
    pub rtp_byte: u8,
    /// RTP payload type, 0.
    pub payload_type: u8,
    /// RTP sequence number over data and parity.
    pub sequence: u16,
    /// 90 kHz timestamp of the frame.
    pub timestamp: u32,
    /// RTP ssrc, 0.
    pub ssrc: u32,
    /// Reserved word, 0.
    pub reserved: u32,
    /// Packet counter << 8 (data shards; parity of it in parity shards).
    pub stream_packet_index: u32,
    /// Frame number from 1.
    pub frame: u32,
    /// Picture, end and start flags (data shards).
    pub flags: u8,
    /// 0x01 long-term reference candidate (data shards).
    pub extra_flags: u8,
    /// 0x10 (data shards).
    pub multi_fec_flags: u8,
    /// Index of this FEC block.
    pub block: u8,
    /// Index of the frame's last FEC block.
    pub last_block: u8,
    /// Low four bits of multiFecBlocks, 0.
    pub blocks_rest: u8,
    /// Index of this shard in its block.
    pub shard: usize,
    /// Data shards D of the block.
    pub data_shards: usize,
    /// fecPercentage.
    pub percentage: usize,
}

impl Header {
    /// Reads the header; `None` when the datagram is too short for one.
    pub fn parse(datagram: &[u8]) -> Option<Header> {
        let head: &[u8; HEADER_LENGTH] = datagram.first_chunk()?;
        let le = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let be = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let fec_info = le(28);
        Some(Header {
            rtp_byte: head[0],
            payload_type: head[1],
            sequence: u16::from_be_bytes([head[2], head[3]]),
            timestamp: be(4),
            ssrc: be(8),
            reserved: be(12),
            stream_packet_index: le(16),
            frame: le(20),
            flags: head[24],
            extra_flags: head[25],
            multi_fec_flags: head[26],
            block: head[27] >> 4 & 3,
            last_block: head[27] >> 6,
            blocks_rest: head[27] & 0x0f,
            shard: (fec_info >> 12 & 0x3ff) as usize,
            data_shards: (fec_info >> 22) as usize,
            percentage: (fec_info >> 4 & 0xff) as usize,
        })
    }

    /// Parity shards of the block, as the client derives them: ceil(D · percentage / 100) (protocol text §6.6).
    pub fn parity_shards(&self) -> usize {
        (self.data_shards * self.percentage).div_ceil(100)
    }
}
