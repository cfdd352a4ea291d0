//! Gamepads of `/dev/uinput`: Xbox and Switch Pro, with buttons, axes and motors as the kernel's own drivers show them.

use super::PadMark;
use super::feedback::DeviceFeedback;
use super::kind::PadKind;
use super::report::{PadReport, flipped};
use super::rumble::{Effect, Effects, MAX_EFFECTS};
use evdevil::event::{Abs as Axis, EventKind, EventType, InputEvent, Key, UinputCode};
use evdevil::ff::{EffectKind, Feature};
use evdevil::uinput::{AbsSetup, UinputDevice};
use evdevil::{AbsInfo, Bus, InputId};
use lumen_gamestream::input::Buttons;
use lumen_media::Timestamp;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// How a kind of gamepad looks to games.
struct Layout {
    name: &'static str,
    vendor: u16,
    product: u16,
    version: u16,
    buttons: &'static [(Buttons, Key)],
    triggers: Triggers,
}

/// How triggers are reported.
enum Triggers {
    /// Axes from 0 to 255.
    Axes,
    /// Buttons, down from the middle on.
    Buttons(Key, Key),
}

/// Kernel drivers for Xbox gamepads call the west button `BTN_X` and the north one `BTN_Y`, which the kernel's own
/// positional names swap.
const XBOX: &[(Buttons, Key)] = &[
    (Buttons::A, Key::BTN_SOUTH),
    (Buttons::B, Key::BTN_EAST),
    (Buttons::X, Key::BTN_NORTH),
    (Buttons::Y, Key::BTN_WEST),
    (Buttons::LEFT_SHOULDER, Key::BTN_TL),
    (Buttons::RIGHT_SHOULDER, Key::BTN_TR),
    (Buttons::BACK, Key::BTN_SELECT),
    (Buttons::START, Key::BTN_START),
    (Buttons::HOME, Key::BTN_MODE),
    (Buttons::LEFT_STICK, Key::BTN_THUMBL),
    (Buttons::RIGHT_STICK, Key::BTN_THUMBR),
];
const XBOX_SERIES: &[(Buttons, Key)] = &with_share();
const XBOX_ELITE: &[(Buttons, Key)] = &with_paddles();
const SWITCH: &[(Buttons, Key)] = &[
    (Buttons::A, Key::BTN_SOUTH),
    (Buttons::B, Key::BTN_EAST),
    (Buttons::X, Key::BTN_WEST),
    (Buttons::Y, Key::BTN_NORTH),
    (Buttons::LEFT_SHOULDER, Key::BTN_TL),
    (Buttons::RIGHT_SHOULDER, Key::BTN_TR),
    (Buttons::BACK, Key::BTN_SELECT),
    (Buttons::START, Key::BTN_START),
    (Buttons::HOME, Key::BTN_MODE),
    (Buttons::MISC, Key::BTN_Z),
    (Buttons::LEFT_STICK, Key::BTN_THUMBL),
    (Buttons::RIGHT_STICK, Key::BTN_THUMBR),
];

const fn with_share() -> [(Buttons, Key); 12] {
    let mut buttons = [(Buttons::MISC, Key::KEY_RECORD); 12];
    let mut at = 0;
    while at < XBOX.len() {
        buttons[at] = XBOX[at];
        at += 1;
    }
    buttons
}

const fn with_paddles() -> [(Buttons, Key); 15] {
    let mut buttons = [(Buttons::PADDLE_1, Key::BTN_TRIGGER_HAPPY5); 15];
    let mut at = 0;
    while at < XBOX.len() {
        buttons[at] = XBOX[at];
        at += 1;
    }
    buttons[at + 1] = (Buttons::PADDLE_2, Key::BTN_TRIGGER_HAPPY6);
    buttons[at + 2] = (Buttons::PADDLE_3, Key::BTN_TRIGGER_HAPPY7);
    buttons[at + 3] = (Buttons::PADDLE_4, Key::BTN_TRIGGER_HAPPY8);
    buttons
}

/// Names and ids as the kernel gives them to the real ones: some games know their gamepads by name.
fn layout(kind: PadKind) -> Layout {
    let xbox = |name, product, version, buttons| Layout {
        name,
        vendor: 0x045e,
        product,
        version,
        buttons,
        triggers: Triggers::Axes,
    };
    match kind {
        PadKind::XboxSeries => xbox("Microsoft Xbox Series S|X Controller", 0x0b12, 0x0507, XBOX_SERIES),
        PadKind::XboxElite => xbox("Microsoft X-Box One Elite 2 pad", 0x0b00, 0x0407, XBOX_ELITE),
        PadKind::SwitchPro => Layout {
            name: "Nintendo Switch Pro Controller",
            vendor: 0x057e,
            product: 0x2009,
            version: 0x8111,
            buttons: SWITCH,
            triggers: Triggers::Buttons(Key::BTN_TL2, Key::BTN_TR2),
        },
        PadKind::Xbox360 => xbox("Microsoft X-Box 360 pad", 0x028e, 0x0114, XBOX),
        // What is HID elsewhere never comes here: `PadKind::without_hid` replaces it.
        PadKind::XboxOne | PadKind::DualSense | PadKind::DualShock4 => {
            xbox("Microsoft X-Box One S pad", 0x02ea, 0x0408, XBOX)
        }
    }
}

