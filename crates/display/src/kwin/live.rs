//! A virtual output while it lives: the thread `lumen-kwin` owns its connection, and takes everything back at the end.

use super::facts::{self, Facts};
use super::layout::Layout;
use super::link::{KWIN, Link, Stopped, Until};
use super::obstacle;
use super::outputs::{Applied, Outputs};
use super::protocol::screencast::zkde_screencast_stream_unstable_v1::ZkdeScreencastStreamUnstableV1;
use super::protocol::screencast::zkde_screencast_unstable_v1::ZkdeScreencastUnstableV1;
use crate::journal::{self, Entry};
use crate::process::ProcessId;
use crate::{DisplayConfig, Topology, undo};
use lumen_media::{DisplayError, Mode, NodeTarget, clock};
use rustix::event::{EventfdFlags, eventfd};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use wayland_client::Proxy;

/// How long the making of an output may take.
const LIMIT: Duration = Duration::from_secs(5);
/// How long taking it back may take.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long KWin gets to answer a question on the bus.
const QUESTION: Duration = Duration::from_secs(1);
/// What the journals of all KWins begin with.
const JOURNAL: &str = "kwin-";
/// The rate that KWin gives to every virtual output, in millihertz.
const NATIVE: u32 = 60_000;
/// KWin draws the pointer into the picture: that shows it with every consumer, at the price of a frame per movement,
/// which a stream sends anyway.
const POINTER_EMBEDDED: u32 = 2;
/// A stream learns a new rate from a new size only, and does so with its first picture: an output with another rate than
/// 60 Hz begins this much taller, and its stream is negotiated anew at the right size and rate as soon as it is shown.
const DETOUR: u32 = 16;
/// Modes by CVT have widths that are multiples of this.
const CVT_CELL: u32 = 8;

/// What the journal keeps of one KWin.
#[derive(Serialize, Deserialize)]
struct Record {
    /// The process that listens at its socket; `None` where it cannot be seen.
    kwin: Option<ProcessId>,
    /// The layout without our outputs.
    before: Layout,
}

impl Record {
    /// Whether that KWin ended, by who listens at its socket `now`. One that hangs does not tell.
    fn is_over(&self, now: Option<ProcessId>) -> bool {
        self.kwin.is_some_and(|kwin| now.map_or(!kwin.is_alive(), |now| now != kwin))
    }
}

/// What our outputs changed in one KWin.
#[derive(Default)]
struct Desk {
    /// The layout without our outputs.
    before: Layout,
    entry: Option<Entry>,
    /// Names of our outputs, the newest last.
    live: Vec<String>,
}

/// By socket. Held while outputs are made or taken back: KWin mixes up what happens at once.
static DESKS: Mutex<BTreeMap<PathBuf, Desk>> = Mutex::new(BTreeMap::new());

type Desks = MutexGuard<'static, BTreeMap<PathBuf, Desk>>;

fn desks() -> Desks {
    DESKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the thread made.
#[derive(Debug)]
pub(crate) struct Made {
    /// Of the output, as KWin calls it.
    pub name: String,
    pub node: NodeTarget,
    pub mode: Mode,
    /// What could not be given; empty when all was.
    pub reason: String,
}

/// Keeps the output. Dropping it takes the output back.
pub(crate) struct Keepalive {
    end: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Keepalive {
    fn drop(&mut self) {
        // An event counter takes a first write always.
        let _ = rustix::io::write(&self.end, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of a KWin output panicked; its output is gone with its connection");
        }
    }
}

/// Makes an output in the KWin at `socket`.
pub(crate) fn create(
    config: &DisplayConfig,
    socket: &Path,
    mode: Mode,
) -> Result<(Keepalive, Made), DisplayError> {
    let system =
        |error: std::io::Error| DisplayError::Other(format!("an output in KWin needs a thread: {error}"));
    let end = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| system(error.into()))?);
    let (answer, made) = sync_channel(1);
    let job = Job { config: config.clone(), socket: socket.to_owned(), mode };
    let thread = std::thread::Builder::new()
        .name("lumen-kwin".into())
        .spawn({
            let end = end.clone();
            move || keep(job, &answer, end.as_fd())
        })
        .map_err(system)?;
    let keepalive = Keepalive { end, thread: Some(thread) };
    // Every wait of the thread has its deadline, so this one needs none.
    let made = made.recv().unwrap_or_else(|_| {
        Err(DisplayError::Other("making an output in KWin failed inside Lumen".into()))
    })?;
    Ok((keepalive, made))
}

