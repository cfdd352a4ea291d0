//! The Wayland client: one window, one loop.
//!
//! The loop waits for the compositor, for SIGTERM or SIGINT, and for the next picture's time, whichever comes first.

use crate::args::{Clock, Show};
use crate::buffers::Buffers;
use crate::log::{Event, Log};
use crate::pace::Pace;
use crate::seat::Seat;
use crate::show::{End, Tally, timeout_until};
use crate::tablet::Tool;
use anyhow::{Context, bail};
use lumen_testcard::card::{Card, Scene, Style};
use lumen_testcard::code::Code;
use lumen_testcard::{Rect, monotonic_ns};
use rustix::event::{PollFd, PollFlags, poll};
use std::os::unix::net::UnixStream;
use wayland_client::backend::WaylandError;
use wayland_client::globals::{GlobalListContents, registry_queue_init};
use wayland_client::protocol::{
    wl_buffer, wl_callback, wl_compositor, wl_registry, wl_seat, wl_shm, wl_shm_pool, wl_surface,
};
use wayland_client::{Connection, Dispatch, EventQueue, QueueHandle, delegate_noop};
use wayland_protocols::wp::cursor_shape::v1::client::wp_cursor_shape_manager_v1::WpCursorShapeManagerV1;
use wayland_protocols::wp::tablet::zv2::client::zwp_tablet_manager_v2::ZwpTabletManagerV2;
use wayland_protocols::wp::tablet::zv2::client::zwp_tablet_seat_v2::ZwpTabletSeatV2;
use wayland_protocols::xdg::shell::client::{xdg_surface, xdg_toplevel, xdg_wm_base};

/// Size of a window that the compositor leaves to us.
const DEFAULT_SIZE: (u32, u32) = (1280, 720);

pub fn run(options: &Show, log: Log, signals: &UnixStream) -> anyhow::Result<()> {
    let connection = Connection::connect_to_env()
        .context("no compositor: start testcard inside a Wayland session, or set WAYLAND_DISPLAY")?;
    let (mut app, mut events) = App::open(&connection, options, log)?;
    let ended = app.serve(&connection, &mut events, signals);
    app.tally.report(&mut app.log, &ended);
    ended.map(|_| ())
}

struct Window {
    surface: wl_surface::WlSurface,
    /// Kept alive with the surface.
    _xdg: xdg_surface::XdgSurface,
    _toplevel: xdg_toplevel::XdgToplevel,
    pending: Configure,
    closed: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Configure {
    width: u32,
    height: u32,
    fullscreen: bool,
    activated: bool,
}

/// Card and buffers of the current size.
struct Canvas {
    card: Card,
    buffers: Buffers,
    /// What the last commit changed: the next one's damage includes it.
    last: Vec<Rect>,
}

pub struct App {
    options: Show,
    pub log: Log,
    pub seat: Seat,
    pub tools: Vec<Tool>,
    /// Kept alive for its tools.
    _tablets: Option<ZwpTabletSeatV2>,
    shm: wl_shm::WlShm,
    window: Window,
    canvas: Option<Canvas>,
    pace: Option<Pace>,
    /// A frame callback came, or the window is new: `--clock callback` may draw.
    ready: bool,
    tally: Tally,
    error: Option<anyhow::Error>,
}

impl App {
    fn open(connection: &Connection, options: &Show, log: Log) -> anyhow::Result<(Self, EventQueue<Self>)> {
        let (globals, events) =
            registry_queue_init::<Self>(connection).context("listing the compositor's globals")?;
        let queue = events.handle();
        let compositor: wl_compositor::WlCompositor =
            globals.bind(&queue, 4..=6, ()).context("wl_compositor")?;
        let shm = globals.bind(&queue, 1..=1, ()).context("wl_shm")?;
        let shell: xdg_wm_base::XdgWmBase = globals.bind(&queue, 1..=6, ()).context("xdg_wm_base")?;
        // Version 8 has the wheel in 1/120 of a notch, 9 its relative direction.
        let seat: Option<wl_seat::WlSeat> = globals.bind(&queue, 1..=9, ()).ok();
        let cursors: Option<WpCursorShapeManagerV1> = globals.bind(&queue, 1..=1, ()).ok();

        let tablets: Option<ZwpTabletManagerV2> = globals.bind(&queue, 1..=1, ()).ok();
        let tablets =
            tablets.zip(seat.as_ref()).map(|(manager, seat)| manager.get_tablet_seat(seat, &queue, ()));

        let surface = compositor.create_surface(&queue, ());
        let xdg = shell.get_xdg_surface(&surface, &queue, ());
        let toplevel = xdg.get_toplevel(&queue, ());
        toplevel.set_title("Lumen test card".into());
        toplevel.set_app_id("lumen.testcard".into());
        if options.size.is_none() {
            toplevel.set_fullscreen(None);
        }
        surface.commit();
        let pending = Configure::default();
        let window = Window { surface, _xdg: xdg, _toplevel: toplevel, pending, closed: false };
        let app = Self {
            options: options.clone(),
            log,
            seat: Seat::new(seat, cursors),
            tools: Vec::new(),
            _tablets: tablets,
            shm,
            window,
            canvas: None,
            pace: None,
            ready: false,
            tally: Tally::new(),
            error: None,
        };
        Ok((app, events))
    }

