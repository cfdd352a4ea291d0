//! What our own producer sends: every memory, format, flag and metadata, and everything that can go wrong.

use crate::producer::{Event, Memory, Offer, Producer, Setup, Shot};
use crate::support::{PATIENCE, config, mode, next, open, pixel, target, wait_closed};
use libspa::sys as spa;
use lumen_capture::{CaptureConfig, CaptureError};
use lumen_lab::{Session, session_for, wait_for};
use lumen_media::slot::Wait;
use lumen_media::{Frame, FrameSource, NodeTarget, OutputSource, clock};
use std::time::Duration;

const WIDTH: u32 = 64;
const HEIGHT: u32 = 32;
const STRIDE: i32 = WIDTH as i32 * 4;
const BYTES: i32 = STRIDE * HEIGHT as i32;

fn bgrx() -> Offer {
    Offer { format: spa::SPA_VIDEO_FORMAT_BGRx, size: (WIDTH, HEIGHT), modifier: None }
}

fn setup() -> Setup {
    Setup { offers: vec![bgrx()], memory: Memory::Own { offset: 0 }, buffers: 4, bytes: BYTES }
}

/// A picture of one colour.
fn plain(red: u8, green: u8, blue: u8) -> Shot {
    let bytes = [blue, green, red, 0].repeat((WIDTH * HEIGHT) as usize);
    Shot { bytes, size: BYTES as u32, stride: STRIDE, ..Shot::default() }
}

fn session(name: &str) -> Option<Session> {
    session_for(name, &["pipewire", "wireplumber", "pw-dump"])
}

/// A producer and a source that watches it.
fn pair(session: &Session, setup: Setup) -> (Producer, Box<dyn FrameSource>) {
    let producer = Producer::start(session, setup);
    let mut source = open(session, target(NodeTarget::Id(producer.node)), mode(320, 180)).expect("a source");
    start(&producer, source.as_mut());
    (producer, source)
}

/// Sends a shot until a picture arrives: a cycle of the graph is lost now and then.
fn show(producer: &Producer, source: &mut dyn FrameSource, shot: Shot) -> Frame {
    let deadline = clock::now() + PATIENCE;
    loop {
        assert!(clock::now() < deadline, "{:?}", source.report());
        producer.deliver(shot.clone());
        if let Wait::Value(frame) = source.wait_latest(Some(clock::now() + Duration::from_millis(200))) {
            return frame;
        }
    }
}

/// Sends pictures until one arrives: the producer runs before its reader does.
fn start(producer: &Producer, source: &mut dyn FrameSource) {
    source.set_active(true);
    producer.wait_for(Event::Streaming);
    let deadline = clock::now() + PATIENCE;
    loop {
        assert!(clock::now() < deadline, "{:?}", source.report());
        producer.send(plain(255, 255, 255));
        if let Wait::Value(_) = source.wait_latest(Some(clock::now() + Duration::from_millis(50))) {
            return;
        }
    }
}

#[test]
fn memory_of_every_kind_is_read() {
    let Some(session) = session("pw-memory") else { return };
    for (memory, named) in [
        (Memory::Own { offset: 0 }, "MemFd"),
        (Memory::Own { offset: 4096 }, "MemFd"),
        (Memory::Library, "Mem"),
    ] {
        let (producer, mut source) = pair(&session, Setup { memory, ..setup() });
        let before = source.report().arrived;
        for red in [200, 100, 0] {
            let frame = show(&producer, source.as_mut(), plain(red, 20, 30));
            assert_eq!((frame.width, frame.height), (WIDTH, HEIGHT));
            assert_eq!(pixel(&frame, 63, 31), [red, 20, 30], "{memory:?}");
        }
        let report = source.report();
        eprintln!("{memory:?}: {report:?}");
        assert!(report.format.contains(named), "{report:?}");
        assert_eq!((report.arrived - before, report.dropped), (3, 0));
    }
}

