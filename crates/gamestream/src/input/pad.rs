//! Gamepads.

use super::{InputError, Reader, TouchEvent, sensor};
use crate::control::MotionSensor;

/// Highest gamepad number.
const MAX_CONTROLLER: u16 = 15;

/// Whole state of one gamepad. It exists as long as its own bit is in `active_mask` of its own packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControllerState {
    /// Number, 0 to 15.
    pub controller: u8,
    /// One bit per gamepad that the client holds.
    pub active_mask: u16,
    /// Buttons held.
    pub buttons: Buttons,
    /// 0 to 255.
    pub left_trigger: u8,
    /// 0 to 255.
    pub right_trigger: u8,
    /// x, y; positive is right and up.
    pub left_stick: (i16, i16),
    /// x, y; positive is right and up.
    pub right_stick: (i16, i16),
}

impl ControllerState {
    /// Whether this packet says that the gamepad is still there.
    pub fn is_present(&self) -> bool {
        self.active_mask & (1 << self.controller) != 0
    }
}

/// Buttons of a gamepad in the positions of an Xbox one (protocol text §9.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Buttons(u32);

impl Buttons {
    /// Directional pad, up.
    pub const UP: Self = Self(0x0001);
    /// Directional pad, down.
    pub const DOWN: Self = Self(0x0002);
    /// Directional pad, left.
    pub const LEFT: Self = Self(0x0004);
    /// Directional pad, right.
    pub const RIGHT: Self = Self(0x0008);
    /// Start.
    pub const START: Self = Self(0x0010);
    /// Back, select.
    pub const BACK: Self = Self(0x0020);
    /// Left stick pressed.
    pub const LEFT_STICK: Self = Self(0x0040);
    /// Right stick pressed.
    pub const RIGHT_STICK: Self = Self(0x0080);
    /// Left shoulder.
    pub const LEFT_SHOULDER: Self = Self(0x0100);
    /// Right shoulder.
    pub const RIGHT_SHOULDER: Self = Self(0x0200);
    /// Home, guide.
    pub const HOME: Self = Self(0x0400);
    /// South.
    pub const A: Self = Self(0x1000);
    /// East.
    pub const B: Self = Self(0x2000);
    /// West.
    pub const X: Self = Self(0x4000);
    /// North.
    pub const Y: Self = Self(0x8000);
    /// First paddle.
    pub const PADDLE_1: Self = Self(0x1_0000);
    /// Second paddle.
    pub const PADDLE_2: Self = Self(0x2_0000);
    /// Third paddle.
    pub const PADDLE_3: Self = Self(0x4_0000);
    /// Fourth paddle.
    pub const PADDLE_4: Self = Self(0x8_0000);
    /// Touchpad pressed.
    pub const TOUCHPAD: Self = Self(0x10_0000);
    /// Share, mute and their like.
    pub const MISC: Self = Self(0x20_0000);

    /// From the number on the wire.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The number on the wire.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all of `other` is in it.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for Buttons {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What a gamepad is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ControllerKind {
    /// 0, and what the protocol does not define.
    Unknown,
    /// 1.
    Xbox,
    /// 2.
    PlayStation,
    /// 3.
    Nintendo,
    /// 4.
    Steam,
}

/// What a gamepad has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PadCapabilities(u16);

impl PadCapabilities {
    /// Analog triggers.
    pub const ANALOG_TRIGGERS: Self = Self(0x01);
    /// Rumble motors.
    pub const RUMBLE: Self = Self(0x02);
    /// Rumble motors in the triggers.
    pub const TRIGGER_RUMBLE: Self = Self(0x04);
    /// A touchpad.
    pub const TOUCHPAD: Self = Self(0x08);
    /// An accelerometer.
    pub const ACCELEROMETER: Self = Self(0x10);
    /// A gyroscope.
    pub const GYROSCOPE: Self = Self(0x20);
    /// A battery that reports.
    pub const BATTERY: Self = Self(0x40);
    /// A coloured light.
    pub const RGB_LED: Self = Self(0x80);
    /// Two touchpads.
    pub const TWO_TOUCHPADS: Self = Self(0x100);

    /// From the number on the wire.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// The number on the wire.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether all of `other` is in it.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A gamepad introduces itself, before its first state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControllerArrival {
    /// Number, 0 to 15.
    pub controller: u8,
    /// What it is.
    pub kind: ControllerKind,
    /// What it has.
    pub capabilities: PadCapabilities,
    /// Buttons that it has.
    pub buttons: Buttons,
}

