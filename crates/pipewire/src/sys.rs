//! Turning a loop from one thread, and the library's own log.

use pipewire::loop_::{Loop, Timeout};

/// A loop that belongs to this thread until dropped.
///
/// The library runs what another of its threads asks the loop to do right there, on the other thread, while the loop
/// is entered by nobody. The safe `iterate` leaves after each turn, so events would now and then come from PipeWire's
/// data thread in the midst of ours.
pub struct Entered<'a>(&'a Loop);

impl<'a> Entered<'a> {
    /// Enters `owner`.
    pub fn new(owner: &'a Loop) -> Self {
        // SAFETY: left once, on drop, on the same thread: the type is not `Send`, as `Loop` is not `Sync`.
        unsafe { owner.enter() };
        Self(owner)
    }

    /// Waits for something to do, at most `timeout`, and does it.
    pub fn turn(&self, timeout: Timeout) {
        // SAFETY: entered by `new`. A negative result is an interrupted wait; the caller turns again.
        let _ = unsafe { self.0.iterate_unguarded(timeout) };
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        // SAFETY: pairs with `new`.
        unsafe { self.0.leave() };
    }
}

/// Has the library print nothing by itself.
pub(crate) fn quiet() {
    // SAFETY: sets a number that is read when something is logged; the library is initialised.
    unsafe { pipewire::sys::pw_log_set_level(pipewire::spa::sys::SPA_LOG_LEVEL_NONE) };
}
