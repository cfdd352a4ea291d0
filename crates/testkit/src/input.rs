//! Input packets, byte for byte as protocol text §9 fixes them, with the channel and reliability of each.
//!
//! Endianness is mixed on the wire: size and mouse values are big-endian, the rest little-endian.

/// Phase of a touch, pen or pad-touch event (protocol text §9.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Contact {
    /// Near, not touching.
    Hover = 0,
    /// Begins to touch.
    Down = 1,
    /// Ends.
    Up = 2,
    /// Moves while touching.
    Move = 3,
    /// This contact is void; only its id is valid.
    Cancel = 4,
    /// Pen button only; coordinates are invalid.
    ButtonOnly = 5,
    /// Leaves the hover range.
    HoverLeave = 6,
    /// All contacts are void.
    CancelAll = 7,
}

/// State of one gamepad (multi-controller packet).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PadState {
    /// Controller number, 0–15.
    pub number: u16,
    /// Bit per connected pad.
    pub active_mask: u16,
    /// Buttons, protocol text §9.3.
    pub buttons: u32,
    /// Left trigger.
    pub left_trigger: u8,
    /// Right trigger.
    pub right_trigger: u8,
    /// Left stick x, y; +y is up.
    pub left_stick: (i16, i16),
    /// Right stick x, y; +y is up.
    pub right_stick: (i16, i16),
}

/// One input packet.
#[derive(Debug, Clone, PartialEq)]
pub enum InputPacket {
    /// Key event. `code` is a Windows virtual key; stock clients set the high byte to 0x80.
    Key {
        /// Pressed, else released.
        down: bool,
        /// Virtual key with its high byte.
        code: u16,
        /// 1 shift, 2 ctrl, 4 alt, 8 meta.
        modifiers: u8,
        /// 1 = `NON_NORMALIZED`.
        flags: u8,
    },
    /// UTF-8 text; stock clients send one code point per packet.
    Text(String),
    /// Relative mouse movement in pixels.
    MouseMove {
        /// To the right.
        dx: i16,
        /// Down.
        dy: i16,
    },
    /// Absolute mouse position.
    MousePosition {
        /// 0 … `width`−1.
        x: i16,
        /// 0 … `height`−1.
        y: i16,
        /// Reference width; sent minus 1.
        width: i16,
        /// Reference height; sent minus 1.
        height: i16,
    },
    /// Mouse button, 1 left … 5 X2.
    MouseButton {
        /// Pressed, else released.
        down: bool,
        /// Number.
        button: u8,
    },
    /// Vertical scroll; 120 is one notch up.
    Scroll(i16),
    /// Horizontal scroll; 120 is one notch to the right.
    ScrollHorizontal(i16),
    /// Gamepad state.
    Pad(PadState),
    /// A gamepad appeared.
    PadArrival {
        /// Controller number.
        number: u8,
        /// 0 unknown, 1 Xbox, 2 PlayStation, 3 Nintendo, 4 Steam.
        kind: u8,
        /// Capability bits.
        capabilities: u16,
        /// Buttons it has.
        buttons: u32,
    },
    /// Finger on the screen.
    Touch {
        /// Phase.
        event: Contact,
        /// Degrees 0–360, 0xffff unknown.
        rotation: u16,
        /// Identity of the contact.
        pointer: u32,
        /// 0–1 of the video area.
        x: f32,
        /// 0–1 of the video area.
        y: f32,
        /// Pressure, or distance while hovering.
        pressure: f32,
        /// Contact major axis.
        major: f32,
        /// Contact minor axis.
        minor: f32,
    },
    /// Pen.
    Pen {
        /// Phase.
        event: Contact,
        /// 0 unknown, 1 pen, 2 eraser.
        tool: u8,
        /// 1 primary, 2 secondary, 4 tertiary.
        buttons: u8,
        /// 0–1 of the video area.
        x: f32,
        /// 0–1 of the video area.
        y: f32,
        /// Pressure, or distance while hovering.
        pressure: f32,
        /// Degrees 0–360, 0xffff unknown.
        rotation: u16,
        /// Degrees 0–90, 0xff unknown.
        tilt: u8,
        /// Contact major axis.
        major: f32,
        /// Contact minor axis.
        minor: f32,
    },
    /// Finger on a gamepad's touchpad.
    PadTouch {
        /// Controller number.
        number: u8,
        /// Phase.
        event: Contact,
        /// Touchpad index.
        touchpad: u8,
        /// Identity of the contact.
        pointer: u32,
        /// 0–1.
        x: f32,
        /// 0–1.
        y: f32,
        /// Pressure.
        pressure: f32,
    },
    /// Motion sensor sample.
    PadMotion {
        /// Controller number.
        number: u8,
        /// 1 accelerometer, 2 gyroscope.
        kind: u8,
        /// x, y, z.
        axes: [f32; 3],
    },
    /// Battery of a gamepad.
    PadBattery {
        /// Controller number.
        number: u8,
        /// State 0–5.
        state: u8,
        /// Percent, 0xff unknown.
        percent: u8,
    },
    /// First input packet of every session.
    EnableHaptics,
    /// Arbitrary payload of 0x0206 on a channel, for bad-input tests.
    Raw {
        /// The whole payload, size field included.
        bytes: Vec<u8>,
        /// ENet channel.
        channel: u8,
    },
}

