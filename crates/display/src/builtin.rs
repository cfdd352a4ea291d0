//! The built-in compositor as a backend.

use crate::DisplayConfig;
use lumen_compositor::{BuiltinConfig, BuiltinDisplay};
use lumen_media::{DisplayError, VirtualDisplay};

pub(crate) fn open(config: &DisplayConfig) -> Result<Box<dyn VirtualDisplay>, DisplayError> {
    let mut builtin = BuiltinConfig::new(&config.runtime_dir);
    builtin.keyboard_layout = config.own_layout().to_owned();
    builtin.keyboard_variant.clone_from(&config.keyboard_variant);
    Ok(Box::new(BuiltinDisplay::new(builtin)?))
}
