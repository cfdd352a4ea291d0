//! FFmpeg decoding of received frames into planes (H.264, HEVC, AV1).
use crate::request::Codec;

/// Why decoding failed.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// FFmpeg has no decoder for the codec.
    #[error("FFmpeg has no decoder for {0:?}; install a build that has one")]
    Missing(Codec),
    /// FFmpeg refused the data.
    #[error("the decoder failed: {0}")]
    Decoder(#[from] ffmpeg_next::Error),
    /// A pixel format this crate does not read.
    #[error("the decoder gave pixel format {0}, which is not planar YUV of 8 or 10 bits")]
    Format(String),
}

/// Layout of a picture's planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Bits per sample: 8, or 10 in 16-bit little-endian samples.
    pub bits: u8,
    /// 1 when chroma has half the columns.
    pub chroma_shift_x: u8,
    /// 1 when chroma has half the rows.
    pub chroma_shift_y: u8,
}

/// Numbers of ISO/IEC 23091-2, as the bitstream says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColourInfo {
    /// Colour primaries.
    pub primaries: u8,
    /// Transfer characteristics.
    pub transfer: u8,
    /// Matrix coefficients.
    pub matrix: u8,
    /// True for full range.
    pub full_range: bool,
}

/// One plane; rows are tightly packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plane {
    /// Samples per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Samples; 8-bit ones are widened.
    pub samples: Vec<u16>,
}

/// A decoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Layout of the planes.
    pub layout: Layout,
    /// Colour description of the bitstream.
    pub colour: ColourInfo,
    /// Y, U, V.
    pub planes: [Plane; 3],
}

impl Picture {
    /// Colour of one pixel as 8-bit R, G, B, converted by the picture's own matrix and range.
    pub fn rgb(&self, x: u32, y: u32) -> [u8; 3] {
        todo!("{x} {y}")
    }
    /// Luma plane as 8-bit samples, row by row without padding.
    pub fn luma8(&self) -> Vec<u8> {
        todo!()
    }
    /// The whole picture as packed 8-bit RGB.
    pub fn to_rgb(&self) -> Vec<u8> {
        todo!()
    }
    /// Writes an uncompressed PNG.
    pub fn write_png(&self, path: &std::path::Path) -> std::io::Result<()> {
        todo!("{path:?}")
    }
}

/// A low-delay decoder.
pub struct Decoder {}

impl Decoder {
    /// Opens FFmpeg's decoder for `codec`.
    pub fn new(codec: Codec) -> Result<Self, DecodeError> {
        todo!("{codec:?}")
    }
    /// Decodes one frame's data; gives the pictures that came out (normally one).
    pub fn decode(&mut self, data: &[u8]) -> Result<Vec<Picture>, DecodeError> {
        todo!("{}", data.len())
    }
    /// Pictures still inside at the end.
    pub fn flush(&mut self) -> Result<Vec<Picture>, DecodeError> {
        todo!()
    }
}
