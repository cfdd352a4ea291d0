//! x264 as FFmpeg sets it up when asked for a preset and `zerolatency`, through FFmpeg's safe binding.

use crate::Subject;
use ffmpeg_next as ffmpeg;
use ffmpeg_next::codec::{Context, Id};
use ffmpeg_next::util::format::Pixel;
use ffmpeg_next::util::frame::Video;
use lumen_encode::{EncoderConfig, Planes};
use std::sync::Arc;

/// x264 with a preset, our bitrate and buffer, and nothing of our own.
pub struct Plain {
    encoder: ffmpeg::encoder::Video,
    pts: i64,
}

impl Plain {
    pub fn open(config: &EncoderConfig, preset: &str, params: &str) -> Result<Self, ffmpeg::Error> {
        let found = ffmpeg::encoder::find_by_name("libx264").ok_or(ffmpeg::Error::EncoderNotFound)?;
        let mut video = Context::new_with_codec(found).encoder().video()?;
        video.set_width(config.width);
        video.set_height(config.height);
        video.set_format(Pixel::YUV420P);
        video.set_time_base((1000, config.refresh_mhz as i32));
        video.set_frame_rate(Some((config.refresh_mhz as i32, 1000)));
        let bitrate = config.bitrate_bps as usize;
        video.set_bit_rate(bitrate);
        video.set_max_bit_rate(bitrate);
        let frame_bits = config.bitrate_bps * 1000 / u64::from(config.refresh_mhz);
        let mut options = ffmpeg::Dictionary::new();
        options.set("preset", preset);
        options.set("tune", "zerolatency");
        options.set("bufsize", &frame_bits.to_string());
        options.set("g", "1073741824");
        options.set("qmin", "18");
        options.set("threads", "2");
        options.set("x264-params", &format!("keyint=infinite:scenecut=0:sliced-threads=1:slices=2:{params}"));
        Ok(Self { encoder: video.open_with(options)?, pts: 0 })
    }
}

impl Subject for Plain {
    fn encode(&mut self, planes: &Arc<Planes>) -> Vec<u8> {
        let mut frame = Video::new(Pixel::YUV420P, planes.width(), planes.height());
        let rows = [
            (planes.y(), planes.luma_stride(), planes.height()),
            (planes.u(), planes.chroma_stride(), planes.height() / 2),
            (planes.v(), planes.chroma_stride(), planes.height() / 2),
        ];
        for (index, (bytes, stride, height)) in rows.into_iter().enumerate() {
            let into = frame.stride(index);
            let width = stride.min(into);
            for row in 0..height as usize {
                frame.data_mut(index)[row * into..][..width].copy_from_slice(&bytes[row * stride..][..width]);
            }
        }
        frame.set_pts(Some(self.pts));
        self.pts += 1;
        self.encoder.send_frame(&frame).expect("x264 takes a picture");
        let mut packet = ffmpeg::Packet::empty();
        self.encoder.receive_packet(&mut packet).expect("x264 answers at once");
        packet.data().expect("bytes").to_vec()
    }
}

/// All pictures of an H.264 stream.
pub fn decode(units: &[Vec<u8>]) -> Vec<Video> {
    let found = ffmpeg::decoder::find(Id::H264).expect("a decoder");
    let mut decoder = Context::new_with_codec(found).decoder().video().expect("decoder opens");
    let mut pictures = Vec::new();
    let mut drain = |decoder: &mut ffmpeg::decoder::Video| {
        let mut picture = Video::empty();
        while decoder.receive_frame(&mut picture).is_ok() {
            pictures.push(std::mem::replace(&mut picture, Video::empty()));
        }
    };
    for unit in units {
        decoder.send_packet(&ffmpeg::Packet::copy(unit)).expect("the decoder takes it");
        drain(&mut decoder);
    }
    decoder.send_eof().expect("end");
    drain(&mut decoder);
    pictures
}
