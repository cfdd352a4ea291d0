//! Encryption of video datagrams: AES-128-GCM with a counter as nonce (protocol text §6.9).

use super::header::PACKET_HEADER;
use crate::crypto::SessionKey;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// Nonce, frame number and tag in front of the ciphertext.
pub(super) const PREFIX: usize = 32;

const NONCE: std::ops::Range<usize> = 0..12;
const FRAME_NUMBER: std::ops::Range<usize> = 12..16;
const TAG: std::ops::Range<usize> = 16..32;

/// Encrypts datagrams in place.
pub(super) struct Sealer {
    key: LessSafeKey,
}

impl Sealer {
    pub(super) fn new(key: &SessionKey) -> Self {
        let key = UnboundKey::new(&AES_128_GCM, key.as_bytes()).expect("AES-128 takes every key of 16 bytes");
        Self { key: LessSafeKey::new(key) }
    }

    /// Encrypts what lies behind the prefix and fills the prefix. `counter` must never repeat under one key.
    pub(super) fn seal(&self, datagram: &mut [u8], counter: u64, frame_index: u32) {
        let (prefix, plain) = datagram.split_at_mut(PREFIX);
        debug_assert!(plain.len() >= PACKET_HEADER);
        let nonce = nonce(counter);
        let tag = self
            .key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), plain)
            .expect("only a datagram of gigabytes exceeds what GCM seals at once");
        prefix[NONCE].copy_from_slice(&nonce);
        prefix[FRAME_NUMBER].copy_from_slice(&frame_index.to_le_bytes());
        prefix[TAG].copy_from_slice(tag.as_ref());
    }
}

/// The counter, three zeros and the letter of the stream.
fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&counter.to_le_bytes());
    nonce[11] = b'V';
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonce_of_appendix_b() {
        assert_eq!(hex::encode(nonce(1)), "010000000000000000000056");
    }
}
