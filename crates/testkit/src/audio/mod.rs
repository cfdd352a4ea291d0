//! Audio stream (protocol text §7).
/// Counters of the audio stream; all zero while the host is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AudioStatistics {
    /// Data packets received.
    pub data_packets: u64,
    /// Parity packets received.
    pub parity_packets: u64,
    /// Packets that parity brought back.
    pub recovered: u64,
    /// Packets lost for good.
    pub lost: u64,
    /// Datagrams that were not audio or did not decrypt.
    pub rejected: u64,
    /// Pings sent.
    pub pings: u64,
}
