//! Pictures of another size than the stream's: scaled into it, aspect kept, with black bars where they leave room.

use fast_image_resize::images::{CroppedImage, CroppedImageMut, Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeError, ResizeOptions, Resizer};
use lumen_media::{Frame, PixelFormat};
use std::sync::Arc;

/// Sizes that differ by less than this on both sides differ by a compositor's rounding (CVT: multiples of 8; even sides).
/// Scaling would blur every letter for it, so such pictures are cropped or framed instead.
const ROUNDING: u32 = 8;

/// A rectangle in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// From the left edge.
    pub x: u32,
    /// From the top edge.
    pub y: u32,
    /// Width, at least 1.
    pub width: u32,
    /// Height, at least 1.
    pub height: u32,
}

/// Which part of a picture is shown where in the stream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Part of the picture.
    pub from: Area,
    /// Place in the stream's picture. Its corner is even, so that bars do not bleed into the picture's colours.
    pub to: Area,
}

/// Why a picture could not be brought to the stream's size.
#[derive(Debug, thiserror::Error)]
pub enum ScaleError {
    /// A side is zero.
    #[error("a picture of {0}x{1} has nothing to show")]
    Empty(u32, u32),
    /// The picture's memory ends before its last row, or its rows overlap.
    #[error("a picture of {width}x{height} in rows of {stride} bytes does not fit into {got} bytes")]
    ShortBuffer {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Bytes from row to row.
        stride: usize,
        /// Bytes there.
        got: usize,
    },
    /// The library refused.
    #[error("scaling failed: {0}")]
    Library(#[from] ResizeError),
}

impl Placement {
    /// Where a picture of size `from` is shown in one of size `to`; `None` when a side is zero.
    pub fn new(from: (u32, u32), to: (u32, u32)) -> Option<Self> {
        if [from.0, from.1, to.0, to.1].contains(&0) {
            return None;
        }
        if from.0.abs_diff(to.0) < ROUNDING && from.1.abs_diff(to.1) < ROUNDING {
            let (width, height) = (from.0.min(to.0), from.1.min(to.1));
            return Some(Self {
                from: Area { x: (from.0 - width) / 2, y: (from.1 - height) / 2, width, height },
                to: centred((width, height), to),
            });
        }
        let [(fw, fh), (tw, th)] = [from, to].map(|(width, height)| (u64::from(width), u64::from(height)));
        // Wider than the stream's picture: full width, bars above and below. The products of two u32 fit.
        let (width, height) =
            if fw * th >= fh * tw { (tw, (fh * tw + fw / 2) / fw) } else { ((fw * th + fh / 2) / fh, th) };
        let size = (whole(width, to.0), whole(height, to.1));
        Some(Self { from: Area { x: 0, y: 0, width: from.0, height: from.1 }, to: centred(size, to) })
    }

    /// Whether pixels are copied one to one.
    pub fn is_copy(&self) -> bool {
        (self.from.width, self.from.height) == (self.to.width, self.to.height)
    }
}

/// A side of a scaled picture: full where not even a pair of pixels would be left for bars, else even.
fn whole(side: u64, full: u32) -> u32 {
    // Never more than `full`, which is a u32.
    let side = side.min(u64::from(full)) as u32;
    if full - side < 2 { full } else { (side & !1).max(2).min(full) }
}

fn centred(size: (u32, u32), within: (u32, u32)) -> Area {
    let corner = |inner: u32, outer: u32| ((outer - inner) / 2) & !1;
    Area { x: corner(size.0, within.0), y: corner(size.1, within.1), width: size.0, height: size.1 }
}

/// Brings pictures of any size to one.
///
/// 1080p becomes 720p in about 2 ms (AVX2, one core).
pub struct Scaler {
    width: u32,
    height: u32,
    resizer: Resizer,
    /// Shared with the picture handed out last; written again once that is dropped.
    canvas: Arc<Vec<u8>>,
    /// What the canvas shows: around it everything is black.
    painted: Option<Placement>,
}

impl Scaler {
    /// Pictures come out as `width × height` pixels.
    pub fn new(width: u32, height: u32) -> Self {
        Self { width, height, resizer: Resizer::new(), canvas: Arc::default(), painted: None }
    }