#[test]
fn a_serial_is_a_target_too() {
    let Some(session) = session("pw-serial") else { return };
    // Ids are used again, serials are not: after a few nodes came and went the two differ.
    for _ in 0..3 {
        drop(Producer::start(&session, setup()));
    }
    let producer = Producer::start(&session, setup());
    let objects = session.pipewire_objects().expect("pw-dump");
    let serial = objects
        .iter()
        .find(|object| object["id"].as_u64() == Some(u64::from(producer.node)))
        .and_then(|object| object["info"]["props"]["object.serial"].as_u64())
        .expect("a serial");
    eprintln!("node {} has serial {serial}", producer.node);
    assert_ne!(serial, u64::from(producer.node));
    let mut source = open(&session, target(NodeTarget::Serial(serial)), mode(320, 180)).expect("a source");
    start(&producer, source.as_mut());
    assert_eq!(pixel(&show(&producer, source.as_mut(), plain(1, 2, 3)), 0, 0), [1, 2, 3]);
}

#[test]
fn every_format_has_the_right_colours() {
    let Some(session) = session("pw-formats") else { return };
    let ten = |red: u32, green: u32, blue: u32| {
        ((16u32 * 4) << red | (32 * 4) << green | (48 * 4) << blue).to_le_bytes()
    };
    for (format, bytes) in [
        (spa::SPA_VIDEO_FORMAT_BGRx, [48, 32, 16, 0]),
        (spa::SPA_VIDEO_FORMAT_BGRA, [48, 32, 16, 9]),
        (spa::SPA_VIDEO_FORMAT_RGBx, [16, 32, 48, 0]),
        (spa::SPA_VIDEO_FORMAT_RGBA, [16, 32, 48, 9]),
        (spa::SPA_VIDEO_FORMAT_xRGB, [0, 16, 32, 48]),
        (spa::SPA_VIDEO_FORMAT_ARGB, [9, 16, 32, 48]),
        (spa::SPA_VIDEO_FORMAT_xBGR, [0, 48, 32, 16]),
        (spa::SPA_VIDEO_FORMAT_ABGR, [9, 48, 32, 16]),
        (spa::SPA_VIDEO_FORMAT_xRGB_210LE, ten(20, 10, 0)),
        (spa::SPA_VIDEO_FORMAT_xBGR_210LE, ten(0, 10, 20)),
        (spa::SPA_VIDEO_FORMAT_RGBx_102LE, ten(22, 12, 2)),
        (spa::SPA_VIDEO_FORMAT_BGRx_102LE, ten(2, 12, 22)),
    ] {
        let offers = vec![Offer { format, ..bgrx() }];
        let (producer, mut source) = pair(&session, Setup { offers, ..setup() });
        let frame = show(
            &producer,
            source.as_mut(),
            Shot { bytes: bytes.repeat((WIDTH * HEIGHT) as usize), ..plain(0, 0, 0) },
        );
        assert_eq!(pixel(&frame, 5, 5), [16, 32, 48], "{}", source.report().format);
    }
}

#[test]
fn the_newest_wins_and_every_buffer_comes_back() {
    let Some(session) = session("pw-newest") else { return };
    for buffers in [2, 3, 8] {
        let (producer, mut source) = pair(&session, Setup { buffers, ..setup() });
        let before = source.report().arrived;
        let mut held = Vec::new();
        for round in 0..40 {
            // The producer finds a buffer, however slow the reader is: frames are held as a pipeline holds them.
            let frame = show(&producer, source.as_mut(), plain(round, 0, 0));
            assert_eq!(pixel(&frame, 0, 0)[0], round);
            held.push(frame);
            if held.len() > 2 {
                held.remove(0);
            }
            for (frame, age) in held.iter().rev().zip(0..) {
                assert_eq!(pixel(frame, 9, 9)[0], round - age, "a held frame keeps its picture");
            }
        }
        // Nobody reads: what lies in the slot is replaced, and only the last is seen.
        held.clear();
        for last in 0..40 {
            producer.deliver(plain(last, 1, 0));
        }
        let deadline = clock::now() + PATIENCE;
        while pixel(&show(&producer, source.as_mut(), plain(77, 1, 0)), 0, 0)[0] != 77 {
            assert!(clock::now() < deadline);
        }
        // PipeWire loses cycles of a producer with two buffers that does not pause between them.
        let arrived = source.report().arrived - before;
        eprintln!("{buffers} buffers: {arrived} of 80 arrived");
        assert!(arrived > 40);
    }
}

