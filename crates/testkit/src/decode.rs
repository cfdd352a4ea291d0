//! FFmpeg decoding of received frames into planes (H.264, HEVC, AV1).
use std::io::Write;
use std::path::Path;

use ffmpeg_next::codec::{self, decoder, threading};
use ffmpeg_next::format::Pixel;
use ffmpeg_next::{Error as FfmpegError, Packet, color, ffi, frame};

use crate::request::Codec;

mod png;

/// Why decoding failed.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// FFmpeg has no decoder for the codec.
    #[error("FFmpeg has no decoder for {0:?}; install a build that has one")]
    Missing(Codec),
    /// FFmpeg refused the data.
    #[error("the decoder failed: {0}")]
    Decoder(#[from] FfmpegError),
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
    /// The decoder had to conceal something: a reference was missing or data was damaged.
    pub corrupt: bool,
}

impl Picture {
    /// Colour of one pixel as 8-bit R, G, B, converted by the picture's own matrix and range. Chroma is taken from
    /// the nearest sample. Outside of the picture: black.
    pub fn rgb(&self, x: u32, y: u32) -> [u8; 3] {
        if x >= self.width || y >= self.height {
            return [0; 3];
        }
        let (x, y) = (x as usize, y as usize);
        let luma = self.planes[0].samples[y * self.planes[0].width + x];
        let (cx, cy) = (x >> self.layout.chroma_shift_x, y >> self.layout.chroma_shift_y);
        let chroma = |plane: &Plane| plane.samples[cy * plane.width + cx];
        self.convert(luma, chroma(&self.planes[1]), chroma(&self.planes[2]))
    }

    /// Luma plane as 8-bit samples, row by row without padding.
    pub fn luma8(&self) -> Vec<u8> {
        let shift = self.layout.bits - 8;
        self.planes[0].samples.iter().map(|sample| (sample >> shift) as u8).collect()
    }

    /// The whole picture as packed 8-bit RGB.
    pub fn to_rgb(&self) -> Vec<u8> {
        let pixels = (0..self.height).flat_map(|y| (0..self.width).map(move |x| (x, y)));
        pixels.flat_map(|(x, y)| self.rgb(x, y)).collect()
    }

    /// Writes an uncompressed PNG.
    pub fn write_png(&self, path: &Path) -> std::io::Result<()> {
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        file.write_all(&png::encode(self.width, self.height, &self.to_rgb()))?;
        file.flush()
    }

    fn convert(&self, y: u16, u: u16, v: u16) -> [u8; 3] {
        let (kr, kb) = match self.colour.matrix {
            5 | 6 => (0.299, 0.114),
            9 | 10 => (0.2627, 0.0593),
            _ => (0.2126, 0.0722),
        };
        let unit = f64::from(1u32 << (self.layout.bits - 8));
        let (offset, luma_span, chroma_span) = match self.colour.full_range {
            true => (0.0, 256.0 * unit - 1.0, 256.0 * unit - 1.0),
            false => (16.0 * unit, 219.0 * unit, 224.0 * unit),
        };
        let luma = (f64::from(y) - offset) / luma_span;
        let blue = (f64::from(u) - 128.0 * unit) / chroma_span;
        let red = (f64::from(v) - 128.0 * unit) / chroma_span;
        let r = luma + 2.0 * (1.0 - kr) * red;
        let b = luma + 2.0 * (1.0 - kb) * blue;
        let g = (luma - kr * r - kb * b) / (1.0 - kr - kb);
        [r, g, b].map(|value| (value * 255.0).round().clamp(0.0, 255.0) as u8)
    }
}

/// A low-delay decoder: one frame in, its picture out.
pub struct Decoder {
    opened: decoder::Video,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decoder")
    }
}

impl Decoder {
    /// Opens FFmpeg's software decoder for `codec`: one thread, low delay.
    pub fn new(codec: Codec) -> Result<Self, DecodeError> {
        let found = match codec {
            Codec::H264 => decoder::find(codec::Id::H264),
            Codec::Hevc => decoder::find(codec::Id::HEVC),
            // The library decoders work without hardware, FFmpeg's own one does not.
            Codec::Av1 => ["libdav1d", "libaom-av1"].iter().find_map(|name| decoder::find_by_name(name)),
        };
        let found = found.ok_or(DecodeError::Missing(codec))?;
        let mut context = codec::Context::new_with_codec(found);
        context.set_flags(codec::Flags::LOW_DELAY);
        context.set_threading(threading::Config::count(1));
        Ok(Decoder { opened: context.decoder().open()?.video()? })
    }

    /// Decodes one frame's data; gives the pictures that came out (normally one).
    pub fn decode(&mut self, data: &[u8]) -> Result<Vec<Picture>, DecodeError> {
        self.opened.send_packet(&Packet::copy(data))?;
        self.drain()
    }

    /// Pictures still inside at the end.
    pub fn flush(&mut self) -> Result<Vec<Picture>, DecodeError> {
        self.opened.send_eof()?;
        self.drain()
    }

