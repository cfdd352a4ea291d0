//! Force feedback effects of a `/dev/uinput` device: what is uploaded, what plays, and so how strong the two motors are.
//! The kernel leaves the timing to us.

use lumen_media::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// How many effects a device holds at once.
pub const MAX_EFFECTS: u32 = 16;
/// Full gain.
const FULL: u32 = 0xffff;

/// One uploaded effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Strong motor.
    pub strong: u16,
    /// Weak motor.
    pub weak: u16,
    /// Until it begins, after it is played.
    pub delay: Duration,
    /// How long it lasts; zero is for ever.
    pub length: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Playing {
    from: Timestamp,
    /// `None`: until it is stopped.
    until: Option<Timestamp>,
}

/// All effects of a device.
#[derive(Debug)]
pub struct Effects {
    uploaded: BTreeMap<u16, Effect>,
    playing: BTreeMap<u16, Playing>,
    gain: u32,
}

impl Default for Effects {
    fn default() -> Self {
        Self { uploaded: BTreeMap::new(), playing: BTreeMap::new(), gain: FULL }
    }
}

impl Effects {
    /// Uploads or replaces an effect; one that plays goes on with its new strength. False: there are too many.
    pub fn upload(&mut self, id: u16, effect: Effect) -> bool {
        let fits = u32::from(id) < MAX_EFFECTS;
        if fits {
            self.uploaded.insert(id, effect);
        }
        fits
    }

    /// Erases one, and stops it.
    pub fn erase(&mut self, id: u16) {
        self.uploaded.remove(&id);
        self.playing.remove(&id);
    }

    /// Plays an effect so many times; 0 stops it.
    pub fn play(&mut self, id: u16, times: i32, now: Timestamp) {
        let Some(effect) = self.uploaded.get(&id) else { return };
        let Some(times) = u32::try_from(times).ok().filter(|times| *times > 0) else {
            self.playing.remove(&id);
            return;
        };
        let from = now + effect.delay;
        // Repeats begin with the delay again; the pauses between them are left out.
        let until = (!effect.length.is_zero()).then(|| from + effect.length.saturating_mul(times));
        self.playing.insert(id, Playing { from, until });
    }

    /// Scales everything, 0 to 65535.
    pub fn set_gain(&mut self, gain: i32) {
        self.gain = u32::try_from(gain).unwrap_or(0).min(FULL);
    }

    /// How strong the strong and the weak motor are now.
    pub fn strength(&self, now: Timestamp) -> (u16, u16) {
        let mut sum = (0u32, 0u32);
        for (id, playing) in &self.playing {
            let over = playing.until.is_some_and(|until| until <= now);
            if let Some(effect) = self.uploaded.get(id).filter(|_| playing.from <= now && !over) {
                sum.0 += u32::from(effect.strong);
                sum.1 += u32::from(effect.weak);
            }
        }
        let scaled = |value: u32| (value.min(FULL) * self.gain / FULL) as u16;
        (scaled(sum.0), scaled(sum.1))
    }

    /// Forgets what is over; says when the strength changes next by itself.
    pub fn settle(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.playing.retain(|_, playing| playing.until.is_none_or(|until| until > now));
        let begins = self.playing.values().map(|playing| playing.from).filter(|from| *from > now);
        begins.chain(self.playing.values().filter_map(|playing| playing.until)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::from_nanos(milliseconds * 1_000_000)
    }

    fn effect(strong: u16, weak: u16, delay: u64, length: u64) -> Effect {
        Effect { strong, weak, delay: Duration::from_millis(delay), length: Duration::from_millis(length) }
    }

    #[test]
    fn an_effect_begins_after_its_delay_and_ends_by_itself() {
        let mut effects = Effects::default();
        assert!(effects.upload(0, effect(100, 200, 10, 50)));
        effects.play(0, 2, at(0));
        assert_eq!(effects.strength(at(9)), (0, 0));
        assert_eq!(effects.settle(at(9)), Some(at(10)));
        assert_eq!(effects.strength(at(10)), (100, 200));
        assert_eq!(effects.settle(at(10)), Some(at(110)));
        assert_eq!(effects.strength(at(109)), (100, 200));
        assert_eq!(effects.strength(at(110)), (0, 0));
        assert_eq!(effects.settle(at(110)), None);
    }

    #[test]
    fn effects_add_up_to_the_limit_and_are_scaled() {
        let mut effects = Effects::default();
        effects.upload(0, effect(0xf000, 1000, 0, 0));
        effects.upload(1, effect(0xf000, 1000, 0, 0));
        effects.play(0, 1, at(0));
        effects.play(1, 1, at(0));
        assert_eq!(effects.strength(at(1_000_000)), (0xffff, 2000));
        effects.set_gain(0x8000);
        assert_eq!(effects.strength(at(5)), (0x8000, 1000));
        effects.set_gain(-1);
        assert_eq!(effects.strength(at(5)), (0, 0));
        effects.set_gain(i32::MAX);
        effects.play(0, 0, at(6));
        assert_eq!(effects.strength(at(6)), (0xf000, 1000));
        effects.erase(1);
        assert_eq!(effects.strength(at(6)), (0, 0));
        assert!(!effects.upload(16, effect(1, 1, 0, 0)));
    }

    proptest! {
        #[test]
        fn nothing_moves_when_all_is_erased_and_deadlines_lie_ahead(
            steps in prop::collection::vec((0u16..20, 0u8..4, any::<i32>(), any::<u16>(), 0u64..300), 0..60)
        ) {
            let mut effects = Effects::default();
            let mut now = 0;
            for (id, what, value, strong, time) in steps {
                match what {
                    0 => drop(effects.upload(id, effect(strong, strong, time, time / 2))),
                    1 => effects.play(id, value, at(now)),
                    2 => effects.set_gain(value),
                    _ => effects.erase(id),
                }
                if let Some(next) = effects.settle(at(now)) {
                    prop_assert!(next > at(now));
                }
                now += time;
            }
            (0..20).for_each(|id| effects.erase(id));
            prop_assert_eq!(effects.strength(at(now)), (0, 0));
            prop_assert_eq!(effects.settle(at(now)), None);
        }
    }
}
