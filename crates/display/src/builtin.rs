//! The built-in compositor as a backend.

use crate::DisplayConfig;
use lumen_compositor::{BuiltinConfig, BuiltinDisplay};
use lumen_media::{DisplayError, VirtualDisplay};

pub(crate) fn open(config: &DisplayConfig) -> Result<Box<dyn VirtualDisplay>, DisplayError> {
    Ok(Box::new(BuiltinDisplay::new(BuiltinConfig::new(&config.runtime_dir))?))
}
