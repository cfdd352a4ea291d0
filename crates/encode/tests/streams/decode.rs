//! FFmpeg's decoders, as the second opinion.

use ffmpeg_next as ffmpeg;
use ffmpeg_next::codec::{Context, Id};
use ffmpeg_next::util::frame::Video;
use lumen_media::Codec;

/// Decodes access units one by one and returns all pictures.
pub fn decode(codec: Codec, units: &[&[u8]]) -> Vec<Video> {
    let id = match codec {
        Codec::H264 => Id::H264,
        Codec::Hevc => Id::HEVC,
        Codec::Av1 => Id::AV1,
    };
    let found = ffmpeg::decoder::find(id).expect("a decoder");
    let mut decoder = Context::new_with_codec(found).decoder().video().expect("decoder opens");
    let mut pictures = Vec::new();
    let drain = |decoder: &mut ffmpeg::decoder::Video, pictures: &mut Vec<Video>| {
        let mut picture = Video::empty();
        while decoder.receive_frame(&mut picture).is_ok() {
            pictures.push(std::mem::replace(&mut picture, Video::empty()));
        }
    };
    for unit in units {
        decoder.send_packet(&ffmpeg::Packet::copy(unit)).expect("the decoder takes the access unit");
        drain(&mut decoder, &mut pictures);
    }
    decoder.send_eof().expect("end");
    drain(&mut decoder, &mut pictures);
    pictures
}

/// Y, U and V at a luma position.
pub fn sample(picture: &Video, x: usize, y: usize) -> [u8; 3] {
    [
        picture.data(0)[y * picture.stride(0) + x],
        picture.data(1)[y / 2 * picture.stride(1) + x / 2],
        picture.data(2)[y / 2 * picture.stride(2) + x / 2],
    ]
}
