//! The paced sending of one video stream.
//!
//! [`FrameSender`] sends one frame's packets from the calling thread; [`VideoSender`] is a thread with a bounded queue
//! of encoded frames in front of one. Nothing is dropped after the encoder: a full queue makes [`VideoSender::send`]
//! wait, which holds the encoder back, which drops pictures before it.

mod pacer;

pub use pacer::{Pace, Pacer, PacerConfig};

use crate::path::Path;
use crate::udp::UdpPort;
use lumen_media::{Timestamp, clock};
use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Encoded frames that wait for the sender. One is being sent, one more may be ready; a longer queue is only latency.
const QUEUE: usize = 1;

/// Counters of one stream, readable while it runs.
#[derive(Debug, Default)]
pub struct SendStats {
    frames: AtomicU64,
    packets: AtomicU64,
    bytes: AtomicU64,
    lost: AtomicU64,
    calls: AtomicU64,
    backlogged: AtomicU64,
}

/// A copy of [`SendStats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendCounts {
    /// Frames sent.
    pub frames: u64,
    /// Packets handed to the kernel.
    pub packets: u64,
    /// Their bytes, without IP and UDP headers.
    pub bytes: u64,
    /// Packets that the system did not take.
    pub lost: u64,
    /// System calls used.
    pub calls: u64,
    /// Frames that were ready more than a frame interval before the pacing let them start.
    pub backlogged: u64,
}

impl SendStats {
    /// All counters as they are now.
    pub fn counts(&self) -> SendCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SendCounts {
            frames: read(&self.frames),
            packets: read(&self.packets),
            bytes: read(&self.bytes),
            lost: read(&self.lost),
            calls: read(&self.calls),
            backlogged: read(&self.backlogged),
        }
    }
}

/// What became of one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendReport {
    /// When its packets were ready.
    pub ready: Timestamp,
    /// When the last of them had gone to the kernel.
    pub done: Timestamp,
    /// How many there were.
    pub packets: usize,
    /// How many the system did not take.
    pub lost: usize,
}

/// Where the packets of a frame go, and how the buffer is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The client, and the address of ours that it pinged.
    pub path: Path,
    /// Bytes of a packet; all are equal (protocol text §6.2).
    pub packet_bytes: usize,
}

/// Sends frames on a port, paced, from the thread that calls it.
pub struct FrameSender {
    port: Arc<UdpPort>,
    pacer: Pacer,
    interval: Duration,
    stats: Arc<SendStats>,
}

impl FrameSender {
    /// A sender for frames that come every `interval`.
    pub fn new(port: Arc<UdpPort>, config: PacerConfig, interval: Duration) -> Self {
        Self { port, pacer: Pacer::new(config), interval, stats: Arc::default() }
    }

    /// The counters.
    pub fn stats(&self) -> Arc<SendStats> {
        self.stats.clone()
    }

    /// Sends `packets`, one after another in one buffer, and returns when the last one has left. Errors of the system
    /// cost packets, which are counted and repaired by the client's means; they do not end the stream.
    pub fn send_frame(&mut self, packets: &[u8], destination: &Destination) -> SendReport {
        let bytes = destination.packet_bytes.max(1);
        let count = packets.len().div_ceil(bytes);
        let ready = clock::now();
        let mut report = SendReport { ready, done: ready, packets: count, lost: 0 };
        if self.pacer.backlog(ready) > self.interval {
            self.stats.backlogged.fetch_add(1, Ordering::Relaxed);
        }
        let mut pace = self.pacer.begin(count, bytes, self.interval, ready);
        for group in packets.chunks(bytes * pace.group) {
            sleep_until(self.pacer.due(&pace));
            let run = self.port.send_run(&destination.path, group, bytes);
            self.pacer.sent(&mut pace, group.len().div_ceil(bytes), bytes, clock::now());
            report.lost += run.lost;
            self.stats.calls.fetch_add(run.calls as u64, Ordering::Relaxed);
        }
        report.done = clock::now();
        self.stats.frames.fetch_add(1, Ordering::Relaxed);
        self.stats.packets.fetch_add((count - report.lost) as u64, Ordering::Relaxed);
        self.stats.bytes.fetch_add(packets.len() as u64, Ordering::Relaxed);
        self.stats.lost.fetch_add(report.lost as u64, Ordering::Relaxed);
        report
    }
}