#[test]
fn bad_buffers_are_skipped_and_counted() {
    let Some(session) = session("pw-bad") else { return };
    let (producer, mut source) = pair(&session, setup());
    let before = source.report().arrived;
    let good = |red| plain(red, 0, 0);
    let bad = [
        Shot { chunk_flags: spa::SPA_CHUNK_FLAG_CORRUPTED as i32, ..good(1) },
        Shot { header: Some((spa::SPA_META_HEADER_FLAG_CORRUPTED, 0)), ..good(2) },
        Shot { chunk_flags: spa::SPA_CHUNK_FLAG_CORRUPTED as i32, size: 0, ..good(3) },
        Shot { stride: STRIDE - 4, ..good(4) },
        Shot { stride: STRIDE + 4, ..good(5) },
        Shot { offset: 4, ..good(6) },
        Shot { size: BYTES as u32 - 1, ..good(7) },
        Shot { stride: i32::MIN, ..good(8) },
        Shot { stride: i32::MAX, size: u32::MAX, ..good(9) },
    ];
    let count = bad.len() as u64;
    for (shot, good_one) in bad.into_iter().zip(100..) {
        let dropped = source.report().dropped;
        let seen = || (source.report().dropped > dropped).then_some(());
        let deadline = clock::now() + PATIENCE;
        loop {
            assert!(clock::now() < deadline, "{:?}", source.report());
            producer.deliver(shot.clone());
            if wait_for("the bad buffer", Duration::from_millis(200), seen).is_ok() {
                break;
            }
        }
        assert_eq!(pixel(&show(&producer, source.as_mut(), good(good_one)), 0, 0)[0], good_one);
    }
    // No size is all of it.
    assert_eq!(pixel(&show(&producer, source.as_mut(), Shot { size: 0, ..good(50) }), 0, 0)[0], 50);
    // One that was only late was sent again and counts twice.
    let report = source.report();
    assert!(report.dropped >= count && report.arrived - before > count, "{report:?}");
}

#[test]
fn stride_offset_crop_and_transform_are_honoured() {
    let Some(session) = session("pw-layout") else { return };
    let (stride, offset) = (STRIDE + 64, 128);
    let bytes = offset + stride * HEIGHT as i32;
    let (producer, mut source) = pair(&session, Setup { bytes, ..setup() });
    // Red is the column, green the row.
    let mut picture = vec![0; offset as usize];
    for y in 0..HEIGHT {
        for x in 0..stride as u32 / 4 {
            picture.extend([7, y as u8, x as u8, 0]);
        }
    }
    let shot = Shot { bytes: picture, offset: offset as u32, size: 0, stride, ..Shot::default() };
    let mut look = |shot: Shot| show(&producer, source.as_mut(), shot);
    let frame = look(shot.clone());
    assert_eq!((pixel(&frame, 0, 0), pixel(&frame, 63, 31)), ([0, 0, 7], [63, 31, 7]));
    let frame = look(Shot { stride: -stride, ..shot.clone() });
    assert_eq!((pixel(&frame, 0, 0), pixel(&frame, 63, 31)), ([0, 31, 7], [63, 0, 7]));
    let frame = look(Shot { crop: Some([10, 20, 30, 8]), ..shot.clone() });
    assert_eq!((frame.width, frame.height), (30, 8));
    assert_eq!((pixel(&frame, 0, 0), pixel(&frame, 29, 7)), ([10, 20, 7], [39, 27, 7]));
    let frame = look(Shot { crop: Some([0, 4, 64, 8]), ..shot.clone() });
    assert_eq!((frame.width, frame.height, pixel(&frame, 0, 0)), (64, 8, [0, 4, 7]));
    let frame = look(Shot { crop: Some([60, 0, 30, 8]), ..shot.clone() });
    assert_eq!((frame.width, frame.height), (64, 32), "a crop beyond the picture is none");
    let frame = look(Shot { crop: Some([-1, 0, 30, 8]), ..shot.clone() });
    assert_eq!((frame.width, frame.height), (64, 32));
    let frame = look(Shot { transform: Some(spa::SPA_META_TRANSFORMATION_90), ..shot.clone() });
    assert_eq!((frame.width, frame.height), (32, 64));
    // Turned back clockwise: the lower left corner comes to the upper left.
    assert_eq!((pixel(&frame, 0, 0), pixel(&frame, 31, 0)), ([0, 31, 7], [0, 0, 7]));
    let frame = look(Shot { transform: Some(spa::SPA_META_TRANSFORMATION_Flipped), ..shot });
    assert_eq!((pixel(&frame, 0, 0), pixel(&frame, 63, 0)), ([63, 0, 7], [0, 0, 7]));
}

