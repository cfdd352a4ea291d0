//! What can go wrong between planes and bitstream.

use lumen_media::Codec;

/// Why a picture could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// FFmpeg here has no encoder for this codec.
    #[error("no {codec} encoder: this FFmpeg is built without {library}. {remedy}")]
    NoEncoder {
        /// What was asked for.
        codec: Codec,
        /// The encoder that FFmpeg lacks, by its name there.
        library: &'static str,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The encoder's library is too old for streaming.
    #[error(
        "{library} {version} keeps pictures back and ignores forced key frames; {needed} or newer is needed"
    )]
    TooOld {
        /// The encoder, by its name in FFmpeg.
        library: &'static str,
        /// Version found.
        version: String,
        /// First version that does.
        needed: &'static str,
    },
    /// A value that no encoder can take.
    #[error("cannot encode with {name} = {value}: {expected}")]
    BadConfig {
        /// Field of [`crate::EncoderConfig`].
        name: &'static str,
        /// What it held.
        value: String,
        /// What it may hold.
        expected: &'static str,
    },
    /// The planes are not of the size that the encoder was opened for.
    #[error("the encoder is open for {}x{} but got a picture of {}x{}", .expected.0, .expected.1, .got.0, .got.1)]
    WrongSize {
        /// What the encoder was opened for.
        expected: (u32, u32),
        /// What it got.
        got: (u32, u32),
    },
    /// The encoder keeps pictures back, which adds a frame or more of delay.
    #[error(
        "{library} keeps pictures back instead of answering each with an access unit; it cannot be used for streaming. Install a newer version"
    )]
    Withheld {
        /// The encoder, by its name in FFmpeg.
        library: &'static str,
    },
    /// The encoder answered a forced key frame with a predicted one.
    #[error(
        "{library} ignores forced key frames, so that a client could never recover from loss. Install a newer version"
    )]
    KeyFrameIgnored {
        /// The encoder, by its name in FFmpeg.
        library: &'static str,
    },
    /// FFmpeg refused something.
    #[error("{library}: {call} failed: {message}")]
    Ffmpeg {
        /// The encoder or muxer, by its name in FFmpeg.
        library: String,
        /// The call that failed.
        call: &'static str,
        /// FFmpeg's error number.
        code: i32,
        /// FFmpeg's own words.
        message: String,
    },
}
