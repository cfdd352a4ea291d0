//! The X11 client: one window, one loop.
//!
//! A picture is uploaded into a pixmap of its own and presented as games do it (the Present extension): nobody ever sees
//! half of it, and the server says when it was shown, the counterpart of a frame callback. A new pixmap for each one, as
//! compositors that take a pixmap for a texture look only once into memory that they have seen. At most [`MAX_QUEUED`]
//! pictures are on their way.

use crate::args::{Clock, Show};
use crate::log::{Event as Line, Log, Modifiers};
use crate::pace::Pace;
use crate::show::{End, Tally, timeout_until};
use anyhow::{Context, bail};
use lumen_testcard::card::{Card, Painted, Scene, Style};
use lumen_testcard::code::Code;
use lumen_testcard::monotonic_ns;
use rustix::event::{PollFd, PollFlags, poll};
use std::os::unix::net::UnixStream;
use x11rb::connection::{Connection, RequestConnection};
use x11rb::errors::ConnectionError;
use x11rb::protocol::Event;
use x11rb::protocol::present::{self, CompleteKind, ConnectionExt as _};
use x11rb::protocol::xkb::{self, ConnectionExt as _};
use x11rb::protocol::xproto::{
    AtomEnum, ButtonPressEvent, ClientMessageEvent, ConnectionExt as _, CreateGCAux, CreateWindowAux,
    EventMask, Gcontext, ImageFormat, ImageOrder, KeyButMask, KeyPressEvent, NotifyMode, Pixmap, PropMode,
    Screen, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

/// As many as a Wayland window has on their way: of three buffers one is drawn into.
const MAX_QUEUED: u32 = 2;
/// Fixed part of a `PutImage` request, in bytes, with the long length field.
const PUT_IMAGE_HEADER: usize = 28;
/// X numbers keys 8 higher than the kernel.
const KEYCODE_OFFSET: u8 = 8;
/// What a notch of a wheel is on Wayland, in logical pixels and in 1/120 notches.
const NOTCH: (f64, i32) = (10.0, 120);

x11rb::atom_manager! {
    /// Names that are needed more than once.
    Atoms: AtomsCookie {
        WM_PROTOCOLS,
        WM_DELETE_WINDOW,
        _NET_WM_NAME,
        _NET_WM_STATE,
        _NET_WM_STATE_FULLSCREEN,
        UTF8_STRING,
    }
}

pub fn run(options: &Show, log: Log, signals: &UnixStream) -> anyhow::Result<()> {
    let (connection, screen) =
        x11rb::connect(None).context("no X server: start testcard inside an X11 session, or set DISPLAY")?;
    let mut app = App::open(&connection, screen, options, log)?;
    let ended = app.serve(signals);
    app.tally.report(&mut app.log, &ended);
    ended.map(|_| ())
}

/// Card and pixels of the current size.
struct Canvas {
    card: Card,
    pixels: Vec<u8>,
    painted: Painted,
}

struct App<'a> {
    connection: &'a RustConnection,
    options: Show,
    log: Log,
    atoms: Atoms,
    window: Window,
    gc: Gcontext,
    depth: u8,
    canvas: Option<Canvas>,
    pace: Option<Pace>,
    /// Pictures that the server has not shown yet.
    queued: u32,
    /// The window lost its content, or is new.
    exposed: bool,
    pointer: Option<(i16, i16)>,
    modifiers: Modifiers,
    /// Keys that are down, by X's numbers.
    held: Vec<u8>,
    focused: bool,
    tally: Tally,
}

