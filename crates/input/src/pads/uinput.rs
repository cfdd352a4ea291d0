//! Gamepads of `/dev/uinput`: Xbox and Switch Pro, with buttons, axes and motors as the kernel's own drivers show them.

use super::PadMark;
use super::feedback::DeviceFeedback;
use super::kind::PadKind;
use super::report::{PadReport, flipped};
use super::rumble::{Effect, Effects, MAX_EFFECTS};
use evdev::uinput::VirtualDevice;
use evdev::{
    AbsInfo, AbsoluteAxisCode as Axis, AttributeSet, BusType, EventSummary, EventType, FFEffectCode, FFEffectKind,
    InputEvent, InputId, KeyCode, UInputCode, UinputAbsSetup,
};
use lumen_gamestream::input::Buttons;
use lumen_media::Timestamp;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// How a kind of gamepad looks to games.
struct Layout {
    name: &'static str,
    vendor: u16,
    product: u16,
    version: u16,
    buttons: &'static [(Buttons, KeyCode)],
    triggers: Triggers,
}

/// How triggers are reported.
enum Triggers {
    /// Axes from 0 to 255.
    Axes,
    /// Buttons, down from the middle on.
    Buttons(KeyCode, KeyCode),
}

/// Kernel drivers for Xbox gamepads call the west button `BTN_X` and the north one `BTN_Y`, which the kernel's own
/// positional names swap.
const XBOX: &[(Buttons, KeyCode)] = &[
    (Buttons::A, KeyCode::BTN_SOUTH),
    (Buttons::B, KeyCode::BTN_EAST),
    (Buttons::X, KeyCode::BTN_NORTH),
    (Buttons::Y, KeyCode::BTN_WEST),
    (Buttons::LEFT_SHOULDER, KeyCode::BTN_TL),
    (Buttons::RIGHT_SHOULDER, KeyCode::BTN_TR),
    (Buttons::BACK, KeyCode::BTN_SELECT),
    (Buttons::START, KeyCode::BTN_START),
    (Buttons::HOME, KeyCode::BTN_MODE),
    (Buttons::LEFT_STICK, KeyCode::BTN_THUMBL),
    (Buttons::RIGHT_STICK, KeyCode::BTN_THUMBR),
];
const XBOX_SERIES: &[(Buttons, KeyCode)] = &with_share();
const XBOX_ELITE: &[(Buttons, KeyCode)] = &with_paddles();
const SWITCH: &[(Buttons, KeyCode)] = &[
    (Buttons::A, KeyCode::BTN_SOUTH),
    (Buttons::B, KeyCode::BTN_EAST),
    (Buttons::X, KeyCode::BTN_WEST),
    (Buttons::Y, KeyCode::BTN_NORTH),
    (Buttons::LEFT_SHOULDER, KeyCode::BTN_TL),
    (Buttons::RIGHT_SHOULDER, KeyCode::BTN_TR),
    (Buttons::BACK, KeyCode::BTN_SELECT),
    (Buttons::START, KeyCode::BTN_START),
    (Buttons::HOME, KeyCode::BTN_MODE),
    (Buttons::MISC, KeyCode::BTN_Z),
    (Buttons::LEFT_STICK, KeyCode::BTN_THUMBL),
    (Buttons::RIGHT_STICK, KeyCode::BTN_THUMBR),
];

const fn with_share() -> [(Buttons, KeyCode); 12] {
    let mut buttons = [(Buttons::MISC, KeyCode::KEY_RECORD); 12];
    let mut at = 0;
    while at < XBOX.len() {
        buttons[at] = XBOX[at];
        at += 1;
    }
    buttons
}

