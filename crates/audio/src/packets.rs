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

/// How much later than its slot a packet may leave for the sake of its sound. What a client keeps in store bridges about
/// as much; what it does not, it fills better than silence from here.
const PATIENCE: Duration = Duration::from_millis(25);
/// How often sound that is late is looked for.
const LOOK: Duration = Duration::from_millis(1);

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
                let times = work.turn(&mut slots, &mut send, clock::now, sleep_until);
                note(&filled, &work.jitter, &slots, times);
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
        // Seen within a packet's time, and that for which late sound is waited for.
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How a packet fared.
struct Times {
    /// Age of its oldest sample; `None` without sound.
    latency: Option<Duration>,
    /// From its slot to its leaving.
    lateness: Duration,
    work: Duration,
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
    /// Sends the next packet.
    fn turn(
        &mut self,
        slots: &mut Slots,
        send: &mut impl FnMut(&[u8]),
        clock: impl Fn() -> Timestamp,
        sleep: impl Fn(Timestamp),
    ) -> Times {
        let woken = clock();
        let waited = self.gather(slots.slot().max(woken) + PATIENCE, &clock, sleep);
        let now = clock();
        // Where all of the machine stood still, nobody made sound for the slots that passed: silence in them would only
        // come on top of the silence that the client has had.
        let late = now.since(slots.slot());
        if waited && late > PATIENCE && !self.jitter.is_short() && !self.jitter.has_backlog() {
            slots.give_up_until(now);
            self.jitter.stood_still();
        }
        let latency = self.packet(slots.slot(), now, send);
        slots.sent(now);
        if self.jitter.is_dry() {
            slots.give_up_until(now);
        }
        Times { latency, lateness: late, work: clock().since(now) }
    }

    /// Takes what has arrived. Where the packet's sound is late, waits for it, `until` then at most: a packet that leaves
    /// late is better than a hole. Whether it waited.
    fn gather(&mut self, until: Timestamp, clock: impl Fn() -> Timestamp, sleep: impl Fn(Timestamp)) -> bool {
        let mut waited = false;
        loop {
            self.inbox.take(&mut self.blocks);
            self.jitter.push(&self.blocks);
            let now = clock();
            if !self.jitter.is_short() || now >= until {
                return waited;
            }
            sleep(until.min(now + LOOK));
            waited = true;
        }
    }

    /// Makes and sends the packet of `slot`. Answers the age of its oldest sample, if it has sound.
    fn packet(&mut self, slot: Timestamp, now: Timestamp, send: &mut impl FnMut(&[u8])) -> Option<Duration> {
        let latency = self.jitter.pull(slot, now, &mut self.samples);
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

fn note(figures: &Mutex<Figures>, jitter: &Jitter, slots: &Slots, times: Times) {
    let Times { latency, lateness, work } = times;
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

#[cfg(test)]
mod tests {
    use super::*;
    use lumen_gamestream::audio::OpusLayout;
    use std::cell::Cell;

    const PERIOD: Duration = Duration::from_millis(5);

    /// A machine on which something stands still once.
    struct Machine {
        inbox: Arc<Inbox>,
        now: Cell<Timestamp>,
        /// Blocks made so far.
        made: Cell<u32>,
        /// From when on blocks come later, by how much, and how much later from then on they are made at all.
        stall: (Timestamp, Duration, Duration),
        /// The thread that makes packets stands still, too.
        whole: bool,
    }

    impl Machine {
        const START: Timestamp = Timestamp::from_nanos(1_000_000_000);

        fn sleep(&self, until: Timestamp) {
            let (from, length, lost) = self.stall;
            let mut now = self.now.get().max(until);
            if self.whole && now >= from && now < from + length {
                now = from + length;
            }
            self.now.set(now);
            loop {
                let usual = Self::START + PERIOD * self.made.get();
                let arrives = match usual < from {
                    true => usual,
                    false => (usual + lost).max(from + length),
                };
                if arrives > now {
                    return;
                }
                self.inbox.push(&[0x3f; 240 * 8], arrives);
                self.made.set(self.made.get() + 1);
            }
        }
    }

    #[derive(Debug, PartialEq)]
    struct Played {
        gaps: u64,
        given_up: u64,
        /// The latest packet, without the stall itself.
        waited: Duration,
        /// The store in milliseconds, at the end.
        stored: u64,
    }

    /// Plays two seconds, with one stall.
    fn play(length_ms: u64, lost_ms: u64, whole: bool) -> Played {
        let layout = OpusLayout::STEREO;
        let inbox = Arc::new(Inbox::new(2));
        let mut work = Work {
            encoder: Encoder::new(&layout, PacketDuration::FiveMs, 1400).expect("an encoder"),
            jitter: Jitter::new(2, 240).expect("a store"),
            samples: vec![0.0; 480],
            blocks: Blocks::default(),
            gain: 1.0,
            failed: false,
            inbox: inbox.clone(),
        };
        let ms = Duration::from_millis;
        let stall = (Machine::START + ms(501), ms(length_ms), ms(lost_ms));
        let machine = Machine { inbox, now: Cell::new(Machine::START), made: Cell::new(0), stall, whole };
        let mut slots = Slots::new(Machine::START + PERIOD, PERIOD);
        let mut waited = Duration::ZERO;
        while machine.now.get() < Machine::START + ms(2000) {
            machine.sleep(slots.due());
            let woken = machine.now.get();
            work.turn(&mut slots, &mut |_| {}, || machine.now.get(), |until| machine.sleep(until));
            waited = waited.max(machine.now.get().since(woken));
        }
        let stored = work.jitter.stored() as u64 / 48;
        let played = Played { gaps: work.jitter.counts().gaps, given_up: slots.given_up(), waited, stored };
        println!("{length_ms} ms, {lost_ms} ms lost, whole: {whole}: {played:?}");
        played
    }

    #[test]
    fn sound_that_is_a_little_late_is_waited_for() {
        let calm = play(0, 0, false);
        assert_eq!((calm.gaps, calm.given_up, calm.waited), (0, 0, Duration::ZERO), "{calm:?}");
        let late = play(18, 0, false);
        assert_eq!((late.gaps, late.given_up), (0, 0), "{late:?}");
        assert!(late.waited > Duration::ZERO && late.waited <= PATIENCE, "{late:?}");
        // More than anybody waits for; it is all there in the end, and too much of it goes.
        let very_late = play(60, 0, false);
        assert_eq!(very_late.gaps, 1, "{very_late:?}");
        assert!(very_late.waited <= PATIENCE && very_late.stored < 70, "{very_late:?}");
    }

    #[test]
    fn a_machine_that_stands_still_makes_no_hole_in_the_sound() {
        // Sound was made all the while: it is sent, all of it.
        let kept = play(70, 0, true);
        assert_eq!((kept.gaps, kept.given_up), (0, 0), "{kept:?}");
        assert!(kept.stored < 20, "{kept:?}");
        // None was made: there is none to send, and packets are soon in their slots again.
        let lost = play(70, 70, true);
        assert_eq!(lost.gaps, 0, "{lost:?}");
        assert!((10..=15).contains(&lost.given_up) && lost.stored < 20, "{lost:?}");
    }
}
