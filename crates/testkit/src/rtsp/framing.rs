//! Encrypted RTSP framing (protocol text §5.2).
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// Length, sequence, tag.
const HEADER_LENGTH: usize = 24;
/// Marks an encrypted frame.
const ENCRYPTED: u32 = 0x8000_0000;

/// Seals requests and opens answers; counters run across all connections of a handshake.
pub struct Cipher {
    key: LessSafeKey,
    sent: u32,
    received: u32,
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cipher(sent {}, received {})", self.sent, self.received)
    }
}

impl Cipher {
    /// For the session key `rikey`; both counters begin at 1.
    pub fn new(key: &[u8; 16]) -> Self {
        let key = UnboundKey::new(&AES_128_GCM, key).expect("an AES-128 key has 16 bytes");
        Cipher { key: LessSafeKey::new(key), sent: 0, received: 0 }
    }

    /// One frame around a whole request.
    pub fn seal(&mut self, message: &[u8]) -> Vec<u8> {
        self.sent = self.sent.wrapping_add(1);
        let mut body = message.to_vec();
        let nonce = Nonce::assume_unique_for_key(iv(self.sent, b'C'));
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::empty(), &mut body)
            .expect("a request is far below the length limit of GCM");
        let mut frame = Vec::with_capacity(HEADER_LENGTH + body.len());
        frame.extend_from_slice(&(ENCRYPTED | message.len() as u32).to_be_bytes());
        frame.extend_from_slice(&self.sent.to_be_bytes());
        frame.extend_from_slice(tag.as_ref());
        frame.extend_from_slice(&body);
        frame
    }

    /// The answer inside a frame, or what is wrong with it.
    pub fn open(&mut self, frame: &[u8]) -> Result<Vec<u8>, String> {
        let head: &[u8; HEADER_LENGTH] =
            frame.first_chunk().ok_or("the answer is shorter than a frame's header")?;
        let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        if word(0) & ENCRYPTED == 0 {
            return Err("a plain answer on an encrypted session".to_owned());
        }
        let length = (word(0) & !ENCRYPTED) as usize;
        if length != frame.len() - HEADER_LENGTH {
            return Err(format!("a frame of {length} bytes came with {}", frame.len() - HEADER_LENGTH));
        }
        self.received = self.received.wrapping_add(1);
        if word(4) != self.received {
            return Err(format!("sequence {}, not {}", word(4), self.received));
        }
        let mut body = [&frame[HEADER_LENGTH..], &head[8..]].concat();
        let nonce = Nonce::assume_unique_for_key(iv(self.received, b'H'));
        self.key.open_in_place(nonce, Aad::empty(), &mut body).map_err(|_| "the tag does not match")?;
        body.truncate(length);
        Ok(body)
    }
}

/// seq LE32 ‖ 00×6 ‖ direction ‖ 'R'.
pub(super) fn iv(sequence: u32, direction: u8) -> [u8; 12] {
    let mut iv = [0; 12];
    iv[..4].copy_from_slice(&sequence.to_le_bytes());
    iv[10] = direction;
    iv[11] = b'R';
    iv
}
