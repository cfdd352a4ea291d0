//! A client's virtual output with its capture, as the runtime holds it (`docs/design/outputs.md`).

use lumen_capture::CaptureConfig;
use lumen_display::DisplayKind;
use lumen_encode::View;
use lumen_media::display::{Pulse, SetMode, SourceReport};
use lumen_media::slot::Receiver;
use lumen_media::{
    AppLaunch, ContainedApp, DisplayError, Frame, FrameSource, InputEvent, InputReport, InputSink, Mode,
    OutputSource, PathReport, Pen, Timestamp, TouchPhase, VirtualDisplay, VirtualOutput, clock,
};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;

/// Things that wait to be dropped; more are dropped where they are.
const RELEASES: usize = 64;

/// A live output and its picture source, which a stream borrows.
pub struct Output {
    /// The mode that was asked for.
    pub asked: Mode,
    /// The mode that it really has.
    pub effective: Mode,
    /// How it came to be.
    pub path: PathReport,
    /// What it was made for.
    pub launch: AppLaunch,
    /// Its pictures, unless a stream reads them.
    pub source: Option<Box<dyn FrameSource>>,
    /// Where its input goes.
    pub input: Arc<dyn InputSink>,
    /// What apps need to open on it.
    pub env: Vec<(String, String)>,
    set_mode: Option<SetMode>,
    contained: Option<Box<dyn ContainedApp>>,
    /// Its capture lasts as long as the host.
    pub lasting: bool,
    // Last: the output goes when everything that uses it is gone.
    _keepalive: Box<dyn Send>,
}

/// An output whose pictures nobody has asked for yet.
pub struct Unopened {
    // Dropped first: the output goes when everything that uses it is gone.
    source: OutputSource,
    output: Output,
    pulse: Option<Pulse>,
    started: Timestamp,
    created: Timestamp,
}

impl Unopened {
    /// Makes an output; blocks for as long as the backend allows itself. `lost` is the one that it replaces because its
    /// desktop lost it.
    ///
    /// # Errors
    /// [`DisplayError`] with cause and remedy.
    pub fn make(
        display: &dyn VirtualDisplay,
        mode: Mode,
        launch: AppLaunch,
        lost: Option<&PathReport>,
    ) -> Result<Self, DisplayError> {
        let started = clock::now();
        let made = match lost {
            Some(lost) => display.recreate(lost, mode, &launch),
            None => display.create(mode, &launch),
        };
        let VirtualOutput {
            path,
            source,
            effective_mode,
            input,
            pulse,
            env,
            set_mode,
            lasting,
            contained_app,
            keepalive,
        } = made?;
        // Where a portal was only the next best thing, a later launch may find a better one.
        let next_best = path.requested == DisplayKind::Auto.to_string()
            && path.effective == DisplayKind::Portal.to_string();
        let output = Output {
            asked: mode,
            effective: effective_mode,
            path,
            launch,
            source: None,
            input,
            env,
            set_mode,
            contained: contained_app,
            lasting: lasting && !next_best,
            _keepalive: keepalive,
        };
        Ok(Self { source, output, pulse, started, created: clock::now() })
    }

    /// Opens its capture; blocks for five seconds at most.
    ///
    /// # Errors
    /// [`DisplayError`] with cause and remedy.
    pub fn open(self, display: &dyn VirtualDisplay, capture: &CaptureConfig) -> Result<Output, DisplayError> {
        let Self { mut output, source, pulse, started, created } = self;
        let source = lumen_capture::open(source, output.effective, capture)
            .inspect_err(|_| display.distrust(&output.path))?;
        let report = source.report();
        tracing::info!(
            asked = %output.asked, effective = %output.effective, backend = output.path.effective,
            capture = report.path, format = report.format, fallback = report.fallback,
            creating = ?created.since(started), opening = ?clock::now().since(created), "output made"
        );
        output.source = Some(Box::new(Pictures { source, pulse }));
        Ok(output)
    }
}

impl Output {
    /// Makes an output and opens its capture, as the steps of [`Unopened`] do.
    ///
    /// # Errors
    /// [`DisplayError`] with cause and remedy.
    pub fn make(
        display: &dyn VirtualDisplay,
        capture: &CaptureConfig,
        mode: Mode,
        launch: AppLaunch,
    ) -> Result<Self, DisplayError> {
        Unopened::make(display, mode, launch, None)?.open(display, capture)
    }

    /// Whether it serves a mode as it is. A compositor that rounds gives the same answer again.
    pub fn fits(&self, mode: Mode) -> bool {
        self.lasting || self.asked == mode || self.effective == mode
    }

