//! Input to desktops that show no pictures in the root file system: what is sent to a sink arrives at the test card.

use lumen_display::{DisplayConfig, SessionEnvironment, kwin_input};
use lumen_lab::{Desktop, Kwin, KwinOptions, Mode, Sway, SwayOptions, wait_for};
use lumen_media::{InputEvent, InputSink, TouchPhase};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
/// The monitors are this large, side by side.
const SIZE: (f64, f64) = (800.0, 600.0);

fn testcard() -> PathBuf {
    let own = std::env::current_exe().expect("a path");
    let card = own.parent().and_then(Path::parent).expect("a folder").join("testcard");
    assert!(card.exists(), "{} is missing: run cargo build -p lumen-testcard", card.display());
    card
}

struct Card {
    log: PathBuf,
    seen: usize,
}

impl Card {
    fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn find(&mut self, kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut found = None;
        let waited = wait_for(kind, PATIENCE, || {
            let lines = self.lines();
            found = lines
                .iter()
                .enumerate()
                .skip(self.seen)
                .find(|(_, line)| line["type"] == kind && fits(line))
                .map(|(index, line)| (index, line.clone()));
            found.is_some().then_some(())
        });
        let lines = self.lines();
        let before = self.seen.saturating_sub(4).min(lines.len());
        waited.unwrap_or_else(|error| {
            let shown: Vec<_> = lines[before..].iter().map(ToString::to_string).collect();
            panic!("{error}, line {} of:\n{}", self.seen, shown.join("\n"))
        });
        let (index, line) = found.expect("found");
        self.seen = index + 1;
        line
    }

    fn at(&mut self, kind: &str, x: f64, y: f64) {
        let near =
            |line: &Value, key: &str, at: f64| (line[key].as_f64().unwrap_or(f64::NAN) - at).abs() < 1.1;
        self.find(kind, |line| near(line, "x", x) && near(line, "y", y));
    }
}

fn touch(id: u32, phase: TouchPhase, x: f64, y: f64) -> InputEvent {
    InputEvent::Touch { id, phase, x, y }
}

/// Each kind of event, to a card that fills the output.
fn everything_arrives(sink: &dyn InputSink, card: &mut Card, path: &str, fine_wheel: bool) {
    let corners = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.5, 0.25)];
    let (width, height) = SIZE;
    card.find("configured", |line| line["width"] == width as u64);
    let mut nudge = 0.0;
    let lines = |card: &Card| card.lines();
    wait_for("the card to see the pointer", PATIENCE, || {
        nudge += 0.001;
        sink.send(InputEvent::PointerAbsolute { x: 0.3 + nudge, y: 0.3 });
        lines(card).iter().any(|line| line["type"] == "pointer_motion").then_some(())
    })
    .expect("seen");
    for pressed in [true, false] {
        sink.send(InputEvent::Button { code: 0x110, pressed });
        card.find("button", |line| line["code"] == 0x110 && (line["state"] == "pressed") == pressed);
    }
    for (x, y) in corners {
        sink.send(InputEvent::PointerAbsolute { x, y });
        card.at("pointer_motion", x * width, y * height);
    }
    sink.send(InputEvent::PointerMotion { dx: 40.0, dy: -25.0 });
    card.at("pointer_motion", 440.0, 125.0);
    for code in [30, 105] {
        for pressed in [true, false] {
            sink.send(InputEvent::Key { code, pressed });
            card.find("key", |line| line["code"] == code && (line["state"] == "pressed") == pressed);
        }
    }
    for (horizontal_v120, vertical_v120, axis) in
        [(0, 120, "vertical"), (-120, 0, "horizontal"), (0, 30, "vertical")]
    {
        sink.send(InputEvent::Scroll { horizontal_v120, vertical_v120 });
        if fine_wheel {
            let v120 = horizontal_v120 + vertical_v120;
            card.find("axis_value120", |line| line["axis"] == axis && line["v120"] == v120);
        }
        let value = card.find("axis", |line| line["axis"] == axis)["value"].as_f64().expect("a number");
        assert_eq!(value.signum(), f64::from(horizontal_v120 + vertical_v120).signum());
    }
    sink.send(touch(3, TouchPhase::Down, 0.5, 0.25));
    card.at("touch_down", 400.0, 150.0);
    sink.send(touch(3, TouchPhase::Move, 0.75, 0.5));
    card.at("touch_motion", 600.0, 300.0);
    sink.send(touch(3, TouchPhase::Up, 0.0, 0.0));
    card.find("touch_up", |_| true);
    for character in ["h", "I", "é", "東", "🎉"] {
        sink.send(InputEvent::Text(character.into()));
        card.find("typed", |line| line["text"] == character);
    }
    // In their order, also where two connections share them.
    sink.send(InputEvent::Text("a東b🎉c".into()));
    for character in ["a", "東", "b", "🎉", "c"] {
        let typed = card.find("typed", |_| true)["text"].clone();
        assert_eq!(typed, character);
    }
    sink.send(InputEvent::Key { code: 16, pressed: true });
    sink.send(InputEvent::Key { code: 16, pressed: false });
    card.find("typed", |line| line["text"] == "q");
    let report = sink.report();
    println!("{report:?}");
    assert_eq!((report.path, report.dropped), (path, 0));
}

