//! Whole notches out of parts of them, for protocols that count notches.

/// Parts of a notch that were turned since the last whole one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wheel {
    horizontal: i32,
    vertical: i32,
}

impl Wheel {
    /// Turns both wheels by so many 1/120 notches: whole notches that this completes, horizontal and vertical.
    pub fn turn(&mut self, horizontal: i32, vertical: i32) -> (i32, i32) {
        (step(&mut self.horizontal, horizontal), step(&mut self.vertical, vertical))
    }
}

fn step(rest: &mut i32, by: i32) -> i32 {
    // Who turns back begins anew.
    if by.signum() * rest.signum() < 0 {
        *rest = 0;
    }
    let sum = rest.saturating_add(by);
    *rest = sum % 120;
    sum / 120
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_to_notches() {
        let mut wheel = Wheel::default();
        assert_eq!([60, 60, 240, 30].map(|by| wheel.turn(0, by).1), [0, 1, 2, 0]);
        assert_eq!([-60, -60, -119].map(|by| wheel.turn(by, 0).0), [0, -1, 0]);
        assert_eq!(wheel.turn(0, -100), (0, 0), "the part of the other way is forgotten");
        assert_eq!(wheel.turn(i32::MIN, i32::MAX).1, i32::MAX / 120);
    }
}
