//! Video: packets, FEC blocks and encryption (protocol text §6).
