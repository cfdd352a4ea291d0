//! The C callback behind [`crate::log`].

use ffmpeg_next::ffi;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(target_arch = "aarch64")]
type VaList = ffi::va_list;
#[cfg(not(target_arch = "aarch64"))]
type VaList = *mut ffi::__va_list_tag;

static DEBUG: AtomicBool = AtomicBool::new(false);
static INSTALLED: Once = Once::new();

/// Installs the callback and sets how much of it to pass on.
pub(crate) fn install(debug: bool) {
    DEBUG.store(debug, Ordering::Relaxed);
    install_once();
}

/// Installs the callback if nobody has; keeps the amount.
pub(crate) fn install_once() {
    INSTALLED.call_once(|| {
        // SAFETY: the callback has the signature that FFmpeg asks for and lives for ever.
        unsafe { ffi::av_log_set_callback(Some(callback)) };
    });
}

unsafe extern "C" fn callback(context: *mut c_void, level: c_int, format: *const c_char, arguments: VaList) {
    // Bits above the lowest eight carry a colour.
    let level = level & 0xff;
    let debug = DEBUG.load(Ordering::Relaxed);
    if level > if debug { ffi::AV_LOG_DEBUG } else { ffi::AV_LOG_WARNING } {
        return;
    }
    let mut line: [c_char; 512] = [0; 512];
    let mut prefix: c_int = 1;
    // SAFETY: FFmpeg hands over its own context, format and arguments; the line is cut at the length given.
    let text = unsafe {
        ffi::av_log_format_line2(
            context,
            level,
            format,
            arguments,
            line.as_mut_ptr(),
            line.len() as c_int,
            &mut prefix,
        );
        CStr::from_ptr(line.as_ptr())
    };
    let text = text.to_string_lossy();
    let text = text.trim();
    if text.is_empty() {
        return;
    }
    match (debug, level) {
        (_, ..=ffi::AV_LOG_ERROR) => tracing::warn!(target: "ffmpeg", "{text}"),
        (true, ..=ffi::AV_LOG_WARNING) => tracing::warn!(target: "ffmpeg", "{text}"),
        (true, ..=ffi::AV_LOG_INFO) => tracing::info!(target: "ffmpeg", "{text}"),
        // Warnings come per frame when a rate cannot be kept: too many for anything above debug.
        _ => tracing::debug!(target: "ffmpeg", "{text}"),
    }
}
