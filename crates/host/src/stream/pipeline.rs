//! The frame's path inside the host: newest picture → planes → access unit, on two named threads.
//!
//! ```text
//! FrameSource ─► lumen-convert ─► slot (newest wins) ─► lumen-encode ─► bounded queue ─► sender
//! ```
//! While one picture is encoded the next is converted. Pictures are dropped before the encoder, by the slots, never after
//! it. A repeat is encoded from the retained planes; no compositor buffer is held longer than its conversion takes.
//!
//! A source that closes does not end the pipeline: it says so ([`News::Lost`]), repeats its last picture, and goes on with
//! the source that [`Pipeline::replace`] brings (`docs/design/outputs.md`).

use super::PictureSettings;
use super::cadence::Cadence;
use super::convert::{Convert, Converted, Intake};
use lumen_encode::{EncodeError, Encoder, EncoderConfig, Planes, View};
use lumen_gamestream::control::Termination;
use lumen_media::display::SourceReport;
use lumen_media::slot::{Wait, Waker, slot};
use lumen_media::stats::StageTimes;
use lumen_media::{AccessUnit, FrameKind, FrameSource, Timestamp, clock};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// What clients show when the host itself failed: an error of ours, in the number range of the protocol's codes.
pub const HOST_FAILURE: Termination = Termination::Other(0x800e_9400);
/// Below this a bitrate is not reduced any further, in bits per second.
const LEAST_BITRATE: u64 = 200_000;

/// What a pipeline tells its owner, from its own threads. Must not wait.
#[derive(Debug)]
pub enum News {
    /// The source closed; the last picture is repeated until there is another one.
    Lost {
        /// Its desktop hangs, and has shown nothing for a while already.
        hung: bool,
    },
    /// The first access unit of a source was handed on.
    Showing,
    /// Pictures of another size come, which lie elsewhere in the stream's.
    Viewed(View),
    /// The pipeline cannot go on. Said once, and last.
    Ended(PipelineEnd),
}

/// What the threads of a pipeline share with its owner.
pub(super) struct Shared {
    pub stopping: AtomicBool,
    idr_wanted: AtomicBool,
    /// Bits per second that the encoder shall have.
    bitrate: AtomicU64,
    open: Mutex<bool>,
    opened: Condvar,
    /// Pictures that could not be converted and so were left out.
    pub misfits: AtomicU64,
    /// Pictures of another size than the stream's.
    pub scaled: AtomicU64,
    pub intake: Intake,
    pub news: Box<dyn Fn(News) + Send + Sync>,
}

/// Asks a pipeline for key frames and smaller ones, from other threads.
#[derive(Clone)]
pub struct IdrHandle {
    shared: Arc<Shared>,
    waker: Waker<Converted>,
}

impl IdrHandle {
    /// The next access unit, made within one frame interval, is an IDR. Requests that come before it are one.
    pub fn request(&self) {
        self.shared.idr_wanted.store(true, Ordering::Release);
        self.waker.nudge();
    }

    /// A frame could not be sent because of its size: takes a quarter off the bitrate and starts over with an IDR.
    pub fn reduce_bitrate(&self) {
        let reduced = self.shared.bitrate.load(Ordering::Acquire) * 3 / 4;
        self.shared.bitrate.store(reduced.max(LEAST_BITRATE), Ordering::Release);
        self.request();
    }
}

/// Why a pipeline ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum PipelineEnd {
    /// The converting thread is gone.
    #[error("the converter's thread panicked")]
    ConverterGone,
    /// The sending thread is gone.
    #[error("the sender is gone")]
    SenderGone,
    /// The encoding thread panicked.
    #[error("the encoder's thread panicked")]
    Panicked,
    /// The encoder failed, also after it was opened again.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl PipelineEnd {
    /// What to tell the client.
    pub fn termination(&self) -> Termination {
        match self {
            Self::Encode(_) => Termination::FrameConversion,
            // No code of the protocol stands for these; the client shows the number.
            Self::ConverterGone | Self::SenderGone | Self::Panicked => HOST_FAILURE,
        }
    }
}

/// Handle to the two threads. Dropping it without [`Pipeline::stop`] stops them too, but loses the source.
pub struct Pipeline {
    shared: Arc<Shared>,
    slot_waker: Waker<Converted>,
    convert: Option<JoinHandle<Option<Box<dyn FrameSource>>>>,
    encode: Option<JoinHandle<()>>,
}

