//! The background: a page of text-like marks beside striped, grainy ground. It repeats seamlessly downwards.
//!
//! What only moves by whole pixels costs an encoder next to nothing. Scrolling text is like that; the striped part is
//! not: its grain changes from picture to picture, as a camera's does, and takes what bitrate there is.

/// Rows at a picture height of up to 1080 lines: enough for the eye not to see the repetition, small enough for a cache.
const BASE_ROWS: u32 = 480;
/// Columns and rows of a glyph, and of the box around it.
const GLYPH: (u32, u32) = (5, 7);
const GLYPH_BOX: (u32, u32) = (7, 12);

/// How many grains there are; more than an encoder in a hurry has reference pictures.
pub const GRAINS: u32 = 4;

/// The rendered background; four bytes per pixel (blue, green, red, unused).
#[derive(Debug)]
pub struct Pattern {
    /// Rows of the whole width, with the first grain.
    pub rows: Vec<u8>,
    /// First column of the striped part.
    pub stripes_left: u32,
    /// Rows of the striped part alone, with each further grain.
    pub stripes: Vec<Vec<u8>>,
}

impl Pattern {
    /// Renders the pattern for a picture of that size; without further grains when it is not to move.
    pub fn render(width: u32, height: u32, moving: bool) -> Self {
        let scale = (height / 540).max(1);
        let page = width * 3 / 5 / scale * scale;
        let rows = render_rows((0, width), scale, |x, y| {
            if x < page / scale { page_pixel(x, y, page / scale) } else { stripe_pixel(x, y, 0) }
        });
        let grains = if moving { GRAINS } else { 1 };
        let stripes = (1..grains)
            .map(|grain| render_rows((page, width), scale, |x, y| stripe_pixel(x, y, grain)))
            .collect();
        Self { rows, stripes_left: page, stripes }
    }
}

/// Renders the columns from `left` (a multiple of `scale`) up to `right`, each pixel of the drawing `scale` wide and high.
fn render_rows((left, right): (u32, u32), scale: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
    let row_bytes = (right - left) as usize * 4;
    // A whole number of text lines and of stripe periods, so that the seam does not show.
    let mut rows = Vec::with_capacity(row_bytes * (BASE_ROWS * scale) as usize);
    for y in 0..BASE_ROWS {
        let start = rows.len();
        for x in left / scale..right.div_ceil(scale) {
            let [red, green, blue] = pixel(x, y);
            for _ in 0..scale.min(right - x * scale) {
                rows.extend([blue, green, red, 255]);
            }
        }
        for _ in 1..scale {
            rows.extend_from_within(start..start + row_bytes);
        }
    }
    rows
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

fn stripe_pixel(x: u32, y: u32, grain: u32) -> [u8; 3] {
    const COLOURS: [[i32; 3]; 5] =
        [[196, 88, 62], [60, 122, 88], [70, 92, 168], [206, 170, 84], [120, 116, 128]];
    // 480 rows are four rounds of five stripes, each 24 rows high along the diagonal.
    let diagonal = (x / 2 + y) % BASE_ROWS;
    let colour = COLOURS[(diagonal / 24 % 5) as usize];
    let shade = (diagonal % 24) as i32 - 12;
    let grain = (hash(x / 2, y / 2 + grain * BASE_ROWS) % 13) as i32 - 6;
    colour.map(|channel| (channel + shade + grain).clamp(0, 255) as u8)
}

/// A fixed, cheap mix of two numbers; the same picture on every machine.
fn hash(a: u32, b: u32) -> u32 {
    let mut mixed = a.wrapping_mul(0x9E37_79B1) ^ b.wrapping_mul(0x85EB_CA77);
    mixed = (mixed ^ mixed >> 15).wrapping_mul(0x2C1B_3C6D);
    mixed = (mixed ^ mixed >> 12).wrapping_mul(0x297A_2D39);
    mixed ^ mixed >> 15
}
