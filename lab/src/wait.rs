//! Waiting for other programs: by looking, until a deadline.

use crate::LabError;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Between two looks: short against a compositor's start (70 ms for the quickest), long against the cost of a look.
const INTERVAL: Duration = Duration::from_millis(10);

/// The factor for every deadline: `LUMEN_LAB_PATIENCE`, else 20 in the lab's virtual machine, which emulates its
/// processor, else 1.
pub fn patience() -> u32 {
    static PATIENCE: OnceLock<u32> = OnceLock::new();
    *PATIENCE.get_or_init(|| {
        #[expect(clippy::disallowed_methods, reason = "the lab has no configuration but this factor")]
        let told = std::env::var("LUMEN_LAB_PATIENCE").ok();
        told.and_then(|text| text.parse().ok()).unwrap_or(if crate::in_vm() { 20 } else { 1 }).max(1)
    })
}

/// `limit` times the machine's [`patience`].
pub fn patient(limit: Duration) -> Duration {
    limit * patience()
}

/// Looks until `look` finds something, at most for `limit` times the machine's [`patience`].
///
/// # Errors
/// [`LabError::Timeout`] naming `waited_for`.
pub fn wait_for<T>(
    waited_for: &str,
    limit: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Result<T, LabError> {
    let limit = patient(limit);
    let end = now() + limit;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if now() >= end {
            return Err(LabError::Timeout { waited_for: waited_for.to_owned(), limit, log: String::new() });
        }
        std::thread::sleep(INTERVAL);
    }
}

/// The clock of deadlines.
#[expect(clippy::disallowed_methods, reason = "the lab drives real programs, in real time")]
fn now() -> Instant {
    Instant::now()
}
