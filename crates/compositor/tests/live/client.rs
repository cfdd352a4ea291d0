//! A small Wayland client whose every step can be watched.

use super::deadline;
use lumen_media::clock;
use rustix::event::{PollFd, PollFlags, poll};
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use wayland_client::backend::WaylandError;
use wayland_client::protocol::{
    wl_buffer::WlBuffer, wl_callback::WlCallback, wl_compositor::WlCompositor, wl_keyboard, wl_output,
    wl_pointer, wl_registry, wl_seat::WlSeat, wl_shm, wl_shm_pool::WlShmPool,
    wl_subcompositor::WlSubcompositor, wl_subsurface::WlSubsurface, wl_surface::WlSurface, wl_touch,
};
use wayland_client::{
    Connection, Dispatch, EventQueue, Proxy, QueueHandle, WEnum, delegate_noop, event_created_child,
};
use wayland_protocols::wp::presentation_time::client::{
    wp_presentation::WpPresentation,
    wp_presentation_feedback::{self, WpPresentationFeedback},
};
use wayland_protocols::wp::tablet::zv2::client::{
    zwp_tablet_manager_v2::ZwpTabletManagerV2,
    zwp_tablet_seat_v2::{self, ZwpTabletSeatV2},
    zwp_tablet_tool_v2::{self, ZwpTabletToolV2},
    zwp_tablet_v2::ZwpTabletV2,
};
use wayland_protocols::xdg::shell::client::{
    xdg_popup, xdg_positioner::XdgPositioner, xdg_surface, xdg_toplevel, xdg_wm_base,
};

