//! The pointer, where the compositor leaves drawing it to us: its place and picture come as metadata of the buffers.

use super::negotiate::CURSOR_HEAD;
use libspa::sys as spa;
use lumen_media::PixelFormat;

const PIXEL: usize = PixelFormat::BYTES;
/// Bytes of `spa_meta_cursor`.
const CURSOR: usize = 28;
/// Largest side of a pointer's picture that is believed.
const SIDE_MAX: u32 = 1024;

/// A pointer's picture: red, green, blue, alpha, the colours multiplied by alpha, as compositors hold them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bitmap {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

/// What is known about the pointer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    visible: bool,
    position: (i32, i32),
    hotspot: (i32, i32),
    bitmap: Bitmap,
}

/// Metadata that does not hold together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// What a picture showed where the pointer is drawn now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beneath {
    start: usize,
    stride: usize,
    row: usize,
    bytes: Vec<u8>,
}

impl Cursor {
    /// Takes over what a buffer says. Returns whether the pointer now looks or stands otherwise.
    ///
    /// # Errors
    /// When sizes and offsets do not fit the metadata; the pointer stays as it was.
    pub(crate) fn update(&mut self, metadata: &[u8]) -> Result<bool, Malformed> {
        let word = |at: usize| word(metadata, at);
        let mut next = self.clone();
        // Compositors write 0 while the pointer is elsewhere or hidden.
        next.visible = word(0)? != 0;
        if next.visible {
            next.position = (word(8)?.cast_signed(), word(12)?.cast_signed());
            let at = word(24)? as usize;
            if at >= CURSOR {
                next.hotspot = (word(16)?.cast_signed(), word(20)?.cast_signed());
                if let Some(bitmap) = Bitmap::read(metadata.get(at..).ok_or(Malformed)?)? {
                    next.bitmap = bitmap;
                }
            } else if at != 0 {
                return Err(Malformed);
            }
        }
        let changed = next != *self;
        *self = next;
        Ok(changed)
    }

    /// Draws the pointer into a picture of `width × height` pixels without gaps between rows. Returns what it covered.
    pub(crate) fn draw(&self, out: &mut [u8], (width, height): (u32, u32), format: PixelFormat) -> Beneath {
        if !self.visible || width == 0 {
            return Beneath::default();
        }
        let clip = |position: i32, hotspot: i32, side: usize, limit: u32| {
            let from = i64::from(position) - i64::from(hotspot);
            let to = (from + side as i64).min(i64::from(limit));
            // First pixel of the pointer, first pixel of the picture, how many.
            (from.min(0).unsigned_abs() as usize, from.max(0) as usize, (to - from.max(0)).max(0) as usize)
        };
        let (skip_x, x, columns) = clip(self.position.0, self.hotspot.0, self.bitmap.width, width);
        let (skip_y, y, rows) = clip(self.position.1, self.hotspot.1, self.bitmap.height, height);
        let stride = width as usize * PIXEL;
        let mut beneath =
            Beneath { start: y * stride + x * PIXEL, stride, row: columns * PIXEL, bytes: Vec::new() };
        for row in 0..rows {
            let at = beneath.start + row * stride;
            let from = ((skip_y + row) * self.bitmap.width + skip_x) * PIXEL;
            let Some(under) = out.get_mut(at..at + beneath.row) else { break };
            let Some(over) = self.bitmap.pixels.get(from..from + beneath.row) else { break };
            beneath.bytes.extend_from_slice(under);
            blend(under, over, format);
        }
        beneath
    }
}

impl Beneath {
    /// Takes the pointer off a copy of the picture it was drawn into.
    pub(crate) fn restore(&self, out: &mut [u8]) {
        if self.row == 0 {
            return;
        }
        for (index, row) in self.bytes.chunks_exact(self.row).enumerate() {
            let at = self.start + index * self.stride;
            if let Some(place) = out.get_mut(at..at + self.row) {
                place.copy_from_slice(row);
            }
        }
    }
}

