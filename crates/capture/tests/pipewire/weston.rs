//! weston's PipeWire backend: a producer that somebody else wrote.

use crate::support::{config, mode, next, open, target, wait_closed};
use lumen_lab::{Desktop, Mode, Session, Weston, left_out, session_for};
use lumen_media::{NodeTarget, OutputSource, PixelFormat};
use std::collections::BTreeSet;
use std::path::Path;

/// A session for a weston that has the backend; before 11 there was none.
fn session(name: &str) -> Option<Session> {
    let folders =
        |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut places = folders(Path::new("/usr/lib")).flat_map(|folder| folders(&folder).collect::<Vec<_>>());
    if !places.any(|folder| folder.join("pipewire-backend.so").exists()) {
        left_out(name, "weston has no PipeWire backend here");
        return None;
    }
    session_for(name, &["weston", "pipewire", "wireplumber"])
}

#[test]
fn pictures_of_weston_arrive_at_its_size() {
    let Some(session) = session("weston-pictures") else {
        return;
    };
    let weston = Weston::start(&session, Mode { width: 640, height: 360, hertz: 60.0 }).expect("weston");
    let mut source = open(&session, target(NodeTarget::Id(weston.node())), mode(640, 360)).expect("a source");
    source.set_active(true);
    let mut colours = BTreeSet::new();
    for _ in 0..5 {
        let frame = next(source.as_mut());
        assert_eq!((frame.width, frame.height, frame.format), (640, 360, PixelFormat::Bgrx));
        assert!(frame.pixels.bytes().len() >= frame.stride * 360);
        colours.extend(frame.pixels.bytes().chunks_exact(4).map(|pixel| [pixel[0], pixel[1], pixel[2]]));
        source.set_active(false);
        source.set_active(true);
    }
    let report = source.report();
    assert_eq!(report.format, "BGRx 640x360, MemFd");
    assert!(!colours.is_empty() && report.arrived > 0, "{report:?}");
    eprintln!("{report:?}, {} colours", colours.len());
    drop(source);
    drop(weston);
}

#[test]
fn a_weston_that_ends_closes_the_source() {
    let Some(session) = session("weston-ends") else { return };
    let weston = Weston::start(&session, Mode { width: 320, height: 180, hertz: 60.0 }).expect("weston");
    let mut source = open(&session, target(NodeTarget::Id(weston.node())), mode(320, 180)).expect("a source");
    source.set_active(true);
    next(source.as_mut());
    weston.process().kill();
    wait_closed(source.as_mut());
}

#[test]
fn the_fixed_offer_is_taken() {
    let Some(session) = session("weston-fixed") else { return };
    let weston = Weston::start(&session, Mode { width: 320, height: 180, hertz: 60.0 }).expect("weston");
    let config = lumen_capture::CaptureConfig { fixed_pod: true, ..config(&session) };
    let wanted = OutputSource::PipeWire(target(NodeTarget::Id(weston.node())));
    let mut source = lumen_capture::open(wanted, mode(320, 180), &config).expect("a source");
    source.set_active(true);
    assert_eq!(next(source.as_mut()).width, 320);
    drop(source);
    // Another size is offered by nobody, and the error says what is.
    let wanted = OutputSource::PipeWire(target(NodeTarget::Id(weston.node())));
    let error = match lumen_capture::open(wanted, mode(322, 180), &config) {
        Ok(source) => panic!("weston took a size that it has not: {:?}", source.report()),
        Err(error) => error,
    };
    eprintln!("{error}");
}
