//! Sealing and opening of control frames (protocol text §8.2).

use super::{ClientMessage, ControlError, HostMessage};
use crate::crypto::{Gcm12, Gcm16, SessionKey};
use crate::sdp::ControlEncryption;

/// Outer type of every sealed frame.
const SEALED: u16 = 0x0001;
/// Type, length, sequence, tag.
const HEAD: usize = 24;
/// Largest frame opened. Real ones stay below 256 bytes; ENet may hand over more.
const MAX_FRAME: usize = 4096;

#[derive(Debug)]
enum Suite {
    V2(Gcm12),
    Legacy(Gcm16),
}

/// Both directions of one session's control stream, with their counters.
#[derive(Debug)]
pub struct ControlCipher {
    suite: Suite,
    next_sequence: u32,
    seen: Window,
}

impl ControlCipher {
    /// A fresh pair of counters under `key`.
    pub fn new(key: &SessionKey, encryption: ControlEncryption) -> Self {
        let suite = match encryption {
            ControlEncryption::V2 => Suite::V2(Gcm12::new(key)),
            ControlEncryption::Legacy => Suite::Legacy(Gcm16::new(key)),
        };
        Self { suite, next_sequence: 0, seen: Window::default() }
    }

    /// Seals a message for the client. Send what comes out reliably, on channel 0, in this order.
    pub fn seal(&mut self, message: &HostMessage) -> Vec<u8> {
        let sequence = self.next_sequence;
        self.next_sequence = sequence.wrapping_add(1);

        let mut frame = vec![0; HEAD];
        frame.extend(message.encode());
        let tag = match &self.suite {
            Suite::V2(gcm) => gcm.seal(&nonce_v2(sequence, *b"HC"), &mut frame[HEAD..]),
            Suite::Legacy(gcm) => gcm.seal(&nonce_legacy(sequence), &mut frame[HEAD..]),
        };
        let length = u16::try_from(frame.len() - 4).expect("host messages are below 100 bytes");
        frame[..2].copy_from_slice(&SEALED.to_le_bytes());
        frame[2..4].copy_from_slice(&length.to_le_bytes());
        frame[4..8].copy_from_slice(&sequence.to_le_bytes());
        frame[8..HEAD].copy_from_slice(&tag);
        frame
    }

    /// Opens a frame from the client.
    ///
    /// # Errors
    /// [`ControlError`]: drop the frame and count it.
    pub fn open(&mut self, frame: &[u8]) -> Result<ClientMessage, ControlError> {
        let (head, sealed) = frame.split_first_chunk::<HEAD>().ok_or(ControlError::Length)?;
        if frame.len() > MAX_FRAME || usize::from(u16::from_le_bytes([head[2], head[3]])) != frame.len() - 4 {
            return Err(ControlError::Length);
        }
        if u16::from_le_bytes([head[0], head[1]]) != SEALED {
            return Err(ControlError::NotSealed);
        }
        let sequence = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let mut tag = [0; 16];
        tag.copy_from_slice(&head[8..]);
        let mut inner = sealed.to_vec();
        match &self.suite {
            Suite::V2(gcm) => {
                gcm.open(&nonce_v2(sequence, *b"CC"), &mut inner, &tag).map_err(|_| ControlError::Tag)?;
                // Legacy frames do not authenticate their sequence number, so only here a replay can be told.
                if !self.seen.insert(sequence) {
                    return Err(ControlError::Replayed);
                }
            }
            Suite::Legacy(gcm) => {
                gcm.open(&nonce_legacy(sequence), &mut inner, &tag).map_err(|_| ControlError::Tag)?;
            }
        }
        ClientMessage::decode(&inner)
    }