/// Undoes what a host that was killed left behind.
pub(crate) fn clean_up(config: &DisplayConfig, socket: &Path) {
    let desks = desks();
    if !desks.contains_key(socket) {
        let left = restore_left_over(config, socket, Until::within(FAREWELL));
        if let Err(stopped) = left {
            tracing::debug!(?stopped, "KWin could not be asked about what was left behind");
        }
    }
}

/// Whether no layout waits to be restored, in whichever KWin.
pub(crate) fn is_clean(config: &DisplayConfig) -> bool {
    let left = journal::left_over::<Record>(&config.state_dir, JOURNAL);
    left.iter().all(|(_, record)| record.is_over(None))
}

/// The journal's name for a KWin.
fn journal_name(socket: &Path) -> String {
    let name = socket.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    format!("{JOURNAL}{name}")
}

/// The process of the KWin at `socket`.
fn process_at(socket: &Path) -> Option<ProcessId> {
    lumen_wayland::listener(socket).and_then(ProcessId::of)
}

/// Restores what a host that was killed left behind; returns what KWin refused to restore.
fn restore_left_over(
    config: &DisplayConfig,
    socket: &Path,
    until: Until<'_>,
) -> Result<Option<(Entry, Layout)>, Stopped> {
    let left = journal::left_over_at::<Record>(&config.state_dir, &journal_name(socket));
    let Some((entry, record)) = left else { return Ok(None) };
    if record.is_over(process_at(socket)) {
        // Its outputs ended with it, and another has its own idea of its monitors.
        tracing::debug!(socket = %socket.display(), "the KWin of a layout journal is gone");
        entry.done();
        return Ok(None);
    }
    let mut outputs = Outputs::open(socket, until)?;
    let goal = |now: &Layout| now.goal(&record.before, &[], 0, Topology::Extend);
    let now = outputs.layout();
    if !now.changes_to(&goal(&now)).is_empty() {
        tracing::info!("restoring the layout of KWin's outputs that an earlier run of Lumen changed");
    }
    match arrange_back(&mut outputs, goal, until)? {
        Applied::Yes => {
            entry.done();
            Ok(None)
        }
        Applied::No => {
            tracing::warn!(
                "KWin refused the layout of before; look at System Settings, Display Configuration"
            );
            Ok(Some((entry, record.before)))
        }
    }
}

/// Brings back a layout. KWin refuses a change to outputs that changed meanwhile, so it is asked twice.
fn arrange_back(
    outputs: &mut Outputs,
    goal: impl Fn(&Layout) -> Layout,
    until: Until<'_>,
) -> Result<Applied, Stopped> {
    let first = goal(&outputs.layout());
    if outputs.arrange(&first, until)? == Applied::Yes {
        return Ok(Applied::Yes);
    }
    outputs.refresh(until)?;
    let second = goal(&outputs.layout());
    outputs.arrange(&second, until)
}

/// What the thread is to do.
struct Job {
    config: DisplayConfig,
    socket: PathBuf,
    mode: Mode,
}