/// Turns what the encoder made into packets, on the sender's thread.
pub trait Packetize<T>: Send + 'static {
    /// Writes the packets of `frame`, all of equal length, into `packets`, which comes empty. `None` when nobody waits
    /// for them yet (no ping seen, not played); nothing is sent then.
    fn packetize(&mut self, frame: T, packets: &mut Vec<u8>) -> Option<Destination>;

    /// The packets of the last frame have left.
    fn sent(&mut self, _report: &SendReport) {}
}

impl<T, F> Packetize<T> for F
where
    F: FnMut(T, &mut Vec<u8>) -> Option<Destination> + Send + 'static,
{
    fn packetize(&mut self, frame: T, packets: &mut Vec<u8>) -> Option<Destination> {
        self(frame, packets)
    }
}

/// The stream has ended; the frame comes back.
#[derive(Debug, PartialEq, Eq)]
pub struct SenderClosed<T>(pub T);

/// A thread that packetizes and sends frames. Dropping it sends what is queued and waits for the thread.
pub struct VideoSender<T> {
    queue: Option<SyncSender<T>>,
    thread: Option<JoinHandle<()>>,
    stats: Arc<SendStats>,
}

impl<T: Send + 'static> VideoSender<T> {
    /// Starts a thread called `name`.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn spawn(name: &str, mut sender: FrameSender, mut packetize: impl Packetize<T>) -> io::Result<Self> {
        let (queue, frames) = sync_channel::<T>(QUEUE);
        let stats = sender.stats();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // The default slack of 50 µs would be a fifth of the gap between groups.
            if let Err(error) = rustix::thread::set_current_timer_slack(NonZeroU64::new(1_000)) {
                tracing::debug!(%error, "cannot make timers exact");
            }
            let mut packets = Vec::new();
            for frame in frames {
                packets.clear();
                if let Some(destination) = packetize.packetize(frame, &mut packets) {
                    let report = sender.send_frame(&packets, &destination);
                    packetize.sent(&report);
                }
            }
        })?;
        Ok(Self { queue: Some(queue), thread: Some(thread), stats })
    }

    /// Queues a frame; waits while one is queued already.
    ///
    /// # Errors
    /// Gives the frame back when the thread is gone.
    pub fn send(&self, frame: T) -> Result<(), SenderClosed<T>> {
        match &self.queue {
            Some(queue) => queue.send(frame).map_err(|refused| SenderClosed(refused.0)),
            None => Err(SenderClosed(frame)),
        }
    }

    /// The counters.
    pub fn stats(&self) -> &SendStats {
        &self.stats
    }
}

impl<T> Drop for VideoSender<T> {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("a video sender thread panicked");
        }
    }
}

/// Waits until `deadline`, to some microseconds.
fn sleep_until(deadline: Timestamp) {
    use rustix::thread::{ClockId, clock_nanosleep_absolute};
    let nanos = deadline.as_nanos();
    let request = rustix::time::Timespec {
        // Nanoseconds since boot divided by 10⁹ fit.
        tv_sec: (nanos / 1_000_000_000) as i64,
        tv_nsec: (nanos % 1_000_000_000) as i64,
    };
    while clock::now() < deadline {
        // Ends early only for a signal; then again.
        if let Err(error) = clock_nanosleep_absolute(ClockId::Monotonic, &request)
            && error != rustix::io::Errno::INTR
        {
            tracing::debug!(%error, "cannot sleep");
            return;
        }
    }
}

#[cfg(test)]
mod tests;
