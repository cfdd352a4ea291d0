//! From what compositors name as picture formats to the two that the encoder reads, upright.

use lumen_media::PixelFormat;
use wayland_client::protocol::wl_output::Transform;
use wayland_client::protocol::wl_shm::Format;

/// How a pixel lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// Four bytes as the encoder takes them.
    Ready(PixelFormat),
    /// Four bytes; places of blue, green and red.
    Bytes4([usize; 3]),
    /// Three bytes; places of blue, green and red.
    Bytes3([usize; 3]),
    /// A little-endian word of 32 bits with ten each; shifts of blue, green and red.
    Tens([u32; 3]),
}

impl Packing {
    /// How `format` lies in memory; `None` for those that nobody reads here.
    pub fn of(format: Format) -> Option<Self> {
        Some(match format {
            Format::Xrgb8888 | Format::Argb8888 => Self::Ready(PixelFormat::Bgrx),
            Format::Xbgr8888 | Format::Abgr8888 => Self::Ready(PixelFormat::Rgbx),
            Format::Rgbx8888 | Format::Rgba8888 => Self::Bytes4([1, 2, 3]),
            Format::Bgrx8888 | Format::Bgra8888 => Self::Bytes4([3, 2, 1]),
            Format::Rgb888 => Self::Bytes3([0, 1, 2]),
            Format::Bgr888 => Self::Bytes3([2, 1, 0]),
            Format::Xrgb2101010 | Format::Argb2101010 => Self::Tens([0, 10, 20]),
            Format::Xbgr2101010 | Format::Abgr2101010 => Self::Tens([20, 10, 0]),
            _ => return None,
        })
    }

    /// Bytes of a pixel.
    pub fn bytes(self) -> usize {
        match self {
            Self::Bytes3(_) => 3,
            Self::Ready(_) | Self::Bytes4(_) | Self::Tens(_) => 4,
        }
    }

    /// What the picture is after [`upright`].
    pub fn result(self) -> PixelFormat {
        match self {
            Self::Ready(format) => format,
            _ => PixelFormat::Bgrx,
        }
    }

    fn pixel(self, bytes: &[u8]) -> [u8; 4] {
        match self {
            Self::Ready(_) => [bytes[0], bytes[1], bytes[2], 255],
            Self::Bytes4([blue, green, red]) | Self::Bytes3([blue, green, red]) => {
                [bytes[blue], bytes[green], bytes[red], 255]
            }
            Self::Tens(shifts) => {
                let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                let [blue, green, red] = shifts.map(|shift| (word >> (shift + 2)) as u8);
                [blue, green, red, 255]
            }
        }
    }
}

/// The best of what is offered: what needs no conversion first.
pub(super) fn best(offered: &[Format]) -> Option<Format> {
    let rank = |format: &Format| match Packing::of(*format) {
        Some(Packing::Ready(PixelFormat::Bgrx)) => Some(0),
        Some(Packing::Ready(_)) => Some(1),
        Some(Packing::Bytes4(_)) => Some(2),
        Some(Packing::Bytes3(_)) => Some(3),
        Some(Packing::Tens(_)) => Some(4),
        None => None,
    };
    offered.iter().copied().filter(|format| rank(format).is_some()).min_by_key(|format| rank(format))
}

/// A picture as the compositor wrote it.
#[derive(Clone, Copy)]
pub(super) struct Raw<'a> {
    pub bytes: &'a [u8],
    pub width: usize,
    pub height: usize,
    pub stride: usize,
    pub packing: Packing,
    /// What the compositor did to the contents.
    pub transform: Transform,
    /// Whether the last row comes first.
    pub upside_down: bool,
}

