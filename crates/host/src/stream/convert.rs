//! The converting thread: newest picture of the current source → planes. When the source closes it waits for another.

use super::pipeline::{News, Shared};
use super::vigil::Vigil;
use lumen_encode::{Converter, EncoderConfig, Planes, PlanesPool, Scaler, View};
use lumen_media::display::SourceReport;
use lumen_media::slot::{Sender, Wait, Waker};
use lumen_media::{Frame, FrameSource, Timestamp, clock};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a source is asked about itself.
const REPORT_PERIOD: Duration = Duration::from_secs(1);

/// A picture in the encoder's planes.
pub(super) struct Converted {
    pub planes: Arc<Planes>,
    pub captured: Timestamp,
    pub wait: Duration,
    pub convert: Duration,
    pub done: Timestamp,
    /// Counts the sources of this pipeline; the first picture of a new one stands alone.
    pub generation: u64,
}

/// How the thread's owner reaches it: through the source that it waits on, or while it waits for a source.
pub(super) struct Intake {
    state: Mutex<IntakeState>,
    changed: Condvar,
}

struct IntakeState {
    waker: Waker<Frame>,
    /// The source is gone, and no other is here yet.
    lost: bool,
    next: Option<Box<dyn FrameSource>>,
    stopping: bool,
    report: SourceReport,
}