/// What happened to the client, in order of arrival per kind.
#[derive(Debug, Default)]
pub struct Seen {
    pub globals: HashMap<String, (u32, u32)>,
    pub mode: Option<(i32, i32, i32)>,
    /// Size and whether full-screen, per toplevel.
    pub configures: HashMap<u32, (i32, i32, bool)>,
    pub configured: HashMap<u32, u32>,
    acked: HashMap<u32, u32>,
    pub popups: HashMap<u32, (i32, i32, i32, i32)>,
    pub popups_done: u32,
    pub callbacks: u32,
    pub released: u32,
    pub presented: u32,
    pub discarded: u32,
    pub keys: Vec<(u32, bool)>,
    pub keymaps: u32,
    /// The newest one, as text.
    pub keymap: String,
    pub keyboard_focus: Option<u32>,
    pub pointer_focus: Option<u32>,
    pub motions: Vec<(f64, f64)>,
    pub buttons: Vec<(u32, bool)>,
    pub button_serial: u32,
    pub enter_serial: u32,
    pub axis: Vec<(bool, i32)>,
    pub touches: Vec<(i32, &'static str, f64, f64)>,
    /// What tools of tablets said, but for frames.
    pub pens: Vec<String>,
}

pub struct Client {
    connection: Connection,
    queue: EventQueue<Seen>,
    pub handle: QueueHandle<Seen>,
    pub seen: Seen,
    registry: wl_registry::WlRegistry,
}

impl Client {
    pub fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).expect("the socket listens");
        let connection = Connection::from_socket(stream).expect("connection");
        let queue = connection.new_event_queue();
        let handle = queue.handle();
        let registry = connection.display().get_registry(&handle, ());
        let mut client = Self { connection, queue, handle, seen: Seen::default(), registry };
        client.roundtrip();
        client
    }

    pub fn bind<I>(&self, version: u32) -> I
    where
        I: Proxy + 'static,
        Seen: Dispatch<I, ()>,
    {
        let (name, offered) = self.seen.globals[I::interface().name];
        assert!(offered >= version, "{} is offered in version {offered} only", I::interface().name);
        self.registry.bind(name, version, &self.handle, ())
    }

    pub fn roundtrip(&mut self) {
        self.queue.roundtrip(&mut self.seen).expect("alive");
    }

    /// Reads events until `done`; panics when that takes too long or the connection ends.
    pub fn wait(&mut self, what: &str, done: impl FnMut(&Seen) -> bool) {
        self.try_wait(done).unwrap_or_else(|error| panic!("{what}: {error}"));
    }

    /// Reads events until the compositor ends the connection, and says how.
    pub fn wait_for_end(&mut self) -> String {
        self.try_wait(|_| false).expect_err("the connection ends")
    }

    fn try_wait(&mut self, mut done: impl FnMut(&Seen) -> bool) -> Result<(), String> {
        let deadline = deadline();
        loop {
            self.queue.dispatch_pending(&mut self.seen).map_err(|error| error.to_string())?;
            if done(&self.seen) {
                return Ok(());
            }
            match self.queue.flush() {
                Ok(()) => {}
                Err(WaylandError::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                // What the compositor said before it closed is still to be read.
                Err(WaylandError::Io(_)) => {}
                Err(error) => return Err(error.to_string()),
            }
            let Some(guard) = self.queue.prepare_read() else { continue };
            let left = deadline.since(clock::now());
            if left.is_zero() {
                return Err(format!("no answer in time, seen {:?}", self.seen));
            }
            let fd = guard.connection_fd();
            let timeout = rustix::time::Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: i64::from(left.subsec_nanos()),
            };
            poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&timeout)).expect("poll");
            match guard.read() {
                Ok(_) => {}
                Err(WaylandError::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Asks for an answer that is never read; `false` when the connection has ended.
    pub fn sync_without_reading(&self) -> bool {
        self.connection.display().sync(&self.handle, ());
        match self.connection.flush() {
            Ok(()) => true,
            Err(WaylandError::Io(error)) => error.kind() == std::io::ErrorKind::WouldBlock,
            Err(_) => false,
        }
    }

    pub fn flush(&self) {
        // A connection that the compositor has closed shows itself at the next read.
        let _ = self.queue.flush();
    }

    pub fn shell(&self) -> Shell {
        Shell { compositor: self.bind(4), shm: self.bind(1), base: self.bind(3) }
    }

    /// A toplevel that has been configured once.
    pub fn toplevel(&mut self, shell: &Shell, parent: Option<&Toplevel>) -> Toplevel {
        let surface = shell.compositor.create_surface(&self.handle, ());
        let xdg = shell.base.get_xdg_surface(&surface, &self.handle, ());
        let role = xdg.get_toplevel(&self.handle, ());
        if let Some(parent) = parent {
            role.set_parent(Some(&parent.role));
        }
        surface.commit();
        let toplevel = Toplevel { surface, xdg, role };
        let id = toplevel.xdg_id();
        self.wait("first configure", |seen| seen.configured.contains_key(&id));
        toplevel
    }

    /// Shows `toplevel` in one colour at `width × height`.
    pub fn show(&mut self, shell: &Shell, toplevel: &Toplevel, size: (i32, i32), colour: [u8; 4]) -> Buffer {
        let buffer = self.buffer(shell, size, |_, _| colour);
        self.ack(&toplevel.xdg);
        toplevel.surface.attach(Some(&buffer.buffer), 0, 0);
        toplevel.surface.damage_buffer(0, 0, size.0, size.1);
        toplevel.surface.commit();
        self.flush();
        buffer
    }

    /// Acknowledges the last configure, unless that was done already.
    pub fn ack(&mut self, xdg: &xdg_surface::XdgSurface) {
        let id = xdg.id().protocol_id();
        let serial = self.seen.configured[&id];
        if self.seen.acked.insert(id, serial) != Some(serial) {
            xdg.ack_configure(serial);
        }
    }

    pub fn buffer(&self, shell: &Shell, size: (i32, i32), paint: impl Fn(i32, i32) -> [u8; 4]) -> Buffer {
        let (width, height) = size;
        let file = tempfile::tempfile().expect("temporary file");
        let pixels: Vec<u8> = (0..height)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .flat_map(|(x, y)| paint(x, y))
            .collect();
        file.write_all_at(&pixels, 0).expect("disk");
        let pool = shell.shm.create_pool(file.as_fd(), width * height * 4, &self.handle, ());
        let buffer =
            pool.create_buffer(0, width, height, width * 4, wl_shm::Format::Xrgb8888, &self.handle, ());
        Buffer { file, pool, buffer }
    }
}

pub struct Shell {
    pub compositor: WlCompositor,
    pub shm: wl_shm::WlShm,
    pub base: xdg_wm_base::XdgWmBase,
}

pub struct Toplevel {
    pub surface: WlSurface,
    pub xdg: xdg_surface::XdgSurface,
    pub role: xdg_toplevel::XdgToplevel,
}

impl Toplevel {
    pub fn xdg_id(&self) -> u32 {
        self.xdg.id().protocol_id()
    }

    pub fn role_id(&self) -> u32 {
        self.role.id().protocol_id()
    }

    pub fn surface_id(&self) -> u32 {
        self.surface.id().protocol_id()
    }
}

pub struct Buffer {
    pub file: File,
    pub pool: WlShmPool,
    pub buffer: WlBuffer,
}

impl Dispatch<wl_registry::WlRegistry, ()> for Seen {
    fn event(
        seen: &mut Self,
        _: &wl_registry::WlRegistry,
        event: wl_registry::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wl_registry::Event::Global { name, interface, version } = event {
            seen.globals.insert(interface, (name, version));
        }
    }
}

impl Dispatch<wl_output::WlOutput, ()> for Seen {
    fn event(
        seen: &mut Self,
        _: &wl_output::WlOutput,
        event: wl_output::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wl_output::Event::Mode { width, height, refresh, .. } = event {
            seen.mode = Some((width, height, refresh));
        }
    }
}

impl Dispatch<xdg_wm_base::XdgWmBase, ()> for Seen {
    fn event(
        _: &mut Self,
        base: &xdg_wm_base::XdgWmBase,
        event: xdg_wm_base::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let xdg_wm_base::Event::Ping { serial } = event {
            base.pong(serial);
        }
    }
}

impl Dispatch<xdg_surface::XdgSurface, ()> for Seen {
    fn event(
        seen: &mut Self,
        surface: &xdg_surface::XdgSurface,
        event: xdg_surface::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let xdg_surface::Event::Configure { serial } = event {
            seen.configured.insert(surface.id().protocol_id(), serial);
        }
    }
}

impl Dispatch<xdg_toplevel::XdgToplevel, ()> for Seen {
    fn event(
        seen: &mut Self,
        toplevel: &xdg_toplevel::XdgToplevel,
        event: xdg_toplevel::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let xdg_toplevel::Event::Configure { width, height, states } = event {
            let fullscreen = states.chunks_exact(4).any(|state| {
                u32::from_ne_bytes(state.try_into().expect("four bytes"))
                    == xdg_toplevel::State::Fullscreen as u32
            });
            seen.configures.insert(toplevel.id().protocol_id(), (width, height, fullscreen));
        }
    }
}

impl Dispatch<xdg_popup::XdgPopup, ()> for Seen {
    fn event(
        seen: &mut Self,
        popup: &xdg_popup::XdgPopup,
        event: xdg_popup::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            xdg_popup::Event::Configure { x, y, width, height } => {
                seen.popups.insert(popup.id().protocol_id(), (x, y, width, height));
            }
            xdg_popup::Event::PopupDone => seen.popups_done += 1,
            _ => {}
        }
    }
}

