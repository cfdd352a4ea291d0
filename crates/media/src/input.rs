//! Input as compositors take it: evdev codes and positions on the streamed output.

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
    /// Text beyond the keyboard layout.
    Text(String),
}

/// Takes input for one output. Never blocks: an event that cannot be delivered is dropped and counted by the sink.
pub trait InputSink: Send + Sync {
    /// Delivers one event.
    fn send(&self, event: InputEvent);
}
