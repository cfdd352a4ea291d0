//! From a composed picture to an access unit: RGB → planes ([`Converter`]), planes → bitstream ([`Encoder`]), what this
//! machine can do in time ([`probe()`]), and files for `lumen m0` ([`FileWriter`]).
//!
//! One picture goes in and one access unit comes out of the same call; nothing is queued inside. The planes are shared
//! ([`std::sync::Arc`]), so that a repeat is encoded from what is already converted and the next picture is converted
//! while this one is encoded:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let frame: lumen_media::Frame = todo!();
//! use lumen_encode::{Converter, Encoder, EncoderConfig, PlanesPool};
//! use lumen_media::{Codec, Colour};
//! use std::sync::Arc;
//!
//! let pool = PlanesPool::new(1280, 720);
//! let converter = Converter::new(1280, 720, Colour::BT709_LIMITED);
//! let mut encoder = Encoder::open(&EncoderConfig::new(Codec::H264, 1280, 720, 60_000, 10_000_000))?;
//!
//! let mut planes = pool.acquire();
//! converter.convert(&frame, &mut planes)?;
//! let planes = Arc::new(planes);
//! let first = encoder.encode(&planes, true)?; // an IDR
//! let repeat = encoder.encode(&planes, false)?; // the same picture again: no conversion, no copy
//! # Ok(()) }
//! ```
#![deny(unsafe_code)]
#![deny(missing_docs)]

pub mod bitstream;
mod convert;
mod encoder;
mod error;
mod file;
pub mod log;
mod planes;
pub mod probe;
mod scale;
mod software;
#[allow(unsafe_code, reason = "FFmpeg is a C library; every handle is an owned type here")]
mod sys;
mod view;

pub use convert::{ConvertError, Converter};
pub use encoder::{EncodedFrame, Encoder, EncoderConfig, Preset};
pub use error::EncodeError;
pub use file::{FileError, FileWriter, StreamInfo};
pub use planes::{Planes, PlanesPool};
pub use probe::{ProbeConfig, ProbeReport, probe};
pub use scale::{Area, Placement, ScaleError, Scaler};
pub use view::View;

/// Version of the FFmpeg libraries in use, for example `59.37.100 (5.1.6)`.
pub fn ffmpeg_version() -> String {
    sys::version()
}
