//! The card through real encoders and decoders at the lowest bitrates that a stream may have.

use ffmpeg_next as ffmpeg;
use lumen_testcard::bars::{self, Matrix, Plane, Range, YuvPlanes};
use lumen_testcard::card::{Card, Painted, Scene, Style};
use lumen_testcard::code::{self, Code};

const FRAMES: u32 = 24;

struct Case {
    encoder: &'static str,
    width: u32,
    height: u32,
    fps: u32,
    bitrate: usize,
    /// Largest error of a bar's mean, in 8-bit steps. At the coarsest quantiser colours are far off: not checked there.
    tolerance: f32,
}

/// 1 Mbit/s at 60 frames is 2 kB a frame: from about 720p on, x264 then answers a scrolling picture with plain grey.
/// The limit tested here is therefore 4 kB a frame for 720p.
#[test]
fn h264_at_one_megabit() {
    for (width, height, fps, tolerance) in
        [(320, 180, 60, 4.0), (606, 400, 60, f32::MAX), (640, 360, 60, 16.0), (1280, 720, 30, f32::MAX)]
    {
        check(&Case { encoder: "libx264", width, height, fps, bitrate: 1_000_000, tolerance });
    }
}

#[test]
fn h264_of_odd_sizes() {
    for (width, height) in [(1112, 834), (1364, 768), (322, 182)] {
        check(&Case { encoder: "libx264", width, height, fps: 60, bitrate: 5_000_000, tolerance: 12.0 });
    }
}

#[test]
fn h264_at_a_hundred_megabit() {
    check(&Case {
        encoder: "libx264",
        width: 1280,
        height: 720,
        fps: 60,
        bitrate: 100_000_000,
        tolerance: 2.0,
    });
}

#[test]
fn hevc_at_one_megabit() {
    for (width, height) in [(320, 180), (640, 360)] {
        check(&Case { encoder: "libx265", width, height, fps: 30, bitrate: 1_000_000, tolerance: 4.0 });
    }
}

fn check(case: &Case) {
    ffmpeg::init().expect("FFmpeg starts");
    let card = Card::new(case.width, case.height, Style::Scroll).expect("large enough");
    let mut codec = Codec::open(case);
    let (mut pixels, mut painted) = (vec![0; card.bytes()], Painted::default());
    let mut decoded = Vec::new();
    for frame in 0..FRAMES {
        let code = code_of(frame);
        card.draw(&Scene { code, pointer: None }, &mut pixels, &mut painted);
        decoded.extend(codec.pass(Some(&to_planes(&card, &pixels, frame))));
    }
    decoded.extend(codec.pass(None));

    let name = format!("{} {}x{} at {} bit/s", case.encoder, case.width, case.height, case.bitrate);
    assert_eq!(decoded.len(), FRAMES as usize, "{name}");
    for (frame, picture) in (0..).zip(&decoded) {
        assert_eq!((picture.width(), picture.height()), (case.width, case.height));
        let found = code::decode_luma(picture.data(0), picture.stride(0), case.width, case.height);
        assert_eq!(found, Some(code_of(frame)), "{name}: frame {frame}");
    }
    let last = decoded.last().expect("frames came");
    let bars = bars::check_yuv(&planes_of(last), Matrix::Bt709, Range::Limited).expect("room for bars");
    assert!(bars::worst(&bars) <= case.tolerance, "{name}: {bars:?}");
}

/// A frame's time differs from its neighbour's in about as many bits as real ones do.
fn code_of(frame: u32) -> Code {
    Code { frame, time_ns: 86_400_123_456_789 + u64::from(frame) * 16_683_351 }
}

fn planes_of(picture: &ffmpeg::frame::Video) -> YuvPlanes<'_> {
    let plane = |index| Plane { data: picture.data(index), stride: picture.stride(index), step: 1 };
    YuvPlanes {
        width: picture.width(),
        height: picture.height(),
        y: plane(0),
        u: plane(1),
        v: plane(2),
        chroma_shift: (1, 1),
    }
}

