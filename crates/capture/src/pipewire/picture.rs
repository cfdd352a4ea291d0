//! Where a picture lies in a buffer, and how it is copied out when it cannot be handed over as it is.

use super::format::Reading;
use super::sys::Chunk;
use lumen_media::PixelFormat;

const PIXEL: usize = PixelFormat::BYTES;

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Area {
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// Why a buffer cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Rows are shorter than the picture is wide.
    Stride,
    /// The picture reaches beyond the memory.
    Beyond,
    /// The producer filled less than a picture.
    Short,
}

/// Where the rows of a picture are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    /// First byte of the uppermost row.
    pub(crate) start: usize,
    /// Bytes from one row to the next one below; negative when the lowest row comes first in memory.
    pub(crate) stride: isize,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl Rows {
    /// Finds a picture of `width × height` pixels in `len` bytes of memory. The size that the producer states is
    /// checked where it states one; 0 is how several say "all of it". Graphics memory has sizes of its own.
    pub(crate) fn find(
        chunk: Chunk,
        len: usize,
        (width, height): (u32, u32),
        graphics: bool,
    ) -> Result<Self, Unreadable> {
        let (width, height) = (width as usize, height as usize);
        let row = width * PIXEL;
        let pitch = if chunk.stride == 0 { row } else { chunk.stride.unsigned_abs() as usize };
        if pitch < row {
            return Err(Unreadable::Stride);
        }
        // The last row may end with its last pixel.
        let span = pitch.checked_mul(height - 1).and_then(|above| above.checked_add(row));
        let span = span.ok_or(Unreadable::Beyond)?;
        let offset = if len == 0 { 0 } else { chunk.offset as usize % len };
        if offset.checked_add(span).is_none_or(|end| end > len) {
            return Err(Unreadable::Beyond);
        }
        if !graphics && chunk.size != 0 && (chunk.size as usize) < span {
            return Err(Unreadable::Short);
        }
        Ok(if chunk.stride < 0 {
            Self { start: offset + pitch * (height - 1), stride: -pitch.cast_signed(), width, height }
        } else {
            Self { start: offset, stride: pitch.cast_signed(), width, height }
        })
    }

    /// The part that `area` covers; all of it when the area is empty or reaches outside.
    pub(crate) fn crop(self, area: Area) -> Self {
        let (x, y) = (area.x as usize, area.y as usize);
        let (width, height) = (area.width as usize, area.height as usize);
        let inside = x.checked_add(width).is_some_and(|right| right <= self.width)
            && y.checked_add(height).is_some_and(|bottom| bottom <= self.height);
        if width == 0 || height == 0 || !inside {
            return self;
        }
        let start = self.start.cast_signed() + self.stride * y.cast_signed() + (x * PIXEL).cast_signed();
        Self { start: start.cast_unsigned(), width, height, ..self }
    }

    fn row(self, y: usize) -> std::ops::Range<usize> {
        let start = (self.start.cast_signed() + self.stride * y.cast_signed()).cast_unsigned();
        start..start + self.width * PIXEL
    }
}

/// What the producer did to the picture before it wrote it (`enum spa_meta_videotransform_value`, which is
/// `wl_output.transform`): flipped left to right, then turned counter-clockwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Transform {
    quarters: u8,
    flipped: bool,
}

impl Transform {
    /// From the number in the metadata; unknown ones are no transform.
    pub(crate) fn from_spa(value: u32) -> Self {
        if value > 7 {
            return Self::default();
        }
        Self { quarters: (value & 3) as u8, flipped: value & 4 != 0 }
    }

    /// Whether the picture is as it should be.
    pub(crate) fn is_none(self) -> bool {
        self == Self::default()
    }

    /// Size of the upright picture.
    pub(crate) fn size(self, width: usize, height: usize) -> (usize, usize) {
        if self.quarters % 2 == 1 { (height, width) } else { (width, height) }
    }

    /// Where the pixel at (x, y) of the upright picture, `width × height`, lies in the buffer.
    fn source(self, (x, y): (usize, usize), (width, height): (usize, usize)) -> (usize, usize) {
        let x = if self.flipped { width - 1 - x } else { x };
        match self.quarters {
            0 => (x, y),
            // Turned counter-clockwise: the right edge came to the top.
            1 => (y, width - 1 - x),
            2 => (width - 1 - x, height - 1 - y),
            _ => (height - 1 - y, x),
        }
    }
}

