//! From input events to clients, and who has the focus.

use crate::frame_clock::Damage;
use crate::keyboard::Layout;
use crate::state::Compositor;
use crate::tablet::Tablet;
use crate::text;
use lumen_media::{InputEvent, Pen, TouchPhase};
use smithay::backend::input::{Axis, AxisSource, ButtonState, KeyState, TouchSlot};
use smithay::desktop::PopupGrab;
use smithay::input::keyboard::{FilterResult, KeyboardHandle, KeyboardTarget, Keycode, ModifiersState};
use smithay::input::pointer::{AxisFrame, ButtonEvent, MotionEvent, PointerHandle, RelativeMotionEvent};
use smithay::input::touch::{DownEvent, MotionEvent as TouchMotionEvent, TouchHandle, UpEvent};
use smithay::input::{Seat, SeatState};
use smithay::reexports::wayland_server::DisplayHandle;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{IsAlive, Logical, Point, SERIAL_COUNTER, Size};
use smithay::wayland::pointer_constraints::{PointerConstraint, with_pointer_constraint};
use smithay::wayland::tablet_manager::{TabletSeatHandle, TabletSeatTrait};
use std::collections::{BTreeMap, BTreeSet};

/// Key repeat of the clients: rate in Hz and delay in ms, as most desktops have it.
const REPEAT: (i32, i32) = (25, 400);
/// XKB counts keys from 8 where evdev counts from 0.
const XKB_OFFSET: u32 = 8;
/// `wl_pointer.axis` of a notch, as most compositors send it; programs scroll three lines or so.
const AXIS_PER_NOTCH: f64 = 15.0;
/// Fingers that can be down at a time.
const MAX_TOUCHES: usize = 32;

/// The seat, and what is held on it.
pub(crate) struct Input {
    seat: Seat<Compositor>,
    keyboard: KeyboardHandle<Compositor>,
    pointer: PointerHandle<Compositor>,
    touch: TouchHandle<Compositor>,
    layout: Layout,
    size: Size<i32, Logical>,
    keys: BTreeSet<u16>,
    buttons: BTreeSet<u16>,
    /// Fingers that are down, and where.
    touches: BTreeMap<u32, Point<f64, Logical>>,
    pub(crate) tablets: TabletSeatHandle,
    pub(crate) tablet: Tablet,
}

impl Input {
    pub(crate) fn new(
        display: &DisplayHandle,
        seats: &mut SeatState<Compositor>,
        size: Size<i32, Logical>,
        layout: &Layout,
    ) -> Result<Self, smithay::input::keyboard::Error> {
        let mut seat = seats.new_wl_seat(display, "seat0");
        let keyboard = seat.add_keyboard(layout.config(), REPEAT.1, REPEAT.0)?;
        // As desktops have it at their start: clients tell the keys of a number pad as such, whatever their NumLock says.
        keyboard.set_modifier_state(ModifiersState { num_lock: true, ..ModifiersState::default() });
        let pointer = seat.add_pointer();
        let touch = seat.add_touch();
        Ok(Self {
            tablets: seat.tablet_seat(),
            tablet: Tablet::default(),
            seat,
            keyboard,
            pointer,
            touch,
            layout: layout.clone(),
            size,
            keys: BTreeSet::new(),
            buttons: BTreeSet::new(),
            touches: BTreeMap::new(),
        })
    }

    /// The output has another size.
    pub(crate) fn resize(&mut self, size: Size<i32, Logical>) {
        self.size = size;
    }

    /// Where the pointer is.
    pub(crate) fn position(&self) -> Point<f64, Logical> {
        self.pointer.current_location()
    }

    /// Where its picture is shown: that of a pen, while there is one.
    pub(crate) fn shown_at(&self) -> Point<f64, Logical> {
        self.tablet.place().unwrap_or_else(|| self.position())
    }

    /// The nearest place on the output. The right and bottom edges belong to no pixel.
    fn clamp(&self, place: Point<f64, Logical>) -> Point<f64, Logical> {
        let (right, bottom) = (f64::from(self.size.w) - 0.01, f64::from(self.size.h) - 0.01);
        let sane = |value: f64, most: f64| if value.is_finite() { value.clamp(0.0, most) } else { 0.0 };
        Point::from((sane(place.x, right), sane(place.y, bottom)))
    }

    /// A place given in parts of the output.
    pub(crate) fn absolute(&self, x: f64, y: f64) -> Point<f64, Logical> {
        self.clamp(Point::from((x * f64::from(self.size.w), y * f64::from(self.size.h))))
    }
}

