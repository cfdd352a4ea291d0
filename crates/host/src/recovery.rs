//! Making an output anew after its desktop lost it, without holding anybody up (`docs/design/outputs.md`).

use crate::output::{Output, Unopened};
use crate::runtime::Work;
use crate::stream::{PictureSettings, vigil};
use crate::supervisor::Shared;
use lumen_gamestream::session::SessionId;
use lumen_media::{Timestamp, clock};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// From the loss to the verdict. Clients are promised an answer within five seconds; the rest is for telling them.
pub const LIMIT: Duration = Duration::from_millis(4500);
/// How long the end of a contained app is waited for once its picture is gone.
pub const CONTAINED_LIMIT: Duration = Duration::from_secs(2);
/// Between two tries: a desktop that starts takes a second or more, one that is asked too often takes longer.
const PAUSE: Duration = Duration::from_millis(300);

/// A recovery under way. Dropping it abandons it: what its thread still makes is dropped.
pub struct Recovery {
    /// Whose picture it is.
    pub session: SessionId,
    /// When it has failed.
    pub deadline: Timestamp,
    /// The verdict was given.
    pub failed: bool,
    abandoned: Arc<Abandoned>,
}

#[derive(Default)]
struct Abandoned {
    flag: Mutex<bool>,
    changed: Condvar,
}

impl Abandoned {
    fn is_set(&self) -> bool {
        *self.flag.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when it is set before `pause` is over.
    fn wait(&self, pause: Duration) -> bool {
        let flag = self.flag.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(flag, pause, |abandoned| !*abandoned);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Recovery {
    /// Waits for `limit` without doing anything: the verdict is somebody else's.
    pub fn idle(session: SessionId, limit: Duration) -> Self {
        Self { session, deadline: clock::now() + limit, failed: false, abandoned: Arc::default() }
    }

    /// Drops `lost` and makes another of the same mode, on a thread of its own. The new one is handed to the session's
    /// runtime.
    pub fn start(session: SessionId, lost: Option<Output>, hung: bool, shared: &Arc<Shared>) -> Self {
        // To notice that a desktop hangs took of the time already.
        let noticed = vigil::SILENCE + PictureSettings::new(&shared.config()).answer;
        let limit = if hung { LIMIT.saturating_sub(noticed) } else { LIMIT };
        let recovery = Self::idle(session, limit);
        let Some(lost) = lost else { return recovery };
        let (abandoned, deadline) = (recovery.abandoned.clone(), recovery.deadline);
        let host = shared.clone();
        shared.spawn("lumen-recover", move || {
            let Some(output) = remake(lost, deadline, &abandoned, &host) else { return };
            match host.runtime_of(session) {
                Some(runtime) if !abandoned.is_set() => {
                    runtime.push(Work::Recovered(session, Box::new(output)));
                    runtime.work(&host);
                }
                _ => tracing::debug!(%session, "an output came back too late"),
            }
        });
        recovery
    }
}

impl Drop for Recovery {
    fn drop(&mut self) {
        *self.abandoned.flag.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.abandoned.changed.notify_all();
    }
}

fn remake(lost: Output, deadline: Timestamp, abandoned: &Abandoned, shared: &Shared) -> Option<Output> {
    let (mode, path, launch) = (lost.asked, lost.path.clone(), lost.launch.clone());
    // First: some desktops know their outputs by name.
    drop(lost);
    let mut said = String::new();
    while !abandoned.is_set() && clock::now() < deadline {
        let display = shared.display();
        let made = Unopened::make(display, mode, launch.clone(), Some(&path));
        // A desktop that answers late would get a second reader beside that of the next launch for a moment, which the
        // portal of wlroots does not always survive.
        if abandoned.is_set() || clock::now() >= deadline {
            break;
        }
        match made.and_then(|output| output.open(display, &shared.capture_config())) {
            Ok(output) => return Some(output),
            // Once: that the desktop is locked, say, or gone.
            Err(error) => {
                let cause = error.to_string();
                if cause != said {
                    tracing::info!(cause, "the output is not back yet");
                    said = cause;
                }
            }
        }
        if abandoned.wait(PAUSE) {
            break;
        }
    }
    None
}
