//! Input as compositors take it: evdev codes and positions on the streamed output.

use crate::{Pen, Timestamp};

/// What happened to a touch point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TouchPhase {
    /// Finger down.
    Down,
    /// Finger moved.
    Move,
    /// Finger up.
    Up,
    /// The whole gesture is void.
    Cancel,
}

/// One event for the compositor that shows the streamed output.
#[derive(Clone, Debug, PartialEq)]
pub enum InputEvent {
    /// A key by its evdev code (`KEY_A` = 30).
    Key {
        /// Linux evdev key code.
        code: u16,
        /// Down or up.
        pressed: bool,
    },
    /// Pointer moved by so many pixels.
    PointerMotion {
        /// To the right.
        dx: f64,
        /// Downwards.
        dy: f64,
    },
    /// Pointer put at a place of the output.
    PointerAbsolute {
        /// 0 (left edge) to 1 (right edge).
        x: f64,
        /// 0 (top edge) to 1 (bottom edge).
        y: f64,
    },
    /// Pointer button by its evdev code (`BTN_LEFT` = 0x110).
    Button {
        /// Linux evdev button code.
        code: u16,
        /// Down or up.
        pressed: bool,
    },
    /// Wheel, in 1/120 of a notch, in Wayland's directions.
    Scroll {
        /// Positive to the right.
        horizontal_v120: i32,
        /// Positive downwards.
        vertical_v120: i32,
    },
    /// A touch point.
    Touch {
        /// Stable while the finger is down.
        id: u32,
        /// What happened.
        phase: TouchPhase,
        /// 0 (left edge) to 1 (right edge); meaningless for `Up` and `Cancel`.
        x: f64,
        /// 0 (top edge) to 1 (bottom edge).
        y: f64,
    },
    /// The pen, as it is now.
    Pen(Pen),
    /// Text beyond the keyboard layout.
    Text(String),
}

/// Bytes of merged texts.
const MAX_TEXT: usize = 4096;

impl InputEvent {
    /// Takes in a `later` event, where only the sum of both or the later state is of interest: moves of the pointer and the
    /// wheel, moves of one finger; and text, which belongs together. Says whether it did. Only for neighbours: a click
    /// belongs to where the pointer was.
    pub fn merge(&mut self, later: &Self) -> bool {
        match (self, later) {
            (Self::PointerMotion { dx, dy }, Self::PointerMotion { dx: more_x, dy: more_y })
                if (*dx + more_x).is_finite() && (*dy + more_y).is_finite() =>
            {
                *dx += more_x;
                *dy += more_y;
            }
            (Self::PointerAbsolute { x, y }, Self::PointerAbsolute { x: new_x, y: new_y }) => {
                (*x, *y) = (*new_x, *new_y);
            }
            (
                Self::Scroll { horizontal_v120, vertical_v120 },
                Self::Scroll { horizontal_v120: more_h, vertical_v120: more_v },
            ) => {
                *horizontal_v120 = horizontal_v120.saturating_add(*more_h);
                *vertical_v120 = vertical_v120.saturating_add(*more_v);
            }
            (
                Self::Touch { id, phase: TouchPhase::Move, x, y },
                Self::Touch { id: same, phase: TouchPhase::Move, x: new_x, y: new_y },
            ) if id == same => (*x, *y) = (*new_x, *new_y),
            (Self::Text(text), Self::Text(more)) if text.len() + more.len() <= MAX_TEXT => {
                text.push_str(more)
            }
            _ => return false,
        }
        true
    }
}

/// What a sink can say about itself, for the log and the status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputReport {
    /// How events get to the desktop: `in-process`, `wlr-virtual-pointer`, `libei`, `kwin-fake-input`; empty while nothing
    /// takes them.
    pub path: &'static str,
    /// What the desktop cannot take, or why the best path was not taken; empty when all is well.
    pub fallback: String,
    /// Requests made of events.
    pub delivered: u64,
    /// Events that nothing took.
    pub dropped: u64,
    /// From the datagram's arrival to the request, in microseconds: median; 0 before the first event.
    pub p50_us: u64,
    /// The same, 99th percentile.
    pub p99_us: u64,
}

/// Takes input for one output. Never blocks: an event that cannot be delivered is dropped and counted by the sink.
pub trait InputSink: Send + Sync {
    /// Delivers one event.
    fn send(&self, event: InputEvent);

    /// Delivers one event that was received at `received`; by this the sink knows how long it took.
    fn deliver(&self, event: InputEvent, received: Timestamp) {
        let _ = received;
        self.send(event);
    }

    /// What it can say about itself.
    fn report(&self) -> InputReport {
        InputReport { path: "in-process", ..InputReport::default() }
    }
}
