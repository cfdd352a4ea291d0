//! The frame's path inside the host: newest picture → planes → access unit, on two named threads.
//!
//! ```text
//! FrameSource ─► lumen-convert ─► slot (newest wins) ─► lumen-encode ─► bounded queue ─► sender
//! ```
//! While one picture is encoded the next is converted. Pictures are dropped before the encoder, by the slots, never after
//! it. A repeat is encoded from the retained planes; no compositor buffer is held longer than its conversion takes.

use super::cadence::Cadence;
use lumen_encode::{Converter, EncodeError, Encoder, EncoderConfig, Planes, PlanesPool};
use lumen_media::slot::{Wait, Waker, slot};
use lumen_media::stats::StageTimes;
use lumen_media::{AccessUnit, Frame, FrameKind, FrameSource, Timestamp, clock};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// A picture in the encoder's planes.
struct Converted {
    planes: Arc<Planes>,
    captured: Timestamp,
    wait: std::time::Duration,
    convert: std::time::Duration,
    done: Timestamp,
}

/// What the threads of a pipeline share with its owner.
#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    idr_wanted: AtomicBool,
    /// New bits per second, 0 for no change.
    bitrate: AtomicU64,
    open: Mutex<bool>,
    opened: Condvar,
    /// Pictures that were not of the stream's size and so were left out.
    misfits: AtomicU64,
}

/// Asks a pipeline for a key frame.
#[derive(Clone)]
pub struct IdrHandle {
    shared: Arc<Shared>,
    waker: Waker<Converted>,
}

impl IdrHandle {
    /// The next access unit, made at once, is an IDR. Requests that come before it are one.
    pub fn request(&self) {
        self.shared.idr_wanted.store(true, Ordering::Release);
        self.waker.nudge();
    }
}

/// Why a pipeline ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum PipelineEnd {
    /// The output is gone.
    #[error("the output is gone")]
    SourceClosed,
    /// The encoder failed, also after it was opened again.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// Handle to the two threads. Dropping it without [`Pipeline::stop`] stops them too, but loses the source.
pub struct Pipeline {
    shared: Arc<Shared>,
    source_waker: Waker<Frame>,
    slot_waker: Waker<Converted>,
    convert: Option<JoinHandle<Box<dyn FrameSource>>>,
    encode: Option<JoinHandle<()>>,
}