/// A finger on a gamepad's touchpad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ControllerTouch {
    /// Number, 0 to 15.
    pub controller: u8,
    /// What happened.
    pub event: TouchEvent,
    /// Which touchpad.
    pub touchpad: u8,
    /// Stable while the finger is down.
    pub pointer: u32,
    /// 0 to 1.
    pub x: f32,
    /// 0 to 1.
    pub y: f32,
    /// 0 to 1; 0 is unknown.
    pub pressure: f32,
}

/// A sample of a motion sensor: X right, Y up, Z toward the player.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Motion {
    /// Number, 0 to 15.
    pub controller: u8,
    /// Which sensor, and so which unit.
    pub sensor: MotionSensor,
    /// m/s² or degrees per second.
    pub x: f32,
    /// m/s² or degrees per second.
    pub y: f32,
    /// m/s² or degrees per second.
    pub z: f32,
}

/// A gamepad's battery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Battery {
    /// Number, 0 to 15.
    pub controller: u8,
    /// What it does.
    pub state: BatteryState,
    /// Charge in per cent; `None` when unknown.
    pub percent: Option<u8>,
}

/// What a battery does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BatteryState {
    /// 0, and what the protocol does not define.
    Unknown,
    /// 1: there is none.
    Absent,
    /// 2.
    Discharging,
    /// 3.
    Charging,
    /// 4: plugged in, not charging.
    NotCharging,
    /// 5.
    Full,
}

pub(super) fn state(body: &mut Reader<'_>) -> Result<ControllerState, InputError> {
    body.skip(2)?;
    let controller = number(body.u16_le()?)?;
    let active_mask = body.u16_le()?;
    body.skip(2)?;
    let low = body.u16_le()?;
    let (left_trigger, right_trigger) = (body.u8()?, body.u8()?);
    let left_stick = (body.i16_le()?, body.i16_le()?);
    let right_stick = (body.i16_le()?, body.i16_le()?);
    body.skip(2)?;
    let high = body.u16_le()?;
    body.skip(2)?;
    let buttons = Buttons::from_bits(u32::from(low) | u32::from(high) << 16);
    Ok(ControllerState {
        controller,
        active_mask,
        buttons,
        left_trigger,
        right_trigger,
        left_stick,
        right_stick,
    })
}

pub(super) fn arrival(body: &mut Reader<'_>) -> Result<ControllerArrival, InputError> {
    Ok(ControllerArrival {
        controller: number(body.u8()?.into())?,
        kind: match body.u8()? {
            1 => ControllerKind::Xbox,
            2 => ControllerKind::PlayStation,
            3 => ControllerKind::Nintendo,
            4 => ControllerKind::Steam,
            _ => ControllerKind::Unknown,
        },
        capabilities: PadCapabilities::from_bits(body.u16_le()?),
        buttons: Buttons::from_bits(body.u32_le()?),
    })
}

pub(super) fn touch(body: &mut Reader<'_>) -> Result<ControllerTouch, InputError> {
    let controller = number(body.u8()?.into())?;
    let event = TouchEvent::from_wire(body.u8()?)?;
    body.skip(1)?;
    Ok(ControllerTouch {
        controller,
        event,
        touchpad: body.u8()?,
        pointer: body.u32_le()?,
        x: body.f32_le()?,
        y: body.f32_le()?,
        pressure: body.f32_le_or_0()?,
    })
}

pub(super) fn motion(body: &mut Reader<'_>) -> Result<Motion, InputError> {
    let controller = number(body.u8()?.into())?;
    let sensor = sensor(body.u8()?)?;
    body.skip(2)?;
    Ok(Motion { controller, sensor, x: body.f32_le()?, y: body.f32_le()?, z: body.f32_le()? })
}

pub(super) fn battery(body: &mut Reader<'_>) -> Result<Battery, InputError> {
    let controller = number(body.u8()?.into())?;
    let state = match body.u8()? {
        1 => BatteryState::Absent,
        2 => BatteryState::Discharging,
        3 => BatteryState::Charging,
        4 => BatteryState::NotCharging,
        5 => BatteryState::Full,
        _ => BatteryState::Unknown,
    };
    let percent = body.u8()?;
    body.skip(1)?;
    Ok(Battery { controller, state, percent: (percent <= 100).then_some(percent) })
}

fn number(controller: u16) -> Result<u8, InputError> {
    if controller <= MAX_CONTROLLER { Ok(controller as u8) } else { Err(InputError::Value) }
}
