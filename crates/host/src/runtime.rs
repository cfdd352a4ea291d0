//! What one client's session does outside of the table: effects are queued in the table's order and carried out under the
//! client's own lock.

use crate::event::Event;
use crate::output::Output;
use crate::resources::{GamepadsView, Hurry, Resources};
use crate::supervisor::Shared;
use lumen_gamestream::api::ApiError;
use lumen_gamestream::session::{AppRun, ClientId, Effect, SessionId};
use lumen_media::display::SourceReport;
use lumen_media::{InputReport, Mode, PathReport, Timestamp};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

/// When to look again at a client's output while its resources are in use.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// Something to carry out under the client's lock.
pub enum Work {
    /// An effect of the table.
    Effect(Effect),
    /// An app and all it started are gone.
    AppEnded(AppRun),
    /// A stream's pictures ended.
    Lost(SessionId, bool),
    /// The first access unit of a source was sent.
    Showing(SessionId),
    /// The client was unpaired.
    Evicted,
    /// An output was made again.
    Recovered(SessionId, Box<Output>),
}

/// One client's runtime. What is to be done is queued while the table is locked, so that it keeps its order, and carried
/// out one after another under a lock of their own, so that other clients do not wait for it.
pub struct Runtime {
    client: ClientId,
    queue: Mutex<VecDeque<Work>>,
    resources: Mutex<Resources>,
}

/// What the status shows of a runtime.
pub struct RuntimeView {
    /// The output.
    pub output: Option<OutputView>,
    /// The stream's counters.
    pub stats: Option<crate::stream::stats::Snapshot>,
    /// Pictures left out because they could not be converted.
    pub misfits: u64,
    /// Pictures that were fitted into the stream's size.
    pub scaled: u64,
    /// The stream's sound.
    pub sound: Option<crate::sound::SoundView>,
    /// The client's gamepads; `None` without a stream, or when there shall be none.
    pub gamepads: Option<GamepadsView>,
    /// The output waits for its client to come back.
    pub lingering: bool,
    /// The output's desktop lost it, and another one is being made.
    pub recovering: bool,
}

/// What the status shows of an output.
pub struct OutputView {
    /// The mode it really has.
    pub mode: Mode,
    /// How it came to be.
    pub path: PathReport,
    /// How input reaches it.
    pub input: InputReport,
    /// What its capture says about itself.
    pub capture: SourceReport,
}

impl Runtime {
    /// Without resources.
    pub fn new(client: ClientId) -> Self {
        Self { client, queue: Mutex::default(), resources: Mutex::default() }
    }

    /// Queues work; for effects the caller holds the table's lock.
    pub fn push(&self, work: Work) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(work);
    }

    /// Carries out what is queued; waits for whoever uses the resources.
    pub fn work(&self, shared: &Arc<Shared>) {
        let mut resources = self.lock();
        loop {
            self.carry_out(resources, Hurry::None, shared);
            // What came after the last look, from somebody who did not wait.
            if !self.has_work() {
                return;
            }
            resources = match self.try_lock() {
                Some(resources) => resources,
                None => return,
            };
        }
    }

    /// Carries out what is queued, unless the resources are in use: then their user does it, or [`Runtime::look`]. What
    /// starts something, which may take a desktop many seconds, is left to the request that wants it: it is about to
    /// [`Runtime::work`].
    pub fn kick(&self, shared: &Arc<Shared>) {
        while self.has_work() {
            let Some(resources) = self.try_lock() else { return };
            if !self.carry_out(resources, Hurry::Supervisor, shared) {
                return;
            }
        }
    }

    /// False when something is left to a request's thread.
    fn carry_out(
        &self,
        mut resources: MutexGuard<'_, Resources>,
        hurry: Hurry,
        shared: &Arc<Shared>,
    ) -> bool {
        let mut all = true;
        loop {
            // Not in the loop's head: the lock must not be held while work is carried out.
            let next = {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                let starts = queue.front().is_some_and(Work::starts_something);
                if starts && hurry == Hurry::Supervisor {
                    all = false;
                    None
                } else {
                    queue.pop_front()
                }
            };
            let Some(work) = next else { break };
            tracing::debug!(client = %self.client, ?work, "effect");
            resources.carry_out(work, self.client, hurry, shared);
        }
        let timed = resources.next_deadline().is_some();
        drop(resources);
        if timed {
            // Only now: whoever looks must find the resources free.
            shared.event(Event::LookAgain);
        }
        all
    }

    /// Why a run could not start, if it could not.
    pub fn app_failure(&self, run: AppRun) -> Option<ApiError> {
        self.lock().app_failure(run)
    }

    /// Why a stream could not start, if it could not.
    pub fn take_stream_failure(&self, session: SessionId) -> Option<ApiError> {
        self.lock().take_stream_failure(session)
    }

    /// Does what is due; says when to ask again, and whether anything is left to keep. Never waits.
    pub fn look(&self, now: Timestamp, shared: &Arc<Shared>) -> (Option<Timestamp>, bool) {
        self.kick(shared);
        // Busy means in use; another look is cheap.
        let Some(mut resources) = self.try_lock() else { return (Some(now + BUSY_PAUSE), true) };
        resources.let_go(now, self.client, shared);
        let again = if self.has_work() { Some(now + BUSY_PAUSE) } else { resources.next_deadline() };
        (again, !resources.is_empty())
    }

    /// For the status; `None` while work is being carried out.
    pub fn view(&self) -> Option<RuntimeView> {
        Some(self.try_lock()?.view())
    }

    /// Drops everything: the host stops.
    pub fn clear(&self) {
        let resources = std::mem::take(&mut *self.lock());
        drop(resources);
    }

    fn has_work(&self) -> bool {
        !self.queue.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, Resources>> {
        match self.resources.try_lock() {
            Ok(resources) => Some(resources),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Resources> {
        self.resources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    /// Whether it may make an output, and so wait for a desktop.
    fn starts_something(&self) -> bool {
        matches!(self, Self::Effect(Effect::StartApp { .. } | Effect::StartStream { .. }))
    }
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Effect(effect) => effect.fmt(f),
            Self::Evicted => f.write_str("Evicted"),
            Self::AppEnded(run) => f.debug_tuple("AppEnded").field(run).finish(),
            Self::Lost(session, hung) => f.debug_tuple("Lost").field(session).field(hung).finish(),
            Self::Showing(session) => f.debug_tuple("Showing").field(session).finish(),
            Self::Recovered(session, _) => f.debug_tuple("Recovered").field(session).finish(),
        }
    }
}
