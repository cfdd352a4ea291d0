//! One capture on its own thread: the loop, the stream and what happens on it. Every call into PipeWire is made here.

use super::NEGOTIATED_WITHIN;
use super::frames::{Mailbox, Note};
use super::negotiate::{Agreement, FormatSet, Offer, describe};
use super::pictures::Pictures;
use super::pod::Object;
use super::sys::{BufferPtr, Buffers, Events, Memory, listen};
use super::watch::Watch;
use crate::{CaptureConfig, CaptureError};
use libspa::support::system::IoFlags;
use libspa::sys as spa;
use libspa::utils::Direction;
use lumen_media::slot::Sender;
use lumen_media::{Frame, NodeTarget, PipeWireTarget, SourceReport, Timestamp, clock};
use lumen_pipewire::Entered;
use pipewire::context::ContextRc;
use pipewire::core::CoreRc;
use pipewire::loop_::Timeout;
use pipewire::main_loop::MainLoopRc;
use pipewire::properties::PropertiesBox;
use pipewire::stream::{StreamFlags, StreamRc, StreamState};
use std::cell::{Cell, RefCell};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// A node that a compositor has named is known to the daemon; this is for one that comes at the same moment.
const APPEARS_WITHIN: Duration = Duration::from_millis(500);

/// A producer's formats were asked for before the stream was connected; this is for an answer that comes after its failure.
const TOLD_WITHIN: Duration = Duration::from_millis(300);

/// How long a daemon may take to say that there is no common format, before what is known about the producer counts.
const JUDGED_AFTER: Duration = Duration::from_secs(2);

/// How long pictures still come when nobody watches: a client that comes back at once finds them flowing.
const GRACE: Duration = Duration::from_secs(3);
/// The same for a capture that was never watched: its client is still connecting, maybe over a slow line.
const FIRST_USE: Duration = Duration::from_secs(30);

/// What a capture is opened with.
pub(crate) struct Request {
    pub(crate) target: PipeWireTarget,
    pub(crate) offer: Offer,
    pub(crate) config: CaptureConfig,
}

/// The ends that the thread holds.
pub(crate) struct Ends {
    pub(crate) frames: Sender<Frame>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) report: Arc<Mutex<SourceReport>>,
    pub(crate) ready: mpsc::Sender<Result<(), CaptureError>>,
}

/// Runs a capture until its owner or the other side ends it.
pub(crate) fn run(request: Request, ends: Ends) {
    let ready = ends.ready.clone();
    if let Err(error) = capture(request, ends) {
        // Nobody listens any more when the owner gave up waiting.
        let _ = ready.send(Err(error));
    }
}

fn capture(mut request: Request, ends: Ends) -> Result<(), CaptureError> {
    // Declared first, released last: when everything else is torn down.
    let mut _tear_down = None;
    let set_up = lumen_pipewire::set_up();
    let main_loop = MainLoopRc::new(None).map_err(library("the loop"))?;
    let entered = Entered::new(main_loop.loop_());
    let context = ContextRc::new(&main_loop, None).map_err(library("the context"))?;
    let core = connect(&context, &mut request)?;
    let stream = StreamRc::new(core.clone(), "lumen-capture", properties(&request.target))
        .map_err(library("the stream"))?;
    let mailbox = ends.mailbox.clone();
    let session = Rc::new(Session::new(&request, ends, stream.clone()));
    let _bell = main_loop.loop_().add_io(mailbox.bell().as_raw_fd(), IoFlags::IN, |_| {});
    let _watch = Watch::new(&core, &session, request.target.node).map_err(library("the registry"))?;
    let _stream_listener = listen(&stream, session.clone()).map_err(library("the stream's events"))?;
    session.connect()?;
    session.judged.set(Some(clock::now() + JUDGED_AFTER));
    drop(set_up);

    session.tick(clock::now());
    while !session.ended.get() {
        let timeout = match session.due.get() {
            // The loop counts milliseconds; waking too early would spin.
            Some(due) => Timeout::Finite(due.since(clock::now()) + Duration::from_millis(1)),
            None => Timeout::Infinite,
        };
        entered.turn(timeout);
        session.read_notes(&mailbox);
        session.tick(clock::now());
    }
    // What the other side still sends finds nobody; the stream goes with its owners.
    _tear_down = Some(lumen_pipewire::set_up());
    let _ = stream.disconnect();
    Ok(())
}

fn library(what: &'static str) -> impl Fn(pipewire::Error) -> CaptureError {
    move |error| CaptureError::NoDaemon(format!("{what}: {error}"))
}

