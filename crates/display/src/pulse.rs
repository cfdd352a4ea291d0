//! Signs of life of compositors.

use lumen_media::display::Pulse;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// How to ask the compositor at `socket` whether it lives; `None` when it cannot be reached even now.
pub(crate) fn of(socket: &Path) -> Option<Pulse> {
    let pulse = Mutex::new(lumen_wayland::Pulse::open(socket).ok()?);
    Some(Arc::new(move |limit| pulse.lock().unwrap_or_else(PoisonError::into_inner).beats(limit)))
}
