//! Compositors of the wlroots family (sway, Hyprland, labwc, river, …): a virtual pointer that is bound to the streamed
//! output, and a virtual keyboard with a keymap of our own.
//!
//! Neither protocol has touch: the first finger moves the pointer and holds its left button.

use crate::finger::FingerPointer;
use crate::keyboard::{Keyboard, Modifiers, Typing, keymap_text};
use crate::sink::{Applied, Connect, Driver, InputError, start};
use lumen_media::{InputEvent, InputSink, Timestamp, clock};
use lumen_wayland::{Answer, Globals};
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use wayland_client::backend::WaylandError;
use wayland_client::protocol::wl_callback::WlCallback;
use wayland_client::protocol::wl_registry::WlRegistry;
use wayland_client::protocol::{wl_keyboard, wl_output, wl_pointer, wl_seat};
use wayland_client::{
    Connection, Dispatch, EventQueue, Proxy, QueueHandle, WEnum, delegate_dispatch, delegate_noop,
};
use wayland_protocols_misc::zwp_virtual_keyboard_v1::client::zwp_virtual_keyboard_manager_v1::ZwpVirtualKeyboardManagerV1;
use wayland_protocols_misc::zwp_virtual_keyboard_v1::client::zwp_virtual_keyboard_v1::ZwpVirtualKeyboardV1;
use wayland_protocols_wlr::virtual_pointer::v1::client::zwlr_virtual_pointer_manager_v1::ZwlrVirtualPointerManagerV1;
use wayland_protocols_wlr::virtual_pointer::v1::client::zwlr_virtual_pointer_v1::ZwlrVirtualPointerV1;

/// For the compositor to answer at the start.
const LIMIT: Duration = Duration::from_secs(3);
/// `motion_absolute` counts in parts of this.
const EXTENT: f64 = 65_535.0;
/// `wl_pointer.axis` of a notch, as most compositors send it.
const AXIS_PER_NOTCH: f64 = 15.0;

/// Which output of a compositor is streamed.
#[derive(Clone, Debug)]
pub enum WlrootsOutput {
    /// By `wl_output.name`.
    Named(String),
    /// Where its name is not known: the only one of this size (width and height in pixels), or the only one at all.
    Sized(Option<(u32, u32)>),
}

impl fmt::Display for WlrootsOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => write!(f, "output {name}"),
            Self::Sized(Some((width, height))) => write!(f, "single output of {width}x{height}"),
            Self::Sized(None) => f.write_str("single output"),
        }
    }
}

/// Where events of a wlroots compositor go.
#[derive(Clone, Debug)]
pub struct WlrootsTarget {
    /// Name in logs and errors.
    pub desktop: &'static str,
    /// The compositor's socket, absolute.
    pub socket: PathBuf,
    /// The streamed output: positions land there.
    pub output: WlrootsOutput,
    /// XKB layouts and variants of the virtual keyboard, each comma-separated; `None` is the seat's own.
    pub keyboard: Option<(String, String)>,
}

/// A sink for a wlroots compositor. Returns at once; a thread of its own connects, and says in the log what is missing.
pub fn wlroots(target: WlrootsTarget) -> Arc<dyn InputSink> {
    let desktop = target.desktop;
    let connect: Connect = Box::new(move || Ok(Box::new(Wlroots::connect(&target)?)));
    start(desktop, connect)
}

/// What the compositor told.
#[derive(Default)]
struct State {
    globals: Globals,
    outputs: Vec<(wl_output::WlOutput, Told)>,
    has_keyboard: bool,
    /// Of the seat's keyboard, in XKB's text format.
    keymap: Option<String>,
}

/// What an output says of itself.
#[derive(Clone, Debug, Default)]
struct Told {
    name: Option<String>,
    /// Of its current mode, in pixels.
    size: Option<(u32, u32)>,
}

/// The position, among all that were told, of the streamed one.
fn chosen<'a>(told: impl Iterator<Item = &'a Told>, wanted: &WlrootsOutput) -> Option<usize> {
    let told: Vec<_> = told.collect();
    let only = |fits: &dyn Fn(&Told) -> bool| {
        let mut fitting = told.iter().enumerate().filter(|(_, told)| fits(told)).map(|(index, _)| index);
        fitting.next().filter(|_| fitting.next().is_none())
    };
    match wanted {
        WlrootsOutput::Named(name) => told.iter().position(|told| told.name.as_ref() == Some(name)),
        WlrootsOutput::Sized(size) => {
            only(&|_| true).or_else(|| only(&|told| size.is_some() && told.size == *size))
        }
    }
}

