//! The seam behind which every compositor stands.

use crate::slot::{Receiver, Wait, Waker};
use crate::{Frame, InputSink, Mode, Timestamp};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where the pictures of a virtual output come from. All but the first are opened by `lumen-capture`.
pub enum OutputSource {
    /// Pictures handed over in this process (built-in compositor, test pattern).
    Frames(Box<dyn FrameSource>),
    /// A PipeWire video node.
    PipeWire(PipeWireTarget),
    /// An output of a Wayland compositor, captured by its own copy protocols.
    Wayland(WaylandTarget),
}

/// How PipeWire is told which node is meant. The two are matched differently: an id as the connect call's target, a
/// serial as `target.object`; ids are used again, serials never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeTarget {
    /// Global id (portals, Mutter, KWin's `created`, gamescope's log line).
    Id(u32),
    /// `object.serial` (KWin's `serial`).
    Serial(u64),
}

/// Whether the compositor may be asked for a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateRequest {
    /// Ask for 0/1 and any maximum: some compositors die of the question or throttle by whole milliseconds.
    DontAsk,
    /// The mode's rate as the maximum.
    UpTo(Mode),
}

/// A PipeWire video node and how to talk to it.
#[derive(Debug)]
pub struct PipeWireTarget {
    /// A portal's connection; `None` is the default daemon.
    pub remote_fd: Option<OwnedFd>,
    /// The node.
    pub node: NodeTarget,
    /// Size in pixels that is preferred in the negotiation; where the consumer defines the monitor, the size it gets.
    pub size: Option<(u32, u32)>,
    /// What to ask about the rate.
    pub rate: RateRequest,
    /// Whether the compositor leaves the pointer to us, as metadata of the buffers.
    pub cursor_metadata: bool,
}

/// An output of a Wayland compositor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaylandTarget {
    /// The compositor's socket, absolute.
    pub socket: PathBuf,
    /// `wl_output.name`.
    pub output: String,
}

/// What a frame source can say about itself, for the log and the status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceReport {
    /// How pictures get here: `in-process`, `pipewire`, `ext-image-copy-capture`, `wlr-screencopy`, …
    pub path: &'static str,
    /// Negotiated format in words, such as `BGRx 1264x720, MemFd`; empty before the first negotiation.
    pub format: String,
    /// Pictures that arrived.
    pub arrived: u64,
    /// Buffers that the producer marked as corrupted, or that could not be read.
    pub dropped: u64,
    /// How often the format was negotiated.
    pub negotiations: u32,
    /// Why the best path was not taken; empty when it was.
    pub fallback: String,
    /// Nobody watches, and whoever makes the pictures was told so.
    pub asleep: bool,
}

/// Hands out the newest picture of an output. Owned by the host; a stream borrows it and gives it back.
pub trait FrameSource: Send {
    /// The slot in which the newest picture lies; it is closed once the output is gone.
    fn frames(&self) -> &Receiver<Frame>;

    /// The newest picture since the last call, if there is one.
    fn try_latest(&mut self) -> Option<Frame> {
        self.frames().try_take()
    }

    /// Waits for the next picture until `deadline`; for ever when there is none.
    fn wait_latest(&mut self, deadline: Option<Timestamp>) -> Wait<Frame> {
        self.frames().wait(deadline)
    }

    /// A handle that ends [`FrameSource::wait_latest`] early.
    fn waker(&self) -> Waker<Frame> {
        self.frames().waker()
    }

    /// Whether the output is gone and nothing will come any more.
    fn is_closed(&self) -> bool {
        self.frames().is_closed()
    }

    /// How to ask whether the desktop behind the pictures still lives, where that can be asked.
    fn pulse(&self) -> Option<Pulse> {
        None
    }

    /// Between streams nothing is composed or copied. Activation delivers the current picture as a new frame.
    fn set_active(&mut self, active: bool);

    /// What it can say about itself.
    fn report(&self) -> SourceReport {
        SourceReport { path: "in-process", ..SourceReport::default() }
    }
}