fn connect(context: &ContextRc, request: &mut Request) -> Result<CoreRc, CaptureError> {
    if let Some(fd) = request.target.remote_fd.take() {
        return context.connect_fd_rc(fd, None).map_err(library("the portal's connection"));
    }
    lumen_pipewire::connect(context, request.config.runtime_dir.as_deref()).map_err(CaptureError::NoDaemon)
}

fn properties(target: &PipeWireTarget) -> PropertiesBox {
    let mut properties = PropertiesBox::new();
    for (key, value) in [
        ("media.type", "Video"),
        ("media.category", "Capture"),
        ("media.role", "Screen"),
        ("node.name", "lumen-capture"),
        ("node.description", "Lumen"),
        // An orphan that the session manager links to something else can stop the whole daemon's negotiation.
        ("node.dont-reconnect", "true"),
        ("node.dont-fallback", "true"),
        ("node.dont-move", "true"),
        ("state.restore-target", "false"),
    ] {
        properties.insert(key, value);
    }
    // Session managers match this against serials, and the connect call's target against ids.
    if let NodeTarget::Serial(serial) = target.node {
        properties.insert("target.object", serial.to_string());
    }
    properties
}

/// All that the events share; everything happens on the loop's thread.
pub(crate) struct Session {
    stream: StreamRc,
    state: RefCell<State>,
    ready: mpsc::Sender<Result<(), CaptureError>>,
    /// Global id of the producer's node, once seen.
    node: Cell<Option<u32>>,
    /// When somebody has to look again.
    due: Cell<Option<Timestamp>>,
    /// Why the stream failed, and until when the producer's formats are waited for.
    failed: RefCell<Option<(String, Timestamp)>>,
    /// When a producer without a common format is given up: newer daemons say so, older ones say nothing.
    judged: Cell<Option<Timestamp>>,
    /// Until when a node that is not there may come.
    missing: Cell<Option<Timestamp>>,
    target: NodeTarget,
    /// The producer is let go of while nobody watches. Not by a pause: the portal of wlroots then sometimes never
    /// sends again, since a buffer on its way at that moment is lost to it.
    asleep: Cell<bool>,
    /// When to let go of it.
    sleep_at: Cell<Option<Timestamp>>,
    /// Somebody has watched already.
    was_wanted: Cell<bool>,
    /// Until when there has to be a format again after that.
    awake_by: Cell<Option<Timestamp>>,
    negotiated: Cell<bool>,
    ended: Cell<bool>,
}

struct State {
    offer: Offer,
    cursor: bool,
    agreement: Option<Agreement>,
    buffers: Buffers,
    pictures: Pictures,
    /// Graphics memory could not be read: offer shared memory only from now on.
    shared_only: bool,
    /// The formats that the producer has, as far as they were told.
    produced: Vec<Object>,
}

impl Session {
    fn new(request: &Request, ends: Ends, stream: StreamRc) -> Self {
        let pictures = Pictures::new(ends.frames, ends.mailbox, ends.report, request.target.cursor_metadata);
        Self {
            stream,
            state: RefCell::new(State {
                offer: request.offer.clone(),
                cursor: request.target.cursor_metadata,
                agreement: None,
                buffers: Buffers::default(),
                pictures,
                shared_only: false,
                produced: Vec::new(),
            }),
            ready: ends.ready,
            node: Cell::new(None),
            due: Cell::new(None),
            failed: RefCell::new(None),
            judged: Cell::new(None),
            missing: Cell::new(None),
            target: request.target.node,
            asleep: Cell::new(false),
            sleep_at: Cell::new(None),
            was_wanted: Cell::new(false),
            awake_by: Cell::new(None),
            negotiated: Cell::new(false),
            ended: Cell::new(false),
        }
    }

    fn connect(&self) -> Result<(), CaptureError> {
        let id = match self.target {
            NodeTarget::Id(id) => Some(id),
            NodeTarget::Serial(_) => None,
        };
        let offered = self.state.borrow().offer.objects();
        let bytes: Vec<_> = offered.iter().map(Object::to_bytes).collect();
        let mut pods: Vec<_> = bytes.iter().filter_map(|bytes| libspa::pod::Pod::from_bytes(bytes)).collect();
        // Without `MAP_BUFFERS`: a mapping of the library's would go with the buffer, while a frame is still read.
        let flags = StreamFlags::AUTOCONNECT | StreamFlags::DONT_RECONNECT;
        self.stream
            .connect(Direction::Input, id, flags, &mut pods)
            .map_err(|error| CaptureError::NoTarget(error.to_string()))
    }

