//! RTSP, client side (protocol text §5): framing, the seven requests, what the answers negotiate.
mod announce;
mod driver;
mod framing;
mod handshake;
mod response;

pub use announce::{Announcement, announce_body};
pub use driver::{run, send};
pub use framing::Cipher;
pub use handshake::{Handshake, Negotiated, Offer, Request, Target};
pub use response::Response;

/// Why the handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum RtspError {
    /// The connection failed or broke.
    #[error("RTSP {request}: {source}")]
    Io {
        /// Method.
        request: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Another code than 200.
    #[error("RTSP {request} was answered with {code}")]
    Code {
        /// Method.
        request: &'static str,
        /// Code.
        code: u16,
    },
    /// A stock client could not read the answer; the text names the rule.
    #[error("RTSP {request}: {problem}")]
    Malformed {
        /// Method.
        request: &'static str,
        /// What is wrong.
        problem: String,
    },
}

#[cfg(test)]
mod tests;
