//! The way of packets from the control thread to the thread that serves gamepads. Writing never waits for a device: the
//! lock is held for a copy only.

use super::manager::PadPacket;
use lumen_gamestream::control::HostMessage;
use lumen_gamestream::input::{ControllerState, InputPacket};
use rustix::event::{EventfdFlags, eventfd};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

/// Packets that wait; more than seconds of the busiest client.
const CAPACITY: usize = 4096;

/// Where messages for a client go. Called on the thread of the gamepads; must not wait.
pub(super) type Send = Box<dyn FnMut(HostMessage) + std::marker::Send>;

/// What the thread is told.
pub(super) enum Note {
    Packet(PadPacket),
    /// All buttons, sticks and fingers are let go.
    Release,
    /// A connection begins; its messages go there.
    Connect(Send),
    /// The connection is over; the gamepads stay, let go.
    Disconnect,
}

#[derive(Default)]
struct State {
    notes: VecDeque<Note>,
    /// Counts connections: what an older one still sends is ignored.
    connection: u64,
    dropped: u64,
    closed: bool,
}

impl State {
    /// No room: of a gamepad's states the newest counts, so that what the client has let go is not held for ever.
    fn settle(&mut self, packet: PadPacket) {
        let PadPacket::State(new) = &packet else { return };
        let of_same = |note: &&mut Note| matches!(note, Note::Packet(PadPacket::State(old)) if old.controller == new.controller);
        if let Some(last) = self.notes.iter_mut().rev().find(of_same) {
            *last = Note::Packet(packet);
        }
    }
}

/// Shared by the thread, its owner and the connection.
pub(super) struct Inbox {
    state: Mutex<State>,
    wake: OwnedFd,
}

impl Inbox {
    pub fn new() -> io::Result<Arc<Self>> {
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Arc::new(Self { state: Mutex::default(), wake }))
    }

    pub fn connect(self: &Arc<Self>, send: Send) -> PadInput {
        let connection = self.change(|state| {
            state.connection += 1;
            state.notes.push_back(Note::Connect(send));
            state.connection
        });
        PadInput { inbox: self.clone(), connection, held: 0, moved: false }
    }

    pub fn disconnect(&self) {
        self.change(|state| {
            state.connection += 1;
            state.notes.push_back(Note::Disconnect);
        });
    }

    pub fn close(&self) {
        self.change(|state| state.closed = true);
    }

    /// Swaps what waits with `empty`; false when the end has come.
    pub fn take(&self, empty: &mut VecDeque<Note>) -> bool {
        let mut counter = [0; 8];
        // Reading resets the counter; there may be nothing to read.
        let _ = rustix::io::read(&self.wake, &mut counter);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut state.notes, empty);
        !state.closed
    }

    /// Whether the end has come.
    pub fn is_closed(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed
    }

    pub fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    fn push(&self, connection: u64, packet: PadPacket) {
        let mut first = false;
        self.change(|state| {
            if state.connection != connection {
                return;
            }
            if let Some(Note::Packet(last)) = state.notes.back_mut()
                && supersedes(&packet, last)
            {
                *last = packet;
            } else if state.notes.len() < CAPACITY {
                state.notes.push_back(Note::Packet(packet));
            } else {
                state.dropped += 1;
                first = state.dropped == 1;
                state.settle(packet);
            }
        });
        if first {
            tracing::warn!(
                "gamepad input comes faster than the kernel takes it; what does not fit is dropped"
            );
        }
    }

    fn release(&self, connection: u64) {
        self.change(|state| {
            if state.connection == connection {
                state.notes.push_back(Note::Release);
            }
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        // Only an overflowing counter could make it fail, and that one wakes too.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        result
    }
}

/// Whether a packet makes the one before it needless: a newer position with the same buttons, a newer sample.
fn supersedes(new: &PadPacket, old: &PadPacket) -> bool {
    match (new, old) {
        (PadPacket::State(new), PadPacket::State(old)) => {
            (new.controller, new.active_mask, new.buttons) == (old.controller, old.active_mask, old.buttons)
                && !edge(new.left_trigger, old.left_trigger)
                && !edge(new.right_trigger, old.right_trigger)
        }
        (PadPacket::Motion(new), PadPacket::Motion(old)) => {
            (new.controller, new.sensor) == (old.controller, old.sensor)
        }
        _ => false,
    }
}

/// Whether a trigger changes between free and pulled, which games may take for a button.
fn edge(new: u8, old: u8) -> bool {
    (new == 0) != (old == 0) || (new >= 0x80) != (old >= 0x80)
}

/// The way in for one connection of a client.
pub struct PadInput {
    inbox: Arc<Inbox>,
    connection: u64,
    /// A bit per gamepad of which something is held.
    held: u16,
    /// A finger or a motion sensor's sample came since the last release. Whether the finger was lifted and the hand is
    /// still is not followed: to let go once too often harms nothing.
    moved: bool,
}

impl PadInput {
    /// Takes a packet if it concerns a gamepad; false if not. Never waits.
    pub fn handle(&mut self, packet: &InputPacket) -> bool {
        let Some(packet) = PadPacket::of(packet) else { return false };
        if let PadPacket::State(state) = &packet
            && state.controller < 16
        {
            let bit = 1 << state.controller;
            self.held = if is_neutral(state) { self.held & !bit } else { self.held | bit };
        }
        self.moved |= matches!(packet, PadPacket::Touch(_) | PadPacket::Motion(_));
        self.inbox.push(self.connection, packet);
        true
    }

    /// Whether a button, stick or trigger of any gamepad is held, or may still be touched or turned.
    pub fn holds_anything(&self) -> bool {
        self.held != 0 || self.moved
    }

    /// Lets go of everything: what a client that is gone cannot do itself.
    pub fn release_all(&mut self) {
        self.held = 0;
        self.moved = false;
        self.inbox.release(self.connection);
    }
}

impl std::fmt::Debug for PadInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PadInput").field("held", &self.held).finish_non_exhaustive()
    }
}

fn is_neutral(state: &ControllerState) -> bool {
    !state.is_present()
        || (state.buttons.bits() == 0
            && (state.left_trigger, state.right_trigger) == (0, 0)
            && (state.left_stick, state.right_stick) == ((0, 0), (0, 0)))
}

#[cfg(test)]
#[path = "inbox_tests.rs"]
mod tests;
