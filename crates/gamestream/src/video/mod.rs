//! Video: packets, FEC blocks and encryption (protocol text §6.2–6.9).
//!
//! A [`Packetizer`] turns each access unit into datagrams of one length in a [`ShardBatch`]: one copy of the access
//! unit, parity computed in place behind the data, encryption in place. The sender hands runs of the batch to the
//! kernel without another copy.

mod batch;
mod crypt;
mod header;
mod layout;
mod packetizer;

pub use batch::ShardBatch;
pub use header::{FrameType, fec_info, last_payload_len, multi_fec_blocks};
pub use layout::{
    BlockPlan, FramePlan, MAX_BLOCKS, MAX_DATA_SHARDS, MAX_MIN_FEC_PACKETS, PacketSize, PacketSizeError,
    Parity, max_block_data, parity, plan_frame,
};
pub use packetizer::{FrameInfo, FrameMeta, Packetizer, PacketizerConfig, PacketizerError, TooLarge};