impl Raw<'_> {
    /// Whether readers can take the bytes as they are.
    pub fn is_ready(&self) -> bool {
        matches!(self.packing, Packing::Ready(_)) && self.transform == Transform::Normal && !self.upside_down
    }

    /// Width and height of the upright picture.
    pub fn upright_size(&self) -> (usize, usize) {
        match self.transform {
            Transform::_90 | Transform::_270 | Transform::Flipped90 | Transform::Flipped270 => {
                (self.height, self.width)
            }
            _ => (self.width, self.height),
        }
    }

    /// The upright picture, four bytes per pixel, rows without padding. `None` when the bytes are too short.
    pub fn upright(&self) -> Option<Vec<u8>> {
        if self.bytes.len() < (self.height - 1) * self.stride + self.width * self.packing.bytes() {
            return None;
        }
        let (width, height) = self.upright_size();
        let mut picture = Vec::with_capacity(width * height * 4);
        for y in 0..height {
            for x in 0..width {
                let (column, row) = self.source(x, y);
                let at = row * self.stride + column * self.packing.bytes();
                picture.extend(self.packing.pixel(&self.bytes[at..at + self.packing.bytes()]));
            }
        }
        Some(picture)
    }

    /// Where in the buffer the pixel of the upright picture lies. A transform of 90 turned the picture counter-clockwise,
    /// the flipped ones mirrored it left to right before turning.
    fn source(&self, x: usize, y: usize) -> (usize, usize) {
        let (width, height) = self.upright_size();
        let (left, top) = (width - 1 - x, height - 1 - y);
        let (column, row) = match self.transform {
            Transform::_90 => (y, left),
            Transform::_180 => (left, top),
            Transform::_270 => (top, x),
            Transform::Flipped => (left, y),
            Transform::Flipped90 => (y, x),
            Transform::Flipped180 => (x, top),
            Transform::Flipped270 => (top, left),
            _ => (x, y),
        };
        (column, if self.upside_down { self.height - 1 - row } else { row })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three by two pixels, numbered in the blue channel, as the compositor would write them.
    fn raw(bytes: &[u8], packing: Packing, transform: Transform) -> Raw<'_> {
        let stride = 3 * packing.bytes() + 4;
        Raw { bytes, width: 3, height: 2, stride, packing, transform, upside_down: false }
    }

    fn numbered() -> Vec<u8> {
        let mut bytes = vec![0xEE; 2 * 16];
        for (index, number) in (1..=6_u8).enumerate() {
            let at = index / 3 * 16 + index % 3 * 4;
            bytes[at..at + 4].copy_from_slice(&[number, 20, 30, 0]);
        }
        bytes
    }

    fn blues(raw: &Raw<'_>) -> Vec<u8> {
        raw.upright().expect("long enough").chunks(4).map(|pixel| pixel[0]).collect()
    }

    #[test]
    fn a_plain_picture_is_passed_on_and_a_turned_one_is_turned_back() {
        let bytes = numbered();
        let packing = Packing::Ready(PixelFormat::Bgrx);
        assert!(raw(&bytes, packing, Transform::Normal).is_ready());
        for (transform, expected, size) in [
            (Transform::Normal, [1, 2, 3, 4, 5, 6], (3, 2)),
            (Transform::_180, [6, 5, 4, 3, 2, 1], (3, 2)),
            (Transform::Flipped, [3, 2, 1, 6, 5, 4], (3, 2)),
            (Transform::Flipped180, [4, 5, 6, 1, 2, 3], (3, 2)),
            (Transform::_90, [4, 1, 5, 2, 6, 3], (2, 3)),
            (Transform::_270, [3, 6, 2, 5, 1, 4], (2, 3)),
            (Transform::Flipped90, [1, 4, 2, 5, 3, 6], (2, 3)),
            (Transform::Flipped270, [6, 3, 5, 2, 4, 1], (2, 3)),
        ] {
            let raw = raw(&bytes, packing, transform);
            assert_eq!((blues(&raw), raw.upright_size()), (expected.to_vec(), size), "{transform:?}");
        }
        let upside_down = Raw { upside_down: true, ..raw(&bytes, packing, Transform::Normal) };
        assert!(!upside_down.is_ready());
        assert_eq!(blues(&upside_down), [4, 5, 6, 1, 2, 3]);
    }

    #[test]
    fn every_format_gives_the_same_colours() {
        let (blue, green, red) = (0x10_u8, 0x80, 0xF0);
        let tens = |low: u8, high: u8| {
            (u32::from(low) << 2 | u32::from(green) << 12 | u32::from(high) << 22).to_le_bytes().to_vec()
        };
        for (format, pixel) in [
            (Format::Argb8888, vec![blue, green, red, 0]),
            (Format::Rgbx8888, vec![0, blue, green, red]),
            (Format::Bgrx8888, vec![0, red, green, blue]),
            (Format::Rgb888, vec![blue, green, red]),
            (Format::Bgr888, vec![red, green, blue]),
            (Format::Xrgb2101010, tens(blue, red)),
            (Format::Xbgr2101010, tens(red, blue)),
        ] {
            let packing = Packing::of(format).expect("known");
            assert_eq!(packing.pixel(&pixel), [blue, green, red, 255], "{format:?}");
            assert_eq!((packing.bytes(), packing.result()), (pixel.len(), PixelFormat::Bgrx));
        }
        assert_eq!(Packing::of(Format::Xbgr8888), Some(Packing::Ready(PixelFormat::Rgbx)));
        assert_eq!(Packing::of(Format::Nv12), None);
    }

    #[test]
    fn formats_without_conversion_are_preferred() {
        assert_eq!(best(&[Format::Xrgb2101010, Format::Xbgr8888, Format::Argb8888]), Some(Format::Argb8888));
        assert_eq!(best(&[Format::Nv12, Format::Xrgb2101010, Format::Bgr888]), Some(Format::Bgr888));
        assert_eq!(best(&[Format::Nv12]), None);
    }

    #[test]
    fn a_short_buffer_is_refused() {
        let bytes = numbered();
        let packing = Packing::Ready(PixelFormat::Bgrx);
        assert!(raw(&bytes[..27], packing, Transform::_180).upright().is_none());
        assert!(raw(&bytes[..28], packing, Transform::_180).upright().is_some());
    }
}
