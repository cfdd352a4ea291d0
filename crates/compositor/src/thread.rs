//! The compositor's thread: start, loop, end.

use crate::client::{ClientState, MAX_UNREAD};
use crate::compose::{Composer, ComposerError};
use crate::input::{Inbox, Sink, way};
use crate::keyboard::{Layout, UnknownLayout};
use crate::shared::{Source, Wishes};
use crate::socket::Socket;
use crate::state::Compositor;
use lumen_media::priority::{Priority, raise};
use lumen_media::slot::{Sender, slot};
use lumen_media::{DisplayError, Frame, Mode, clock};
use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::ping::{Ping, PingSource, make_ping};
use smithay::reexports::calloop::{EventLoop, Interest, Mode as Trigger, PostAction};
use std::io;
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use wayland_server::Display;

/// A running compositor, seen from the host.
pub(crate) struct Running {
    pub(crate) socket_name: String,
    pub(crate) source: Source,
    pub(crate) sink: Sink,
    pub(crate) keepalive: Keepalive,
}

/// Stops and joins the thread when dropped.
pub(crate) struct Keepalive {
    wishes: Arc<Wishes>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Keepalive {
    fn drop(&mut self) {
        self.wishes.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the compositor's thread ended in a panic");
        }
    }
}

/// What the thread starts with.
struct Start {
    mode: Mode,
    layout: Layout,
    socket: Socket,
    listener: UnixListener,
    frames: Sender<Frame>,
    input: PingSource,
    inbox: Inbox,
    wake: Ping,
    woken: PingSource,
    wishes: Arc<Wishes>,
}