impl Intake {
    pub fn new(source: &dyn FrameSource) -> Self {
        let state = IntakeState {
            waker: source.waker(),
            lost: false,
            next: None,
            stopping: false,
            report: source.report(),
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Brings an active source to a pipeline that lost its own; gives it back when none is missing.
    pub fn replace(&self, mut source: Box<dyn FrameSource>) -> Result<(), Box<dyn FrameSource>> {
        if !self.is_lost() {
            return Err(source);
        }
        // Before the lock: a compositor may take its time.
        source.set_active(true);
        let mut state = self.lock();
        if !state.lost || state.stopping {
            drop(state);
            source.set_active(false);
            return Err(source);
        }
        state.lost = false;
        state.waker = source.waker();
        state.report = source.report();
        state.next = Some(source);
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    pub fn is_lost(&self) -> bool {
        self.lock().lost
    }

    pub fn report(&self) -> SourceReport {
        self.lock().report.clone()
    }

    pub fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        state.waker.nudge();
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for the next source; `None` when the pipeline stops.
    fn next(&self) -> Option<Box<dyn FrameSource>> {
        let mut state = self.lock();
        loop {
            if let Some(source) = state.next.take() {
                return Some(source);
            }
            if state.stopping {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, IntakeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A source that has sent nothing for so long is named in the log.
const FIRST_PICTURE: Duration = Duration::from_secs(5);

/// Why a source is not read any more.
enum Pause {
    Stopping,
    Closed,
    /// The desktop gives no sign of life.
    Hung,
}

pub(super) struct Convert {
    shared: Arc<Shared>,
    answer: Duration,
    converter: Converter,
    scaler: Scaler,
    size: (u32, u32),
    pool: PlanesPool,
    out: Sender<Converted>,
    generation: u64,
    /// Size of the newest picture: another one means that the format was negotiated anew.
    shape: (u32, u32),
    view: View,
    reported: Option<Timestamp>,
    said_scaled: bool,
}

impl Convert {
    /// A desktop without new pictures has `answer` for an answer before it counts as hung.
    pub fn new(
        shared: Arc<Shared>,
        config: &EncoderConfig,
        answer: Duration,
        out: Sender<Converted>,
    ) -> Self {
        Self {
            shared,
            answer,
            converter: Converter::new(config.width, config.height, config.colour),
            scaler: Scaler::new(config.width, config.height),
            size: (config.width, config.height),
            pool: PlanesPool::new(config.width, config.height),
            out,
            generation: 0,
            shape: (0, 0),
            view: View::FULL,
            reported: None,
            said_scaled: false,
        }
    }

    /// Reads until the pipeline stops. Gives the source back, unless it is the one that closed.
    pub fn run(mut self, mut source: Box<dyn FrameSource>) -> Option<Box<dyn FrameSource>> {
        loop {
            let hung = match self.read(source.as_mut()) {
                Pause::Stopping => return Some(source),
                Pause::Closed => false,
                Pause::Hung => true,
            };
            self.report(source.as_ref());
            // Whatever it still holds of its compositor goes before another output is asked for.
            drop(source);
            self.shared.intake.lock().lost = true;
            (self.shared.news)(News::Lost { hung });
            source = self.shared.intake.next()?;
            self.generation += 1;
            self.reported = None;
        }
    }

    fn read(&mut self, source: &mut dyn FrameSource) -> Pause {
        let mut vigil = source.pulse().and_then(|pulse| Vigil::start(pulse, self.answer, source.waker()));
        let mut first_by = Some(clock::now() + FIRST_PICTURE);
        loop {
            let due = [vigil.as_ref().and_then(Vigil::due), first_by].into_iter().flatten().min();
            let frame = match source.wait_latest(due) {
                Wait::Value(frame) => frame,
                Wait::Nudged | Wait::Deadline if self.shared.stopping.load(Ordering::Acquire) => {
                    return Pause::Stopping;
                }
                Wait::Nudged | Wait::Deadline => {
                    if vigil.as_mut().is_some_and(|vigil| vigil.is_over(clock::now())) {
                        tracing::warn!("the desktop hangs: it sends no pictures and does not answer");
                        return Pause::Hung;
                    }
                    if first_by.take_if(|by| clock::now() >= *by).is_some() {
                        tracing::warn!(
                            "no picture for {FIRST_PICTURE:?}: the app draws nothing yet, or the monitor is off; the \
                            client waits for it"
                        );
                    }
                    continue;
                }
                Wait::Closed => return Pause::Closed,
            };
            first_by = None;
            if let Some(vigil) = &mut vigil {
                vigil.seen(clock::now());
            }
            if self.shared.stopping.load(Ordering::Acquire) {
                return Pause::Stopping;
            }
            let taken = clock::now();
            let shape = (frame.width, frame.height);
            if self.reported.is_none_or(|at| taken.since(at) >= REPORT_PERIOD) || shape != self.shape {
                self.reported = Some(taken);
                self.report(source);
            }
            self.see(shape);
            let Some(converted) = self.convert(frame, taken) else { continue };
            if self.out.send(converted).is_err() {
                return Pause::Stopping;
            }
        }
    }

    /// Says where pictures of this size lie in the stream's, once.
    fn see(&mut self, shape: (u32, u32)) {
        if std::mem::replace(&mut self.shape, shape) == shape {
            return;
        }
        let view = View::new(shape, self.size);
        if std::mem::replace(&mut self.view, view) != view {
            (self.shared.news)(News::Viewed(view));
        }
    }

    fn report(&self, source: &dyn FrameSource) {
        let report = source.report();
        self.shared.intake.lock().report = report;
    }

    fn convert(&mut self, frame: Frame, taken: Timestamp) -> Option<Converted> {
        let captured = frame.captured;
        let frame = if (frame.width, frame.height) == self.size { frame } else { self.fit(frame)? };
        let mut planes = self.pool.acquire();
        if let Err(error) = self.converter.convert(&frame, &mut planes) {
            self.misfit(&error);
            return None;
        }
        // Back to the compositor at once: some have two buffers only.
        drop(frame);
        let done = clock::now();
        Some(Converted {
            planes: Arc::new(planes),
            captured,
            wait: taken.since(captured),
            convert: done.since(taken),
            done,
            generation: self.generation,
        })
    }

    /// The picture in the stream's size.
    fn fit(&mut self, frame: Frame) -> Option<Frame> {
        match self.scaler.fit(&frame) {
            Ok(fitted) => {
                self.shared.scaled.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut self.said_scaled, true) {
                    tracing::info!(
                        picture = ?(frame.width, frame.height), stream = ?self.size,
                        "pictures have another size than the stream and are fitted into it"
                    );
                }
                Some(fitted)
            }
            Err(error) => {
                self.misfit(&error);
                None
            }
        }
    }

    fn misfit(&self, error: &dyn std::fmt::Display) {
        if self.shared.misfits.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(%error, "a picture cannot be converted and is left out; further ones are only counted");
        }
    }
}
