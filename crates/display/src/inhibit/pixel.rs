//! Keeps compositors of the wlroots kind awake: an invisible pixel that inhibits idleness while it is shown.

use lumen_media::clock;
use lumen_wayland::{self as link, Answer, Globals, Turned};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;
use wayland_client::protocol::wl_callback::WlCallback;
use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_client::protocol::wl_output::WlOutput;
use wayland_client::protocol::wl_registry::WlRegistry;
use wayland_client::protocol::wl_shm::{Format, WlShm};
use wayland_client::protocol::{wl_buffer, wl_region, wl_shm_pool, wl_surface};
use wayland_client::{
    Connection, Dispatch, EventQueue, Proxy, QueueHandle, delegate_dispatch, delegate_noop,
};
use wayland_protocols::wp::idle_inhibit::zv1::client::zwp_idle_inhibit_manager_v1::ZwpIdleInhibitManagerV1;
use wayland_protocols::wp::idle_inhibit::zv1::client::zwp_idle_inhibitor_v1::ZwpIdleInhibitorV1;
use wayland_protocols_wlr::layer_shell::v1::client::zwlr_layer_shell_v1::{Layer, ZwlrLayerShellV1};
use wayland_protocols_wlr::layer_shell::v1::client::zwlr_layer_surface_v1::{
    self, Anchor, KeyboardInteractivity, ZwlrLayerSurfaceV1,
};

/// For the compositor to show the pixel.
const LIMIT: Duration = Duration::from_secs(2);

/// Why the desktop is not kept awake.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdleError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the compositor hung up: {0}")]
    Gone(String),
    #[error("the compositor has no {0}")]
    Missing(&'static str),
    #[error("the compositor did not answer")]
    Timeout,
}

impl From<wayland_client::DispatchError> for IdleError {
    fn from(error: wayland_client::DispatchError) -> Self {
        Self::Gone(error.to_string())
    }
}

#[derive(Default)]
struct State {
    globals: Globals,
    manager: Option<ZwpIdleInhibitManagerV1>,
    pixel: Option<wl_buffer::WlBuffer>,
    surface: Option<wl_surface::WlSurface>,
    shown: bool,
    /// The output is gone.
    closed: bool,
}

