//! What speaks to libopus.

use opusic_sys as opus;
use std::ffi::CStr;
use std::ptr::NonNull;

/// What libopus said instead of doing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("libopus: {text} ({code})", text = describe(*.0), code = .0)]
pub struct OpusError(i32);

fn describe(code: i32) -> String {
    // SAFETY: answers a constant text for every number.
    let text = unsafe { CStr::from_ptr(opus::opus_strerror(code)) };
    text.to_string_lossy().into_owned()
}

/// How a multistream encoder is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) channels: u8,
    pub(crate) streams: u8,
    pub(crate) coupled: u8,
    /// Input channel → channel of the streams; as many as there are channels.
    pub(crate) mapping: &'a [u8],
    /// Bits per second.
    pub(crate) bitrate: i32,
}

/// A multistream encoder for 48 kHz, restricted low delay, hard constant bitrate.
pub(crate) struct MultistreamEncoder {
    state: NonNull<opus::OpusMSEncoder>,
    channels: usize,
}

// SAFETY: the state is plain memory that libopus ties to no thread; `&mut` keeps uses apart.
unsafe impl Send for MultistreamEncoder {}

impl MultistreamEncoder {
    pub(crate) fn new(setup: Setup<'_>) -> Result<Self, OpusError> {
        if setup.mapping.len() != usize::from(setup.channels) {
            return Err(OpusError(opus::OPUS_BAD_ARG));
        }
        let mut error = 0;
        // SAFETY: the mapping has one entry a channel, checked above; libopus copies it.
        let state = unsafe {
            opus::opus_multistream_encoder_create(
                48_000,
                setup.channels.into(),
                setup.streams.into(),
                setup.coupled.into(),
                setup.mapping.as_ptr(),
                opus::OPUS_APPLICATION_RESTRICTED_LOWDELAY,
                &mut error,
            )
        };
        let state = NonNull::new(state).ok_or(OpusError(error))?;
        let mut encoder = Self { state, channels: setup.channels.into() };
        encoder.set(opus::OPUS_SET_VBR_REQUEST, 0)?;
        encoder.set(opus::OPUS_SET_BITRATE_REQUEST, setup.bitrate)?;
        Ok(encoder)
    }

    fn set(&mut self, request: i32, value: i32) -> Result<(), OpusError> {
        // SAFETY: both requests take one opus_int32.
        let code = unsafe { opus::opus_multistream_encoder_ctl(self.state.as_ptr(), request, value) };
        if code == opus::OPUS_OK { Ok(()) } else { Err(OpusError(code)) }
    }

    /// Encodes interleaved samples, all of one packet, into `out`; the length of the packet.
    pub(crate) fn encode(&mut self, samples: &[f32], out: &mut [u8]) -> Result<usize, OpusError> {
        let frames = i32::try_from(samples.len() / self.channels).unwrap_or(0);
        let room = i32::try_from(out.len()).unwrap_or(i32::MAX);
        // SAFETY: `samples` holds `frames` samples of each channel, `out` has `room` bytes. libopus refuses numbers of
        // frames that no packet can have.
        let length = unsafe {
            opus::opus_multistream_encode_float(
                self.state.as_ptr(),
                samples.as_ptr(),
                frames,
                out.as_mut_ptr(),
                room,
            )
        };
        usize::try_from(length).map_err(|_| OpusError(length))
    }
}

impl Drop for MultistreamEncoder {
    fn drop(&mut self) {
        // SAFETY: made by `create`, destroyed once.
        unsafe { opus::opus_multistream_encoder_destroy(self.state.as_ptr()) };
    }
}