impl Dispatch<WlCallback, ()> for Seen {
    fn event(
        seen: &mut Self,
        _: &WlCallback,
        _: <WlCallback as Proxy>::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        seen.callbacks += 1;
    }
}

impl Dispatch<WlBuffer, ()> for Seen {
    fn event(
        seen: &mut Self,
        _: &WlBuffer,
        _: <WlBuffer as Proxy>::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        seen.released += 1;
    }
}

impl Dispatch<WpPresentationFeedback, ()> for Seen {
    fn event(
        seen: &mut Self,
        _: &WpPresentationFeedback,
        event: wp_presentation_feedback::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            wp_presentation_feedback::Event::Presented { .. } => seen.presented += 1,
            wp_presentation_feedback::Event::Discarded => seen.discarded += 1,
            _ => {}
        }
    }
}

impl Dispatch<wl_keyboard::WlKeyboard, ()> for Seen {
    fn event(
        seen: &mut Self,
        _: &wl_keyboard::WlKeyboard,
        event: wl_keyboard::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            wl_keyboard::Event::Keymap { fd, size, .. } => {
                let mut text = vec![0; size as usize];
                File::from(fd).read_exact_at(&mut text, 0).expect("as long as announced");
                seen.keymap = String::from_utf8(text).expect("text").trim_end_matches('\0').to_owned();
                seen.keymaps += 1;
            }
            wl_keyboard::Event::Enter { surface, .. } => {
                seen.keyboard_focus = Some(surface.id().protocol_id())
            }
            wl_keyboard::Event::Leave { .. } => seen.keyboard_focus = None,
            wl_keyboard::Event::Key { key, state, .. } => {
                seen.keys.push((key, state == WEnum::Value(wl_keyboard::KeyState::Pressed)));
            }
            _ => {}
        }
    }
}

