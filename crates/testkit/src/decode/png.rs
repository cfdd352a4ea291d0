//! The smallest PNG writer: stored deflate blocks, no compression.

/// A PNG file of packed 8-bit RGB rows.
pub(super) fn encode(width: u32, height: u32, rgb: &[u8]) -> Vec<u8> {
    let mut rows = Vec::with_capacity(rgb.len() + height as usize);
    for row in rgb.chunks(3 * (width as usize).max(1)) {
        // Filter type 0 in front of each row.
        rows.push(0);
        rows.extend_from_slice(row);
    }
    let mut header = Vec::new();
    header.extend_from_slice(&width.to_be_bytes());
    header.extend_from_slice(&height.to_be_bytes());
    // 8 bits, RGB, deflate, filters, not interlaced.
    header.extend_from_slice(&[8, 2, 0, 0, 0]);
    let mut file = vec![0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a];
    chunk(&mut file, b"IHDR", &header);
    chunk(&mut file, b"IDAT", &stored(&rows));
    chunk(&mut file, b"IEND", &[]);
    file
}

/// zlib stream of stored blocks.
fn stored(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let mut blocks = data.chunks(0xffff).peekable();
    while let Some(block) = blocks.next() {
        out.push(u8::from(blocks.peek().is_none()));
        let length = block.len() as u16;
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    let (mut a, mut b) = (1u32, 0u32);
    for &byte in data {
        a = (a + u32::from(byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    out.extend_from_slice(&(b << 16 | a).to_be_bytes());
    out
}

fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    file.extend_from_slice(&(data.len() as u32).to_be_bytes());
    let start = file.len();
    file.extend_from_slice(kind);
    file.extend_from_slice(data);
    let mut crc = u32::MAX;
    for &byte in &file[start..] {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    file.extend_from_slice(&(!crc).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use ffmpeg_next::{Packet, codec, decoder, frame};

    #[test]
    fn another_reader_sees_the_same_pixels() {
        // Wide enough for more than one stored block.
        let (width, height) = (201u32, 150u32);
        let rgb: Vec<u8> = (0..width * height * 3).map(|i| (i * 7 % 251) as u8).collect();
        let found = decoder::find(codec::Id::PNG).expect("FFmpeg reads PNG");
        let mut reader = codec::Context::new_with_codec(found).decoder().open().unwrap().video().unwrap();
        reader.send_packet(&Packet::copy(&encode(width, height, &rgb))).unwrap();
        reader.send_eof().unwrap();
        let mut picture = frame::Video::empty();
        reader.receive_frame(&mut picture).unwrap();
        assert_eq!((picture.width(), picture.height()), (width, height));
        let columns = 3 * width as usize;
        let rows = picture.data(0).chunks(picture.stride(0)).take(height as usize);
        let read: Vec<u8> = rows.flat_map(|row| row[..columns].to_vec()).collect();
        assert!(read == rgb);
    }
}
