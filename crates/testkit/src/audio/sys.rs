//! libopus's multistream decoder.
use std::ptr::NonNull;

use opusic_sys as opus;

/// A decoder's state.
#[derive(Debug)]
pub(super) struct State {
    raw: NonNull<opus::OpusMSDecoder>,
    channels: usize,
}

// SAFETY: libopus ties a state to no thread.
unsafe impl Send for State {}

impl State {
    /// For 48 kHz; the number of libopus's error otherwise.
    pub fn new(streams: u8, coupled: u8, mapping: &[u8]) -> Result<Self, i32> {
        let mut error = 0;
        // SAFETY: `mapping` has one byte a channel, and libopus copies it.
        let raw = unsafe {
            opus::opus_multistream_decoder_create(
                48_000,
                mapping.len() as i32,
                streams.into(),
                coupled.into(),
                mapping.as_ptr(),
                &mut error,
            )
        };
        NonNull::new(raw).map(|raw| State { raw, channels: mapping.len() }).ok_or(error)
    }

    /// Decodes a packet into interleaved floats; how many of each channel there are.
    pub fn decode(&mut self, packet: &[u8], out: &mut [f32]) -> Result<usize, i32> {
        let room = (out.len() / self.channels) as i32;
        // SAFETY: `out` has room for `room` samples of every channel.
        let frames = unsafe {
            opus::opus_multistream_decode_float(
                self.raw.as_ptr(),
                packet.as_ptr(),
                packet.len() as i32,
                out.as_mut_ptr(),
                room,
                0,
            )
        };
        usize::try_from(frames).map_err(|_| frames)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // SAFETY: made by `create`, destroyed once.
        unsafe { opus::opus_multistream_decoder_destroy(self.raw.as_ptr()) };
    }
}
