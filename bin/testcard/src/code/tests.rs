use super::*;
use proptest::prelude::*;

/// A luma plane that holds the panel's rows only, drawn with the real drawing code.
struct Drawn {
    luma: Vec<u8>,
    width: u32,
    height: u32,
    lines: usize,
}

impl Drawn {
    fn new(width: u32, height: u32, code: Code) -> Self {
        let layout = Layout::for_size(width, height).expect("large enough");
        let lines = layout.panel().height as usize + 8;
        let stride = width as usize * 4;
        // Mid grey around the panel: damage may bleed in from there.
        let mut pixels = vec![120; stride * lines];
        draw(layout, code, &mut pixels, stride);
        let luma = pixels.iter().step_by(4).copied().collect();
        Self { luma, width, height, lines }
    }

    fn decode(&self) -> Option<Code> {
        decode_luma(&self.luma, self.width as usize, self.width, self.height)
    }

    fn map(&mut self, change: impl Fn(usize, u8) -> f32) {
        for (index, value) in self.luma.iter_mut().enumerate() {
            *value = change(index, *value).clamp(0.0, 255.0) as u8;
        }
    }

    /// Mean over a square of 2 × `radius` + 1.
    fn blur(&mut self, radius: usize) {
        let (width, lines) = (self.width as usize, self.lines);
        let source = self.luma.clone();
        for y in 0..lines {
            for x in 0..width {
                let (mut sum, mut count) = (0_u32, 0_u32);
                for near_y in y.saturating_sub(radius)..(y + radius + 1).min(lines) {
                    for near_x in x.saturating_sub(radius)..(x + radius + 1).min(width) {
                        sum += u32::from(source[near_y * width + near_x]);
                        count += 1;
                    }
                }
                self.luma[y * width + x] = (sum / count) as u8;
            }
        }
    }
}

fn noise(index: usize) -> f32 {
    let mixed = (index as u32).wrapping_mul(0x9E37_79B1);
    ((mixed ^ mixed >> 13).wrapping_mul(0x85EB_CA77) >> 24) as f32 - 128.0
}

const CODE: Code = Code { frame: 0xDEAD_BEEF, time_ns: 0x0123_4567_89AB_CDEF };

#[test]
fn checksum_is_the_crc_of_ethernet() {
    // Twelve bytes: "123456789012".
    let frame = u32::from_be_bytes(*b"1234");
    let time_ns = u64::from_be_bytes(*b"56789012");
    assert_eq!(checksum(frame, time_ns), 0x5D34_EB96);
}

#[test]
fn layout_depends_on_the_size_alone_and_leaves_room() {
    let cell = |width, height| Layout::for_size(width, height).expect("large enough").cell();
    assert_eq!(cell(320, 180), 8);
    assert_eq!(cell(1280, 720), 16);
    assert_eq!(cell(1364, 768), 16);
    assert_eq!(cell(607, 1000), 8);
    assert_eq!(cell(640, 360), 16);
    assert_eq!(cell(1920, 1080), 16);
    assert_eq!(cell(2560, 1440), 32);
    assert_eq!(cell(7680, 4320), 96);
    assert_eq!(cell(320, 4320), 8);
    assert_eq!(Layout::for_size(319, 180), None);
    assert_eq!(Layout::for_size(320, 179), None);
}

#[test]
fn survives_blur_quantising_noise_and_limited_range() {
    for (width, height) in [(320, 180), (641, 361), (1280, 720), (1920, 1080)] {
        let mut drawn = Drawn::new(width, height, CODE);
        drawn.blur(2);
        drawn.map(|_, value| 16.0 + f32::from(value) * 219.0 / 255.0);
        drawn.map(|_, value| f32::from(value / 16 * 16));
        drawn.map(|index, value| f32::from(value) + noise(index) * 0.5);
        assert_eq!(drawn.decode(), Some(CODE), "{width}x{height}");
    }
}

#[test]
fn survives_a_shade_across_the_picture_and_little_contrast() {
    let mut drawn = Drawn::new(1280, 720, CODE);
    drawn.map(|index, value| f32::from(value) * 0.2 + (index % 1280) as f32 * 0.15);
    assert_eq!(drawn.decode(), Some(CODE));
}

#[test]
fn one_wrong_cell_is_noticed() {
    let cell = Layout::for_size(640, 360).expect("large enough").cell() as usize;
    for row in 0..ROWS as usize {
        for column in 0..COLUMNS as usize {
            let mut drawn = Drawn::new(640, 360, CODE);
            for y in (row + 1) * cell..(row + 2) * cell {
                let left = y * 640 + (column + 1) * cell;
                drawn.luma[left..left + cell].iter_mut().for_each(|value| *value = 255 - *value);
            }
            assert_eq!(drawn.decode(), None, "row {row}, column {column}");
        }
    }
}

#[test]
fn flat_short_and_misdescribed_pictures_hold_no_block() {
    for level in [0, 128, 255] {
        assert_eq!(decode_luma(&vec![level; 640 * 360], 640, 640, 360), None);
    }
    let drawn = Drawn::new(640, 360, CODE);
    let needed = 95 * 640 + 608;
    assert_eq!(decode_luma(&drawn.luma[..needed], 640, 640, 360), Some(CODE));
    assert_eq!(decode_luma(&drawn.luma[..needed - 1], 640, 640, 360), None);
    assert_eq!(decode_luma(&drawn.luma, 639, 640, 360), None);
    assert_eq!(decode_luma(&[], 640, 640, 360), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn round_trip_at_any_size(
        width in 320_u32..=7680,
        height in 180_u32..=4320,
        frame: u32,
        time_ns: u64,
        full_range: bool,
    ) {
        let code = Code { frame, time_ns };
        let mut drawn = Drawn::new(width, height, code);
        if !full_range {
            drawn.map(|_, value| 16.0 + f32::from(value) * 219.0 / 255.0);
        }
        prop_assert_eq!(drawn.decode(), Some(code));
    }

    #[test]
    fn noise_alone_is_no_block(seed: u64) {
        let luma: Vec<u8> = (0..640 * 60).map(|index| (noise(index ^ seed as usize) + 128.0) as u8).collect();
        prop_assert_eq!(decode_luma(&luma, 640, 640, 360), None);
    }
}
