//! Encoded pictures into a file, for `lumen m0`.

use crate::bitstream;
use crate::encoder::EncodedFrame;
use crate::sys;
use lumen_media::{Codec, Colour};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a file says about its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Codec.
    pub codec: Codec,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Pictures in a second, in millihertz.
    pub refresh_mhz: u32,
    /// Matrix and range.
    pub colour: Colour,
}

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file's extension names no container that fits the codec.
    #[error("{path}: {codec} goes into .mkv, .mp4 or {raw}", path = .path.display())]
    Extension {
        /// The file.
        path: PathBuf,
        /// The stream's codec.
        codec: Codec,
        /// Extensions for the bare bitstream.
        raw: &'static str,
    },
    /// The first picture of the file does not stand alone.
    #[error("the first picture of a file must be an IDR with parameter sets")]
    NotIdr,
    /// The system refused to create or write the file.
    #[error("cannot write {path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// FFmpeg refused to write the container.
    #[error("cannot write {path}: {source}", path = .path.display())]
    Mux {
        /// The file.
        path: PathBuf,
        /// What FFmpeg said.
        source: crate::EncodeError,
    },
}

enum Output {
    Raw(BufWriter<File>),
    /// A container, whose header needs the parameter sets of the first picture.
    Waiting(&'static str),
    Container(sys::Muxer),
}

/// Writes one stream of access units to `.mkv`, `.mp4`, `.h264`, `.hevc` (`.h265`), `.obu` or `.ivf`.
///
/// Call [`FileWriter::finish`] at the end: an `.mp4` without it cannot be read.
pub struct FileWriter {
    path: PathBuf,
    info: StreamInfo,
    output: Output,
}

impl FileWriter {
    /// Creates (or overwrites) the file; its extension chooses the container.
    ///
    /// # Errors
    /// [`FileError::Extension`], [`FileError::Io`].
    pub fn create(path: &Path, info: StreamInfo) -> Result<Self, FileError> {
        let _ = File::create(path);
        let _ = (path, info);
        todo!()
    }

    /// Appends one access unit, shown from `time` (since the first picture) on; times must increase.
    ///
    /// # Errors
    /// [`FileError::NotIdr`] for a first picture that does not stand alone, else what the system or FFmpeg said.
    pub fn write(&mut self, frame: &EncodedFrame, time: Duration) -> Result<(), FileError> {
        let _ = (frame, time);
        todo!()
    }

    /// Writes what the container keeps for its end and closes the file.
    ///
    /// # Errors
    /// What the system or FFmpeg said.
    pub fn finish(self) -> Result<(), FileError> {
        todo!()
    }
}
