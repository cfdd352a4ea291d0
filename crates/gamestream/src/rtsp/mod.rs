//! RTSP as GameStream clients speak it (protocol text §5): one request per TCP connection, plain or sealed, seven of
//! them per launch.
//!
//! For each TCP connection: feed an [`Assembler`] until it is [`Progress::Complete`], hand the message to
//! [`Router::receive`], write what [`Router::encode`] makes of the reply, close with FIN. On [`Progress::Bad`], or when
//! no handshake takes the message, close without a reply.

mod assembler;
mod handshake;
mod message;
mod router;
mod seal;

pub use assembler::{Assembler, Incoming, Progress, SealedMessage};
pub use handshake::{Exchange, Handshake, HandshakeConfig, RtspEvent, StreamPorts};
pub use message::{Request, Response};
pub use router::Router;

/// Longest message, head and body together, in bytes. ANNOUNCE, the longest, has about 2 kB.
pub const MAX_MESSAGE: usize = 16 * 1024;
/// Most headers of a request. Clients send up to 6.
pub const MAX_HEADERS: usize = 32;

/// Why bytes or a message were refused: close the connection, count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtspError {
    /// Longer than [`MAX_MESSAGE`].
    #[error("the message is longer than {MAX_MESSAGE} bytes")]
    TooLong,
    /// More than [`MAX_HEADERS`] headers.
    #[error("the message has more than {MAX_HEADERS} headers")]
    TooManyHeaders,
    /// Not a request.
    #[error("not an RTSP request")]
    Malformed,
    /// A sealed message that this launch's key does not open, or whose number was used before.
    #[error("the message does not open with this launch's key")]
    NotOpened,
    /// A plain message for a launch that seals, or the reverse.
    #[error("the message is plain where it must be sealed, or the reverse")]
    WrongFraming,
    /// No launch waits for this message.
    #[error("no launch waits for this message")]
    Nobody,
}

#[cfg(test)]
mod tests;
