//! What one stream did and how long each stage took: the same numbers for the status page, the bench and the log.

use crate::stream::parity::ParityControl;
use lumen_gamestream::video::FrameInfo;
use lumen_media::stats::Window;
use lumen_media::{AccessUnit, FrameKind, Timestamp};
use lumen_net::sender::{SendReport, SendStats};
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

#[derive(Default)]
struct Inner {
    frames: u64,
    repeats: u64,
    idrs: u64,
    bytes: u64,
    packets: u64,
    lost_packets: u64,
    idr_requests: u64,
    invalidations: u64,
    loss_reports: u64,
    blocks_recovered: u64,
    blocks_lost: u64,
    last_frame_index: u32,
    fec_percent: u8,
    wait: Window,
    convert: Window,
    queue: Window,
    encode: Window,
    packetize: Window,
    send: Window,
    total: Window,
}

/// Counters of a stream; any thread may add.
pub struct StreamStats {
    inner: Mutex<Inner>,
    sending: Arc<SendStats>,
    parity: Mutex<ParityControl>,
}

/// Microseconds of one stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// Median.
    pub p50: u32,
    /// 95 % lie below.
    pub p95: u32,
    /// 99 % lie below.
    pub p99: u32,
    /// Largest of the window.
    pub max: u32,
}

/// All counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Snapshot {
    /// Frames sent, repeats included.
    pub frames: u64,
    /// Frames that showed nothing new.
    pub repeats: u64,
    /// Frames that stand alone.
    pub idrs: u64,
    /// Encoded bytes.
    pub bytes: u64,
    /// Datagrams, parity included.
    pub packets: u64,
    /// Datagrams that the system did not take.
    pub unsent_packets: u64,
    /// Frames that were ready more than a frame interval before the pacing let them start.
    pub backlogged: u64,
    /// IDR requests of the client.
    pub idr_requests: u64,
    /// Reference invalidations asked by the client.
    pub invalidations: u64,
    /// FEC reports of the client.
    pub loss_reports: u64,
    /// FEC blocks that the client repaired.
    pub blocks_recovered: u64,
    /// FEC blocks that the client could not repair.
    pub blocks_lost: u64,
    /// Number of the newest frame.
    pub last_frame_index: u32,
    /// Parity in percent of the data, as of the newest frame.
    pub fec_percent: u8,
    /// Times per stage, in microseconds, over the last 1024 frames.
    pub stages: Stages,
}

/// One entry per stage, in the order of a frame's way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stages {
    /// Composed until taken by the converter.
    pub wait: Stage,
    /// RGB to planes.
    pub convert: Stage,
    /// Converted until taken by the encoder.
    pub queue: Stage,
    /// Planes to access unit.
    pub encode: Stage,
    /// Packets, FEC, encryption.
    pub packetize: Stage,
    /// First to last packet handed to the kernel, pacing included.
    pub send: Stage,
    /// Composed until the last packet left.
    pub total: Stage,
}

impl StreamStats {
    /// `sending` are the counters of the stream's sender, `fec_percent` is the configured share of parity.
    pub fn new(sending: Arc<SendStats>, fec_percent: u8) -> Self {
        Self { inner: Mutex::default(), sending, parity: Mutex::new(ParityControl::new(fec_percent)) }
    }

    /// Parity in percent of the data, for a frame that is sent now.
    pub fn fec_percent(&self, now: Timestamp) -> u8 {
        self.parity.lock().unwrap_or_else(PoisonError::into_inner).percent(now)
    }

    /// A frame left.
    pub fn sent(&self, unit: &AccessUnit, info: &FrameInfo, packetize: Duration, report: &SendReport) {
        let fec_percent = self.fec_percent(report.ready);
        let mut inner = self.lock();
        inner.frames += 1;
        inner.idrs += u64::from(unit.kind == FrameKind::Idr);
        inner.bytes += unit.data.len() as u64;
        inner.packets += info.packets as u64;
        inner.lost_packets += report.lost as u64;
        inner.last_frame_index = info.frame_index;
        inner.fec_percent = fec_percent;
        // A repeat has neither waited nor been converted, so it says nothing about those stages.
        if unit.stages.convert.is_zero() {
            inner.repeats += 1;
        } else {
            inner.wait.record(unit.stages.wait);
            inner.convert.record(unit.stages.convert);
            inner.queue.record(unit.stages.queue);
            inner.total.record(report.done.since(unit.captured));
        }
        inner.encode.record(unit.stages.encode);
        inner.packetize.record(packetize);
        inner.send.record(report.done.since(report.ready));
    }

    /// The client asked for an IDR.
    pub fn idr_requested(&self) {
        self.lock().idr_requests += 1;
    }

    /// The client asked not to reference certain frames.
    pub fn invalidation_requested(&self) {
        self.lock().invalidations += 1;
    }

    /// The client reported on an FEC block.
    pub fn block_reported(&self, recovered: bool, now: Timestamp) {
        let mut parity = self.parity.lock().unwrap_or_else(PoisonError::into_inner);
        if recovered {
            parity.block_repaired(now);
        } else {
            parity.block_lost(now);
        }
        drop(parity);
        let mut inner = self.lock();
        inner.loss_reports += 1;
        if recovered {
            inner.blocks_recovered += 1;
        } else {
            inner.blocks_lost += 1;
        }
    }

    /// Everything at this moment.
    pub fn snapshot(&self) -> Snapshot {
        let inner = self.lock();
        Snapshot {
            frames: inner.frames,
            repeats: inner.repeats,
            idrs: inner.idrs,
            bytes: inner.bytes,
            packets: inner.packets,
            unsent_packets: inner.lost_packets,
            backlogged: self.sending.counts().backlogged,
            idr_requests: inner.idr_requests,
            invalidations: inner.invalidations,
            loss_reports: inner.loss_reports,
            blocks_recovered: inner.blocks_recovered,
            blocks_lost: inner.blocks_lost,
            last_frame_index: inner.last_frame_index,
            fec_percent: inner.fec_percent,
            stages: Stages {
                wait: stage(&inner.wait),
                convert: stage(&inner.convert),
                queue: stage(&inner.queue),
                encode: stage(&inner.encode),
                packetize: stage(&inner.packetize),
                send: stage(&inner.send),
                total: stage(&inner.total),
            },
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stage(window: &Window) -> Stage {
    let percentiles = window.percentiles();
    Stage { p50: percentiles.p50, p95: percentiles.p95, p99: percentiles.p99, max: percentiles.max }
}