fn keep(job: Job, answer: &SyncSender<Result<Made, DisplayError>>, end: BorrowedFd<'_>) {
    let begun = clock::now();
    let mut live = match Live::connect(job, end) {
        Ok(live) => live,
        Err(error) => {
            let _ = answer.send(Err(error));
            return;
        }
    };
    let connecting = clock::now().since(begun);
    let made = {
        // Whoever waits here for another output does not lose their own time.
        let mut desks = desks();
        let left = LIMIT.saturating_sub(connecting);
        let until = Until { deadline: Some(clock::now() + left), end: Some(end) };
        live.raise(&mut desks, until)
    };
    let failed = made.is_err();
    if answer.send(made).is_err() || failed {
        return;
    }
    match live.link.wait(Until { deadline: None, end: Some(end) }, |state| state.stream.closed.then_some(()))
    {
        Ok(()) => tracing::warn!(output = live.name, "KWin ended the stream of its virtual output"),
        Err(Stopped::Lost(cause)) => {
            live.lost = true;
            tracing::warn!(output = live.name, cause, "the connection to KWin broke");
        }
        Err(Stopped::Ended | Stopped::Deadline) => {}
    }
}

/// One output and its connection.
struct Live {
    job: Job,
    link: Link,
    stream: Option<ZkdeScreencastStreamUnstableV1>,
    /// KWin's name of the output; empty before it was asked for.
    name: String,
    /// The connection broke.
    lost: bool,
}

impl Live {
    fn connect(job: Job, end: BorrowedFd<'_>) -> Result<Self, DisplayError> {
        let until = Until { deadline: Some(clock::now() + LIMIT), end: Some(end) };
        let link = Link::open(&job.socket, until)
            .map_err(|stopped| stopped.into_error("its list of protocols", LIMIT))?;
        Ok(Self { job, link, stream: None, name: String::new(), lost: false })
    }

    fn raise(&mut self, desks: &mut Desks, until: Until<'_>) -> Result<Made, DisplayError> {
        let stopped = |waited_for| move |stopped: Stopped| stopped.into_error(waited_for, LIMIT);
        let Some(screencast) = self.link.bind::<ZkdeScreencastUnstableV1>(6) else {
            return Err(self.obstacle().unwrap_or_else(|| obstacle::unknown(&self.job.config)));
        };
        if screencast.version() < 2 {
            return Err(self.obstacle().unwrap_or_else(|| obstacle::unknown(&self.job.config)));
        }
        let first = !desks.contains_key(&self.job.socket);
        let left = match first {
            true => restore_left_over(&self.job.config, &self.job.socket, until)
                .map_err(stopped("its outputs"))?,
            false => None,
        };
        let mut outputs = Outputs::open(&self.job.socket, until).map_err(stopped("its outputs"))?;
        let desk = desks.entry(self.job.socket.clone()).or_default();
        if first {
            (desk.entry, desk.before) = match left {
                // Still to be restored, so what is there now is not the user's.
                Some((entry, before)) => (Some(entry), before),
                None => self.remember(outputs.layout()),
            };
        }
        let short = free_name(&outputs.names());
        self.name = format!("Virtual-{short}");
        desk.live.push(self.name.clone());

        let mode = self.job.mode;
        let other_rate = mode.refresh_mhz() != NATIVE;
        let detour = other_rate && mode.width().is_multiple_of(CVT_CELL) && outputs.knows_custom_modes();
        let height = if detour { mode.height() + DETOUR } else { mode.height() };
        let mut node = self.open_stream(&screencast, &short, (mode.width(), height), &mut outputs, until)?;
        let mut effective = None;
        if detour {
            effective = outputs.rerate(&self.name, mode, until).map_err(stopped("another mode"))?;
            let fits = |made: &Mode| (made.width(), made.height()) == (mode.width(), mode.height());
            effective = effective.filter(fits);
            if effective.is_none() {
                self.close_stream(&mut outputs, until).map_err(stopped("the output to go"))?;
                let size = (mode.width(), mode.height());
                node = self.open_stream(&screencast, &short, size, &mut outputs, until)?;
            }
        }
        let desk = desks.entry(self.job.socket.clone()).or_default();
        let placed = desk.live.len() - 1;
        let goal = self.settle(&mut outputs, desk, placed, until)?;
        let effective = outputs.mode(&self.name).or(effective).unwrap_or(mode);
        let mut reason = self.shortfall(effective, &outputs);
        if goal == Applied::No {
            join(&mut reason, "KWin refused to arrange its outputs as display.topology says");
        }
        if self.job.config.topology != Topology::Extend && !self.focus(&outputs) {
            join(&mut reason, "KWin would not move its focus: windows open where the focus is");
        }
        tracing::info!(output = self.name, mode = %effective, ?node, "virtual output in KWin");
        Ok(Made { name: self.name.clone(), node, mode: effective, reason })
    }

