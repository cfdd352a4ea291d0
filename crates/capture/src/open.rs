//! From what a backend says about an output to a frame source.

use crate::pipewire::PipeWireSource;
use crate::screencopy::{CopyProtocol, open_screencopy};
use lumen_media::{DisplayError, FrameSource, Mode, OutputSource};
use std::path::PathBuf;

/// How pictures are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureConfig {
    /// Take linear dmabufs where the producer has them and read them by mapping. Slow on real graphics cards, where
    /// shared memory is better; so off unless asked for.
    pub dmabuf: bool,
    /// Offer exactly one format, to find out what a producer does not like (`LUMEN_PW_FIXED_POD`).
    pub fixed_pod: bool,
    /// The session's `XDG_RUNTIME_DIR`, where PipeWire's socket is, when this process has another environment than the
    /// session. `None`: where the process's environment says.
    pub runtime_dir: Option<PathBuf>,
}

/// Why a capture could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// PipeWire's daemon cannot be reached.
    #[error("PipeWire cannot be reached: {0}. Start it (systemctl --user start pipewire) and try again")]
    NoDaemon(String),
    /// The node or output is gone, or never was.
    #[error("the output's pictures are not there: {0}. Start the stream again")]
    NoTarget(String),
    /// Producer and we have no format in common.
    #[error(
        "the compositor offers no picture format that Lumen reads: {0}. Update it, or choose another way to its pictures \
        (display.compositor, display.source)"
    )]
    NoFormat(String),
    /// Nothing came within the deadline.
    #[error("the compositor sent no picture within {limit:?} ({waited_for})")]
    Timeout {
        /// What was waited for.
        waited_for: String,
        /// How long.
        limit: std::time::Duration,
    },
    /// The compositor's copy protocol is missing.
    #[error(
        "the compositor has neither ext-image-copy-capture-v1 nor wlr-screencopy; capture it through its portal (display.source = \"portal\")"
    )]
    NoProtocol,
    /// A system call failed.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl From<CaptureError> for DisplayError {
    fn from(error: CaptureError) -> Self {
        Self::Other(error.to_string())
    }
}

/// Opens the pictures of an output that was made at `mode`. Returns when the source is connected and its format is
/// negotiated, within five seconds; it is inactive until [`FrameSource::set_active`].
///
/// # Errors
/// [`CaptureError`] with cause and next step.
pub fn open(
    source: OutputSource,
    mode: Mode,
    config: &CaptureConfig,
) -> Result<Box<dyn FrameSource>, CaptureError> {
    match source {
        OutputSource::Frames(frames) => Ok(frames),
        OutputSource::PipeWire(target) => Ok(Box::new(PipeWireSource::open(target, mode, config)?)),
        OutputSource::Wayland(target) => open_screencopy(&target, CopyProtocol::Best),
    }
}
