//! One message out of the pieces that a TCP connection delivers.

use super::message::{Request, head_end};
use super::{MAX_MESSAGE, RtspError};

/// Length word, sequence number, tag (protocol text §5.2).
pub(super) const SEALED_HEAD: usize = 24;
/// Marks the length word of a sealed message; no request starts with a byte ≥ 0x80.
pub(super) const SEALED_BIT: u32 = 0x8000_0000;

/// Collects the bytes of one connection until they are one message. Holds at most [`MAX_MESSAGE`] and a head.
#[derive(Debug, Default)]
pub struct Assembler {
    buffer: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// The head of a plain message is looked for from here.
    #[default]
    Head,
    /// The message is complete at this length.
    Body { total: usize },
    /// A message was delivered, or an error.
    Done,
}

/// What the bytes so far are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The start of a message.
    NeedMore,
    /// A message. Whatever follows on this connection is not read.
    Complete(Incoming),
    /// Never a message: close the connection.
    Bad(RtspError),
}

/// A message as it came over TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A plain request.
    Plain(Request),
    /// A sealed one; only the key of its launch opens it.
    Sealed(SealedMessage),
}

/// A sealed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedMessage {
    pub(super) sequence: u32,
    pub(super) tag: [u8; 16],
    pub(super) ciphertext: Vec<u8>,
}

impl Assembler {
    /// For a new connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether anything arrived: clients open and close connections to probe the port.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Takes the next bytes, in pieces of any size.
    pub fn push(&mut self, bytes: &[u8]) -> Progress {
        // One byte more than a message may have is enough to see that it is too long.
        let room = (MAX_MESSAGE + SEALED_HEAD + 1).saturating_sub(self.buffer.len());
        let searched = self.buffer.len().saturating_sub(3);
        self.buffer.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let progress = match self.advance(searched) {
            Ok(None) => return Progress::NeedMore,
            Ok(Some(incoming)) => Progress::Complete(incoming),
            Err(error) => Progress::Bad(error),
        };
        self.state = State::Done;
        progress
    }

    /// `searched` bytes were already looked at for the end of the head.
    fn advance(&mut self, searched: usize) -> Result<Option<Incoming>, RtspError> {
        let Some(&first) = self.buffer.first() else { return Ok(None) };
        let sealed = first & 0x80 != 0;
        if let State::Head = self.state {
            let total = if sealed { self.sealed_length()? } else { self.plain_length(searched)? };
            match total {
                Some(total) => self.state = State::Body { total },
                None => return Ok(None),
            }
        }
        match self.state {
            State::Body { total } if self.buffer.len() >= total => {
                let message = &self.buffer[..total];
                if sealed {
                    SealedMessage::parse(message).map(Incoming::Sealed)
                } else {
                    Request::parse(message).map(Incoming::Plain)
                }
                .map(Some)
            }
            State::Body { .. } => Ok(None),
            State::Head | State::Done => Err(RtspError::Malformed),
        }
    }

    fn sealed_length(&self) -> Result<Option<usize>, RtspError> {
        let Some(word) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let length = (u32::from_be_bytes(*word) & !SEALED_BIT) as usize;
        if length > MAX_MESSAGE { Err(RtspError::TooLong) } else { Ok(Some(SEALED_HEAD + length)) }
    }

    fn plain_length(&self, searched: usize) -> Result<Option<usize>, RtspError> {
        let Some(head_end) = head_end(&self.buffer[searched..]).map(|at| searched + at) else {
            return if self.buffer.len() > MAX_MESSAGE { Err(RtspError::TooLong) } else { Ok(None) };
        };
        let head = Request::parse(&self.buffer[..head_end])?;
        let body = match head.header("Content-length") {
            Some(length) => length.parse::<usize>().map_err(|_| RtspError::Malformed)?,
            None => 0,
        };
        match head_end.checked_add(body) {
            Some(total) if total <= MAX_MESSAGE => Ok(Some(total)),
            _ => Err(RtspError::TooLong),
        }
    }
}

impl SealedMessage {
    fn parse(message: &[u8]) -> Result<Self, RtspError> {
        let (head, ciphertext) = message.split_first_chunk::<SEALED_HEAD>().ok_or(RtspError::Malformed)?;
        let mut tag = [0; 16];
        tag.copy_from_slice(&head[8..]);
        Ok(Self {
            sequence: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
            tag,
            ciphertext: ciphertext.to_vec(),
        })
    }
}