    /// Writes the layout of before down.
    fn remember(&self, before: Layout) -> (Option<Entry>, Layout) {
        let Job { config, socket, .. } = &self.job;
        let record = Record { kwin: process_at(socket), before };
        let entry = Entry::write(&config.state_dir, &journal_name(socket), &record)
            .inspect_err(|error| tracing::warn!(%error, "the layout of before cannot be written down"))
            .ok();
        (entry, record.before)
    }

    /// Asks for the output, and waits for it and its node.
    fn open_stream(
        &mut self,
        screencast: &ZkdeScreencastUnstableV1,
        short: &str,
        (width, height): (u32, u32),
        outputs: &mut Outputs,
        until: Until<'_>,
    ) -> Result<NodeTarget, DisplayError> {
        let (width, height) = (width.cast_signed(), height.cast_signed());
        let handle = self.link.handle();
        self.link.state.stream = Default::default();
        self.stream = Some(if screencast.version() >= 4 {
            let description = "Lumen";
            screencast.stream_virtual_output_with_description(
                short.into(),
                description.into(),
                width,
                height,
                1.0,
                POINTER_EMBEDDED,
                &handle,
                (),
            )
        } else {
            screencast.stream_virtual_output(short.into(), width, height, 1.0, POINTER_EMBEDDED, &handle, ())
        });
        let name = self.name.clone();
        loop {
            // An output that KWin remembers as off may have no stream before it is on: look at both.
            let glance = Until { deadline: Some(clock::now() + Duration::from_millis(50)), end: until.end };
            let heard = self.link.wait(glance, |state| {
                let stream = &state.stream;
                (stream.failed.is_some() || stream.closed || stream.node().is_some()).then_some(())
            });
            match heard {
                Ok(()) | Err(Stopped::Deadline) => {}
                Err(other) => return Err(other.into_error("the virtual output", LIMIT)),
            }
            let stream = &self.link.state.stream;
            if stream.failed.is_some() || stream.closed {
                return Err(self.refused());
            }
            let node = stream.node();
            outputs.refresh(until).map_err(|stopped| stopped.into_error("its outputs", LIMIT))?;
            if let Some(device) = outputs.device(&name) {
                if !device.enabled {
                    tracing::info!(output = name, "KWin remembers the output as off; turning it on");
                    let mut goal = outputs.layout();
                    goal.places
                        .iter_mut()
                        .filter(|place| place.name == name)
                        .for_each(|place| place.enabled = true);
                    outputs
                        .arrange(&goal, until)
                        .map_err(|stopped| stopped.into_error("its outputs", LIMIT))?;
                }
                if let Some(node) = node {
                    return Ok(node);
                }
            }
            if until.deadline.is_some_and(|deadline| clock::now() >= deadline) {
                return Err(Stopped::Deadline.into_error("the virtual output", LIMIT));
            }
        }
    }

    /// Ends the stream, and waits until its output is gone.
    fn close_stream(&mut self, outputs: &mut Outputs, until: Until<'_>) -> Result<(), Stopped> {
        let Some(stream) = self.stream.take() else { return Ok(()) };
        stream.close();
        self.link.roundtrip(until)?;
        outputs.wait_gone(&self.name, until)
    }