impl Pipeline {
    /// Activates `source`, opens the encoder and starts converting; encoding waits for [`Pipeline::open`]. Access units
    /// go to `queue`; when its receiver is gone the pipeline ends.
    ///
    /// # Errors
    /// [`EncodeError`] when the encoder cannot be opened; the source is given back.
    pub fn start(
        mut source: Box<dyn FrameSource>,
        config: &EncoderConfig,
        settings: PictureSettings,
        queue: SyncSender<AccessUnit>,
        news: impl Fn(News) + Send + Sync + 'static,
    ) -> Result<Self, (EncodeError, Box<dyn FrameSource>)> {
        let encoder = match Encoder::open(config) {
            Ok(encoder) => encoder,
            Err(error) => return Err((error, source)),
        };
        source.set_active(true);
        let shared = Arc::new(Shared {
            stopping: AtomicBool::default(),
            idr_wanted: AtomicBool::default(),
            bitrate: AtomicU64::new(config.bitrate_bps),
            open: Mutex::default(),
            opened: Condvar::default(),
            misfits: AtomicU64::default(),
            scaled: AtomicU64::default(),
            intake: Intake::new(source.as_ref()),
            news: Box::new(news),
        });
        let (sender, receiver) = slot();
        let slot_waker = receiver.waker();
        let convert = Convert::new(shared.clone(), config, settings.answer, sender);
        let interval = Duration::from_nanos(1_000_000_000_000 / u64::from(config.refresh_mhz.max(1)));
        let encode = Encode {
            shared: shared.clone(),
            encoder,
            cadence: Cadence::new(interval, settings.idle_fps),
            interval,
            mean_encode: Duration::ZERO,
            slow: false,
            bitrate: config.bitrate_bps,
            pictures: receiver,
            queue,
            last_timestamp: Timestamp::default(),
            showing: None,
        };
        let convert = spawn("lumen-convert", move || convert.run(source));
        let ending = shared.clone();
        let encode = spawn("lumen-encode", move || {
            // What a panic leaves behind is dropped whole; the client must not look at a frozen picture.
            let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| encode.run()));
            if let Err(end) = run.unwrap_or(Err(PipelineEnd::Panicked)) {
                (ending.news)(News::Ended(end));
            }
        });
        Ok(Self { shared, slot_waker, convert: Some(convert), encode: Some(encode) })
    }

    /// Lets access units through; the first is an IDR.
    pub fn open(&self) {
        *self.shared.open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.opened.notify_all();
    }

    /// A handle to ask for an IDR from other threads.
    pub fn idr_handle(&self) -> IdrHandle {
        IdrHandle { shared: self.shared.clone(), waker: self.slot_waker.clone() }
    }

    /// Pictures left out because they could not be converted.
    pub fn misfits(&self) -> u64 {
        self.shared.misfits.load(Ordering::Relaxed)
    }

    /// Pictures that were fitted into the stream's size.
    pub fn scaled(&self) -> u64 {
        self.shared.scaled.load(Ordering::Relaxed)
    }

    /// What the source says about itself, at most a second old while pictures come.
    pub fn report(&self) -> SourceReport {
        self.shared.intake.report()
    }

    /// Whether the source closed and none has replaced it.
    pub fn is_lost(&self) -> bool {
        self.shared.intake.is_lost()
    }

    /// Activates `source` and goes on with it, an IDR first, after [`News::Lost`].
    ///
    /// # Errors
    /// Gives it back, inactive, when no source is missing.
    pub fn replace(&self, source: Box<dyn FrameSource>) -> Result<(), Box<dyn FrameSource>> {
        self.shared.intake.replace(source)
    }

    /// Ends both threads and hands the source back, deactivated; `None` if it closed, or its thread panicked.
    pub fn stop(mut self) -> Option<Box<dyn FrameSource>> {
        self.end()
    }

    fn end(&mut self) -> Option<Box<dyn FrameSource>> {
        self.shared.stopping.store(true, Ordering::Release);
        self.open();
        self.shared.intake.stop();
        self.slot_waker.nudge();
        let source = self.convert.take().and_then(|thread| thread.join().ok()).flatten();
        if let Some(thread) = self.encode.take() {
            let _ = thread.join();
        }
        source.map(|mut source| {
            source.set_active(false);
            source
        })
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.end();
    }
}

fn spawn<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .expect("a machine that cannot start a thread cannot stream")
}

