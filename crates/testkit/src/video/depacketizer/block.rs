//! One FEC block being collected (protocol text §6.2, §6.5).
use crate::fec::{self, Code, FecError, Field};
use crate::video::packet::{FLAG_END, FLAG_PICTURE, FLAG_START, HEADER_LENGTH, Header};
use crate::video::{FecReport, Rule};

/// Shards of one block.
#[derive(Debug)]
pub(super) struct Block {
    /// Header of the block's first packet to arrive.
    pub header: Header,
    /// Sequence number of shard 0.
    pub base: u16,
    shards: Vec<Option<Vec<u8>>>,
    received_data: usize,
    received_parity: usize,
    highest: usize,
}

/// Flags of a data shard: picture always, start on the first, end on the last.
pub(super) fn expected_flags(shard: usize, data_shards: usize) -> u8 {
    let start = if shard == 0 { FLAG_START } else { 0 };
    let end = if shard + 1 == data_shards { FLAG_END } else { 0 };
    FLAG_PICTURE | start | end
}

impl Block {
    /// An empty block; `header` has passed the shape checks.
    pub fn new(header: Header, base: u16) -> Self {
        let total = header.data_shards + header.parity_shards();
        Block { header, base, shards: vec![None; total], received_data: 0, received_parity: 0, highest: 0 }
    }

    /// Parity shards of the block.
    pub fn parity(&self) -> usize {
        self.shards.len() - self.header.data_shards
    }

    /// False for a duplicate.
    pub fn insert(&mut self, shard: usize, datagram: Vec<u8>) -> bool {
        let Some(slot) = self.shards.get_mut(shard) else { return false };
        if slot.is_some() {
            return false;
        }
        *slot = Some(datagram);
        self.highest = self.highest.max(shard);
        if shard < self.header.data_shards {
            self.received_data += 1;
        } else {
            self.received_parity += 1;
        }
        true
    }

    /// All data shards arrived.
    pub fn is_whole(&self) -> bool {
        self.received_data == self.header.data_shards
    }

    /// Enough shards to finish; with `prove` one more, so that one can be held out.
    pub fn is_ready(&self, prove: bool) -> bool {
        let needed = self.header.data_shards + usize::from(prove && self.parity() > 0);
        self.received_data + self.received_parity >= needed
    }

    /// Packets that must have been lost or overtaken.
    pub fn missing_before_highest(&self) -> usize {
        (self.highest + 1).saturating_sub(self.received_data + self.received_parity)
    }

    /// The statistics message of this block.
    pub fn report(&self) -> FecReport {
        let next = self.shards.iter().position(Option::is_none).unwrap_or(self.shards.len());
        FecReport {
            frame: self.header.frame,
            highest_sequence: self.base.wrapping_add(self.highest as u16),
            next_contiguous_sequence: self.base.wrapping_add(next as u16),
            missing_before_highest: self.missing_before_highest() as u16,
            data: self.header.data_shards as u16,
            parity: self.parity() as u16,
            received_data: self.received_data as u16,
            received_parity: self.received_parity as u16,
            percentage: self.header.percentage as u8,
            block: self.header.block,
            blocks: self.header.last_block + 1,
        }
    }

    /// Holds out one data shard of a block that can spare it and derives it again from all the rest. True when what
    /// comes back differs in a field that clients use.
    pub fn disproves_parity(&self, field: &Field) -> bool {
        let spare = self.received_data + self.received_parity > self.header.data_shards;
        if !spare {
            return false;
        }
        let victim =
            (self.header.frame as usize * 7 + usize::from(self.header.block)) % self.header.data_shards;
        let Some(original) = &self.shards[victim] else { return false };
        let mut shards = self.shards.clone();
        shards[victim] = None;
        let code = Code::Cauchy { parity: self.parity() };
        if fec::recover(field, code, &mut shards, self.header.data_shards).is_err() {
            return true;
        }
        let Some(derived) = &shards[victim] else { return true };
        let used = |shard: &[u8]| [&shard[16..20], &shard[24..27], &shard[HEADER_LENGTH..]].concat();
        used(original) != used(derived)
    }

    /// Brings missing data shards back and rewrites the header fields that parity does not carry (§6.5).
    pub fn recover(&mut self, field: &Field) -> Result<usize, FecError> {
        let data = self.header.data_shards;
        let missing: Vec<usize> = (0..data).filter(|&index| self.shards[index].is_none()).collect();
        let code = Code::Cauchy { parity: self.parity() };
        fec::recover(field, code, &mut self.shards, data)?;
        for &index in &missing {
            let header = self.header;
            let sequence = self.base.wrapping_add(index as u16);
            if let Some(shard) = &mut self.shards[index] {
                shard[..2].copy_from_slice(&[0x90, 0]);
                shard[2..4].copy_from_slice(&sequence.to_be_bytes());
                shard[4..8].copy_from_slice(&header.timestamp.to_be_bytes());
                shard[8..16].fill(0);
                shard[20..24].copy_from_slice(&header.frame.to_le_bytes());
                shard[27] = header.block << 4 | header.last_block << 6;
            }
        }
        Ok(missing.len())
    }

    /// What makes a client drop the whole frame: wrong flags after recovery, streamPacketIndex with a gap.
    pub fn inconsistency(&self) -> Option<(Rule, String)> {
        let headers: Vec<Header> = self.data().filter_map(Header::parse).collect();
        let first = headers.first()?.stream_packet_index;
        for (index, header) in headers.iter().enumerate() {
            if header.flags != expected_flags(index, self.header.data_shards) {
                return Some((Rule::Flags, format!("{:#04x} on data shard {index}", header.flags)));
            }
            let expected = first.wrapping_add((index as u32) << 8);
            if header.stream_packet_index != expected {
                let found = header.stream_packet_index;
                return Some((Rule::StreamPacketIndex, format!("{found:#010x}, not {expected:#010x}")));
            }
        }
        None
    }

    /// Data shards in order, those that are there.
    pub fn data(&self) -> impl Iterator<Item = &[u8]> {
        self.shards[..self.header.data_shards].iter().flatten().map(Vec::as_slice)
    }
}