    /// Brings the mode and the layout to what is wanted: KWin remembers outputs by name, and their monitors with them.
    fn settle(
        &self,
        outputs: &mut Outputs,
        desk: &Desk,
        placed: usize,
        until: Until<'_>,
    ) -> Result<Applied, DisplayError> {
        let now = outputs.layout();
        let mut goal = now.goal(&desk.before, &desk.live, placed, self.job.config.topology);
        if let Some(best) = outputs.nearest(&self.name, self.job.mode) {
            let mode = Some((best.width, best.height, best.refresh));
            goal.places
                .iter_mut()
                .filter(|place| place.name == self.name)
                .for_each(|place| place.mode = mode);
        }
        outputs.arrange(&goal, until).map_err(|stopped| stopped.into_error("its layout", LIMIT))
    }

    /// What of the asked mode could not be given.
    fn shortfall(&self, effective: Mode, outputs: &Outputs) -> String {
        let asked = self.job.mode;
        let hertz = |mode: Mode| f64::from(mode.refresh_mhz()) / 1000.0;
        let mut reason = String::new();
        if (effective.width(), effective.height()) != (asked.width(), asked.height()) {
            reason = format!("KWin made {effective} where {asked} was asked");
        } else if asked.refresh_mhz().abs_diff(effective.refresh_mhz()) > 1000 {
            let why = if !outputs.knows_custom_modes() {
                "its virtual outputs have 60 Hz before version 6.6"
            } else if !asked.width().is_multiple_of(CVT_CELL) {
                "it makes other rates only for widths that are multiples of 8"
            } else {
                "it took no mode of our own"
            };
            reason = format!("{:.2} Hz were asked, KWin has {:.2}: {why}", hertz(asked), hertz(effective));
        }
        reason
    }

    fn focus(&self, outputs: &Outputs) -> bool {
        let enabled = outputs.layout().places.iter().filter(|place| place.enabled).count();
        enabled < 2 || facts::focus(&self.job.config, &self.name, enabled, QUESTION)
    }

    fn obstacle(&self) -> Option<DisplayError> {
        let facts = Facts::ask(&self.job.config, QUESTION);
        obstacle::find(&self.job.config, &facts, &self.link.state).map(obstacle::Obstacle::into_error)
    }

    /// KWin refused. Its text is in the user's language, so the cause is looked for elsewhere.
    fn refused(&self) -> DisplayError {
        let stream = &self.link.state.stream;
        tracing::debug!(said = stream.failed, closed = stream.closed, "KWin refused the output");
        if facts::locked(&self.job.config, QUESTION) {
            return DisplayError::Locked { backend: KWIN };
        }
        self.obstacle().unwrap_or_else(|| DisplayError::Unsupported {
            backend: KWIN,
            cause: "it refused the output without a reason that Lumen knows".into(),
            remedy: "Its log tells more: journalctl --user -b -t kwin_wayland".into(),
        })
    }

    /// Takes everything back: the layout first, so that the user is never without a screen, then the output.
    fn tear_down(&mut self, desks: &mut Desks) {
        if self.name.is_empty() {
            return;
        }
        let Some(desk) = desks.get_mut(&self.job.socket) else { return };
        let ours = desk.live.clone();
        desk.live.retain(|name| *name != self.name);
        let last = desk.live.is_empty();
        let topology = if last { Topology::Extend } else { self.job.config.topology };
        let until = Until::within(FAREWELL);
        let mut restored = || -> Result<Applied, Stopped> {
            let mut outputs = Outputs::open(&self.job.socket, until)?;
            if !self.lost {
                if last {
                    let goal = outputs.layout().goal(&desk.before, &ours, ours.len(), topology);
                    outputs.arrange(&goal, until)?;
                }
                self.close_stream(&mut outputs, until)?;
            }
            // KWin has changed the layout once more by itself, to what it remembers.
            let goal = |now: &Layout| now.goal(&desk.before, &desk.live, desk.live.len(), topology);
            arrange_back(&mut outputs, goal, until)
        };
        let restored = restored();
        match &restored {
            Ok(Applied::Yes) => tracing::info!(output = self.name, "virtual output in KWin removed"),
            Ok(Applied::No) => tracing::warn!(output = self.name, "KWin refused the layout of before"),
            Err(stopped) => tracing::warn!(
                output = self.name,
                ?stopped,
                "KWin did not confirm that the output is gone; it goes with the connection"
            ),
        }
        if last && let Some(desk) = desks.remove(&self.job.socket) {
            // Kept when KWin refused or could not be asked: the next start restores the layout.
            match (desk.entry, restored) {
                (Some(entry), Ok(Applied::Yes)) => entry.done(),
                (Some(_), Err(_)) => mend_later(self.job.config.clone(), self.job.socket.clone()),
                _ => {}
            }
        }
    }
}

