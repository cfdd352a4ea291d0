//! Input packets, the payload of control message 0x0206 (protocol text §9).

mod pad;
mod touch;

pub use pad::{
    Battery, BatteryState, Buttons, ControllerArrival, ControllerKind, ControllerState, ControllerTouch,
    Motion, PadCapabilities,
};
pub use touch::{Pen, PenTool, Rotation, Touch, TouchEvent};

use crate::control::MotionSensor;

/// Longest text taken from one packet, in bytes. Clients send one code point at a time.
const MAX_TEXT: usize = 1024;

/// One input event of the client.
#[derive(Clone, Debug, PartialEq)]
pub enum InputPacket {
    /// A key went down or up. Repeated downs are possible.
    Key(Key),
    /// Text that no key makes.
    Text(String),
    /// The mouse moved by so many pixels at the client's scale.
    MouseMotion {
        /// To the right.
        dx: i16,
        /// Downwards.
        dy: i16,
    },
    /// The mouse is at a place of the client's viewport.
    MousePosition(MousePosition),
    /// A mouse button went down or up.
    MouseButton {
        /// Which one.
        button: MouseButton,
        /// Down or up.
        pressed: bool,
    },
    /// Wheel: 120 is a notch, any value is possible, positive is up (away from the user).
    Scroll {
        /// 1/120 of a notch.
        amount: i16,
    },
    /// Wheel sideways: 120 is a notch, positive is to the right.
    HorizontalScroll {
        /// 1/120 of a notch.
        amount: i16,
    },
    /// Whole state of one gamepad.
    Controller(ControllerState),
    /// A gamepad introduces itself.
    ControllerArrival(ControllerArrival),
    /// A finger on a gamepad's touchpad.
    ControllerTouch(ControllerTouch),
    /// A sample of a gamepad's motion sensor.
    Motion(Motion),
    /// A gamepad's battery.
    Battery(Battery),
    /// A finger on the client's screen.
    Touch(Touch),
    /// A pen on the client's screen.
    Pen(Pen),
    /// The client can rumble; sent once, first.
    EnableHaptics,
    /// A packet that is not defined; ignore it.
    Unknown {
        /// Its magic.
        magic: u32,
    },
}

/// A key event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Windows virtual-key code, in the position it has on a US keyboard unless `by_layout`.
    pub code: u8,
    /// Down or up.
    pub pressed: bool,
    /// `code` is in the client's own layout.
    pub by_layout: bool,
    /// From the keyboard on the screen of iOS, which leaves the high byte of the code empty: the key stands for the
    /// character that it types on a US keyboard.
    pub on_screen: bool,
    /// Modifiers held at the client at that moment; a hint, since modifiers are keys of their own too.
    pub modifiers: Modifiers,
}

/// Modifier keys, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Modifiers(u8);

impl Modifiers {
    /// Either shift key.
    pub const SHIFT: Self = Self(0x01);
    /// Either control key.
    pub const CTRL: Self = Self(0x02);
    /// Either alt key.
    pub const ALT: Self = Self(0x04);
    /// Either meta (super, Windows) key.
    pub const META: Self = Self(0x08);

    /// From the byte on the wire.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The byte on the wire.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether all of `other` is in it.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// An absolute position of the mouse. May lie outside of the reference; clamp it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MousePosition {
    /// From the left, 0 to `width`.
    pub x: i16,
    /// From the top, 0 to `height`.
    pub y: i16,
    /// Reference width minus 1; positive.
    pub width: i16,
    /// Reference height minus 1; positive.
    pub height: i16,
}

impl MousePosition {
    /// The place as fractions of the viewport, each clamped to 0 to 1.
    pub fn normalised(self) -> (f64, f64) {
        let fraction = |at: i16, of: i16| (f64::from(at) / f64::from(of.max(1))).clamp(0.0, 1.0);
        (fraction(self.x, self.width), fraction(self.y, self.height))
    }
}

/// Buttons of a mouse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MouseButton {
    /// 1.
    Left,
    /// 2.
    Middle,
    /// 3.
    Right,
    /// 4, "back".
    X1,
    /// 5, "forward".
    X2,
}

/// Why an input packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// The bytes end before the packet does, or its size field points past them.
    #[error("the packet is too short")]
    Short,
    /// A value that the protocol does not define.
    #[error("the packet has an undefined value")]
    Value,
}

