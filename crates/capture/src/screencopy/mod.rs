//! Capture of an output by the compositor's own copy protocols, into shared memory: `ext-image-copy-capture-v1`, else
//! `wlr-screencopy`.
//!
//! One thread owns the connection. A request for the next picture lies with the compositor at all times while active, so a
//! change is copied in the very refresh that shows it, and a screen that does not change costs nothing.

mod bell;
mod events;
mod pixels;
mod pool;
mod state;
#[allow(unsafe_code, reason = "memory shared with the compositor is mapped here and only here")]
mod sys;

use crate::CaptureError;
use bell::Bell;
use events::Synced;
use lumen_media::slot::{Receiver, Sender};
use lumen_media::{Frame, FrameSource, SourceReport, Timestamp, WaylandTarget, clock, slot};
use lumen_wayland::Turned;
use state::{State, Way};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use wayland_client::{DispatchError, EventQueue};

/// Longest time from the connection to the negotiated format.
const LIMIT: Duration = Duration::from_secs(5);

/// Which copy protocol may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CopyProtocol {
    /// `ext-image-copy-capture-v1` where it is there, else `wlr-screencopy`.
    #[default]
    Best,
    /// `wlr-screencopy`, to see it work where the other would be taken.
    WlrScreencopy,
}

/// Opens the pictures of the output; inactive until [`FrameSource::set_active`].
///
/// # Errors
/// [`CaptureError::NoTarget`] when nobody listens at the socket or the output is not there, [`CaptureError::NoProtocol`],
/// [`CaptureError::NoFormat`], and [`CaptureError::Timeout`] when the compositor does not answer.
pub fn open_screencopy(
    target: &WaylandTarget,
    protocol: CopyProtocol,
) -> Result<Box<dyn FrameSource>, CaptureError> {
    let system = |what| move |source| CaptureError::System { what, source };
    let control = Arc::new(Control {
        bell: Arc::new(Bell::new().map_err(system("creating an event descriptor"))?),
        stop: AtomicBool::new(false),
        activity: AtomicU64::new(0),
    });
    let report = Arc::new(Mutex::new(SourceReport::default()));
    let (queue, state) = connect(target, protocol, &control, &report)?;
    let (sender, receiver) = slot::slot();
    let thread = std::thread::Builder::new()
        .name("lumen-screencopy".to_owned())
        .spawn({
            let control = control.clone();
            move || run(queue, state, &control, &sender)
        })
        .map_err(system("starting the capture thread"))?;
    Ok(Box::new(Screencopy { receiver, control, report, thread: Some(thread) }))
}

/// Connects, finds the output and learns what buffers the compositor wants.
fn connect(
    target: &WaylandTarget,
    protocol: CopyProtocol,
    control: &Control,
    report: &Arc<Mutex<SourceReport>>,
) -> Result<(EventQueue<State>, State), CaptureError> {
    let deadline = clock::now() + LIMIT;
    let socket = target.socket.display();
    let connection = lumen_wayland::open(&target.socket)
        .map_err(|error| CaptureError::NoTarget(format!("{socket}: {error}")))?;
    let mut queue = connection.new_event_queue();
    let handle = queue.handle();
    let mut state = State::new(handle.clone(), control.bell.clone(), report.clone());
    connection.display().get_registry(&handle, ());
    // The first answer comes after the globals, the second after what the bound ones said at once.
    for _ in 0..2 {
        let synced = Arc::new(Synced::default());
        connection.display().sync(&handle, synced.clone());
        wait(&mut queue, &mut state, deadline, "its globals", |_| synced.0.load(Ordering::Relaxed))?;
    }
    let found = state.outputs.iter().find(|output| output.name.as_deref() == Some(target.output.as_str()));
    let Some(found) = found else {
        let there: Vec<_> = state.outputs.iter().filter_map(|output| output.name.as_deref()).collect();
        let there = there.join(", ");
        return Err(CaptureError::NoTarget(format!(
            "no output {} at {socket}, only [{there}]",
            target.output
        )));
    };
    state.target = Some(found.global);
    let fallback = choose_way(&mut state, protocol)?;
    {
        let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
        report.path = if matches!(state.way, Some(Way::Ext { .. })) {
            "ext-image-copy-capture"
        } else {
            "wlr-screencopy"
        };
        report.fallback = fallback.to_owned();
    }
    state.negotiate();
    wait(&mut queue, &mut state, deadline, "the format of its pictures", |state| {
        state.layout.is_some() || state.ended.is_some()
    })?;
    state.end_negotiation();
    if let Some(formats) = state.no_format {
        return Err(CaptureError::NoFormat(formats));
    }
    if let Some(why) = state.ended {
        return Err(CaptureError::NoTarget(why));
    }
    tracing::info!(
        output = target.output,
        protocol = report.lock().unwrap_or_else(PoisonError::into_inner).path,
        fallback,
        "screen copy opened"
    );
    Ok((queue, state))
}

