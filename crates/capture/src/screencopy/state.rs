//! What the compositor told and what was asked of it: one output, one capture under way at most.

use super::bell::Bell;
use super::pixels::{self, Packing, Raw};
use super::pool::{Layout, Lease, Pool};
use lumen_media::{Frame, SourceReport, Timestamp, slot};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use wayland_client::QueueHandle;
use wayland_client::protocol::wl_output::{Transform, WlOutput};
use wayland_client::protocol::wl_shm::{Format, WlShm};
use wayland_protocols::ext::image_capture_source::v1::client::{
    ext_image_capture_source_v1::ExtImageCaptureSourceV1,
    ext_output_image_capture_source_manager_v1::ExtOutputImageCaptureSourceManagerV1 as SourceManager,
};
use wayland_protocols::ext::image_copy_capture::v1::client::{
    ext_image_copy_capture_frame_v1::ExtImageCopyCaptureFrameV1 as ExtFrame,
    ext_image_copy_capture_manager_v1::{ExtImageCopyCaptureManagerV1 as ExtManager, Options},
    ext_image_copy_capture_session_v1::ExtImageCopyCaptureSessionV1 as ExtSession,
};
use wayland_protocols_wlr::screencopy::v1::client::{
    zwlr_screencopy_frame_v1::ZwlrScreencopyFrameV1 as WlrFrame,
    zwlr_screencopy_manager_v1::ZwlrScreencopyManagerV1 as WlrManager,
};

/// Pause after a capture that failed, times the number of failures in a row.
const PAUSE: Duration = Duration::from_millis(10);
/// Longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// A presentation time further back than this is of another clock.
const OLDEST: Duration = Duration::from_secs(1);

/// An output that the compositor announced.
pub(super) struct Output {
    /// Of the registry.
    pub global: u32,
    pub proxy: WlOutput,
    pub name: Option<String>,
    pub transform: Transform,
}

/// Which protocol copies, with its objects.
pub(super) enum Way {
    Ext { manager: ExtManager, sources: SourceManager, session: Option<Session> },
    Wlr { manager: WlrManager },
}

/// A capture session of the ext protocol. Dropping it ends it.
pub(super) struct Session {
    source: ExtImageCaptureSourceV1,
    proxy: ExtSession,
    /// Whether a capture was requested in it: the next one then waits for damage.
    used: bool,
    /// Whether the compositor said what buffers it wants.
    constrained: bool,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.proxy.destroy();
        self.source.destroy();
    }
}

/// Frame object of either protocol. Dropping it ends the capture.
pub(super) enum FrameObject {
    Ext(ExtFrame),
    Wlr(WlrFrame),
}

impl Drop for FrameObject {
    fn drop(&mut self) {
        match self {
            Self::Ext(frame) => frame.destroy(),
            Self::Wlr(frame) => frame.destroy(),
        }
    }
}

/// A capture under way.
pub(super) struct Shot {
    /// `None` once the compositor is done with it.
    pub object: Option<FrameObject>,
    /// `None` until the compositor said what it wants (wlr), or while none is free.
    pub lease: Option<Lease>,
    /// Whether the compositor named all it can do (wlr).
    pub offered: bool,
    pub transform: Transform,
    pub upside_down: bool,
    pub presented: Option<Timestamp>,
}

impl Shot {
    fn new(object: FrameObject, transform: Transform) -> Self {
        let object = Some(object);
        Self { object, lease: None, offered: false, transform, upside_down: false, presented: None }
    }
}

/// Constraints as they arrive, one event at a time.
#[derive(Default)]
pub(super) struct Offer {
    pub size: Option<(u32, u32)>,
    pub formats: Vec<Format>,
    /// Only the wlr protocol prescribes it.
    pub stride: Option<u32>,
}

/// The side of the thread that owns the connection.
pub(super) struct State {
    pub outputs: Vec<Output>,
    pub shm: Option<WlShm>,
    pub ext: Option<ExtManager>,
    pub sources: Option<SourceManager>,
    pub wlr: Option<WlrManager>,
    /// Global of the captured output.
    pub target: Option<u32>,
    pub way: Option<Way>,
    pub offer: Offer,
    pub layout: Option<Layout>,
    pub shot: Option<Shot>,
    /// Copied, not yet handed over.
    pub finished: Option<Shot>,
    /// Why nothing will come any more.
    pub ended: Option<String>,
    pub no_format: Option<String>,
    pool: Pool,
    queue: QueueHandle<State>,
    report: Arc<Mutex<SourceReport>>,
    active: bool,
    /// Whether a first picture of this activation was asked for without waiting for damage (wlr).
    first_asked: bool,
    failures: u32,
    not_before: Option<Timestamp>,
    sequence: u64,
}