    /// `frame` in the stream's size, in the same byte order. Drop it before the next call: its memory is used again.
    ///
    /// # Errors
    /// [`ScaleError`] for pictures that have no pixels or not enough memory.
    pub fn fit(&mut self, frame: &Frame) -> Result<Frame, ScaleError> {
        let placement = Placement::new((frame.width, frame.height), (self.width, self.height))
            .ok_or(ScaleError::Empty(frame.width, frame.height))?;
        let pixels = rows_of(frame)?;
        let length = self.width as usize * PixelFormat::BYTES * self.height as usize;
        let canvas = match Arc::get_mut(&mut self.canvas) {
            Some(canvas) if canvas.len() == length => canvas,
            _ => {
                self.painted = None;
                self.canvas = Arc::new(vec![0; length]);
                Arc::get_mut(&mut self.canvas).expect("made just now, and not shared yet")
            }
        };
        if self.painted != Some(placement) {
            canvas.fill(0);
            self.painted = Some(placement);
        }
        if placement.is_copy() {
            copy(frame, pixels, placement, canvas, self.width as usize * PixelFormat::BYTES);
        } else {
            let mut canvas = Image::from_slice_u8(self.width, self.height, canvas, PixelType::U8x4)
                .expect("the canvas was made in this size, and bytes have no alignment");
            resize(&mut self.resizer, frame, pixels, placement.to, &mut canvas)?;
        }
        Ok(Frame {
            width: self.width,
            height: self.height,
            stride: self.width as usize * PixelFormat::BYTES,
            format: frame.format,
            captured: frame.captured,
            sequence: frame.sequence,
            pixels: self.canvas.clone(),
        })
    }
}

impl std::fmt::Debug for Scaler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scaler").field("size", &(self.width, self.height)).finish_non_exhaustive()
    }
}

/// The picture's memory, checked: every row lies in it.
fn rows_of(frame: &Frame) -> Result<&[u8], ScaleError> {
    let pixels = frame.pixels.bytes();
    let row = frame.width as usize * PixelFormat::BYTES;
    let needed = frame.stride.checked_mul(frame.height as usize - 1).and_then(|rows| rows.checked_add(row));
    match needed {
        Some(needed) if pixels.len() >= needed && frame.stride >= row => Ok(pixels),
        _ => Err(ScaleError::ShortBuffer {
            width: frame.width,
            height: frame.height,
            stride: frame.stride,
            got: pixels.len(),
        }),
    }
}

fn copy(frame: &Frame, pixels: &[u8], placement: Placement, canvas: &mut [u8], canvas_stride: usize) {
    let Placement { from, to } = placement;
    let row = from.width as usize * PixelFormat::BYTES;
    for y in 0..from.height as usize {
        let source = (from.y as usize + y) * frame.stride + from.x as usize * PixelFormat::BYTES;
        let target = (to.y as usize + y) * canvas_stride + to.x as usize * PixelFormat::BYTES;
        canvas[target..target + row].copy_from_slice(&pixels[source..source + row]);
    }
}

/// Scales the whole of `frame` into `to` of the canvas.
fn resize(
    resizer: &mut Resizer,
    frame: &Frame,
    pixels: &[u8],
    to: Area,
    canvas: &mut Image<'_>,
) -> Result<(), ResizeError> {
    let row = frame.width as usize * PixelFormat::BYTES;
    // The library knows rows without gaps only. Gaps of whole pixels are cropped away; other pictures (odd strides, a
    // last row without its gap) are rare enough to be copied.
    let gapless;
    let whole_rows = pixels.len() / frame.stride >= frame.height as usize;
    let (pixels, stride) = if frame.stride.is_multiple_of(PixelFormat::BYTES) && whole_rows {
        (pixels, frame.stride)
    } else {
        let rows = (0..frame.height as usize).map(|y| &pixels[y * frame.stride..y * frame.stride + row]);
        gapless = rows.collect::<Vec<_>>().concat();
        (&gapless[..], row)
    };
    let stride = u32::try_from(stride / PixelFormat::BYTES).unwrap_or(u32::MAX);
    let rows = ImageRef::new(stride, frame.height, pixels, PixelType::U8x4)
        .expect("the rows were measured, and bytes have no alignment");
    let picture = CroppedImage::new(&rows, 0, 0, frame.width, frame.height)
        .expect("a row is at least as long as the picture is wide");
    let mut place = CroppedImageMut::new(canvas, to.x, to.y, to.width, to.height)
        .expect("a placement lies within the canvas");
    // The fourth byte means nothing.
    let options =
        ResizeOptions::new().use_alpha(false).resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    resizer.resize(&picture, &mut place, &options)
}

#[cfg(test)]
#[path = "scale_tests.rs"]
mod tests;
