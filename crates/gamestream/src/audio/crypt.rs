//! Encryption of Opus packets: AES-128-CBC with PKCS#7 padding (protocol text §7.4).

use crate::crypto::SessionKey;
use aes::Aes128;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockEncryptMut, KeyIvInit};

/// Bytes of a cipher block.
const BLOCK: usize = 16;

/// The session's key and the number that goes into the vectors of its audio packets.
#[derive(Clone, Debug)]
pub struct AudioKey {
    /// `rikey` of the launch.
    pub key: SessionKey,
    /// `rikeyid` of the launch; a negative one as its two's complement.
    pub key_id: u32,
}

impl AudioKey {
    /// Encrypts `buffer[..length]` in place and returns the length of the ciphertext: there must be room for it.
    pub(super) fn encrypt(&self, sequence: u16, buffer: &mut [u8], length: usize) -> usize {
        let iv = audio_iv(self.key_id, sequence);
        cbc::Encryptor::<Aes128>::new(self.key.as_bytes().into(), &iv.into())
            .encrypt_padded_mut::<Pkcs7>(buffer, length)
            .expect("payloads are checked to leave room for their padding")
            .len()
    }
}

/// Length of the ciphertext of `length` bytes: there is always padding.
pub(super) fn encrypted_len(length: usize) -> usize {
    (length / BLOCK + 1) * BLOCK
}

/// The initialisation vector of a packet: key number plus sequence number, wrapping, big-endian, then zeros.
pub fn audio_iv(key_id: u32, sequence: u16) -> [u8; 16] {
    let mut iv = [0; BLOCK];
    iv[..4].copy_from_slice(&key_id.wrapping_add(u32::from(sequence)).to_be_bytes());
    iv
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_wrap() {
        assert_eq!(hex::encode(audio_iv(u32::MAX, 2)), "00000001000000000000000000000000");
        assert_eq!(hex::encode(audio_iv(0x0102_0304, 3)), "01020307000000000000000000000000");
    }

    #[test]
    fn whole_blocks_are_padded_too() {
        assert_eq!(
            (encrypted_len(0), encrypted_len(15), encrypted_len(16), encrypted_len(17)),
            (16, 16, 32, 32)
        );
    }
}
