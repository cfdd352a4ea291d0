//! From packets to events, with a memory for what is held.

use crate::contacts::Contacts;
use crate::keymap::{self, *};
use lumen_gamestream::input::Pen as PenPacket;
use lumen_gamestream::input::{InputPacket, Key, Modifiers, MousePosition, PenTool, TouchEvent};
use lumen_media::{InputEvent, InputSink, Pen, PenContact, Timestamp, TouchPhase};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What of a client's input is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept {
    /// Keys and text.
    pub keyboard: bool,
    /// Motion, buttons and wheel.
    pub pointer: bool,
    /// Touch and pen.
    pub touch: bool,
}

impl Default for Accept {
    /// Everything.
    fn default() -> Self {
        Self { keyboard: true, pointer: true, touch: true }
    }
}

/// A modifier, the key that stands for it, and its twin on the other side.
const MODIFIERS: [(Modifiers, u16, u16); 4] = [
    (Modifiers::SHIFT, KEY_LEFTSHIFT, KEY_RIGHTSHIFT),
    (Modifiers::CTRL, KEY_LEFTCTRL, KEY_RIGHTCTRL),
    (Modifiers::ALT, KEY_LEFTALT, KEY_RIGHTALT),
    (Modifiers::META, KEY_LEFTMETA, KEY_RIGHTMETA),
];

/// Packets that had no effect, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Keys that no table knows and packets that no protocol text names.
    pub unknown: u64,
    /// Values that mean nothing, and more fingers than are tracked.
    pub invalid: u64,
    /// Gamepads: they are handled elsewhere.
    pub gamepad: u64,
    /// Kinds that [`Accept`] leaves out.
    pub refused: u64,
}

/// Translates one client's input and remembers what it holds down. Dropping it lets go of everything.
pub struct Mapper {
    sink: Arc<dyn InputSink>,
    accept: Accept,
    keys: BTreeSet<u16>,
    buttons: BTreeSet<u16>,
    contacts: Contacts,
    pen: Pen,
    /// The client flags keys that no Japanese keyboard has alone.
    flags_others: bool,
    dropped: Dropped,
    /// When what is being translated was received; `None` for what nobody sent.
    received: Option<Timestamp>,
}

impl Mapper {
    /// A mapper for the sink of one output. Places are those of the streamed picture.
    pub fn new(sink: Arc<dyn InputSink>, accept: Accept) -> Self {
        Self {
            sink,
            accept,
            keys: BTreeSet::new(),
            buttons: BTreeSet::new(),
            contacts: Contacts::default(),
            pen: Pen::default(),
            flags_others: false,
            dropped: Dropped::default(),
            received: None,
        }
    }

    /// What had no effect so far.
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Whether a key, a button or a contact is down, or the pen is near.
    pub fn holds_anything(&self) -> bool {
        !self.keys.is_empty() || !self.buttons.is_empty() || self.contacts.any() || self.pen != Pen::default()
    }

    /// Lets go of every key, button, contact and the pen: what a client that is gone cannot do itself.
    pub fn release_all(&mut self) {
        for code in std::mem::take(&mut self.keys) {
            self.send(InputEvent::Key { code, pressed: false });
        }
        for code in std::mem::take(&mut self.buttons) {
            self.send(InputEvent::Button { code, pressed: false });
        }
        self.cancel_contacts();
        self.pen_is(Pen::default());
    }

    /// Translates one packet that was received at `received`.
    pub fn handle_received(&mut self, packet: &InputPacket, received: Timestamp) {
        self.received = Some(received);
        self.handle(packet);
        self.received = None;
    }

    /// Hands on one event.
    fn send(&self, event: InputEvent) {
        match self.received {
            Some(received) => self.sink.deliver(event, received),
            None => self.sink.send(event),
        }
    }

