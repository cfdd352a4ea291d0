//! Video decryption (protocol text §6.9).
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// Bytes in front of the ciphertext: IV, frame number, tag.
pub const PREFIX_LENGTH: usize = 32;

/// Datagrams whose IV is remembered to tell a network's duplicate from a reused IV.
const REMEMBERED: usize = 4096;

/// What is wrong with an encrypted datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecryptError {
    /// Shorter than the prefix.
    #[error("shorter than the 32-byte prefix")]
    Short,
    /// The tag does not match.
    #[error("the tag does not match")]
    Tag,
}

/// Clear fields in front of the ciphertext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// IV as used.
    pub iv: [u8; 12],
    /// Frame number in clear.
    pub frame: u32,
    /// GCM tag.
    pub tag: [u8; 16],
}

impl Prefix {
    /// Reads the clear fields.
    pub fn parse(datagram: &[u8]) -> Result<Prefix, DecryptError> {
        let head: &[u8; PREFIX_LENGTH] = datagram.first_chunk().ok_or(DecryptError::Short)?;
        let mut prefix = Prefix { iv: [0; 12], frame: 0, tag: [0; 16] };
        prefix.iv.copy_from_slice(&head[..12]);
        prefix.frame = u32::from_le_bytes([head[12], head[13], head[14], head[15]]);
        prefix.tag.copy_from_slice(&head[16..]);
        Ok(prefix)
    }

    /// Counter of the IV; `None` when the rest is not `00 00 00 'V'`.
    pub fn counter(&self) -> Option<u64> {
        let counter = self.iv.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))?;
        (self.iv[8..] == [0, 0, 0, b'V']).then_some(counter)
    }
}

/// Opens datagrams and watches the IVs.
pub struct Opener {
    key: LessSafeKey,
    seen: Vec<Option<(u64, [u8; 16])>>,
    /// Counter minus sequence number modulo 2¹⁶: constant, as both count every datagram.
    offset: Option<u16>,
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opener")
    }
}

impl Opener {
    /// For the session key `rikey`.
    pub fn new(key: &[u8; 16]) -> Self {
        let key = UnboundKey::new(&AES_128_GCM, key).expect("an AES-128 key has 16 bytes");
        Opener { key: LessSafeKey::new(key), seen: vec![None; REMEMBERED], offset: None }
    }

    /// Decrypts the whole inner datagram.
    pub fn open(&self, prefix: &Prefix, datagram: &[u8]) -> Result<Vec<u8>, DecryptError> {
        let cipher = datagram.get(PREFIX_LENGTH..).ok_or(DecryptError::Short)?;
        let mut buffer = Vec::with_capacity(cipher.len() + prefix.tag.len());
        buffer.extend_from_slice(cipher);
        buffer.extend_from_slice(&prefix.tag);
        let nonce = Nonce::assume_unique_for_key(prefix.iv);
        self.key.open_in_place(nonce, Aad::empty(), &mut buffer).map_err(|_| DecryptError::Tag)?;
        buffer.truncate(cipher.len());
        Ok(buffer)
    }

    /// Checks the IV of an authentic datagram; gives what is wrong with it.
    pub fn check_iv(&mut self, prefix: &Prefix, sequence: u16) -> Option<String> {
        let Some(counter) = prefix.counter() else {
            return Some(format!("IV {} is not counter, zeros, 'V'", hex::encode(prefix.iv)));
        };
        let offset = (counter as u16).wrapping_sub(sequence);
        let expected = *self.offset.get_or_insert(offset);
        let slot = &mut self.seen[(counter % REMEMBERED as u64) as usize];
        let reused = slot.is_some_and(|(known, tag)| known == counter && tag != prefix.tag);
        *slot = Some((counter, prefix.tag));
        if reused {
            return Some(format!("IV counter {counter} was used twice"));
        }
        (offset != expected)
            .then(|| format!("IV counter {counter} at sequence {sequence} does not run with it"))
    }
}
