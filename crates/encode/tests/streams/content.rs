//! Pictures for the tests: colour bars above, something that moves below.

use lumen_media::{Colour, Frame, Matrix, PixelFormat, Range, Timestamp};
use std::sync::Arc;

/// 75 % bars and two odd ones.
pub const BARS: [[u8; 3]; 8] = [
    [191, 191, 191],
    [191, 191, 0],
    [0, 191, 191],
    [0, 191, 0],
    [191, 0, 191],
    [191, 0, 0],
    [0, 0, 191],
    [12, 80, 33],
];

/// Bars in the upper half, a moving pattern in the lower one.
pub fn bars(width: u32, height: u32, number: u64) -> Frame {
    let mut bytes = Vec::with_capacity((width * height * 4) as usize);
    for y in 0..height {
        for x in 0..width {
            let [red, green, blue] = if y < height / 2 {
                BARS[(x as usize * BARS.len()) / width as usize]
            } else {
                let value = ((x / 3 + y + number as u32 * 7) % 256) as u8;
                [value, value ^ 0x40, 255 - value]
            };
            bytes.extend([blue, green, red, 0]);
        }
    }
    Frame {
        width,
        height,
        stride: width as usize * 4,
        format: PixelFormat::Bgrx,
        captured: Timestamp::from_nanos(number),
        sequence: number + 1,
        pixels: Arc::new(bytes),
    }
}

/// Y, U and V of a colour as the standards say.
pub fn expected(colour: Colour, rgb: [u8; 3]) -> [f64; 3] {
    let [red, green, blue] = rgb.map(|value| f64::from(value) / 255.0);
    let (kr, kb) = match colour.matrix {
        Matrix::Bt601 => (0.299, 0.114),
        Matrix::Bt709 => (0.2126, 0.0722),
    };
    let luma = kr * red + (1.0 - kr - kb) * green + kb * blue;
    let (u, v) = ((blue - luma) / (2.0 * (1.0 - kb)), (red - luma) / (2.0 * (1.0 - kr)));
    match colour.range {
        Range::Limited => [16.0 + 219.0 * luma, 128.0 + 224.0 * u, 128.0 + 224.0 * v],
        Range::Full => [255.0 * luma, 128.0 + 255.0 * u, 128.0 + 255.0 * v],
    }
}
