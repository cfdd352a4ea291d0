//! RGB pictures into an encoder's planes: the one full-frame pass between compositor and encoder.

use crate::planes::Planes;
use lumen_media::{Colour, Frame, Matrix, PixelFormat, Range};
use yuv::{BufferStoreMut, YuvConversionMode, YuvPlanarImageMut, YuvRange, YuvStandardMatrix};

/// Why a picture could not be converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The picture, or the planes, are not of the size that the converter was made for.
    #[error(
        "the converter is made for {}x{} but got {what} of {}x{}",
        .expected.0, .expected.1, .got.0, .got.1
    )]
    WrongSize {
        /// Which of the two.
        what: &'static str,
        /// What it was made for.
        expected: (u32, u32),
        /// What it got.
        got: (u32, u32),
    },
    /// The picture's memory ends before its last row.
    #[error("a picture of {height} rows of {stride} bytes needs {needed} bytes but has {got}")]
    ShortBuffer {
        /// Rows.
        height: u32,
        /// Bytes from row to row.
        stride: usize,
        /// Bytes needed.
        needed: usize,
        /// Bytes there.
        got: usize,
    },
    /// The conversion library refused the buffers.
    #[error("colour conversion failed: {0}")]
    Library(String),
}

/// Converts pictures of one size to planes of one colour description.
///
/// Correctly rounded (error at most 0.51 of a step on flat colours). Chroma is the mean of each 2×2 block.
#[derive(Clone, Copy, Debug)]
pub struct Converter {
    width: u32,
    height: u32,
    range: YuvRange,
    matrix: YuvStandardMatrix,
}

impl Converter {
    /// For pictures of `width × height` pixels. Planes come from a [`crate::PlanesPool`] of the same size; where a side
    /// is odd, the last column or row is repeated.
    pub fn new(width: u32, height: u32, colour: Colour) -> Self {
        Self {
            width,
            height,
            range: match colour.range {
                Range::Limited => YuvRange::Limited,
                Range::Full => YuvRange::Full,
            },
            matrix: match colour.matrix {
                Matrix::Bt601 => YuvStandardMatrix::Bt601,
                Matrix::Bt709 => YuvStandardMatrix::Bt709,
            },
        }
    }

    /// Writes `frame` into `planes`. One pass over the picture, no other copy.
    ///
    /// # Errors
    /// [`ConvertError::WrongSize`] when picture or planes differ from what the converter was made for;
    /// [`ConvertError::ShortBuffer`] when the picture's memory is too short for its stride and height.
    pub fn convert(&self, frame: &Frame, planes: &mut Planes) -> Result<(), ConvertError> {
        self.check_size("a picture", (self.width, self.height), (frame.width, frame.height))?;
        let even = (self.width.next_multiple_of(2), self.height.next_multiple_of(2));
        self.check_size("planes", even, (planes.width(), planes.height()))?;
        let pixels = frame.pixels.bytes();
        let row = self.width as usize * PixelFormat::BYTES;
        let needed = frame.stride.saturating_mul(self.height.saturating_sub(1) as usize).saturating_add(row);
        if pixels.len() < needed || frame.stride < row {
            return Err(ConvertError::ShortBuffer {
                height: self.height,
                stride: frame.stride,
                needed,
                got: pixels.len(),
            });
        }
        // The library works on whole pairs of rows and leaves out, without a word, what is not one: a last pair that
        // ends with its last pixel, or a single last row. Those are converted from a copy of two rows.
        let (height, pair) = (self.height as usize, 2 * frame.stride);
        let whole = (pixels.len() / pair).min(height / 2) * 2;
        if whole > 0 {
            self.convert_rows(frame.format, &pixels[..whole / 2 * pair], frame.stride, planes, 0)?;
        }
        if whole < height {
            let last = |y: usize| &pixels[y * frame.stride..y * frame.stride + row];
            let copy = [last(height - 2 + height % 2), last(height - 1)].concat();
            self.convert_rows(frame.format, &copy, row, planes, whole)?;
        }
        repeat_last_column(planes, self.width as usize);
        Ok(())
    }

