//! libei: GNOME, KWin, gamescope and the RemoteDesktop portal (`docs/design/input.md`).

mod devices;
mod link;

use crate::finger::FingerPointer;
use crate::keyboard::{Keyboard, Stroke};
use crate::keymap::{KEY_LEFTCTRL, KEY_LEFTSHIFT, is_modifier};
use crate::sink::{Applied, Connect, Driver, InputError, start};
use devices::Devices;
use link::Link;
use lumen_media::{InputEvent, InputSink, Timestamp, TouchPhase, clock};
use reis::ei;
use reis::event::DeviceCapability as Capability;
use std::collections::BTreeSet;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Logical pixels of a notch where scrolling is smooth.
const SMOOTH_PER_NOTCH: f64 = 10.0;
/// For what was sent to be taken before another connection says more.
const SETTLE: Duration = Duration::from_millis(300);

/// How often a desktop is asked before the other way is taken.
const ATTEMPTS: u32 = 3;

/// Which part of the desktop is streamed: positions land there.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// The region with this mapping id, else the one at this position, else the only or first one of this size, else the only
    /// one.
    Region {
        /// As the desktop named it when it made the output or its stream.
        mapping_id: Option<String>,
        /// Width and height in logical pixels.
        size: Option<(u32, u32)>,
        /// Its upper left corner in the desktop, in logical pixels.
        position: Option<(i32, i32)>,
    },
    /// The whole of a desktop that has no regions, by its width and height in pixels (gamescope).
    Pixels(u32, u32),
}

/// Types characters that the keyboard layout lacks, where libei cannot; says whether it did.
pub type Typist = Box<dyn FnMut(char) -> bool + Send>;

/// How characters are typed that the keyboard layout lacks, where the desktop does not take text as such.
pub enum Beyond {
    /// Not at all.
    Nothing,
    /// In another way than libei.
    Typist(Typist),
    /// As people do: Ctrl+Shift+U, the number, space. Input methods (IBus) and GTK understand it.
    Number,
}

/// Where events go.
pub struct LibeiTarget {
    /// Name in logs and errors.
    pub desktop: &'static str,
    /// The streamed part.
    pub place: Place,
    /// For characters beyond the layout.
    pub beyond: Beyond,
    /// XKB's names of layout and variant, where the desktop does not tell its keymap.
    pub layout: Option<(String, String)>,
    /// Its wheels turn by whole notches only: parts of one go as smooth scrolling.
    pub whole_notches: bool,
}

/// Asks the desktop for a socket; within a few seconds.
pub type Socket = Box<dyn FnMut() -> Result<OwnedFd, InputError> + Send>;

/// A sink for a desktop that speaks libei. Returns at once; a thread of its own asks for a `socket`, and again when the
/// connection broke.
pub fn libei(target: LibeiTarget, socket: Socket) -> Arc<dyn InputSink> {
    libei_or(target, socket, None)
}

/// As [`libei`], with another way for when no socket is to be had. A desktop that is busy, or just starts, is asked some
/// times before: the other way, once taken, stays until it breaks.
pub(crate) fn libei_or(
    target: LibeiTarget,
    mut socket: Socket,
    other: Option<Connect>,
) -> Arc<dyn InputSink> {
    let LibeiTarget { desktop, place, beyond, layout, whole_notches } = target;
    let beyond = Arc::new(Mutex::new(beyond));
    let libei: Connect = Box::new(move || {
        let mut driver = Libei::connect(desktop, socket()?, place.clone(), beyond.clone())?;
        driver.whole_notches = whole_notches;
        driver.devices.keyboard =
            layout.as_ref().and_then(|(layout, variant)| Keyboard::of_layout(layout, variant));
        Ok(Box::new(driver) as Box<dyn Driver>)
    });
    let connect = match other {
        Some(other) => first_or(libei, other),
        None => libei,
    };
    start(desktop, connect)
}

/// Connects by the first way; by the other one where that never works, or has failed [`ATTEMPTS`] times.
fn first_or(mut first: Connect, mut other: Connect) -> Connect {
    let mut failed = 0;
    Box::new(move || {
        let error = match first() {
            Ok(driver) => {
                failed = 0;
                return Ok(driver);
            }
            Err(error) => error,
        };
        let may_heal = |error: &InputError| matches!(error, InputError::Lost { .. });
        failed += 1;
        if may_heal(&error) && failed < ATTEMPTS {
            return Err(error);
        }
        tracing::debug!(%error, "no libei");
        // What may heal counts for more than what never will.
        other().map_err(|worse| if may_heal(&error) && !may_heal(&worse) { error } else { worse })
    })
}

