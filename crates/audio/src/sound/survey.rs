//! What `lumen doctor` wants to know about sound.

use super::connection::look;
use std::path::Path;
use std::time::Duration;

/// PipeWire as it is at the moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// A session manager keeps its notebook there.
    pub session_manager: bool,
    /// Names of sinks.
    pub sinks: Vec<String>,
    /// The default one's name.
    pub default: Option<String>,
}

/// Looks at PipeWire, whose socket is in `runtime_dir`, for at most `limit`.
///
/// # Errors
/// Why it cannot be reached.
pub fn survey(runtime_dir: Option<&Path>, limit: Duration) -> Result<Survey, String> {
    look(runtime_dir, limit)
}
