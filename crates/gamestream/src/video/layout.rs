//! How a frame is cut into packets and FEC blocks, and how much parity each block gets (protocol text §6.3, §6.6, §6.7).

use super::header::{FRAME_HEADER, RTP_HEADER};

/// Blocks of a frame at most: the wire has two bits for them.
pub const MAX_BLOCKS: usize = 4;
/// Data shards of a block at most: the wire has ten bits, and clients compare below 1024.
pub const MAX_DATA_SHARDS: usize = 1023;
/// More parity packets than this for a small frame are not granted, whatever the client asks; stock clients ask for 2.
pub const MAX_MIN_FEC_PACKETS: u8 = 16;

/// Shards of a block with parity at most.
const MAX_SHARDS: usize = lumen_fec::MAX_SHARDS;

/// The packet size a client announced, checked: a multiple of 16 bytes from 256 to 1456 (protocol text §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketSize(u16);

/// Why a packet size was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "packet size {0} is not a multiple of 16 from 256 to 1456 bytes; the client has to announce another one"
)]
pub struct PacketSizeError(pub u16);

impl PacketSize {
    /// Checks a size in bytes as announced.
    ///
    /// # Errors
    /// [`PacketSizeError`] outside the limits.
    pub fn new(bytes: u16) -> Result<Self, PacketSizeError> {
        if !(256..=1456).contains(&bytes) || !bytes.is_multiple_of(16) {
            return Err(PacketSizeError(bytes));
        }
        Ok(Self(bytes))
    }

    /// Not checked: golden packets are smaller than what is accepted from clients.
    #[cfg(test)]
    pub(super) fn unchecked(bytes: u16) -> Self {
        Self(bytes)
    }

    /// The size as announced, in bytes.
    pub fn announced(self) -> usize {
        usize::from(self.0)
    }

    /// Bytes of frame data in a packet.
    pub fn payload(self) -> usize {
        self.announced() - RTP_HEADER
    }

    /// Bytes of a datagram before encryption.
    pub fn datagram(self) -> usize {
        self.announced() + RTP_HEADER
    }
}

/// Parity of one block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parity {
    /// Parity shards.
    pub shards: usize,
    /// The percentage on the wire, from which the client computes the same count.
    pub percent: u8,
}

/// Parity of a block with `data` shards: the count follows from the percentage that is sent, as the client computes it
/// (protocol text §6.6). A percentage of 0 switches FEC off, the minimum included.
pub fn parity(data: usize, percent: u8, minimum: u8) -> Parity {
    if percent == 0 || data == 0 {
        return Parity::default();
    }
    let minimum = usize::from(minimum);
    if clients_count(data, percent) >= minimum {
        return Parity { shards: clients_count(data, percent), percent };
    }
    // Rounded down, the client's rounding up gives the minimum back for up to 100 shards; beyond, and only for minima
    // that no stock client asks for, one percent more may be needed.
    let lower = u8::try_from(100 * minimum / data).unwrap_or(u8::MAX);
    let percent = if clients_count(data, lower) < minimum { lower.saturating_add(1) } else { lower };
    Parity { shards: clients_count(data, percent), percent }
}

/// How many parity shards a client expects.
fn clients_count(data: usize, percent: u8) -> usize {
    (data * usize::from(percent)).div_ceil(100)
}

/// Data shards of a block at most, so that data and parity fit the code (protocol text §6.7).
pub fn max_block_data(percent: u8, minimum: u8) -> usize {
    let minimum = usize::from(minimum.min(MAX_MIN_FEC_PACKETS));
    // Large minima may be exceeded by two, see `parity`.
    let reserved = if minimum > 2 { minimum + 2 } else { minimum };
    (100 * MAX_SHARDS / (100 + usize::from(percent))).min(MAX_SHARDS - reserved)
}

/// One FEC block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockPlan {
    /// Data shards.
    pub data: usize,
    /// Parity shards and what is said about them.
    pub parity: Parity,
}

/// A frame cut into blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramePlan {
    blocks: [BlockPlan; MAX_BLOCKS],
    count: usize,
}

impl FramePlan {
    /// The blocks, 1 to 4.
    pub fn blocks(&self) -> &[BlockPlan] {
        &self.blocks[..self.count]
    }

    /// Data packets of the frame.
    pub fn data(&self) -> usize {
        self.blocks().iter().map(|block| block.data).sum()
    }

    /// Parity packets of the frame.
    pub fn parity(&self) -> usize {
        self.blocks().iter().map(|block| block.parity.shards).sum()
    }
}

/// Cuts `access_unit` bytes into blocks (protocol text §6.7); none if the frame has more packets than the wire can
/// number. A frame that needs more than four blocks goes without FEC.
pub fn plan_frame(access_unit: usize, size: PacketSize, percent: u8, minimum: u8) -> Option<FramePlan> {
    let minimum = minimum.min(MAX_MIN_FEC_PACKETS);
    let chunks = access_unit.checked_add(FRAME_HEADER)?.div_ceil(size.payload());
    let wanted = chunks.div_ceil(max_block_data(percent, minimum));
    let (count, percent) = if wanted > MAX_BLOCKS { (MAX_BLOCKS, 0) } else { (wanted, percent) };
    let full = chunks.div_ceil(count);
    if full > MAX_DATA_SHARDS {
        return None;
    }
    let mut blocks = [BlockPlan::default(); MAX_BLOCKS];
    for (index, block) in blocks[..count].iter_mut().enumerate() {
        let data = full.min(chunks - index * full);
        *block = BlockPlan { data, parity: parity(data, percent, minimum) };
    }
    Some(FramePlan { blocks, count })
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