struct Libei {
    desktop: &'static str,
    link: Link,
    devices: Devices,
    place: Place,
    finger: FingerPointer,
    /// Modifier keys that the client holds, by evdev code.
    modifiers: BTreeSet<u16>,
    whole_notches: bool,
    /// Shared with the connections that come after this one.
    beyond: Arc<Mutex<Beyond>>,
}

impl Libei {
    fn connect(
        desktop: &'static str,
        socket: OwnedFd,
        place: Place,
        beyond: Arc<Mutex<Beyond>>,
    ) -> Result<Self, InputError> {
        let link = Link::open(desktop, socket)?;
        let devices = Devices::default();
        Ok(Self {
            desktop,
            link,
            devices,
            place,
            finger: FingerPointer::default(),
            modifiers: BTreeSet::new(),
            whole_notches: false,
            beyond,
        })
    }

    /// Handles what the desktop said; whether it said anything.
    fn news(&mut self) -> Result<bool, InputError> {
        let mut any = false;
        while let Some(event) = self.link.next_event()? {
            any = true;
            let lost = self.devices.handle(event, self.link.serial());
            if let Some(cause) = lost {
                return Err(InputError::Lost { desktop: self.desktop, cause });
            }
        }
        Ok(any)
    }

    /// A key of the client's.
    fn client_key(&mut self, code: u16, pressed: bool) -> Applied {
        if is_modifier(code) {
            if pressed {
                self.modifiers.insert(code)
            } else {
                self.modifiers.remove(&code)
            };
        }
        self.key(code, pressed)
    }

    fn key(&mut self, code: u16, pressed: bool) -> Applied {
        let Some(device) = self.devices.with(&[Capability::Keyboard]) else { return Applied::NotYet };
        let Some(keyboard) = device.interface::<ei::Keyboard>() else { return Applied::Never };
        if let Some(keymap) = &mut self.devices.keyboard {
            keymap.key(code, pressed);
        }
        let state = if pressed { ei::keyboard::KeyState::Press } else { ei::keyboard::KeyState::Released };
        keyboard.key(code.into(), state);
        self.link.frame(&device);
        Applied::Sent
    }

    fn button(&mut self, code: u16, pressed: bool) -> Applied {
        let wanted = [Capability::Button, Capability::Pointer];
        let device = self.devices.with(&wanted).or_else(|| self.devices.with(&wanted[..1]));
        let Some(device) = device else { return Applied::NotYet };
        let Some(button) = device.interface::<ei::Button>() else { return Applied::Never };
        let state = if pressed { ei::button::ButtonState::Press } else { ei::button::ButtonState::Released };
        button.button(code.into(), state);
        self.link.frame(&device);
        Applied::Sent
    }

    fn scroll(&mut self, horizontal: i32, vertical: i32) -> Applied {
        let wanted = [Capability::Scroll, Capability::Pointer];
        let device = self.devices.with(&wanted).or_else(|| self.devices.with(&wanted[..1]));
        let Some(device) = device else { return Applied::NotYet };
        let Some(scroll) = device.interface::<ei::Scroll>() else { return Applied::Never };
        if self.whole_notches && (horizontal % 120 != 0 || vertical % 120 != 0) {
            let smooth = |v120: i32| (f64::from(v120) * SMOOTH_PER_NOTCH / 120.0) as f32;
            scroll.scroll(smooth(horizontal), smooth(vertical));
        } else {
            scroll.scroll_discrete(horizontal, vertical);
        }
        self.link.frame(&device);
        Applied::Sent
    }

    fn motion(&mut self, dx: f64, dy: f64) -> Applied {
        let Some(device) = self.devices.with(&[Capability::Pointer]) else { return Applied::NotYet };
        let Some(pointer) = device.interface::<ei::Pointer>() else { return Applied::Never };
        pointer.motion_relative(dx as f32, dy as f32);
        self.link.frame(&device);
        Applied::Sent
    }