/// BT.709 limited 4:2:0; chroma from the first pixel of each square, which is coarser than any real converter.
fn to_planes(card: &Card, pixels: &[u8], number: u32) -> ffmpeg::frame::Video {
    let (width, height) = (card.width() as usize, card.height() as usize);
    let mut picture = ffmpeg::frame::Video::new(ffmpeg::format::Pixel::YUV420P, card.width(), card.height());
    picture.set_pts(Some(i64::from(number)));
    for channel in 0..3 {
        let step = if channel == 0 { 1 } else { 2 };
        let stride = picture.stride(channel);
        let data = picture.data_mut(channel);
        for y in 0..height / step {
            for x in 0..width / step {
                let at = (y * step * width + x * step) * 4;
                let rgb = [pixels[at + 2], pixels[at + 1], pixels[at]];
                data[y * stride + x] =
                    bars::to_yuv(rgb, Matrix::Bt709, Range::Limited)[channel].round() as u8;
            }
        }
    }
    picture
}

struct Codec {
    encoder: ffmpeg::encoder::video::Encoder,
    decoder: ffmpeg::decoder::Video,
}

impl Codec {
    /// The settings of a low-latency stream: no look-ahead, no B-frames, a VBV of about one frame.
    fn open(case: &Case) -> Self {
        let found = ffmpeg::encoder::find_by_name(case.encoder).expect("the encoder is installed");
        let id = found.id();
        let mut video =
            ffmpeg::codec::Context::new_with_codec(found).encoder().video().expect("a video encoder");
        video.set_width(case.width);
        video.set_height(case.height);
        video.set_format(ffmpeg::format::Pixel::YUV420P);
        video.set_time_base((1, case.fps as i32));
        video.set_frame_rate(Some((case.fps as i32, 1)));
        video.set_bit_rate(case.bitrate);
        video.set_gop(10_000);
        video.set_max_b_frames(0);
        let kbit = case.bitrate / 1000;
        let mut options = ffmpeg::Dictionary::new();
        options.set("preset", "ultrafast");
        options.set("tune", "zerolatency");
        // With more than one thread x264 shares out the bits by which slice is done first: no two runs are alike.
        let threads = if case.encoder == "libx264" { "threads=1:" } else { "" };
        let vbv = format!("{threads}vbv-maxrate={kbit}:vbv-bufsize={}", kbit * 3 / 2 / case.fps as usize);
        let quiet = if case.encoder == "libx265" { ":log-level=none" } else { "" };
        options.set(if quiet.is_empty() { "x264-params" } else { "x265-params" }, &format!("{vbv}{quiet}"));
        let encoder = video.open_with(options).expect("the encoder opens");
        let decoder = ffmpeg::decoder::find(id).expect("a decoder");
        let decoder =
            ffmpeg::codec::Context::new_with_codec(decoder).decoder().video().expect("the decoder opens");
        Self { encoder, decoder }
    }

    /// Encodes and decodes one picture; `None` ends the stream and brings what was held back.
    fn pass(&mut self, picture: Option<&ffmpeg::frame::Video>) -> Vec<ffmpeg::frame::Video> {
        match picture {
            Some(picture) => self.encoder.send_frame(picture).expect("the encoder takes a frame"),
            None => self.encoder.send_eof().expect("the encoder takes the end"),
        }
        let mut packet = ffmpeg::Packet::empty();
        while self.encoder.receive_packet(&mut packet).is_ok() {
            self.decoder.send_packet(&packet).expect("the decoder takes a packet");
        }
        if picture.is_none() {
            self.decoder.send_eof().expect("the decoder takes the end");
        }
        let mut decoded = Vec::new();
        let mut picture = ffmpeg::frame::Video::empty();
        while self.decoder.receive_frame(&mut picture).is_ok() {
            decoded.push(std::mem::replace(&mut picture, ffmpeg::frame::Video::empty()));
        }
        decoded
    }
}