impl<'a> App<'a> {
    fn open(connection: &'a RustConnection, screen: usize, options: &Show, log: Log) -> anyhow::Result<Self> {
        let atoms = Atoms::new(connection)?;
        let screen = &connection.setup().roots[screen];
        check_pixels(connection, screen)?;
        let (width, height) = match options.size {
            Some((width, height)) => (u16::try_from(width)?, u16::try_from(height)?),
            None => (screen.width_in_pixels, screen.height_in_pixels),
        };
        let window = connection.generate_id()?;
        let events = EventMask::KEY_PRESS
            | EventMask::KEY_RELEASE
            | EventMask::BUTTON_PRESS
            | EventMask::BUTTON_RELEASE
            | EventMask::ENTER_WINDOW
            | EventMask::LEAVE_WINDOW
            | EventMask::POINTER_MOTION
            | EventMask::EXPOSURE
            | EventMask::STRUCTURE_NOTIFY
            | EventMask::FOCUS_CHANGE;
        let aux = CreateWindowAux::new().event_mask(events).background_pixel(screen.black_pixel);
        let (depth, visual) = (screen.root_depth, screen.root_visual);
        connection.create_window(
            depth,
            window,
            screen.root,
            0,
            0,
            width,
            height,
            0,
            WindowClass::INPUT_OUTPUT,
            visual,
            &aux,
        )?;
        let atoms = atoms.reply()?;
        let replace = PropMode::REPLACE;
        connection.change_property8(
            replace,
            window,
            AtomEnum::WM_NAME,
            AtomEnum::STRING,
            b"Lumen test card",
        )?;
        connection.change_property8(
            replace,
            window,
            atoms._NET_WM_NAME,
            atoms.UTF8_STRING,
            b"Lumen test card",
        )?;
        connection.change_property8(
            replace,
            window,
            AtomEnum::WM_CLASS,
            AtomEnum::STRING,
            b"testcard\0lumen.testcard\0",
        )?;
        connection.change_property32(
            replace,
            window,
            atoms.WM_PROTOCOLS,
            AtomEnum::ATOM,
            &[atoms.WM_DELETE_WINDOW],
        )?;
        if options.size.is_none() {
            let state = [atoms._NET_WM_STATE_FULLSCREEN];
            connection.change_property32(replace, window, atoms._NET_WM_STATE, AtomEnum::ATOM, &state)?;
        }
        let gc = connection.generate_id()?;
        connection.create_gc(gc, window, &CreateGCAux::new().graphics_exposures(0))?;
        repeat_without_release(connection);
        connection.present_query_version(1, 0)?.reply().context("the X server has no Present extension")?;
        let shown = connection.generate_id()?;
        connection.present_select_input(shown, window, present::EventMask::COMPLETE_NOTIFY)?;
        connection.map_window(window)?;
        if options.size.is_none() {
            // Not every window manager looks at the property of a new window; all take a request.
            let add = [1, atoms._NET_WM_STATE_FULLSCREEN, 0, 1, 0];
            let ask = ClientMessageEvent::new(32, window, atoms._NET_WM_STATE, add);
            let to_manager = EventMask::SUBSTRUCTURE_REDIRECT | EventMask::SUBSTRUCTURE_NOTIFY;
            connection.send_event(false, screen.root, to_manager, ask)?;
        }
        connection.flush()?;
        let mut app = Self {
            connection,
            options: options.clone(),
            log,
            atoms,
            window,
            gc,
            depth,
            canvas: None,
            pace: None,
            queued: 0,
            exposed: false,
            pointer: None,
            modifiers: Modifiers::default(),
            held: Vec::new(),
            focused: false,
            tally: Tally::new(),
        };
        app.resize(width.into(), height.into())?;
        Ok(app)
    }

