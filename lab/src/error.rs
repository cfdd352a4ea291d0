use std::path::PathBuf;
use std::time::Duration;

/// Why a piece of the lab did not do what a test asked for.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A program is not installed.
    #[error("{0} is not installed; the lab's root file system has it (lab/rootfs.sh, lab/enter)")]
    Missing(String),
    /// A program could not be started.
    #[error("{program} does not start: {cause}")]
    Spawn {
        /// What was started.
        program: String,
        /// Why not.
        cause: std::io::Error,
    },
    /// A program ended before it was ready.
    #[error("{name} ended ({status}) before {waited_for}; its log ends with:\n{log}")]
    Ended {
        /// The process.
        name: String,
        /// How it ended.
        status: String,
        /// What was waited for.
        waited_for: String,
        /// The last lines of its log.
        log: String,
    },
    /// Nothing came in time.
    #[error("no {waited_for} within {limit:?}{log}")]
    Timeout {
        /// What was waited for.
        waited_for: String,
        /// How long.
        limit: Duration,
        /// The last lines of the log of the process that should have done it, or nothing.
        log: String,
    },
    /// A file or folder of the session.
    #[error("{path}: {cause}")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A compositor answered something else than agreed.
    #[error("{program} answered: {answer}")]
    Answer {
        /// Who.
        program: String,
        /// What.
        answer: String,
    },
    /// The session's bus.
    #[error("bus of the session: {0}")]
    Bus(#[from] zbus::Error),
}

impl LabError {
    /// For `map_err` on file operations at `path`.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |cause| Self::File { path, cause }
    }
}