    fn serve(
        &mut self,
        connection: &Connection,
        events: &mut EventQueue<Self>,
        signals: &UnixStream,
    ) -> anyhow::Result<End> {
        let queue = events.handle();
        loop {
            if let Err(error) = events.dispatch_pending(self) {
                bail!("the compositor sent what wayland-client refuses: {error}");
            }
            if let Some(error) = self.error.take() {
                return Err(error);
            }
            if self.window.closed {
                return Ok(End::WindowClosed);
            }
            let now = monotonic_ns();
            if self.tally.is_done(&self.options, now) {
                return Ok(End::Done);
            }
            self.draw_if_due(now, &queue);
            let blocked = match events.flush() {
                Ok(()) => false,
                Err(WaylandError::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => true,
                // What the compositor said before it left is still to be read; then reading tells the end.
                Err(WaylandError::Io(_)) => false,
                Err(error) => return Err(protocol_error(connection, error)),
            };
            match self.wait(events, signals, blocked)? {
                Woken::Signal => return Ok(End::Signal),
                Woken::Gone => return Ok(End::CompositorGone),
                Woken::Protocol(error) => return Err(protocol_error(connection, error)),
                Woken::Again => {}
            }
        }
    }

    /// Waits for an event, a signal or the next deadline, and reads events.
    fn wait(&self, events: &EventQueue<Self>, signals: &UnixStream, blocked: bool) -> anyhow::Result<Woken> {
        // Events already queued: dispatch these first.
        let Some(guard) = events.prepare_read() else { return Ok(Woken::Again) };
        let interest = if blocked { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let fd = guard.connection_fd();
        let mut fds = [PollFd::from_borrowed_fd(fd, interest), PollFd::new(signals, PollFlags::IN)];
        let timeout = self.next_deadline().map(timeout_until);
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for the compositor"),
        }
        let (compositor, signal) = (fds[0].revents(), fds[1].revents());
        if !signal.is_empty() {
            return Ok(Woken::Signal);
        }
        if !compositor.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            return Ok(Woken::Again);
        }
        Ok(match guard.read() {
            Ok(_) => Woken::Again,
            Err(WaylandError::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => Woken::Again,
            Err(WaylandError::Io(_)) => Woken::Gone,
            Err(error) => Woken::Protocol(error),
        })
    }

    fn next_deadline(&self) -> Option<u64> {
        let picture = self.pace.as_ref().filter(|_| self.is_moving()).map(Pace::due_ns);
        [picture, self.tally.end_ns(&self.options)].into_iter().flatten().min()
    }

    /// Whether there is a next picture without being asked for one.
    fn is_moving(&self) -> bool {
        self.canvas.is_some() && self.options.style != Style::Static
    }

    fn draw_if_due(&mut self, now_ns: u64, queue: &QueueHandle<Self>) {
        let Some(canvas) = &self.canvas else { return };
        if self.options.style == Style::Static {
            if self.ready && canvas.buffers.has_free() {
                self.draw(queue);
            }
            return;
        }
        match self.options.clock {
            Clock::Callback => {
                if self.ready && canvas.buffers.has_free() {
                    self.draw(queue);
                }
            }
            Clock::Own { rate_mhz } => {
                let pace = self.pace.get_or_insert_with(|| Pace::new(now_ns, rate_mhz));
                if now_ns < pace.due_ns() {
                    return;
                }
                let missed = pace.take(now_ns);
                self.tally.miss(missed);
                self.draw(queue);
            }
        }
    }

    /// Draws and commits one picture; counts it as dropped when no buffer is free.
    fn draw(&mut self, queue: &QueueHandle<Self>) {
        let Some(canvas) = &mut self.canvas else { return };
        let code = Code { frame: self.tally.drawn, time_ns: monotonic_ns() };
        let scene = Scene { code, pointer: self.seat.pointer_position() };
        let Some((buffer, damage)) = canvas.buffers.draw(&canvas.card, &scene) else {
            self.tally.dropped += 1;
            return;
        };
        let surface = &self.window.surface;
        surface.attach(Some(buffer), 0, 0);
        for rect in canvas.last.iter().chain(&damage) {
            surface.damage_buffer(rect.x as i32, rect.y as i32, rect.width as i32, rect.height as i32);
        }
        canvas.last = damage;
        if self.options.clock == Clock::Callback && self.options.style != Style::Static {
            surface.frame(queue, ());
        }
        surface.commit();
        self.ready = false;
        self.tally.drawn += 1;
    }

    fn configure(&mut self, queue: &QueueHandle<Self>) -> anyhow::Result<()> {
        let Configure { width, height, fullscreen, activated } = self.window.pending;
        let (width, height) = match (self.options.size, (width, height)) {
            (Some(size), _) => size,
            (None, (0, _) | (_, 0)) => DEFAULT_SIZE,
            (None, size) => size,
        };
        self.log.write(&Event::Configured { width, height, fullscreen, activated });
        let same = |canvas: &Canvas| (canvas.card.width(), canvas.card.height()) == (width, height);
        if self.canvas.as_ref().is_some_and(same) {
            // Only a commit makes the acknowledged state current, and a still card would not send one.
            self.window.surface.commit();
            return Ok(());
        }
        let card = Card::new(width, height, self.options.style)?;
        let buffers = Buffers::new(&card, &self.shm, queue)?;
        let last = vec![Rect { x: 0, y: 0, width, height }];
        self.canvas = Some(Canvas { card, buffers, last });
        self.tally.prepared();
        self.ready = true;
        Ok(())
    }
}

enum Woken {
    Again,
    Signal,
    Gone,
    Protocol(WaylandError),
}

fn protocol_error(connection: &Connection, error: WaylandError) -> anyhow::Error {
    match connection.protocol_error() {
        Some(error) => anyhow::anyhow!("the compositor refused a request: {error}"),
        None => error.into(),
    }
}

impl Dispatch<xdg_surface::XdgSurface, ()> for App {
    fn event(
        app: &mut Self,
        xdg: &xdg_surface::XdgSurface,
        event: xdg_surface::Event,
        (): &(),
        _: &Connection,
        queue: &QueueHandle<Self>,
    ) {
        if let xdg_surface::Event::Configure { serial } = event {
            xdg.ack_configure(serial);
            if let Err(error) = app.configure(queue) {
                app.error = Some(error);
            }
        }
    }
}

impl Dispatch<xdg_toplevel::XdgToplevel, ()> for App {
    fn event(
        app: &mut Self,
        _: &xdg_toplevel::XdgToplevel,
        event: xdg_toplevel::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            xdg_toplevel::Event::Configure { width, height, states } => {
                let has = |state: xdg_toplevel::State| {
                    states.as_chunks::<4>().0.iter().any(|bytes| u32::from_ne_bytes(*bytes) == state as u32)
                };
                app.window.pending = Configure {
                    width: u32::try_from(width).unwrap_or(0),
                    height: u32::try_from(height).unwrap_or(0),
                    fullscreen: has(xdg_toplevel::State::Fullscreen),
                    activated: has(xdg_toplevel::State::Activated),
                };
            }
            xdg_toplevel::Event::Close => app.window.closed = true,
            _ => {}
        }
    }
}

impl Dispatch<xdg_wm_base::XdgWmBase, ()> for App {
    fn event(
        _: &mut Self,
        shell: &xdg_wm_base::XdgWmBase,
        event: xdg_wm_base::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let xdg_wm_base::Event::Ping { serial } = event {
            shell.pong(serial);
        }
    }
}

impl Dispatch<wl_buffer::WlBuffer, ()> for App {
    fn event(
        app: &mut Self,
        buffer: &wl_buffer::WlBuffer,
        event: wl_buffer::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let (wl_buffer::Event::Release, Some(canvas)) = (event, &mut app.canvas) {
            canvas.buffers.release(buffer);
        }
    }
}

impl Dispatch<wl_callback::WlCallback, ()> for App {
    fn event(
        app: &mut Self,
        _: &wl_callback::WlCallback,
        _: wl_callback::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        app.ready = true;
    }
}

impl Dispatch<wl_registry::WlRegistry, GlobalListContents> for App {
    fn event(
        _: &mut Self,
        _: &wl_registry::WlRegistry,
        _: wl_registry::Event,
        _: &GlobalListContents,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
    }
}

delegate_noop!(App: wl_compositor::WlCompositor);
delegate_noop!(App: ignore wl_shm::WlShm);
delegate_noop!(App: wl_shm_pool::WlShmPool);
delegate_noop!(App: ignore wl_surface::WlSurface);
