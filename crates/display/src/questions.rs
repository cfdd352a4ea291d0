//! Questions that a desktop asks a person on the host's behalf.

use std::sync::Arc;
use tokio::sync::watch;

/// Whether a person's answer is still of use. Clones share one state.
#[derive(Clone, Debug)]
pub struct Questions {
    withdrawn: Arc<watch::Sender<bool>>,
}

impl Default for Questions {
    fn default() -> Self {
        Self { withdrawn: Arc::new(watch::Sender::new(false)) }
    }
}

impl Questions {
    /// Takes open questions back and asks no new ones: whoever waits for an answer fails at once.
    pub fn withdraw(&self) {
        self.withdrawn.send_replace(true);
    }

    /// Ends when they are withdrawn.
    pub(crate) async fn withdrawn(&self) {
        // No error: the sender lives in `self`.
        let _ = self.withdrawn.subscribe().wait_for(|withdrawn| *withdrawn).await;
    }
}