    /// Translates one packet.
    pub fn handle(&mut self, packet: &InputPacket) {
        let kept = match packet {
            InputPacket::Key(_) | InputPacket::Text(_) => self.accept.keyboard,
            InputPacket::MouseMotion { .. }
            | InputPacket::MousePosition(_)
            | InputPacket::MouseButton { .. }
            | InputPacket::Scroll { .. }
            | InputPacket::HorizontalScroll { .. } => self.accept.pointer,
            InputPacket::Touch(_) | InputPacket::Pen(_) => self.accept.touch,
            InputPacket::Controller(_)
            | InputPacket::ControllerArrival(_)
            | InputPacket::ControllerTouch(_)
            | InputPacket::Motion(_)
            | InputPacket::Battery(_)
            | InputPacket::EnableHaptics
            | InputPacket::Unknown { .. } => true,
        };
        if !kept {
            self.dropped.refused += 1;
            return;
        }
        match packet {
            InputPacket::Key(key) => self.key(*key),
            InputPacket::Text(text) => self.text(text),
            InputPacket::MouseMotion { dx, dy } => {
                self.send(InputEvent::PointerMotion { dx: (*dx).into(), dy: (*dy).into() });
            }
            InputPacket::MousePosition(position) => self.position(*position),
            InputPacket::MouseButton { button, pressed } => self.button(keymap::button(*button), *pressed),
            // Up is positive on the wire and negative in Wayland.
            InputPacket::Scroll { amount } => self.scroll(0, -i32::from(*amount)),
            InputPacket::HorizontalScroll { amount } => self.scroll((*amount).into(), 0),
            InputPacket::Touch(touch) => {
                self.contact(touch.pointer, touch.event, touch.x, touch.y);
            }
            InputPacket::Pen(pen) => self.pen(pen),
            InputPacket::Controller(_)
            | InputPacket::ControllerArrival(_)
            | InputPacket::ControllerTouch(_)
            | InputPacket::Motion(_)
            | InputPacket::Battery(_)
            | InputPacket::EnableHaptics => self.dropped.gamepad += 1,
            InputPacket::Unknown { .. } => self.unknown(),
        }
    }

    /// Said once, not for every packet of somebody who sends nothing else.
    fn invalid(&mut self) {
        self.dropped.invalid += 1;
        if self.dropped.invalid == 1 {
            tracing::warn!("the client sent input whose values mean nothing; further ones are only counted");
        }
    }

    fn unknown(&mut self) {
        self.dropped.unknown += 1;
        if self.dropped.unknown == 1 {
            tracing::warn!(
                "the client sent a key or an event that is not known; further ones are only counted"
            );
        }
    }

    /// Repeated downs and ups change nothing: the compositor repeats by itself.
    ///
    /// The modifiers are a hint: soft keyboards send `A` with the shift bit and never press shift. A modifier that is
    /// set but not held is pressed around the key's own press.
    fn key(&mut self, key: Key) {
        if key.by_layout && !keymap::may_be_japanese(key.code) {
            self.flags_others = true;
        }
        if key.on_screen && self.typed_on_screen(key) {
            return;
        }
        // Qt flags Japanese keys only, others every key that they cannot place.
        let japanese = key.by_layout && !key.on_screen && !self.flags_others;
        let Some(code) = keymap::evdev(key.code, japanese) else {
            self.unknown();
            return;
        };
        if !key.pressed {
            // Which of two keys it is may have turned out meanwhile.
            let both = [code, keymap::evdev(key.code, !japanese).unwrap_or(code)];
            for code in both {
                if self.keys.remove(&code) {
                    self.send(InputEvent::Key { code, pressed: false });
                }
            }
            return;
        }
        if !self.keys.insert(code) {
            return;
        }
        let missing = self.missing_modifiers(code, key.modifiers);
        for modifier in &missing {
            self.send(InputEvent::Key { code: *modifier, pressed: true });
        }
        self.send(InputEvent::Key { code, pressed: true });
        for modifier in missing.iter().rev() {
            self.send(InputEvent::Key { code: *modifier, pressed: false });
        }
    }

