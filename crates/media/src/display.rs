//! The seam behind which every compositor stands.

use crate::slot::{Wait, Waker};
use crate::{Frame, InputSink, Mode, Timestamp};
use std::sync::Arc;

/// Where the pictures of a virtual output come from.
pub enum OutputSource {
    /// Pictures handed over in this process (built-in compositor, test pattern).
    Frames(Box<dyn FrameSource>),
}

/// Hands out the newest picture of an output. Owned by the host; a stream borrows it and gives it back.
pub trait FrameSource: Send {
    /// The newest picture since the last call, if there is one.
    fn try_latest(&mut self) -> Option<Frame>;

    /// Waits for the next picture until `deadline`; for ever when there is none.
    fn wait_latest(&mut self, deadline: Option<Timestamp>) -> Wait<Frame>;

    /// A handle that ends [`FrameSource::wait_latest`] early.
    fn waker(&self) -> Waker<Frame>;

    /// Whether the output is gone and nothing will come any more.
    fn is_closed(&self) -> bool;

    /// Between streams nothing is composed or copied. Activation delivers the current picture as a new frame.
    fn set_active(&mut self, active: bool);
}

/// The app that an output is made for. Compositors that contain their app need to know it at creation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppLaunch {
    /// Shown name.
    pub title: String,
    /// Program and arguments; empty for the desktop itself.
    pub command: Vec<String>,
    /// Environment on top of the host's and the output's.
    pub env: Vec<(String, String)>,
}

/// Why an output could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DisplayError {
    /// The runtime directory or a socket in it cannot be written.
    #[error(
        "cannot create a Wayland socket in {dir}: {source}. Make the directory writable or set XDG_RUNTIME_DIR"
    )]
    Socket {
        /// The directory that was tried.
        dir: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another cause, in words that name it and the remedy.
    #[error("{0}")]
    Other(String),
}

/// Makes outputs in one compositor.
pub trait VirtualDisplay: Send + Sync {
    /// Name for logs and the status (`built-in`, `kwin`, …).
    fn name(&self) -> &'static str;

    /// A live output at exactly `mode`. `launch` is for compositors that contain their app.
    ///
    /// # Errors
    /// [`DisplayError`] with cause and remedy.
    fn create(&self, mode: Mode, launch: &AppLaunch) -> Result<VirtualOutput, DisplayError>;
}

/// Changes the mode of a live output in place; returns when the change is made.
pub type SetMode = Box<dyn Fn(Mode) -> Result<(), DisplayError> + Send + Sync>;

/// A live output. Dropping it removes the output from its compositor.
pub struct VirtualOutput {
    /// Where its pictures come from.
    pub source: OutputSource,
    /// The mode it really has.
    pub effective_mode: Mode,
    /// How to reach it with input.
    pub input: Arc<dyn InputSink>,
    /// What an app needs in its environment to open there.
    pub env: Vec<(String, String)>,
    /// Changes the mode in place, where the compositor contains its apps and another output would lose them. `None`:
    /// make another output.
    pub set_mode: Option<SetMode>,
    /// Keeps the output alive; dropped last.
    pub keepalive: Box<dyn Send>,
}