    fn serve(&mut self, signals: &UnixStream) -> anyhow::Result<End> {
        loop {
            loop {
                match self.connection.poll_for_event() {
                    Ok(Some(event)) => {
                        if let Some(end) = self.take(&event)? {
                            return Ok(end);
                        }
                    }
                    Ok(None) => break,
                    Err(error) => return gone(error),
                }
            }
            let now = monotonic_ns();
            if self.tally.is_done(&self.options, now) {
                return Ok(End::Done);
            }
            let drawn = self.draw_if_due(now).and_then(|()| Ok(self.connection.flush()?));
            if let Err(error) = drawn {
                return match error.downcast::<ConnectionError>() {
                    Ok(error) => gone(error),
                    Err(error) => Err(error),
                };
            }
            let mut fds =
                [PollFd::new(self.connection.stream(), PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
            let timeout = self.next_deadline().map(timeout_until);
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("waiting for the X server"),
            }
            if !fds[1].revents().is_empty() {
                return Ok(End::Signal);
            }
        }
    }

    fn next_deadline(&self) -> Option<u64> {
        let moving = self.exposed && self.options.style != Style::Static;
        let picture = self.pace.as_ref().filter(|_| moving).map(Pace::due_ns);
        [picture, self.tally.end_ns(&self.options)].into_iter().flatten().min()
    }

    fn draw_if_due(&mut self, now_ns: u64) -> anyhow::Result<()> {
        if !self.exposed {
            return Ok(());
        }
        match (self.options.style, self.options.clock) {
            // Once, and again when the window lost it.
            (Style::Static, _) => {
                self.exposed = false;
                self.draw()
            }
            (_, Clock::Callback) if self.queued == 0 => self.draw(),
            (_, Clock::Callback) => Ok(()),
            (_, Clock::Own { rate_mhz }) => {
                let pace = self.pace.get_or_insert_with(|| Pace::new(now_ns, rate_mhz));
                if now_ns < pace.due_ns() {
                    return Ok(());
                }
                self.tally.miss(pace.take(now_ns));
                if self.queued >= MAX_QUEUED {
                    self.tally.dropped += 1;
                    return Ok(());
                }
                self.draw()
            }
        }
    }

    fn draw(&mut self) -> anyhow::Result<()> {
        let Some(canvas) = &mut self.canvas else { return Ok(()) };
        let code = Code { frame: self.tally.drawn, time_ns: monotonic_ns() };
        let pointer = self.pointer.map(|(x, y)| (x.max(0) as u32, y.max(0) as u32));
        canvas.card.draw(&Scene { code, pointer }, &mut canvas.pixels, &mut canvas.painted);
        let pixmap = self.connection.generate_id()?;
        let (width, height) = (u16::try_from(canvas.card.width())?, u16::try_from(canvas.card.height())?);
        self.connection.create_pixmap(self.depth, pixmap, self.window, width, height)?;
        upload(self.connection, canvas, pixmap, self.gc, self.depth)?;
        let (serial, whole, any) = (self.tally.drawn, 0, 0);
        self.connection.present_pixmap(
            self.window,
            pixmap,
            serial,
            whole,
            whole,
            0,
            0,
            any,
            any,
            any,
            0,
            0,
            0,
            0,
            &[],
        )?;
        // The server keeps it for as long as it is shown.
        self.connection.free_pixmap(pixmap)?;
        self.queued += 1;
        self.tally.drawn += 1;
        Ok(())
    }

    fn resize(&mut self, width: u32, height: u32) -> anyhow::Result<()> {
        let fullscreen = self.options.size.is_none();
        self.log.write(&Line::Configured { width, height, fullscreen, activated: self.focused });
        let same = |canvas: &Canvas| (canvas.card.width(), canvas.card.height()) == (width, height);
        if self.canvas.as_ref().is_some_and(same) {
            return Ok(());
        }
        let card = Card::new(width, height, self.options.style)?;
        let (pixels, painted) = (vec![0; card.bytes()], Painted::default());
        self.canvas = Some(Canvas { card, pixels, painted });
        self.tally.prepared();
        Ok(())
    }

    /// One event; tells the end when it is the last.
    fn take(&mut self, event: &Event) -> anyhow::Result<Option<End>> {
        match event {
            Event::Expose(_) => self.exposed = true,
            Event::ConfigureNotify(new) => self.resize(new.width.into(), new.height.into())?,
            Event::UnmapNotify(_) => self.exposed = false,
            Event::DestroyNotify(gone) if gone.window == self.window => return Ok(Some(End::WindowClosed)),
            Event::PresentCompleteNotify(shown) if shown.kind == CompleteKind::PIXMAP => {
                self.queued = self.queued.saturating_sub(1);
            }
            Event::ClientMessage(message)
                if message.type_ == self.atoms.WM_PROTOCOLS
                    && message.data.as_data32()[0] == self.atoms.WM_DELETE_WINDOW =>
            {
                return Ok(Some(End::WindowClosed));
            }
            Event::Error(error) => bail!("the X server refused a request: {error:?}"),
            other => self.input(other),
        }
        Ok(None)
    }

    /// Input goes to the log, in the words that Wayland has for it.
    fn input(&mut self, event: &Event) {
        match event {
            // A grab takes the focus for a moment only.
            Event::FocusIn(focus) if focus.mode == NotifyMode::NORMAL => {
                self.focused = true;
                self.log.write(&Line::KeyboardEnter { pressed: Vec::new() });
            }
            Event::FocusOut(focus) if focus.mode == NotifyMode::NORMAL => {
                self.focused = false;
                self.held.clear();
                self.log.write(&Line::KeyboardLeave);
            }
            Event::KeyPress(key) => self.key(key, true),
            Event::KeyRelease(key) => self.key(key, false),
            Event::EnterNotify(enter) => {
                self.pointer = Some((enter.event_x, enter.event_y));
                self.log.write(&Line::PointerEnter { x: enter.event_x.into(), y: enter.event_y.into() });
            }
            Event::LeaveNotify(_) => {
                self.pointer = None;
                self.log.write(&Line::PointerLeave);
            }
            Event::MotionNotify(motion) => {
                self.pointer = Some((motion.event_x, motion.event_y));
                self.log.write(&Line::PointerMotion {
                    x: motion.event_x.into(),
                    y: motion.event_y.into(),
                    wayland_ms: motion.time,
                });
            }
            Event::ButtonPress(button) => self.button(button, true),
            Event::ButtonRelease(button) => self.button(button, false),
            _ => {}
        }
    }

    fn key(&mut self, key: &KeyPressEvent, pressed: bool) {
        let modifiers = modifiers(key.state);
        if modifiers != self.modifiers {
            self.modifiers = modifiers;
            self.log.write(&Line::Modifiers { modifiers });
        }
        let state = match (pressed, self.held.contains(&key.detail)) {
            (true, true) => "repeated",
            (true, false) => {
                self.held.push(key.detail);
                "pressed"
            }
            (false, _) => {
                self.held.retain(|held| *held != key.detail);
                "released"
            }
        };
        let code = key.detail.saturating_sub(KEYCODE_OFFSET).into();
        self.log.write(&Line::Key { code, state, modifiers, wayland_ms: key.time });
    }

    fn button(&mut self, button: &ButtonPressEvent, pressed: bool) {
        let wayland_ms = button.time;
        match Button::from_x(button.detail) {
            Button::Kernel(code) => {
                let state = if pressed { "pressed" } else { "released" };
                self.log.write(&Line::Button { code, state, wayland_ms });
            }
            // A notch is a press and a release.
            Button::Wheel { axis, steps } if pressed => {
                self.log.write(&Line::Axis { axis, value: f64::from(steps) * NOTCH.0, wayland_ms });
                self.log.write(&Line::AxisValue120 { axis, v120: steps * NOTCH.1 });
            }
            Button::Wheel { .. } => {}
        }
    }
}

/// What X calls a button.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Button {
    /// A code of linux/input-event-codes.h.
    Kernel(u32),
    Wheel {
        axis: &'static str,
        steps: i32,
    },
}

