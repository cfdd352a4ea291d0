//! KWin's fake input, for where its libei is out of reach, and for characters that no key of the layout types. KWin shows
//! the protocol only to programs with its permission (`lumen setup`).

use crate::keymap::is_modifier;
use crate::protocol::org_kde_kwin_fake_input::OrgKdeKwinFakeInput;
use crate::sink::{Applied, Connect, Driver, InputError};
use lumen_media::{InputEvent, Timestamp, TouchPhase, clock};
use lumen_wayland::{Answer, Globals};
use std::io::ErrorKind;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wayland_client::backend::WaylandError;
use wayland_client::protocol::wl_callback::WlCallback;
use wayland_client::protocol::wl_output;
use wayland_client::protocol::wl_registry::WlRegistry;
use wayland_client::{
    Connection, Dispatch, EventQueue, Proxy, QueueHandle, delegate_dispatch, delegate_noop,
};
use wayland_protocols::xdg::xdg_output::zv1::client::zxdg_output_manager_v1::ZxdgOutputManagerV1;
use wayland_protocols::xdg::xdg_output::zv1::client::zxdg_output_v1::{self, ZxdgOutputV1};
use xkbcommon::xkb;

/// Name in logs and errors.
const KWIN: &str = "KWin";
/// For KWin to answer at the start.
const LIMIT: Duration = Duration::from_secs(3);
/// For a character to be sent.
const TYPING: Duration = Duration::from_millis(300);
/// `wl_pointer.axis` of a notch.
const AXIS_PER_NOTCH: f64 = 15.0;
/// The right and bottom edges belong to the next monitor, and KWin rounds: positions end a logical pixel before them.
const EDGE: f64 = 1.0;
/// Positions are given with the version that has them.
const ABSOLUTE: u32 = 3;
const KEYS: u32 = 4;
const SYMBOLS: u32 = 6;

/// An output, where it lies among the others, in logical pixels.
#[derive(Clone, Debug, Default)]
struct Output {
    name: String,
    place: (i32, i32),
    size: (i32, i32),
}

#[derive(Default)]
struct State {
    globals: Globals,
    outputs: Vec<(ZxdgOutputV1, Output)>,
}

/// A connection to KWin's fake input.
struct FakeInput {
    connection: Connection,
    queue: EventQueue<State>,
    state: State,
    device: OrgKdeKwinFakeInput,
    /// Of the streamed output.
    output: String,
    fingers: std::collections::BTreeSet<u32>,
    /// Modifier keys that the client holds, by evdev code.
    modifiers: std::collections::BTreeSet<u16>,
}

/// Connects to the KWin at `socket`, to send positions to its output called `output`.
pub(crate) fn connect(socket: PathBuf, output: String) -> Connect {
    Box::new(move || Ok(Box::new(FakeInput::connect(&socket, &output)?)))
}

/// Types characters by their symbol; connects when the first one comes.
pub(crate) fn typist(socket: PathBuf) -> crate::Typist {
    let mut connected: Option<FakeInput> = None;
    Box::new(move |character| {
        if connected.is_none() {
            connected = FakeInput::connect(&socket, "")
                .inspect_err(|error| tracing::debug!(%error, "no fake input for text"))
                .ok();
        }
        let Some(fake) = &mut connected else { return false };
        let sent = fake.symbol(character) == Applied::Sent && fake.settle(clock::now() + TYPING).is_ok();
        if !sent {
            connected = None;
        }
        sent
    })
}

fn lost(cause: impl ToString) -> InputError {
    InputError::Lost { desktop: KWIN, cause: cause.to_string() }
}

impl FakeInput {
    fn connect(socket: &Path, output: &str) -> Result<Self, InputError> {
        let connection =
            lumen_wayland::open(socket).map_err(|error| lost(format!("{}: {error}", socket.display())))?;
        let mut queue = connection.new_event_queue::<State>();
        let handle = queue.handle();
        let mut state = State::default();
        let deadline = clock::now() + LIMIT;
        roundtrip(&connection, &mut queue, &mut state, deadline)?;
        let device: OrgKdeKwinFakeInput =
            state.globals.bind(&handle, 6).ok_or_else(|| InputError::Unsupported {
                desktop: KWIN,
                cause: "it neither hands out a socket of libei nor shows org_kde_kwin_fake_input".into(),
                remedy: "Let Lumen in with `lumen setup`, or log into Plasma 6.1 or newer".into(),
            })?;
        device.authenticate("Lumen".into(), "input of the client that watches".into());
        if let Some(manager) = state.globals.bind::<ZxdgOutputManagerV1, _>(&handle, 3) {
            let outputs = state.globals.bind_all::<wl_output::WlOutput, _>(&handle, 4);
            state.outputs = outputs
                .map(|output| (manager.get_xdg_output(&output, &handle, ()), Output::default()))
                .collect();
        }
        roundtrip(&connection, &mut queue, &mut state, deadline)?;
        let output = output.to_owned();
        let (fingers, modifiers) = Default::default();
        Ok(Self { connection, queue, state, device, output, fingers, modifiers })
    }

    /// Waits until KWin has taken all that was sent.
    fn settle(&mut self, deadline: Timestamp) -> Result<(), InputError> {
        let Self { connection, queue, state, .. } = self;
        roundtrip(connection, queue, state, deadline)
    }