/// A gamepad of `/dev/uinput`; it is gone when this is dropped, or the process ends in whatever way.
pub struct Gamepad {
    device: UinputDevice,
    layout: Layout,
    /// Values that the kernel knows.
    shown: PadReport,
    effects: Effects,
    strength: (u16, u16),
    events: Vec<InputEvent>,
}

impl Gamepad {
    /// Plugs one in.
    ///
    /// # Errors
    /// Those of opening and setting up `/dev/uinput`.
    pub fn new(kind: PadKind, mark: &PadMark) -> io::Result<Self> {
        const STICK: (i32, i32, i32) = (i16::MIN as i32, i16::MAX as i32, 128);
        const TRIGGER: (i32, i32, i32) = (0, 255, 0);
        const HAT: (i32, i32, i32) = (-1, 1, 0);
        let layout = layout(kind);
        let mut keys: Vec<Key> = layout.buttons.iter().map(|(_, key)| *key).collect();
        let mut axes = vec![
            (Axis::X, STICK),
            (Axis::Y, STICK),
            (Axis::RX, STICK),
            (Axis::RY, STICK),
            (Axis::HAT0X, HAT),
            (Axis::HAT0Y, HAT),
        ];
        match layout.triggers {
            Triggers::Axes => axes.extend([(Axis::Z, TRIGGER), (Axis::RZ, TRIGGER)]),
            Triggers::Buttons(left, right) => keys.extend([left, right]),
        }
        let axes = axes.into_iter().map(|(axis, (minimum, maximum, flat))| {
            AbsSetup::new(axis, AbsInfo::new(minimum, maximum).with_flat(flat))
        });
        let device = UinputDevice::builder()?
            .with_input_id(InputId::new(Bus::USB, layout.vendor, layout.product, layout.version))?
            .with_phys(&mark.phys)?
            .with_keys(keys)?
            .with_abs_axes(axes)?
            // What the kernel makes of motors for real ones, and so what games look for.
            .with_ff_features([
                Feature::RUMBLE,
                Feature::PERIODIC,
                Feature::SQUARE,
                Feature::TRIANGLE,
                Feature::SINE,
                Feature::GAIN,
            ])?
            .with_ff_effects_max(MAX_EFFECTS)?
            .build(layout.name)?;
        device.set_nonblocking(true)?;
        Ok(Self {
            device,
            layout,
            shown: PadReport::default(),
            effects: Effects::default(),
            strength: (0, 0),
            events: Vec::with_capacity(32),
        })
    }

    /// Shows games what has changed.
    ///
    /// # Errors
    /// Those of writing: the device is void then.
    pub fn update(&mut self, report: &PadReport) -> io::Result<()> {
        let old = std::mem::replace(&mut self.shown, *report);
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let mut key = |key: Key, before: bool, now: bool| {
            if before != now {
                events.push(InputEvent::new(EventType::KEY, key.raw(), now.into()));
            }
        };
        for (button, code) in self.layout.buttons {
            key(*code, old.buttons.contains(*button), report.buttons.contains(*button));
        }
        if let Triggers::Buttons(left, right) = self.layout.triggers {
            key(left, old.triggers.0 >= 0x80, report.triggers.0 >= 0x80);
            key(right, old.triggers.1 >= 0x80, report.triggers.1 >= 0x80);
        }
        for ((axis, before), (_, now)) in axes(&old).into_iter().zip(axes(report)) {
            let reported =
                matches!(self.layout.triggers, Triggers::Axes) || (axis != Axis::Z && axis != Axis::RZ);
            if before != now && reported {
                events.push(InputEvent::new(EventType::ABS, axis.raw(), now));
            }
        }
        let emitted = if events.is_empty() { Ok(()) } else { self.device.write_events(&events) };
        self.events = events;
        emitted
    }

