//! FFmpeg's own messages on their way into ours.

use crate::sys;

/// How much of FFmpeg's log to pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FfmpegLog {
    /// Errors as warnings, warnings for debugging, nothing else.
    #[default]
    Quiet,
    /// Everything that FFmpeg says up to its level `debug`, each at the level that FFmpeg gave it
    /// (`LUMEN_FFMPEG_DEBUG`).
    Debug,
}

/// Sends FFmpeg's log to `tracing`, target `ffmpeg`, from now on. Until the first call FFmpeg writes to the standard
/// error; opening an encoder calls this with [`FfmpegLog::Quiet`] unless it was called before.
pub fn install(amount: FfmpegLog) {
    sys::log::install(matches!(amount, FfmpegLog::Debug));
}