    /// Ends the capture; the first cause is the one that is told.
    pub(crate) fn end(&self, cause: CaptureError) {
        if self.ended.replace(true) {
            return;
        }
        tracing::info!(%cause, "a PipeWire capture ends");
        let _ = self.ready.send(Err(cause));
    }

    /// The target is there. Returns whether that is news.
    pub(crate) fn node_appeared(&self, id: u32) -> bool {
        self.node.replace(Some(id)).is_none()
    }

    /// An object is gone; without the target nothing comes any more.
    pub(crate) fn node_removed(&self, id: u32) {
        if self.node.get() == Some(id) {
            self.end(CaptureError::NoTarget(format!("node {id} was removed")));
        }
    }

    /// One of the formats that the target has.
    pub(crate) fn producer_offers(&self, format: Object) {
        tracing::debug!(?format, "the producer offers");
        self.state.borrow_mut().produced.push(format);
    }

    /// The daemon has told about everything that was there.
    pub(crate) fn everything_listed(&self) {
        if self.node.get().is_none() && !self.negotiated.get() {
            let until = clock::now() + APPEARS_WITHIN;
            self.missing.set(Some(until));
            self.due.set(Some(until));
        }
    }

    /// The stream failed. What the producer has is part of the cause, and may still be on its way.
    fn fail(&self, message: String) {
        let unknown = self.state.borrow().produced.is_empty();
        if self.negotiated.get() || !unknown {
            return self.end(self.explain(message));
        }
        let until = clock::now() + TOLD_WITHIN;
        // The first cause is the one that is told.
        self.failed.borrow_mut().get_or_insert((message, until));
        self.due.set(Some(until));
    }

    /// The producer's formats, when none of them is one of ours.
    fn nothing_in_common(&self) -> Option<String> {
        let state = self.state.borrow();
        if state.produced.is_empty() || state.produced.iter().any(|produced| state.offer.accepts(produced)) {
            return None;
        }
        Some(state.produced.iter().map(describe).collect::<Vec<_>>().join("; "))
    }

    /// Why the stream failed. The session's words differ from version to version; what the producer has does not.
    fn explain(&self, message: String) -> CaptureError {
        match self.nothing_in_common() {
            Some(formats) => CaptureError::NoFormat(format!("it has {formats} ({message})")),
            None => CaptureError::NoTarget(message),
        }
    }

    fn read_notes(&self, mailbox: &Mailbox) {
        for note in mailbox.collect() {
            match note {
                Note::Release(id) => {
                    let state = &mut *self.state.borrow_mut();
                    state.pictures.release(id, &mut state.buffers, &self.stream);
                }
                Note::Active(active) => self.set_wanted(active),
                Note::Quit => self.ended.set(true),
            }
        }
    }

    fn set_wanted(&self, wanted: bool) {
        {
            let state = &mut *self.state.borrow_mut();
            state.pictures.set_wanted(wanted, &mut state.buffers, &self.stream, clock::now());
        }
        self.sleep_at.set(None);
        self.was_wanted.set(self.was_wanted.get() || wanted);
        if wanted && self.asleep.replace(false) {
            self.state.borrow().pictures.sleeps(false);
            self.awake_by.set(Some(clock::now() + NEGOTIATED_WITHIN));
            if let Err(cause) = self.connect() {
                self.end(cause);
            }
        }
    }

    /// Lets go of the producer when nobody has watched for a while. It runs until the first picture is there.
    fn fall_asleep(&self, now: Timestamp) {
        let idle = {
            let pictures = &self.state.borrow().pictures;
            !pictures.is_wanted() && pictures.has_kept()
        };
        // One that was never wanted was just opened for a client that is on its way.
        let grace = if self.was_wanted.get() { GRACE } else { FIRST_USE };
        if !idle || self.asleep.get() {
            return;
        }
        let Some(at) = self.sleep_at.get() else { return self.sleep_at.set(Some(now + grace)) };
        if now < at {
            return;
        }
        self.sleep_at.set(None);
        self.asleep.set(true);
        self.state.borrow().pictures.sleeps(true);
        // Nothing is borrowed: its events come before it returns.
        if let Err(error) = self.stream.disconnect() {
            tracing::warn!(%error, "PipeWire does not let go of a producer");
        }
    }

