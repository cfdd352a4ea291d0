use super::*;
use proptest::prelude::*;

fn key(code: u16, pressed: bool) -> InputEvent {
    InputEvent::Key { code, pressed }
}

fn touch(id: u32, phase: TouchPhase, x: f64) -> InputEvent {
    InputEvent::Touch { id, phase, x, y: 0.0 }
}

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn drain(queue: &mut Queue) -> Vec<InputEvent> {
    std::iter::from_fn(|| queue.pop()).map(|waiting| waiting.event).collect()
}

#[test]
fn motion_is_merged_and_keeps_the_oldest_time() {
    let mut queue = Queue::default();
    for time in 1..=1000 {
        queue.push(InputEvent::PointerMotion { dx: 1.0, dy: -2.0 }, at(time));
    }
    assert_eq!(
        queue.pop(),
        Some(Waiting { event: InputEvent::PointerMotion { dx: 1000.0, dy: -2000.0 }, received: at(1) })
    );
    assert!(queue.is_empty());
}

#[test]
fn nothing_is_merged_past_a_click() {
    let mut queue = Queue::default();
    let motion = InputEvent::PointerMotion { dx: 1.0, dy: 0.0 };
    let button = InputEvent::Button { code: 0x110, pressed: true };
    for event in [motion.clone(), button.clone(), motion.clone()] {
        queue.push(event, at(0));
    }
    assert_eq!(drain(&mut queue), [motion.clone(), button, motion]);
}

#[test]
fn fingers_that_move_in_turn_are_merged_each() {
    let mut queue = Queue::default();
    for id in [0, 1] {
        queue.push(touch(id, TouchPhase::Down, 0.0), at(0));
    }
    for step in 1..100 {
        for id in [0, 1] {
            queue.push(touch(id, TouchPhase::Move, f64::from(step)), at(0));
        }
    }
    queue.push(touch(7, TouchPhase::Move, 1.0), at(0));
    queue.push(touch(0, TouchPhase::Up, 0.0), at(0));
    let down_and_moves = [
        touch(0, TouchPhase::Down, 0.0),
        touch(1, TouchPhase::Down, 0.0),
        touch(0, TouchPhase::Move, 99.0),
        touch(1, TouchPhase::Move, 99.0),
        touch(0, TouchPhase::Up, 0.0),
    ];
    assert_eq!(drain(&mut queue), down_and_moves);
}

#[test]
fn text_comes_one_by_one_and_is_limited() {
    let mut queue = Queue::default();
    queue.push(InputEvent::Text("né".into()), at(0));
    assert_eq!(drain(&mut queue), [InputEvent::Text("n".into()), InputEvent::Text("é".into())]);
    queue.push(InputEvent::Text("x".repeat(100_000)), at(0));
    assert_eq!(drain(&mut queue).len(), MAX_CHARACTERS);
}

#[test]
fn a_desktop_that_hangs_costs_a_bounded_amount() {
    let mut queue = Queue::default();
    for round in 0..100_000_u32 {
        let code = (round % 200) as u16;
        queue.push(key(code, true), at(0));
        queue.push(key(code, false), at(0));
    }
    assert!(queue.waiting.len() <= LIMIT + 200);
    assert!(queue.dropped > 0);
}

fn event() -> impl Strategy<Value = InputEvent> {
    let phase =
        prop::sample::select(vec![TouchPhase::Down, TouchPhase::Move, TouchPhase::Up, TouchPhase::Cancel]);
    prop_oneof![
        (0..6_u16, any::<bool>()).prop_map(|(code, pressed)| key(code, pressed)),
        (0x110..0x113_u16, any::<bool>()).prop_map(|(code, pressed)| InputEvent::Button { code, pressed }),
        (0..4_u32, phase, 0.0..1.0).prop_map(|(id, phase, x)| touch(id, phase, x)),
        (-5.0..5.0, -5.0..5.0).prop_map(|(dx, dy)| InputEvent::PointerMotion { dx, dy }),
        (0.0..1.0, 0.0..1.0).prop_map(|(x, y)| InputEvent::PointerAbsolute { x, y }),
        (-240..240, -240..240).prop_map(|(horizontal_v120, vertical_v120)| InputEvent::Scroll {
            horizontal_v120,
            vertical_v120
        }),
        "[a-z]{0,3}".prop_map(InputEvent::Text),
    ]
}

/// What a desktop would hold; refuses what changes nothing.
fn apply(held: &mut BTreeSet<Held>, event: &InputEvent) -> Result<(), TestCaseError> {
    let (what, pressed) = match event {
        InputEvent::Key { code, pressed } => (Held::Key(*code), *pressed),
        InputEvent::Button { code, pressed } => (Held::Button(*code), *pressed),
        InputEvent::Touch { id, phase: TouchPhase::Down, .. } => (Held::Finger(*id), true),
        InputEvent::Touch { id, phase: TouchPhase::Up, .. } => (Held::Finger(*id), false),
        InputEvent::Touch { id, phase: TouchPhase::Move, .. } => {
            prop_assert!(held.contains(&Held::Finger(*id)));
            return Ok(());
        }
        InputEvent::Touch { phase: TouchPhase::Cancel, .. } => {
            held.retain(|held| !matches!(held, Held::Finger(_)));
            return Ok(());
        }
        _ => return Ok(()),
    };
    let changed = if pressed { held.insert(what) } else { held.remove(&what) };
    prop_assert!(changed, "{:?} changes nothing", event);
    Ok(())
}

proptest! {
    /// However events come and are taken, the desktop sees pairs only, sums are kept, and at the end nothing is held.
    #[test]
    fn pairs_stay_pairs(steps in prop::collection::vec((event(), 0..3_usize), 0..300)) {
        let (mut queue, mut held) = (Queue::default(), BTreeSet::new());
        let (mut scrolled, mut arrived) = (0, 0);
        let mut take = |queue: &mut Queue, held: &mut BTreeSet<Held>| -> Result<bool, TestCaseError> {
            let Some(waiting) = queue.pop() else { return Ok(false) };
            if let InputEvent::Scroll { vertical_v120, .. } = waiting.event {
                arrived += vertical_v120;
            }
            apply(held, &waiting.event)?;
            Ok(true)
        };
        for (event, takes) in steps {
            if let InputEvent::Scroll { vertical_v120, .. } = event {
                scrolled += vertical_v120;
            }
            queue.push(event, at(0));
            for _ in 0..takes {
                take(&mut queue, &mut held)?;
            }
        }
        queue.release_all(at(1));
        while take(&mut queue, &mut held)? {}
        prop_assert!(held.is_empty(), "{:?}", held);
        prop_assert_eq!(scrolled, arrived);
    }
}
