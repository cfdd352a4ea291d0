//! Kwin as a backend.

mod link;
mod protocol;

use crate::backend::{Backend, Finding};
use crate::{DisplayConfig, DisplayKind};
use lumen_media::{DisplayError, VirtualDisplay};

pub(crate) const BACKEND: Backend = Backend { kind: DisplayKind::Kwin, look, open, clean_up };

fn look(_config: &DisplayConfig) -> Finding {
    Finding::absent(DisplayKind::Kwin)
}

fn open(_config: &DisplayConfig) -> Result<Box<dyn VirtualDisplay>, DisplayError> {
    Err(DisplayError::Absent { backend: "kwin", looked_for: String::new() })
}

fn clean_up(_config: &DisplayConfig) {}
