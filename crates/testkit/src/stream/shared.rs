//! What the threads of a stream share with its owner.
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use super::{Ending, Statistics, Timings, WaitError};
use crate::audio::{AudioStatistics, OpusPacket};
use crate::clock;
use crate::control::{ClientMessage, HostMessage};
use crate::video::{Frame, VideoStatistics, Violation};

/// Messages and audio packets kept for the test; the oldest is dropped.
const QUEUE_LIMIT: usize = 256;
/// Commands waiting for the control thread.
const COMMAND_LIMIT: usize = 65_536;

/// How the threads are told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Go on.
    Run,
    /// Say goodbye.
    Leave,
    /// Close the sockets.
    Vanish,
}

/// Everything that the owner can see, behind one lock that nobody holds while waiting for the network.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub frames: VecDeque<Frame>,
    pub frame_limit: usize,
    pub messages: VecDeque<HostMessage>,
    pub audio_packets: VecDeque<OpusPacket>,
    pub commands: VecDeque<ClientMessage>,
    pub ending: Option<Ending>,
    pub linger: Duration,
    pub timings: Timings,
    pub video: VideoStatistics,
    pub audio: AudioStatistics,
    pub violations: Vec<Violation>,
    pub host_messages: u64,
    pub control_rejected: u64,
    pub idr_requests: u64,
    pub invalidation_requests: u64,
    pub queue_dropped: u64,
    pub control_round_trip: Duration,
}

impl State {
    /// The counters, without the network emulator's.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            timings: self.timings,
            video: self.video,
            audio: self.audio,
            host_messages: self.host_messages,
            control_rejected: self.control_rejected,
            idr_requests: self.idr_requests,
            invalidation_requests: self.invalidation_requests,
            queue_dropped: self.queue_dropped,
            control_round_trip: self.control_round_trip,
            network: None,
        }
    }

    /// Queues a frame, dropping the oldest when nobody takes them.
    pub fn push_frame(&mut self, frame: Frame) {
        if self.frames.len() >= self.frame_limit {
            self.frames.pop_front();
            self.queue_dropped += 1;
        }
        self.frames.push_back(frame);
    }

    /// Queues a message of the host.
    pub fn push_message(&mut self, message: HostMessage) {
        bounded(&mut self.messages, message);
    }

    /// Queues an audio packet.
    pub fn push_audio(&mut self, packet: OpusPacket) {
        bounded(&mut self.audio_packets, packet);
    }
}

fn bounded<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() >= QUEUE_LIMIT {
        queue.pop_front();
    }
    queue.push_back(item);
}

/// Shared by the owner and three threads.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    stop: AtomicU8,
    /// The video thread shall open a new socket.
    pub roam: AtomicBool,
    /// Wakes the control thread for commands and for the end.
    pub wake: OwnedFd,
}

impl Shared {
    pub fn new(frame_limit: usize, timings: Timings) -> std::io::Result<Self> {
        let state = State { frame_limit, timings, ..State::default() };
        Ok(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            stop: AtomicU8::new(0),
            roam: AtomicBool::new(false),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// The state; a panic of another thread does not hide it.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and tells those who wait.
    pub fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// Queues a message for the control thread.
    pub fn command(&self, message: ClientMessage) {
        {
            let mut state = self.state();
            if state.commands.len() >= COMMAND_LIMIT {
                state.commands.pop_front();
            }
            state.commands.push_back(message);
        }
        self.wake_control();
    }

    /// The stream is over because of the host or the network; the first reason stays. Threads say goodbye.
    pub fn end(&self, ending: Ending) {
        self.update(|state| {
            state.ending.get_or_insert(ending);
        });
        self.stop(Stop::Leave);
    }

    /// The owner leaves. Gives the ending that stands.
    pub fn leave(&self, linger: Duration) -> Ending {
        let mut standing = Ending::Left;
        self.update(|state| {
            state.linger = linger;
            standing = *state.ending.get_or_insert(Ending::Left);
        });
        self.stop(Stop::Leave);
        standing
    }

    /// Tells the threads to end.
    pub fn stop(&self, stop: Stop) {
        self.stop.store(stop as u8, Ordering::Release);
        self.changed.notify_all();
        self.wake_control();
    }

    pub fn stopping(&self) -> Stop {
        match self.stop.load(Ordering::Acquire) {
            0 => Stop::Run,
            1 => Stop::Leave,
            _ => Stop::Vanish,
        }
    }

    /// Waits until `ready` gives something, the stream is over, or time is up.
    pub fn wait_for<T>(
        &self,
        timeout: Duration,
        mut ready: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<T, WaitError> {
        let deadline = clock::now() + timeout;
        let mut state = self.state();
        loop {
            if let Some(item) = ready(&mut state) {
                return Ok(item);
            }
            if let Some(ending) = state.ending {
                return Err(WaitError::Ended(ending));
            }
            let left = deadline.since(clock::now());
            if left.is_zero() {
                return Err(WaitError::Timeout);
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until the condition holds; false when time is up or the stream is over without it.
    pub fn wait_until(&self, timeout: Duration, mut holds: impl FnMut(&State) -> bool) -> bool {
        self.wait_for(timeout, |state| holds(state).then_some(())).is_ok()
    }

    fn wake_control(&self) {
        // A full counter wakes as well.
        rustix::io::write(&self.wake, &1u64.to_ne_bytes()).ok();
    }
}