impl State {
    pub fn new(queue: QueueHandle<State>, bell: Arc<Bell>, report: Arc<Mutex<SourceReport>>) -> Self {
        Self {
            outputs: Vec::new(),
            shm: None,
            ext: None,
            sources: None,
            wlr: None,
            target: None,
            way: None,
            offer: Offer::default(),
            layout: None,
            shot: None,
            finished: None,
            ended: None,
            no_format: None,
            pool: Pool::new(bell),
            queue,
            report,
            active: false,
            first_asked: false,
            failures: 0,
            not_before: None,
            sequence: 0,
        }
    }

    /// When [`State::advance`] has something to do although nothing happens.
    pub fn deadline(&self) -> Option<Timestamp> {
        // One that waits for memory has nothing under way either.
        let idle = self.shot.as_ref().is_none_or(|shot| shot.offered && shot.lease.is_none());
        self.not_before.filter(|_| self.active && idle)
    }

    fn output(&self) -> Option<&Output> {
        self.outputs.iter().find(|output| Some(output.global) == self.target)
    }

    fn say(&self, change: impl FnOnce(&mut SourceReport)) {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Begins to ask what buffers the compositor wants.
    pub fn negotiate(&mut self) {
        self.start_session();
        if matches!(self.way, Some(Way::Wlr { .. })) {
            self.begin_wlr();
        }
    }

    /// Ends the request that [`State::negotiate`] began.
    pub fn end_negotiation(&mut self) {
        self.shot = None;
    }

    fn start_session(&mut self) {
        let Some(output) = self.output().map(|output| output.proxy.clone()) else { return };
        if let Some(Way::Ext { manager, sources, session }) = &mut self.way {
            let source = sources.create_source(&output, &self.queue, ());
            let proxy = manager.create_session(&source, Options::PaintCursors, &self.queue, ());
            *session = Some(Session { source, proxy, used: false, constrained: false });
        }
    }

    /// Starts or ends capturing. Each start delivers the current picture, so it begins anew.
    pub fn set_active(&mut self, active: bool) {
        self.shot = None;
        self.finished = None;
        self.not_before = None;
        self.failures = 0;
        self.first_asked = false;
        self.active = active;
        if let Some(Way::Ext { session, .. }) = &mut self.way {
            if session.as_ref().is_some_and(|session| session.used) {
                *session = None;
            }
            if active && session.is_none() {
                self.offer = Offer::default();
                self.start_session();
            }
        }
    }

    /// Asks for the next picture if none is under way.
    pub fn advance(&mut self, now: Timestamp) {
        if !self.active || self.ended.is_some() || self.not_before.is_some_and(|then| now < then) {
            return;
        }
        self.not_before = None;
        match &self.way {
            Some(Way::Ext { .. }) if self.shot.is_none() => self.begin_ext(now),
            Some(Way::Wlr { .. }) => {
                if self.shot.is_none() {
                    self.begin_wlr();
                }
                self.copy_wlr(now);
            }
            _ => {}
        }
    }

    fn begin_ext(&mut self, now: Timestamp) {
        let constrained = matches!(&self.way, Some(Way::Ext { session: Some(it), .. }) if it.constrained);
        let Some(layout) = self.layout.filter(|_| constrained) else { return };
        let Some(lease) = self.lease(layout, now) else { return };
        let Some(Way::Ext { session: Some(session), .. }) = &mut self.way else { return };
        session.used = true;
        let frame = session.proxy.create_frame(&self.queue, ());
        frame.attach_buffer(&lease.buffer);
        frame.damage_buffer(0, 0, layout.width as i32, layout.height as i32);
        frame.capture();
        let shot = Shot::new(FrameObject::Ext(frame), Transform::Normal);
        self.shot = Some(Shot { lease: Some(lease), ..shot });
    }

    fn begin_wlr(&mut self) {
        let Some(output) = self.output() else { return };
        let Some(Way::Wlr { manager }) = &self.way else { return };
        let transform = output.transform;
        let frame = manager.capture_output(1, &output.proxy, &self.queue, ());
        self.shot = Some(Shot::new(FrameObject::Wlr(frame), transform));
    }

    fn copy_wlr(&mut self, now: Timestamp) {
        let wants_buffer = self.shot.as_ref().is_some_and(|shot| shot.offered && shot.lease.is_none());
        let Some(layout) = self.layout.filter(|_| wants_buffer) else { return };
        let Some(lease) = self.lease(layout, now) else { return };
        let Some(shot) = &mut self.shot else { return };
        if let Some(FrameObject::Wlr(frame)) = &shot.object {
            if self.first_asked {
                frame.copy_with_damage(&lease.buffer);
            } else {
                frame.copy(&lease.buffer);
            }
        }
        self.first_asked = true;
        shot.lease = Some(lease);
    }

    fn lease(&mut self, layout: Layout, now: Timestamp) -> Option<Lease> {
        let shm = self.shm.as_ref()?;
        self.pool.take(layout, shm, &self.queue).unwrap_or_else(|error| {
            self.fail(now, &format!("no memory for a picture: {error}"));
            None
        })
    }

    /// The compositor named all that it can do.
    pub fn adopt_offer(&mut self) {
        let offer = std::mem::take(&mut self.offer);
        let Some((width, height)) = offer.size.filter(|(width, height)| *width > 0 && *height > 0) else {
            return;
        };
        let Some((format, packing)) = pixels::best(&offer.formats)
            .and_then(|format| Packing::of(format).map(|packing| (format, packing)))
        else {
            let named = offer.formats.iter().map(|format| format!("{format:?}")).collect::<Vec<_>>();
            self.no_format = Some(named.join(", "));
            self.ended = Some(format!("no picture format in common: {}", named.join(", ")));
            return;
        };
        let stride = offer.stride.unwrap_or(width.saturating_mul(packing.bytes() as u32));
        let layout = Layout { width, height, stride, format, packing };
        if let Some(Way::Ext { session: Some(session), .. }) = &mut self.way {
            session.constrained = true;
        }
        if self.layout == Some(layout) {
            return;
        }
        self.layout = Some(layout);
        // A copy into a buffer of the old layout can only fail; the next one has the new.
        if self.shot.as_ref().is_some_and(|shot| shot.lease.is_some()) {
            self.shot = None;
        }
        self.not_before = None;
        let shown = format!("{format:?} {width}x{height}, shared memory");
        self.say(|report| {
            report.format.clone_from(&shown);
            report.negotiations += 1;
        });
        tracing::info!(format = shown, "screen copy negotiated");
    }

    /// The compositor finished the copy under way.
    pub fn ready(&mut self) {
        self.failures = 0;
        self.finished = self.shot.take();
        // At once: a session has one frame at a time, and the next is asked for before this one is handed over.
        if let Some(shot) = &mut self.finished {
            shot.object = None;
        }
    }

    /// The compositor could not copy.
    pub fn failed(&mut self, now: Timestamp, why: &str) {
        let stale = self.shot.take().and_then(|shot| shot.lease).map(|lease| lease.layout) != self.layout;
        if stale && self.failures == 0 {
            // The mode changed under the copy.
            self.failures = 1;
            return;
        }
        self.fail(now, why);
    }

    fn fail(&mut self, now: Timestamp, why: &str) {
        self.failures += 1;
        self.say(|report| report.dropped += 1);
        self.not_before = Some(now + (PAUSE * self.failures).min(LONGEST_PAUSE));
        if self.failures == 8 {
            tracing::warn!(why, "the compositor fails to copy its output; trying on");
        } else {
            tracing::debug!(why, self.failures, "a screen copy failed");
        }
    }

    /// Hands over what was copied.
    pub fn deliver(&mut self, now: Timestamp, sender: &slot::Sender<Frame>) {
        let Some(shot) = self.finished.take() else { return };
        let Some(lease) = shot.lease else { return };
        let layout = lease.layout;
        let raw = Raw {
            bytes: lease.bytes(),
            width: layout.width as usize,
            height: layout.height as usize,
            stride: layout.stride as usize,
            packing: layout.packing,
            transform: shot.transform,
            upside_down: shot.upside_down,
        };
        let (width, height) = raw.upright_size();
        let (stride, pixels) = if raw.is_ready() {
            (raw.stride, lease.into_picture())
        } else if let Some(picture) = raw.upright() {
            (width * 4, Arc::new(picture) as _)
        } else {
            return self.fail(now, "the compositor's stride is shorter than a row");
        };
        self.sequence += 1;
        let frame = Frame {
            width: width as u32,
            height: height as u32,
            stride,
            format: layout.packing.result(),
            captured: capture_time(shot.presented, now),
            sequence: self.sequence,
            pixels,
        };
        self.say(|report| report.arrived += 1);
        // What it replaces was never seen and gives its buffer back. A receiver that is gone ends the thread by itself.
        drop(sender.send(frame));
    }
}

/// The compositor's time of the picture if it is one of our clock, else the time of its arrival.
fn capture_time(presented: Option<Timestamp>, now: Timestamp) -> Timestamp {
    presented.filter(|then| *then <= now && now.since(*then) < OLDEST).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plausible_presentation_times_are_believed() {
        let at = |millis: u64| Timestamp::from_nanos(millis * 1_000_000);
        assert_eq!(capture_time(Some(at(4_995)), at(5_000)), at(4_995));
        for strange in [None, Some(at(0)), Some(at(4_000)), Some(at(5_001))] {
            assert_eq!(capture_time(strange, at(5_000)), at(5_000), "{strange:?}");
        }
    }
}