impl Button {
    fn from_x(number: u8) -> Self {
        match number {
            1 => Self::Kernel(0x110),
            2 => Self::Kernel(0x112),
            3 => Self::Kernel(0x111),
            4 => Self::Wheel { axis: "vertical", steps: -1 },
            5 => Self::Wheel { axis: "vertical", steps: 1 },
            6 => Self::Wheel { axis: "horizontal", steps: -1 },
            7 => Self::Wheel { axis: "horizontal", steps: 1 },
            // 8 and 9 are BTN_SIDE and BTN_EXTRA, and so on.
            other => Self::Kernel(0x113 + u32::from(other.saturating_sub(8))),
        }
    }
}

/// Core events tell what is in force, not how it came to be: the two locks count as locked, the rest as held down.
fn modifiers(state: KeyButMask) -> Modifiers {
    let state = u32::from(u16::from(state));
    let locks = u32::from(u16::from(KeyButMask::LOCK) | u16::from(KeyButMask::MOD2));
    Modifiers { depressed: state & 0xff & !locks, latched: 0, locked: state & locks, group: state >> 13 & 3 }
}

/// A held key shall repeat as presses alone. A server without XKB repeats as releases and presses.
fn repeat_without_release(connection: &RustConnection) {
    let flag = xkb::PerClientFlag::DETECTABLE_AUTO_REPEAT;
    let none = xkb::BoolCtrl::from(0_u8);
    let asked = connection.xkb_use_extension(1, 0).map_err(|_| ()).and_then(|cookie| {
        cookie.reply().map_err(|_| ())?;
        let core = xkb::ID::USE_CORE_KBD.into();
        let flags = connection.xkb_per_client_flags(core, flag, flag, none, none, none).map_err(|_| ())?;
        flags.reply().map_err(|_| ())
    });
    if asked.is_err() {
        eprintln!("testcard: the X server has no XKB; a held key looks like many");
    }
}