    /// A key of a keyboard on the client's screen stands for a character, whatever the desktop's layout; whether it was
    /// one. With Ctrl, Alt or Meta it is part of a shortcut, and a key.
    fn typed_on_screen(&mut self, key: Key) -> bool {
        let holds = |wanted: Modifiers| {
            key.modifiers.contains(wanted)
                || MODIFIERS.iter().any(|(modifier, left, right)| {
                    *modifier == wanted && (self.keys.contains(left) || self.keys.contains(right))
                })
        };
        let shortcut = [Modifiers::CTRL, Modifiers::ALT, Modifiers::META].into_iter().any(holds);
        let Some(character) = keymap::us_character(key.code, holds(Modifiers::SHIFT)) else { return false };
        let held = keymap::evdev(key.code, false).is_some_and(|code| self.keys.contains(&code));
        if shortcut || held {
            return false;
        }
        if key.pressed {
            self.send(InputEvent::Text(character.to_string()));
        }
        true
    }

    /// Modifiers that a press of `code` needs and the client does not hold.
    fn missing_modifiers(&self, code: u16, wanted: Modifiers) -> Vec<u16> {
        if MODIFIERS.iter().any(|(_, left, right)| code == *left || code == *right) {
            return Vec::new();
        }
        MODIFIERS
            .iter()
            .filter(|(modifier, _, _)| wanted.contains(*modifier))
            .filter(|(_, left, right)| !self.keys.contains(left) && !self.keys.contains(right))
            .map(|(_, left, _)| *left)
            .collect()
    }

    /// NUL ends text in most of the programs that it would go to.
    fn text(&mut self, text: &str) {
        match text.is_empty() || text.contains('\0') {
            true => self.invalid(),
            false => self.send(InputEvent::Text(text.to_owned())),
        }
    }

    fn position(&mut self, position: MousePosition) {
        let MousePosition { x, y, width, height } = position;
        if width <= 0 || height <= 0 {
            self.invalid();
            return;
        }
        let fraction = |at: i16, last: i16| (f64::from(at) / f64::from(last)).clamp(0.0, 1.0);
        self.send(InputEvent::PointerAbsolute { x: fraction(x, width), y: fraction(y, height) });
    }

    fn button(&mut self, code: u16, pressed: bool) {
        let changed = if pressed { self.buttons.insert(code) } else { self.buttons.remove(&code) };
        if changed {
            self.send(InputEvent::Button { code, pressed });
        }
    }

    fn scroll(&mut self, horizontal_v120: i32, vertical_v120: i32) {
        if (horizontal_v120, vertical_v120) != (0, 0) {
            self.send(InputEvent::Scroll { horizontal_v120, vertical_v120 });
        }
    }

    fn contact(&mut self, contact: u32, event: TouchEvent, x: f32, y: f32) {
        match event {
            TouchEvent::Cancel | TouchEvent::CancelAll => self.cancel_contacts(),
            TouchEvent::Down | TouchEvent::Move if !(x.is_finite() && y.is_finite()) => {
                self.invalid();
            }
            TouchEvent::Down => {
                match (self.contacts.find(contact), self.contacts.put_down(contact, (x, y))) {
                    (Some(id), _) => self.touch(id, TouchPhase::Move, x, y),
                    (None, Some(id)) => self.touch(id, TouchPhase::Down, x, y),
                    (None, None) => self.invalid(),
                }
            }
            TouchEvent::Move => {
                // Moves are unreliable on the wire: they may come before their down or after their up.
                if let Some(id) = self.contacts.find(contact) {
                    self.contacts.moves(contact, (x, y));
                    self.touch(id, TouchPhase::Move, x, y);
                }
            }
            TouchEvent::Up => {
                // Moves may be lost, and this one has the last place.
                let told = x.is_finite() && y.is_finite() && (x, y) != (0.0, 0.0);
                let last = self.contacts.find(contact).filter(|_| told);
                if let Some(id) = last
                    && self.contacts.moves(contact, (x, y))
                {
                    self.touch(id, TouchPhase::Move, x, y);
                }
                if let Some(id) = self.contacts.lift(contact) {
                    self.touch(id, TouchPhase::Up, 0.0, 0.0);
                }
            }
            // Fingers have no buttons, and a finger above the glass does nothing.
            TouchEvent::Hover | TouchEvent::ButtonOnly | TouchEvent::HoverLeave => {}
        }
    }

