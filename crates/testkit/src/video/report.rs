//! Frame FEC status, control message 0x5502 of the client (protocol text §8.4).

/// What became of one FEC block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FecReport {
    /// Frame of the block.
    pub frame: u32,
    /// Highest sequence number received.
    pub highest_sequence: u16,
    /// First sequence number still missing.
    pub next_contiguous_sequence: u16,
    /// Packets missing below the highest received.
    pub missing_before_highest: u16,
    /// Data shards of the block.
    pub data: u16,
    /// Parity shards of the block.
    pub parity: u16,
    /// Data shards received.
    pub received_data: u16,
    /// Parity shards received.
    pub received_parity: u16,
    /// fecPercentage.
    pub percentage: u8,
    /// Index of the block.
    pub block: u8,
    /// Blocks of the frame.
    pub blocks: u8,
}

impl FecReport {
    /// The 21 big-endian bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.frame.to_be_bytes().to_vec();
        for value in [
            self.highest_sequence,
            self.next_contiguous_sequence,
            self.missing_before_highest,
            self.data,
            self.parity,
            self.received_data,
            self.received_parity,
        ] {
            out.extend_from_slice(&value.to_be_bytes());
        }
        out.extend_from_slice(&[self.percentage, self.block, self.blocks]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_example_of_section_8() {
        let report = FecReport {
            frame: 8,
            highest_sequence: 0x104,
            next_contiguous_sequence: 0x36,
            missing_before_highest: 1,
            data: 206,
            parity: 42,
            received_data: 205,
            received_parity: 2,
            percentage: 20,
            block: 0,
            blocks: 1,
        };
        assert_eq!(hex::encode(report.encode()), "0000000801040036000100ce002a00cd0002140001");
    }
}
