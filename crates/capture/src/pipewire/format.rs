//! Pixel formats of PipeWire and what Lumen makes of them.

use libspa::sys;
use lumen_media::PixelFormat;

/// A packed RGB format of four bytes a pixel that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct VideoFormat(u32);

/// How a pixel becomes one of the two formats of a [`lumen_media::Frame`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The bytes are right as they are.
    AsIs(PixelFormat),
    /// The first byte is unused: the other three move down by one.
    SkipFirst(PixelFormat),
    /// A little-endian word with ten bits a colour: shifts of red, green and blue.
    TenBits([u32; 3]),
}

/// Everything that can be read, in order of preference: without conversion first, then eight bits, then ten.
const READABLE: [(u32, Reading, &str); 16] = [
    (sys::SPA_VIDEO_FORMAT_BGRx, Reading::AsIs(PixelFormat::Bgrx), "BGRx"),
    (sys::SPA_VIDEO_FORMAT_RGBx, Reading::AsIs(PixelFormat::Rgbx), "RGBx"),
    (sys::SPA_VIDEO_FORMAT_BGRA, Reading::AsIs(PixelFormat::Bgrx), "BGRA"),
    (sys::SPA_VIDEO_FORMAT_RGBA, Reading::AsIs(PixelFormat::Rgbx), "RGBA"),
    (sys::SPA_VIDEO_FORMAT_xBGR, Reading::SkipFirst(PixelFormat::Bgrx), "xBGR"),
    (sys::SPA_VIDEO_FORMAT_xRGB, Reading::SkipFirst(PixelFormat::Rgbx), "xRGB"),
    (sys::SPA_VIDEO_FORMAT_ABGR, Reading::SkipFirst(PixelFormat::Bgrx), "ABGR"),
    (sys::SPA_VIDEO_FORMAT_ARGB, Reading::SkipFirst(PixelFormat::Rgbx), "ARGB"),
    (sys::SPA_VIDEO_FORMAT_xRGB_210LE, Reading::TenBits([20, 10, 0]), "xRGB_210LE"),
    (sys::SPA_VIDEO_FORMAT_xBGR_210LE, Reading::TenBits([0, 10, 20]), "xBGR_210LE"),
    (sys::SPA_VIDEO_FORMAT_ARGB_210LE, Reading::TenBits([20, 10, 0]), "ARGB_210LE"),
    (sys::SPA_VIDEO_FORMAT_ABGR_210LE, Reading::TenBits([0, 10, 20]), "ABGR_210LE"),
    (sys::SPA_VIDEO_FORMAT_RGBx_102LE, Reading::TenBits([22, 12, 2]), "RGBx_102LE"),
    (sys::SPA_VIDEO_FORMAT_BGRx_102LE, Reading::TenBits([2, 12, 22]), "BGRx_102LE"),
    (sys::SPA_VIDEO_FORMAT_RGBA_102LE, Reading::TenBits([22, 12, 2]), "RGBA_102LE"),
    (sys::SPA_VIDEO_FORMAT_BGRA_102LE, Reading::TenBits([2, 12, 22]), "BGRA_102LE"),
];

impl VideoFormat {
    /// The format that every screen cast knows.
    pub(crate) const BGRX: Self = Self(sys::SPA_VIDEO_FORMAT_BGRx);

    /// From `enum spa_video_format`; `None` when it cannot be read.
    pub(crate) fn from_spa(id: u32) -> Option<Self> {
        READABLE.iter().any(|known| known.0 == id).then_some(Self(id))
    }

    /// As `enum spa_video_format`.
    pub(crate) fn spa(self) -> u32 {
        self.0
    }

    /// All that can be read, preferred ones first.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        READABLE.iter().map(|known| Self(known.0))
    }

    /// How to read it.
    pub(crate) fn reading(self) -> Reading {
        // The type is made from the table only.
        READABLE
            .iter()
            .find(|known| known.0 == self.0)
            .map_or(Reading::AsIs(PixelFormat::Bgrx), |known| known.1)
    }

    /// PipeWire's name.
    pub(crate) fn name(self) -> &'static str {
        READABLE.iter().find(|known| known.0 == self.0).map_or("", |known| known.2)
    }
}

impl Reading {
    /// The format that comes out.
    pub(crate) fn output(self) -> PixelFormat {
        match self {
            Self::AsIs(format) | Self::SkipFirst(format) => format,
            Self::TenBits(_) => PixelFormat::Bgrx,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_read_if_and_only_if_it_is_packed_rgb() {
        assert_eq!(VideoFormat::from_spa(sys::SPA_VIDEO_FORMAT_NV12), None);
        assert_eq!(VideoFormat::from_spa(0), None);
        let bgra = VideoFormat::from_spa(sys::SPA_VIDEO_FORMAT_BGRA).expect("readable");
        assert_eq!((bgra.name(), bgra.reading().output()), ("BGRA", PixelFormat::Bgrx));
        assert_eq!(VideoFormat::all().next(), Some(VideoFormat::BGRX));
    }

    #[test]
    fn numbers_are_those_of_the_library_at_run_time() {
        // Ten-bit formats stand behind a long list: the numbers must be those of the wire, whatever headers say.
        let ids: Vec<u32> = VideoFormat::all().map(VideoFormat::spa).collect();
        assert_eq!(ids, [8, 7, 12, 11, 10, 9, 14, 13, 80, 81, 84, 85, 82, 83, 86, 87]);
    }
}
