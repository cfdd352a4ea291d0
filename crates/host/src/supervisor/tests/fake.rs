//! A desktop that dies on command.

use lumen_media::slot::{self, Receiver};
use lumen_media::{
    AppLaunch, ContainedApp, DisplayError, Frame, FrameSource, InputEvent, InputSink, Mode, OutputSource,
    PathReport, PixelFormat, VirtualDisplay, VirtualOutput, WaylandTarget, clock,
};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// What the fake does when it is asked for an output.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Answer {
    Output,
    /// One whose pictures cannot be opened.
    Blind,
    Refusal,
    /// Nothing, until it may answer.
    Silence,
}

/// A desktop that dies on command.
pub(super) struct Fake {
    pub effective: Mutex<&'static str>,
    pub contains_apps: bool,
    pub answer: Mutex<Answer>,
    pub changed: Condvar,
    /// Outputs asked for since the start, and made.
    pub asked: AtomicU64,
    pub made: AtomicU64,
    /// Outputs whose pictures could not be opened.
    pub distrusted: AtomicU64,
    pub lasting: bool,
    pub alive: Arc<AtomicUsize>,
    pub pictures: Mutex<Vec<Weak>>,
    pub contained: Arc<Contained>,
}

type Pictures = Arc<Mutex<Option<slot::Sender<Frame>>>>;
type Weak = std::sync::Weak<Mutex<Option<slot::Sender<Frame>>>>;

#[derive(Default)]
pub(super) struct Contained {
    pub ended: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    pub terminated: AtomicU64,
}

struct ContainedHandle(Arc<Contained>);

impl ContainedApp for ContainedHandle {
    fn on_end(&self, ended: Box<dyn FnOnce() + Send>) {
        *self.0.ended.lock().expect("no panic") = Some(ended);
    }

    fn terminate(&self) {
        self.0.terminated.fetch_add(1, Ordering::AcqRel);
    }
}

struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

struct Source {
    frames: slot::Receiver<Frame>,
    pictures: Pictures,
    size: (u32, u32),
}

struct Nowhere;

impl InputSink for Nowhere {
    fn send(&self, _event: InputEvent) {}
}

fn picture((width, height): (u32, u32)) -> Frame {
    Frame {
        width,
        height,
        stride: width as usize * 4,
        format: PixelFormat::Bgrx,
        captured: clock::now(),
        sequence: 1,
        pixels: Arc::new(vec![90; width as usize * 4 * height as usize]),
    }
}

impl FrameSource for Source {
    fn frames(&self) -> &Receiver<Frame> {
        &self.frames
    }

    fn set_active(&mut self, active: bool) {
        if active && let Some(sender) = &*self.pictures.lock().expect("no panic") {
            let _ = sender.send(picture(self.size));
        }
    }
}

impl Fake {
    pub fn new(effective: &'static str) -> Self {
        Self {
            effective: Mutex::new(effective),
            contains_apps: false,
            answer: Mutex::new(Answer::Output),
            changed: Condvar::new(),
            asked: AtomicU64::new(0),
            made: AtomicU64::new(0),
            distrusted: AtomicU64::new(0),
            lasting: false,
            alive: Arc::default(),
            pictures: Mutex::default(),
            contained: Arc::default(),
        }
    }

    pub fn answer(&self, answer: Answer) {
        *self.answer.lock().expect("no panic") = answer;
        self.changed.notify_all();
    }

    /// Ends the pictures of all outputs.
    pub fn die(&self) {
        for pictures in self.pictures.lock().expect("no panic").drain(..) {
            if let Some(pictures) = pictures.upgrade() {
                pictures.lock().expect("no panic").take();
            }
        }
    }

    pub fn made(&self) -> u64 {
        self.made.load(Ordering::Acquire)
    }

    pub fn alive(&self) -> usize {
        self.alive.load(Ordering::Acquire)
    }
}

impl VirtualDisplay for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn create(&self, mode: Mode, _launch: &AppLaunch) -> Result<VirtualOutput, DisplayError> {
        self.asked.fetch_add(1, Ordering::AcqRel);
        let answer = self.answer.lock().expect("no panic");
        let answer = *self.changed.wait_while(answer, |answer| *answer == Answer::Silence).expect("no panic");
        if answer == Answer::Refusal {
            return Err(DisplayError::Gone { backend: "fake", cause: "it died".into() });
        }
        let (sender, frames) = slot::slot();
        let pictures = Arc::new(Mutex::new(Some(sender)));
        self.pictures.lock().expect("no panic").push(Arc::downgrade(&pictures));
        let source = match answer {
            Answer::Blind => OutputSource::Wayland(WaylandTarget {
                socket: "/nonexistent/wayland-0".into(),
                output: "HEADLESS-1".into(),
            }),
            _ => OutputSource::Frames(Box::new(Source {
                frames,
                pictures,
                size: (mode.width(), mode.height()),
            })),
        };
        self.made.fetch_add(1, Ordering::AcqRel);
        self.alive.fetch_add(1, Ordering::AcqRel);
        Ok(VirtualOutput {
            path: PathReport {
                requested: (if self.lasting { "portal" } else { "auto" }).into(),
                effective: (*self.effective.lock().expect("no panic")).into(),
                reason: "a test".into(),
            },
            source,
            effective_mode: mode,
            pulse: None,
            input: Arc::new(Nowhere),
            env: Vec::new(),
            set_mode: None,
            lasting: self.lasting,
            contained_app: self
                .contains_apps
                .then(|| Box::new(ContainedHandle(self.contained.clone())) as Box<dyn ContainedApp>),
            keepalive: Box::new(Alive(self.alive.clone())),
        })
    }

    fn distrust(&self, _path: &PathReport) {
        self.distrusted.fetch_add(1, Ordering::AcqRel);
    }
}
