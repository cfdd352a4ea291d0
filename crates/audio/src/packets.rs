//! The thread that turns captured sound into Opus packets, each in its slot.

use crate::encoder::Encoder;
use crate::gain;
use crate::inbox::{Blocks, Inbox};
use crate::jitter::Jitter;
use crate::slots::Slots;
use crate::sys::OpusError;
use lumen_gamestream::audio::{OpusLayout, PacketDuration};
use lumen_media::priority::{Priority, raise};
use lumen_media::stats::{Percentiles, Window};
use lumen_media::{Timestamp, clock};
use rustix::thread::{ClockId, Timespec, clock_nanosleep_absolute};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How sound becomes packets.
#[derive(Clone, Copy, Debug)]
pub struct PacketSettings {
    /// Channels, streams, bitrate.
    pub layout: OpusLayout,
    /// Time that a packet covers.
    pub duration: PacketDuration,
    /// Linear factor on every sample.
    pub gain: f32,
    /// Longest packet in bytes.
    pub limit: usize,
}

/// Why no packets can be made.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// The encoder does not start.
    #[error("the sound encoder does not start: {0}")]
    Encoder(#[from] OpusError),
    /// The resampler does not start.
    #[error("the resampler does not start: {0}")]
    Resampler(#[from] rubato::ResamplerConstructionError),
    /// The system refused a thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// What a stream's sound did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PacketReport {
    /// Opus packets made.
    pub packets: u64,
    /// Of these, packets of nothing but silence because there was no sound to take.
    pub silent: u64,
    /// Times that sound ran out in the midst of it.
    pub gaps: u64,
    /// Milliseconds of silence in those gaps.
    pub missing_ms: f64,
    /// Milliseconds of sound that were cut away because too much had piled up.
    pub cut_ms: f64,
    /// Slots that passed without a packet, because this machine did not run the thread for long.
    pub given_up: u64,
    /// How much faster the source's clock is than this machine's, in millionths.
    pub drift_ppm: f64,
    /// Samples of each channel that PipeWire hands over at once.
    pub quantum: usize,
    /// From the arrival of a packet's oldest sample to the moment that the packet leaves, in microseconds.
    pub latency: Percentiles,
    /// From a packet's slot to the moment that it leaves, in microseconds.
    pub lateness: Percentiles,
    /// Work on a packet: resampling, encoding and sending, in microseconds.
    pub work: Percentiles,
}

#[derive(Default)]
struct Figures {
    report: PacketReport,
    latency: Window,
    lateness: Window,
    work: Window,
}

/// Makes packets until dropped.
pub struct Packets {
    stop: Arc<AtomicBool>,
    figures: Arc<Mutex<Figures>>,
    thread: Option<JoinHandle<()>>,
}

impl Packets {
    /// Starts the thread; what waits in the inbox is old and is dropped. `send` gets each packet in its slot.
    pub(crate) fn start(
        settings: PacketSettings,
        inbox: Arc<Inbox>,
        send: impl FnMut(&[u8]) + Send + 'static,
    ) -> Result<Self, PacketError> {
        let channels = usize::from(settings.layout.channels);
        let frames = settings.duration.samples();
        let mut work = Work {
            encoder: Encoder::new(&settings.layout, settings.duration, settings.limit)?,
            jitter: Jitter::new(channels, frames)?,
            samples: vec![0.0; frames * channels],
            blocks: Blocks::default(),
            gain: settings.gain,
            failed: false,
            inbox,
        };
        let stop = Arc::new(AtomicBool::new(false));
        let figures = Arc::new(Mutex::new(Figures::default()));
        let (stopped, filled) = (stop.clone(), figures.clone());
        let period = Duration::from_millis(settings.duration.millis().into());
        let mut send = send;
        let thread = std::thread::Builder::new().name("lumen-audio".into()).spawn(move || {
            raise(Priority::RealTime);
            // The default slack of 50 µs is no harm here, but costs nothing to be rid of.
            let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1_000));
            work.inbox.drain();
            let mut slots = Slots::new(clock::now() + period, period);
            while !stopped.load(Ordering::Relaxed) {
                let due = slots.due();
                sleep_until(due);
                let now = clock::now();
                let latency = work.packet(now, &mut send);
                slots.sent(now);
                note(&filled, &work.jitter, &slots, (latency, now.since(due), clock::now().since(now)));
            }
        })?;
        Ok(Self { stop, figures, thread: Some(thread) })
    }

    /// What it did so far.
    pub fn report(&self) -> PacketReport {
        let figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        PacketReport {
            latency: figures.latency.percentiles(),
            lateness: figures.lateness.percentiles(),
            work: figures.work.percentiles(),
            ..figures.report
        }
    }
}

impl Drop for Packets {
    fn drop(&mut self) {
        // Seen within a packet's time.
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread works with.
struct Work {
    inbox: Arc<Inbox>,
    blocks: Blocks,
    jitter: Jitter,
    samples: Vec<f32>,
    gain: f32,
    encoder: Encoder,
    failed: bool,
}

impl Work {
    /// Makes and sends one packet. Answers the age of its oldest sample, if it has sound.
    fn packet(&mut self, now: Timestamp, send: &mut impl FnMut(&[u8])) -> Option<Duration> {
        self.inbox.take(&mut self.blocks);
        self.jitter.push(&self.blocks);
        let latency = self.jitter.pull(now, &mut self.samples);
        gain::apply(&mut self.samples, self.gain);
        match self.encoder.encode(&self.samples) {
            Ok(packet) => send(packet),
            Err(error) if !std::mem::replace(&mut self.failed, true) => {
                tracing::warn!(%error, "a packet of sound was left out; further ones are not reported");
            }
            Err(_) => {}
        }
        latency
    }
}

fn note(
    figures: &Mutex<Figures>,
    jitter: &Jitter,
    slots: &Slots,
    (latency, lateness, work): (Option<Duration>, Duration, Duration),
) {
    let mut figures = figures.lock().unwrap_or_else(PoisonError::into_inner);
    let counts = jitter.counts();
    figures.report.packets += 1;
    figures.report.silent += u64::from(latency.is_none());
    figures.report.gaps = counts.gaps;
    figures.report.missing_ms = counts.missing as f64 / 48.0;
    figures.report.cut_ms = counts.cut as f64 / 48.0;
    figures.report.given_up = slots.given_up();
    figures.report.drift_ppm = jitter.parts_per_million();
    figures.report.quantum = jitter.quantum();
    if let Some(latency) = latency {
        figures.latency.record(latency);
    }
    figures.lateness.record(lateness);
    figures.work.record(work);
}

fn sleep_until(due: Timestamp) {
    let nanos = due.as_nanos();
    let until = Timespec {
        tv_sec: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
        tv_nsec: (nanos % 1_000_000_000) as _,
    };
    // An interrupted sleep ends early; the slot is on an absolute clock and sleeping on is right.
    while clock_nanosleep_absolute(ClockId::Monotonic, &until) == Err(rustix::io::Errno::INTR) {}
}