    /// Answers what programs asked since the last time.
    ///
    /// # Errors
    /// Those of reading: the device is void then.
    pub fn serve(&mut self, now: Timestamp, feedback: &mut dyn FnMut(DeviceFeedback)) -> io::Result<()> {
        let Self { device, effects, .. } = self;
        // Ends when nothing is left to read.
        for event in device.events() {
            match event?.kind() {
                EventKind::Uinput(request) if request.code() == UinputCode::FF_UPLOAD => {
                    // What the handler refuses is told to the program; it is no fault of the device.
                    let _ = device.ff_upload(&request, |upload| {
                        let id = effect_id(upload.effect_id().raw())?;
                        let stored = effects.upload(id, motors(upload.effect()));
                        if stored { Ok(()) } else { Err(rustix::io::Errno::NOSPC.into()) }
                    });
                }
                EventKind::Uinput(request) if request.code() == UinputCode::FF_ERASE => {
                    let _ = device.ff_erase(&request, |erase| {
                        effects.erase(effect_id(erase.effect_id().raw())?);
                        Ok(())
                    });
                }
                EventKind::ForceFeedback(event) if event.raw_code() == Feature::GAIN.raw() => {
                    effects.set_gain(event.raw_value());
                }
                EventKind::ForceFeedback(event) => effects.play(event.raw_code(), event.raw_value(), now),
                _ => {}
            }
        }
        self.turn(now, feedback);
        Ok(())
    }

    /// Lets time pass for the effects; says when it has to again.
    pub fn turn(&mut self, now: Timestamp, feedback: &mut dyn FnMut(DeviceFeedback)) -> Option<Timestamp> {
        let next = self.effects.settle(now);
        let strength = self.effects.strength(now);
        if std::mem::replace(&mut self.strength, strength) != strength {
            feedback(DeviceFeedback::Rumble { low_frequency: strength.0, high_frequency: strength.1 });
        }
        next
    }
}

impl AsFd for Gamepad {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

/// All axes with their values in Linux' sense: down is positive.
fn axes(report: &PadReport) -> [(Axis, i32); 8] {
    let held = |button| i32::from(report.buttons.contains(button));
    [
        (Axis::X, report.left_stick.0.into()),
        (Axis::Y, flipped(report.left_stick.1).into()),
        (Axis::RX, report.right_stick.0.into()),
        (Axis::RY, flipped(report.right_stick.1).into()),
        (Axis::Z, report.triggers.0.into()),
        (Axis::RZ, report.triggers.1.into()),
        (Axis::HAT0X, held(Buttons::RIGHT) - held(Buttons::LEFT)),
        (Axis::HAT0Y, held(Buttons::DOWN) - held(Buttons::UP)),
    ]
}

/// The kernel counts effects from 0.
fn effect_id(id: i16) -> io::Result<u16> {
    u16::try_from(id).map_err(|_| rustix::io::Errno::INVAL.into())
}

/// What an effect means for two motors. A wave moves both, as it does on real gamepads.
fn motors(effect: &evdevil::ff::Effect<'_>) -> Effect {
    let (strong, weak) = match effect.kind() {
        EffectKind::Rumble(rumble) => (rumble.strong_magnitude(), rumble.weak_magnitude()),
        EffectKind::Periodic(wave) => {
            let strength = wave.magnitude().unsigned_abs().min(0x7fff) * 2;
            (strength, strength)
        }
        _ => (0, 0),
    };
    let replay = effect.replay();
    Effect {
        strong,
        weak,
        delay: Duration::from_millis(replay.delay().into()),
        length: Duration::from_millis(replay.length().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sticks_and_hat_point_down_as_in_linux() {
        let report = PadReport {
            left_stick: (-32768, -32768),
            right_stick: (5, 7),
            triggers: (1, 255),
            buttons: Buttons::UP | Buttons::RIGHT,
            ..PadReport::default()
        };
        assert_eq!(axes(&report).map(|(_, value)| value), [-32768, 32767, 5, -7, 1, 255, 1, -1]);
        let both = PadReport { buttons: Buttons::UP | Buttons::DOWN, ..PadReport::default() };
        assert_eq!(axes(&both)[7].1, 0);
    }

    #[test]
    fn every_button_of_a_kind_has_a_code_of_its_own() {
        for kind in
            [PadKind::Xbox360, PadKind::XboxOne, PadKind::XboxSeries, PadKind::XboxElite, PadKind::SwitchPro]
        {
            let layout = layout(kind);
            let codes: std::collections::BTreeSet<u16> =
                layout.buttons.iter().map(|(_, key)| key.raw()).collect();
            let bits = layout.buttons.iter().fold(0, |bits, (button, _)| bits | button.bits());
            assert_eq!(codes.len(), layout.buttons.len(), "{kind}");
            assert_eq!(bits.count_ones() as usize, layout.buttons.len(), "{kind}");
        }
        assert_eq!(XBOX_SERIES[11], (Buttons::MISC, Key::KEY_RECORD));
        assert_eq!(XBOX_ELITE[11], (Buttons::PADDLE_1, Key::BTN_TRIGGER_HAPPY5));
    }
}
