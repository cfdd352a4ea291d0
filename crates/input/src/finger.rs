//! Touch for desktops that take none: the first finger is the pointer with its left button held.

use lumen_media::{InputEvent, TouchPhase};

const BTN_LEFT: u16 = 0x110;

/// Which finger is the pointer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FingerPointer {
    leading: Option<u32>,
}

impl FingerPointer {
    /// Whether a finger is the pointer now.
    pub fn is_down(&self) -> bool {
        self.leading.is_some()
    }

    /// The pointer's events for a finger's; other fingers do nothing until the leading one is lifted.
    pub fn touch(&mut self, id: u32, phase: TouchPhase, x: f64, y: f64) -> [Option<InputEvent>; 2] {
        let moved = Some(InputEvent::PointerAbsolute { x, y });
        let button = |pressed| Some(InputEvent::Button { code: BTN_LEFT, pressed });
        match phase {
            TouchPhase::Down if self.leading.is_none() => {
                self.leading = Some(id);
                [moved, button(true)]
            }
            TouchPhase::Move if self.leading == Some(id) => [moved, None],
            TouchPhase::Up if self.leading == Some(id) => {
                self.leading = None;
                [button(false), None]
            }
            TouchPhase::Cancel if self.leading.take().is_some() => [button(false), None],
            _ => [None, None],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_finger_leads_and_is_let_go() {
        let mut finger = FingerPointer::default();
        let at = |x| Some(InputEvent::PointerAbsolute { x, y: 0.5 });
        let left = |pressed| Some(InputEvent::Button { code: BTN_LEFT, pressed });
        assert_eq!(finger.touch(3, TouchPhase::Down, 0.1, 0.5), [at(0.1), left(true)]);
        assert_eq!(finger.touch(4, TouchPhase::Down, 0.9, 0.5), [None, None]);
        assert_eq!(finger.touch(4, TouchPhase::Move, 0.8, 0.5), [None, None]);
        assert_eq!(finger.touch(3, TouchPhase::Move, 0.2, 0.5), [at(0.2), None]);
        assert_eq!(finger.touch(4, TouchPhase::Up, 0.0, 0.0), [None, None]);
        assert_eq!(finger.touch(3, TouchPhase::Up, 0.0, 0.0), [left(false), None]);
        finger.touch(5, TouchPhase::Down, 0.1, 0.5);
        assert_eq!(finger.touch(5, TouchPhase::Cancel, 0.0, 0.0), [left(false), None]);
        assert_eq!(finger.touch(5, TouchPhase::Cancel, 0.0, 0.0), [None, None]);
    }
}