impl InputPacket {
    /// Decodes one packet. Longer bodies than known are fine: later clients may append fields.
    ///
    /// # Errors
    /// [`InputError`]: drop the packet and count it.
    pub fn decode(packet: &[u8]) -> Result<Self, InputError> {
        let (size, rest) = packet.split_first_chunk::<4>().ok_or(InputError::Short)?;
        let size = usize::try_from(u32::from_be_bytes(*size)).map_err(|_| InputError::Short)?;
        let rest = rest.get(..size).ok_or(InputError::Short)?;
        let (magic, body) = rest.split_first_chunk::<4>().ok_or(InputError::Short)?;
        let magic = u32::from_le_bytes(*magic);
        let mut body = Reader(body);
        match magic {
            0x03 | 0x04 => key(&mut body, magic == 0x03),
            0x17 => text(body.0),
            0x05 => mouse_position(&mut body),
            0x07 => Ok(Self::MouseMotion { dx: body.i16_be()?, dy: body.i16_be()? }),
            0x08 | 0x09 => mouse_button(&mut body, magic == 0x08),
            0x0a => {
                let amount = body.i16_be()?;
                body.skip(4)?;
                Ok(Self::Scroll { amount })
            }
            0x0c => pad::state(&mut body).map(Self::Controller),
            0x0d => body.skip(2).map(|()| Self::EnableHaptics),
            0x5500_0001 => Ok(Self::HorizontalScroll { amount: body.i16_be()? }),
            0x5500_0002 => touch::touch(&mut body).map(Self::Touch),
            0x5500_0003 => touch::pen(&mut body).map(Self::Pen),
            0x5500_0004 => pad::arrival(&mut body).map(Self::ControllerArrival),
            0x5500_0005 => pad::touch(&mut body).map(Self::ControllerTouch),
            0x5500_0006 => pad::motion(&mut body).map(Self::Motion),
            0x5500_0007 => pad::battery(&mut body).map(Self::Battery),
            magic => Ok(Self::Unknown { magic }),
        }
    }
}

fn key(body: &mut Reader<'_>, pressed: bool) -> Result<InputPacket, InputError> {
    let flags = body.u8()?;
    let [code, high] = body.u16_le()?.to_le_bytes();
    let modifiers = Modifiers::from_bits(body.u8()?);
    body.skip(2)?;
    let by_layout = flags & 1 != 0;
    Ok(InputPacket::Key(Key { code, pressed, by_layout, on_screen: by_layout && high == 0, modifiers }))
}

fn text(body: &[u8]) -> Result<InputPacket, InputError> {
    let body = body.get(..body.len().min(MAX_TEXT)).unwrap_or_default();
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        // The limit cut a character in two; the ones before it are whole.
        Err(error) if error.error_len().is_none() && body.len() == MAX_TEXT => {
            std::str::from_utf8(&body[..error.valid_up_to()]).map_err(|_| InputError::Value)?
        }
        Err(_) => return Err(InputError::Value),
    };
    if text.is_empty() { Err(InputError::Short) } else { Ok(InputPacket::Text(text.to_owned())) }
}

fn mouse_position(body: &mut Reader<'_>) -> Result<InputPacket, InputError> {
    let (x, y, _unused) = (body.i16_be()?, body.i16_be()?, body.i16_be()?);
    let (width, height) = (body.i16_be()?, body.i16_be()?);
    if width <= 0 || height <= 0 {
        return Err(InputError::Value);
    }
    Ok(InputPacket::MousePosition(MousePosition { x, y, width, height }))
}

fn mouse_button(body: &mut Reader<'_>, pressed: bool) -> Result<InputPacket, InputError> {
    let button = match body.u8()? {
        1 => MouseButton::Left,
        2 => MouseButton::Middle,
        3 => MouseButton::Right,
        4 => MouseButton::X1,
        5 => MouseButton::X2,
        _ => return Err(InputError::Value),
    };
    Ok(InputPacket::MouseButton { button, pressed })
}

fn sensor(number: u8) -> Result<MotionSensor, InputError> {
    match number {
        1 => Ok(MotionSensor::Accelerometer),
        2 => Ok(MotionSensor::Gyroscope),
        _ => Err(InputError::Value),
    }
}

/// Takes fields off the front. Endianness differs by packet, so every call names it.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], InputError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(InputError::Short)?;
        self.0 = rest;
        Ok(*head)
    }

    fn skip(&mut self, bytes: usize) -> Result<(), InputError> {
        self.0 = self.0.get(bytes..).ok_or(InputError::Short)?;
        Ok(())
    }

    fn u8(&mut self) -> Result<u8, InputError> {
        Ok(u8::from_le_bytes(self.take()?))
    }

    fn u16_le(&mut self) -> Result<u16, InputError> {
        Ok(u16::from_le_bytes(self.take()?))
    }

    fn i16_le(&mut self) -> Result<i16, InputError> {
        Ok(i16::from_le_bytes(self.take()?))
    }

    fn i16_be(&mut self) -> Result<i16, InputError> {
        Ok(i16::from_be_bytes(self.take()?))
    }

    fn u32_le(&mut self) -> Result<u32, InputError> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    /// A float that is one: NaN and infinities would spread through every later sum.
    fn f32_le(&mut self) -> Result<f32, InputError> {
        let value = f32::from_le_bytes(self.take()?);
        if value.is_finite() { Ok(value) } else { Err(InputError::Value) }
    }

    /// A float that the event can do without: 0, which means unknown, for one that is none.
    fn f32_le_or_0(&mut self) -> Result<f32, InputError> {
        let value = f32::from_le_bytes(self.take()?);
        Ok(if value.is_finite() { value } else { 0.0 })
    }
}

#[cfg(test)]
mod tests;
