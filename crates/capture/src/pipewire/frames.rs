//! The memory behind the frames that are handed over: a producer's own buffer, or a copy from a pool.

use super::sys::{BufferId, Mapping};
use lumen_media::PixelBuffer;
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

/// Copies kept for reuse: one being written, one in the slot, one with the reader, one as the last picture.
const KEPT: usize = 4;

/// What other threads tell the loop's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// Nobody reads this buffer any more.
    Release(BufferId),
    /// Somebody watches from now on, or nobody does.
    Active(bool),
    /// The source was dropped.
    Quit,
}

/// Notes for the loop's thread. Holds at most a note a buffer and those of the owner.
pub(crate) struct Mailbox {
    notes: Mutex<Vec<Note>>,
    bell: OwnedFd,
}

impl Mailbox {
    /// An empty one.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub(crate) fn new() -> std::io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { notes: Mutex::default(), bell })
    }

    /// Readable while there are notes.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Leaves a note, from any thread.
    pub(crate) fn post(&self, note: Note) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
        // The counter is full only when the bell rings already.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    /// All notes; the bell is silent until the next one.
    pub(crate) fn collect(&self) -> Vec<Note> {
        let _ = rustix::io::read(&self.bell, &mut [0u8; 8]);
        std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A producer's buffer in use. Dropping it gives the buffer back.
pub(crate) struct Lent {
    mapping: Arc<Mapping>,
    start: usize,
    len: usize,
    id: BufferId,
    mailbox: Arc<Mailbox>,
}

impl Lent {
    /// `len` bytes from `start` of a buffer's mapping, which lie within it.
    pub(crate) fn new(
        mapping: Arc<Mapping>,
        range: std::ops::Range<usize>,
        id: BufferId,
        mailbox: Arc<Mailbox>,
    ) -> Self {
        Self { mapping, start: range.start, len: range.len(), id, mailbox }
    }
}

impl PixelBuffer for Lent {
    fn bytes(&self) -> &[u8] {
        &self.mapping.bytes()[self.start..self.start + self.len]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // It began without an error, so it ends without one; the buffer goes back in any case.
        let _ = self.mapping.end_read();
        self.mailbox.post(Note::Release(self.id));
    }
}

type FreeList = Arc<Mutex<Vec<Vec<u8>>>>;

/// Memory for copies, used again.
#[derive(Clone, Default)]
pub(crate) struct Pool(FreeList);

impl Pool {
    /// Memory with anything in it.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// As a frame's pixels; comes back when nobody reads it any more.
    pub(crate) fn wrap(&self, bytes: Vec<u8>) -> Arc<Copied> {
        Arc::new(Copied { bytes, free: self.0.clone() })
    }
}

/// A copy of a picture.
pub(crate) struct Copied {
    bytes: Vec<u8>,
    free: FreeList,
}

impl PixelBuffer for Copied {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_ring_once_and_are_collected_in_order() {
        let mailbox = Mailbox::new().expect("a descriptor");
        mailbox.post(Note::Active(true));
        mailbox.post(Note::Quit);
        assert_eq!(mailbox.collect(), [Note::Active(true), Note::Quit]);
        assert_eq!(mailbox.collect(), []);
        assert_eq!(rustix::io::read(mailbox.bell(), &mut [0u8; 8]), Err(rustix::io::Errno::AGAIN));
    }

    #[test]
    fn memory_of_copies_is_used_again() {
        let pool = Pool::default();
        let copy = pool.wrap(vec![7; 100]);
        let address = copy.bytes().as_ptr();
        drop(copy);
        let again = pool.take();
        assert_eq!(again.as_ptr(), address);
        assert!(pool.take().is_empty());
    }
}
