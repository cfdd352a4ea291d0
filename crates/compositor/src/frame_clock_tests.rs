use super::*;
use proptest::prelude::*;

const T: Duration = Duration::from_micros(16_667);

fn at(micros: u64) -> Timestamp {
    Timestamp::from_nanos(1_000_000_000 + micros * 1000)
}

/// A clock in front of a client that commits at given times, and what became of them.
struct Run {
    clock: FrameClock,
    composed: Vec<Timestamp>,
    ages: Vec<Duration>,
    callbacks: Vec<Timestamp>,
}

impl Run {
    fn new() -> Self {
        let mut clock = FrameClock::new(T);
        clock.set_active(at(0), true);
        Self { clock, composed: Vec::new(), ages: Vec::new(), callbacks: Vec::new() }
    }

    /// Does everything that is due until `until`, on time.
    fn until(&mut self, until: Timestamp, mut now: Timestamp) {
        loop {
            while let Some(due) = self.clock.poll(now) {
                match due {
                    Due::Compose => {
                        self.ages.push(self.clock.compose.content.map_or(T * 9, |since| now.since(since)));
                        self.clock.composed(now);
                        self.composed.push(now);
                    }
                    Due::Callbacks => self.callbacks.push(now),
                }
            }
            match self.clock.deadline() {
                Some(next) if next <= until => now = next.max(now),
                _ => return,
            }
        }
    }

    fn own_clock(&mut self, commits: impl Iterator<Item = Timestamp>) {
        let mut before = at(0);
        for commit in commits {
            self.until(commit, before);
            self.clock.damaged(commit, Damage::Content);
            self.until(commit, commit);
            before = commit;
        }
        self.until(before + T * 2, before);
    }

    /// A client that draws for `draw` after every callback.
    fn vsynced(&mut self, frames: usize, draw: impl Fn(usize) -> Duration) {
        let mut commit = at(100_000);
        for frame in 0..frames {
            self.clock.damaged(commit, Damage::Content);
            self.clock.callback_wanted(commit);
            let seen = self.callbacks.len();
            let mut now = commit;
            loop {
                self.until(now, now);
                if self.callbacks.len() > seen {
                    break;
                }
                now = self.clock.deadline().expect("a callback is due").max(now);
            }
            let next = self.callbacks[seen] + draw(frame);
            self.until(next, now);
            commit = next;
        }
    }
}

#[test]
fn idle_has_no_deadline_and_a_commit_is_composed_at_once() {
    let mut run = Run::new();
    run.until(at(0), at(0));
    assert_eq!(run.composed, [at(0)], "activation shows the whole picture");
    assert_eq!(run.clock.deadline(), None, "static costs nothing");
    run.clock.damaged(at(500_000), Damage::Content);
    assert_eq!(run.clock.poll(at(500_000)), Some(Due::Compose));
}

#[test]
fn a_jittering_clock_at_the_output_rate_loses_nothing() {
    let mut run = Run::new();
    let jitter = [0i64, 900, -900, 400, -2500, 2500, 0, -100];
    run.own_clock((6..606u64).map(|n| at((n * 16_667).strict_add_signed(jitter[n as usize % jitter.len()]))));
    assert_eq!(run.composed.len(), 601, "600 commits and the activation");
    let late = run.ages.iter().filter(|age| **age > Duration::from_millis(5)).count();
    assert_eq!(late, 0, "{:?}", run.ages);
}

#[test]
fn a_faster_client_is_held_to_the_rate_and_the_newest_state_wins() {
    let mut run = Run::new();
    run.own_clock((6..1446).map(|n| at(n * 6_944)));
    // Ten seconds: 600 periods, half a per cent of tolerance, one of burst and the activation.
    assert!((598..=606).contains(&run.composed.len()), "{}", run.composed.len());
}

#[test]
fn one_late_commit_does_not_stay_as_latency() {
    let mut run = Run::new();
    run.own_clock((6..106).map(|n| at(n * 16_667 + if n == 30 { 10_000 } else { 0 })));
    assert!(run.ages[26..30].iter().all(|age| *age > T / 4), "the hiccup is felt");
    assert!(run.ages[60..].iter().all(|age| *age < Duration::from_micros(100)), "{:?}", &run.ages[50..]);
}

#[test]
fn a_slightly_fast_program_on_a_5994_output_passes_unheld() {
    let mut run = Run::new();
    run.clock = FrameClock::new(Duration::from_nanos(16_683_350));
    run.clock.set_active(at(0), true);
    run.own_clock((6..1206).map(|n| at(n * 16_667)));
    assert_eq!(run.composed.len(), 1201);
    assert!(run.ages[1..].iter().all(|age| age.is_zero()));
}

#[test]
fn a_vsynced_client_gets_the_exact_rate_and_is_composed_at_once() {
    for draw in [200, 2_000, 6_000, 12_000] {
        let mut run = Run::new();
        run.vsynced(300, |_| Duration::from_micros(draw));
        let span = run.callbacks[299].since(run.callbacks[10]);
        let expected = T * 289;
        assert!(span >= expected && span < expected + T, "{draw}: {span:?} for {expected:?}");
        let worst = run.ages[40..].iter().max().expect("composed");
        assert!(*worst <= T / 4, "{draw}: {worst:?}");
    }
}

