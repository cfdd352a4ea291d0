//! Input, sent by the client, as programs on each desktop get it.

use super::{NO_LINGER, watch};
use crate::lab::{Lab, PATIENCE, testcard, wait_for};
use lumen_lab::{
    Desktop, Kwin, KwinOptions, KwinRenderer, Mode, Mutter, MutterOptions, Sway, SwayOptions, left_out,
    patient, render_node, session_for,
};
use lumen_testkit::input::Contact;
use lumen_testkit::{Client, InputPacket, Stream, StreamRequest};
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::time::Duration;

const BTN_LEFT: u64 = 0x110;

/// What becomes of text that the keyboard layout lacks.
#[derive(Clone, Copy, Debug)]
enum Text {
    /// A key types it.
    Typed,
    /// An input method gets its number: Ctrl+Shift+U, digits, space.
    Number,
    /// Nothing.
    Lost,
}

/// What a desktop can take, and how it tells its programs.
#[derive(Clone, Copy, Debug)]
struct Ability {
    /// As the status names it.
    path: &'static str,
    /// Fingers arrive as such; else the first one is the pointer.
    touch: bool,
    text: Text,
    wheel: Wheel,
    /// Size of the stream.
    size: (u32, u32),
    /// The card is a program of X11: it does not tell what keys type.
    x11: bool,
    /// A desktop with more to do than its processor can takes the pointer from its window until it has caught up, and
    /// clicks then go nowhere, whoever made them.
    loses_pointer: bool,
}

impl Ability {
    fn request(&self) -> StreamRequest {
        StreamRequest::new(self.size.0, self.size.1, 60)
    }
}

const SWAY: Ability = Ability {
    path: "wlr-virtual-pointer",
    touch: false,
    text: Text::Typed,
    wheel: Wheel::Smooth,
    size: SIZE,
    x11: false,
    loses_pointer: false,
};
const KWIN: Ability = Ability { path: "libei", touch: true, wheel: Wheel::Fine, size: SMALL, ..SWAY };

/// What becomes of parts of a notch.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wheel {
    /// They arrive as `axis_value120`.
    Fine,
    /// They arrive as `axis` only.
    Smooth,
    /// Whole ones too arrive as `axis` only.
    Plain,
    /// They arrive when they make a whole one.
    Notches,
}

/// A stream of the test card with the keyboard focus, and what the card logged.
struct Desk<'a> {
    lab: &'a Lab,
    ability: Ability,
    /// `None` between streams.
    stream: RefCell<Option<Stream>>,
    /// Lines of the log that were looked at already.
    seen: Cell<usize>,
}

impl<'a> Desk<'a> {
    fn new(lab: &'a Lab, ability: Ability, stream: Stream) -> Self {
        Self { lab, ability, stream: RefCell::new(Some(stream)), seen: Cell::new(0) }
    }

    fn send(&self, packet: InputPacket) {
        self.stream.borrow().as_ref().expect("it streams").send_input(packet).expect("queued");
    }

    fn end(&self) -> Stream {
        self.stream.take().expect("it streams")
    }

    /// Waits for a line of this type that fits, after all that were found before.
    fn find(&self, kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.find_after(&|| {}, kind, fits)
    }

    /// The same for what a packet does that travels unreliably: it is sent until it is seen.
    fn send_until_at(&self, packet: &InputPacket, kind: &str, x: f64, y: f64) {
        let sent = Cell::new(None);
        let again = || {
            let now = crate::lab::now();
            if sent.get().is_none_or(|sent| now - sent > Duration::from_millis(200)) {
                self.send(packet.clone());
                sent.set(Some(now));
            }
        };
        self.find_after(&again, kind, |line| at(line, x, y));
    }