    fn pen(&mut self, packet: &PenPacket) {
        let places = matches!(packet.event, TouchEvent::Hover | TouchEvent::Down | TouchEvent::Move);
        if places && !(packet.x.is_finite() && packet.y.is_finite()) {
            self.invalid();
            return;
        }
        let now = Pen {
            eraser: packet.tool == PenTool::Eraser,
            buttons: [1, 2, 4].map(|bit| packet.buttons & bit != 0),
            ..self.pen
        };
        let known = Some(f64::from(packet.pressure).clamp(0.0, 1.0)).filter(|value| *value > 0.0);
        let at = |contact| {
            let touches = contact == PenContact::Touching;
            Pen {
                contact,
                x: inside(packet.x),
                y: inside(packet.y),
                pressure: known.filter(|_| touches),
                distance: known.filter(|_| !touches),
                tilt: tilt(packet),
                ..now
            }
        };
        match packet.event {
            TouchEvent::Hover => self.pen_is(at(PenContact::Near)),
            TouchEvent::Down => self.pen_is(at(PenContact::Touching)),
            // Moves are unreliable on the wire: they may come before their down or after their up.
            TouchEvent::Move if self.pen.contact == PenContact::Touching => {
                self.pen_is(at(PenContact::Touching));
            }
            // It is not told whether the pen is still above the place where it was lifted.
            TouchEvent::Up if self.pen.contact == PenContact::Touching => {
                // Moves may be lost, and this one has the last place.
                let told = packet.x.is_finite() && packet.y.is_finite() && (packet.x, packet.y) != (0.0, 0.0);
                let (x, y) = if told { (inside(packet.x), inside(packet.y)) } else { (now.x, now.y) };
                self.pen_is(Pen { x, y, ..self.pen });
                self.pen_is(Pen { contact: PenContact::Near, x, y, pressure: None, ..now });
            }
            TouchEvent::ButtonOnly if self.pen.contact != PenContact::Away => self.pen_is(now),
            // One that touches does not hover: it left because it came down.
            TouchEvent::HoverLeave if self.pen.contact == PenContact::Touching => {}
            TouchEvent::HoverLeave | TouchEvent::Cancel | TouchEvent::CancelAll => {
                self.pen_is(Pen::default());
            }
            TouchEvent::Move | TouchEvent::Up | TouchEvent::ButtonOnly => {}
        }
    }

    fn pen_is(&mut self, pen: Pen) {
        if std::mem::replace(&mut self.pen, pen) != pen {
            self.send(InputEvent::Pen(pen));
        }
    }

    /// Cancelling voids the whole gesture (as in Wayland), so one cancelled finger takes the others with it.
    fn cancel_contacts(&mut self) {
        for id in self.contacts.clear() {
            self.touch(id, TouchPhase::Cancel, 0.0, 0.0);
        }
    }

    fn touch(&self, id: u32, phase: TouchPhase, x: f32, y: f32) {
        let (x, y) = match phase {
            TouchPhase::Down | TouchPhase::Move => (inside(x), inside(y)),
            TouchPhase::Up | TouchPhase::Cancel => (0.0, 0.0),
        };
        self.send(InputEvent::Touch { id, phase, x, y });
    }
}

/// How far the upper end leans to the right and towards the user, in degrees. On the wire the pen points to `rotation`,
/// clockwise from the top edge, and stands `tilt` away from upright; it leans to the opposite side.
fn tilt(packet: &PenPacket) -> Option<(f64, f64)> {
    let (rotation, tilt) = (f64::from(packet.rotation?).to_radians(), f64::from(packet.tilt?).to_radians());
    let leans = |part: f64| (part * tilt.sin()).atan2(tilt.cos()).to_degrees();
    Some((leans(-rotation.sin()), leans(rotation.cos())))
}

/// A place of the picture, kept inside it.
fn inside(at: f32) -> f64 {
    f64::from(at).clamp(0.0, 1.0)
}

impl Drop for Mapper {
    fn drop(&mut self) {
        self.release_all();
    }
}

impl std::fmt::Debug for Mapper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What is typed does not belong in a log.
        f.debug_struct("Mapper")
            .field("accept", &self.accept)
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "mapper_tests.rs"]
mod tests;