struct Wlroots {
    desktop: &'static str,
    connection: Connection,
    queue: EventQueue<State>,
    state: State,
    pointer: Option<ZwlrVirtualPointerV1>,
    keyboard: Option<(ZwpVirtualKeyboardV1, Keyboard)>,
    finger: FingerPointer,
    fallback: String,
}

impl Wlroots {
    fn connect(target: &WlrootsTarget) -> Result<Self, InputError> {
        let desktop = target.desktop;
        let lost = |cause: String| InputError::Lost { desktop, cause };
        let connection = lumen_wayland::open(&target.socket)
            .map_err(|error| lost(format!("{}: {error}", target.socket.display())))?;
        let mut queue = connection.new_event_queue::<State>();
        let handle = queue.handle();
        let mut state = State::default();
        let deadline = clock::now() + LIMIT;
        roundtrip(desktop, &connection, &mut queue, &mut state, deadline)?;
        let seat: Option<wl_seat::WlSeat> = state.globals.bind(&handle, 5);
        let pointers: Option<ZwlrVirtualPointerManagerV1> = state.globals.bind(&handle, 2);
        let keyboards: Option<ZwpVirtualKeyboardManagerV1> = state.globals.bind(&handle, 1);
        state.outputs = state.globals.bind_all(&handle, 4).map(|output| (output, Told::default())).collect();
        roundtrip(desktop, &connection, &mut queue, &mut state, deadline)?;
        let output = chosen(state.outputs.iter().map(|(_, told)| told), &target.output)
            .map(|index| state.outputs[index].0.clone());
        let mut missing = Vec::new();
        let pointer = pointers.map(|manager| match manager.version() {
            2.. => {
                if output.is_none() {
                    missing.push(format!("positions cover all monitors: there is no {}", target.output));
                }
                manager.create_virtual_pointer_with_output(seat.as_ref(), output.as_ref(), &handle, ())
            }
            _ => {
                missing.push("positions cover all monitors: its virtual pointer is of version 1".to_owned());
                manager.create_virtual_pointer(seat.as_ref(), &handle, ())
            }
        });
        if pointer.is_none() {
            missing.push("no pointer: it lacks zwlr_virtual_pointer_manager_v1".to_owned());
        }
        let keyboard = match keyboards.zip(seat.as_ref()) {
            Some((manager, seat)) => {
                // Before ours is there: it would be the seat's.
                if target.keyboard.is_none() && state.has_keyboard {
                    let theirs = seat.get_keyboard(&handle, ());
                    roundtrip(desktop, &connection, &mut queue, &mut state, deadline)?;
                    if theirs.version() >= 3 {
                        theirs.release();
                    }
                }
                let (mut keymap, reason) = keymap(target, state.keymap.take())?;
                keymap.lock_numbers();
                missing.extend(reason);
                Some((manager.create_virtual_keyboard(seat, &handle, ()), keymap))
            }
            None => {
                missing.push("no keyboard: it lacks zwp_virtual_keyboard_manager_v1".to_owned());
                None
            }
        };
        if pointer.is_none() && keyboard.is_none() {
            return Err(InputError::Unsupported {
                desktop,
                cause: "it has neither zwlr_virtual_pointer_manager_v1 nor zwp_virtual_keyboard_manager_v1"
                    .into(),
                remedy: "The stream can be watched only; a compositor with these protocols takes input"
                    .into(),
            });
        }
        let mut driver = Self {
            desktop,
            connection,
            queue,
            state,
            pointer,
            keyboard,
            finger: FingerPointer::default(),
            fallback: missing.join("; "),
        };
        driver.send_keymap()?;
        let Self { connection, queue, state, .. } = &mut driver;
        roundtrip(desktop, connection, queue, state, deadline)?;
        Ok(driver)
    }

    /// The keyboard's keymap and what is in force.
    fn send_keymap(&mut self) -> Result<(), InputError> {
        let Some((device, keyboard)) = &self.keyboard else { return Ok(()) };
        let text = keyboard.text();
        let file = in_memory(text.as_bytes()).map_err(|error| InputError::Lost {
            desktop: self.desktop,
            cause: format!("no memory for the keymap: {error}"),
        })?;
        // The size counts the NUL at the end.
        device.keymap(wl_keyboard::KeymapFormat::XkbV1.into(), file.as_fd(), text.len() as u32 + 1);
        modifiers(device, keyboard.modifiers());
        Ok(())
    }

    fn key(&mut self, code: u16, pressed: bool) -> Applied {
        let Some((device, keyboard)) = &mut self.keyboard else { return Applied::Never };
        let changed = keyboard.key(code, pressed);
        device.key(now_ms(), code.into(), u32::from(pressed));
        if let Some(changed) = changed {
            modifiers(device, changed);
        }
        Applied::Sent
    }

