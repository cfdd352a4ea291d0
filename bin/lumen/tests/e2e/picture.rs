//! What the client sees is what the app drew: mode, colours, time codes.

use crate::lab::{Lab, PATIENCE, Viewer, now, wait_for};
use lumen_testcard::bars::{Matrix, Plane, Range, YuvPlanes, check_yuv, worst};
use lumen_testkit::{Codec, EncryptionWish, InputPacket, Picture, StreamOptions, StreamRequest};

/// Bars may be off by so many 8-bit steps after lossy encoding.
const BAR_TOLERANCE: f32 = 6.0;

pub fn assert_colours(picture: &Picture) {
    let planes: Vec<Vec<u8>> = picture
        .planes
        .iter()
        .map(|plane| plane.samples.iter().map(|sample| *sample as u8).collect())
        .collect();
    let plane = |index: usize| Plane { data: &planes[index], stride: picture.planes[index].width, step: 1 };
    let yuv = YuvPlanes {
        width: picture.width,
        height: picture.height,
        y: plane(0),
        u: plane(1),
        v: plane(2),
        chroma_shift: (1, 1),
    };
    let bars = check_yuv(&yuv, Matrix::Bt709, Range::Limited).expect("the bars are found");
    assert!(worst(&bars) <= BAR_TOLERANCE, "{bars:?}");
    assert_eq!((picture.colour.primaries, picture.colour.transfer, picture.colour.matrix), (1, 1, 1));
    assert!(!picture.colour.full_range);
}

fn streams(lab: &Lab, request: &StreamRequest) {
    let client = lab.paired(0);
    let stream = lab.launch(&client, "testcard", request);
    let mut viewer = Viewer::new(request.codec);
    viewer.watch(&stream, 20);
    let picture = viewer.last.as_ref().expect("decoded");
    assert_eq!((picture.width, picture.height), (request.width, request.height));
    assert_colours(picture);
    let increasing = viewer
        .codes
        .windows(2)
        .all(|pair| pair[0].frame < pair[1].frame && pair[0].time_ns < pair[1].time_ns);
    assert!(increasing, "{:?}", viewer.codes);
    assert_eq!(stream.violations(), [], "the host broke the protocol");
    let mode = lab.status()["sessions"][0]["mode"].as_str().expect("a mode").to_owned();
    let rate = if request.refresh_x100 == 5994 { "59.94".to_owned() } else { request.fps.to_string() };
    assert_eq!(mode, format!("{}x{}@{rate}", request.width, request.height));
    let statistics = stream.statistics();
    println!(
        "{mode} {:?}: {} frames, {} lost, {} codes",
        request.codec,
        statistics.video.frames,
        statistics.video.frames_lost,
        viewer.codes.len()
    );
    stream.disconnect(PATIENCE);
    client.cancel().expect("cancelled");
    assert!(lab.app_processes().is_empty());
}

fn encrypted(mut request: StreamRequest) -> StreamRequest {
    request.encryption = EncryptionWish { video: true, audio: true };
    request
}

#[test]
fn h264_in_modes_that_no_monitor_has() {
    let lab = Lab::start("");
    streams(&lab, &StreamRequest::new(1280, 720, 60));
    streams(&lab, &encrypted(StreamRequest::new(1280, 720, 60)));
    streams(&lab, &encrypted(StreamRequest::new(1920, 1080, 60)));
    streams(&lab, &StreamRequest::new(1112, 834, 90));
    streams(&lab, &encrypted(StreamRequest { refresh_x100: 5994, ..StreamRequest::new(1364, 768, 60) }));
    streams(&lab, &StreamRequest::new(320, 180, 30));
}

