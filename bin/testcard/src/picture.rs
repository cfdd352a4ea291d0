//! Pictures from files: binary PPM (P6), PGM (P5) and bare luma.

use crate::bars::{self, BarError, Plane};
use crate::code::{self, Code};

/// Largest picture read, in pixels: 7680×4320.
const MAX_PIXELS: u64 = 7680 * 4320;

/// Why a file is not a picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// Neither P5 nor P6.
    #[error("not a binary PPM (P6) or PGM (P5); give --raw-luma WxH for bare luma")]
    Format,
    /// The header lacks a number, or one that makes no sense.
    #[error("the header's {0} is missing or out of range")]
    Header(&'static str),
    /// The file ends too early.
    #[error("the picture needs {needed} bytes and has {found}")]
    Short {
        /// Bytes that the size asks for.
        needed: usize,
        /// Bytes there.
        found: usize,
    },
}

/// A decoded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    /// 3 for RGB, 1 for luma.
    channels: usize,
    data: Vec<u8>,
}

impl Picture {
    /// Reads a PPM or PGM with 8 bits per channel.
    ///
    /// # Errors
    /// [`PictureError`] says what is wrong with the bytes.
    pub fn from_pnm(bytes: &[u8]) -> Result<Self, PictureError> {
        let channels = match bytes.get(..2) {
            Some(b"P6") => 3,
            Some(b"P5") => 1,
            _ => return Err(PictureError::Format),
        };
        let mut rest = &bytes[2..];
        let width = header_number(&mut rest).ok_or(PictureError::Header("width"))?;
        let height = header_number(&mut rest).ok_or(PictureError::Header("height"))?;
        if header_number(&mut rest) != Some(255) {
            return Err(PictureError::Header("maximum (must be 255)"));
        }
        // Exactly one byte of white space divides header and samples.
        let samples = rest.get(1..).unwrap_or_default();
        Self::new(width, height, channels, samples)
    }

    /// Takes bare luma, one byte per pixel, rows without padding; further bytes (chroma) are ignored.
    ///
    /// # Errors
    /// [`PictureError::Short`], or [`PictureError::Header`] for an impossible size.
    pub fn from_luma(width: u32, height: u32, bytes: &[u8]) -> Result<Self, PictureError> {
        Self::new(width, height, 1, bytes)
    }

    fn new(width: u32, height: u32, channels: usize, samples: &[u8]) -> Result<Self, PictureError> {
        let pixels = u64::from(width) * u64::from(height);
        if pixels == 0 || pixels > MAX_PIXELS {
            return Err(PictureError::Header("size"));
        }
        let needed = pixels as usize * channels;
        let data =
            samples.get(..needed).ok_or(PictureError::Short { needed, found: samples.len() })?.to_vec();
        Ok(Self { width, height, channels, data })
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The block, if there is one.
    pub fn code(&self) -> Option<Code> {
        let stride = self.width as usize;
        if self.channels == 1 {
            return code::decode_luma(&self.data, stride, self.width, self.height);
        }
        // Black and white cells: green alone is as good as luma.
        let green: Vec<u8> = self.data.iter().skip(1).step_by(3).copied().collect();
        code::decode_luma(&green, stride, self.width, self.height)
    }

    /// The colour bars against what was drawn; `None` for a picture without colour.
    pub fn bars(&self) -> Option<Vec<BarError>> {
        if self.channels != 3 {
            return None;
        }
        let stride = self.width as usize * 3;
        let channels = [0, 1, 2].map(|offset| Plane { data: &self.data[offset..], stride, step: 3 });
        bars::check_rgb(self.width, self.height, channels)
    }
}

/// The next number of a header, past white space and comments.
fn header_number(rest: &mut &[u8]) -> Option<u32> {
    loop {
        match rest.first()? {
            b'#' => {
                let end = rest.iter().position(|byte| *byte == b'\n')?;
                *rest = &rest[end..];
            }
            byte if byte.is_ascii_whitespace() => *rest = &rest[1..],
            _ => break,
        }
    }
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, after) = rest.split_at(digits);
    *rest = after;
    std::str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::{Card, Painted, Scene, Style};

    #[test]
    fn a_drawn_card_is_read_back_from_ppm_and_luma() {
        let card = Card::new(640, 360, Style::Scroll).expect("large enough");
        let code = Code { frame: 77, time_ns: 123_456_789_012 };
        let mut pixels = vec![0; card.bytes()];
        card.draw(&Scene { code, pointer: None }, &mut pixels, &mut Painted::default());
        let mut ppm = b"P6\n# made by a test\n640 360\n255\n".to_vec();
        ppm.extend(pixels.as_chunks::<4>().0.iter().flat_map(|[blue, green, red, _]| [*red, *green, *blue]));
        let picture = Picture::from_pnm(&ppm).expect("a picture");
        assert_eq!(picture.code(), Some(code));
        assert_eq!(bars::worst(&picture.bars().expect("colour")), 0.0);

        let luma: Vec<u8> = pixels.iter().skip(1).step_by(4).copied().collect();
        let picture = Picture::from_luma(640, 360, &luma).expect("a picture");
        assert_eq!(picture.code(), Some(code));
        assert_eq!(picture.bars(), None);
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        assert_eq!(Picture::from_pnm(b"P3 1 1 255 0 0 0"), Err(PictureError::Format));
        assert_eq!(Picture::from_pnm(b"P6"), Err(PictureError::Header("width")));
        assert_eq!(Picture::from_pnm(b"P5 4 4 65535\n"), Err(PictureError::Header("maximum (must be 255)")));
        assert_eq!(Picture::from_pnm(b"P5 99999 99999 255\n"), Err(PictureError::Header("size")));
        assert_eq!(Picture::from_pnm(b"P5 4 4 255\nabc"), Err(PictureError::Short { needed: 16, found: 3 }));
        assert_eq!(Picture::from_pnm(b"P5 # no end"), Err(PictureError::Header("width")));
    }
}
