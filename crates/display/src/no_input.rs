//! The input sink of desktops that this version cannot yet reach with input.

use lumen_media::{InputEvent, InputSink};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Drops everything, and says so once.
#[derive(Debug)]
pub(crate) struct NoInput {
    backend: &'static str,
    said: AtomicBool,
}

impl NoInput {
    pub fn of(backend: &'static str) -> Arc<dyn InputSink> {
        Arc::new(Self { backend, said: AtomicBool::new(false) })
    }
}

impl InputSink for NoInput {
    fn send(&self, _event: InputEvent) {
        if !self.said.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                backend = self.backend,
                "keyboard and pointer do not reach this desktop in this version: it is shown, but cannot be used from the client"
            );
        }
    }
}