    fn drain(&mut self) -> Result<Vec<Picture>, DecodeError> {
        let mut pictures = Vec::new();
        let mut frame = frame::Video::empty();
        loop {
            match self.opened.receive_frame(&mut frame) {
                Ok(()) => pictures.push(read(&frame)?),
                Err(FfmpegError::Eof) => return Ok(pictures),
                Err(FfmpegError::Other { errno }) if errno == ffmpeg_next::error::EAGAIN => {
                    return Ok(pictures);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Copies a frame's planes without their padding.
fn read(frame: &frame::Video) -> Result<Picture, DecodeError> {
    let (layout, forced_full) = layout(frame.format())?;
    let (width, height) = (frame.width(), frame.height());
    let plane = |index: usize| {
        let (sx, sy) = match index {
            0 => (0, 0),
            _ => (layout.chroma_shift_x, layout.chroma_shift_y),
        };
        let size = |length: u32, shift: u8| (length as usize).div_ceil(1 << shift);
        let (columns, rows) = (size(width, sx), size(height, sy));
        let (data, stride) = (frame.data(index), frame.stride(index));
        let mut samples = Vec::with_capacity(columns * rows);
        for row in data.chunks(stride.max(1)).take(rows) {
            match layout.bits {
                8 => samples.extend(row[..columns].iter().map(|&byte| u16::from(byte))),
                _ => samples.extend(
                    row[..2 * columns].chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])),
                ),
            }
        }
        Plane { width: columns, height: rows, samples }
    };
    let colour = ColourInfo {
        primaries: ffi::AVColorPrimaries::from(frame.color_primaries()) as u8,
        transfer: ffi::AVColorTransferCharacteristic::from(frame.color_transfer_characteristic()) as u8,
        matrix: ffi::AVColorSpace::from(frame.color_space()) as u8,
        full_range: forced_full || frame.color_range() == color::Range::JPEG,
    };
    let planes = [plane(0), plane(1), plane(2)];
    Ok(Picture { width, height, layout, colour, planes, corrupt: frame.is_corrupt() })
}

/// Layout of a pixel format and whether the format itself says full range.
fn layout(format: Pixel) -> Result<(Layout, bool), DecodeError> {
    let (bits, chroma_shift_x, chroma_shift_y, full) = match format {
        Pixel::YUV420P => (8, 1, 1, false),
        Pixel::YUVJ420P => (8, 1, 1, true),
        Pixel::YUV444P => (8, 0, 0, false),
        Pixel::YUVJ444P => (8, 0, 0, true),
        Pixel::YUV420P10LE => (10, 1, 1, false),
        Pixel::YUV444P10LE => (10, 0, 0, false),
        other => return Err(DecodeError::Format(format!("{other:?}"))),
    };
    Ok((Layout { bits, chroma_shift_x, chroma_shift_y }, full))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only_picture(codec: Codec, data: &[u8]) -> Picture {
        let mut decoder = Decoder::new(codec).unwrap();
        let mut pictures = decoder.decode(data).unwrap();
        assert_eq!(pictures.len(), 1, "one frame in, one picture out at once");
        assert_eq!(decoder.flush().unwrap(), []);
        pictures.remove(0)
    }

    fn assert_halves(picture: &Picture) {
        assert_eq!((picture.width, picture.height), (64, 48));
        assert!(!picture.corrupt);
        for (x, expected) in [(8, [255, 0, 0]), (56, [0, 0, 255])] {
            let found = picture.rgb(x, 24);
            let near = found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 4);
            assert!(near, "{found:?} at {x}, not {expected:?}");
        }
        assert_eq!(picture.rgb(64, 0), [0, 0, 0]);
        assert_eq!(picture.colour.matrix, 1);
        assert_eq!((picture.colour.primaries, picture.colour.transfer), (1, 1));
        assert_eq!(picture.luma8().len(), 64 * 48);
        assert_eq!(picture.to_rgb().len(), 64 * 48 * 3);
    }

    #[test]
    fn h264_in_420_limited_range() {
        let picture = only_picture(Codec::H264, include_bytes!("../fixtures/halves.h264"));
        assert_halves(&picture);
        assert_eq!(picture.layout, Layout { bits: 8, chroma_shift_x: 1, chroma_shift_y: 1 });
        assert!(!picture.colour.full_range);
    }

    #[test]
    fn hevc_in_444_full_range() {
        let picture = only_picture(Codec::Hevc, include_bytes!("../fixtures/halves_444_full.hevc"));
        assert_halves(&picture);
        assert_eq!(picture.layout, Layout { bits: 8, chroma_shift_x: 0, chroma_shift_y: 0 });
        assert!(picture.colour.full_range);
    }

    #[test]
    fn av1_in_ten_bits() {
        let picture = only_picture(Codec::Av1, include_bytes!("../fixtures/halves_10bit.obu"));
        assert_halves(&picture);
        assert_eq!(picture.layout.bits, 10);
    }

    #[test]
    fn junk_is_an_error_or_nothing_and_a_picture_can_follow() {
        let mut decoder = Decoder::new(Codec::H264).unwrap();
        assert!(decoder.decode(&[0, 0, 0, 1, 0x65, 1, 2, 3]).map_or(true, |pictures| pictures.is_empty()));
        assert_eq!(decoder.decode(include_bytes!("../fixtures/halves.h264")).unwrap().len(), 1);
    }
}
