//! The background: a page of text-like marks beside striped, textured ground. It repeats seamlessly downwards.

/// Rows at a picture height of up to 1080 lines: enough for the eye not to see the repetition, small enough for a cache.
const BASE_ROWS: u32 = 480;
/// Columns and rows of a glyph, and of the box around it.
const GLYPH: (u32, u32) = (5, 7);
const GLYPH_BOX: (u32, u32) = (7, 12);

/// Renders the pattern for a picture of that size: rows of `width` pixels (blue, green, red, unused).
pub fn render(width: u32, height: u32) -> Vec<u8> {
    let scale = (height / 540).max(1);
    // A whole number of text lines and of stripe periods, so that the seam does not show.
    let rows = BASE_ROWS * scale;
    let page = width * 3 / 5;
    let mut pixels = Vec::with_capacity((rows * width) as usize * 4);
    for y in 0..rows {
        for x in 0..width {
            let [red, green, blue] = if x < page {
                page_pixel(x / scale, y / scale, page / scale)
            } else {
                stripe_pixel(x / scale, y / scale)
            };
            pixels.extend([blue, green, red, 255]);
        }
    }
    pixels
}

fn page_pixel(x: u32, y: u32, columns: u32) -> [u8; 3] {
    const PAPER: [u8; 3] = [238, 240, 242];
    const INK: [u8; 3] = [32, 36, 44];
    const HEADING: [u8; 3] = [36, 84, 160];
    let (line, column) = (y / GLYPH_BOX.1, x / GLYPH_BOX.0);
    let margin = 3;
    let length = columns / GLYPH_BOX.0 * (50 + hash(line, 1) % 45) / 100;
    let blank_line = hash(line, 2).is_multiple_of(7);
    let blank = hash(line, column + 100).is_multiple_of(6);
    let (glyph_x, glyph_y) = (x % GLYPH_BOX.0, (y % GLYPH_BOX.1).wrapping_sub(2));
    let inside = glyph_x < GLYPH.0 && glyph_y < GLYPH.1 && column >= margin && column < length;
    if !inside || blank || blank_line || !stroke(hash(line, column), glyph_x, glyph_y) {
        return PAPER;
    }
    if hash(line, 3).is_multiple_of(9) { HEADING } else { INK }
}

/// Glyphs are random sets of strokes, which is what letters look like to an encoder.
fn stroke(seed: u32, x: u32, y: u32) -> bool {
    let strokes = [
        x == 0,
        x == GLYPH.0 - 1 && y > 2,
        y == GLYPH.1 - 1,
        y == 3,
        y == 0 && x > 0,
        x == 2,
        x == y * 4 / 6,
        x == 4 - y * 4 / 6,
    ];
    strokes.into_iter().enumerate().any(|(bit, covers)| covers && seed >> bit & 1 == 1)
        || (seed & 0xff == 0 && strokes[0])
}

fn stripe_pixel(x: u32, y: u32) -> [u8; 3] {
    const COLOURS: [[i32; 3]; 5] =
        [[196, 88, 62], [60, 122, 88], [70, 92, 168], [206, 170, 84], [120, 116, 128]];
    // 480 rows are four rounds of five stripes, each 24 rows high along the diagonal.
    let diagonal = (x / 2 + y) % BASE_ROWS;
    let colour = COLOURS[(diagonal / 24 % 5) as usize];
    let shade = (diagonal % 24) as i32 - 12;
    let grain = (hash(x / 2, y / 2) % 13) as i32 - 6;
    colour.map(|channel| (channel + shade + grain).clamp(0, 255) as u8)
}

/// A fixed, cheap mix of two numbers; the same picture on every machine.
fn hash(a: u32, b: u32) -> u32 {
    let mut mixed = a.wrapping_mul(0x9E37_79B1) ^ b.wrapping_mul(0x85EB_CA77);
    mixed = (mixed ^ mixed >> 15).wrapping_mul(0x2C1B_3C6D);
    mixed = (mixed ^ mixed >> 12).wrapping_mul(0x297A_2D39);
    mixed ^ mixed >> 15
}
