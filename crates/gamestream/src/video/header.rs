//! The 32 bytes in front of every payload and the frame header (protocol text §6.2, §6.4).

/// RTP header, reserved bytes and video header together.
pub(super) const PACKET_HEADER: usize = 32;
/// RTP header and reserved bytes: what a datagram has beyond the announced packet size.
pub(super) const RTP_HEADER: usize = 16;
/// The header at the start of a frame's data.
pub(super) const FRAME_HEADER: usize = 8;

const FLAG_PICTURE: u8 = 0x01;
const FLAG_END: u8 = 0x02;
const FLAG_START: u8 = 0x04;
const EXTRA_FLAG_LTR: u8 = 0x01;
const MULTI_FEC_FLAGS: u8 = 0x10;
/// Version 2 with the extension bit, which makes clients skip the four reserved bytes.
const RTP_FIRST: u8 = 0x90;

/// What a client may do with a frame; the value on the wire (protocol text §6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameType {
    /// References earlier frames.
    Predicted = 1,
    /// Stands alone.
    Idr = 2,
    /// Predicted; the frame at which a wave of intra refresh is complete.
    IntraRefresh = 4,
    /// Predicted from frames older than those reported lost.
    AfterInvalidation = 5,
}

/// The FEC word of a packet, before it is written little-endian: index within the block, data shards of the block
/// (10 bits each) and parity percentage (protocol text §6.2).
pub fn fec_info(data_shards: u16, shard_index: u16, percent: u8) -> u32 {
    u32::from(shard_index & 0x3ff) << 12 | u32::from(data_shards & 0x3ff) << 22 | u32::from(percent) << 4
}

/// The block byte of a packet: which block of the frame it belongs to and which one is the last, 0 to 3 each
/// (protocol text §6.2).
pub fn multi_fec_blocks(block: u8, last_block: u8) -> u8 {
    (block & 3) << 4 | (last_block & 3) << 6
}

/// Bytes used in the payload of a frame's last data packet, the frame header included where the frame fits one packet
/// (protocol text §6.4). `payload` is the room of a packet in bytes.
pub fn last_payload_len(access_unit: usize, payload: usize) -> usize {
    match (FRAME_HEADER + access_unit) % payload {
        0 => payload,
        rest => rest,
    }
}

/// The frame header. `last_payload_len` is below the packet size, which has 11 bits.
pub(super) fn frame_header(
    kind: FrameType,
    host_latency: u16,
    last_payload_len: usize,
) -> [u8; FRAME_HEADER] {
    let latency = host_latency.to_le_bytes();
    let last = (last_payload_len as u16).to_le_bytes();
    [0x01, latency[0], latency[1], kind as u8, last[0], last[1], 0, 0]
}

/// What the parity also covers, so that it must stand in data packets before encoding and stay as computed in parity
/// packets (protocol text §6.5).
pub(super) struct CoveredFields {
    /// Packets sent before this one.
    pub(super) counter: u64,
    /// First data packet of its block.
    pub(super) first: bool,
    /// Last data packet of its block.
    pub(super) last: bool,
    /// The frame is a candidate for a long-term reference.
    pub(super) ltr: bool,
}

impl CoveredFields {
    /// The whole header of a data packet as it goes into the parity: all else is zero.
    pub(super) fn header(&self) -> [u8; PACKET_HEADER] {
        let mut header = [0; PACKET_HEADER];
        // The low 24 bits of the counter in the high 24 bits of the word.
        header[16..20].copy_from_slice(&((self.counter as u32) << 8).to_le_bytes());
        header[24] =
            FLAG_PICTURE | if self.first { FLAG_START } else { 0 } | if self.last { FLAG_END } else { 0 };
        header[25] = if self.ltr { EXTRA_FLAG_LTR } else { 0 };
        header[26] = MULTI_FEC_FLAGS;
        header
    }
}

/// What is written into data and parity packets after encoding.
pub(super) struct StampedFields {
    /// Packets sent before this one; the sequence number is its low 16 bits.
    pub(super) counter: u64,
    /// 90 kHz.
    pub(super) rtp_timestamp: u32,
    /// From 1.
    pub(super) frame_index: u32,
    /// See [`multi_fec_blocks`].
    pub(super) multi_fec_blocks: u8,
    /// See [`fec_info`].
    pub(super) fec_info: u32,
}

impl StampedFields {
    /// Writes the fields and leaves bytes 16–19 and 24–26 alone.
    pub(super) fn stamp(&self, header: &mut [u8; PACKET_HEADER]) {
        let mut rtp = [0; RTP_HEADER];
        rtp[0] = RTP_FIRST;
        rtp[2..4].copy_from_slice(&(self.counter as u16).to_be_bytes());
        rtp[4..8].copy_from_slice(&self.rtp_timestamp.to_be_bytes());
        header[..RTP_HEADER].copy_from_slice(&rtp);
        header[20..24].copy_from_slice(&self.frame_index.to_le_bytes());
        header[27] = self.multi_fec_blocks;
        header[28..32].copy_from_slice(&self.fec_info.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_appendix_b() {
        assert_eq!(fec_info(3, 4, 66), 0x00c0_4420);
        assert_eq!(fec_info(3, 4, 66).to_le_bytes(), [0x20, 0x44, 0xc0, 0x00]);
        assert_eq!(fec_info(206, 0, 20), 0x3380_0140);
        assert_eq!(multi_fec_blocks(1, 3), 0xd0);
        assert_eq!(multi_fec_blocks(0, 0), 0x00);
        assert_eq!(multi_fec_blocks(3, 3), 0xf0);
        for (length, last) in [(100, 12), (88, 48), (40, 48), (1, 9)] {
            assert_eq!(last_payload_len(length, 48), last, "access unit of {length} bytes");
        }
    }

    #[test]
    fn a_single_packet_is_start_and_end() {
        let fields = CoveredFields { counter: 0x0123_4567_89ab, first: true, last: true, ltr: true };
        let header = fields.header();
        assert_eq!(header[16..20], [0x00, 0xab, 0x89, 0x67]);
        assert_eq!(header[24..27], [0x07, 0x01, 0x10]);
    }
}