impl Dispatch<wl_pointer::WlPointer, ()> for Seen {
    fn event(
        seen: &mut Self,
        _: &wl_pointer::WlPointer,
        event: wl_pointer::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            wl_pointer::Event::Enter { surface, surface_x, surface_y, serial } => {
                seen.enter_serial = serial;
                seen.pointer_focus = Some(surface.id().protocol_id());
                seen.motions.push((surface_x, surface_y));
            }
            wl_pointer::Event::Leave { .. } => seen.pointer_focus = None,
            wl_pointer::Event::Motion { surface_x, surface_y, .. } => {
                seen.motions.push((surface_x, surface_y))
            }
            wl_pointer::Event::Button { button, state, serial, .. } => {
                seen.button_serial = serial;
                seen.buttons.push((button, state == WEnum::Value(wl_pointer::ButtonState::Pressed)));
            }
            wl_pointer::Event::AxisValue120 { axis, value120 } => {
                seen.axis.push((axis == WEnum::Value(wl_pointer::Axis::VerticalScroll), value120));
            }
            _ => {}
        }
    }
}

impl Dispatch<wl_touch::WlTouch, ()> for Seen {
    fn event(
        seen: &mut Self,
        _: &wl_touch::WlTouch,
        event: wl_touch::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            wl_touch::Event::Down { id, x, y, .. } => seen.touches.push((id, "down", x, y)),
            wl_touch::Event::Motion { id, x, y, .. } => seen.touches.push((id, "move", x, y)),
            wl_touch::Event::Up { id, .. } => seen.touches.push((id, "up", 0.0, 0.0)),
            _ => {}
        }
    }
}

impl Dispatch<ZwpTabletSeatV2, ()> for Seen {
    fn event(
        _: &mut Self,
        _: &ZwpTabletSeatV2,
        _: zwp_tablet_seat_v2::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
    }

    event_created_child!(Seen, ZwpTabletSeatV2, [
        zwp_tablet_seat_v2::EVT_TABLET_ADDED_OPCODE => (ZwpTabletV2, ()),
        zwp_tablet_seat_v2::EVT_TOOL_ADDED_OPCODE => (ZwpTabletToolV2, ()),
    ]);
}

impl Dispatch<ZwpTabletToolV2, ()> for Seen {
    fn event(
        seen: &mut Self,
        _: &ZwpTabletToolV2,
        event: zwp_tablet_tool_v2::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        use zwp_tablet_tool_v2::Event;
        seen.pens.push(match event {
            Event::Type { tool_type: WEnum::Value(tool) } => format!("{tool:?}"),
            Event::ProximityIn { .. } => "near".to_owned(),
            Event::ProximityOut => "away".to_owned(),
            Event::Down { .. } => "down".to_owned(),
            Event::Up => "up".to_owned(),
            Event::Motion { x, y } => format!("at {x:.0} {y:.0}"),
            Event::Pressure { pressure } => format!("pressure {pressure}"),
            Event::Distance { distance } => format!("distance {distance}"),
            Event::Tilt { tilt_x, tilt_y } => format!("tilt {tilt_x:.0} {tilt_y:.0}"),
            Event::Button { button, state: WEnum::Value(state), .. } => format!("{button:#x} {state:?}"),
            _ => return,
        });
    }
}

delegate_noop!(Seen: ZwpTabletManagerV2);
delegate_noop!(Seen: ignore ZwpTabletV2);
delegate_noop!(Seen: ignore WlCompositor);
delegate_noop!(Seen: ignore WlSubcompositor);
delegate_noop!(Seen: ignore WlSubsurface);
delegate_noop!(Seen: ignore WlSurface);
delegate_noop!(Seen: ignore WlSeat);
delegate_noop!(Seen: ignore wl_shm::WlShm);
delegate_noop!(Seen: ignore WlShmPool);
delegate_noop!(Seen: ignore WpPresentation);
delegate_noop!(Seen: ignore XdgPositioner);
