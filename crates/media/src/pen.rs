//! A pen on the client's screen, and what it means to a desktop that knows pointers only.

use crate::InputEvent;

/// Where a pen is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PenContact {
    /// Out of sight.
    #[default]
    Away,
    /// Above the picture.
    Near,
    /// On the picture.
    Touching,
}

/// A pen, as it is now. An output has one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pen {
    /// Where it is; nothing else of one that is away counts.
    pub contact: PenContact,
    /// 0 (left edge) to 1 (right edge).
    pub x: f64,
    /// 0 (top edge) to 1 (bottom edge).
    pub y: f64,
    /// 0 to 1, while it touches; `None` when unknown.
    pub pressure: Option<f64>,
    /// 0 to 1, while it is near; `None` when unknown.
    pub distance: Option<f64>,
    /// Degrees by which its upper end leans to the right and towards the user, −90 to 90 each; `None` when unknown.
    pub tilt: Option<(f64, f64)>,
    /// It is used the other way round.
    pub eraser: bool,
    /// Buttons of its barrel: the one next to the tip, the one above, a third.
    pub buttons: [bool; 3],
}

/// What the tip is by the button of the barrel that is held as it comes down: `BTN_RIGHT`, `BTN_MIDDLE`, `BTN_SIDE`.
const BY_BARREL: [u16; 3] = [0x111, 0x112, 0x113];
const BTN_LEFT: u16 = 0x110;

/// A pen as a pointer: above the picture it moves it, and its tip is a button. Buttons of the barrel alone do nothing, since
/// clients lose sight of a pen between hovering and touching.
#[derive(Clone, Debug, Default)]
pub struct PenPointer {
    last: Pen,
    /// What the tip holds down.
    tip: Option<u16>,
}

impl PenPointer {
    /// The pointer's events for what the pen does.
    pub fn follow(&mut self, pen: Pen) -> impl Iterator<Item = InputEvent> + use<> {
        let last = std::mem::replace(&mut self.last, pen);
        let seen = pen.contact != PenContact::Away;
        let moved = seen && (last.contact == PenContact::Away || (pen.x, pen.y) != (last.x, last.y));
        let button = match (pen.contact == PenContact::Touching, self.tip) {
            (true, None) => {
                let held = pen.buttons.iter().position(|held| *held);
                let code = held.map_or(BTN_LEFT, |index| BY_BARREL[index]);
                self.tip = Some(code);
                Some((code, true))
            }
            (false, Some(code)) => {
                self.tip = None;
                Some((code, false))
            }
            _ => None,
        };
        let moved = moved.then_some(InputEvent::PointerAbsolute { x: pen.x, y: pen.y });
        let button = button.map(|(code, pressed)| InputEvent::Button { code, pressed });
        moved.into_iter().chain(button)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(contact: PenContact, x: f64) -> Pen {
        Pen { contact, x, y: 0.5, ..Pen::default() }
    }

    #[test]
    fn the_tip_is_a_button() {
        let mut pointer = PenPointer::default();
        let mut follow = |pen| pointer.follow(pen).collect::<Vec<_>>();
        let moved = |x| InputEvent::PointerAbsolute { x, y: 0.5 };
        let button = |code, pressed| InputEvent::Button { code, pressed };
        assert_eq!(follow(at(PenContact::Near, 0.1)), [moved(0.1)]);
        assert_eq!(follow(at(PenContact::Near, 0.1)), []);
        assert_eq!(follow(at(PenContact::Touching, 0.2)), [moved(0.2), button(0x110, true)]);
        assert_eq!(follow(at(PenContact::Touching, 0.3)), [moved(0.3)]);
        assert_eq!(follow(at(PenContact::Near, 0.3)), [button(0x110, false)]);
        assert_eq!(follow(Pen::default()), []);
        // Without a move above the picture first, and gone while it touches.
        assert_eq!(follow(at(PenContact::Touching, 0.0)), [moved(0.0), button(0x110, true)]);
        assert_eq!(follow(Pen::default()), [button(0x110, false)]);
    }

    #[test]
    fn a_button_of_the_barrel_makes_the_tip_another_one() {
        let mut pointer = PenPointer::default();
        let mut follow = |pen| pointer.follow(pen).collect::<Vec<_>>();
        let button = |code, pressed| InputEvent::Button { code, pressed };
        let held = Pen { buttons: [true, false, false], ..at(PenContact::Near, 0.1) };
        follow(at(PenContact::Near, 0.1));
        assert_eq!(follow(held), []);
        let touching = Pen { contact: PenContact::Touching, ..held };
        assert_eq!(follow(touching), [button(0x111, true)]);
        // The tip stays what it was when it came down.
        assert_eq!(follow(Pen { buttons: [false; 3], ..touching }), []);
        assert_eq!(follow(at(PenContact::Near, 0.1)), [button(0x111, false)]);
    }
}
