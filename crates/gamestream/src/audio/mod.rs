//! Audio: packets, FEC and encryption (protocol text §7).