/// Chooses the protocol and says why it is not the best one.
fn choose_way(state: &mut State, protocol: CopyProtocol) -> Result<&'static str, CaptureError> {
    let ext = state.ext.take().zip(state.sources.take());
    let fallback = match (&ext, protocol) {
        (Some(_), CopyProtocol::Best) => "",
        (Some(_), CopyProtocol::WlrScreencopy) => "wlr-screencopy was asked for",
        (None, _) => "the compositor has no ext-image-copy-capture-v1",
    };
    state.way = Some(match (ext, state.wlr.take(), protocol) {
        (Some((manager, sources)), _, CopyProtocol::Best) => Way::Ext { manager, sources, session: None },
        (_, Some(manager), _) => Way::Wlr { manager },
        _ => return Err(CaptureError::NoProtocol),
    });
    Ok(fallback)
}

fn wait(
    queue: &mut EventQueue<State>,
    state: &mut State,
    deadline: Timestamp,
    waited_for: &str,
    done: impl Fn(&State) -> bool,
) -> Result<(), CaptureError> {
    match lumen_wayland::until(queue, state, deadline, done) {
        Ok(true) => Ok(()),
        Ok(false) => Err(CaptureError::Timeout { waited_for: waited_for.to_owned(), limit: LIMIT }),
        Err(error) => Err(CaptureError::NoTarget(format!("the compositor hung up: {error}"))),
    }
}

/// What the owner tells the thread.
struct Control {
    bell: Arc<Bell>,
    stop: AtomicBool,
    /// Counts activations and deactivations: active while odd. A quick off and on is thus seen as a new activation.
    activity: AtomicU64,
}

fn run(mut queue: EventQueue<State>, mut state: State, control: &Control, sender: &Sender<Frame>) {
    if let Err(error) = serve(&mut queue, &mut state, control, sender) {
        tracing::info!(%error, "the compositor is gone, the capture ends");
        return;
    }
    if let Some(why) = &state.ended {
        tracing::info!(why, "the capture ends");
    }
    // Sent off before the connection closes, so that nothing is copied for nobody.
    drop(state);
    let _ = queue.flush();
}

fn serve(
    queue: &mut EventQueue<State>,
    state: &mut State,
    control: &Control,
    sender: &Sender<Frame>,
) -> Result<(), DispatchError> {
    let mut seen = 0;
    while !control.stop.load(Ordering::SeqCst) && state.ended.is_none() {
        let activity = control.activity.load(Ordering::SeqCst);
        if activity != seen {
            seen = activity;
            state.set_active(activity % 2 == 1);
        }
        state.advance(clock::now());
        if state.finished.is_some() {
            // The next request goes out before this picture is handed over, which may take a conversion.
            let _ = queue.flush();
            state.deliver(clock::now(), sender);
        }
        let deadline = state.deadline();
        if lumen_wayland::turn(queue, state, Some((*control.bell).as_fd()), deadline)? == Turned::Woken {
            control.bell.silence();
        }
    }
    Ok(())
}

/// The owner's side.
struct Screencopy {
    receiver: Receiver<Frame>,
    control: Arc<Control>,
    report: Arc<Mutex<SourceReport>>,
    thread: Option<JoinHandle<()>>,
}

impl FrameSource for Screencopy {
    fn frames(&self) -> &Receiver<Frame> {
        &self.receiver
    }

    fn set_active(&mut self, active: bool) {
        let is_active = self.control.activity.load(Ordering::SeqCst) % 2 == 1;
        if active != is_active {
            // What was copied before the pause is not the current picture.
            drop(self.receiver.try_take());
            self.control.activity.fetch_add(1, Ordering::SeqCst);
            self.control.bell.ring();
        }
    }

    fn report(&self) -> SourceReport {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Screencopy {
    fn drop(&mut self) {
        self.control.stop.store(true, Ordering::SeqCst);
        self.control.bell.ring();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the capture thread panicked");
        }
    }
}
