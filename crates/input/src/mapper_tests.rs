use super::*;
use lumen_gamestream::input::{InputPacket, MouseButton, Pen, PenTool, Touch};
use proptest::prelude::*;
use std::sync::Mutex;

/// Remembers what it was sent.
#[derive(Default)]
struct Recorder(Mutex<Vec<InputEvent>>);

impl InputSink for Recorder {
    fn send(&self, event: InputEvent) {
        self.0.lock().expect("no panic while held").push(event);
    }
}

impl Recorder {
    fn take(&self) -> Vec<InputEvent> {
        std::mem::take(&mut *self.0.lock().expect("no panic while held"))
    }
}

fn mapper() -> (Mapper, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    (Mapper::new(recorder.clone(), Accept::default()), recorder)
}

/// Decodes a packet as it stands in the protocol text.
fn wire(hex: &str) -> InputPacket {
    let digits: String = hex.split_whitespace().collect();
    let bytes: Vec<u8> = (0..digits.len() / 2)
        .map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).expect("hex"))
        .collect();
    InputPacket::decode(&bytes).expect("a valid packet")
}

fn key(code: u8, modifiers: u8, pressed: bool) -> InputPacket {
    let modifiers = Modifiers::from_bits(modifiers);
    InputPacket::Key(Key { code, pressed, by_layout: false, on_screen: false, modifiers })
}

fn down(code: u16) -> InputEvent {
    InputEvent::Key { code, pressed: true }
}

fn up(code: u16) -> InputEvent {
    InputEvent::Key { code, pressed: false }
}

fn touch(event: TouchEvent, pointer: u32, x: f32, y: f32) -> InputPacket {
    InputPacket::Touch(Touch { event, pointer, x, y, pressure: 0.0, contact: (0.0, 0.0), rotation: None })
}

fn pen(event: TouchEvent, x: f32, y: f32) -> InputPacket {
    InputPacket::Pen(Pen {
        event,
        tool: PenTool::Pen,
        buttons: 0,
        x,
        y,
        pressure: 0.0,
        rotation: None,
        tilt: None,
        contact: (0.0, 0.0),
    })
}

#[test]
fn the_captured_examples_of_the_protocol_text() {
    let (mut mapper, sink) = mapper();
    let cases = [
        // A with the shift bit while no shift is held, then up, in the client's layout.
        ("0000000a 03000000 00 4180 01 0000", vec![down(42), down(30), up(42)]),
        ("0000000a 04000000 01 4180 01 0000", vec![up(30)]),
        ("00000006 17000000 c3a9", vec![InputEvent::Text("é".into())]),
        ("00000008 07000000 ffff ffff", vec![InputEvent::PointerMotion { dx: -1.0, dy: -1.0 }]),
        (
            "0000000e 05000000 0064 00c8 0000 04ff 02cf",
            vec![InputEvent::PointerAbsolute { x: 100.0 / 1279.0, y: 200.0 / 719.0 }],
        ),
        ("00000005 08000000 01", vec![InputEvent::Button { code: 0x110, pressed: true }]),
        ("00000005 09000000 05", vec![]),
        (
            "0000000a 0a000000 ff88 ff88 0000",
            vec![InputEvent::Scroll { horizontal_v120: 0, vertical_v120: 120 }],
        ),
        ("00000006 01000055 003c", vec![InputEvent::Scroll { horizontal_v120: 60, vertical_v120: 0 }]),
        (
            "00000020 02000055 01 00 5a00 07000000 0000003f 0000803e 0000803f cdcccc3d cdcc4c3d",
            vec![InputEvent::Touch { id: 0, phase: TouchPhase::Down, x: 0.5, y: 0.25 }],
        ),
        (
            "00000020 03000055 01 01 01 00 0000003f 0000803e 0000803f ffff 2d 00 00000000 00000000",
            vec![InputEvent::Pen(lumen_media::Pen {
                contact: PenContact::Touching,
                x: 0.5,
                y: 0.25,
                pressure: Some(1.0),
                buttons: [true, false, false],
                ..lumen_media::Pen::default()
            })],
        ),
        ("00000006 0d000000 0100", vec![]),
    ];
    for (packet, events) in cases {
        mapper.handle(&wire(packet));
        assert_eq!(sink.take(), events, "{packet}");
    }
    assert_eq!(mapper.dropped(), Dropped { gamepad: 1, ..Dropped::default() });
}