    fn symbol(&self, character: char) -> Applied {
        if self.device.version() < SYMBOLS {
            return Applied::Never;
        }
        let symbol = match character {
            '\n' | '\r' => xkb::Keysym::Return,
            '\t' => xkb::Keysym::Tab,
            '\u{8}' => xkb::Keysym::BackSpace,
            other => xkb::utf32_to_keysym(u32::from(other)),
        };
        if symbol.raw() == 0 {
            return Applied::Never;
        }
        self.device.keyboard_keysym(symbol.raw(), 1);
        self.device.keyboard_keysym(symbol.raw(), 0);
        Applied::Sent
    }

    /// A place of the streamed output among all outputs.
    fn locate(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let (_, output) = self.state.outputs.iter().find(|(_, output)| output.name == self.output)?;
        let at = |start: i32, length: i32, part: f64| {
            let length = f64::from(length);
            f64::from(start) + (part.clamp(0.0, 1.0) * length).min(length - EDGE)
        };
        Some((at(output.place.0, output.size.0, x), at(output.place.1, output.size.1, y)))
    }

    fn touch(&mut self, id: u32, phase: TouchPhase, x: f64, y: f64) -> Applied {
        let place = self.locate(x, y);
        match (phase, place) {
            (TouchPhase::Down, Some((x, y))) => {
                self.fingers.insert(id);
                self.device.touch_down(id, x, y);
            }
            (TouchPhase::Move, Some((x, y))) if self.fingers.contains(&id) => {
                self.device.touch_motion(id, x, y)
            }
            (TouchPhase::Up, _) if self.fingers.remove(&id) => self.device.touch_up(id),
            (TouchPhase::Cancel, _) => {
                self.fingers.clear();
                self.device.touch_cancel();
            }
            _ => return Applied::NotYet,
        }
        self.device.touch_frame();
        Applied::Sent
    }
}

impl Driver for FakeInput {
    fn path(&self) -> &'static str {
        "kwin-fake-input"
    }

    fn fallback(&self) -> String {
        let mut said = vec!["KWin's libei is out of reach"];
        if self.device.version() < KEYS {
            said.push("this KWin takes no keys");
        } else if self.device.version() < SYMBOLS {
            said.push("this KWin takes no text");
        }
        said.join("; ")
    }

    fn apply(&mut self, event: &InputEvent) -> Applied {
        match event {
            InputEvent::Key { code, pressed } if self.device.version() >= KEYS => {
                if is_modifier(*code) {
                    if *pressed {
                        self.modifiers.insert(*code)
                    } else {
                        self.modifiers.remove(code)
                    };
                }
                self.device.keyboard_key((*code).into(), u32::from(*pressed));
            }
            InputEvent::Button { code, pressed } => self.device.button((*code).into(), u32::from(*pressed)),
            InputEvent::PointerMotion { dx, dy } => self.device.pointer_motion(*dx, *dy),
            InputEvent::PointerAbsolute { x, y } if self.device.version() >= ABSOLUTE => {
                let Some((x, y)) = self.locate(*x, *y) else { return Applied::NotYet };
                self.device.pointer_motion_absolute(x, y);
            }
            InputEvent::Scroll { horizontal_v120, vertical_v120 } => {
                for (axis, v120) in [(1, *horizontal_v120), (0, *vertical_v120)] {
                    if v120 != 0 {
                        self.device.axis(axis, f64::from(v120) * AXIS_PER_NOTCH / 120.0);
                    }
                }
            }
            InputEvent::Touch { id, phase, x, y } => return self.touch(*id, *phase, *x, *y),
            InputEvent::Text(text) => {
                // What is held would make shortcuts of it.
                for code in &self.modifiers {
                    self.device.keyboard_key((*code).into(), 0);
                }
                let applied = text.chars().fold(Applied::Sent, |_, character| self.symbol(character));
                for code in &self.modifiers {
                    self.device.keyboard_key((*code).into(), 1);
                }
                return applied;
            }
            // The sink makes a pointer of a pen.
            InputEvent::Key { .. } | InputEvent::PointerAbsolute { .. } | InputEvent::Pen(_) => {
                return Applied::Never;
            }
        }
        Applied::Sent
    }

    fn flush(&mut self) -> Result<bool, InputError> {
        match self.queue.flush() {
            Ok(()) => Ok(true),
            Err(WaylandError::Io(error)) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(lost(error)),
        }
    }

    fn turn(&mut self, wake: BorrowedFd<'_>, deadline: Option<Timestamp>) -> Result<(), InputError> {
        lumen_wayland::turn(&mut self.queue, &mut self.state, Some(wake), deadline).map(|_| ()).map_err(lost)
    }
}

fn roundtrip(
    connection: &Connection,
    queue: &mut EventQueue<State>,
    state: &mut State,
    deadline: Timestamp,
) -> Result<(), InputError> {
    match lumen_wayland::roundtrip(connection, queue, state, deadline) {
        Ok(true) => Ok(()),
        Ok(false) => Err(lost("it did not answer in time")),
        Err(error) => Err(lost(error)),
    }
}

impl Dispatch<ZxdgOutputV1, ()> for State {
    fn event(
        state: &mut Self,
        proxy: &ZxdgOutputV1,
        event: zxdg_output_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let Some((_, output)) = state.outputs.iter_mut().find(|(known, _)| known == proxy) else { return };
        match event {
            zxdg_output_v1::Event::LogicalPosition { x, y } => output.place = (x, y),
            zxdg_output_v1::Event::LogicalSize { width, height } => output.size = (width, height),
            zxdg_output_v1::Event::Name { name } => output.name = name,
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
delegate_noop!(State: ignore wl_output::WlOutput);
delegate_noop!(State: ZxdgOutputManagerV1);
delegate_noop!(State: OrgKdeKwinFakeInput);