/// KWin with two monitors; the card is on the one with the focus, and events go to that.
fn kwin(name: &str, on_bus: bool, path: &str, fine_wheel: bool) {
    let Some(session) = lumen_lab::session_for(name, &["kwin_wayland"]) else { return };
    let options = KwinOptions {
        outputs: 2,
        mode: Mode::new(SIZE.0 as u32, SIZE.1 as u32, 60.0),
        permission_checks: false,
        ..KwinOptions::default()
    };
    let kwin = Kwin::start(&session, &options).expect("KWin starts");
    let log = session.runtime_dir().join("input.jsonl");
    let mut command = session.command(testcard());
    command.envs(kwin.variables()).args(["--style", "static", "--log"]).arg(&log);
    let _process = session.spawn("testcard", command).expect("the card starts");
    let mut config = DisplayConfig::new(session.runtime_dir());
    let mut variables = kwin.env();
    if !on_bus {
        variables.insert("DBUS_SESSION_BUS_ADDRESS".into(), "unix:path=/nowhere".into());
    }
    config.session = SessionEnvironment { runtime_dir: session.runtime_dir().to_owned(), variables };
    let mut card = Card { log, seen: 0 };
    card.find("configured", |_| true);
    card.seen = 0;
    let sink = kwin_input(&config, "Virtual-0").expect("KWin is there");
    everything_arrives(&*sink, &mut card, path, fine_wheel);
    sink.send(InputEvent::Key { code: 30, pressed: true });
    sink.send(InputEvent::Button { code: 0x110, pressed: true });
    card.find("key", |line| line["code"] == 30 && line["state"] == "pressed");
    card.find("button", |line| line["state"] == "pressed");
    let start = card.seen;
    drop(sink);
    card.find("key", |line| line["code"] == 30 && line["state"] == "released");
    card.seen = start;
    card.find("button", |line| line["code"] == 0x110 && line["state"] == "released");
}

/// Whoever types at the desk has a layout, and keys of a client are keys of that.
#[test]
fn the_keyboard_on_sway_has_the_layout_of_the_seat() {
    let Some(session) = lumen_lab::session_for("sway-layout", &["sway"]) else { return };
    let sway = Sway::start(&session, &SwayOptions::default()).expect("sway starts");
    let log = session.runtime_dir().join("input.jsonl");
    let mut command = session.command(testcard());
    command.envs(sway.variables()).args(["--style", "static", "--log"]).arg(&log);
    let _process = session.spawn("testcard", command).expect("the card starts");
    let mut card = Card { log, seen: 0 };
    let display = sway.variables()["WAYLAND_DISPLAY"].clone();
    let keyboard = |keyboard| {
        lumen_input::wlroots(lumen_input::WlrootsTarget {
            desktop: "sway",
            socket: session.runtime_dir().join(&display),
            output: lumen_input::WlrootsOutput::Sized(None),
            keyboard,
        })
    };
    let press = |sink: &dyn InputSink| {
        for pressed in [true, false] {
            sink.send(InputEvent::Key { code: 21, pressed });
        }
    };
    // What stands for the keyboard at the desk.
    let desk = keyboard(Some(("de".to_owned(), String::new())));
    card.find("keyboard_enter", |_| true);
    press(&*desk);
    card.find("typed", |line| line["text"] == "z");
    let client = keyboard(None);
    press(&*client);
    card.find("typed", |line| line["text"] == "z");
    assert_eq!(client.report().fallback, "");
    // A keyboard that is asked for is another matter.
    let asked = keyboard(Some(("us".to_owned(), String::new())));
    press(&*asked);
    card.find("typed", |line| line["text"] == "y");
}

#[test]
fn kwin_takes_everything_by_libei() {
    kwin("input to KWin by libei", true, "libei", true);
}

#[test]
fn kwin_takes_everything_by_fake_input() {
    kwin("input to KWin by fake input", false, "kwin-fake-input", false);
}