impl Compositor {
    /// Delivers one event at once.
    pub(crate) fn input(&mut self, event: InputEvent) {
        match event {
            InputEvent::Key { code, pressed } => self.key(code, pressed),
            InputEvent::PointerMotion { dx, dy } => self.pointer_moved_by(dx, dy),
            InputEvent::PointerAbsolute { x, y } => {
                let place = self.input.absolute(x, y);
                let delta = place - self.input.position();
                self.pointer_moved(place, delta);
            }
            InputEvent::Button { code, pressed } => self.button(code, pressed),
            InputEvent::Scroll { horizontal_v120, vertical_v120 } => {
                self.scroll(horizontal_v120, vertical_v120);
            }
            InputEvent::Touch { id, phase, x, y } => self.touch(id, phase, x, y),
            InputEvent::Pen(pen) => self.pen(pen),
            InputEvent::Text(text) => self.type_text(&text),
        }
    }

    pub(crate) fn millis(&self) -> u32 {
        // The protocol's 32-bit milliseconds wrap.
        (self.now.as_nanos() / 1_000_000) as u32
    }

    fn key(&mut self, code: u16, pressed: bool) {
        let news = if pressed { self.input.keys.insert(code) } else { self.input.keys.remove(&code) };
        if news {
            self.raw_key(Keycode::new(u32::from(code) + XKB_OFFSET), pressed);
        }
    }

    fn raw_key(&mut self, keycode: Keycode, pressed: bool) {
        let state = if pressed { KeyState::Pressed } else { KeyState::Released };
        let (keyboard, time) = (self.input.keyboard.clone(), self.millis());
        keyboard.input::<(), _>(self, keycode, state, SERIAL_COUNTER.next_serial(), time, |_, _, _| {
            FilterResult::Forward
        });
    }

    fn pointer_moved_by(&mut self, dx: f64, dy: f64) {
        let delta = Point::from((dx, dy));
        let place = self.input.clamp(self.input.position() + delta);
        self.pointer_moved(place, delta);
    }

    fn pointer_moved(&mut self, place: Point<f64, Logical>, delta: Point<f64, Logical>) {
        let pointer = self.input.pointer.clone();
        let under = self.desk.surface_under(place);
        let utime = self.now.as_nanos() / 1000;
        let relative = RelativeMotionEvent { delta, delta_unaccel: delta, utime };
        pointer.relative_motion(self, under.clone(), &relative);
        if self.pointer_locked() {
            pointer.frame(self);
            return;
        }
        self.cursor.show();
        self.input.tablet.yield_to_pointer();
        let event =
            MotionEvent { location: place, serial: SERIAL_COUNTER.next_serial(), time: self.millis() };
        pointer.motion(self, under.clone(), &event);
        pointer.frame(self);
        if let Some((surface, _)) = under {
            with_pointer_constraint(&surface, &pointer, |constraint| {
                if let Some(constraint) = constraint.filter(|constraint| !constraint.is_active()) {
                    constraint.activate();
                }
            });
        }
        self.clock.damaged(self.now, Damage::Pointer);
    }

    fn pointer_locked(&self) -> bool {
        let pointer = &self.input.pointer;
        pointer.current_focus().is_some_and(|surface| {
            with_pointer_constraint(&surface, pointer, |constraint| {
                constraint.is_some_and(|constraint| {
                    constraint.is_active() && matches!(*constraint, PointerConstraint::Locked(_))
                })
            })
        })
    }

    fn button(&mut self, code: u16, pressed: bool) {
        let news = if pressed { self.input.buttons.insert(code) } else { self.input.buttons.remove(&code) };
        if !news {
            return;
        }
        let pointer = self.input.pointer.clone();
        if pressed && !pointer.is_grabbed() {
            self.clicked(pointer.current_location());
        }
        let event = ButtonEvent {
            serial: SERIAL_COUNTER.next_serial(),
            time: self.millis(),
            button: u32::from(code),
            state: if pressed { ButtonState::Pressed } else { ButtonState::Released },
        };
        pointer.button(self, &event);
        pointer.frame(self);
    }

    fn scroll(&mut self, horizontal: i32, vertical: i32) {
        let mut frame = AxisFrame::new(self.millis()).source(AxisSource::Wheel);
        for (axis, v120) in [(Axis::Horizontal, horizontal), (Axis::Vertical, vertical)] {
            if v120 != 0 {
                frame = frame.value(axis, f64::from(v120) * AXIS_PER_NOTCH / 120.0).v120(axis, v120);
            }
        }
        if horizontal != 0 || vertical != 0 {
            let pointer = self.input.pointer.clone();
            pointer.axis(self, frame);
            pointer.frame(self);
        }
    }

