//! Box art for apps that have none.
//!
//! The size is one that the desktop client takes for a placeholder, on which it writes the app's title itself (protocol
//! text §2.8).

use std::sync::OnceLock;

/// Width and height in pixels.
const SIZE: (u32, u32) = (628, 888);

/// Different colours; each is drawn once.
const HUES: u32 = 24;

/// The colour of an app: always the same, and mostly another than its neighbour's.
pub fn hue_of(app: u32) -> u32 {
    app.wrapping_mul(2_654_435_761) % HUES
}

/// A PNG: a plain gradient in one of [`HUES`] colours. Drawing takes some milliseconds the first time.
pub fn placeholder(hue: u32) -> Vec<u8> {
    static DRAWN: [OnceLock<Vec<u8>>; HUES as usize] = [const { OnceLock::new() }; HUES as usize];
    DRAWN[(hue % HUES) as usize].get_or_init(|| draw(hue)).clone()
}

fn draw(hue: u32) -> Vec<u8> {
    let (width, height) = SIZE;
    let top = colour(hue * 360 / HUES);
    let mut pixels = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..height {
        // From the full colour to a third of it.
        let strength = 255 - 170 * y / height;
        let row = top.map(|channel| (u32::from(channel) * strength / 255) as u8);
        for _ in 0..width {
            pixels.extend(row);
        }
    }
    encode(&pixels).unwrap_or_default()
}

fn encode(pixels: &[u8]) -> Result<Vec<u8>, png::EncodingError> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, SIZE.0, SIZE.1);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(out)
}

/// A colour of medium brightness at a place of the colour circle.
fn colour(degrees: u32) -> [u8; 3] {
    let channel = |offset: u32| {
        let distance = (degrees + offset) % 360;
        let distance = distance.min(360 - distance);
        (60 + 140u32.saturating_sub(distance * 140 / 120)) as u8
    };
    [channel(0), channel(120), channel(240)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_png_of_the_size_on_which_clients_write_the_title() {
        let picture = placeholder(7);
        let mut reader = png::Decoder::new(std::io::Cursor::new(&picture)).read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("fits")];
        let info = reader.next_frame(&mut pixels).expect("whole");
        assert_eq!((info.width, info.height), SIZE);
        assert!(picture.len() < 64 * 1024, "{} bytes", picture.len());
        assert_ne!(placeholder(7), placeholder(8));
        assert!((0..1000).all(|app| hue_of(app) < HUES));
    }
}
