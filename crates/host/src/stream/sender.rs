//! The sending thread of a stream: access units in, paced packets out.

use crate::stream::stats::StreamStats;
use lumen_gamestream::video::{FrameMeta, FrameType, Packetizer, ShardBatch};
use lumen_media::priority::{Priority, raise};
use lumen_media::{AccessUnit, FrameKind, clock};
use lumen_net::Path;
use lumen_net::sender::{Destination, FrameSender};
use std::num::NonZeroU64;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Where the client listens, as its pings say; it may change at any time.
#[derive(Clone, Default)]
pub struct Route(Arc<Mutex<Option<Path>>>);

impl Route {
    /// The newest place; `None` before the first ping.
    pub fn current(&self) -> Option<Path> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A ping came from `path`. True if that is news.
    pub fn learn(&self, path: Path) -> bool {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *current != Some(path);
        *current = Some(path);
        news
    }
}

/// Starts the thread. It ends when the queue's other end is gone. `too_large` is told when a frame cannot be sent and the
/// next one has to be a smaller key frame.
pub fn spawn(
    queue: Receiver<AccessUnit>,
    mut packetizer: Packetizer,
    mut sender: FrameSender,
    route: Route,
    stats: Arc<StreamStats>,
    too_large: impl Fn() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("lumen-send".into()).spawn(move || {
        raise(Priority::High);
        // The default slack of 50 µs would be a good part of the gap between two groups of packets.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1_000));
        let mut batch = ShardBatch::new();
        let mut oversized = 0u64;
        for unit in queue {
            // The stream starts when its first ping is known, so a route is always there by now.
            let Some(path) = route.current() else { continue };
            let started = clock::now();
            packetizer.set_fec_percent(stats.fec_percent(started));
            // In tenths of a millisecond; 0 would mean "not measured".
            let latency =
                (started.since(unit.captured).as_micros() / 100).clamp(1, u128::from(u16::MAX)) as u16;
            let meta = FrameMeta {
                kind: match unit.kind {
                    FrameKind::Idr => FrameType::Idr,
                    FrameKind::Predicted => FrameType::Predicted,
                    FrameKind::AfterInvalidation => FrameType::AfterInvalidation,
                },
                rtp_timestamp: unit.captured.rtp_90khz(),
                host_latency: latency,
                ltr: false,
            };
            let info = match packetizer.packetize(meta, &unit.data, &mut batch) {
                Ok(info) => info,
                Err(error) => {
                    oversized += 1;
                    if oversized.is_power_of_two() {
                        tracing::warn!(%error, oversized, "a frame was left out; the bitrate is reduced");
                    }
                    too_large();
                    continue;
                }
            };
            let packetized = clock::now();
            let destination = Destination { path, packet_bytes: batch.segment_size() };
            let report = sender.send_frame(batch.bytes(), &destination);
            stats.sent(&unit, &info, packetized.since(started), &report);
        }
    })
}
