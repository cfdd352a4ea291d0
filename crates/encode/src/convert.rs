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
        let too_long = |_| ConvertError::Library(format!("a stride of {} bytes", frame.stride));
        let stride = u32::try_from(frame.stride).map_err(too_long)?;
        let luma_stride = planes.luma_stride();
        let chroma_stride = planes.chroma_stride() as u32;
        let into = planes.planes_mut();
        let mut image = YuvPlanarImageMut {
            y_plane: BufferStoreMut::Borrowed(&mut *into.y),
            y_stride: luma_stride as u32,
            u_plane: BufferStoreMut::Borrowed(into.u),
            u_stride: chroma_stride,
            v_plane: BufferStoreMut::Borrowed(into.v),
            v_stride: chroma_stride,
            width: self.width,
            height: self.height,
        };
        let convert = match frame.format {
            PixelFormat::Bgrx => yuv::bgra_to_yuv420,
            PixelFormat::Rgbx => yuv::rgba_to_yuv420,
        };
        convert(&mut image, pixels, stride, self.range, self.matrix, YuvConversionMode::Professional)
            .map_err(|cause| ConvertError::Library(cause.to_string()))?;
        repeat_edges(into.y, luma_stride, self.width as usize, self.height as usize);
        Ok(())
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

/// Fills the column and the row by which luma was rounded up. Chroma is rounded up by the conversion itself.
fn repeat_edges(y: &mut [u8], stride: usize, width: usize, height: usize) {
    if width % 2 == 1 {
        for row in y.chunks_exact_mut(stride).take(height) {
            row[width] = row[width - 1];
        }
    }
    if height % 2 == 1 {
        let last = (height - 1) * stride;
        y.copy_within(last..last + stride, height * stride);
    }
}
