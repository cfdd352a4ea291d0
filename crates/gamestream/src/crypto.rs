//! The ciphers of the wire, each with the exact shape the protocol uses, so that nonce sizes cannot be confused.

use aes::cipher::consts::U16;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use aes::{Aes128, Block};
use aes_gcm::aead::AeadInPlace;
use sha2::{Digest, Sha256};
use std::fmt;

/// The AES-128 key of one launch (`rikey`, protocol text §4): RTSP, control, video and audio all use it. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey([u8; 16]);

impl SessionKey {
    /// Wraps key bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a cipher of the caller's.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(…)")
    }
}

/// The tag of a sealed message did not fit its key, nonce and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the authentication tag does not match: wrong key, or altered bytes")]
pub struct TagMismatch;

/// AES-128-GCM with the usual 12-byte nonce and no associated data (RTSP, control v2, video).
#[derive(Clone)]
pub struct Gcm12(aes_gcm::Aes128Gcm);

/// AES-128-GCM with a 16-byte nonce and no associated data (legacy control, protocol text §8.2).
#[derive(Clone)]
pub struct Gcm16(aes_gcm::AesGcm<Aes128, U16>);

macro_rules! gcm {
    ($name:ident, $nonce:literal) => {
        impl $name {
            /// Length of the tag in bytes.
            pub const TAG_LEN: usize = 16;

            /// Expands `key`.
            pub fn new(key: &SessionKey) -> Self {
                Self(KeyInit::new(key.as_bytes().into()))
            }

            /// Encrypts `data` in place and returns the tag.
            pub fn seal(&self, nonce: &[u8; $nonce], data: &mut [u8]) -> [u8; 16] {
                self.0
                    .encrypt_in_place_detached(nonce.into(), &[], data)
                    .expect("GCM seals up to 64 GiB, and our messages are bounded far below")
                    .into()
            }

            /// Decrypts `data` in place; its content is meaningless after an error.
            ///
            /// # Errors
            /// [`TagMismatch`] when the tag does not fit.
            pub fn open(
                &self,
                nonce: &[u8; $nonce],
                data: &mut [u8],
                tag: &[u8; 16],
            ) -> Result<(), TagMismatch> {
                self.0.decrypt_in_place_detached(nonce.into(), &[], data, tag.into()).map_err(|_| TagMismatch)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

gcm!(Gcm12, 12);
gcm!(Gcm16, 16);

/// AES-128-ECB without padding over whole blocks: what pairing uses (protocol text §3).
#[derive(Clone)]
pub struct Ecb(Aes128);

impl Ecb {
    /// Expands `key`.
    pub fn new(key: &[u8; 16]) -> Self {
        Self(Aes128::new(key.into()))
    }

    /// Encrypts whole blocks. `N` is a multiple of 16.
    pub fn encrypt<const N: usize>(&self, mut data: [u8; N]) -> [u8; N] {
        const { assert!(N.is_multiple_of(16)) };
        for block in data.chunks_exact_mut(16) {
            self.0.encrypt_block(Block::from_mut_slice(block));
        }
        data
    }

    /// Decrypts whole blocks. `N` is a multiple of 16.
    pub fn decrypt<const N: usize>(&self, mut data: [u8; N]) -> [u8; N] {
        const { assert!(N.is_multiple_of(16)) };
        for block in data.chunks_exact_mut(16) {
            self.0.decrypt_block(Block::from_mut_slice(block));
        }
        data
    }
}

impl fmt::Debug for Ecb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ecb(…)")
    }
}

/// SHA-256 over the concatenation of `parts`.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: SessionKey = SessionKey::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);

    #[test]
    fn keys_are_never_shown() {
        let shown = format!("{KEY:?} {:?} {:?}", Gcm12::new(&KEY), Ecb::new(KEY.as_bytes()));
        assert_eq!(shown, "SessionKey(…) Gcm12(…) Ecb(…)");
    }

    #[test]
    fn an_altered_byte_fails_both_gcm_shapes() {
        let mut data = *b"some bytes";
        let tag = Gcm12::new(&KEY).seal(&[7; 12], &mut data);
        data[0] ^= 1;
        assert_eq!(Gcm12::new(&KEY).open(&[7; 12], &mut data, &tag), Err(TagMismatch));

        let mut data = *b"some bytes";
        let tag = Gcm16::new(&KEY).seal(&[7; 16], &mut data);
        assert_eq!(Gcm16::new(&KEY).open(&[8; 16], &mut data.clone(), &tag), Err(TagMismatch));
        Gcm16::new(&KEY).open(&[7; 16], &mut data, &tag).unwrap();
        assert_eq!(&data, b"some bytes");
    }

    #[test]
    fn ecb_inverts_itself() {
        let ecb = Ecb::new(&[9; 16]);
        assert_eq!(ecb.decrypt(ecb.encrypt([3; 48])), [3; 48]);
    }
}