    fn find_after(&self, turn: &dyn Fn(), kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = crate::lab::now() + patient(PATIENCE);
        loop {
            turn();
            let log = self.lab.input_log();
            let found = log
                .iter()
                .enumerate()
                .skip(self.seen.get())
                .find(|(_, line)| line["type"] == kind && fits(line));
            if let Some((index, line)) = found {
                self.seen.set(index + 1);
                return line.clone();
            }
            assert!(
                crate::lab::now() < deadline,
                "no fitting {kind} after {:#?}\n{}",
                &log[self.seen.get().saturating_sub(3).min(log.len())..],
                self.lab.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn key(&self, code: u64, state: &str) -> Value {
        self.find("key", |line| line["code"] == code && line["state"] == state)
    }

    fn place(&self, kind: &str, x: f64, y: f64) {
        self.find(kind, |line| at(line, x, y));
    }

    /// The pointer is put somewhere, and the card sees it there.
    fn point_at(&self, x: i16, y: i16) {
        self.send(InputPacket::MousePosition {
            x,
            y,
            width: self.ability.size.0 as i16,
            height: self.ability.size.1 as i16,
        });
    }
}

fn at(line: &Value, x: f64, y: f64) -> bool {
    let off = |key: &str, at: f64| (line[key].as_f64().unwrap_or(f64::NAN) - at).abs();
    off("x", x) <= 1.01 && off("y", y) <= 1.01
}

/// Puts the pointer on the card and clicks, so that it has both foci.
fn focus(desk: &Desk<'_>) {
    let mut nudge = 0;
    wait_for("the card to see the pointer", PATIENCE, || {
        nudge = (nudge + 1) % 50;
        desk.point_at(100 + nudge, 100);
        std::thread::sleep(patient(Duration::from_millis(20)));
        let log = desk.lab.input_log();
        log.iter().any(|line| line["type"] == "pointer_motion").then_some(())
    });
    desk.send(InputPacket::MouseButton { down: true, button: 1 });
    desk.send(InputPacket::MouseButton { down: false, button: 1 });
    desk.find("button", |line| line["code"] == BTN_LEFT && line["state"] == "released");
    wait_for("the card to have the keyboard", PATIENCE, || {
        let log = desk.lab.input_log();
        let last = log
            .iter()
            .rev()
            .find(|line| line["type"] == "keyboard_enter" || line["type"] == "keyboard_leave");
        (last?["type"] == "keyboard_enter").then_some(())
    });
}

fn keys(desk: &Desk<'_>) {
    for (key, code) in [(0x41, 30), (0x5a, 44), (0x70, 59), (0x25, 105), (0x0d, 28), (0xbe, 52)] {
        desk.send(InputPacket::key(true, key));
        desk.send(InputPacket::key(false, key));
        desk.key(code, "pressed");
        desk.key(code, "released");
    }
    // Shift, held.
    desk.send(InputPacket::key(true, 0xa0));
    desk.send(InputPacket::key(true, 0x42));
    desk.send(InputPacket::key(false, 0x42));
    desk.send(InputPacket::key(false, 0xa0));
    desk.key(42, "pressed");
    let pressed = desk.key(48, "pressed");
    assert_eq!(pressed["modifiers"]["depressed"], 1, "{pressed}");
    if desk.ability.x11 {
        desk.key(42, "released");
        return;
    }
    desk.find("typed", |line| line["text"] == "B");
    desk.key(42, "released");
    desk.find("modifiers", |line| line["modifiers"]["depressed"] == 0);
}

fn pointer(desk: &Desk<'_>) {
    let (width, height) = desk.ability.size;
    let (right, bottom) = (width as i16 - 1, height as i16 - 1);
    let (middle, top) = (width as i16 / 2, height as i16 / 4);
    for (x, y) in [(0, 0), (right, 0), (right, bottom), (0, bottom), (middle, top)] {
        desk.point_at(x, y);
        let place = |at: i16, side: u32| f64::from(at) * f64::from(side) / f64::from(side - 1);
        desk.place("pointer_motion", place(x, width), place(y, height));
    }
    desk.send(InputPacket::MouseMove { dx: 40, dy: -25 });
    desk.place("pointer_motion", f64::from(middle) + 40.3, f64::from(top) - 24.7);
    for (button, code) in [(1, BTN_LEFT), (3, 0x111), (2, 0x112), (4, 0x113), (5, 0x114)] {
        for (down, state) in [(true, "pressed"), (false, "released")] {
            desk.send(InputPacket::MouseButton { down, button });
            desk.find("button", |line| line["code"] == code && line["state"] == state);
        }
    }
}

fn wheel(desk: &Desk<'_>) {
    // Some desktops tell several notches one by one.
    let moved = |axis: &'static str, v120: i64| {
        if desk.ability.wheel == Wheel::Plain {
            let wanted = v120 as f64 / 8.0;
            desk.find("axis", |line| line["axis"] == axis && line["value"].as_f64() == Some(wanted));
            return;
        }
        let mut sum = 0;
        while sum != v120 {
            let line = desk.find("axis_value120", |line| line["axis"] == axis);
            sum += line["v120"].as_i64().expect("a number");
            assert!(sum.abs() <= v120.abs() && sum.signum() == v120.signum(), "{line}");
        }
    };
    desk.send(InputPacket::Scroll(-120));
    moved("vertical", 120);
    desk.send(InputPacket::Scroll(240));
    moved("vertical", -240);
    desk.send(InputPacket::ScrollHorizontal(120));
    moved("horizontal", 120);
    for (axis, packet) in
        [("vertical", InputPacket::Scroll(-30)), ("horizontal", InputPacket::ScrollHorizontal(30))]
    {
        if desk.ability.wheel == Wheel::Notches {
            (0..4).for_each(|_| desk.send(packet.clone()));
            moved(axis, 120);
            continue;
        }
        if desk.ability.wheel == Wheel::Fine {
            desk.send(packet);
            moved(axis, 30);
            continue;
        }
        // Parts move by parts, and the one that makes a notch whole moves by no more than the others.
        let before = desk.seen.get();
        for _ in 0..4 {
            desk.send(packet.clone());
            let part = desk.find("axis", |line| line["axis"] == axis);
            let value = part["value"].as_f64().expect("a number");
            assert!((2.0..=4.0).contains(&value), "a quarter of a notch: {part}");
        }
        let lines = desk.lab.input_log();
        let steps = lines[before..].iter().filter_map(|line| line["v120"].as_i64()).sum::<i64>();
        // Mutter makes a notch of four quarters by itself.
        assert!(steps == 0 || desk.ability.path != SWAY.path, "{steps} beside the parts");
    }
}

fn finger(event: Contact, pointer: u32, x: f32, y: f32) -> InputPacket {
    InputPacket::Touch { event, rotation: 0, pointer, x, y, pressure: 1.0, major: 0.0, minor: 0.0 }
}

fn pen(event: Contact, x: f32, y: f32) -> InputPacket {
    InputPacket::Pen {
        event,
        tool: 1,
        buttons: 0,
        x,
        y,
        pressure: 0.5,
        rotation: 0xffff,
        tilt: 0xff,
        major: 0.0,
        minor: 0.0,
    }
}

/// Desktops lend no tablet: the pen is the pointer, also above the picture, and its tip a button.
fn stylus(desk: &Desk<'_>) {
    let (width, height) = desk.ability.size;
    let place = |x: f64, y: f64| (x * f64::from(width), y * f64::from(height));
    let button = |code: u64, state: &str| {
        desk.find("button", |line| line["code"] == code && line["state"] == state);
    };
    let held = |event, buttons, x, y| {
        let InputPacket::Pen { tool, pressure, rotation, tilt, major, minor, .. } = pen(event, x, y) else {
            unreachable!("a pen")
        };
        InputPacket::Pen { event, tool, buttons, x, y, pressure, rotation, tilt, major, minor }
    };
    for (buttons, code) in [(0, BTN_LEFT), (1, 0x111)] {
        let (x, y) = place(0.25, 0.75);
        desk.send_until_at(&held(Contact::Hover, buttons, 0.25, 0.75), "pointer_motion", x, y);
        desk.send(held(Contact::Down, buttons, 0.5, 0.25));
        let (x, y) = place(0.5, 0.25);
        desk.place("pointer_motion", x, y);
        button(code, "pressed");
        let (x, y) = place(0.75, 0.5);
        desk.send_until_at(&held(Contact::Move, buttons, 0.75, 0.5), "pointer_motion", x, y);
        desk.send(held(Contact::Up, buttons, 0.75, 0.5));
        button(code, "released");
        desk.send(held(Contact::HoverLeave, 0, 0.0, 0.0));
    }
}

fn touch(desk: &Desk<'_>) {
    let Ability { touch: real, size: (width, height), .. } = desk.ability;
    let place = |x: f64, y: f64| (x * f64::from(width), y * f64::from(height));
    let ((x, y), (to_x, to_y)) = (place(0.5, 0.25), place(0.75, 0.5));
    desk.send(finger(Contact::Down, 7, 0.5, 0.25));
    if real {
        desk.place("touch_down", x, y);
    } else {
        desk.place("pointer_motion", x, y);
        desk.find("button", |line| line["code"] == BTN_LEFT && line["state"] == "pressed");
    }
    let kind = if real { "touch_motion" } else { "pointer_motion" };
    desk.send_until_at(&finger(Contact::Move, 7, 0.75, 0.5), kind, to_x, to_y);
    desk.send(finger(Contact::Up, 7, 0.75, 0.5));
    if real {
        desk.find("touch_up", |_| true);
    } else {
        desk.find("button", |line| line["code"] == BTN_LEFT && line["state"] == "released");
    }
    if real {
        desk.send(finger(Contact::Down, 1, 0.1, 0.1));
        desk.send(finger(Contact::Down, 2, 0.2, 0.2));
        let first = desk.find("touch_down", |_| true)["id"].clone();
        let second = desk.find("touch_down", |_| true)["id"].clone();
        assert_ne!(first, second);
        desk.send(finger(Contact::Up, 1, 0.1, 0.1));
        desk.find("touch_up", |line| line["id"] == first);
        desk.send(finger(Contact::Up, 2, 0.2, 0.2));
        desk.find("touch_up", |line| line["id"] == second);
    }
}

fn text(desk: &Desk<'_>) {
    let beyond = desk.ability.text;
    if desk.ability.x11 {
        // H and shift with I, by their places on the keyboard.
        desk.send(InputPacket::Text("h".into()));
        desk.key(35, "pressed");
        desk.send(InputPacket::Text("I".into()));
        assert_eq!(desk.key(23, "pressed")["modifiers"]["depressed"], 1);
        desk.key(23, "released");
        return;
    }
    let typed = |text: &str| {
        desk.find("typed", |line| line["text"] == text);
    };
    for character in ["h", "I", "?", "é", "ß", "東", "🎉"] {
        desk.send(InputPacket::Text(character.to_owned()));
        match beyond {
            _ if character.is_ascii() => typed(character),
            Text::Typed => typed(character),
            Text::Number => {
                // With Control and Shift down U types a control character.
                let pressed = desk.key(22, "pressed");
                assert_eq!(pressed["modifiers"]["depressed"], 5, "{pressed}");
                let number = format!("{:x} ", u32::from(character.chars().next().expect("one")));
                number.chars().for_each(|digit| typed(&digit.to_string()));
            }
            Text::Lost => {}
        }
    }
    // Neither a held Control nor CapsLock changes what is typed, and both are as before then.
    desk.send(InputPacket::key(true, 0xa2));
    desk.key(29, "pressed");
    desk.send(InputPacket::Text("k".into()));
    typed("k");
    desk.send(InputPacket::key(true, 0x4b));
    let pressed = desk.find("key", |line| {
        line["code"] == 37 && line["state"] == "pressed" && line["modifiers"]["depressed"] == 4
    });
    println!("Control is held again: {pressed}");
    desk.send(InputPacket::key(false, 0x4b));
    desk.send(InputPacket::key(false, 0xa2));
    let caps = || {
        desk.send(InputPacket::key(true, 0x14));
        desk.send(InputPacket::key(false, 0x14));
        desk.key(58, "released");
    };
    // By fake input KWin types symbols, and CapsLock changes them: its state is not told there.
    if desk.ability.path != "kwin-fake-input" {
        caps();
        for character in ["k", "K", "7"] {
            desk.send(InputPacket::Text(character.to_owned()));
            typed(character);
        }
        caps();
    }
    // The layout is as before.
    desk.send(InputPacket::key(true, 0x51));
    desk.send(InputPacket::key(false, 0x51));
    desk.key(16, "pressed");
    desk.find("typed", |line| line["text"] == "q");
    desk.key(16, "released");
}

/// Two keys and a button go down, and the card sees it.
fn hold(desk: &Desk<'_>) {
    desk.send(InputPacket::key(true, 0x41));
    desk.send(InputPacket::key(true, 0xa2));
    desk.key(30, "pressed");
    desk.key(29, "pressed");
    desk.point_at(120, 90);
    desk.send(InputPacket::MouseButton { down: true, button: 1 });
    desk.find("button", |line| line["code"] == BTN_LEFT && line["state"] == "pressed");
}

/// What [`hold`] put down goes up, in any order.
fn let_go(desk: &Desk<'_>) {
    let start = desk.seen.get();
    for (kind, code) in [("key", 30), ("key", 29), ("button", BTN_LEFT)] {
        desk.seen.set(start);
        desk.find(kind, |line| line["code"] == code && line["state"] == "released");
    }
    desk.seen.set(desk.lab.input_log().len());
}

/// What is held when a stream ends is let go on the desktop: the network goes, the client leaves.
fn releases(desk: &Desk<'_>, client: &Client) {
    hold(desk);
    // The network is gone: nothing is heard any more.
    let fell_silent = crate::lab::now();
    desk.end().kill();
    let_go(desk);
    let took = crate::lab::now() - fell_silent;
    println!("held input was let go {took:?} after the network");
    // After a second; long before ENet's own verdict, which takes ten.
    assert!(took < patient(Duration::from_secs(4)), "{took:?}");
    let resume = || {
        let stream = client.resume(&desk.ability.request(), &Default::default()).expect("resumed");
        stream.next_frame(patient(PATIENCE)).expect("a frame");
        stream
    };
    desk.stream.replace(Some(resume()));
    hold(desk);
    desk.end().disconnect(patient(PATIENCE));
    let_go(desk);
}

/// What is held is let go also when the client cancels its session, and when the host is stopped. The card is the user's, so
/// that it sees that.
fn ends_let_go(desktop: &impl Desktop, ability: Ability, start: impl Fn() -> Lab) {
    for host in [false, true] {
        let mut lab = start();
        let client = lab.paired(0);
        let stream = lab.launch(&client, "Desktop", &ability.request());
        let mut command = desktop.session().command(testcard());
        command.envs(desktop.variables()).arg("--log").arg(lab.input_log_file());
        let card = desktop.session().spawn("testcard", command).expect("the card starts");
        watch(&lab, &stream, &ability.request(), 5, 0);
        let desk = Desk::new(&lab, ability, stream);
        focus(&desk);
        hold(&desk);
        if host {
            lab.signal("-TERM");
        } else {
            client.cancel().expect("cancelled");
        }
        let_go(&desk);
        drop((desk, card));
        lab.stop_host();
    }
}

/// A click and a key reach the card by the grant of KWin's portal, in a picture of that size.
pub fn kwin_takes_a_click_and_a_key(lab: &Lab, stream: Stream, size: (u32, u32)) -> Stream {
    let desk = Desk::new(lab, Ability { size, ..KWIN }, stream);
    focus(&desk);
    desk.send(InputPacket::key(true, 0x41));
    desk.send(InputPacket::key(false, 0x41));
    desk.key(30, "pressed");
    desk.key(30, "released");
    let input = lab.status()["sessions"][0]["input"].clone();
    println!("portal of KDE: input by {input}");
    assert_eq!(input["path"], KWIN.path, "{input}");
    desk.end()
}

/// Each event kind is sent by the client and arrives in the card's log.
fn everything_arrives(mut lab: Lab, ability: Ability) {
    let client = lab.paired(0);
    let stream = lab.launch(&client, "testcard", &ability.request());
    watch(&lab, &stream, &ability.request(), if lumen_lab::in_vm() { 2 } else { 5 }, 0);
    let desk = Desk::new(&lab, ability, stream);
    focus(&desk);
    keys(&desk);
    pointer(&desk);
    wheel(&desk);
    text(&desk);
    println!("input one by one: {}", lab.status()["sessions"][0]["input"]);
    flood(&desk);
    stylus(&desk);
    // Last: a touch takes the pointer away from the window until it moves again.
    touch(&desk);
    let input = lab.status()["sessions"][0]["input"].clone();
    println!("input by {input}");
    assert_eq!(input["path"], ability.path, "{input}");
    releases(&desk, &client);
    let _ = client.cancel();
    drop(desk);
    lab.stop_host();
}

/// 10 000 events a second for a second: every key and button arrives.
fn flood(desk: &Desk<'_>) {
    let before = desk.lab.input_log().len();
    desk.seen.set(before);
    // In the emulated machine a desktop takes a second for an event now and then.
    let count = if lumen_lab::in_vm() { 20 } else { 1000 };
    let began = crate::lab::now();
    for round in 0..count {
        desk.send(InputPacket::key(true, 0x41));
        for step in 0..6_i16 {
            let way = if (round as i16 + step) % 2 == 0 { 1 } else { -1 };
            desk.send(InputPacket::MouseMove { dx: way, dy: way });
        }
        desk.send(InputPacket::MouseButton { down: true, button: 3 });
        desk.send(InputPacket::MouseButton { down: false, button: 3 });
        desk.send(InputPacket::key(false, 0x41));
        // By the clock: who was late catches up.
        let due = began + Duration::from_millis(1) * (round + 1);
        std::thread::sleep(due.saturating_duration_since(crate::lab::now()));
    }
    let took = crate::lab::now() - began;
    println!("{:.0} events a second", f64::from(count * 10) / took.as_secs_f64());
    let pairs = |log: &[Value]| {
        let of = |kind: &str, code: u64, state: &str| {
            log.iter()
                .filter(|line| line["type"] == kind && line["code"] == code && line["state"] == state)
                .count()
        };
        [
            of("key", 30, "pressed"),
            of("key", 30, "released"),
            of("button", 0x111, "pressed"),
            of("button", 0x111, "released"),
        ]
    };
    let mut seen = [0; 4];
    let wanted = [count as usize; 4];
    let deadline = crate::lab::now() + patient(PATIENCE);
    while seen != wanted {
        if crate::lab::now() >= deadline {
            let log = desk.lab.input_log();
            let gaps = log[before..].iter().filter(|line| line["type"] == "pointer_leave").count();
            let input = desk.lab.status()["sessions"][0]["input"].clone();
            // What we can be held to is that all was handed over, and that none stays down.
            let handed_over = desk.ability.loses_pointer && gaps > 0 && input["dropped"] == 0;
            let paired = seen[..2] == wanted[..2] && seen[2] == seen[3] && seen[2] > 0;
            assert!(handed_over && paired, "{seen:?} of {wanted:?}; {gaps} gaps; {input}");
            println!("{} of {count} clicks seen: the desktop took the pointer away {gaps} times", seen[2]);
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        seen = pairs(&desk.lab.input_log()[before..]);
    }
    desk.seen.set(desk.lab.input_log().len());
}

const SIZE: (u32, u32) = (1264, 720);
/// What the emulated machine can draw.
const SMALL: (u32, u32) = (640, 360);

#[test]
fn sway_gets_everything() {
    let Some(session) = session_for("input to sway", &["sway", "wayland-info"]) else { return };
    // A second monitor beside the streamed one.
    let options = SwayOptions { outputs: vec![Mode::new(800, 600, 60.0)], ..SwayOptions::default() };
    let sway = Sway::start(&session, &options).expect("sway starts");
    everything_arrives(Lab::start_in(sway.env(), NO_LINGER), SWAY);
    ends_let_go(&sway, SWAY, || Lab::start_in(sway.env(), NO_LINGER));
}

/// A picture of 4:3 in a stream of 16:9: what the client points at is what it sees, not the place with the bars.
#[test]
fn the_pointer_goes_where_the_picture_is_between_its_bars() {
    let Some(session) = session_for("input beside bars", &["sway", "wayland-info"]) else { return };
    let sway = Sway::start(&session, &SwayOptions::default()).expect("sway starts");
    let lab = Lab::start_in(sway.env(), NO_LINGER);
    let client = lab.paired(0);
    let before = super::monitors(&sway);
    let stream = lab.launch(&client, "testcard", &StreamRequest::new(1280, 720, 60));
    let ability = Ability { size: (1280, 720), ..SWAY };
    let desk = Desk::new(&lab, ability, stream);
    focus(&desk);
    // Somebody gives the client's output another mode.
    let monitors = super::monitors(&sway);
    let ours = monitors.keys().find(|name| !before.contains_key(*name)).expect("an output for the client");
    sway.run(&format!("output {ours} mode --custom 800x600@60Hz")).expect("sway obeys");
    // 600 rows are shown as 720: by 1.2, between bars of 160 columns.
    for (x, y, on_card) in [
        (160 + 480, 360, (400.0, 300.0)),
        (160 + 120, 120, (100.0, 100.0)),
        (160 + 960 - 120, 720 - 120, (700.0, 500.0)),
        (40, 240, (0.0, 200.0)),
        (1279, 480, (799.0, 400.0)),
    ] {
        let seen = desk.lab.input_log().len();
        let mut nudge = 0;
        wait_for(&format!("the pointer at {on_card:?} of the card"), PATIENCE, || {
            // The host knows where the picture is when the first of that size was there.
            nudge = 40 - nudge;
            desk.point_at(640, 300 + nudge);
            desk.point_at(x, y);
            std::thread::sleep(patient(Duration::from_millis(20)));
            let near = |line: &Value, key: &str, at: f64| {
                line[key].as_f64().is_some_and(|place| (place - at).abs() <= 1.01)
            };
            let there = |line: &Value| near(line, "x", on_card.0) && near(line, "y", on_card.1);
            let log = desk.lab.input_log();
            let mut motions = log.iter().skip(seen).filter(|line| line["type"] == "pointer_motion");
            motions.next_back().is_some_and(there).then_some(())
        });
    }
    drop(desk.end());
    client.cancel().expect("cancelled");
}

#[test]
fn mutter_gets_everything() {
    let Some(session) = session_for("input to mutter", &["mutter", "wayland-info"]) else { return };
    let options = MutterOptions { monitors: vec![Mode::new(800, 600, 60.0)] };
    let mutter = Mutter::start(&session, &options).expect("mutter starts");
    let ability = Ability {
        path: "libei",
        touch: true,
        text: Text::Number,
        wheel: Wheel::Smooth,
        size: SIZE,
        x11: false,
        loses_pointer: true,
    };
    everything_arrives(Lab::start_in(mutter.env(), NO_LINGER), ability);
    ends_let_go(&mutter, ability, || Lab::start_in(mutter.env(), NO_LINGER));
}

fn kwin(ability: Ability, bus: bool) {
    if render_node().is_none() {
        return left_out("input to KWin", "there is no render node");
    }
    let Some(session) = session_for("input to KWin", &["kwin_wayland", "wayland-info", "pipewire"]) else {
        return;
    };
    let options = KwinOptions {
        renderer: KwinRenderer::OpenGl,
        mode: Mode::new(320, 180, 60.0),
        permission_checks: false,
        ..KwinOptions::default()
    };
    let kwin = Kwin::start(&session, &options).expect("KWin starts");
    let mut env = kwin.env();
    if !bus {
        env.insert("DBUS_SESSION_BUS_ADDRESS".into(), "unix:path=/nowhere".into());
    }
    let settings = "[display]\nlinger_seconds = 0\ncompositor = \"kwin\"\n";
    everything_arrives(Lab::start_in(env.clone(), settings), ability);
    ends_let_go(&kwin, ability, || Lab::start_in(env.clone(), settings));
}

#[test]
fn vm_kwin_gets_everything_by_libei() {
    kwin(KWIN, true);
}

#[test]
fn vm_kwin_gets_everything_by_fake_input() {
    kwin(Ability { path: "kwin-fake-input", wheel: Wheel::Plain, ..KWIN }, false);
}

#[test]
fn vm_gamescope_gets_everything() {
    if render_node().is_none() {
        return left_out("input to gamescope", "there is no render node");
    }
    let Some(session) = session_for("input to gamescope", &["gamescope", "Xwayland", "pipewire"]) else {
        return;
    };
    let ability = Ability {
        path: "libei",
        touch: false,
        text: Text::Lost,
        wheel: Wheel::Notches,
        size: (320, 180),
        x11: true,
        loses_pointer: false,
    };
    everything_arrives(super::gamescope::spawning(&session), ability);
}