    fn text(&mut self, character: char) -> Applied {
        let Some((_, keyboard)) = &mut self.keyboard else { return Applied::Never };
        let stroke = match keyboard.typing(character) {
            Typing::Now(stroke) => stroke,
            Typing::NewKeymap(stroke) => {
                if self.send_keymap().is_err() {
                    return Applied::Never;
                }
                stroke
            }
            Typing::Impossible => return Applied::Never,
        };
        let Some((device, keyboard)) = &self.keyboard else { return Applied::Never };
        let before = keyboard.modifiers();
        let needed = Modifiers { depressed: stroke.mask, group: before.group, ..Modifiers::default() };
        let other = needed != before;
        if other {
            modifiers(device, needed);
        }
        device.key(now_ms(), stroke.code.into(), 1);
        device.key(now_ms(), stroke.code.into(), 0);
        if other {
            modifiers(device, before);
        }
        Applied::Sent
    }

    fn scroll(&mut self, horizontal: i32, vertical: i32) -> Applied {
        let Some(pointer) = &self.pointer else { return Applied::Never };
        let time = now_ms();
        let axes =
            [(wl_pointer::Axis::HorizontalScroll, horizontal), (wl_pointer::Axis::VerticalScroll, vertical)];
        // The protocol counts whole notches only. Parts move smoothly, and nothing else: programs that count notches would
        // count what the parts have moved already.
        let whole = horizontal % 120 == 0 && vertical % 120 == 0;
        pointer.axis_source(match whole {
            true => wl_pointer::AxisSource::Wheel,
            false => wl_pointer::AxisSource::Continuous,
        });
        for (axis, v120) in axes.into_iter().filter(|(_, v120)| *v120 != 0) {
            let value = f64::from(v120) * AXIS_PER_NOTCH / 120.0;
            if whole {
                pointer.axis_discrete(time, axis, value, v120 / 120);
            } else {
                pointer.axis(time, axis, value);
            }
        }
        pointer.frame();
        Applied::Sent
    }

    fn pointer_event(&mut self, event: &InputEvent) -> Applied {
        let Some(pointer) = &self.pointer else { return Applied::Never };
        let time = now_ms();
        match event {
            InputEvent::PointerMotion { dx, dy } => pointer.motion(time, *dx, *dy),
            InputEvent::PointerAbsolute { x, y } => {
                let part = |value: f64| (value.clamp(0.0, 1.0) * EXTENT).round() as u32;
                pointer.motion_absolute(time, part(*x), part(*y), EXTENT as u32, EXTENT as u32);
            }
            InputEvent::Button { code, pressed } => {
                let state = if *pressed {
                    wl_pointer::ButtonState::Pressed
                } else {
                    wl_pointer::ButtonState::Released
                };
                pointer.button(time, (*code).into(), state);
            }
            _ => return Applied::Never,
        }
        pointer.frame();
        Applied::Sent
    }
}

impl Driver for Wlroots {
    fn path(&self) -> &'static str {
        "wlr-virtual-pointer"
    }

    fn fallback(&self) -> String {
        self.fallback.clone()
    }

    fn apply(&mut self, event: &InputEvent) -> Applied {
        match event {
            InputEvent::Key { code, pressed } => self.key(*code, *pressed),
            InputEvent::Text(text) => text.chars().fold(Applied::Sent, |_, character| self.text(character)),
            InputEvent::Scroll { horizontal_v120, vertical_v120 } => {
                self.scroll(*horizontal_v120, *vertical_v120)
            }
            InputEvent::Touch { id, phase, x, y } => {
                let mut applied = Applied::Sent;
                for event in self.finger.touch(*id, *phase, *x, *y).into_iter().flatten() {
                    applied = self.pointer_event(&event);
                }
                applied
            }
            other => self.pointer_event(other),
        }
    }

    fn flush(&mut self) -> Result<bool, InputError> {
        match self.queue.flush() {
            Ok(()) => Ok(true),
            Err(WaylandError::Io(error)) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => {
                let cause =
                    self.connection.protocol_error().map_or(error.to_string(), |error| error.to_string());
                Err(InputError::Lost { desktop: self.desktop, cause })
            }
        }
    }

    fn turn(&mut self, wake: BorrowedFd<'_>, deadline: Option<Timestamp>) -> Result<(), InputError> {
        lumen_wayland::turn(&mut self.queue, &mut self.state, Some(wake), deadline)
            .map(|_| ())
            .map_err(|error| InputError::Lost { desktop: self.desktop, cause: error.to_string() })
    }
}

fn modifiers(device: &ZwpVirtualKeyboardV1, modifiers: Modifiers) {
    let Modifiers { depressed, latched, locked, group } = modifiers;
    device.modifiers(depressed, latched, locked, group);
}

