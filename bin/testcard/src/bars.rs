//! Colour bars at 75 %, and the check that they arrived in the right colours.
//!
//! Eight bars of equal width fill the bottom of the picture: white, yellow, cyan, green, magenta, red, blue, black.

use crate::Rect;

/// Full channel of a 75 % bar.
const LEVEL: u8 = 191;

/// One bar: its name and its colour as red, green, blue.
pub const BARS: [(&str, [u8; 3]); 8] = [
    ("white", [LEVEL, LEVEL, LEVEL]),
    ("yellow", [LEVEL, LEVEL, 0]),
    ("cyan", [0, LEVEL, LEVEL]),
    ("green", [0, LEVEL, 0]),
    ("magenta", [LEVEL, 0, LEVEL]),
    ("red", [LEVEL, 0, 0]),
    ("blue", [0, 0, LEVEL]),
    ("black", [0, 0, 0]),
];

/// Matrix between RGB and YCbCr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matrix {
    /// ITU-R BT.601.
    Bt601,
    /// ITU-R BT.709.
    Bt709,
}

/// Range of 8-bit values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// Luma 16–235, chroma 16–240.
    Limited,
    /// 0–255.
    Full,
}

/// One bar as it was found.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct BarError {
    /// Name of the bar.
    pub name: &'static str,
    /// What it should be: red, green, blue or Y, Cb, Cr, whichever was checked.
    pub expected: [f32; 3],
    /// Mean over the middle of the bar.
    pub found: [f32; 3],
    /// Largest difference of the three, in steps of 255.
    pub error: f32,
}

/// Planes of 8-bit YCbCr.
#[derive(Clone, Copy, Debug)]
pub struct YuvPlanes<'a> {
    /// Width of the picture (of the luma plane).
    pub width: u32,
    /// Height of the picture.
    pub height: u32,
    /// Luma.
    pub y: Plane<'a>,
    /// Blue difference.
    pub u: Plane<'a>,
    /// Red difference.
    pub v: Plane<'a>,
    /// Right shift from luma to chroma coordinates, horizontal and vertical: (1, 1) for 4:2:0, (0, 0) for 4:4:4.
    pub chroma_shift: (u32, u32),
}

/// One channel of a picture.
#[derive(Clone, Copy, Debug)]
pub struct Plane<'a> {
    /// The bytes, from the first sample of the channel.
    pub data: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Bytes from one sample to the next: 1 in a plane, 2 for the chroma of NV12, 3 or 4 in interleaved RGB.
    pub step: usize,
}

impl Plane<'_> {
    /// Mean over a rectangle; `None` when it leaves the data.
    fn mean(&self, area: Rect) -> Option<f32> {
        let mut sum = 0_u64;
        for y in area.y..area.y.checked_add(area.height)? {
            for x in area.x..area.x.checked_add(area.width)? {
                sum += u64::from(*self.data.get(y as usize * self.stride + x as usize * self.step)?);
            }
        }
        let samples = u64::from(area.width) * u64::from(area.height);
        (samples > 0).then(|| sum as f32 / samples as f32)
    }
}

/// The strip of bars in a picture of that size. A sixteenth of the height, in whole macroblocks of 16 lines.
pub fn strip(width: u32, height: u32) -> Rect {
    let lines = (height / 16).next_multiple_of(16).min(height);
    Rect { x: 0, y: height - lines, width, height: lines }
}

/// One bar's place: `index` counts from the left, 0 to 7.
pub fn bar(width: u32, height: u32, index: usize) -> Rect {
    let strip = strip(width, height);
    let edge = |bar: usize| (u64::from(width) * bar as u64 / BARS.len() as u64) as u32;
    Rect { x: edge(index), width: edge(index + 1) - edge(index), ..strip }
}

/// Draws the bars into a picture of four bytes per pixel (blue, green, red, unused), `stride` bytes per row.
///
/// # Panics
/// When `pixels` is shorter than the picture.
pub fn draw(width: u32, height: u32, pixels: &mut [u8], stride: usize) {
    let strip = strip(width, height);
    let top = strip.y as usize * stride;
    let row_bytes = width as usize * 4;
    for (index, (_, [red, green, blue])) in BARS.into_iter().enumerate() {
        let bar = bar(width, height, index);
        let left = top + bar.x as usize * 4;
        let line = &mut pixels[left..left + bar.width as usize * 4];
        line.as_chunks_mut::<4>().0.fill([blue, green, red, 255]);
    }
    for line in 1..strip.height as usize {
        pixels.copy_within(top..top + row_bytes, top + line * stride);
    }
}

