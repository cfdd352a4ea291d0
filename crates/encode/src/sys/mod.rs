//! FFmpeg's C interface as owned types. Nothing outside this folder sees a pointer.
//!
//! Options go in as text, by the names that the `ffmpeg` command uses: those stayed the same from FFmpeg 5.1 to 9, the
//! structures behind them did not.

mod codec;
pub(crate) mod log;
mod mux;

pub(crate) use codec::{Context, ContextConfig, Rate, Received};
pub(crate) use mux::{Muxer, MuxerConfig};

use crate::error::EncodeError;
use ffmpeg_next::ffi;
use std::ffi::{CStr, c_int};

fn check(library: &str, call: &'static str, code: c_int) -> Result<c_int, EncodeError> {
    if code < 0 { Err(failure(library, call, code)) } else { Ok(code) }
}

fn failure(library: &str, call: &'static str, code: c_int) -> EncodeError {
    let mut text = [0; 128];
    // SAFETY: FFmpeg writes at most the length given, with a closing zero.
    let message = unsafe {
        ffi::av_strerror(code, text.as_mut_ptr(), text.len());
        CStr::from_ptr(text.as_ptr())
    };
    EncodeError::Ffmpeg {
        library: library.to_owned(),
        call,
        code,
        message: message.to_string_lossy().into_owned(),
    }
}

fn out_of_memory(library: &str, call: &'static str) -> EncodeError {
    failure(library, call, ffi::AVERROR(ffi::ENOMEM))
}

/// FFmpeg's own version, as `n7.1` or `5.1.9-0+deb12u1`.
pub(crate) fn version() -> String {
    // SAFETY: a constant text of the library.
    unsafe { CStr::from_ptr(ffi::av_version_info()) }.to_string_lossy().into_owned()
}

/// Version of the SVT-AV1 library that FFmpeg brought into this process, as `v4.2.0`; `None` where that cannot be told.
///
/// Asking first spares the standard error from a library that introduces itself there at length.
pub(crate) fn svt_av1_version() -> Option<String> {
    // SAFETY: looks a name up among the libraries loaded; the function of that name takes no argument and returns a
    // constant text.
    unsafe {
        let symbol = libc::dlsym(libc::RTLD_DEFAULT, c"svt_av1_get_version".as_ptr());
        if symbol.is_null() {
            return None;
        }
        let function: extern "C" fn() -> *const std::ffi::c_char = std::mem::transmute(symbol);
        let text = function();
        (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
    }
}