    fn position(&mut self, x: f64, y: f64) -> Applied {
        let Some((device, region)) = self.devices.placed(Capability::PointerAbsolute, &self.place) else {
            return Applied::NotYet;
        };
        let Some(pointer) = device.interface::<ei::PointerAbsolute>() else { return Applied::Never };
        let (x, y) = region.locate(x, y);
        pointer.motion_absolute(x, y);
        self.link.frame(&device);
        Applied::Sent
    }

    fn touch(&mut self, id: u32, phase: TouchPhase, x: f64, y: f64) -> Applied {
        let found = self.devices.placed(Capability::Touch, &self.place);
        let Some((device, region)) = found.filter(|_| !self.finger.is_down()) else {
            // A press must not come before its place is known.
            if self.devices.placed(Capability::PointerAbsolute, &self.place).is_none()
                || self.devices.with(&[Capability::Button]).is_none()
            {
                return Applied::NotYet;
            }
            let mut applied = Applied::Sent;
            for event in self.finger.touch(id, phase, x, y).into_iter().flatten() {
                applied = self.apply(&event);
            }
            return applied;
        };
        let Some(touch) = device.interface::<ei::Touchscreen>() else { return Applied::Never };
        let (x, y) = region.locate(x, y);
        match phase {
            TouchPhase::Down => {
                touch.down(id, x, y);
                self.devices.fingers.insert(id);
            }
            TouchPhase::Move if self.devices.fingers.contains(&id) => touch.motion(id, x, y),
            TouchPhase::Up if self.devices.fingers.remove(&id) => touch.up(id),
            // Voids the whole gesture. Cancelling is of version 2; lifting is the next best.
            TouchPhase::Cancel => {
                for id in std::mem::take(&mut self.devices.fingers) {
                    if touch.version() >= 2 { touch.cancel(id) } else { touch.up(id) }
                }
            }
            TouchPhase::Move | TouchPhase::Up => return Applied::Sent,
        }
        self.link.frame(&device);
        Applied::Sent
    }

    fn text(&mut self, text: &str) -> Applied {
        if let Some(device) = self.devices.with(&[Capability::Text])
            && let Some(typing) = device.interface::<ei::Text>()
        {
            typing.utf8(text);
            self.link.frame(&device);
            return Applied::Sent;
        }
        text.chars().fold(Applied::Sent, |_, character| self.character(character))
    }

    fn character(&mut self, character: char) -> Applied {
        if self.devices.with(&[Capability::Keyboard]).is_none() {
            return Applied::NotYet;
        }
        let stroke =
            self.devices.keyboard.as_ref().and_then(|keyboard| keyboard.stroke_under_locks(character));
        if let Some(stroke) = stroke {
            return self.stroke(stroke);
        }
        let beyond = self.beyond.clone();
        let mut beyond = beyond.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *beyond {
            Beyond::Nothing => Applied::Never,
            Beyond::Typist(typist) => {
                let held: Vec<u16> = self.modifiers.iter().copied().collect();
                for code in &held {
                    self.key(*code, false);
                }
                // The typist has a connection of its own: what went by this one must be there first. One that broke is
                // noticed with the next event.
                let taken = self.link.settle(clock::now() + SETTLE);
                if !taken.unwrap_or(false) {
                    tracing::debug!(
                        desktop = self.desktop,
                        "text may come before the keys that were sent before it"
                    );
                }
                let typed = typist(character);
                for code in held {
                    self.key(code, true);
                }
                if typed { Applied::Sent } else { Applied::Never }
            }
            Beyond::Number => self.number(character),
        }
    }

    /// Types the number of a character for an input method.
    fn number(&mut self, character: char) -> Applied {
        let Some(keyboard) = &self.devices.keyboard else { return Applied::Never };
        let digits = format!("{:x} ", u32::from(character));
        let strokes: Option<Vec<Stroke>> =
            digits.chars().map(|digit| keyboard.stroke_under_locks(digit)).collect();
        let (Some(strokes), Some(letter)) = (strokes, keyboard.stroke('u')) else { return Applied::Never };
        self.tap(&[KEY_LEFTCTRL, KEY_LEFTSHIFT], letter.code);
        strokes.into_iter().fold(Applied::Never, |_, stroke| self.stroke(stroke))
    }

    fn stroke(&mut self, stroke: Stroke) -> Applied {
        let held = self
            .devices
            .keyboard
            .as_ref()
            .map_or(Vec::new(), |keyboard: &Keyboard| keyboard.keys_for(stroke.mask));
        self.tap(&held, stroke.code)
    }

