//! One session's connection to PipeWire (`docs/design/audio.md`).

mod capture;
mod connection;
mod desk;
mod moves;
mod survey;

pub use survey::{Survey, survey};

use crate::channels::Channels;
use crate::inbox::Inbox;
use crate::packets::{PacketError, PacketSettings, Packets};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Names of sinks made for sessions begin so.
pub const SINK_PREFIX: &str = "lumen-sink-";
/// Between two tries to reach PipeWire.
const RETRY: Duration = Duration::from_secs(1);

/// How a session's sound is had.
#[derive(Clone, Debug)]
pub struct SoundConfig {
    /// Where PipeWire's socket `pipewire-0` is; what the environment says when absent.
    pub runtime_dir: Option<PathBuf>,
    /// A sink of this name ([`SINK_PREFIX`] and something of its own) and with these channels takes the sound, so that
    /// the room stays silent; without it the default sink is listened to.
    pub sink: Option<(String, Channels)>,
}

/// What is known of a session's sound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SoundReport {
    /// PipeWire is connected.
    pub connected: bool,
    /// The sink that is captured; none when there is none.
    pub source: Option<String>,
    /// The sink made for the session is there.
    pub own_sink: bool,
    /// Streams of other programs that were moved to it.
    pub moved: usize,
    /// The capture runs: PipeWire hands over sound.
    pub flowing: bool,
    /// Why there is no sound, if there is none.
    pub problem: Option<String>,
}

/// What the owner wants of the thread.
#[derive(Clone, Default)]
pub(crate) struct Wish {
    capture: Option<(Channels, Arc<Inbox>)>,
    quit: bool,
}

/// What owner and thread share.
pub(crate) struct Office {
    wish: Mutex<Wish>,
    report: Mutex<SoundReport>,
    changed: Condvar,
    bell: OwnedFd,
}

impl Office {
    fn wish(&self) -> Wish {
        self.wish.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ask(&self, change: impl FnOnce(&mut Wish)) {
        change(&mut self.wish.lock().unwrap_or_else(PoisonError::into_inner));
        // The counter is full only when the bell rings already.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    /// Readable when a wish changed.
    fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// The bell is silent until the next change.
    fn answer(&self) {
        let _ = rustix::io::read(&self.bell, &mut [0u8; 8]);
    }

    fn lock(&self) -> MutexGuard<'_, SoundReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: impl FnOnce(&mut SoundReport)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

/// One session's sound. Dropping it takes everything back: moved streams, then the sink.
pub struct Sound {
    office: Arc<Office>,
    config: SoundConfig,
    thread: Option<JoinHandle<()>>,
}

impl Sound {
    /// Starts the thread, which connects to PipeWire and makes the sink; when there is no PipeWire it keeps trying.
    ///
    /// # Errors
    /// The system has no thread or descriptor left.
    pub fn start(config: SoundConfig) -> std::io::Result<Self> {
        let office = Arc::new(Office {
            wish: Mutex::default(),
            report: Mutex::default(),
            changed: Condvar::new(),
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        });
        let (shared, own) = (office.clone(), config.clone());
        let thread =
            std::thread::Builder::new().name("lumen-sound".into()).spawn(move || run(&own, &shared))?;
        Ok(Self { office, config, thread: Some(thread) })
    }

    /// Waits until the session's sink is there, so that programs that are started next find it; false when it is not
    /// there in time or none is wanted.
    pub fn wait_for_sink(&self, limit: Duration) -> bool {
        if self.config.sink.is_none() {
            return false;
        }
        let report = self.office.lock();
        // Without PipeWire there is nothing to wait for.
        let waiting = |report: &mut SoundReport| !report.own_sink && report.problem.is_none();
        let (report, _) = self
            .office
            .changed
            .wait_timeout_while(report, limit, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        report.own_sink
    }

    /// What programs started for this session get in their environment, so that they play to its sink.
    pub fn environment(&self) -> Vec<(String, String)> {
        let Some((name, _)) = &self.config.sink else { return Vec::new() };
        ["PIPEWIRE_NODE", "PULSE_SINK"].map(|key| (key.to_owned(), name.clone())).into()
    }

    /// Name and channels of the session's sink.
    pub fn sink(&self) -> Option<(&str, Channels)> {
        self.config.sink.as_ref().map(|(name, channels)| (name.as_str(), *channels))
    }

    /// Begins to capture, and moves what plays to the session's sink, until the answer is dropped. One at a time.
    pub fn capture(&self, channels: Channels) -> Capture {
        let inbox = Arc::new(Inbox::new(channels.count()));
        self.office.ask(|wish| wish.capture = Some((channels, inbox.clone())));
        Capture { office: self.office.clone(), inbox }
    }

    /// What is known.
    pub fn report(&self) -> SoundReport {
        self.office.lock().clone()
    }
}

impl Drop for Sound {
    fn drop(&mut self) {
        self.office.ask(|wish| wish.quit = true);
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by its thread.
            let _ = thread.join();
        }
    }
}

/// A running capture; ends when dropped.
pub struct Capture {
    office: Arc<Office>,
    inbox: Arc<Inbox>,
}

impl Capture {
    /// Makes packets of what is captured from now on.
    ///
    /// # Errors
    /// [`PacketError`].
    pub fn packets(
        &self,
        settings: PacketSettings,
        send: impl FnMut(&[u8]) + Send + 'static,
    ) -> Result<Packets, PacketError> {
        Packets::start(settings, self.inbox.clone(), send)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.office.ask(|wish| {
            // Another one may have begun.
            wish.capture.take_if(|(_, inbox)| Arc::ptr_eq(inbox, &self.inbox));
        });
    }
}

fn run(config: &SoundConfig, office: &Office) {
    let mut said = None;
    while !office.wish().quit {
        let Err(cause) = connection::serve(config, office, &mut said) else { return };
        if said.as_ref() != Some(&cause) {
            tracing::warn!(%cause, "no sound: PipeWire is not there; it is tried again every second, clients get silence");
        }
        said = Some(cause.clone());
        office.tell(|report| {
            *report = SoundReport { problem: Some(cause), ..SoundReport::default() };
        });
        rest(office);
    }
}

/// Until it is time to try again, or a wish changes.
fn rest(office: &Office) {
    let until = lumen_media::clock::now() + RETRY;
    loop {
        let left = until.since(lumen_media::clock::now());
        if left.is_zero() || office.wish().quit {
            return;
        }
        let limit = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let _ = poll(&mut [PollFd::new(&office.bell, PollFlags::IN)], Some(&limit));
        office.answer();
    }
}
