//! Two moving pictures to encode: a test card that scrolls, and a desktop with text.

use lumen_media::{Frame, PixelFormat, Timestamp};
use std::sync::Arc;

/// A picture to draw on.
struct Canvas {
    width: usize,
    height: usize,
    bytes: Vec<u8>,
}

impl Canvas {
    fn new(width: usize, height: usize, colour: [u8; 3]) -> Self {
        let [red, green, blue] = colour;
        Self { width, height, bytes: [blue, green, red, 0].repeat(width * height) }
    }

    fn put(&mut self, x: usize, y: usize, [red, green, blue]: [u8; 3]) {
        if x < self.width && y < self.height {
            let at = (y * self.width + x) * 4;
            self.bytes[at..at + 4].copy_from_slice(&[blue, green, red, 0]);
        }
    }

    fn fill(&mut self, (x, y): (usize, usize), (width, height): (usize, usize), colour: [u8; 3]) {
        for y in y..y + height {
            for x in x..x + width {
                self.put(x, y, colour);
            }
        }
    }

    /// A letter-like glyph of 5×7 dots, each `scale` pixels wide: its strokes follow from its code.
    fn glyph(&mut self, (x, y): (usize, usize), code: u32, scale: usize, colour: [u8; 3]) {
        let rows = GLYPHS[code as usize % GLYPHS.len()];
        for (row, bits) in rows.into_iter().enumerate() {
            for column in 0..5 {
                if bits >> (4 - column) & 1 == 1 {
                    self.fill((x + column * scale, y + row * scale), (scale, scale), colour);
                }
            }
        }
    }

    /// Words of random letters, as wide as asked.
    fn line(&mut self, (x, y): (usize, usize), width: usize, seed: u32, scale: usize, colour: [u8; 3]) {
        let mut random = Random(seed.wrapping_mul(747_796_405) | 1);
        let mut word = 0;
        for column in 0..width / (6 * scale) {
            if word == 0 {
                word = 2 + random.next() % 8;
                continue;
            }
            word -= 1;
            self.glyph((x + column * 6 * scale, y), random.next(), scale, colour);
        }
    }

    fn frame(self, number: u64) -> Frame {
        Frame {
            width: self.width as u32,
            height: self.height as u32,
            stride: self.width * 4,
            format: PixelFormat::Bgrx,
            captured: Timestamp::from_nanos(number),
            sequence: number + 1,
            pixels: Arc::new(self.bytes),
        }
    }
}

/// Sixteen glyphs of five by seven dots, drawn for this file.
const GLYPHS: [[u8; 7]; 16] = [
    [0x0e, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11],
    [0x1e, 0x11, 0x11, 0x1e, 0x11, 0x11, 0x1e],
    [0x0f, 0x10, 0x10, 0x10, 0x10, 0x10, 0x0f],
    [0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x1f],
    [0x00, 0x00, 0x0e, 0x01, 0x0f, 0x11, 0x0f],
    [0x10, 0x10, 0x16, 0x19, 0x11, 0x11, 0x1e],
    [0x00, 0x00, 0x0e, 0x11, 0x1f, 0x10, 0x0e],
    [0x04, 0x00, 0x0c, 0x04, 0x04, 0x04, 0x0e],
    [0x0c, 0x04, 0x04, 0x04, 0x04, 0x04, 0x0e],
    [0x00, 0x00, 0x1a, 0x15, 0x15, 0x15, 0x15],
    [0x00, 0x00, 0x16, 0x19, 0x11, 0x11, 0x11],
    [0x00, 0x00, 0x0e, 0x11, 0x11, 0x11, 0x0e],
    [0x00, 0x00, 0x16, 0x19, 0x10, 0x10, 0x10],
    [0x00, 0x00, 0x0f, 0x10, 0x0e, 0x01, 0x1e],
    [0x08, 0x08, 0x1c, 0x08, 0x08, 0x09, 0x06],
    [0x00, 0x00, 0x11, 0x11, 0x11, 0x13, 0x0d],
];

struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 >> 8
    }
}

fn noise(x: usize, y: usize) -> u32 {
    let mut bits = (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca77);
    bits ^= bits >> 15;
    bits = bits.wrapping_mul(0x2c1b_3c6d);
    bits >> 16
}

/// Full-screen scroll: gradients, checks, grain and text, all moving up and to the left.
pub fn testcard(width: usize, height: usize, number: u64) -> Frame {
    let mut canvas = Canvas::new(width, height, [0; 3]);
    let (dx, dy) = (number as usize * 4, number as usize * 6);
    for y in 0..height {
        for x in 0..width {
            let (u, v) = (x + dx, y + dy);
            let colour = match (u / 160 + v / 120 * 3) % 5 {
                0 => [(u % 256) as u8, (v % 256) as u8, 120],
                1 => [if (u / 8 + v / 8) % 2 == 0 { 230 } else { 30 }; 3],
                2 => {
                    let grain = (noise(u, v) % 24) as u8;
                    [90 + grain, 120 + grain, 70 + grain]
                }
                3 => [[191, 191, 0], [0, 191, 191], [191, 0, 191], [0, 0, 191]][u / 40 % 4],
                _ => [245; 3],
            };
            canvas.put(x, y, colour);
        }
    }
    for line in 0..(height / 120 + 2) {
        let row = dy / 120 + line;
        let y = (row * 120 + 40).checked_sub(dy);
        if let Some(y) = y {
            canvas.line((20, y), width / 2, row as u32 + 3, 2, [10, 10, 10]);
        }
    }
    canvas.frame(number)
}

/// A desktop: a page of text that scrolls, a terminal that grows, a still panel, a pointer on its way.
pub fn desktop(width: usize, height: usize, number: u64) -> Frame {
    let mut canvas = Canvas::new(width, height, [38, 70, 83]);
    canvas.fill((0, 0), (width, 28), [30, 30, 36]);
    canvas.line((12, 8), width / 3, 1, 2, [220, 220, 220]);
    let page = (width / 20, 60);
    let size = (width * 11 / 20, height - 100);
    canvas.fill(page, size, [252, 252, 250]);
    let scroll = number as usize * 3;
    for line in 0..size.1 / 18 + 1 {
        let row = line + scroll / 18;
        let y = page.1 + line * 18 + 18 - scroll % 18;
        if y + 14 < page.1 + size.1 {
            let length = size.0 - 40 - (noise(row, 3) as usize % (size.0 / 3));
            let (scale, colour) =
                if row.is_multiple_of(13) { (2, [20, 40, 120]) } else { (1 + row / 13 % 2, [25, 25, 25]) };
            canvas.line((page.0 + 20, y), length, row as u32 + 99, scale, colour);
        }
    }
    let terminal = (width * 13 / 20, height / 3);
    let size = (width * 6 / 20, height / 2);
    canvas.fill(terminal, size, [16, 18, 24]);
    let rows = size.1 / 16 - 1;
    let written = number as usize / 4;
    for line in 0..rows.min(written + 6) {
        let row = written.saturating_sub(rows) + line;
        let length = 60 + noise(row, 7) as usize % (size.0 - 90);
        let colour = [[190, 200, 190], [120, 200, 120], [200, 170, 90]][row % 3];
        canvas.line((terminal.0 + 10, terminal.1 + 10 + line * 16), length, row as u32 + 7, 1, colour);
    }
    let (x, y) =
        (width / 4 + number as usize * 7 % (width / 2), height / 4 + number as usize * 3 % (height / 2));
    for row in 0..18 {
        canvas.fill((x, y + row), (1 + row * 2 / 3, 1), [255; 3]);
    }
    canvas.frame(number)
}
