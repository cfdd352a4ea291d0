//! Fingers on the glass.

/// A finger by the client's number for it, any, and where it is.
#[derive(Clone, Copy, Debug)]
struct Finger {
    number: u32,
    place: (f32, f32),
}

/// Gives every finger a small id that stays while it is down.
#[derive(Debug, Default)]
pub(crate) struct Contacts {
    slots: [Option<Finger>; Self::MAX],
}

impl Contacts {
    /// More than two hands have; bounds what a client can make the compositor remember.
    pub const MAX: usize = 16;

    /// Whether anything is down.
    pub fn any(&self) -> bool {
        self.slots.iter().any(Option::is_some)
    }

    /// The id of a finger that is down.
    pub fn find(&self, number: u32) -> Option<u32> {
        let at = |slot: &Option<Finger>| slot.is_some_and(|finger| finger.number == number);
        self.slots.iter().position(at).map(|slot| slot as u32)
    }

    /// Gives a finger that is not down yet the lowest free id; `None` when there is none.
    pub fn put_down(&mut self, number: u32, place: (f32, f32)) -> Option<u32> {
        if self.find(number).is_some() {
            self.moves(number, place);
            return None;
        }
        let slot = self.slots.iter().position(Option::is_none)?;
        self.slots[slot] = Some(Finger { number, place });
        Some(slot as u32)
    }

    /// Notes where a finger that is down is now; whether it was elsewhere.
    pub fn moves(&mut self, number: u32, place: (f32, f32)) -> bool {
        let finger = self.slots.iter_mut().flatten().find(|finger| finger.number == number);
        finger.is_some_and(|finger| std::mem::replace(&mut finger.place, place) != place)
    }

    /// Frees the id of a finger that was down.
    pub fn lift(&mut self, number: u32) -> Option<u32> {
        let id = self.find(number)?;
        self.slots[id as usize] = None;
        Some(id)
    }

    /// Frees all ids and returns those that were taken.
    pub fn clear(&mut self) -> Vec<u32> {
        let slots = std::mem::take(&mut self.slots);
        (0..).zip(slots).filter(|(_, slot)| slot.is_some()).map(|(id, _)| id).collect()
    }
}