impl Bitmap {
    /// From `spa_meta_bitmap` and what follows; `None` is no news.
    fn read(metadata: &[u8]) -> Result<Option<Self>, Malformed> {
        let word = |at: usize| word(metadata, at);
        // Where red, green, blue and alpha stand in a pixel.
        let order = match word(0)? {
            0 => return Ok(None),
            spa::SPA_VIDEO_FORMAT_RGBA => [0, 1, 2, 3],
            spa::SPA_VIDEO_FORMAT_BGRA => [2, 1, 0, 3],
            spa::SPA_VIDEO_FORMAT_ARGB => [1, 2, 3, 0],
            spa::SPA_VIDEO_FORMAT_ABGR => [3, 2, 1, 0],
            _ => return Err(Malformed),
        };
        let (width, height, stride, offset) =
            (word(4)?, word(8)?, word(12)?.cast_signed(), word(16)? as usize);
        // No picture: a pointer that is there and not seen.
        if width == 0 || height == 0 || offset == 0 {
            return Ok(Some(Self::default()));
        }
        if width > SIDE_MAX || height > SIDE_MAX || offset < CURSOR_HEAD - CURSOR {
            return Err(Malformed);
        }
        let (width, height) = (width as usize, height as usize);
        let row = width * PIXEL;
        let stride = usize::try_from(stride).map_err(|_| Malformed)?;
        let stride = if stride == 0 { row } else { stride };
        let mut pixels = Vec::with_capacity(row * height);
        for y in 0..height {
            let start = stride.checked_mul(y).and_then(|above| above.checked_add(offset)).ok_or(Malformed)?;
            let bytes = start.checked_add(row).and_then(|end| metadata.get(start..end)).ok_or(Malformed)?;
            for pixel in bytes.chunks_exact(PIXEL) {
                pixels.extend(order.map(|channel| pixel[channel]));
            }
        }
        Ok(Some(Self { width, height, pixels }))
    }
}