/// Copies a picture, upright, row after row without gaps, into `out`. Returns its size in pixels.
pub(crate) fn copy(
    bytes: &[u8],
    rows: Rows,
    reading: Reading,
    transform: Transform,
    out: &mut Vec<u8>,
) -> (u32, u32) {
    let (width, height) = transform.size(rows.width, rows.height);
    out.resize(width * height * PIXEL, 0);
    if transform.is_none() {
        for (y, to) in out.chunks_exact_mut(width * PIXEL).enumerate() {
            if let Some(from) = bytes.get(rows.row(y)) {
                read_row(from, reading, to);
            }
        }
        return (width as u32, height as u32);
    }
    let mut rotated = out.chunks_exact_mut(PIXEL);
    for y in 0..height {
        for x in 0..width {
            let (from_x, from_y) = transform.source((x, y), (width, height));
            let at = rows.row(from_y).start + from_x * PIXEL;
            if let (Some(to), Some(from)) = (rotated.next(), bytes.get(at..at + PIXEL)) {
                read_row(from, reading, to);
            }
        }
    }
    (width as u32, height as u32)
}

fn read_row(from: &[u8], reading: Reading, to: &mut [u8]) {
    match reading {
        Reading::AsIs(_) => to.copy_from_slice(from),
        Reading::SkipFirst(_) => {
            for (from, to) in from.chunks_exact(PIXEL).zip(to.chunks_exact_mut(PIXEL)) {
                to.copy_from_slice(&[from[1], from[2], from[3], 255]);
            }
        }
        Reading::TenBits([red, green, blue]) => {
            for (from, to) in from.chunks_exact(PIXEL).zip(to.chunks_exact_mut(PIXEL)) {
                let word = u32::from_le_bytes([from[0], from[1], from[2], from[3]]);
                // The upper eight of ten bits: what an eight-bit buffer of the same picture holds.
                let eight = |shift: u32| (word >> (shift + 2)) as u8;
                to.copy_from_slice(&[eight(blue), eight(green), eight(red), 255]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipewire::format::VideoFormat;
    use libspa::sys;

    fn chunk(offset: u32, size: u32, stride: i32) -> Chunk {
        Chunk { offset, size, stride, corrupted: false }
    }

    #[test]
    fn rows_are_found_by_stride_and_offset() {
        let found = Rows::find(chunk(16, 0, 20), 100, (4, 3), false);
        assert_eq!(found, Ok(Rows { start: 16, stride: 20, width: 4, height: 3 }));
        // Without a stride rows touch; the last row of a padded picture may be short.
        assert_eq!(Rows::find(chunk(0, 0, 0), 48, (4, 3), false).map(|rows| rows.stride), Ok(16));
        assert!(Rows::find(chunk(0, 0, 20), 56, (4, 3), false).is_ok());
        assert_eq!(Rows::find(chunk(0, 0, 20), 55, (4, 3), false), Err(Unreadable::Beyond));
        assert_eq!(Rows::find(chunk(8, 0, 20), 60, (4, 3), false), Err(Unreadable::Beyond));
        assert_eq!(Rows::find(chunk(0, 0, 12), 900, (4, 3), false), Err(Unreadable::Stride));
        assert_eq!(Rows::find(chunk(0, 0, i32::MIN), 900, (4, 3), false), Err(Unreadable::Beyond));
    }

    #[test]
    fn a_stated_size_counts_where_memory_has_no_size_of_its_own() {
        assert_eq!(Rows::find(chunk(0, 47, 0), 48, (4, 3), false), Err(Unreadable::Short));
        assert!(Rows::find(chunk(0, 48, 0), 48, (4, 3), false).is_ok());
        assert!(Rows::find(chunk(0, 1, 0), 48, (4, 3), true).is_ok());
    }

    #[test]
    fn a_picture_may_stand_upside_down_in_memory() {
        let bytes: Vec<u8> = (0..32).collect();
        let rows = Rows::find(chunk(0, 0, -16), 32, (4, 2), false).expect("found");
        let mut out = Vec::new();
        copy(&bytes, rows, VideoFormat::BGRX.reading(), Transform::default(), &mut out);
        assert_eq!((out[0], out[16]), (16, 0));
    }

    #[test]
    fn a_crop_takes_its_part_and_a_bad_one_everything() {
        let bytes: Vec<u8> = (0..4 * 4 * 3).collect();
        let rows = Rows::find(chunk(0, 0, 0), 48, (4, 3), false).expect("found");
        let area = Area { x: 1, y: 1, width: 2, height: 2 };
        let mut out = Vec::new();
        let size = copy(&bytes, rows.crop(area), VideoFormat::BGRX.reading(), Transform::default(), &mut out);
        assert_eq!(
            (size, &out[..]),
            ((2, 2), &[20, 21, 22, 23, 24, 25, 26, 27, 36, 37, 38, 39, 40, 41, 42, 43][..])
        );
        assert_eq!(rows.crop(Area { x: 3, ..area }), rows);
        assert_eq!(rows.crop(Area { width: 0, ..area }), rows);
    }

    /// One pixel of red 0x10, green 0x20, blue 0x30 in every format.
    #[test]
    fn every_format_is_read_in_the_right_order() {
        let ten = |red: u32, green: u32, blue: u32| {
            (0x10u32 << (red + 2) | 0x20 << (green + 2) | 0x30 << (blue + 2)).to_le_bytes()
        };
        let pixels = [
            (sys::SPA_VIDEO_FORMAT_BGRx, [0x30, 0x20, 0x10, 0]),
            (sys::SPA_VIDEO_FORMAT_BGRA, [0x30, 0x20, 0x10, 9]),
            (sys::SPA_VIDEO_FORMAT_RGBx, [0x10, 0x20, 0x30, 0]),
            (sys::SPA_VIDEO_FORMAT_RGBA, [0x10, 0x20, 0x30, 9]),
            (sys::SPA_VIDEO_FORMAT_xRGB, [0, 0x10, 0x20, 0x30]),
            (sys::SPA_VIDEO_FORMAT_ARGB, [9, 0x10, 0x20, 0x30]),
            (sys::SPA_VIDEO_FORMAT_xBGR, [0, 0x30, 0x20, 0x10]),
            (sys::SPA_VIDEO_FORMAT_ABGR, [9, 0x30, 0x20, 0x10]),
            (sys::SPA_VIDEO_FORMAT_xRGB_210LE, ten(20, 10, 0)),
            (sys::SPA_VIDEO_FORMAT_ARGB_210LE, ten(20, 10, 0)),
            (sys::SPA_VIDEO_FORMAT_xBGR_210LE, ten(0, 10, 20)),
            (sys::SPA_VIDEO_FORMAT_ABGR_210LE, ten(0, 10, 20)),
            (sys::SPA_VIDEO_FORMAT_RGBx_102LE, ten(22, 12, 2)),
            (sys::SPA_VIDEO_FORMAT_RGBA_102LE, ten(22, 12, 2)),
            (sys::SPA_VIDEO_FORMAT_BGRx_102LE, ten(2, 12, 22)),
            (sys::SPA_VIDEO_FORMAT_BGRA_102LE, ten(2, 12, 22)),
        ];
        assert_eq!(pixels.len(), VideoFormat::all().count());
        for (id, pixel) in pixels {
            let format = VideoFormat::from_spa(id).expect("readable");
            let rows = Rows { start: 0, stride: 4, width: 1, height: 1 };
            let mut out = Vec::new();
            copy(&pixel, rows, format.reading(), Transform::default(), &mut out);
            let expected: [u8; 3] = match format.reading().output() {
                PixelFormat::Bgrx => [0x30, 0x20, 0x10],
                PixelFormat::Rgbx => [0x10, 0x20, 0x30],
            };
            assert_eq!(out[..3], expected, "{}", format.name());
        }
    }

    /// Undoing a transform on a picture to which it was applied, pixel by pixel after the definition, gives the picture.
    #[test]
    fn transforms_are_undone() {
        // 3 × 2:  a b c      turned counter-clockwise:  c f      flipped:  c b a
        //         d e f                                 b e                f e d
        //                                               a d
        let upright = [b"abc".as_slice(), b"def"];
        let buffers: [(u32, &[&[u8]]); 8] = [
            (0, &[b"abc", b"def"]),
            (1, &[b"cf", b"be", b"ad"]),
            (2, &[b"fed", b"cba"]),
            (3, &[b"da", b"eb", b"fc"]),
            (4, &[b"cba", b"fed"]),
            (5, &[b"ad", b"be", b"cf"]),
            (6, &[b"def", b"abc"]),
            (7, &[b"fc", b"eb", b"da"]),
        ];
        for (number, buffer) in buffers {
            let (width, height) = (buffer[0].len(), buffer.len());
            let bytes: Vec<u8> = buffer.concat().iter().flat_map(|value| [*value; 4]).collect();
            let rows = Rows { start: 0, stride: (width * 4).cast_signed(), width, height };
            let mut out = Vec::new();
            let size = copy(&bytes, rows, VideoFormat::BGRX.reading(), Transform::from_spa(number), &mut out);
            let seen: Vec<u8> = out.chunks_exact(4).map(|pixel| pixel[0]).collect();
            assert_eq!((size, seen), ((3, 2), upright.concat()), "transform {number}");
        }
        assert!(Transform::from_spa(8).is_none());
    }
}