/// 4:2:0 has no odd sizes: the output has the odd one, the encoder repeats the last column (see `lumen_encode`).
#[test]
fn an_odd_size_streams_rounded_up_to_even() {
    const WIDTH: u32 = 1111;
    let lab = Lab::start("");
    let client = lab.paired(0);
    let stream = lab.launch(&client, "testcard", &StreamRequest::new(WIDTH, 668, 30));
    let mut viewer = Viewer::new(Codec::H264);
    viewer.watch(&stream, 5);
    let picture = viewer.last.as_ref().expect("decoded");
    assert_eq!((picture.width, picture.height), (WIDTH + 1, 668));
    assert_colours(picture);
    assert_eq!(lab.status()["sessions"][0]["mode"], "1111x668@30");
    // The added column shows what stands beside it, not black or garbage.
    let luma = picture.luma8();
    let off: Vec<_> = luma
        .chunks_exact(picture.width as usize)
        .map(|row| row[WIDTH as usize].abs_diff(row[WIDTH as usize - 1]))
        .collect();
    let close = off.iter().filter(|off| **off <= 24).count();
    assert!(close * 10 >= off.len() * 9, "{close} of {} rows end as they should", off.len());
    assert_eq!(stream.violations(), []);
    // The app's right edge is the picture's: the pointer gets to the last of its own columns.
    let edge = i16::try_from(WIDTH).expect("small") - 1;
    let packet = InputPacket::MousePosition { x: edge, y: 0, width: edge, height: 667 };
    stream.send_input(packet).expect("queued");
    wait_for("the pointer at the edge", PATIENCE, || {
        lab.input_log().into_iter().find(|event| {
            let x = event["x"].as_f64().unwrap_or(f64::NAN);
            event["type"] == "pointer_motion" && (x - f64::from(edge)).abs() <= 1.0
        })
    });
}

#[test]
fn hevc_where_the_configuration_offers_it() {
    let lab = Lab::start("[video]\ncodecs = [\"h264\", \"hevc\"]\n");
    let request = StreamRequest { codec: Codec::Hevc, ..StreamRequest::new(640, 360, 30) };
    streams(&lab, &request);
    streams(&lab, &encrypted(request));
}

#[test]
fn av1_where_the_library_can() {
    let lab = Lab::start("[video]\ncodecs = [\"h264\", \"av1\"]\n");
    if !lab.status()["codecs"].as_array().expect("a list").iter().any(|codec| codec == "AV1") {
        println!(
            "left out: this FFmpeg's AV1 encoder cannot stream ({})",
            lab.status()["encoders"][2]["reason"]
        );
        return;
    }
    let request = StreamRequest { codec: Codec::Av1, ..StreamRequest::new(640, 360, 30) };
    streams(&lab, &request);
    streams(&lab, &encrypted(request));
}

#[test]
fn every_block_of_parity_fits_its_data() {
    let lab = Lab::start("");
    let client = lab.paired(0);
    let options = StreamOptions { prove_parity: true, ..StreamOptions::default() };
    let request = StreamRequest { bitrate_kbps: 40_000, ..StreamRequest::new(1280, 720, 60) };
    let stream = client.launch(lab.app(&client, "scroll"), &request, &options).expect("launches");
    let mut viewer = Viewer::new(Codec::H264);
    viewer.watch(&stream, 30);
    assert_eq!(stream.violations(), []);
}

#[test]
fn a_static_screen_thins_out_and_wakes_at_once() {
    let lab = Lab::start("");
    let client = lab.paired(0);
    let stream = lab.launch(&client, "static", &StreamRequest::new(1280, 720, 60));
    let mut frames = Vec::new();
    let deadline = now() + std::time::Duration::from_secs(4);
    while now() < deadline {
        if let Ok(frame) = stream.next_frame(std::time::Duration::from_millis(500)) {
            frames.push(frame);
        }
    }
    // Half a second at the full rate, then 15 a second.
    assert!((40..200).contains(&frames.len()), "{} frames in four seconds", frames.len());
    let bytes: usize = frames.iter().skip(60).map(|frame| frame.data.len()).sum();
    assert!(bytes / frames.len().saturating_sub(60).max(1) < 4_000, "repeats are near-empty");
    // The pointer is drawn into the picture: moving it is damage.
    let before = frames.last().map(|frame| frame.index).expect("frames came");
    stream.send_input(InputPacket::MouseMove { dx: 200, dy: 100 }).expect("queued");
    let after = stream.next_frame(PATIENCE).expect("a frame").index;
    assert!(after > before);
}