    /// Whether a frame can only come from the client and was not seen before: it opens, and its number is above all
    /// that were opened. Changes nothing, so the frame can still be opened. Legacy frames never prove anything, because
    /// their number is not authenticated.
    pub fn proves(&self, frame: &[u8]) -> bool {
        let Some((head, sealed)) = frame.split_first_chunk::<HEAD>() else { return false };
        let Suite::V2(gcm) = &self.suite else { return false };
        if frame.len() > MAX_FRAME || u16::from_le_bytes([head[0], head[1]]) != SEALED {
            return false;
        }
        let sequence = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let mut tag = [0; 16];
        tag.copy_from_slice(&head[8..]);
        let mut inner = sealed.to_vec();
        u64::from(sequence) >= self.seen.end
            && gcm.open(&nonce_v2(sequence, *b"CC"), &mut inner, &tag).is_ok()
    }
}

fn nonce_v2(sequence: u32, direction: [u8; 2]) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&sequence.to_le_bytes());
    nonce[10..].copy_from_slice(&direction);
    nonce
}

fn nonce_legacy(sequence: u32) -> [u8; 16] {
    let mut nonce = [0; 16];
    nonce[0] = sequence as u8;
    nonce
}

/// The newest sequence numbers that were used. ENet orders within a channel only, so frames of 48 channels may overtake
/// each other, and one that is sent again may come after all that a mouse of 1000 Hz sent in the ten seconds that ENet
/// tries; a replayed ENet packet, however, would press a key twice.
#[derive(Debug)]
struct Window {
    /// One above the highest number seen; 0 before the first.
    end: u64,
    /// Bit n of the whole: `end - 1 - n` was seen.
    bits: [u64; Window::WORDS],
}

impl Default for Window {
    fn default() -> Self {
        Self { end: 0, bits: [0; Self::WORDS] }
    }
}

impl Window {
    const WORDS: usize = 512;
    const LEN: u64 = Self::WORDS as u64 * 64;

    /// Notes `sequence`; false if it was there or is too old to tell.
    fn insert(&mut self, sequence: u32) -> bool {
        let sequence = u64::from(sequence);
        if sequence >= self.end {
            self.advance(sequence + 1 - self.end);
            self.end = sequence + 1;
        }
        let age = self.end - 1 - sequence;
        if age >= Self::LEN {
            return false;
        }
        let (word, bit) = ((age / 64) as usize, 1 << (age % 64));
        let fresh = self.bits[word] & bit == 0;
        self.bits[word] |= bit;
        fresh
    }

    /// Ages everything by `by`.
    fn advance(&mut self, by: u64) {
        if by >= Self::LEN {
            self.bits = [0; Self::WORDS];
            return;
        }
        let (words, bits) = ((by / 64) as usize, (by % 64) as u32);
        for index in (0..Self::WORDS).rev() {
            let high = index.checked_sub(words).map_or(0, |from| self.bits[from]);
            let low = index.checked_sub(words + 1).map_or(0, |from| self.bits[from]);
            self.bits[index] = if bits == 0 { high } else { high << bits | low >> (64 - bits) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Window;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn a_key_that_is_sent_again_comes_after_ten_thousand_others() {
        let mut window = Window::default();
        assert!((0..30_000).filter(|number| *number != 100).all(|number| window.insert(number)));
        assert!(window.insert(100));
        assert!(!window.insert(100));
        assert!(window.insert(100 + 32_768));
        assert!(!window.insert(100));
    }

    proptest! {
        /// Against a set: what is fresh is taken, what was seen is not, whatever the order.
        #[test]
        fn the_window_equals_a_set(numbers in prop::collection::vec(0u32..100_000, 1..300)) {
            let mut window = Window::default();
            let mut model = HashSet::new();
            let mut highest = 0;
            for number in numbers {
                highest = highest.max(number);
                let in_reach = u64::from(highest - number) < Window::LEN;
                prop_assert_eq!(window.insert(number), model.insert(number) && in_reach);
            }
        }
    }

    #[test]
    fn the_last_number_is_still_a_number() {
        let mut window = Window::default();
        assert!(window.insert(u32::MAX));
        assert!(!window.insert(u32::MAX));
        assert!(!window.insert(0), "too old to tell");
    }
}
