//! The log of what was received: one JSON object a line, in the file before the next event is looked at.

use anyhow::Context;
use lumen_testcard::monotonic_ns;
use serde::Serialize;
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// One line. Positions are in surface coordinates (logical pixels), `wayland_ms` is the compositor's (or X server's)
/// own stamp.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    Start {
        pid: u32,
    },
    Configured {
        width: u32,
        height: u32,
        fullscreen: bool,
        activated: bool,
    },
    KeyboardEnter {
        pressed: Vec<u32>,
    },
    KeyboardLeave,
    Key {
        code: u32,
        state: &'static str,
        modifiers: Modifiers,
        wayland_ms: u32,
    },
    /// What the press before types by the keymap in force.
    Typed {
        text: String,
    },
    /// The keyboard's layouts, of the keymap that is in force from here on.
    Keymap {
        layouts: Vec<String>,
    },
    Modifiers {
        modifiers: Modifiers,
    },
    RepeatInfo {
        rate: i32,
        delay_ms: i32,
    },
    PointerEnter {
        x: f64,
        y: f64,
    },
    PointerLeave,
    PointerMotion {
        x: f64,
        y: f64,
        wayland_ms: u32,
    },
    Button {
        code: u32,
        state: &'static str,
        wayland_ms: u32,
    },
    Axis {
        axis: &'static str,
        value: f64,
        wayland_ms: u32,
    },
    AxisDiscrete {
        axis: &'static str,
        steps: i32,
    },
    AxisValue120 {
        axis: &'static str,
        v120: i32,
    },
    AxisStop {
        axis: &'static str,
    },
    AxisSource {
        source: &'static str,
    },
    TouchDown {
        id: i32,
        x: f64,
        y: f64,
        wayland_ms: u32,
    },
    TouchMotion {
        id: i32,
        x: f64,
        y: f64,
        wayland_ms: u32,
    },
    TouchUp {
        id: i32,
        wayland_ms: u32,
    },
    TouchCancel,
    /// A tool of a tablet; pressure and distance from 0 to 1, tilt in degrees, buttons by their evdev codes.
    Tablet {
        tool: &'static str,
        near: bool,
        down: bool,
        x: f64,
        y: f64,
        pressure: f64,
        distance: f64,
        tilt_x: f64,
        tilt_y: f64,
        buttons: Vec<u32>,
        wayland_ms: u32,
    },
    End {
        reason: &'static str,
        drawn: u32,
        dropped: u32,
        cpu_us_per_frame: u64,
    },
}

/// Bit masks as `wl_keyboard.modifiers` has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Modifiers {
    pub depressed: u32,
    pub latched: u32,
    pub locked: u32,
    pub group: u32,
}

#[derive(Serialize)]
struct Line<'a> {
    t_ns: u64,
    #[serde(flatten)]
    event: &'a Event,
}

/// Writes nowhere when no file was asked for, and after the first failed write.
pub struct Log {
    file: Option<File>,
}

impl Log {
    pub fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let file = path
            .map(|path| File::create(path).with_context(|| format!("creating the log {}", path.display())))
            .transpose()?;
        Ok(Self { file })
    }

    pub fn write(&mut self, event: &Event) {
        let Some(file) = &mut self.file else { return };
        let Ok(mut line) = serde_json::to_vec(&Line { t_ns: monotonic_ns(), event }) else { return };
        line.push(b'\n');
        // One write per line: a reader never sees half of one.
        if let Err(error) = file.write_all(&line) {
            eprintln!("testcard: the log ends here: {error}");
            self.file = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_carries_time_type_and_fields() {
        let modifiers = Modifiers { depressed: 1, ..Modifiers::default() };
        let event = Event::Key { code: 30, state: "pressed", modifiers, wayland_ms: 7 };
        let line = serde_json::to_string(&Line { t_ns: 5, event: &event }).expect("plain data");
        let expected = r#"{"t_ns":5,"type":"key","code":30,"state":"pressed","modifiers":{"depressed":1,"latched":0,"locked":0,"group":0},"wayland_ms":7}"#;
        assert_eq!(line, expected);
    }
}