fn blend(under: &mut [u8], over: &[u8], format: PixelFormat) {
    for (under, over) in under.chunks_exact_mut(PIXEL).zip(over.chunks_exact(PIXEL)) {
        let colours = match format {
            PixelFormat::Rgbx => [over[0], over[1], over[2]],
            PixelFormat::Bgrx => [over[2], over[1], over[0]],
        };
        let through = 255 - u32::from(over[3]);
        for (under, over) in under.iter_mut().zip(colours) {
            *under = (u32::from(over) + (u32::from(*under) * through + 127) / 255).min(255) as u8;
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Result<u32, Malformed> {
    let bytes = at.checked_add(4).and_then(|end| bytes.get(at..end)).ok_or(Malformed)?;
    bytes.try_into().map(u32::from_ne_bytes).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Metadata of a pointer with a picture of 2 × 2 pixels in `format`.
    fn metadata(
        id: u32,
        position: (i32, i32),
        hotspot: (i32, i32),
        format: u32,
        pixels: &[[u8; 4]; 4],
    ) -> Vec<u8> {
        let words = [id, 0, position.0 as u32, position.1 as u32, hotspot.0 as u32, hotspot.1 as u32, 28];
        let bitmap = [format, 2, 2, 8, 20];
        words.iter().chain(&bitmap).flat_map(|word| word.to_ne_bytes()).chain(pixels.concat()).collect()
    }

    fn moved(id: u32, position: (i32, i32)) -> Vec<u8> {
        [id, 0, position.0 as u32, position.1 as u32, 0, 0, 0]
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect()
    }

    const SOLID: [[u8; 4]; 4] = [[10, 20, 30, 255]; 4];

    fn shown(cursor: &Cursor, format: PixelFormat) -> Vec<[u8; 4]> {
        let mut out = vec![100; 4 * 3 * 4];
        cursor.draw(&mut out, (4, 3), format);
        out.chunks_exact(4).map(|pixel| pixel.try_into().unwrap()).collect()
    }

    #[test]
    fn a_pointer_is_drawn_at_its_hotspot_and_cut_at_the_edge() {
        let mut cursor = Cursor::default();
        let rgba = spa::SPA_VIDEO_FORMAT_RGBA;
        assert_eq!(cursor.update(&metadata(1, (4, 1), (1, 1), rgba, &SOLID)), Ok(true));
        let picture = shown(&cursor, PixelFormat::Rgbx);
        let covered: Vec<usize> = (0..12).filter(|index| picture[*index][0] == 10).collect();
        assert_eq!((covered, &picture[3][..3]), (vec![3, 7], &[10, 20, 30][..]));
        // It moves without a new picture, then goes.
        assert_eq!(cursor.update(&moved(1, (0, 0))), Ok(true));
        assert_eq!(shown(&cursor, PixelFormat::Bgrx)[0][..3], [30, 20, 10]);
        assert_eq!(cursor.update(&moved(1, (0, 0))), Ok(false));
        assert_eq!(cursor.update(&moved(0, (0, 0))), Ok(true));
        assert!(shown(&cursor, PixelFormat::Bgrx).iter().all(|pixel| *pixel == [100; 4]));
        // Far outside is nowhere, and no overflow.
        for place in [i32::MIN, i32::MAX, -2, 4] {
            cursor.update(&moved(1, (place, place))).expect("whole");
            assert!(shown(&cursor, PixelFormat::Bgrx).iter().all(|pixel| *pixel == [100; 4]), "{place}");
        }
    }

    #[test]
    fn alpha_lets_the_picture_through() {
        let mut cursor = Cursor::default();
        let pixels = [[0, 0, 0, 0], [64, 0, 0, 128], [255, 255, 255, 255], [200, 200, 200, 100]];
        cursor.update(&metadata(7, (0, 0), (0, 0), spa::SPA_VIDEO_FORMAT_RGBA, &pixels)).expect("whole");
        let picture = shown(&cursor, PixelFormat::Rgbx);
        assert_eq!(picture[0], [100; 4]);
        assert_eq!(picture[1][..3], [114, 50, 50]);
        assert_eq!(picture[4][..3], [255; 3]);
        assert_eq!(picture[5][..3], [255; 3], "colours above their alpha do not wrap");
    }

    #[test]
    fn all_orders_of_channels_are_known() {
        for (format, pixel) in [
            (spa::SPA_VIDEO_FORMAT_RGBA, [10, 20, 30, 255]),
            (spa::SPA_VIDEO_FORMAT_BGRA, [30, 20, 10, 255]),
            (spa::SPA_VIDEO_FORMAT_ARGB, [255, 10, 20, 30]),
            (spa::SPA_VIDEO_FORMAT_ABGR, [255, 30, 20, 10]),
        ] {
            let mut cursor = Cursor::default();
            cursor.update(&metadata(1, (0, 0), (0, 0), format, &[pixel; 4])).expect("whole");
            assert_eq!(shown(&cursor, PixelFormat::Rgbx)[0][..3], [10, 20, 30]);
        }
    }

    #[test]
    fn the_pointer_can_be_taken_off_again() {
        let mut cursor = Cursor::default();
        cursor.update(&metadata(1, (3, 2), (0, 0), spa::SPA_VIDEO_FORMAT_RGBA, &SOLID)).expect("whole");
        let clean: Vec<u8> = (0..48).collect();
        let mut out = clean.clone();
        let beneath = cursor.draw(&mut out, (4, 3), PixelFormat::Rgbx);
        assert_ne!(out, clean);
        beneath.restore(&mut out);
        assert_eq!(out, clean);
        Beneath::default().restore(&mut out);
    }

    #[test]
    fn malformed_metadata_changes_nothing() {
        let mut cursor = Cursor::default();
        let whole = metadata(1, (1, 1), (0, 0), spa::SPA_VIDEO_FORMAT_RGBA, &SOLID);
        cursor.update(&whole).expect("whole");
        let before = cursor.clone();
        for length in 0..whole.len() {
            assert_eq!(cursor.update(&whole[..length]), Err(Malformed), "{length}");
        }
        // Width, stride, offset, format: each made absurd in turn.
        for at in [24, 28, 32, 40, 44] {
            let mut torn = whole.clone();
            torn[at..at + 4].copy_from_slice(&0x7fff_ffff_u32.to_ne_bytes());
            assert_eq!(cursor.update(&torn), Err(Malformed), "{at}");
        }
        assert_eq!(cursor, before);
    }
}
