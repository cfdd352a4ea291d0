//! The paced sending of one video stream.
//!
//! [`FrameSender`] sends one frame's packets, from the thread that calls it, spread over part of the frame interval.

mod pacer;

pub use pacer::{Pace, Pacer, PacerConfig};

use crate::path::Path;
use crate::udp::UdpPort;
use lumen_media::{Timestamp, clock};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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
