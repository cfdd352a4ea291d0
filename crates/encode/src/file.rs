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

/// Shows a bad path before anything is encoded, and leaves everything as it is.
fn try_to_write(path: &Path) -> std::io::Result<()> {
    match File::options().write(true).create_new(true).open(path) {
        Ok(_) => std::fs::remove_file(path),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            File::options().write(true).open(path).map(drop)
        }
        Err(error) => Err(error),
    }
}

enum Output {
    /// Nothing was written yet. A container's header, by FFmpeg's name, needs the parameter sets of the first picture.
    Waiting(Option<&'static str>),
    Raw(BufWriter<File>),
    Container(sys::Muxer),
}

/// Writes one stream of access units to `.mkv`, `.mp4`, `.ivf` (AV1), or bare to `.h264`, `.hevc` (`.h265`), `.obu`.
///
/// Call [`FileWriter::finish`] at the end: an `.mp4` without it cannot be read.
pub struct FileWriter {
    path: PathBuf,
    info: StreamInfo,
    output: Output,
}

impl FileWriter {
    /// Sees whether the file can be written; its extension chooses the container. A file that is there is overwritten by
    /// the first picture, not before.
    ///
    /// # Errors
    /// [`FileError::Extension`], [`FileError::Io`].
    pub fn create(path: &Path, info: StreamInfo) -> Result<Self, FileError> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let container = match (extension.to_ascii_lowercase().as_str(), info.codec) {
            ("mkv", _) => Some("matroska"),
            ("mp4", _) => Some("mp4"),
            ("ivf", Codec::Av1) => Some("ivf"),
            ("h264" | "264", Codec::H264) | ("hevc" | "h265" | "265", Codec::Hevc) | ("obu", Codec::Av1) => {
                None
            }
            _ => {
                let raw = match info.codec {
                    Codec::H264 => ".h264",
                    Codec::Hevc => ".hevc or .h265",
                    Codec::Av1 => ".obu or .ivf",
                };
                return Err(FileError::Extension { path: path.into(), codec: info.codec, raw });
            }
        };
        try_to_write(path).map_err(|source| FileError::Io { path: path.into(), source })?;
        Ok(Self { path: path.into(), info, output: Output::Waiting(container) })
    }

    /// Appends one access unit, shown from `time` (since the first picture) on; times must increase.
    ///
    /// # Errors
    /// [`FileError::NotIdr`] for a first picture that does not stand alone, else what the system or FFmpeg said.
    pub fn write(&mut self, frame: &EncodedFrame, time: Duration) -> Result<(), FileError> {
        if let Output::Waiting(None) = self.output {
            let file = File::create(&self.path).map_err(|source| self.io_error(source))?;
            self.output = Output::Raw(BufWriter::new(file));
        }
        if let Output::Waiting(Some(container)) = self.output {
            if !frame.idr {
                return Err(FileError::NotIdr);
            }
            let muxer = sys::Muxer::create(&sys::MuxerConfig {
                container,
                path: &self.path,
                codec: self.info.codec,
                width: self.info.width,
                height: self.info.height,
                refresh_mhz: self.info.refresh_mhz,
                colour: self.info.colour,
                extradata: &bitstream::parameter_sets(self.info.codec, &frame.data),
            });
            self.output = Output::Container(muxer.map_err(|source| self.mux_error(source))?);
        }
        match &mut self.output {
            Output::Raw(file) => file.write_all(&frame.data).map_err(|source| self.io_error(source)),
            Output::Container(muxer) => {
                muxer.write(&frame.data, frame.idr, time).map_err(|source| self.mux_error(source))
            }
            Output::Waiting(_) => Ok(()),
        }
    }

    /// Writes what the container keeps for its end and closes the file.
    ///
    /// # Errors
    /// What the system or FFmpeg said.
    pub fn finish(self) -> Result<(), FileError> {
        let path = self.path;
        match self.output {
            Output::Raw(mut file) => file.flush().map_err(|source| FileError::Io { path, source }),
            Output::Container(muxer) => muxer.finish().map_err(|source| FileError::Mux { path, source }),
            Output::Waiting(_) => Ok(()),
        }
    }

    fn io_error(&self, source: std::io::Error) -> FileError {
        FileError::Io { path: self.path.clone(), source }
    }

    fn mux_error(&self, source: crate::EncodeError) -> FileError {
        FileError::Mux { path: self.path.clone(), source }
    }
}
