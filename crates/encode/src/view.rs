//! Back from the stream's picture to the picture that is shown in it: where input means to go.

use crate::scale::Placement;

/// Where places of the stream's picture lie in the picture that is shown in it. All are fractions, 0 to 1 from the left or
/// top edge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    horizontal: Axis,
    vertical: Axis,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Axis {
    factor: f64,
    offset: f64,
}

impl Axis {
    const FULL: Self = Self { factor: 1.0, offset: 0.0 };

    /// `length` of the picture's `whole` pixels, from `start` on, are shown as `shown` of the stream's `stream` pixels, from
    /// `left` on.
    fn new([start, length, whole]: [u32; 3], [left, shown, stream]: [u32; 3]) -> Self {
        let [start, length, whole, left, shown, stream] =
            [start, length, whole, left, shown, stream].map(f64::from);
        Self { factor: stream * length / (shown * whole), offset: (start - left * length / shown) / whole }
    }

    fn locate(self, at: f64) -> f64 {
        (at * self.factor + self.offset).clamp(0.0, 1.0)
    }
}

impl View {
    /// The picture fills the stream's.
    pub const FULL: Self = Self { horizontal: Axis::FULL, vertical: Axis::FULL };

    /// For a picture of size `from` in a stream of size `to`, as a [`Scaler`](crate::Scaler) shows it. Sizes are width and
    /// height; [`View::FULL`] with a zero among them.
    pub fn new(from: (u32, u32), to: (u32, u32)) -> Self {
        let Some(place) = Placement::new(from, to) else { return Self::FULL };
        let Placement { from: shown, to: area } = place;
        Self {
            horizontal: Axis::new([shown.x, shown.width, from.0], [area.x, area.width, to.0]),
            vertical: Axis::new([shown.y, shown.height, from.1], [area.y, area.height, to.1]),
        }
    }

    /// A place of the stream's picture as a place of the picture in it; what lies beside it goes to its edge.
    pub fn locate(&self, x: f64, y: f64) -> (f64, f64) {
        (self.horizontal.locate(x), self.vertical.locate(y))
    }
}

impl Default for View {
    fn default() -> Self {
        Self::FULL
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn near(found: (f64, f64), expected: (f64, f64)) -> bool {
        (found.0 - expected.0).abs() < 1e-9 && (found.1 - expected.1).abs() < 1e-9
    }

    #[test]
    fn bars_beside_the_picture_are_taken_off() {
        // 4:3 in the middle of 16:9: an eighth of the width is bar on each side.
        let view = View::new((1024, 768), (1600, 900));
        for (x, expected) in [(0.0, 0.0), (0.125, 0.0), (0.5, 0.5), (0.3125, 0.25), (0.875, 1.0), (1.0, 1.0)]
        {
            assert!(near(view.locate(x, 0.75), (expected, 0.75)), "{x} became {:?}", view.locate(x, 0.75));
        }
        // Bars above and below.
        let view = View::new((1920, 800), (1280, 720));
        let bar = 92.0 / 720.0;
        assert!(near(view.locate(0.25, bar), (0.25, 0.0)), "{:?}", view.locate(0.25, bar));
        assert!(near(view.locate(0.25, 0.5), (0.25, 0.5)), "{:?}", view.locate(0.25, 0.5));
    }

    #[test]
    fn the_same_size_changes_nothing_and_rounding_little() {
        assert_eq!(View::new((1280, 720), (1280, 720)), View::FULL);
        assert_eq!(View::new((0, 720), (1280, 720)), View::FULL);
        // Four columns of the picture are cropped away on each side.
        let view = View::new((1368, 768), (1364, 768));
        assert!(near(view.locate(0.0, 0.0), (2.0 / 1368.0, 0.0)), "{:?}", view.locate(0.0, 0.0));
        assert!(near(view.locate(1.0, 1.0), (1366.0 / 1368.0, 1.0)), "{:?}", view.locate(1.0, 1.0));
    }

    proptest! {
        #[test]
        fn places_stay_inside_and_in_order(
            from in (1u32..5000, 1u32..5000), to in (1u32..5000, 1u32..5000),
            a in 0.0f64..=1.0, b in 0.0f64..=1.0,
        ) {
            let view = View::new(from, to);
            let (first, second) = (view.locate(a.min(b), a.min(b)), view.locate(a.max(b), a.max(b)));
            for (low, high) in [(first.0, second.0), (first.1, second.1)] {
                prop_assert!((0.0..=1.0).contains(&low) && low <= high && high <= 1.0);
            }
        }
    }
}