#[test]
fn repeats_change_nothing() {
    let (mut mapper, sink) = mapper();
    for pressed in [true, true, false, false] {
        mapper.handle(&key(0x41, 0, pressed));
        mapper.handle(&InputPacket::MouseButton { button: MouseButton::Right, pressed });
    }
    let button = |pressed| InputEvent::Button { code: 0x111, pressed };
    assert_eq!(sink.take(), [down(30), button(true), up(30), button(false)]);
}

#[test]
fn a_modifier_that_is_held_is_not_pressed_again() {
    let (mut mapper, sink) = mapper();
    // The right shift is as good as the left; the modifier's own packet carries its own bit.
    mapper.handle(&key(0xa1, 0x01, true));
    mapper.handle(&key(0x41, 0x01, true));
    assert_eq!(sink.take(), [down(54), down(30)]);
    // Ctrl and meta are missing, shift is there.
    mapper.handle(&key(0x42, 0x01 | 0x02 | 0x08, true));
    assert_eq!(sink.take(), [down(29), down(125), down(48), up(125), up(29)]);
    // A repeat brings no modifiers either, and neither does an up.
    mapper.handle(&key(0x42, 0x04, true));
    mapper.handle(&key(0x42, 0x04, false));
    assert_eq!(sink.take(), [up(48)]);
}

#[test]
fn a_modifier_key_never_brings_another() {
    let (mut mapper, sink) = mapper();
    mapper.handle(&key(0xa4, 0x01 | 0x02 | 0x04, true));
    assert_eq!(sink.take(), [down(56)]);
}

#[test]
fn positions_are_clamped_and_cover_both_edges() {
    let (mut mapper, sink) = mapper();
    for (x, y, expected) in [(0, 0, (0.0, 0.0)), (1279, 719, (1.0, 1.0)), (-5, 4000, (0.0, 1.0))] {
        mapper.handle(&InputPacket::MousePosition(MousePosition { x, y, width: 1279, height: 719 }));
        let (x, y) = expected;
        assert_eq!(sink.take(), [InputEvent::PointerAbsolute { x, y }]);
    }
    mapper.handle(&InputPacket::MousePosition(MousePosition { x: 1, y: 1, width: 0, height: 719 }));
    assert_eq!(sink.take(), []);
    assert_eq!(mapper.dropped().invalid, 1);
}

#[test]
fn the_largest_scroll_does_not_overflow() {
    let (mut mapper, sink) = mapper();
    mapper.handle(&InputPacket::Scroll { amount: i16::MIN });
    mapper.handle(&InputPacket::Scroll { amount: 0 });
    assert_eq!(sink.take(), [InputEvent::Scroll { horizontal_v120: 0, vertical_v120: 32_768 }]);
}

#[test]
fn contacts_keep_their_ids_and_strangers_are_ignored() {
    let (mut mapper, sink) = mapper();
    let event = |id, phase, x| InputEvent::Touch { id, phase, x, y: 0.0 };
    mapper.handle(&touch(TouchEvent::Move, 9, 0.5, 0.0));
    mapper.handle(&touch(TouchEvent::Down, 900, 0.5, 0.0));
    mapper.handle(&touch(TouchEvent::Hover, 900, 0.5, 0.0));
    mapper.handle(&touch(TouchEvent::Down, 7, 0.25, 0.0));
    mapper.handle(&touch(TouchEvent::Up, 900, 0.5, 0.0));
    mapper.handle(&touch(TouchEvent::Up, 900, 0.5, 0.0));
    mapper.handle(&touch(TouchEvent::Move, 7, 2.0, 0.0));
    assert_eq!(
        sink.take(),
        [
            event(0, TouchPhase::Down, 0.5),
            event(1, TouchPhase::Down, 0.25),
            event(0, TouchPhase::Up, 0.0),
            event(1, TouchPhase::Move, 1.0),
        ]
    );
    mapper.handle(&touch(TouchEvent::Cancel, 77, 0.0, 0.0));
    assert_eq!(sink.take(), [event(1, TouchPhase::Cancel, 0.0)], "a gesture is void as a whole");
}

