//! What happened to connections since the start.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What happened to connections since the start, of both ports together. Every connection counts once in `accepted` or
/// `refused`; the others say how accepted ones ended badly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WebCounts {
    /// Connections that got a place.
    pub accepted: u64,
    /// Connections closed at once because of the limits.
    pub refused: u64,
    /// Connections closed because the peer was slow: with its handshake, its request or the taking of an answer. One
    /// that is closed for idling after an answer is none of them.
    pub slow: u64,
    /// TLS handshakes that failed, port probes among them.
    pub bad_handshakes: u64,
    /// Handlers that panicked.
    pub panics: u64,
}

/// The live [`WebCounts`], shared by all connections.
#[derive(Clone, Default)]
pub(crate) struct Counters(Arc<Live>);

#[derive(Default)]
struct Live {
    accepted: AtomicU64,
    refused: AtomicU64,
    slow: AtomicU64,
    bad_handshakes: AtomicU64,
    panics: AtomicU64,
}

/// One more.
fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub fn accepted(&self) {
        count(&self.0.accepted);
    }

    pub fn refused(&self) {
        count(&self.0.refused);
    }

    pub fn slow(&self) {
        count(&self.0.slow);
    }

    pub fn bad_handshake(&self) {
        count(&self.0.bad_handshakes);
    }

    pub fn panic(&self) {
        count(&self.0.panics);
    }

    pub fn snapshot(&self) -> WebCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WebCounts {
            accepted: read(&self.0.accepted),
            refused: read(&self.0.refused),
            slow: read(&self.0.slow),
            bad_handshakes: read(&self.0.bad_handshakes),
            panics: read(&self.0.panics),
        }
    }
}