const fn with_paddles() -> [(Buttons, KeyCode); 15] {
    let mut buttons = [(Buttons::PADDLE_1, KeyCode::BTN_TRIGGER_HAPPY5); 15];
    let mut at = 0;
    while at < XBOX.len() {
        buttons[at] = XBOX[at];
        at += 1;
    }
    buttons[at + 1] = (Buttons::PADDLE_2, KeyCode::BTN_TRIGGER_HAPPY6);
    buttons[at + 2] = (Buttons::PADDLE_3, KeyCode::BTN_TRIGGER_HAPPY7);
    buttons[at + 3] = (Buttons::PADDLE_4, KeyCode::BTN_TRIGGER_HAPPY8);
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
            triggers: Triggers::Buttons(KeyCode::BTN_TL2, KeyCode::BTN_TR2),
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
    device: VirtualDevice,
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
        let mut keys: AttributeSet<KeyCode> = layout.buttons.iter().map(|(_, key)| *key).collect();
        let mut axes = vec![
            (Axis::ABS_X, STICK),
            (Axis::ABS_Y, STICK),
            (Axis::ABS_RX, STICK),
            (Axis::ABS_RY, STICK),
            (Axis::ABS_HAT0X, HAT),
            (Axis::ABS_HAT0Y, HAT),
        ];
        match layout.triggers {
            Triggers::Axes => axes.extend([(Axis::ABS_Z, TRIGGER), (Axis::ABS_RZ, TRIGGER)]),
            Triggers::Buttons(left, right) => {
                keys.insert(left);
                keys.insert(right);
            }
        }
        // What the kernel makes of motors for real ones, and so what games look for.
        let effects: AttributeSet<FFEffectCode> = [
            FFEffectCode::FF_RUMBLE,
            FFEffectCode::FF_PERIODIC,
            FFEffectCode::FF_SQUARE,
            FFEffectCode::FF_TRIANGLE,
            FFEffectCode::FF_SINE,
            FFEffectCode::FF_GAIN,
        ]
        .into_iter()
        .collect();
        let phys = CString::new(mark.phys.as_str())?;
        let mut builder = VirtualDevice::builder()?
            .name(layout.name)
            .input_id(InputId::new(BusType::BUS_USB, layout.vendor, layout.product, layout.version))
            .with_phys(&phys)?
            .with_keys(&keys)?
            .with_ff(&effects)?
            .with_ff_effects_max(MAX_EFFECTS);
        for (axis, (minimum, maximum, flat)) in axes {
            let info = AbsInfo::new(0, minimum, maximum, 0, flat, 0);
            builder = builder.with_absolute_axis(&UinputAbsSetup::new(axis, info))?;
        }
        let device = builder.build()?;
        rustix::io::ioctl_fionbio(&device, true)?;
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
        let mut key = |key: KeyCode, before: bool, now: bool| {
            if before != now {
                events.push(InputEvent::new(EventType::KEY.0, key.0, now.into()));
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
            let reported = matches!(self.layout.triggers, Triggers::Axes)
                || (axis != Axis::ABS_Z && axis != Axis::ABS_RZ);
            if before != now && reported {
                events.push(InputEvent::new(EventType::ABSOLUTE.0, axis.0, now));
            }
        }
        let emitted = if events.is_empty() { Ok(()) } else { self.device.emit(&events) };
        self.events = events;
        emitted
    }

    /// Answers what programs asked since the last time.
    ///
    /// # Errors
    /// Those of reading: the device is void then.
    pub fn serve(&mut self, now: Timestamp, feedback: &mut dyn FnMut(DeviceFeedback)) -> io::Result<()> {
        let events: Vec<InputEvent> = match self.device.fetch_events() {
            Ok(events) => events.collect(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Vec::new(),
            Err(error) => return Err(error),
        };
        for event in events {
            match event.destructure() {
                EventSummary::UInput(event, UInputCode::UI_FF_UPLOAD, _) => {
                    let mut upload = self.device.process_ff_upload(event)?;
                    let stored = u16::try_from(upload.effect_id())
                        .is_ok_and(|id| self.effects.upload(id, motors(&upload.effect())));
                    upload.set_retval(if stored { 0 } else { -rustix::io::Errno::NOSPC.raw_os_error() });
                }
                EventSummary::UInput(event, UInputCode::UI_FF_ERASE, _) => {
                    let erase = self.device.process_ff_erase(event)?;
                    if let Ok(id) = u16::try_from(erase.effect_id()) {
                        self.effects.erase(id);
                    }
                }
                EventSummary::ForceFeedback(_, FFEffectCode::FF_GAIN, gain) => self.effects.set_gain(gain),
                EventSummary::ForceFeedback(_, effect, times) => self.effects.play(effect.0, times, now),
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
        (Axis::ABS_X, report.left_stick.0.into()),
        (Axis::ABS_Y, flipped(report.left_stick.1).into()),
        (Axis::ABS_RX, report.right_stick.0.into()),
        (Axis::ABS_RY, flipped(report.right_stick.1).into()),
        (Axis::ABS_Z, report.triggers.0.into()),
        (Axis::ABS_RZ, report.triggers.1.into()),
        (Axis::ABS_HAT0X, held(Buttons::RIGHT) - held(Buttons::LEFT)),
        (Axis::ABS_HAT0Y, held(Buttons::DOWN) - held(Buttons::UP)),
    ]
}

/// What an effect means for two motors. A wave moves both, as it does on real gamepads.
fn motors(data: &evdev::FFEffectData) -> Effect {
    let (strong, weak) = match data.kind {
        FFEffectKind::Rumble { strong_magnitude, weak_magnitude } => (strong_magnitude, weak_magnitude),
        FFEffectKind::Periodic { magnitude, .. } => {
            let strength = magnitude.unsigned_abs().min(0x7fff) * 2;
            (strength, strength)
        }
        _ => (0, 0),
    };
    Effect {
        strong,
        weak,
        delay: Duration::from_millis(data.replay.delay.into()),
        length: Duration::from_millis(data.replay.length.into()),
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
        for kind in [
            PadKind::Xbox360,
            PadKind::XboxOne,
            PadKind::XboxSeries,
            PadKind::XboxElite,
            PadKind::SwitchPro,
        ] {
            let layout = layout(kind);
            let codes: std::collections::BTreeSet<u16> = layout.buttons.iter().map(|(_, key)| key.0).collect();
            let bits = layout.buttons.iter().fold(0, |bits, (button, _)| bits | button.bits());
            assert_eq!(codes.len(), layout.buttons.len(), "{kind}");
            assert_eq!(bits.count_ones() as usize, layout.buttons.len(), "{kind}");
        }
        assert_eq!(XBOX_SERIES[11], (Buttons::MISC, KeyCode::KEY_RECORD));
        assert_eq!(XBOX_ELITE[11], (Buttons::PADDLE_1, KeyCode::BTN_TRIGGER_HAPPY5));
    }
}