/// Compares the bars of an RGB picture, given as its red, green and blue channels, with what was drawn.
/// `None` when the picture has no room for bars or the data is short.
pub fn check_rgb(width: u32, height: u32, channels: [Plane<'_>; 3]) -> Option<Vec<BarError>> {
    (0..BARS.len())
        .map(|index| {
            let area = middle(bar(width, height, index));
            let [red, green, blue] = channels;
            let found = [red.mean(area)?, green.mean(area)?, blue.mean(area)?];
            Some(compare(index, BARS[index].1.map(f32::from), found))
        })
        .collect()
}

/// Compares the bars of a YCbCr picture with what `matrix` and `range` make of the colours drawn.
/// `None` when the picture has no room for bars or the data is short.
pub fn check_yuv(planes: &YuvPlanes<'_>, matrix: Matrix, range: Range) -> Option<Vec<BarError>> {
    (0..BARS.len())
        .map(|index| {
            let area = middle(bar(planes.width, planes.height, index));
            let (shift_x, shift_y) = planes.chroma_shift;
            let chroma = Rect {
                x: area.x >> shift_x,
                y: area.y >> shift_y,
                width: area.width >> shift_x,
                height: area.height >> shift_y,
            };
            let found = [planes.y.mean(area)?, planes.u.mean(chroma)?, planes.v.mean(chroma)?];
            Some(compare(index, to_yuv(BARS[index].1, matrix, range), found))
        })
        .collect()
}

/// The largest error of all bars, in steps of 255.
pub fn worst(bars: &[BarError]) -> f32 {
    bars.iter().map(|bar| bar.error).fold(0.0, f32::max)
}

/// One colour as Y, Cb, Cr in 8-bit steps, not rounded.
pub fn to_yuv(rgb: [u8; 3], matrix: Matrix, range: Range) -> [f32; 3] {
    let (kr, kb) = match matrix {
        Matrix::Bt601 => (0.299, 0.114),
        Matrix::Bt709 => (0.2126, 0.0722),
    };
    let [red, green, blue] = rgb.map(|channel| f32::from(channel) / 255.0);
    let luma = kr * red + (1.0 - kr - kb) * green + kb * blue;
    let (cb, cr) = ((blue - luma) / (2.0 * (1.0 - kb)), (red - luma) / (2.0 * (1.0 - kr)));
    match range {
        Range::Limited => [16.0 + 219.0 * luma, 128.0 + 224.0 * cb, 128.0 + 224.0 * cr],
        Range::Full => [255.0 * luma, 128.0 + 255.0 * cb, 128.0 + 255.0 * cr],
    }
}

/// The part that is compared: the middle half in both directions, away from the neighbours' bleeding chroma.
fn middle(bar: Rect) -> Rect {
    Rect { x: bar.x + bar.width / 4, y: bar.y + bar.height / 4, width: bar.width / 2, height: bar.height / 2 }
}

fn compare(index: usize, expected: [f32; 3], found: [f32; 3]) -> BarError {
    let error = (0..3).map(|channel| (expected[channel] - found[channel]).abs()).fold(0.0, f32::max);
    BarError { name: BARS[index].0, expected, found, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(pixels: &[u8], stride: usize) -> [Plane<'_>; 3] {
        [2, 1, 0].map(|offset| Plane { data: &pixels[offset..], stride, step: 4 })
    }

    #[test]
    fn what_was_drawn_is_found_at_any_size() {
        for (width, height) in [(320, 180), (321, 181), (1112, 834), (1364, 768), (1920, 1080)] {
            let stride = width as usize * 4 + 16;
            let mut pixels = vec![77; stride * height as usize];
            draw(width, height, &mut pixels, stride);
            let bars = check_rgb(width, height, channels(&pixels, stride)).expect("room for bars");
            assert_eq!(bars.len(), 8);
            assert_eq!(worst(&bars), 0.0, "{width}x{height}");
        }
    }

    #[test]
    fn a_wrong_colour_names_its_bar() {
        let (width, height, stride) = (640, 360, 2560);
        let mut pixels = vec![0; stride * height as usize];
        draw(width, height, &mut pixels, stride);
        for red in pixels.iter_mut().skip(2).step_by(4) {
            *red = red.saturating_sub(20);
        }
        let bars = check_rgb(width, height, channels(&pixels, stride)).expect("room for bars");
        let wrong: Vec<_> = bars.iter().filter(|bar| bar.error > 19.0).map(|bar| bar.name).collect();
        assert_eq!(wrong, ["white", "yellow", "magenta", "red"]);
    }

    #[test]
    fn reference_colours_of_the_matrices() {
        let rounded = |rgb, matrix, range| to_yuv(rgb, matrix, range).map(|value| value.round() as u8);
        assert_eq!(rounded([255; 3], Matrix::Bt709, Range::Limited), [235, 128, 128]);
        assert_eq!(rounded([191, 0, 0], Matrix::Bt709, Range::Limited), [51, 109, 212]);
        assert_eq!(rounded([191, 0, 0], Matrix::Bt601, Range::Limited), [65, 100, 212]);
        assert_eq!(rounded([0, 0, 191], Matrix::Bt709, Range::Full), [14, 224, 119]);
    }

    #[test]
    fn short_data_is_no_picture() {
        let plane = Plane { data: &[0; 100], stride: 640, step: 1 };
        assert!(check_rgb(640, 360, [plane; 3]).is_none());
    }
}
