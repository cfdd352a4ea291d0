//! What the tests share.

use lumen_capture::{CaptureConfig, CaptureError};
use lumen_lab::Session;
use lumen_media::slot::Wait;
use lumen_media::{
    Frame, FrameSource, Mode, NodeTarget, OutputSource, PipeWireTarget, PixelFormat, RateRequest, clock,
};
use std::time::Duration;

/// Longest wait for anything that must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn mode(width: u32, height: u32) -> Mode {
    Mode::new(width, height, 60_000).expect("a valid mode")
}

pub fn target(node: NodeTarget) -> PipeWireTarget {
    PipeWireTarget { remote_fd: None, node, size: None, rate: RateRequest::DontAsk, cursor_metadata: false }
}

pub fn config(session: &Session) -> CaptureConfig {
    CaptureConfig { runtime_dir: Some(session.runtime_dir().to_owned()), ..CaptureConfig::default() }
}

pub fn open(
    session: &Session,
    target: PipeWireTarget,
    mode: Mode,
) -> Result<Box<dyn FrameSource>, CaptureError> {
    lumen_capture::open(OutputSource::PipeWire(target), mode, &config(session))
}

/// The next picture.
pub fn next(source: &mut dyn FrameSource) -> Frame {
    match source.wait_latest(Some(clock::now() + PATIENCE)) {
        Wait::Value(frame) => frame,
        other => panic!("no picture: {other:?}; {:?}", source.report()),
    }
}

/// Red, green and blue of a pixel.
pub fn pixel(frame: &Frame, x: usize, y: usize) -> [u8; 3] {
    let at = y * frame.stride + x * PixelFormat::BYTES;
    let bytes = &frame.pixels.bytes()[at..at + 4];
    match frame.format {
        PixelFormat::Bgrx => [bytes[2], bytes[1], bytes[0]],
        PixelFormat::Rgbx => [bytes[0], bytes[1], bytes[2]],
    }
}

/// Waits until the source is closed; pictures that come before are dropped.
pub fn wait_closed(source: &mut dyn FrameSource) {
    let deadline = clock::now() + PATIENCE;
    loop {
        match source.wait_latest(Some(deadline)) {
            Wait::Closed => return assert!(source.is_closed()),
            Wait::Deadline => panic!("the source does not close; {:?}", source.report()),
            Wait::Value(_) | Wait::Nudged => {}
        }
    }
}
