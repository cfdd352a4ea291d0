//! Encrypted control frames (protocol text §8.2).
use aes_gcm::aead::consts::{U12, U16};
use aes_gcm::aead::{AeadInPlace, KeyInit};
use aes_gcm::{AesGcm, aes::Aes128};

/// Outer type of every encrypted frame.
const OUTER_TYPE: u16 = 0x0001;
/// Type, length, sequence, tag.
const HEADER_LENGTH: usize = 24;

/// How the IV is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CipherMode {
    /// 12 bytes: sequence, zeros, direction.
    V2,
    /// 16 bytes: low byte of the sequence, zeros; the same in both directions.
    Legacy,
}

/// Who seals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// "CC".
    ClientToHost,
    /// "HC".
    HostToClient,
}

/// Why a frame is dropped. Never a reason to end the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than its header, or the length field disagrees.
    #[error("the length of the frame is wrong")]
    Length,
    /// Outer type is not 0x0001.
    #[error("outer type {0:#06x} on an encrypted session")]
    OuterType(u16),
    /// The tag does not match.
    #[error("the tag does not match")]
    Tag,
    /// The inner length disagrees.
    #[error("the inner length is wrong")]
    InnerLength,
}

/// Seals and opens frames with the session key.
pub struct Cipher {
    mode: CipherMode,
    v2: AesGcm<Aes128, U12>,
    legacy: AesGcm<Aes128, U16>,
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cipher({:?})", self.mode)
    }
}

impl Cipher {
    /// For the session key `rikey`.
    pub fn new(mode: CipherMode, key: &[u8; 16]) -> Self {
        Cipher { mode, v2: AesGcm::new(key.into()), legacy: AesGcm::new(key.into()) }
    }

    /// A whole frame around inner message `kind` with `payload`.
    pub fn seal(&self, direction: Direction, sequence: u32, kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut inner = Vec::with_capacity(4 + payload.len());
        inner.extend_from_slice(&kind.to_le_bytes());
        inner.extend_from_slice(&(payload.len() as u16).to_le_bytes());
        inner.extend_from_slice(payload);
        let tag = match self.mode {
            CipherMode::V2 => {
                self.v2.encrypt_in_place_detached(&iv_v2(direction, sequence).into(), b"", &mut inner)
            }
            CipherMode::Legacy => {
                self.legacy.encrypt_in_place_detached(&iv_legacy(sequence).into(), b"", &mut inner)
            }
        }
        .expect("a control message is far below the length limit of GCM");
        let mut frame = Vec::with_capacity(HEADER_LENGTH + inner.len());
        frame.extend_from_slice(&OUTER_TYPE.to_le_bytes());
        frame.extend_from_slice(&((20 + inner.len()) as u16).to_le_bytes());
        frame.extend_from_slice(&sequence.to_le_bytes());
        frame.extend_from_slice(&tag);
        frame.extend_from_slice(&inner);
        frame
    }

    /// Sequence, inner type and payload of a frame.
    pub fn open(&self, direction: Direction, frame: &[u8]) -> Result<(u32, u16, Vec<u8>), FrameError> {
        let head: &[u8; HEADER_LENGTH] = frame.first_chunk().ok_or(FrameError::Length)?;
        let outer = u16::from_le_bytes([head[0], head[1]]);
        if outer != OUTER_TYPE {
            return Err(FrameError::OuterType(outer));
        }
        if usize::from(u16::from_le_bytes([head[2], head[3]])) != frame.len() - 4 {
            return Err(FrameError::Length);
        }
        let sequence = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let mut tag = [0; 16];
        tag.copy_from_slice(&head[8..]);
        let mut inner = frame[HEADER_LENGTH..].to_vec();
        match self.mode {
            CipherMode::V2 => {
                let iv = iv_v2(direction, sequence);
                self.v2.decrypt_in_place_detached(&iv.into(), b"", &mut inner, &tag.into())
            }
            CipherMode::Legacy => {
                let iv = iv_legacy(sequence);
                self.legacy.decrypt_in_place_detached(&iv.into(), b"", &mut inner, &tag.into())
            }
        }
        .map_err(|_| FrameError::Tag)?;
        let &[k0, k1, l0, l1] = inner.first_chunk().ok_or(FrameError::InnerLength)?;
        if usize::from(u16::from_le_bytes([l0, l1])) != inner.len() - 4 {
            return Err(FrameError::InnerLength);
        }
        Ok((sequence, u16::from_le_bytes([k0, k1]), inner.split_off(4)))
    }
}

/// seq LE32 ‖ 00×6 ‖ "CC" or "HC".
pub(super) fn iv_v2(direction: Direction, sequence: u32) -> [u8; 12] {
    let mut iv = [0; 12];
    iv[..4].copy_from_slice(&sequence.to_le_bytes());
    iv[10..].copy_from_slice(match direction {
        Direction::ClientToHost => b"CC",
        Direction::HostToClient => b"HC",
    });
    iv
}

/// Low byte of the sequence ‖ 00×15.
fn iv_legacy(sequence: u32) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[0] = sequence as u8;
    iv
}