/// Keeps a compositor awake until dropped, or until the output with the pixel goes.
pub(crate) struct Pixel {
    /// Closed to end the thread.
    end: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Pixel {
    /// Has the pixel put up in the compositor at `socket`, soon; what is in the way is said in the log.
    pub fn show(socket: &Path) -> io::Result<Self> {
        let (ended, end) = pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from)?;
        let socket = socket.to_owned();
        let shows = move || match put_up(&socket) {
            Ok((mut queue, mut state)) => stay(&mut queue, &mut state, &ended),
            Err(error) => {
                tracing::warn!(socket = %socket.display(), %error, "the desktop may go idle while somebody watches");
            }
        };
        let thread = std::thread::Builder::new().name("lumen-awake".to_owned()).spawn(shows)?;
        Ok(Self { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Pixel {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that keeps the desktop awake panicked");
        }
    }
}

/// Shows the pixel.
fn put_up(socket: &Path) -> Result<(EventQueue<State>, State), IdleError> {
    let deadline = clock::now() + LIMIT;
    let connection = link::open(socket)?;
    let mut queue = connection.new_event_queue();
    let mut state = State::default();
    if !link::roundtrip(&connection, &mut queue, &mut state, deadline)? {
        return Err(IdleError::Timeout);
    }
    state.show(&queue.handle())?;
    if !link::until(&mut queue, &mut state, deadline, |state| state.shown || state.closed)? {
        return Err(IdleError::Timeout);
    }
    tracing::info!(socket = %socket.display(), "the desktop stays awake");
    Ok((queue, state))
}

/// Reads what the compositor says, lest it hang up on who does not listen.
fn stay(queue: &mut EventQueue<State>, state: &mut State, ended: &OwnedFd) {
    while !state.closed {
        match link::turn(queue, state, Some(ended.as_fd()), None) {
            Ok(Turned::On | Turned::Late) => {}
            Ok(Turned::Woken) => return,
            Err(error) => {
                tracing::debug!(%error, "the compositor is gone, nobody has to stay awake");
                return;
            }
        }
    }
}

impl State {
    fn bind<P>(&self, queue: &QueueHandle<Self>) -> Result<P, IdleError>
    where
        P: Proxy + 'static,
        Self: Dispatch<P, ()>,
    {
        self.globals.bind(queue, 1).ok_or(IdleError::Missing(P::interface().name))
    }

    fn show(&mut self, queue: &QueueHandle<Self>) -> Result<(), IdleError> {
        // The newest: the client's, where it has one of its own.
        let output: WlOutput = self.globals.bind_all(queue, 1).last().ok_or(IdleError::Missing("output"))?;
        let compositor: WlCompositor = self.bind(queue)?;
        let shell: ZwlrLayerShellV1 = self.bind(queue)?;
        let shm: WlShm = self.bind(queue)?;
        self.manager = Some(self.bind(queue)?);
        // A new file is zero: one transparent pixel.
        let file = memfd_create("lumen-awake", MemfdFlags::CLOEXEC).map_err(io::Error::from)?;
        ftruncate(&file, 4).map_err(io::Error::from)?;
        let pool = shm.create_pool(file.as_fd(), 4, queue, ());
        self.pixel = Some(pool.create_buffer(0, 1, 1, 4, Format::Argb8888, queue, ()));
        pool.destroy();
        let surface = compositor.create_surface(queue, ());
        let nowhere = compositor.create_region(queue, ());
        surface.set_input_region(Some(&nowhere));
        nowhere.destroy();
        let layer = shell.get_layer_surface(
            &surface,
            Some(&output),
            Layer::Background,
            "lumen-awake".to_owned(),
            queue,
            (),
        );
        layer.set_size(1, 1);
        layer.set_anchor(Anchor::Top | Anchor::Left);
        // Neither claims room nor minds who does.
        layer.set_exclusive_zone(-1);
        layer.set_keyboard_interactivity(KeyboardInteractivity::None);
        surface.commit();
        self.surface = Some(surface);
        Ok(())
    }
}

impl Dispatch<ZwlrLayerSurfaceV1, ()> for State {
    fn event(
        state: &mut Self,
        layer: &ZwlrLayerSurfaceV1,
        event: zwlr_layer_surface_v1::Event,
        (): &(),
        _: &Connection,
        queue: &QueueHandle<Self>,
    ) {
        match event {
            zwlr_layer_surface_v1::Event::Configure { serial, .. } => {
                layer.ack_configure(serial);
                if let Some(surface) = &state.surface {
                    surface.attach(state.pixel.as_ref(), 0, 0);
                    surface.damage(0, 0, 1, 1);
                    surface.commit();
                    // Not earlier: sway looks at a new inhibitor once, and one of a surface that is not shown does not count.
                    if let Some(manager) = state.manager.as_ref().filter(|_| !state.shown) {
                        manager.create_inhibitor(surface, queue, ());
                    }
                }
                state.shown = true;
            }
            zwlr_layer_surface_v1::Event::Closed => state.closed = true,
            _ => {}
        }
    }
}

impl AsMut<Globals> for State {
    fn as_mut(&mut self) -> &mut Globals {
        &mut self.globals
    }
}

delegate_dispatch!(State: [WlRegistry: ()] => Globals);
delegate_dispatch!(State: [WlCallback: Answer] => Globals);
delegate_noop!(State: WlCompositor);
delegate_noop!(State: ZwlrLayerShellV1);
delegate_noop!(State: ZwpIdleInhibitManagerV1);
delegate_noop!(State: ZwpIdleInhibitorV1);
delegate_noop!(State: wl_region::WlRegion);
delegate_noop!(State: wl_shm_pool::WlShmPool);
delegate_noop!(State: ignore WlOutput);
delegate_noop!(State: ignore WlShm);
delegate_noop!(State: ignore wl_buffer::WlBuffer);
delegate_noop!(State: ignore wl_surface::WlSurface);
