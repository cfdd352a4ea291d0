//! Events on their way to a desktop's thread: in order, bounded, motion merged, nothing left held.

use lumen_media::{InputEvent, Timestamp, TouchPhase};
use std::collections::{BTreeSet, VecDeque};

/// Events that may wait. A desktop that takes none for so long hangs; releases are queued beyond it.
const LIMIT: usize = 4096;
/// Characters of one text; clipboards travel by other ways.
const MAX_CHARACTERS: usize = 1024;
/// How far back a finger's last move is looked for.
const FINGERS: usize = 16;

/// Something that is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Held {
    Button(u16),
    Key(u16),
    Finger(u32),
}

/// An event that waits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Waiting {
    pub event: InputEvent,
    /// When the first of what was merged into it was received.
    pub received: Timestamp,
}

/// Events that wait, and what is held once all of them are delivered. Presses of what is held, and releases and moves of
/// what is not, are left out, so that a desktop sees pairs only, whatever was dropped and whoever came first.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: VecDeque<Waiting>,
    held: BTreeSet<Held>,
    /// Events that did not fit.
    pub dropped: u64,
}

impl Queue {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<Waiting> {
        self.waiting.pop_front()
    }

    /// Queues an event.
    pub fn push(&mut self, event: InputEvent, received: Timestamp) {
        match event {
            InputEvent::Key { code, pressed } => self.pair(Held::Key(code), pressed, event, received),
            InputEvent::Button { code, pressed } => self.pair(Held::Button(code), pressed, event, received),
            InputEvent::Touch { id, phase: TouchPhase::Down, .. } => {
                self.pair(Held::Finger(id), true, event, received);
            }
            InputEvent::Touch { id, phase: TouchPhase::Up, .. } => {
                self.pair(Held::Finger(id), false, event, received);
            }
            InputEvent::Touch { id, phase: TouchPhase::Move, .. } => {
                if self.held.contains(&Held::Finger(id)) {
                    self.merge(event, received);
                }
            }
            // Voids the whole gesture.
            InputEvent::Touch { phase: TouchPhase::Cancel, .. } => {
                let before = self.held.len();
                self.held.retain(|held| !matches!(held, Held::Finger(_)));
                if self.held.len() != before {
                    self.waiting.push_back(Waiting { event, received });
                }
            }
            InputEvent::Text(text) => {
                // One by one, so that each fits into what a connection takes at once.
                for character in text.chars().take(MAX_CHARACTERS) {
                    self.add(InputEvent::Text(character.to_string()), received);
                }
            }
            // The sink makes a pointer of it.
            InputEvent::Pen(_) => self.dropped += 1,
            InputEvent::PointerMotion { .. }
            | InputEvent::PointerAbsolute { .. }
            | InputEvent::Scroll { .. } => self.merge(event, received),
        }
    }

    /// Queues what lets go of everything.
    pub fn release_all(&mut self, now: Timestamp) {
        let mut touched = false;
        for held in std::mem::take(&mut self.held) {
            let event = match held {
                Held::Key(code) => InputEvent::Key { code, pressed: false },
                Held::Button(code) => InputEvent::Button { code, pressed: false },
                Held::Finger(_) if touched => continue,
                Held::Finger(id) => {
                    touched = true;
                    InputEvent::Touch { id, phase: TouchPhase::Cancel, x: 0.0, y: 0.0 }
                }
            };
            self.waiting.push_back(Waiting { event, received: now });
        }
    }

    /// The desktop is gone, and what waits and was held there with it.
    pub fn clear(&mut self) {
        self.dropped += self.waiting.len() as u64;
        self.waiting.clear();
        self.held.clear();
    }

    /// What comes in pairs: the first only if there is room, the second always if the first was taken.
    fn pair(&mut self, held: Held, pressed: bool, event: InputEvent, received: Timestamp) {
        if pressed {
            if !self.held.contains(&held) && self.add(event, received) {
                self.held.insert(held);
            }
        } else if self.held.remove(&held) {
            self.waiting.push_back(Waiting { event, received });
        }
    }

    fn add(&mut self, event: InputEvent, received: Timestamp) -> bool {
        let room = self.waiting.len() < LIMIT;
        if room {
            self.waiting.push_back(Waiting { event, received });
        } else {
            self.dropped += 1;
        }
        room
    }

    /// What is only of interest as a sum or in its latest state: takes the place of one that waits at the end.
    fn merge(&mut self, event: InputEvent, received: Timestamp) {
        let merged = self.waiting.iter_mut().rev().take(FINGERS).map_while(|last| {
            // Never past an event of another kind: a click belongs to where the pointer was.
            (std::mem::discriminant(&last.event) == std::mem::discriminant(&event))
                .then(|| join(&mut last.event, &event))
        });
        let mut joined = Joined::Other;
        for one in merged {
            joined = one;
            if !matches!(joined, Joined::Other) {
                break;
            }
        }
        if !matches!(joined, Joined::Yes) {
            self.add(event, received);
        }
    }
}

/// Whether two events became one.
enum Joined {
    Yes,
    /// Another finger's move: an earlier one may fit.
    Other,
    /// Not past this one.
    Stop,
}

fn join(last: &mut InputEvent, event: &InputEvent) -> Joined {
    let moves = |event: &InputEvent| matches!(event, InputEvent::Touch { phase: TouchPhase::Move, .. });
    if last.merge(event) {
        Joined::Yes
    } else if moves(last) && moves(event) {
        Joined::Other
    } else {
        Joined::Stop
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