    /// Converts whole pairs of rows into the planes from row `first` on.
    fn convert_rows(
        &self,
        format: PixelFormat,
        pixels: &[u8],
        stride: usize,
        planes: &mut Planes,
        first: usize,
    ) -> Result<(), ConvertError> {
        let rows = pixels.len() / stride;
        let too_long = |_| ConvertError::Library(format!("a stride of {stride} bytes is too long"));
        let (luma, chroma) = (planes.luma_stride(), planes.chroma_stride());
        let into = planes.planes_mut();
        let chroma_rows = first / 2 * chroma..(first + rows) / 2 * chroma;
        let mut image = YuvPlanarImageMut {
            y_plane: BufferStoreMut::Borrowed(&mut into.y[first * luma..(first + rows) * luma]),
            y_stride: luma as u32,
            u_plane: BufferStoreMut::Borrowed(&mut into.u[chroma_rows.clone()]),
            u_stride: chroma as u32,
            v_plane: BufferStoreMut::Borrowed(&mut into.v[chroma_rows]),
            v_stride: chroma as u32,
            width: self.width,
            height: rows as u32,
        };
        let convert = match format {
            PixelFormat::Bgrx => yuv::bgra_to_yuv420,
            PixelFormat::Rgbx => yuv::rgba_to_yuv420,
        };
        let stride = u32::try_from(stride).map_err(too_long)?;
        convert(&mut image, pixels, stride, self.range, self.matrix, YuvConversionMode::Professional)
            .map_err(|cause| ConvertError::Library(cause.to_string()))
    }

    fn check_size(
        &self,
        what: &'static str,
        expected: (u32, u32),
        got: (u32, u32),
    ) -> Result<(), ConvertError> {
        if expected == got { Ok(()) } else { Err(ConvertError::WrongSize { what, expected, got }) }
    }
}

