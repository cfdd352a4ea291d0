//! Pictures of a PipeWire video node.
//!
//! Each capture has a thread of its own that runs PipeWire's loop and is the only one to call into the stream. What it
//! finds newest lies in a slot; a frame that shows a producer's buffer gives it back by a note to that thread. What is
//! offered and agreed on ([`negotiate`], [`pod`], [`format`]), where a picture lies and how it is read ([`picture`])
//! are plain functions of bytes.

mod cursor;
mod format;
mod frames;
mod negotiate;
mod picture;
mod pictures;
mod pod;
mod stream;
#[allow(unsafe_code, reason = "speaks to libpipewire and maps memory of other processes")]
mod sys;
mod watch;

use crate::{CaptureConfig, CaptureError};
use frames::{Mailbox, Note};
use lumen_media::slot::{self, Receiver};
use lumen_media::{Frame, FrameSource, Mode, PipeWireTarget, SourceReport};
use negotiate::{FormatSet, Offer};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long the daemon, the session manager and the producer together may take to agree on a format.
const NEGOTIATED_WITHIN: Duration = Duration::from_secs(5);

/// A capture of a PipeWire node.
pub(crate) struct PipeWireSource {
    frames: Receiver<Frame>,
    mailbox: Arc<Mailbox>,
    report: Arc<Mutex<SourceReport>>,
    thread: Option<JoinHandle<()>>,
}

impl PipeWireSource {
    /// Connects to a node; returns when a format is agreed on.
    ///
    /// # Errors
    /// [`CaptureError`] with cause and next step, within five seconds.
    pub(crate) fn open(
        target: PipeWireTarget,
        mode: Mode,
        config: &CaptureConfig,
    ) -> Result<Self, CaptureError> {
        let graphics = if config.dmabuf { FormatSet::mappable() } else { FormatSet::default() };
        let size = target.size.unwrap_or((mode.width(), mode.height()));
        let offer = Offer { graphics, size, rate: target.rate, fixed: config.fixed_pod };
        if config.fixed_pod {
            tracing::info!("one fixed format is offered to the producer, no choices (capture.fixed_pod)");
        }
        let (sender, frames) = slot::slot();
        let system = |what| move |source| CaptureError::System { what, source };
        let mailbox = Arc::new(Mailbox::new().map_err(system("create an event descriptor"))?);
        let report = Arc::new(Mutex::new(SourceReport { path: "pipewire", ..SourceReport::default() }));
        let (ready, answer) = mpsc::channel();
        let ends = stream::Ends { frames: sender, mailbox: mailbox.clone(), report: report.clone(), ready };
        let request = stream::Request { target, offer, config: config.clone() };
        let thread = std::thread::Builder::new()
            .name("lumen-pipewire".into())
            .spawn(move || stream::run(request, ends))
            .map_err(system("start a thread"))?;
        // Dropping the source ends the thread, also when it is too late.
        let source = Self { frames, mailbox, report, thread: Some(thread) };
        match answer.recv_timeout(NEGOTIATED_WITHIN) {
            Ok(result) => result.map(|()| source),
            Err(mpsc::RecvTimeoutError::Timeout) => Err(CaptureError::Timeout {
                waited_for: "a format; is a session manager such as WirePlumber running?".into(),
                limit: NEGOTIATED_WITHIN,
            }),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                Err(CaptureError::NoDaemon("the capture ended before it began".into()))
            }
        }
    }
}

/// Some seconds after nobody watches any more the producer is let go of.
impl FrameSource for PipeWireSource {
    fn frames(&self) -> &Receiver<Frame> {
        &self.frames
    }

    fn set_active(&mut self, active: bool) {
        // A picture from before the pause would be stale.
        drop(self.frames.try_take());
        self.mailbox.post(Note::Active(active));
    }

    fn report(&self) -> SourceReport {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for PipeWireSource {
    fn drop(&mut self) {
        self.mailbox.post(Note::Quit);
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by its thread.
            let _ = thread.join();
        }
    }
}