#[test]
fn a_finger_is_lifted_where_it_was_last() {
    let (mut mapper, sink) = mapper();
    let event = |phase, x| InputEvent::Touch { id: 0, phase, x, y: 0.0 };
    mapper.handle(&touch(TouchEvent::Down, 5, 0.5, 0.0));
    // The moves were lost.
    mapper.handle(&touch(TouchEvent::Up, 5, 0.75, 0.0));
    mapper.handle(&touch(TouchEvent::Down, 5, 0.5, 0.0));
    mapper.handle(&touch(TouchEvent::Up, 5, 0.5, 0.0));
    mapper.handle(&touch(TouchEvent::Down, 5, 0.5, 0.0));
    // Nowhere.
    mapper.handle(&touch(TouchEvent::Up, 5, 0.0, 0.0));
    let (down, up) = (event(TouchPhase::Down, 0.5), event(TouchPhase::Up, 0.0));
    assert_eq!(
        sink.take(),
        [down.clone(), event(TouchPhase::Move, 0.75), up.clone(), down.clone(), up.clone(), down, up]
    );
}

#[test]
fn a_pen_is_told_as_it_is() {
    use lumen_gamestream::input::Pen as Packet;
    use lumen_media::{Pen, PenContact};
    let (mut mapper, sink) = mapper();
    let at = |event, x, pressure| Packet {
        event,
        tool: PenTool::Eraser,
        buttons: 2,
        x,
        y: 0.25,
        pressure,
        rotation: Some(90),
        tilt: Some(30),
        contact: (0.0, 0.0),
    };
    let mut told = |packet: Packet| {
        mapper.handle(&InputPacket::Pen(packet));
        sink.take()
            .into_iter()
            .map(|event| {
                let InputEvent::Pen(pen) = event else { panic!("{event:?}") };
                pen
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(told(at(TouchEvent::Move, 0.5, 1.0)), [], "it is not there yet");
    let near = told(at(TouchEvent::Hover, 0.5, 0.2))[0];
    let (x, y) = near.tilt.expect("it is known");
    // It points to the right, and so leans to the left.
    assert!((x + 30.0).abs() < 1e-9 && y.abs() < 1e-9, "{x} {y}");
    let expected = Pen {
        contact: PenContact::Near,
        x: 0.5,
        y: 0.25,
        pressure: None,
        distance: Some(f64::from(0.2_f32)),
        tilt: near.tilt,
        eraser: true,
        buttons: [false, true, false],
    };
    assert_eq!(near, expected);
    let down = told(at(TouchEvent::Down, 0.75, 0.5))[0];
    assert_eq!(
        down,
        Pen { contact: PenContact::Touching, x: 0.75, pressure: Some(0.5), distance: None, ..expected }
    );
    assert_eq!(told(at(TouchEvent::Down, 0.75, 0.5)), [], "nothing changed");
    let pressed = told(Packet { buttons: 1, ..at(TouchEvent::ButtonOnly, 0.0, 0.0) })[0];
    assert_eq!(pressed, Pen { buttons: [true, false, false], ..down });
    // The last moves were lost.
    let lifted = told(at(TouchEvent::Up, 0.125, 0.0));
    let there = Pen { x: 0.125, ..pressed };
    assert_eq!(
        lifted,
        [there, Pen { contact: PenContact::Near, pressure: None, buttons: down.buttons, ..there }]
    );
    assert_eq!(told(at(TouchEvent::HoverLeave, 0.0, 0.0)), [Pen::default()]);
    assert_eq!(told(at(TouchEvent::Up, 0.1, 0.0)), []);
    assert_eq!(told(at(TouchEvent::Hover, f32::NAN, 0.0)), []);
    told(at(TouchEvent::Down, 0.5, 0.0));
    assert_eq!(told(at(TouchEvent::HoverLeave, 0.0, 0.0)), [], "it came down");
    mapper.release_all();
    assert_eq!(sink.take(), [InputEvent::Pen(Pen::default())]);
}

#[test]
fn keys_on_the_screen_of_ios_type_their_characters() {
    let (mut mapper, sink) = mapper();
    let key = |code, pressed, modifiers| {
        let modifiers = Modifiers::from_bits(modifiers);
        InputPacket::Key(Key { code, pressed, by_layout: true, on_screen: true, modifiers })
    };
    let typed = |text: &str| InputEvent::Text(text.into());
    for (code, modifiers, text) in
        [(0x5a, 0, "z"), (0x5a, 1, "Z"), (0xdc, 0, "\\"), (0xdc, 1, "|"), (0x37, 1, "&")]
    {
        mapper.handle(&key(code, true, modifiers));
        mapper.handle(&key(code, false, modifiers));
        assert_eq!(sink.take(), [typed(text)]);
    }
    // What types nothing, and shortcuts, are keys.
    mapper.handle(&key(0x0d, true, 0));
    mapper.handle(&key(0x0d, false, 0));
    assert_eq!(sink.take(), [down(28), up(28)]);
    mapper.handle(&key(0x5a, true, 2));
    mapper.handle(&key(0x5a, false, 0));
    assert_eq!(sink.take(), [down(29), down(44), up(29), up(44)]);
    assert!(!mapper.holds_anything());
}

#[test]
fn a_backslash_of_a_client_that_flags_all_keys_is_one() {
    let (mut mapper, sink) = mapper();
    let key = |code, pressed| {
        let modifiers = Modifiers::default();
        InputPacket::Key(Key { code, pressed, by_layout: true, on_screen: false, modifiers })
    };
    mapper.handle(&key(0xdc, true));
    mapper.handle(&key(0xdc, false));
    assert_eq!(sink.take(), [down(124), up(124)], "Yen, as Qt has it");
    mapper.handle(&key(0xdc, true));
    mapper.handle(&key(0x41, true));
    mapper.handle(&key(0x41, false));
    mapper.handle(&key(0xdc, false));
    assert_eq!(sink.take(), [down(124), down(30), up(30), up(124)], "what was pressed is let go");
    mapper.handle(&key(0xdc, true));
    mapper.handle(&key(0xdc, false));
    assert_eq!(sink.take(), [down(43), up(43)]);
}

#[test]
fn more_fingers_than_two_hands_have_are_not_tracked() {
    let (mut mapper, sink) = mapper();
    for pointer in 0..100 {
        mapper.handle(&touch(TouchEvent::Down, pointer, 0.0, 0.0));
    }
    assert_eq!(sink.take().len(), Contacts::MAX);
    assert_eq!(mapper.dropped().invalid, 100 - Contacts::MAX as u64);
}

#[test]
fn what_is_not_accepted_or_not_known_is_counted() {
    let recorder = Arc::new(Recorder::default());
    let accept = Accept { keyboard: false, pointer: false, touch: false };
    let mut mapper = Mapper::new(recorder.clone(), accept);
    mapper.handle(&key(0x41, 0, true));
    mapper.handle(&InputPacket::MouseMotion { dx: 1, dy: 1 });
    mapper.handle(&touch(TouchEvent::Down, 0, 0.0, 0.0));
    mapper.handle(&InputPacket::Unknown { magic: 0x99 });
    mapper.accept.keyboard = true;
    mapper.handle(&key(0xff, 0, true));
    mapper.handle(&InputPacket::Text("a\0b".into()));
    assert_eq!(recorder.take(), []);
    assert_eq!(mapper.dropped(), Dropped { unknown: 2, invalid: 1, gamepad: 0, refused: 3 });
}

#[test]
fn dropping_the_mapper_lets_go() {
    let (mut mapper, sink) = mapper();
    mapper.handle(&key(0xa0, 0, true));
    mapper.handle(&InputPacket::MouseButton { button: MouseButton::Left, pressed: true });
    mapper.handle(&touch(TouchEvent::Down, 5, 0.5, 0.5));
    sink.take();
    drop(mapper);
    assert_eq!(
        sink.take(),
        [
            up(42),
            InputEvent::Button { code: 0x110, pressed: false },
            InputEvent::Touch { id: 0, phase: TouchPhase::Cancel, x: 0.0, y: 0.0 },
        ]
    );
}

/// What a compositor would think is held after these events; refuses presses of what is held and releases of what is
/// not.
fn held(events: &[InputEvent]) -> Result<BTreeSet<(u8, u32)>, TestCaseError> {
    let mut held = BTreeSet::new();
    for event in events {
        let (what, pressed) = match event {
            InputEvent::Key { code, pressed } => ((0, u32::from(*code)), *pressed),
            InputEvent::Button { code, pressed } => ((1, u32::from(*code)), *pressed),
            InputEvent::Touch { phase: TouchPhase::Move, id, x, y } => {
                prop_assert!(held.contains(&(2, *id)), "a move of a finger that is not down");
                prop_assert!((0.0..=1.0).contains(x) && (0.0..=1.0).contains(y));
                continue;
            }
            InputEvent::Touch { phase, id, .. } => ((2, *id), *phase == TouchPhase::Down),
            InputEvent::PointerAbsolute { x, y } => {
                prop_assert!((0.0..=1.0).contains(x) && (0.0..=1.0).contains(y));
                continue;
            }
            InputEvent::Pen(pen) => {
                prop_assert!((0.0..=1.0).contains(&pen.x) && (0.0..=1.0).contains(&pen.y));
                held.remove(&(3, 0));
                if *pen != lumen_media::Pen::default() {
                    held.insert((3, 0));
                }
                continue;
            }
            _ => continue,
        };
        let changed = if pressed { held.insert(what) } else { held.remove(&what) };
        prop_assert!(changed, "{event:?} changes nothing");
    }
    Ok(held)
}

fn touch_event() -> impl Strategy<Value = TouchEvent> {
    prop::sample::select(vec![
        TouchEvent::Hover,
        TouchEvent::Down,
        TouchEvent::Up,
        TouchEvent::Move,
        TouchEvent::Cancel,
        TouchEvent::ButtonOnly,
        TouchEvent::HoverLeave,
        TouchEvent::CancelAll,
    ])
}

fn packet() -> impl Strategy<Value = InputPacket> {
    let button = prop::sample::select(vec![MouseButton::Left, MouseButton::Middle, MouseButton::X2]);
    prop_oneof![
        4 => (any::<u8>(), any::<bool>(), any::<bool>(), any::<u8>()).prop_map(|(code, pressed, by_layout, bits)| {
            let (on_screen, modifiers) = (by_layout && bits & 0x80 != 0, Modifiers::from_bits(bits));
            InputPacket::Key(Key { code, pressed, by_layout, on_screen, modifiers })
        }),
        // Few keys, so that they meet.
        4 => (0xa0..0xa6_u8, any::<bool>()).prop_map(|(code, pressed)| key(code, 0, pressed)),
        2 => (button, any::<bool>())
            .prop_map(|(button, pressed)| InputPacket::MouseButton { button, pressed }),
        2 => (touch_event(), 0..20_u32, any::<f32>(), any::<f32>())
            .prop_map(|(event, pointer, x, y)| touch(event, pointer, x, y)),
        1 => (touch_event(), any::<f32>(), any::<f32>()).prop_map(|(event, x, y)| pen(event, x, y)),
        1 => (any::<i16>(), any::<i16>(), any::<i16>(), any::<i16>()).prop_map(|(x, y, width, height)| {
            InputPacket::MousePosition(MousePosition { x, y, width, height })
        }),
    ]
}

proptest! {
    #[test]
    fn whatever_comes_nothing_stays_held(packets in prop::collection::vec(packet(), 0..200)) {
        let (mut mapper, sink) = mapper();
        let mut events = Vec::new();
        for packet in &packets {
            mapper.handle(packet);
            events.extend(sink.take());
            prop_assert_eq!(held(&events)?.is_empty(), !mapper.holds_anything());
        }
        mapper.release_all();
        events.extend(sink.take());
        prop_assert!(held(&events)?.is_empty());
        prop_assert!(!mapper.holds_anything());
        mapper.release_all();
        prop_assert!(sink.take().is_empty(), "letting go twice does nothing");
    }

    #[test]
    fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let (mut mapper, _sink) = mapper();
        if let Ok(packet) = InputPacket::decode(&bytes) {
            mapper.handle(&packet);
        }
    }
}
