//! Fingers and the pen on the glass.

/// What touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contact {
    /// A finger by the client's id for it, any number.
    Finger(u32),
    /// The pen; there is one.
    Pen,
}

/// Gives every contact a small id that stays while it is down.
#[derive(Debug, Default)]
pub(crate) struct Contacts {
    slots: [Option<Contact>; Self::MAX],
}

impl Contacts {
    /// More than two hands have; bounds what a client can make the compositor remember.
    pub const MAX: usize = 16;

    /// Whether anything is down.
    pub fn any(&self) -> bool {
        self.slots.iter().any(Option::is_some)
    }

    /// The id of a contact that is down.
    pub fn find(&self, contact: Contact) -> Option<u32> {
        self.slots.iter().position(|slot| *slot == Some(contact)).map(|slot| slot as u32)
    }

    /// Gives a contact that is not down yet the lowest free id; `None` when there is none.
    pub fn put_down(&mut self, contact: Contact) -> Option<u32> {
        if self.find(contact).is_some() {
            return None;
        }
        let slot = self.slots.iter().position(Option::is_none)?;
        self.slots[slot] = Some(contact);
        Some(slot as u32)
    }

    /// Frees the id of a contact that was down.
    pub fn lift(&mut self, contact: Contact) -> Option<u32> {
        let id = self.find(contact)?;
        self.slots[id as usize] = None;
        Some(id)
    }

    /// Frees all ids and returns those that were taken.
    pub fn clear(&mut self) -> Vec<u32> {
        let slots = std::mem::take(&mut self.slots);
        (0..).zip(slots).filter(|(_, slot)| slot.is_some()).map(|(id, _)| id).collect()
    }
}