/// How ENet carries a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Acknowledged, in order within its channel.
    Reliable,
    /// Sequenced, may be lost.
    Unreliable,
    /// Neither.
    Unsequenced,
}

impl InputPacket {
    /// Letter or digit key with stock flags: `code` 0x80XX, no modifiers.
    pub fn key(down: bool, virtual_key: u8) -> Self {
        InputPacket::Key { down, code: 0x8000 | u16::from(virtual_key), modifiers: 0, flags: 0 }
    }

    /// Payload of control message 0x0206: size, magic, body.
    pub fn encode(&self) -> Vec<u8> {
        let (magic, body) = match self {
            InputPacket::Raw { bytes, .. } => return bytes.clone(),
            packet => packet.magic_and_body(),
        };
        let size = u32::try_from(4 + body.len()).unwrap_or(u32::MAX);
        let mut out = Vec::with_capacity(8 + body.len());
        out.extend_from_slice(&size.to_be_bytes());
        out.extend_from_slice(&magic.to_le_bytes());
        out.extend_from_slice(&body);
        out
    }

    /// ENet channel, protocol text §8.1. Haptics go on channel 0.
    pub fn channel(&self) -> u8 {
        match self {
            InputPacket::Key { .. } => 0x02,
            InputPacket::MouseMove { .. }
            | InputPacket::MousePosition { .. }
            | InputPacket::MouseButton { .. }
            | InputPacket::Scroll(_)
            | InputPacket::ScrollHorizontal(_) => 0x03,
            InputPacket::Pen { .. } => 0x04,
            InputPacket::Touch { .. } => 0x05,
            InputPacket::Text(_) => 0x06,
            InputPacket::Pad(state) => 0x10 + (state.number & 15) as u8,
            InputPacket::PadArrival { number, .. }
            | InputPacket::PadTouch { number, .. }
            | InputPacket::PadBattery { number, .. } => 0x10 + (number & 15),
            InputPacket::PadMotion { number, .. } => 0x20 + (number & 15),
            InputPacket::EnableHaptics => 0x00,
            InputPacket::Raw { channel, .. } => *channel,
        }
    }

    /// Reliability, protocol text §9.4. (A pen packet that changes buttons while moving is sent reliably by stock
    /// clients; one packet cannot know that, so pen moves with a button down count as reliable here.)
    pub fn delivery(&self) -> Delivery {
        match self {
            InputPacket::Touch { event: Contact::Hover | Contact::Move, .. }
            | InputPacket::PadTouch { event: Contact::Hover | Contact::Move, .. }
            | InputPacket::Pen { event: Contact::Hover | Contact::Move, buttons: 0, .. } => {
                Delivery::Unreliable
            }
            InputPacket::PadMotion { kind, axes, .. } if *kind != 2 || *axes != [0.0; 3] => {
                Delivery::Unreliable
            }
            _ => Delivery::Reliable,
        }
    }