impl Pipeline {
    /// Activates `source`, opens the encoder and starts converting; encoding waits for [`Pipeline::open`]. Access units
    /// go to `queue`; when its receiver is gone the pipeline ends. `ended` is called once if the pipeline ends by itself.
    ///
    /// # Errors
    /// [`EncodeError`] when the encoder cannot be opened; the source is given back.
    pub fn start(
        mut source: Box<dyn FrameSource>,
        config: &EncoderConfig,
        idle_fps: u32,
        queue: SyncSender<AccessUnit>,
        ended: impl FnOnce(PipelineEnd) + Send + 'static,
    ) -> Result<Self, (EncodeError, Box<dyn FrameSource>)> {
        let encoder = match Encoder::open(config) {
            Ok(encoder) => encoder,
            Err(error) => return Err((error, source)),
        };
        let shared = Arc::new(Shared::default());
        let (sender, receiver) = slot();
        let slot_waker = receiver.waker();
        source.set_active(true);
        let source_waker = source.waker();

        let convert = Convert {
            shared: shared.clone(),
            converter: Converter::new(config.width, config.height, config.colour),
            size: (config.width, config.height),
            pool: PlanesPool::new(config.width, config.height),
            out: sender,
        };
        let interval =
            std::time::Duration::from_nanos(1_000_000_000_000 / u64::from(config.refresh_mhz.max(1)));
        let encode = Encode {
            shared: shared.clone(),
            encoder,
            cadence: Cadence::new(interval, idle_fps),
            pictures: receiver,
            queue,
            last_timestamp: Timestamp::default(),
        };
        let convert = spawn("lumen-convert", move || convert.run(source));
        let encode = spawn("lumen-encode", move || {
            if let Err(end) = encode.run() {
                ended(end);
            }
        });
        Ok(Self { shared, source_waker, slot_waker, convert: Some(convert), encode: Some(encode) })
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

    /// Changes the encoder's bitrate from the next picture on.
    pub fn set_bitrate(&self, bits_per_second: u64) {
        self.shared.bitrate.store(bits_per_second, Ordering::Release);
    }

    /// Pictures left out because they were not of the stream's size.
    pub fn misfits(&self) -> u64 {
        self.shared.misfits.load(Ordering::Relaxed)
    }

    /// Ends both threads and hands the source back, deactivated; `None` if its thread panicked.
    pub fn stop(mut self) -> Option<Box<dyn FrameSource>> {
        self.end()
    }

    fn end(&mut self) -> Option<Box<dyn FrameSource>> {
        self.shared.stopping.store(true, Ordering::Release);
        self.open();
        self.source_waker.nudge();
        self.slot_waker.nudge();
        let source = self.convert.take().and_then(|thread| thread.join().ok());
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

struct Convert {
    shared: Arc<Shared>,
    converter: Converter,
    size: (u32, u32),
    pool: PlanesPool,
    out: lumen_media::slot::Sender<Converted>,
}

impl Convert {
    fn run(self, mut source: Box<dyn FrameSource>) -> Box<dyn FrameSource> {
        loop {
            let frame = match source.wait_latest(None) {
                Wait::Value(frame) => frame,
                Wait::Nudged | Wait::Deadline if self.shared.stopping.load(Ordering::Acquire) => {
                    return source;
                }
                Wait::Nudged | Wait::Deadline => continue,
                Wait::Closed => return source,
            };
            if self.shared.stopping.load(Ordering::Acquire) {
                return source;
            }
            let taken = clock::now();
            if (frame.width, frame.height) != self.size {
                if self.shared.misfits.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::warn!(
                        picture = ?(frame.width, frame.height), stream = ?self.size,
                        "a picture has another size than the stream and is left out"
                    );
                }
                continue;
            }
            let mut planes = self.pool.acquire();
            if let Err(error) = self.converter.convert(&frame, &mut planes) {
                if self.shared.misfits.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::warn!(%error, "a picture cannot be converted and is left out");
                }
                continue;
            }
            let captured = frame.captured;
            // Back to the compositor at once: some have two buffers only.
            drop(frame);
            let done = clock::now();
            let converted = Converted {
                planes: Arc::new(planes),
                captured,
                wait: taken.since(captured),
                convert: done.since(taken),
                done,
            };
            if self.out.send(converted).is_err() {
                return source;
            }
        }
    }
}

struct Encode {
    shared: Arc<Shared>,
    encoder: Encoder,
    cadence: Cadence,
    pictures: lumen_media::slot::Receiver<Converted>,
    queue: SyncSender<AccessUnit>,
    last_timestamp: Timestamp,
}

impl Encode {
    fn run(mut self) -> Result<(), PipelineEnd> {
        self.wait_until_open();
        let mut retained: Option<Arc<Planes>> = None;
        loop {
            let waited = self.pictures.wait(self.cadence.next_repeat());
            if self.shared.stopping.load(Ordering::Acquire) {
                return Ok(());
            }
            let now = clock::now();
            let idr = self.shared.idr_wanted.swap(false, Ordering::AcqRel);
            let (planes, captured, stages) = match waited {
                Wait::Value(picture) => {
                    self.cadence.sent_new(now);
                    let stages = StageTimes {
                        wait: picture.wait,
                        convert: picture.convert,
                        queue: now.since(picture.done),
                        ..StageTimes::default()
                    };
                    retained = Some(picture.planes.clone());
                    (picture.planes, picture.captured, stages)
                }
                Wait::Deadline => {
                    let Some(planes) = retained.clone() else { continue };
                    self.cadence.sent_repeat(now);
                    (planes, now, StageTimes::default())
                }
                Wait::Nudged => {
                    let Some(planes) = retained.clone().filter(|_| idr) else {
                        // Nothing to show yet: the first picture is an IDR anyway.
                        continue;
                    };
                    self.cadence.sent_repeat(now);
                    (planes, now, StageTimes::default())
                }
                Wait::Closed => return Err(PipelineEnd::SourceClosed),
            };
            let unit = self.encode(&planes, captured, stages, idr, now)?;
            if self.queue.send(unit).is_err() {
                return Ok(());
            }
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
        let bitrate = self.shared.bitrate.swap(0, Ordering::AcqRel);
        if bitrate != 0
            && let Err(error) = self.encoder.set_bitrate(bitrate)
        {
            tracing::warn!(%error, bitrate, "the bitrate stays as it is");
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
