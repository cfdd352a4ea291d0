//! Fingers and pens on the client's screen.

use super::{InputError, Reader};

/// What a finger or pen did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TouchEvent {
    /// 0: above the surface.
    Hover,
    /// 1.
    Down,
    /// 2.
    Up,
    /// 3.
    Move,
    /// 4: this contact is void; only its id counts.
    Cancel,
    /// 5: a pen's buttons changed; the place does not count.
    ButtonOnly,
    /// 6: away from the surface.
    HoverLeave,
    /// 7: every contact is void.
    CancelAll,
}

impl TouchEvent {
    pub(super) fn from_wire(event: u8) -> Result<Self, InputError> {
        Ok(match event {
            0 => Self::Hover,
            1 => Self::Down,
            2 => Self::Up,
            3 => Self::Move,
            4 => Self::Cancel,
            5 => Self::ButtonOnly,
            6 => Self::HoverLeave,
            7 => Self::CancelAll,
            _ => return Err(InputError::Value),
        })
    }
}

/// Degrees, 0 to 360; `None` when unknown.
pub type Rotation = Option<u16>;

/// A finger on the client's screen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Touch {
    /// What happened.
    pub event: TouchEvent,
    /// Stable while the finger is down.
    pub pointer: u32,
    /// 0 to 1 of the picture.
    pub x: f32,
    /// 0 to 1 of the picture.
    pub y: f32,
    /// 0 to 1, 0 is unknown; while hovering the distance.
    pub pressure: f32,
    /// Contact ellipse, major and minor axis, normalised.
    pub contact: (f32, f32),
    /// Of the contact ellipse.
    pub rotation: Rotation,
}

/// A pen on the client's screen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pen {
    /// What happened.
    pub event: TouchEvent,
    /// Which end.
    pub tool: PenTool,
    /// Buttons held: 1 primary, 2 secondary, 4 tertiary.
    pub buttons: u8,
    /// 0 to 1 of the picture.
    pub x: f32,
    /// 0 to 1 of the picture.
    pub y: f32,
    /// 0 to 1, 0 is unknown; while hovering the distance.
    pub pressure: f32,
    /// Of the pen.
    pub rotation: Rotation,
    /// Degrees from upright, 0 to 90; `None` when unknown.
    pub tilt: Option<u8>,
    /// Contact ellipse, major and minor axis, normalised.
    pub contact: (f32, f32),
}

/// The end of a pen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PenTool {
    /// 0, and what the protocol does not define.
    Unknown,
    /// 1.
    Pen,
    /// 2.
    Eraser,
}

/// A place of the picture, which only some events have.
fn place(body: &mut Reader<'_>, event: TouchEvent) -> Result<(f32, f32), InputError> {
    match event {
        TouchEvent::Hover | TouchEvent::Down | TouchEvent::Move => Ok((body.f32_le()?, body.f32_le()?)),
        _ => Ok((body.f32_le_or_0()?, body.f32_le_or_0()?)),
    }
}

pub(super) fn touch(body: &mut Reader<'_>) -> Result<Touch, InputError> {
    let event = TouchEvent::from_wire(body.u8()?)?;
    body.skip(1)?;
    let rotation = rotation(body.u16_le()?);
    let pointer = body.u32_le()?;
    let (x, y) = place(body, event)?;
    // A pencil that lies flat has a pressure of infinity on iOS.
    let pressure = body.f32_le_or_0()?;
    let contact = (body.f32_le_or_0()?, body.f32_le_or_0()?);
    Ok(Touch { event, rotation, pointer, x, y, pressure, contact })
}

pub(super) fn pen(body: &mut Reader<'_>) -> Result<Pen, InputError> {
    let event = TouchEvent::from_wire(body.u8()?)?;
    let tool = match body.u8()? {
        1 => PenTool::Pen,
        2 => PenTool::Eraser,
        _ => PenTool::Unknown,
    };
    let buttons = body.u8()?;
    body.skip(1)?;
    let (x, y) = place(body, event)?;
    let pressure = body.f32_le_or_0()?;
    let rotation = rotation(body.u16_le()?);
    let tilt = body.u8()?;
    body.skip(1)?;
    let contact = (body.f32_le_or_0()?, body.f32_le_or_0()?);
    Ok(Pen { event, tool, buttons, x, y, pressure, rotation, tilt: (tilt <= 90).then_some(tilt), contact })
}

fn rotation(degrees: u16) -> Rotation {
    (degrees <= 360).then_some(degrees)
}