    /// What is due by time, and what an event could not do while it was handled.
    fn tick(&self, now: Timestamp) {
        if self.missing.get().is_some_and(|until| now >= until) && !self.negotiated.get() {
            self.missing.set(None);
            if self.node.get().is_none() {
                return self.end(CaptureError::NoTarget("no such PipeWire node".to_owned()));
            }
        }
        let told = !self.state.borrow().produced.is_empty();
        if let Some((message, _)) = self.failed.borrow_mut().take_if(|(_, until)| told || now >= *until) {
            return self.end(self.explain(message));
        }
        if self.judged.get().is_some_and(|at| self.negotiated.get() || now >= at) {
            self.judged.set(None);
            if let Some(formats) = self.nothing_in_common().filter(|_| !self.negotiated.get()) {
                return self.end(CaptureError::NoFormat(format!("it has {formats}")));
            }
        }
        if self.awake_by.get().is_some_and(|until| now >= until) {
            return self.end(CaptureError::Timeout {
                waited_for: "a format after a pause".into(),
                limit: NEGOTIATED_WITHIN,
            });
        }
        let (kept_due, fall_back) = {
            let state = &mut *self.state.borrow_mut();
            (state.pictures.tick(now), std::mem::take(&mut state.shared_only))
        };
        if fall_back {
            self.offer_shared_memory();
        }
        self.fall_asleep(now);
        let failed = self.failed.borrow().as_ref().map(|(_, until)| *until);
        let times = [
            kept_due,
            self.judged.get(),
            self.missing.get(),
            failed,
            self.sleep_at.get(),
            self.awake_by.get(),
        ];
        self.due.set(times.into_iter().flatten().min());
    }

    /// Negotiates again without graphics memory, on the live stream.
    fn offer_shared_memory(&self) {
        let offered = {
            let mut state = self.state.borrow_mut();
            state.offer.graphics = FormatSet::default();
            state.offer.objects()
        };
        self.update(&offered);
    }

    fn update(&self, objects: &[Object]) {
        let bytes: Vec<_> = objects.iter().map(Object::to_bytes).collect();
        let mut pods: Vec<_> = bytes.iter().filter_map(|bytes| libspa::pod::Pod::from_bytes(bytes)).collect();
        if let Err(error) = self.stream.update_params(&mut pods) {
            self.end(CaptureError::NoFormat(error.to_string()));
        }
    }

    fn format_changed(&self, bytes: &[u8]) {
        let agreement = match Agreement::read(bytes) {
            Ok(agreement) => agreement,
            Err(cause) => return self.end(CaptureError::NoFormat(cause.to_owned())),
        };
        let params = {
            let state = &mut *self.state.borrow_mut();
            state.buffers.next_generation();
            state.agreement = Some(agreement);
            state.pictures.agree(agreement, &mut state.buffers, &self.stream);
            agreement.buffers(state.cursor)
        };
        self.negotiated.set(true);
        self.awake_by.set(None);
        tracing::info!(format = %agreement, "PipeWire pictures are agreed on");
        self.update(&params);
        let _ = self.ready.send(Ok(()));
    }
}

impl Events for Session {
    fn state(&self, state: StreamState) {
        tracing::debug!(?state, "PipeWire stream");
        match state {
            StreamState::Error(message) => self.fail(message),
            StreamState::Unconnected if self.asleep.get() => {}
            // What older daemons do instead of an error.
            StreamState::Unconnected => self.fail("the stream was disconnected".to_owned()),
            StreamState::Connecting | StreamState::Paused | StreamState::Streaming => {}
        }
    }

    fn parameter(&self, id: u32, pod: Option<&[u8]>) {
        if id != spa::SPA_PARAM_Format {
            return;
        }
        match pod {
            Some(bytes) => self.format_changed(bytes),
            None => self.state.borrow_mut().agreement = None,
        }
    }

    fn added(&self, buffer: BufferPtr) {
        let state = &mut *self.state.borrow_mut();
        match state.buffers.add(buffer) {
            Ok(memory) => state.pictures.memory_is(memory),
            Err(failure) => {
                let graphics = failure.memory == Memory::DmaBuf;
                if graphics && !state.offer.graphics.0.is_empty() && !state.shared_only {
                    tracing::warn!(error = %failure.error, "graphics memory cannot be mapped, falling back to shared memory");
                    state.pictures.fell_back(format!("dmabuf: {}", failure.error));
                    state.shared_only = true;
                } else if !graphics {
                    tracing::warn!(error = %failure.error, "a PipeWire buffer cannot be mapped");
                }
            }
        }
    }

    fn removed(&self, buffer: BufferPtr) {
        self.state.borrow_mut().buffers.remove(buffer);
    }

    fn process(&self) {
        let state = &mut *self.state.borrow_mut();
        if state.agreement.is_some() {
            state.pictures.take_newest(&mut state.buffers, &self.stream, clock::now());
        }
    }
}