#[test]
fn times_are_the_producers_when_they_can_be() {
    let Some(session) = session("pw-times") else { return };
    let (producer, mut source) = pair(&session, setup());
    let stated = clock::now().as_nanos() - 1_000_000;
    assert_eq!(
        show(&producer, source.as_mut(), Shot { header: Some((0, stated as i64)), ..plain(0, 0, 0) })
            .captured
            .as_nanos(),
        stated
    );
    for strange in [-1, 0, 5, i64::MAX] {
        let before = clock::now();
        let captured =
            show(&producer, source.as_mut(), Shot { header: Some((0, strange)), ..plain(0, 0, 0) }).captured;
        assert!(captured >= before && captured <= clock::now(), "{strange}: time of arrival");
    }
}

#[test]
fn a_live_stream_takes_another_size() {
    let Some(session) = session("pw-size") else { return };
    let (producer, mut source) = pair(&session, Setup { bytes: BYTES * 4, ..setup() });
    let held = show(&producer, source.as_mut(), plain(1, 1, 1));
    producer.offer(vec![Offer { size: (WIDTH * 2, HEIGHT * 2), ..bgrx() }]);
    producer.wait_for(Event::Format(false));
    let bytes = [3, 2, 1, 0].repeat((WIDTH * HEIGHT * 4) as usize);
    let shot = Shot { bytes, size: BYTES as u32 * 4, stride: STRIDE * 2, ..Shot::default() };
    let deadline = clock::now() + PATIENCE;
    let frame = loop {
        assert!(clock::now() < deadline);
        producer.send(shot.clone());
        if let Wait::Value(frame) = source.wait_latest(Some(clock::now() + Duration::from_millis(50))) {
            break frame;
        }
    };
    assert_eq!((frame.width, frame.height, pixel(&frame, 127, 63)), (WIDTH * 2, HEIGHT * 2, [1, 2, 3]));
    assert_eq!(pixel(&held, 63, 31), [1, 1, 1], "a frame outlives the buffers of its format");
    drop(held);
    assert_eq!(source.report().negotiations, 2);
}

#[test]
fn dmabufs_are_taken_when_asked_for_and_left_when_they_cannot_be_mapped() {
    let Some(session) = session("pw-dmabuf") else { return };
    let offers = vec![Offer { modifier: Some(0), ..bgrx() }, bgrx()];
    for (memory, dmabuf, named) in [
        (Memory::Claimed, false, "MemFd"),
        (Memory::Claimed, true, "modifier 0x0, DmaBuf"),
        (Memory::Unmappable, true, "MemFd"),
    ] {
        let producer = Producer::start(&session, Setup { offers: offers.clone(), memory, ..setup() });
        let config = CaptureConfig { dmabuf, ..config(&session) };
        let wanted = OutputSource::PipeWire(target(NodeTarget::Id(producer.node)));
        let mut source = lumen_capture::open(wanted, mode(320, 180), &config).expect("a source");
        if memory == Memory::Unmappable {
            producer.wait_for(Event::Format(true));
            producer.wait_for(Event::Format(false));
        }
        start(&producer, source.as_mut());
        assert_eq!(pixel(&show(&producer, source.as_mut(), plain(9, 8, 7)), 3, 3), [9, 8, 7]);
        let report = source.report();
        eprintln!("{memory:?}, {dmabuf}: {report:?}");
        assert!(report.format.ends_with(named), "{report:?}");
        assert_eq!(report.fallback.is_empty(), memory == Memory::Claimed, "{report:?}");
    }
}