    /// Presses and releases a key while exactly these modifier keys are down; those that the client holds are afterwards
    /// as before.
    fn tap(&mut self, wanted: &[u16], code: u16) -> Applied {
        let in_the_way: Vec<u16> =
            self.modifiers.iter().copied().filter(|held| !wanted.contains(held)).collect();
        let missing: Vec<u16> =
            wanted.iter().copied().filter(|wanted| !self.modifiers.contains(wanted)).collect();
        let mut applied = Applied::Sent;
        let before = in_the_way.iter().map(|held| (*held, false));
        let after = in_the_way.iter().map(|held| (*held, true));
        let steps = before
            .chain(missing.iter().map(|code| (*code, true)))
            .chain([(code, true), (code, false)])
            .chain(missing.iter().rev().map(|code| (*code, false)))
            .chain(after);
        for (code, pressed) in steps {
            applied = self.key(code, pressed);
        }
        applied
    }
}

impl Driver for Libei {
    fn path(&self) -> &'static str {
        "libei"
    }

    fn apply(&mut self, event: &InputEvent) -> Applied {
        match event {
            InputEvent::Key { code, pressed } => self.client_key(*code, *pressed),
            InputEvent::Button { code, pressed } => self.button(*code, *pressed),
            InputEvent::Scroll { horizontal_v120, vertical_v120 } => {
                self.scroll(*horizontal_v120, *vertical_v120)
            }
            InputEvent::PointerMotion { dx, dy } => self.motion(*dx, *dy),
            InputEvent::PointerAbsolute { x, y } => self.position(*x, *y),
            InputEvent::Touch { id, phase, x, y } => self.touch(*id, *phase, *x, *y),
            InputEvent::Text(text) => self.text(text),
            // The sink makes a pointer of it.
            InputEvent::Pen(_) => Applied::Never,
        }
    }

    fn flush(&mut self) -> Result<bool, InputError> {
        self.link.flush()
    }

    fn turn(&mut self, wake: BorrowedFd<'_>, deadline: Option<Timestamp>) -> Result<(), InputError> {
        // What came while something else was waited for; answers to it are to be flushed first.
        if self.news()? {
            return Ok(());
        }
        self.link.wait(Some(wake), deadline)?;
        self.news().map(|_| ())
    }
}

impl Drop for Libei {
    fn drop(&mut self) {
        self.devices.stop(self.link.serial());
        let _ = self.link.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;
    impl Driver for Nothing {
        fn path(&self) -> &'static str {
            "other"
        }
        fn apply(&mut self, _: &InputEvent) -> Applied {
            Applied::Sent
        }
        fn flush(&mut self) -> Result<bool, InputError> {
            Ok(true)
        }
        fn turn(&mut self, _: BorrowedFd<'_>, _: Option<Timestamp>) -> Result<(), InputError> {
            Ok(())
        }
    }

    fn lost() -> InputError {
        InputError::Lost { desktop: "KWin", cause: "busy".into() }
    }

    fn never() -> InputError {
        InputError::Unsupported { desktop: "KWin", cause: "no".into(), remedy: "none".into() }
    }

    fn failing(error: fn() -> InputError) -> Connect {
        Box::new(move || Err(error()))
    }

    #[test]
    fn a_desktop_that_is_busy_is_asked_again_before_the_other_way_is_taken() {
        let mut connect = first_or(failing(lost), Box::new(|| Ok(Box::new(Nothing))));
        for _ in 1..ATTEMPTS {
            assert!(matches!(connect(), Err(InputError::Lost { .. })));
        }
        assert_eq!(connect().ok().map(|driver| driver.path()), Some("other"));
        let mut connect = first_or(failing(never), Box::new(|| Ok(Box::new(Nothing))));
        assert_eq!(connect().ok().map(|driver| driver.path()), Some("other"), "at once");
    }

    #[test]
    fn nobody_gives_up_while_one_way_may_heal() {
        for (first, other, heals) in
            [(lost as fn() -> _, never as fn() -> _, true), (never, lost, true), (never, never, false)]
        {
            let mut connect = first_or(failing(first), failing(other));
            for _ in 0..5 {
                let error = connect().err().expect("both fail");
                assert_eq!(matches!(error, InputError::Lost { .. }), heals, "{error}");
            }
        }
    }
}