    fn touch(&mut self, id: u32, phase: TouchPhase, x: f64, y: f64) {
        let touch = self.input.touch.clone();
        let slot = TouchSlot::from(Some(id));
        let (serial, time) = (SERIAL_COUNTER.next_serial(), self.millis());
        let location = self.input.absolute(x, y);
        let known = self.input.touches.contains_key(&id);
        match phase {
            TouchPhase::Down if !known && self.input.touches.len() < MAX_TOUCHES => {
                self.input.touches.insert(id, location);
                self.clicked(location);
                let under = self.desk.surface_under(location);
                touch.down(self, under, &DownEvent { slot, location, serial, time });
            }
            TouchPhase::Move if known => {
                self.input.touches.insert(id, location);
                let under = self.desk.surface_under(location);
                touch.motion(self, under, &TouchMotionEvent { slot, location, time });
            }
            TouchPhase::Up if known => {
                self.input.touches.remove(&id);
                touch.up(self, &UpEvent { slot, serial, time });
            }
            TouchPhase::Cancel if !self.input.touches.is_empty() => {
                // Smithay passes over fingers that have not moved since the last frame.
                for (id, location) in std::mem::take(&mut self.input.touches) {
                    let slot = TouchSlot::from(Some(id));
                    touch.motion(self, None, &TouchMotionEvent { slot, location, time });
                }
                touch.cancel(self);
            }
            // A finger that was never put down, or twice.
            _ => return,
        }
        touch.frame(self);
    }

    /// Types `text` with a keymap made for it, whatever the layout.
    fn type_text(&mut self, text: &str) {
        let keyboard = self.input.keyboard.clone();
        let before = keyboard.modifier_state();
        for chunk in text::chunks(text) {
            if let Err(error) = keyboard.set_keymap_from_string(self, chunk.keymap()) {
                tracing::warn!(%error, "text cannot be typed");
                break;
            }
            for keycode in chunk.keycodes() {
                self.raw_key(Keycode::new(keycode), true);
                self.raw_key(Keycode::new(keycode), false);
            }
        }
        let layout = self.input.layout.clone();
        if let Err(error) = keyboard.set_xkb_config(self, layout.config()) {
            tracing::warn!(%error, "the keyboard layout is lost");
        }
        // A new keymap knows the keys that are down, but not what is locked (CapsLock, NumLock).
        if keyboard.set_modifier_state(before) != 0
            && let Some(focus) = keyboard.current_focus()
        {
            let (seat, modifiers) = (self.input.seat.clone(), keyboard.modifier_state());
            focus.modifiers(&seat, self, modifiers, SERIAL_COUNTER.next_serial());
        }
    }

    /// Lets go of everything that is held: whoever held it does not watch any more.
    pub(crate) fn release_input(&mut self) {
        for code in self.input.keys.clone() {
            self.key(code, false);
        }
        for code in self.input.buttons.clone() {
            self.button(code, false);
        }
        if let Some(id) = self.input.touches.keys().next().copied() {
            self.touch(id, TouchPhase::Cancel, 0.0, 0.0);
        }
        self.pen(Pen::default());
    }

    /// What is clicked comes to the top and gets the keyboard.
    pub(crate) fn clicked(&mut self, place: Point<f64, Logical>) {
        let surface = self.desk.window_under(place).and_then(|window| {
            self.desk.raise(&window);
            window.toplevel().map(|toplevel| toplevel.wl_surface().clone())
        });
        if surface.is_some() {
            self.focus_keyboard(surface);
        }
    }

    /// Brings the window of `surface` to the top with the keyboard.
    pub(crate) fn activate(&mut self, surface: &WlSurface) {
        if let Some(window) = self.desk.window(surface) {
            self.desk.raise(&window);
            self.focus_keyboard(Some(surface.clone()));
        }
    }

    pub(crate) fn focus_keyboard(&mut self, surface: Option<WlSurface>) {
        let keyboard = self.input.keyboard.clone();
        if keyboard.current_focus() != surface {
            keyboard.set_focus(self, surface, SERIAL_COUNTER.next_serial());
        }
    }

    /// Gives the keyboard to the topmost window unless somebody alive has it.
    pub(crate) fn focus_topmost(&mut self) {
        let shown = |surface: &WlSurface| surface.alive() && self.desk.is_shown(surface);
        if self.input.keyboard.current_focus().as_ref().is_some_and(shown) {
            return;
        }
        let topmost = self.desk.topmost();
        if let Some(window) = topmost.as_ref().and_then(|surface| self.desk.window(surface)) {
            self.desk.raise(&window);
        }
        self.focus_keyboard(topmost);
    }

    /// Windows changed: a popup may have taken the keyboard along, and another surface may lie under the pointer.
    pub(crate) fn settle_focus(&mut self) {
        let keyboard = self.input.keyboard.clone();
        if keyboard.current_focus().is_some_and(|surface| !surface.alive()) {
            // The popup below the one that is gone, or the window that they belong to.
            let below = self.popup_grab.as_ref().and_then(PopupGrab::current_grab).filter(IsAlive::alive);
            match below {
                Some(surface) => self.focus_keyboard(Some(surface)),
                None => self.focus_topmost(),
            }
        }
        let pointer = self.input.pointer.clone();
        let location = pointer.current_location();
        let under = self.desk.surface_under(location);
        if pointer.is_grabbed()
            || pointer.current_focus() == under.as_ref().map(|(surface, _)| surface.clone())
        {
            return;
        }
        let event = MotionEvent { location, serial: SERIAL_COUNTER.next_serial(), time: self.millis() };
        pointer.motion(self, under, &event);
        pointer.frame(self);
    }
}