/// A pointer at a place, with a red picture of 4 × 4 when `drawn`.
fn pointer(id: u32, x: i32, y: i32, drawn: bool) -> Vec<u8> {
    let head = [id, 0, x as u32, y as u32, 1, 1, if drawn { 28 } else { 0 }];
    let bitmap = [spa::SPA_VIDEO_FORMAT_RGBA, 4, 4, 16, 20];
    let mut bytes: Vec<u8> = head.iter().chain(&bitmap).flat_map(|word| word.to_ne_bytes()).collect();
    bytes.extend([255, 0, 0, 255].repeat(16));
    bytes
}

#[test]
fn the_pointer_is_drawn_and_moves_without_a_new_picture() {
    let Some(session) = session("pw-pointer") else { return };
    let producer = Producer::start(&session, setup());
    let mut wanted = target(NodeTarget::Id(producer.node));
    wanted.cursor_metadata = true;
    let mut source = open(&session, wanted, mode(320, 180)).expect("a source");
    start(&producer, source.as_mut());
    let (blue, red) = ([0, 0, 200], [255, 0, 0]);
    let first =
        show(&producer, source.as_mut(), Shot { cursor: Some(pointer(1, 11, 11, true)), ..plain(0, 0, 200) });
    assert_eq!([pixel(&first, 9, 10), pixel(&first, 10, 10), pixel(&first, 13, 13)], [blue, red, red]);
    // As Mutter does it: no picture, marked as corrupted, only the pointer.
    let moved = Shot {
        chunk_flags: spa::SPA_CHUNK_FLAG_CORRUPTED as i32,
        cursor: Some(pointer(1, 31, 21, false)),
        ..Shot::default()
    };
    let second = show(&producer, source.as_mut(), moved.clone());
    assert!(second.sequence > first.sequence && second.captured > first.captured);
    assert_eq!([pixel(&second, 10, 10), pixel(&second, 30, 20)], [blue, red]);
    assert_eq!(pixel(&first, 10, 10), red, "the frame before stays as it was");
    let third = show(&producer, source.as_mut(), Shot { cursor: Some(pointer(0, 0, 0, false)), ..moved });
    assert!(third.pixels.bytes().chunks_exact(4).all(|pixel| pixel[..3] == [200, 0, 0]));
}

#[test]
fn a_resumed_stream_shows_the_current_picture() {
    let Some(session) = session("pw-resume") else { return };
    let (producer, mut source) = pair(&session, setup());
    let first = show(&producer, source.as_mut(), plain(5, 6, 7));
    source.set_active(false);
    producer.wait_for(Event::Paused);
    let Wait::Deadline = source.wait_latest(Some(clock::now() + Duration::from_millis(100))) else {
        panic!("a paused source is silent")
    };
    // The screen did not change meanwhile, so nothing comes from the producer.
    source.set_active(true);
    let again = next(source.as_mut());
    assert_eq!(pixel(&again, 8, 8), [5, 6, 7]);
    assert!(again.sequence > first.sequence && again.captured > first.captured);
    producer.wait_for(Event::Streaming);
    // Activated while active, the slot was emptied for nothing.
    source.set_active(true);
    assert_eq!(pixel(&next(source.as_mut()), 8, 8), [5, 6, 7]);
    // The same when nobody holds the picture: its buffer does not go back before there is a newer one.
    let lent = show(&producer, source.as_mut(), plain(8, 9, 10));
    let sequence = lent.sequence;
    drop((first, lent));
    // Each buffer that is back with the producer gets another picture, which is not shown.
    for _ in 0..8 {
        let corrupted = spa::SPA_CHUNK_FLAG_CORRUPTED as i32;
        producer.deliver(Shot { chunk_flags: corrupted, ..plain(99, 99, 99) });
    }
    source.set_active(false);
    producer.wait_for(Event::Paused);
    source.set_active(true);
    let again = next(source.as_mut());
    assert_eq!(pixel(&again, 8, 8), [8, 9, 10]);
    assert!(again.sequence > sequence);
    producer.wait_for(Event::Streaming);
    assert_eq!(pixel(&show(&producer, source.as_mut(), plain(1, 1, 1)), 8, 8), [1, 1, 1]);
}

