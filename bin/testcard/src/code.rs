//! The machine-readable block: frame counter and time of drawing as large black and white cells.
//!
//! Four rows of 36 cells lie on a black panel in the top left corner, one cell away from its edges. The first two and
//! the last two cells of a row are references: white, black … black, white in even rows and the opposite in odd ones.
//! They are sync marker and local threshold in one. The 32 cells between carry 128 bits, most significant first: frame
//! counter (32), nanoseconds of CLOCK_MONOTONIC (64), CRC-32 of those twelve bytes (32). White is 1.
//!
//! Cells are 8 or a multiple of 16 pixels wide, so that they fall on the blocks of the usual codecs, and a reader
//! looks only at the middle quarter of each, where ringing and deblocking reach least.

use crate::Rect;

/// Rows of cells.
const ROWS: u32 = 4;
/// Cells that carry bits, per row.
const DATA_COLUMNS: u32 = 32;
/// Reference cells at each end of a row.
const REFERENCES: u32 = 2;
/// Cells per row.
const COLUMNS: u32 = DATA_COLUMNS + 2 * REFERENCES;
/// Least difference of luma between white and black references, of 255: below it the block is not there.
const MIN_CONTRAST: f32 = 24.0;
/// Smallest picture with room for the block, in pixels.
pub const MIN_SIZE: (u32, u32) = (320, 180);

/// What a block says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Code {
    /// Counts the pictures that were drawn and handed over; starts at 0.
    pub frame: u32,
    /// CLOCK_MONOTONIC when the picture was drawn, in nanoseconds.
    pub time_ns: u64,
}

impl Code {
    fn words(self) -> [u32; ROWS as usize] {
        let high = (self.time_ns >> 32) as u32;
        let low = self.time_ns as u32;
        [self.frame, high, low, checksum(self.frame, self.time_ns)]
    }

    fn from_words([frame, high, low, crc]: [u32; ROWS as usize]) -> Option<Self> {
        let time_ns = u64::from(high) << 32 | u64::from(low);
        (crc == checksum(frame, time_ns)).then_some(Self { frame, time_ns })
    }
}

/// Where the block lies in a picture of a given size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    cell: u32,
}

impl Layout {
    /// The layout for a picture of `width` × `height` pixels; `None` below [`MIN_SIZE`].
    pub fn for_size(width: u32, height: u32) -> Option<Self> {
        if width < MIN_SIZE.0 || height < MIN_SIZE.1 {
            return None;
        }
        // Whole macroblocks wherever the block then takes at most three eighths of the height: at the coarsest quantiser an
        // H.264 encoder may lose what changes within one.
        let smallest =
            if width >= (COLUMNS + 2) * 16 && height >= (ROWS + 2) * 16 * 4 * 2 / 3 { 16 } else { 8 };
        Some(Self { cell: ((width / 80).min(height / 45) / 16 * 16).max(smallest) })
    }

    /// Edge of a cell in pixels.
    pub fn cell(self) -> u32 {
        self.cell
    }

    /// The whole panel, its black border included.
    pub fn panel(self) -> Rect {
        Rect { x: 0, y: 0, width: (COLUMNS + 2) * self.cell, height: (ROWS + 2) * self.cell }
    }
}

/// Draws the block into a picture of four bytes per pixel (blue, green, red, unused), `stride` bytes per row.
///
/// # Panics
/// When `pixels` is too short for the panel.
pub fn draw(layout: Layout, code: Code, pixels: &mut [u8], stride: usize) {
    let panel = layout.panel();
    let cell = layout.cell as usize;
    let row_bytes = panel.width as usize * 4;
    let words = code.words();
    for panel_row in 0..(ROWS + 2) as usize {
        let top = panel_row * cell * stride;
        let first = &mut pixels[top..top + row_bytes];
        first.fill(0);
        if let Some(row) = panel_row.checked_sub(1).filter(|row| *row < ROWS as usize) {
            for column in (0..COLUMNS).filter(|column| is_white(row as u32, *column, words[row])) {
                let left = (column as usize + 1) * cell * 4;
                first[left..left + cell * 4].fill(255);
            }
        }
        for line in 1..cell {
            pixels.copy_within(top..top + row_bytes, top + line * stride);
        }
    }
}

/// Reads the block from a plane of 8-bit luma (limited or full range alike: the references set the threshold).
///
/// `luma` holds rows of `stride` bytes for a picture of `width` × `height` pixels; rows below the panel may be missing.
/// `None` when there is no block, or when its checksum is wrong.
pub fn decode_luma(luma: &[u8], stride: usize, width: u32, height: u32) -> Option<Code> {
    let layout = Layout::for_size(width, height)?;
    let panel = layout.panel();
    if stride < width as usize || luma.len() < (panel.height as usize - 1) * stride + panel.width as usize {
        return None;
    }
    let mut words = [0; ROWS as usize];
    for (row, word) in (0..).zip(&mut words) {
        let mut levels = [0.0; COLUMNS as usize];
        for (column, level) in (0..).zip(&mut levels) {
            *level = cell_mean(luma, stride, layout.cell, (column, row));
        }
        *word = read_row(row, &levels)?;
    }
    Code::from_words(words)
}

fn is_white(row: u32, column: u32, word: u32) -> bool {
    match column.checked_sub(REFERENCES) {
        Some(bit) if bit < DATA_COLUMNS => word >> (DATA_COLUMNS - 1 - bit) & 1 == 1,
        _ => reference_is_white(row, column),
    }
}

fn reference_is_white(row: u32, column: u32) -> bool {
    (column == 0 || column == COLUMNS - 1) == row.is_multiple_of(2)
}

/// Mean over the middle half of a cell, in both directions.
fn cell_mean(luma: &[u8], stride: usize, cell: u32, (column, row): (u32, u32)) -> f32 {
    let (cell, column, row) = (cell as usize, column as usize, row as usize);
    let left = (column + 1) * cell + cell / 4;
    let top = (row + 1) * cell + cell / 4;
    let side = cell / 2;
    let sum: u32 = (top..top + side)
        .flat_map(|y| &luma[y * stride + left..y * stride + left + side])
        .map(|value| u32::from(*value))
        .sum();
    sum as f32 / (side * side) as f32
}

fn read_row(row: u32, levels: &[f32; COLUMNS as usize]) -> Option<u32> {
    let last = COLUMNS as usize - 1;
    let threshold = |outer: usize, inner: usize| {
        let contrast = levels[outer] - levels[inner];
        let contrast = if reference_is_white(row, outer as u32) { contrast } else { -contrast };
        (contrast >= MIN_CONTRAST).then_some((levels[outer] + levels[inner]) / 2.0)
    };
    let (left, right) = (threshold(0, 1)?, threshold(last, last - 1)?);
    let mut word = 0;
    for bit in 0..DATA_COLUMNS as usize {
        let threshold = left + (right - left) * (bit as f32 + 0.5) / DATA_COLUMNS as f32;
        word = word << 1 | u32::from(levels[bit + REFERENCES as usize] > threshold);
    }
    Some(word)
}

/// CRC-32 as Ethernet has it (reflected, 0xEDB88320), over counter and time in big-endian order.
fn checksum(frame: u32, time_ns: u64) -> u32 {
    let mut crc = u32::MAX;
    for byte in frame.to_be_bytes().into_iter().chain(time_ns.to_be_bytes()) {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests;