/// Asks until the layout is restored or its KWin is gone.
fn mend_later(config: DisplayConfig, socket: PathBuf) {
    undo::later("the layout of KWin's outputs stays changed".into(), move || {
        clean_up(&config, &socket);
        is_clean(&config)
    });
}

impl Drop for Live {
    fn drop(&mut self) {
        self.tear_down(&mut desks());
    }
}

/// A name that no output has: `lumen`, then `lumen-2`, …
fn free_name(taken: &[String]) -> String {
    let free = |short: &String| !taken.iter().any(|name| *name == format!("Virtual-{short}"));
    let numbered = (2..).map(|number| format!("lumen-{number}"));
    std::iter::once("lumen".to_owned()).chain(numbered).find(free).unwrap_or_default()
}

fn join(reason: &mut String, more: &str) {
    if !reason.is_empty() {
        reason.push_str("; ");
    }
    reason.push_str(more);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_among_the_live() {
        assert_eq!(free_name(&["DP-1".into()]), "lumen");
        assert_eq!(free_name(&["Virtual-lumen".into(), "Virtual-lumen-3".into()]), "lumen-2");
        assert_eq!(free_name(&["Virtual-lumen".into(), "Virtual-lumen-2".into()]), "lumen-3");
    }

    #[test]
    fn journals_are_told_apart_by_the_socket() {
        assert_eq!(journal_name(Path::new("/run/user/1000/wayland-0")), "kwin-wayland-0");
        assert_eq!(journal_name(Path::new("/tmp/a b/../x_1")), "kwin-x1");
    }

    #[test]
    fn a_layout_of_another_kwin_is_over() {
        let record = |kwin| Record { kwin, before: Layout::default() };
        let (here, init) = (ProcessId::own(), ProcessId::of(1));
        assert!(!record(Some(here)).is_over(Some(here)) && !record(Some(here)).is_over(None));
        assert!(record(Some(here)).is_over(init));
        assert!(!record(None).is_over(Some(here)) && !record(None).is_over(None));
        let ended: ProcessId =
            serde_json::from_str(r#"{"pid":1,"started":18446744073709551615}"#).expect("valid");
        assert!(record(Some(ended)).is_over(None));
    }

    #[test]
    fn only_layouts_of_living_kwins_wait() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let config = DisplayConfig::new(dir.path());
        let mut record = Record { kwin: Some(ProcessId::own()), before: Layout::default() };
        let entry = Entry::write(dir.path(), "kwin-wayland-0", &record).expect("written");
        assert!(!is_clean(&config));
        entry.done();
        record.kwin = serde_json::from_str(r#"{"pid":1,"started":18446744073709551615}"#).expect("valid");
        Entry::write(dir.path(), "kwin-wayland-1", &record).expect("written");
        assert!(is_clean(&config));
        let left = restore_left_over(&config, &dir.path().join("wayland-1"), Until::within(FAREWELL));
        assert!(matches!(left, Ok(None)));
        assert!(journal::left_over::<Record>(dir.path(), JOURNAL).is_empty());
    }
}