/// Why the thread did not start, or ended early.
#[derive(Debug, thiserror::Error)]
enum ThreadError {
    #[error("cannot set up the event loop: {0}")]
    Loop(#[from] smithay::reexports::calloop::Error),
    #[error("cannot watch a file descriptor: {0}")]
    Io(#[from] io::Error),
    #[error("cannot set up the Wayland display: {0}")]
    Display(String),
    #[error(transparent)]
    Composer(#[from] ComposerError),
    #[error(transparent)]
    Keyboard(#[from] UnknownLayout),
}

/// Starts a compositor with an output of `mode` and a socket in `dir`; returns when it accepts clients.
pub(crate) fn start(dir: &Path, mode: Mode, layout: &Layout) -> Result<Running, DisplayError> {
    let (socket, listener) = Socket::bind(dir)?;
    let other = |what: &str, error: io::Error| DisplayError::Other(format!("cannot {what}: {error}"));
    let (wake, woken) = make_ping().map_err(|error| other("make an eventfd", error))?;
    let (came, input) = make_ping().map_err(|error| other("make an eventfd", error))?;
    let (sink, inbox) = way(came);
    let (sender, frames) = slot();
    let wishes = Arc::new(Wishes::new(wake.clone()));
    let socket_name = socket.name().to_owned();
    let start = Start {
        mode,
        layout: layout.clone(),
        socket,
        listener,
        frames: sender,
        input,
        inbox,
        wake,
        woken,
        wishes: wishes.clone(),
    };
    let (ready, outcome) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new()
        .name("lm-compositor".to_owned())
        .spawn(move || run_guarded(start, &ready))
        .map_err(|error| other("start the compositor's thread", error))?;
    let keepalive = Keepalive { wishes: wishes.clone(), thread: Some(thread) };
    match outcome.recv() {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(DisplayError::Other(error.to_string())),
        Err(mpsc::RecvError) => {
            return Err(DisplayError::Other(
                "the compositor's thread ended at its start; see the log".to_owned(),
            ));
        }
    }
    tracing::info!(%mode, socket = socket_name, "built-in compositor started");
    Ok(Running { socket_name, source: Source { frames, wishes }, sink, keepalive })
}

fn run_guarded(start: Start, ready: &mpsc::SyncSender<Result<(), ThreadError>>) {
    // Before the programs that it shows: input and pictures go through it.
    raise(Priority::High);
    let name = start.socket.name().to_owned();
    // What a panic leaves behind is dropped whole: nothing of it is used again.
    match catch_unwind(AssertUnwindSafe(|| run(start, ready))) {
        Ok(Ok(())) => tracing::info!(socket = name, "built-in compositor stopped"),
        Ok(Err(error)) => tracing::error!(socket = name, %error, "built-in compositor failed"),
        Err(_) => tracing::error!(socket = name, "built-in compositor panicked; its output is gone"),
    }
}

fn run(start: Start, ready: &mpsc::SyncSender<Result<(), ThreadError>>) -> Result<(), ThreadError> {
    let mut output = match set_up(start) {
        Ok(output) => output,
        Err(error) => {
            // The one who waits reports it.
            drop(ready.send(Err(error)));
            return Ok(());
        }
    };
    drop(ready.send(Ok(())));
    output.run()
}

/// Everything of the thread. Fields are dropped in order: clients go before the socket.
struct OutputThread {
    state: Compositor,
    display: Display<Compositor>,
    event_loop: EventLoop<'static, Compositor>,
    wishes: Arc<Wishes>,
    _socket: Socket,
}

fn set_up(start: Start) -> Result<OutputThread, ThreadError> {
    let event_loop: EventLoop<'static, Compositor> = EventLoop::try_new()?;
    let mut display: Display<Compositor> =
        Display::new().map_err(|error| ThreadError::Display(error.to_string()))?;
    let mut handle = display.handle();
    handle.set_default_max_buffer_size(MAX_UNREAD);
    let composer = Composer::new(start.mode, start.frames, start.wake)?;
    let state = Compositor::new(
        handle.clone(),
        start.mode,
        composer,
        start.wishes.clone(),
        start.inbox,
        &start.layout,
    )
    .map_err(|_| start.layout.unknown())?;

    let poll = display.backend().poll_fd().try_clone_to_owned()?;
    let sources = event_loop.handle();
    let insert = |error: smithay::reexports::calloop::Error| ThreadError::Loop(error);
    // Clients' requests are dispatched after every turn; this only ends the wait.
    sources
        .insert_source(Generic::new(poll, Interest::READ, Trigger::Level), |_, _, _| Ok(PostAction::Continue))
        .map_err(|error| insert(error.error))?;
    let connections = Arc::new(AtomicUsize::new(0));
    sources
        .insert_source(Generic::new(start.listener, Interest::READ, Trigger::Level), move |_, listener, _| {
            while let Ok((stream, _)) = listener.accept() {
                let Some(client) = ClientState::admit(&connections) else {
                    tracing::debug!("too many clients");
                    continue;
                };
                if let Err(error) = handle.insert_client(stream, Arc::new(client)) {
                    tracing::debug!(%error, "client not accepted");
                }
            }
            Ok(PostAction::Continue)
        })
        .map_err(|error| insert(error.error))?;
    sources
        .insert_source(start.input, |_, _, state| {
            // What comes meanwhile waits for the next turn.
            for event in state.inbox.take() {
                state.now = clock::now();
                state.input(event);
            }
        })
        .map_err(|error| insert(error.error))?;
    sources
        .insert_source(start.woken, |_, _, state| {
            state.now = clock::now();
            state.woken();
        })
        .map_err(|error| insert(error.error))?;
    Ok(OutputThread { state, display, event_loop, wishes: start.wishes, _socket: start.socket })
}

impl OutputThread {
    fn run(&mut self) -> Result<(), ThreadError> {
        while !self.wishes.is_stopped() {
            let timeout = self.state.clock.deadline().map(|deadline| deadline.since(clock::now()));
            self.event_loop.dispatch(timeout, &mut self.state)?;
            self.state.now = clock::now();
            self.display.dispatch_clients(&mut self.state)?;
            self.state.settle();
            // Input goes out before the time that composing takes.
            self.display.flush_clients()?;
            self.state.inbox.told();
            self.state.work();
            self.display.flush_clients()?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "thread_tests.rs"]
mod tests;
