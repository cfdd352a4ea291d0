//! Sealing of whole messages (protocol text §5.2).

use super::assembler::{SEALED_BIT, SEALED_HEAD, SealedMessage};
use super::{MAX_MESSAGE, RtspError};
use crate::crypto::{Gcm12, SessionKey};

/// Both directions of one launch. The counters start at 1 and run across its TCP connections.
#[derive(Debug)]
pub(super) struct Seal {
    gcm: Gcm12,
    last_sent: u32,
    last_received: u32,
}

impl Seal {
    pub(super) fn new(key: &SessionKey) -> Self {
        Self { gcm: Gcm12::new(key), last_sent: 0, last_received: 0 }
    }

    /// Opens a message of the client. Its numbers only grow, since it sends one request after the other.
    pub(super) fn open(&mut self, message: &SealedMessage) -> Result<Vec<u8>, RtspError> {
        if message.sequence <= self.last_received || message.ciphertext.len() > MAX_MESSAGE {
            return Err(RtspError::NotOpened);
        }
        let mut text = message.ciphertext.clone();
        self.gcm
            .open(&nonce(message.sequence, b'C'), &mut text, &message.tag)
            .map_err(|_| RtspError::NotOpened)?;
        self.last_received = message.sequence;
        Ok(text)
    }

    /// Seals a response.
    pub(super) fn seal(&mut self, message: &[u8]) -> Vec<u8> {
        self.last_sent += 1;
        let length = u32::try_from(message.len()).expect("responses are a few kB");
        let mut frame = vec![0; SEALED_HEAD];
        frame.extend_from_slice(message);
        let tag = self.gcm.seal(&nonce(self.last_sent, b'H'), &mut frame[SEALED_HEAD..]);
        frame[..4].copy_from_slice(&(SEALED_BIT | length).to_be_bytes());
        frame[4..8].copy_from_slice(&self.last_sent.to_be_bytes());
        frame[8..SEALED_HEAD].copy_from_slice(&tag);
        frame
    }
}

fn nonce(sequence: u32, direction: u8) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&sequence.to_le_bytes());
    nonce[10] = direction;
    nonce[11] = b'R';
    nonce
}