#[test]
fn a_client_that_misses_the_period_is_not_halved() {
    let mut run = Run::new();
    run.vsynced(200, |_| T * 6 / 5);
    let mean = run.callbacks[199].since(run.callbacks[0]) / 199;
    assert!(mean < T * 5 / 4, "{mean:?}");
    assert!(run.ages[1..].iter().all(|age| *age < T / 4));
}

#[test]
fn the_pointer_leaves_the_slot_to_the_animating_client() {
    let mut run = Run::new();
    run.until(at(0), at(0));
    let mut now = at(0);
    let mut commits = 0;
    for step in 50..1000u64 {
        // The mouse every 2 ms, commits every 16.667 ms.
        let mouse = at(step * 2000);
        let commit = at(100_000 + commits * 16_667);
        if commit <= mouse {
            run.until(commit, now);
            run.clock.damaged(commit, Damage::Content);
            run.until(commit, commit);
            now = commit;
            commits += 1;
        }
        run.until(mouse, now);
        run.clock.damaged(mouse, Damage::Pointer);
        run.until(mouse, mouse);
        now = mouse;
    }
    assert!(commits > 100);
    let held: Vec<_> = run.ages.iter().filter(|age| **age > T / 4 && **age < T * 9).collect();
    assert!(held.is_empty(), "{held:?}");
}

#[test]
fn inactive_composes_nothing_but_lets_clients_draw_now_and_then() {
    let mut run = Run::new();
    run.until(at(0), at(0));
    run.clock.set_active(at(10), false);
    run.clock.damaged(at(20), Damage::Content);
    run.clock.callback_wanted(at(20));
    run.until(at(3_000_000), at(20));
    assert_eq!((run.composed.len(), run.callbacks.len()), (1, 1));
    run.clock.set_active(at(3_000_001), true);
    assert_eq!(run.clock.poll(at(3_000_001)), Some(Due::Compose));
}

#[test]
fn starved_waits_for_a_buffer() {
    let mut clock = FrameClock::new(T);
    clock.set_active(at(0), true);
    assert_eq!(clock.poll(at(0)), Some(Due::Compose));
    clock.starved();
    assert_eq!((clock.poll(at(1)), clock.deadline()), (None, None));
    clock.buffer_returned();
    assert_eq!(clock.poll(at(2)), Some(Due::Compose));
}

#[derive(Clone, Debug)]
enum Op {
    Commit { callback: bool },
    Pointer,
    Active(bool),
    Starve,
    Return,
}

fn op() -> impl Strategy<Value = (u64, Op)> {
    let op = prop_oneof![
        6 => any::<bool>().prop_map(|callback| Op::Commit { callback }),
        3 => Just(Op::Pointer),
        1 => any::<bool>().prop_map(Op::Active),
        1 => Just(Op::Starve),
        1 => Just(Op::Return),
    ];
    (0u64..40_000, op)
}

proptest! {
    #[test]
    fn never_too_fast_never_stuck(ops in prop::collection::vec(op(), 1..200)) {
        let mut run = Run::new();
        let mut now = at(0);
        let mut activations = vec![now];
        for (wait, op) in ops {
            let next = now + Duration::from_micros(wait);
            run.until(next, now);
            now = next;
            match op {
                Op::Commit { callback } => {
                    run.clock.damaged(now, Damage::Content);
                    if callback {
                        run.clock.callback_wanted(now);
                    }
                }
                Op::Pointer => run.clock.damaged(now, Damage::Pointer),
                Op::Active(active) => {
                    run.clock.set_active(now, active);
                    if active {
                        activations.push(now);
                    }
                }
                Op::Starve => run.clock.starved(),
                Op::Return => run.clock.buffer_returned(),
            }
            run.until(now, now);
        }
        // Whatever is left is done within two periods, and then there is silence.
        run.clock.buffer_returned();
        run.until(now + INACTIVE_INTERVAL + T * 2, now);
        prop_assert_eq!(run.clock.deadline(), None);
        for pair in run.composed.windows(2) {
            let activated = activations.iter().any(|at| *at > pair[0] && *at <= pair[1] || *at == pair[0]);
            prop_assert!(activated || pair[1].since(pair[0]) >= T - Duration::from_millis(1));
        }
        let changes = activations.len() + 1;
        if let (Some(first), Some(last)) = (run.composed.first(), run.composed.last()) {
            let most = last.since(*first).as_micros() / 16_500 + 2 + 2 * changes as u128;
            prop_assert!(run.composed.len() as u128 <= most);
        }
        if let (Some(first), Some(last)) = (run.callbacks.first(), run.callbacks.last()) {
            let most = last.since(*first).as_micros() / 16_667 + 2 + 2 * changes as u128;
            prop_assert!(run.callbacks.len() as u128 <= most);
        }
    }
}

#[test]
fn a_change_of_the_rate_forgets_no_waiting_client() {
    for active in [true, false] {
        let mut clock = FrameClock::new(T);
        clock.set_active(at(0), active);
        clock.callback_wanted(at(0));
        clock.change_interval(at(100), T / 2);
        assert_eq!(clock.is_active(), active);
        if active {
            assert_eq!(clock.poll(at(100)), Some(Due::Compose), "the picture of another size");
            clock.composed(at(100));
        }
        let due = clock.deadline().expect("the callback is not forgotten");
        assert_eq!(clock.poll(due), Some(Due::Callbacks));
        assert_eq!(clock.deadline(), None);
    }
    let mut quiet = FrameClock::new(T);
    quiet.change_interval(at(0), T / 2);
    assert_eq!(quiet.deadline(), None, "nobody waits");
}
