//! A picture on its way from a compositor to an encoder.

use crate::Timestamp;
use std::fmt;
use std::sync::Arc;

/// Memory that holds a picture. Dropping the last [`Arc`] hands it back to whoever composed it.
pub trait PixelBuffer: Send + Sync {
    /// All rows, `stride × height` bytes at least.
    fn bytes(&self) -> &[u8];
}

impl PixelBuffer for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// Order of the bytes of a pixel in memory; always four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// Blue, green, red, unused (DRM `XRGB8888` on little endian).
    Bgrx,
    /// Red, green, blue, unused (DRM `XBGR8888` on little endian).
    Rgbx,
}

impl PixelFormat {
    /// Bytes of a pixel.
    pub const BYTES: usize = 4;
}

/// One composed picture in memory that the CPU can read.
#[derive(Clone)]
pub struct Frame {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Byte order.
    pub format: PixelFormat,
    /// When the picture was composed.
    pub captured: Timestamp,
    /// Counts composed pictures of this source from 1; a gap is a picture nobody took.
    pub sequence: u64,
    /// The pixels.
    pub pixels: Arc<dyn PixelBuffer>,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("size", &(self.width, self.height))
            .field("stride", &self.stride)
            .field("format", &self.format)
            .field("captured", &self.captured)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}