/// Fills the column by which luma was rounded up. Chroma is rounded up by the conversion itself.
fn repeat_last_column(planes: &mut Planes, width: usize) {
    if width % 2 == 1 {
        let stride = planes.luma_stride();
        for row in planes.planes_mut().y.chunks_exact_mut(stride) {
            row[width] = row[width - 1];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planes::PlanesPool;
    use lumen_media::Timestamp;
    use std::sync::Arc;

    const COLOURS: [Colour; 4] = [
        Colour { matrix: Matrix::Bt601, range: Range::Limited },
        Colour { matrix: Matrix::Bt601, range: Range::Full },
        Colour { matrix: Matrix::Bt709, range: Range::Limited },
        Colour { matrix: Matrix::Bt709, range: Range::Full },
    ];

    fn frame(width: u32, height: u32, padding: usize, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Frame {
        let stride = width as usize * PixelFormat::BYTES + padding;
        let mut bytes = vec![0xee; stride * height as usize];
        for y in 0..height {
            for x in 0..width {
                let [red, green, blue] = pixel(x, y);
                let at = y as usize * stride + x as usize * 4;
                bytes[at..at + 4].copy_from_slice(&[blue, green, red, 0x55]);
            }
        }
        let captured = Timestamp::default();
        let pixels = Arc::new(bytes);
        Frame { width, height, stride, format: PixelFormat::Bgrx, captured, sequence: 1, pixels }
    }

    /// What the standards say, before rounding.
    fn exact(colour: Colour, rgb: [u8; 3]) -> [f64; 3] {
        let [red, green, blue] = rgb.map(|value| f64::from(value) / 255.0);
        let (kr, kb) = match colour.matrix {
            Matrix::Bt601 => (0.299, 0.114),
            Matrix::Bt709 => (0.2126, 0.0722),
        };
        let luma = kr * red + (1.0 - kr - kb) * green + kb * blue;
        let (u, v) = ((blue - luma) / (2.0 * (1.0 - kb)), (red - luma) / (2.0 * (1.0 - kr)));
        match colour.range {
            Range::Limited => [16.0 + 219.0 * luma, 128.0 + 224.0 * u, 128.0 + 224.0 * v],
            // 0.5 rounds to 128 ± 127.5, which eight bits hold up to 255.
            Range::Full => [luma, u, v].map(|value| value * 255.0).map({
                let mut first = true;
                move |value| if std::mem::take(&mut first) { value } else { (value + 128.0).min(255.0) }
            }),
        }
    }

    #[test]
    fn flat_colours_are_correctly_rounded() {
        for colour in COLOURS {
            let pool = PlanesPool::new(64, 2);
            let converter = Converter::new(64, 2, colour);
            let steps = [0u8, 1, 16, 50, 64, 100, 127, 128, 166, 191, 203, 235, 254, 255];
            let mut worst = 0.0f64;
            for red in steps {
                for green in steps {
                    for blue in steps {
                        let rgb = [red, green, blue];
                        let mut planes = pool.acquire();
                        converter.convert(&frame(64, 2, 0, |_, _| rgb), &mut planes).expect("fits");
                        let got = [planes.y()[33], planes.u()[17], planes.v()[17]];
                        for (got, exact) in got.into_iter().zip(exact(colour, rgb)) {
                            worst = worst.max((f64::from(got) - exact).abs());
                        }
                    }
                }
            }
            assert!(worst <= 0.51, "{colour:?}: off by {worst}");
        }
    }

    #[test]
    fn bars_have_the_values_of_the_standards() {
        // 100 % red, BT.709 limited and BT.601 limited; 75 % white, both.
        let cases = [
            (COLOURS[2], [255, 0, 0], [63, 102, 240]),
            (COLOURS[0], [255, 0, 0], [81, 90, 240]),
            (COLOURS[2], [191, 191, 191], [180, 128, 128]),
            (COLOURS[1], [0, 0, 255], [29, 255, 107]),
        ];
        for (colour, rgb, expected) in cases {
            let mut planes = PlanesPool::new(32, 32).acquire();
            Converter::new(32, 32, colour).convert(&frame(32, 32, 0, |_, _| rgb), &mut planes).expect("fits");
            assert_eq!([planes.y()[20], planes.u()[5], planes.v()[5]], expected, "{colour:?} {rgb:?}");
        }
    }

    #[test]
    fn both_byte_orders_and_any_stride_give_the_same_planes() {
        let colourful = |x: u32, y: u32| [(x * 3) as u8, (y * 5) as u8, (x + y) as u8];
        let plain = frame(322, 182, 0, colourful);
        let padded = frame(322, 182, 52, colourful);
        let mut ending_with_its_last_pixel = padded.clone();
        let short = padded.pixels.bytes()[..padded.pixels.bytes().len() - 52].to_vec();
        ending_with_its_last_pixel.pixels = Arc::new(short);
        let mut swapped = frame(322, 182, 0, |x, y| {
            let [red, green, blue] = colourful(x, y);
            [blue, green, red]
        });
        swapped.format = PixelFormat::Rgbx;
        let pool = PlanesPool::new(322, 182);
        let converter = Converter::new(322, 182, Colour::BT709_LIMITED);
        let [plain, padded, short, swapped] =
            [plain, padded, ending_with_its_last_pixel, swapped].map(|frame| {
                let mut planes = pool.acquire();
                converter.convert(&frame, &mut planes).expect("fits");
                planes
            });
        for other in [padded, short, swapped] {
            for y in 0..182 {
                let row = y * plain.luma_stride()..y * plain.luma_stride() + 322;
                assert_eq!(plain.y()[row.clone()], other.y()[row]);
            }
            for y in 0..91 {
                let row = y * plain.chroma_stride()..y * plain.chroma_stride() + 161;
                assert_eq!(plain.u()[row.clone()], other.u()[row.clone()]);
                assert_eq!(plain.v()[row.clone()], other.v()[row]);
            }
        }
    }

    #[test]
    fn odd_sides_repeat_the_last_column_and_row() {
        // Bright everywhere, dark red in the last column and row: what is repeated must be dark, too.
        let (width, height) = (1111, 667);
        let edge = |x: u32, y: u32| if x == width - 1 || y == height - 1 { [90, 0, 0] } else { [255; 3] };
        let mut planes = PlanesPool::new(width, height).acquire();
        planes.planes_mut().y.fill(200);
        planes.planes_mut().u.fill(7);
        planes.planes_mut().v.fill(7);
        Converter::new(width, height, Colour::BT709_LIMITED)
            .convert(&frame(width, height, 4, edge), &mut planes)
            .expect("fits");
        let [y, u, v] = exact(Colour::BT709_LIMITED, [90, 0, 0]).map(f64::round).map(|value| value as u8);
        let (luma, chroma) = (planes.luma_stride(), planes.chroma_stride());
        let corner = 667 * luma + 1111;
        for at in [5 * luma + 1110, 5 * luma + 1111, 666 * luma + 5, 667 * luma + 5, corner] {
            assert_eq!(planes.y()[at], y);
        }
        let corner = 333 * chroma + 555;
        for at in [5 * chroma + 555, 333 * chroma + 5, corner] {
            assert_eq!((planes.u()[at], planes.v()[at]), (u, v), "at {at}");
        }
    }

    #[test]
    fn wrong_sizes_and_short_pictures_are_refused() {
        let converter = Converter::new(64, 64, Colour::BT709_LIMITED);
        let good = frame(64, 64, 0, |_, _| [0; 3]);
        let mut planes = PlanesPool::new(64, 64).acquire();
        let other = frame(32, 64, 0, |_, _| [0; 3]);
        assert!(matches!(converter.convert(&other, &mut planes), Err(ConvertError::WrongSize { .. })));
        let mut elsewhere = PlanesPool::new(66, 64).acquire();
        assert!(matches!(converter.convert(&good, &mut elsewhere), Err(ConvertError::WrongSize { .. })));
        for stride in [0, 252, 260, usize::MAX] {
            let short = Frame { stride, ..good.clone() };
            assert!(matches!(converter.convert(&short, &mut planes), Err(ConvertError::ShortBuffer { .. })));
        }
    }
}