    fn magic_and_body(&self) -> (u32, Vec<u8>) {
        match self {
            InputPacket::Key { down, code, modifiers, flags } => {
                let [low, high] = code.to_le_bytes();
                (if *down { 0x03 } else { 0x04 }, vec![*flags, low, high, *modifiers, 0, 0])
            }
            InputPacket::Text(text) => (0x17, text.as_bytes().to_vec()),
            InputPacket::MouseMove { dx, dy } => (0x07, big_endian(&[*dx, *dy])),
            InputPacket::MousePosition { x, y, width, height } => {
                (0x05, big_endian(&[*x, *y, 0, width.wrapping_sub(1), height.wrapping_sub(1)]))
            }
            InputPacket::MouseButton { down, button } => (if *down { 0x08 } else { 0x09 }, vec![*button]),
            InputPacket::Scroll(amount) => (0x0a, big_endian(&[*amount, *amount, 0])),
            InputPacket::ScrollHorizontal(amount) => (0x5500_0001, big_endian(&[*amount])),
            InputPacket::EnableHaptics => (0x0d, vec![1, 0]),
            InputPacket::Touch { .. } | InputPacket::Pen { .. } => self.pointing_body(),
            InputPacket::Raw { bytes, .. } => (0, bytes.clone()),
            _ => self.pad_body(),
        }
    }

    fn pointing_body(&self) -> (u32, Vec<u8>) {
        let mut body = Vec::with_capacity(28);
        match self {
            InputPacket::Touch { event, rotation, pointer, x, y, pressure, major, minor } => {
                body.extend_from_slice(&[*event as u8, 0]);
                body.extend_from_slice(&rotation.to_le_bytes());
                body.extend_from_slice(&pointer.to_le_bytes());
                body.extend(floats(&[*x, *y, *pressure, *major, *minor]));
                (0x5500_0002, body)
            }
            InputPacket::Pen { event, tool, buttons, x, y, pressure, rotation, tilt, major, minor } => {
                body.extend_from_slice(&[*event as u8, *tool, *buttons, 0]);
                body.extend(floats(&[*x, *y, *pressure]));
                body.extend_from_slice(&rotation.to_le_bytes());
                body.extend_from_slice(&[*tilt, 0]);
                body.extend(floats(&[*major, *minor]));
                (0x5500_0003, body)
            }
            _ => (0, body),
        }
    }

    fn pad_body(&self) -> (u32, Vec<u8>) {
        let mut body = Vec::with_capacity(28);
        match self {
            InputPacket::Pad(state) => (0x0c, state.encode()),
            InputPacket::PadArrival { number, kind, capabilities, buttons } => {
                body.extend_from_slice(&[*number, *kind]);
                body.extend_from_slice(&capabilities.to_le_bytes());
                body.extend_from_slice(&buttons.to_le_bytes());
                (0x5500_0004, body)
            }
            InputPacket::PadTouch { number, event, touchpad, pointer, x, y, pressure } => {
                body.extend_from_slice(&[*number, *event as u8, 0, *touchpad]);
                body.extend_from_slice(&pointer.to_le_bytes());
                body.extend(floats(&[*x, *y, *pressure]));
                (0x5500_0005, body)
            }
            InputPacket::PadMotion { number, kind, axes } => {
                body.extend_from_slice(&[*number, *kind, 0, 0]);
                body.extend(floats(axes));
                (0x5500_0006, body)
            }
            InputPacket::PadBattery { number, state, percent } => {
                (0x5500_0007, vec![*number, *state, *percent, 0])
            }
            _ => (0, body),
        }
    }
}

impl PadState {
    fn encode(&self) -> Vec<u8> {
        let [b0, b1, b2, b3] = self.buttons.to_le_bytes();
        let mut body = Vec::with_capacity(26);
        for value in [0x001a, self.number, self.active_mask, 0x0014] {
            body.extend_from_slice(&value.to_le_bytes());
        }
        body.extend_from_slice(&[b0, b1, self.left_trigger, self.right_trigger]);
        for axis in [self.left_stick.0, self.left_stick.1, self.right_stick.0, self.right_stick.1] {
            body.extend_from_slice(&axis.to_le_bytes());
        }
        body.extend_from_slice(&[0x9c, 0x00, b2, b3, 0x55, 0x00]);
        body
    }
}

fn big_endian(values: &[i16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

/// `netfloat`: IEEE-754 single, little-endian.
fn floats(values: &[f32]) -> impl Iterator<Item = u8> + '_ {
    values.iter().flat_map(|value| value.to_le_bytes())
}

#[cfg(test)]
mod tests;