    /// Changes the mode in place; `None` when the compositor cannot.
    pub fn change_mode(&mut self, mode: Mode) -> Option<Result<(), DisplayError>> {
        let changed = self.set_mode.as_ref()?(mode);
        if changed.is_ok() {
            self.asked = mode;
            self.effective = mode;
        }
        Some(changed)
    }

    /// The app that runs inside, when its compositor contains it.
    pub fn contained(&self) -> Option<&dyn ContainedApp> {
        self.contained.as_deref()
    }

    /// Whether its pictures ended while nobody read them.
    pub fn is_gone(&self) -> bool {
        self.source.as_ref().is_some_and(|source| source.is_closed())
    }

    /// What its capture says about itself; `None` while a stream has it.
    pub fn report(&self) -> Option<SourceReport> {
        self.source.as_ref().map(|source| source.report())
    }
}

/// Pictures, and how to ask whether their desktop lives.
struct Pictures {
    source: Box<dyn FrameSource>,
    pulse: Option<Pulse>,
}

impl FrameSource for Pictures {
    fn frames(&self) -> &Receiver<Frame> {
        self.source.frames()
    }

    fn pulse(&self) -> Option<Pulse> {
        self.pulse.clone()
    }

    fn set_active(&mut self, active: bool) {
        self.source.set_active(active);
    }

    fn report(&self) -> SourceReport {
        self.source.report()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // Before the source: some compositors crash when the viewer leaves first.
        if let Some(app) = self.contained.take() {
            app.terminate();
        }
    }
}

/// Where a client's input goes: to its output, or nowhere while there is none.
#[derive(Default)]
pub struct InputSwitch {
    sink: RwLock<Option<Arc<dyn InputSink>>>,
    view: RwLock<View>,
}

impl InputSwitch {
    /// Sends input to `sink` from now on.
    pub fn connect(&self, sink: Option<Arc<dyn InputSink>>) {
        let old = std::mem::replace(&mut *self.sink.write().unwrap_or_else(PoisonError::into_inner), sink);
        drop(old);
    }

    /// Says where the output lies in the stream's picture, which is what clients point at.
    pub fn view(&self, view: View) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = view;
    }

    fn on_output(&self, event: InputEvent) -> InputEvent {
        let locate = |x, y| self.view.read().unwrap_or_else(PoisonError::into_inner).locate(x, y);
        match event {
            InputEvent::PointerAbsolute { x, y } => {
                let (x, y) = locate(x, y);
                InputEvent::PointerAbsolute { x, y }
            }
            InputEvent::Touch { id, phase: phase @ (TouchPhase::Down | TouchPhase::Move), x, y } => {
                let (x, y) = locate(x, y);
                InputEvent::Touch { id, phase, x, y }
            }
            InputEvent::Pen(pen) => {
                let (x, y) = locate(pen.x, pen.y);
                InputEvent::Pen(Pen { x, y, ..pen })
            }
            event => event,
        }
    }
}

impl InputSink for InputSwitch {
    fn send(&self, event: InputEvent) {
        self.deliver(event, clock::now());
    }

    fn deliver(&self, event: InputEvent, received: Timestamp) {
        if let Some(sink) = &*self.sink.read().unwrap_or_else(PoisonError::into_inner) {
            sink.deliver(self.on_output(event), received);
        }
    }

    fn report(&self) -> InputReport {
        match &*self.sink.read().unwrap_or_else(PoisonError::into_inner) {
            Some(sink) => sink.report(),
            None => InputReport::default(),
        }
    }
}

/// Drops things on a thread of its own: an output's end may mean to restore a desktop's layout, which takes a hanging
/// desktop seconds that the supervisor does not have.
pub struct Releaser {
    things: Option<SyncSender<Box<dyn Send>>>,
    thread: Option<JoinHandle<()>>,
}

impl Releaser {
    /// Starts the thread.
    pub fn start() -> std::io::Result<Self> {
        let (things, received) = sync_channel::<Box<dyn Send>>(RELEASES);
        let thread = std::thread::Builder::new().name("lumen-release".into()).spawn(move || {
            for thing in received {
                drop(thing);
            }
        })?;
        Ok(Self { things: Some(things), thread: Some(thread) })
    }

    /// Drops `thing` soon.
    pub fn release(&self, thing: impl Send + 'static) {
        if let Some(things) = &self.things {
            // What does not fit comes back in the error, and is dropped here.
            drop(things.try_send(Box::new(thing)));
        }
    }
}

impl Drop for Releaser {
    fn drop(&mut self) {
        drop(self.things.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