/// The configured layout, else that of the seat; the American one, and why, where neither can be had.
fn keymap(target: &WlrootsTarget, of_seat: Option<String>) -> Result<(Keyboard, Option<String>), InputError> {
    let found = match &target.keyboard {
        Some((layout, variant)) => Keyboard::of_layout(layout, variant),
        None => of_seat.and_then(Keyboard::of_text),
    };
    if let Some(keyboard) = found {
        return Ok((keyboard, None));
    }
    let said = match &target.keyboard {
        Some((layout, _)) => format!("the keyboard is American: XKB does not know the layout `{layout}`"),
        None => {
            "the keyboard is American: the seat has none, and input.keyboard_layout names none".to_owned()
        }
    };
    let keyboard = Keyboard::of_layout("us", "").ok_or_else(|| InputError::Unsupported {
        desktop: target.desktop,
        cause: "XKB knows no keyboard layout".into(),
        remedy: "Install xkb-data".into(),
    })?;
    Ok((keyboard, Some(said)))
}

/// A file in memory with `bytes` and a NUL.
pub(crate) fn in_memory(bytes: &[u8]) -> std::io::Result<File> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::memfd_create(c"lumen-keymap", flags)?);
    file.write_all(bytes)?;
    file.write_all(&[0])?;
    Ok(file)
}

/// The protocols' 32-bit milliseconds, which wrap.
fn now_ms() -> u32 {
    (clock::now().as_nanos() / 1_000_000) as u32
}

fn roundtrip(
    desktop: &'static str,
    connection: &Connection,
    queue: &mut EventQueue<State>,
    state: &mut State,
    deadline: Timestamp,
) -> Result<(), InputError> {
    let lost = |cause: String| InputError::Lost { desktop, cause };
    match lumen_wayland::roundtrip(connection, queue, state, deadline) {
        Ok(true) => Ok(()),
        Ok(false) => Err(lost(format!("it did not answer within {LIMIT:?}"))),
        Err(error) => Err(lost(error.to_string())),
    }
}

impl Dispatch<wl_seat::WlSeat, ()> for State {
    fn event(
        state: &mut Self,
        _: &wl_seat::WlSeat,
        event: wl_seat::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wl_seat::Event::Capabilities { capabilities: WEnum::Value(capabilities) } = event {
            state.has_keyboard = capabilities.contains(wl_seat::Capability::Keyboard);
        }
    }
}

impl Dispatch<wl_keyboard::WlKeyboard, ()> for State {
    fn event(
        state: &mut Self,
        _: &wl_keyboard::WlKeyboard,
        event: wl_keyboard::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let xkb = WEnum::Value(wl_keyboard::KeymapFormat::XkbV1);
        if let wl_keyboard::Event::Keymap { format, fd, size } = event
            && format == xkb
        {
            state.keymap = keymap_text(fd, size);
        }
    }
}

impl Dispatch<wl_output::WlOutput, ()> for State {
    fn event(
        state: &mut Self,
        output: &wl_output::WlOutput,
        event: wl_output::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let Some((_, told)) = state.outputs.iter_mut().find(|(known, _)| known == output) else { return };
        match event {
            wl_output::Event::Name { name } => told.name = Some(name),
            wl_output::Event::Mode { flags: WEnum::Value(flags), width, height, .. }
                if flags.contains(wl_output::Mode::Current) =>
            {
                told.size = u32::try_from(width).ok().zip(u32::try_from(height).ok());
            }
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
delegate_noop!(State: ZwlrVirtualPointerManagerV1);
delegate_noop!(State: ZwlrVirtualPointerV1);
delegate_noop!(State: ZwpVirtualKeyboardManagerV1);
delegate_noop!(State: ZwpVirtualKeyboardV1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_without_a_name_is_chosen_where_there_is_no_doubt() {
        let told = |name: &str, size| Told { name: Some(name.into()), size: Some(size) };
        let three = [told("DP-1", (1920, 1080)), told("DP-2", (1280, 720)), told("DP-3", (1920, 1080))];
        let choose = |outputs: &[Told], wanted: WlrootsOutput| chosen(outputs.iter(), &wanted);
        assert_eq!(choose(&three, WlrootsOutput::Named("DP-3".into())), Some(2));
        assert_eq!(choose(&three, WlrootsOutput::Named(String::new())), None);
        assert_eq!(choose(&[Told::default()], WlrootsOutput::Named(String::new())), None);
        assert_eq!(choose(&three, WlrootsOutput::Sized(Some((1280, 720)))), Some(1));
        assert_eq!(choose(&three, WlrootsOutput::Sized(Some((1920, 1080)))), None);
        assert_eq!(choose(&three, WlrootsOutput::Sized(None)), None);
        assert_eq!(choose(&three[..1], WlrootsOutput::Sized(Some((800, 600)))), Some(0));
    }
}