/// Asks a desktop for a sign of life: whether it gave one within the limit, for which this blocks at most.
pub type Pulse = Arc<dyn Fn(Duration) -> bool + Send + Sync>;

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
    /// No such desktop runs here.
    #[error(
        "no running {backend} was found ({looked_for}). Start it, or let Lumen choose: display.compositor = \"auto\" and display.source = \"virtual\", or with lumen m0 --source virtual"
    )]
    Absent {
        /// Name of the backend.
        backend: &'static str,
        /// What was looked for.
        looked_for: String,
    },
    /// The desktop is there, but its version or setup cannot do it.
    #[error("{backend} cannot make an output: {cause}. {remedy}")]
    Unsupported {
        /// Name of the backend.
        backend: &'static str,
        /// What is missing.
        cause: String,
        /// What the user can do.
        remedy: String,
    },
    /// The desktop is there, but a permission is missing.
    #[error("{backend} does not let Lumen make an output: {cause}. {remedy}")]
    Forbidden {
        /// Name of the backend.
        backend: &'static str,
        /// What is missing.
        cause: String,
        /// What the user can do.
        remedy: String,
    },
    /// The session is locked and makes no outputs meanwhile.
    #[error(
        "the {backend} session is locked. Unlock it there or by `loginctl unlock-session`, then start the stream again"
    )]
    Locked {
        /// Name of the backend.
        backend: &'static str,
    },
    /// The desktop did not answer.
    #[error(
        "{backend} did not answer within {limit:?} ({waited_for}). Look whether it hangs; its log may tell why"
    )]
    Timeout {
        /// Name of the backend.
        backend: &'static str,
        /// What was waited for.
        waited_for: String,
        /// How long.
        limit: Duration,
    },
    /// The connection to the desktop broke.
    #[error("the connection to {backend} broke: {cause}. Start the stream again when the desktop is back")]
    Gone {
        /// Name of the backend.
        backend: &'static str,
        /// What was seen.
        cause: String,
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

    /// Another output in place of one that its desktop lost, as `lost` says made by the same backend: the desktop may be
    /// coming back, and another one would not show the user's windows.
    ///
    /// # Errors
    /// As [`VirtualDisplay::create`]; worth another try while the desktop may still be starting.
    fn recreate(
        &self,
        lost: &PathReport,
        mode: Mode,
        launch: &AppLaunch,
    ) -> Result<VirtualOutput, DisplayError> {
        let _ = lost;
        self.create(mode, launch)
    }

    /// The pictures of an output that was made in the way of `path` could not be opened, or ended: what is kept for the next
    /// one, such as a session with a portal, may be stale.
    fn distrust(&self, path: &PathReport) {
        let _ = path;
    }

    /// Somebody watches an output that was made in the way of `path`: keeps its desktop awake and unlocked until the
    /// answer is dropped. Returns at once; what cannot be had is logged.
    fn keep_awake(&self, path: &PathReport) -> Option<Box<dyn Send>> {
        let _ = path;
        None
    }
}

/// Changes the mode of a live output in place; returns when the change is made.
pub type SetMode = Box<dyn Fn(Mode) -> Result<(), DisplayError> + Send + Sync>;

/// Which way an output was made, against what was asked for; shown in the log once and in the status always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathReport {
    /// As configured (`auto`, `kwin`, …).
    pub requested: String,
    /// The backend that made it.
    pub effective: String,
    /// Why this one, in words for people.
    pub reason: String,
}

/// An app that runs inside the compositor of its output: whoever made the output has started it already, both end
/// together, and no other output can show it. So nobody starts it again, and while it runs the output is kept and
/// pictures are scaled when another mode is asked for.
pub trait ContainedApp: Send {
    /// Calls `ended` once, from another thread, when the app has ended by itself; at once when it has already. Never
    /// called after [`ContainedApp::terminate`] or the end of the output. A second call replaces the first.
    fn on_end(&self, ended: Box<dyn FnOnce() + Send>);

    /// Asks the app to end, kills what does not, and waits for both, which takes a few seconds at most. To be called
    /// before the pictures' source is dropped: some compositors crash when the viewer leaves first.
    fn terminate(&self);
}

/// A live output. Dropping it removes the output from its compositor.
pub struct VirtualOutput {
    /// Which backend made it and what it could not give (`120 Hz were asked, KWin before 6.6 has 60`); the chooser adds
    /// what was requested.
    pub path: PathReport,
    /// Where its pictures come from.
    pub source: OutputSource,
    /// The mode it really has.
    pub effective_mode: Mode,
    /// How to reach it with input.
    pub input: Arc<dyn InputSink>,
    /// How to ask whether its desktop still lives, where that can be asked.
    pub pulse: Option<Pulse>,
    /// What an app needs in its environment to open there.
    pub env: Vec<(String, String)>,
    /// Changes the mode in place, where the compositor contains its apps and another output would lose them. `None`:
    /// make another output.
    pub set_mode: Option<SetMode>,
    /// It shows what is there anyway: a monitor, somebody else's gamescope. Its capture then lasts as long as the host,
    /// so that nobody is asked again and the producer is left in peace.
    pub lasting: bool,
    /// The app, where the compositor contains it and it runs already.
    pub contained_app: Option<Box<dyn ContainedApp>>,
    /// Keeps the output alive; dropped last.
    pub keepalive: Box<dyn Send>,
}