#[test]
fn a_source_that_nobody_activated_is_silent_and_then_current() {
    let Some(session) = session("pw-inactive") else { return };
    let producer = Producer::start(&session, setup());
    let mut source = open(&session, target(NodeTarget::Id(producer.node)), mode(320, 180)).expect("a source");
    producer.wait_for(Event::Streaming);
    // It runs until it has a picture, then it is paused.
    producer.send_until_paused(&plain(4, 4, 4));
    assert!(source.try_latest().is_none());
    source.set_active(true);
    assert_eq!(pixel(&next(source.as_mut()), 0, 0), [4, 4, 4]);
}

#[test]
fn a_producer_that_vanishes_closes_the_source() {
    let Some(session) = session("pw-vanish") else { return };
    let (producer, mut source) = pair(&session, setup());
    let held = show(&producer, source.as_mut(), plain(1, 2, 3));
    drop(producer);
    wait_closed(source.as_mut());
    assert_eq!(pixel(&held, 63, 31), [1, 2, 3], "a frame outlives its producer");
    drop(source);
    assert_eq!(pixel(&held, 63, 31), [1, 2, 3], "and its source");
}

#[test]
fn a_daemon_that_ends_closes_the_source_and_a_new_one_serves_again() {
    let Some(session) = session("pw-daemon") else { return };
    let (producer, mut source) = pair(&session, setup());
    producer.deliver(plain(1, 2, 3));
    next(source.as_mut());
    session.stop_pipewire();
    wait_closed(source.as_mut());
    drop((producer, source));
    let error = open(&session, target(NodeTarget::Id(40)), mode(320, 180)).err().expect("no daemon");
    assert!(matches!(error, CaptureError::NoDaemon(_)), "{error}");
    eprintln!("{error}");
    session.start_pipewire().expect("PipeWire");
    let (producer, mut source) = pair(&session, setup());
    assert_eq!(pixel(&show(&producer, source.as_mut(), plain(3, 2, 1)), 0, 0), [3, 2, 1]);
}

#[test]
fn what_cannot_be_opened_says_why() {
    let Some(session) = session("pw-errors") else { return };
    let producer = Producer::start(
        &session,
        Setup { offers: vec![Offer { format: spa::SPA_VIDEO_FORMAT_NV12, ..bgrx() }], ..setup() },
    );
    let fail = |node| {
        let begun = clock::now();
        let error = open(&session, target(node), mode(320, 180)).err().expect("an error");
        eprintln!("{node:?}: {error} (after {:?})", clock::now().since(begun));
        error
    };
    let error = fail(NodeTarget::Id(producer.node));
    assert!(matches!(error, CaptureError::NoFormat(_)), "{error}");
    assert!(error.to_string().contains("NV12, 64x32"), "{error}");
    assert!(matches!(fail(NodeTarget::Id(9999)), CaptureError::NoTarget(_)));
    assert!(matches!(fail(NodeTarget::Serial(99_999)), CaptureError::NoTarget(_)));
    // Nobody links the two without a session manager.
    session.stop_wireplumber();
    let producer = Producer::start(&session, setup());
    assert!(matches!(fail(NodeTarget::Id(producer.node)), CaptureError::Timeout { .. }));
}

#[test]
fn many_captures_open_and_close_at_once() {
    let Some(session) = session("pw-many") else { return };
    std::thread::scope(|scope| {
        for colour in 1..=6 {
            let session = &session;
            scope.spawn(move || {
                for _ in 0..3 {
                    let (producer, mut source) = pair(session, setup());
                    assert_eq!(
                        pixel(&show(&producer, source.as_mut(), plain(colour, 0, 0)), 0, 0)[0],
                        colour
                    );
                }
            });
        }
    });
}
