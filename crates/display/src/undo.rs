//! Undoing later what a desktop did not undo at once: it is busy, or hangs.

use std::time::Duration;

/// How long after a change that a desktop did not take back it is asked again, and how often: 10 minutes.
pub(crate) const RETRY: Duration = Duration::from_secs(2);
pub(crate) const RETRIES: u32 = 300;

/// Calls `is_over` again and again, on a thread of its own, until it is true or the host ends. What is still not undone
/// then, the journal tells the next start.
///
/// `left` says what stays, for the user to read: «the layout of KWin's outputs stays changed».
pub(crate) fn later(left: String, mut is_over: impl FnMut() -> bool + Send + 'static) {
    let thread = std::thread::Builder::new().name("lumen-undo".into());
    let stays = left.clone();
    let tries = move || {
        for _ in 0..RETRIES {
            std::thread::sleep(RETRY);
            if is_over() {
                return;
            }
        }
        tracing::warn!("{left} until the next start");
    };
    if let Err(error) = thread.spawn(tries) {
        tracing::warn!(%error, "{stays} until the next start");
    }
}