/// The card draws blue, green, red, unused.
fn check_pixels(connection: &RustConnection, screen: &Screen) -> anyhow::Result<()> {
    let setup = connection.setup();
    let bits = setup.pixmap_formats.iter().find(|format| format.depth == screen.root_depth);
    let visuals = screen.allowed_depths.iter().flat_map(|depth| &depth.visuals);
    let visual = visuals.into_iter().find(|visual| visual.visual_id == screen.root_visual);
    let fits = bits.is_some_and(|format| format.bits_per_pixel == 32)
        && visual.is_some_and(|visual| (visual.red_mask, visual.blue_mask) == (0x00ff_0000, 0xff))
        && setup.image_byte_order == ImageOrder::LSB_FIRST;
    if !fits {
        bail!(
            "the screen's pixels are not BGRX of 32 bits (depth {}); run the X server at depth 24",
            screen.root_depth
        );
    }
    Ok(())
}

/// Sends the canvas to `pixmap`, in as many requests as the server's limit makes necessary.
fn upload(
    connection: &RustConnection,
    canvas: &Canvas,
    pixmap: Pixmap,
    gc: Gcontext,
    depth: u8,
) -> anyhow::Result<()> {
    let (width, height) = (canvas.card.width() as u16, canvas.card.height());
    let limit = connection.maximum_request_bytes().saturating_sub(PUT_IMAGE_HEADER);
    let rows = (limit / canvas.card.stride()).clamp(1, height as usize);
    let format = ImageFormat::Z_PIXMAP;
    for (index, part) in canvas.pixels.chunks(rows * canvas.card.stride()).enumerate() {
        let (top, lines) = ((index * rows) as i16, (part.len() / canvas.card.stride()) as u16);
        connection.put_image(format, pixmap, gc, width, lines, 0, top, 0, depth, part)?;
    }
    Ok(())
}

/// The server's end of the connection closed, or something worse.
fn gone(error: ConnectionError) -> anyhow::Result<End> {
    match error {
        ConnectionError::IoError(_) => Ok(End::CompositorGone),
        error => Err(error).context("talking to the X server"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buttons_have_the_codes_of_the_kernel() {
        let left_right_middle = [1, 3, 2].map(Button::from_x);
        assert_eq!(left_right_middle, [0x110, 0x111, 0x112].map(Button::Kernel));
        assert_eq!([8, 9].map(Button::from_x), [0x113, 0x114].map(Button::Kernel));
        assert_eq!(Button::from_x(4), Button::Wheel { axis: "vertical", steps: -1 });
        assert_eq!(Button::from_x(7), Button::Wheel { axis: "horizontal", steps: 1 });
    }

    #[test]
    fn locks_are_told_from_what_is_held() {
        let state = KeyButMask::SHIFT | KeyButMask::LOCK | KeyButMask::BUTTON1;
        let modifiers = modifiers(state);
        assert_eq!((modifiers.depressed, modifiers.locked, modifiers.group), (1, 2, 0));
    }
}
