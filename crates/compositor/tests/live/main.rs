//! Real clients against the real compositor thread.

mod client;
mod misbehaviour;
mod output;
mod windows;

use lumen_compositor::{BuiltinConfig, BuiltinDisplay};
use lumen_media::slot::Wait;
use lumen_media::{
    AppLaunch, Frame, FrameSource, InputEvent, InputSink, Mode, OutputSource, Timestamp, VirtualDisplay,
    clock,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Nothing here takes longer on a machine that works; reaching it fails the test.
const PATIENCE: Duration = Duration::from_secs(20);

fn deadline() -> Timestamp {
    clock::now() + PATIENCE
}

/// A running output with its host's end.
struct Host {
    source: Box<dyn FrameSource>,
    input: Arc<dyn InputSink>,
    env: Vec<(String, String)>,
    set_mode: lumen_media::display::SetMode,
    keepalive: Option<Box<dyn Send>>,
    mode: Mode,
    dir: TempDir,
}

impl Host {
    fn new(width: u32, height: u32, refresh_mhz: u32) -> Self {
        Self::configured(width, height, refresh_mhz, |_| ())
    }

    fn configured(
        width: u32,
        height: u32,
        refresh_mhz: u32,
        configure: impl FnOnce(&mut BuiltinConfig),
    ) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut config = BuiltinConfig::new(dir.path());
        configure(&mut config);
        let display = BuiltinDisplay::new(config).expect("writable");
        let mode = Mode::new(width, height, refresh_mhz).expect("valid");
        let output = display.create(mode, &AppLaunch::default()).expect("starts");
        let OutputSource::Frames(source) = output.source else { panic!("made in this process") };
        let mut host = Self {
            source,
            input: output.input,
            env: output.env,
            set_mode: output.set_mode.expect("changes in place"),
            keepalive: Some(output.keepalive),
            mode: output.effective_mode,
            dir,
        };
        host.source.set_active(true);
        host
    }

    fn socket(&self) -> PathBuf {
        let name = self.env.iter().find(|(name, _)| name == "WAYLAND_DISPLAY").expect("set");
        self.dir.path().join(&name.1)
    }

    fn send(&self, event: InputEvent) {
        self.input.send(event);
    }

    /// The first frame for which `wanted` holds.
    fn frame(&mut self, mut wanted: impl FnMut(&Frame) -> bool) -> Frame {
        let deadline = deadline();
        loop {
            match self.source.wait_latest(Some(deadline)) {
                Wait::Value(frame) if wanted(&frame) => return frame,
                Wait::Value(_) | Wait::Nudged => {}
                Wait::Deadline => panic!("no such frame in time"),
                Wait::Closed => panic!("the compositor is gone"),
            }
        }
    }
}

/// Blue, green, red of a pixel.
fn pixel(frame: &Frame, x: usize, y: usize) -> [u8; 3] {
    let at = y * frame.stride + x * 4;
    frame.pixels.bytes()[at..at + 3].try_into().expect("three bytes")
}