struct Encode {
    shared: Arc<Shared>,
    encoder: Encoder,
    cadence: Cadence,
    interval: Duration,
    mean_encode: Duration,
    slow: bool,
    /// What the encoder has now, in bits per second.
    bitrate: u64,
    pictures: lumen_media::slot::Receiver<Converted>,
    queue: SyncSender<AccessUnit>,
    last_timestamp: Timestamp,
    /// Number of the source of which a picture was handed on.
    showing: Option<u64>,
}

impl Encode {
    fn run(mut self) -> Result<(), PipelineEnd> {
        self.wait_until_open();
        let mut retained: Option<Arc<Planes>> = None;
        let mut last_unit: Option<Timestamp> = None;
        loop {
            // A request is served at the next slot of the asked rate: a flood of them costs no more than a moving picture.
            let idr_due = last_unit
                .filter(|_| self.shared.idr_wanted.load(Ordering::Acquire))
                .map(|last| last + self.interval);
            let waited = match (self.cadence.next_repeat(), idr_due) {
                (Some(repeat), Some(idr)) => self.pictures.wait(Some(repeat.min(idr))),
                (repeat, _) => self.pictures.wait(repeat),
            };
            if self.shared.stopping.load(Ordering::Acquire) {
                return Ok(());
            }
            let now = clock::now();
            let (planes, captured, stages, generation) = match waited {
                Wait::Value(picture) => {
                    self.cadence.sent_new(now);
                    let stages = StageTimes {
                        wait: picture.wait,
                        convert: picture.convert,
                        queue: now.since(picture.done),
                        ..StageTimes::default()
                    };
                    retained = Some(picture.planes.clone());
                    (picture.planes, picture.captured, stages, Some(picture.generation))
                }
                // The request that woke us is looked at above. Without a picture the first one is an IDR anyway.
                Wait::Nudged => continue,
                Wait::Deadline => {
                    let Some(planes) = retained.clone() else { continue };
                    self.cadence.sent_repeat(now);
                    (planes, now, StageTimes::default(), self.showing)
                }
                Wait::Closed => return Err(PipelineEnd::ConverterGone),
            };
            let first = generation != self.showing;
            let idr = self.shared.idr_wanted.swap(false, Ordering::AcqRel) || first;
            let unit = self.encode(&planes, captured, stages, idr, now)?;
            last_unit = Some(now);
            if self.queue.send(unit).is_err() {
                let stopping = self.shared.stopping.load(Ordering::Acquire);
                return if stopping { Ok(()) } else { Err(PipelineEnd::SenderGone) };
            }
            if first {
                self.showing = generation;
                (self.shared.news)(News::Showing);
            }
        }
    }

    /// Says once when the machine cannot keep up with what the client asked for.
    fn note_speed(&mut self, encode: Duration) {
        // A mean over about a second; one slow picture is no news.
        self.mean_encode = (self.mean_encode * 59 + encode) / 60;
        if self.mean_encode > self.interval && !self.slow {
            self.slow = true;
            tracing::warn!(
                encoding = ?self.mean_encode, period = ?self.interval,
                "this machine encodes slower than the client asked for; ask for a smaller picture or a lower rate there"
            );
        }
    }

    fn wait_until_open(&self) {
        let mut open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        while !*open {
            open = self.shared.opened.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn encode(
        &mut self,
        planes: &Arc<Planes>,
        captured: Timestamp,
        mut stages: StageTimes,
        idr: bool,
        started: Timestamp,
    ) -> Result<AccessUnit, EncodeError> {
        let bitrate = self.shared.bitrate.load(Ordering::Acquire);
        if bitrate != self.bitrate {
            self.bitrate = bitrate;
            match self.encoder.set_bitrate(bitrate) {
                Ok(()) => tracing::info!(bitrate, "bitrate changed"),
                Err(error) => tracing::warn!(%error, bitrate, "the bitrate stays as it is"),
            }
        }
        let frame = match self.encoder.encode(planes, idr) {
            Ok(frame) => frame,
            Err(error) => {
                tracing::warn!(%error, "the encoder failed and is opened again");
                self.encoder = Encoder::open(&self.encoder.config().clone())?;
                self.encoder.encode(planes, true)?
            }
        };
        stages.encode = clock::now().since(started);
        self.note_speed(stages.encode);
        // A repeat may have gone out between a picture's composition and its turn; time never runs backwards.
        self.last_timestamp = self.last_timestamp.max(captured);
        Ok(AccessUnit {
            data: frame.data,
            kind: if frame.idr { FrameKind::Idr } else { FrameKind::Predicted },
            captured: self.last_timestamp,
            stages,
        })
    }
}
