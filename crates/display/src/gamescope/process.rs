//! A gamescope that Lumen started: its life from the first line of its log to the last process of its app.
//!
//! One thread (`lumen-gamescope`) reads the log and waits for the end. Everything that gamescope starts inherits a mark in
//! its environment, by which it is found again: at the end, and at the next start when this host was killed.

use super::files::Files;
use super::log::{Said, without_colours};
use super::marks::{self, MARK};
use crate::journal::Entry;
use lumen_media::{ContainedApp, clock};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long the app, and then gamescope, may take to end on request.
const GRACE: Duration = Duration::from_secs(2);
/// How long what was killed may take to be gone.
const KILLED: Duration = Duration::from_secs(1);
/// Between two looks at processes that are not our children: the kernel has no way to wait for these.
const LOOK: Duration = Duration::from_millis(10);
/// Lines of the log that an error quotes.
const TAIL: usize = 6;
/// A longer line is taken in pieces.
const LONGEST_LINE: usize = 4096;

/// Marks of the gamescopes of this process.
static LIVE: Mutex<Option<HashSet<String>>> = Mutex::new(None);

/// What the journal knows of one gamescope.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub mark: String,
}

impl Record {
    /// Whether it is one of this process's own, alive.
    pub fn is_live(&self) -> bool {
        lock(&LIVE).as_ref().is_some_and(|marks| marks.contains(&self.mark))
    }
}

/// A mark that no other gamescope has, in any host on this machine since it was switched on.
pub(super) struct Mark(String);

impl Mark {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}-{}-{count}", std::process::id(), clock::now().as_nanos());
        lock(&LIVE).get_or_insert_default().insert(mark.clone());
        Self(mark)
    }

    pub fn value(&self) -> &str {
        &self.0
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        if let Some(marks) = &mut *lock(&LIVE) {
            marks.remove(&self.0);
        }
    }
}

/// A running gamescope. Dropping it ends it, its app, and everything that they started.
pub(super) struct Spawned {
    mark: Mark,
    pid: Pid,
    pidfd: OwnedFd,
    runtime_dir: PathBuf,
    shared: Arc<Shared>,
    /// One at a time ends it; true once that is done.
    over: Mutex<bool>,
    stop: Option<PipeWriter>,
    watcher: Option<JoinHandle<()>>,
    entry: Option<Entry>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    said: Said,
    tail: VecDeque<String>,
    ended: Option<String>,
    on_end: Option<Box<dyn FnOnce() + Send>>,
    /// It is being ended from here: nobody is told.
    silent: bool,
}

impl Spawned {
    /// Starts `command` with the mark. What it prints goes to `log` too. `entry` is the journal's, written before.
    pub fn start(
        mut command: Command,
        mark: Mark,
        entry: Option<Entry>,
        runtime_dir: &Path,
        log: Option<File>,
    ) -> std::io::Result<Self> {
        let (reader, writer) = std::io::pipe()?;
        let (stopped, stop) = std::io::pipe()?;
        rustix::io::ioctl_fionbio(&reader, true)?;
        command.env(MARK, mark.value()).process_group(0);
        command.stdin(Stdio::null()).stderr(writer.try_clone()?).stdout(writer);
        let mut child = command.spawn()?;
        drop(command);
        let pid = Pid::from_child(&child);
        let shared = Arc::<Shared>::default();
        let threaded = pidfd_open(pid, PidfdFlags::empty()).map_err(std::io::Error::from).and_then(|pidfd| {
            let ends = pidfd.try_clone()?;
            Ok((pidfd, ends))
        });
        let (pidfd, ends) = match threaded {
            Ok(both) => both,
            Err(error) => {
                let _ = child.kill();
                child.wait()?;
                return Err(error);
            }
        };
        let mut spawned = Self {
            mark,
            pid,
            pidfd,
            runtime_dir: runtime_dir.to_owned(),
            shared: shared.clone(),
            over: Mutex::default(),
            stop: Some(stop),
            watcher: None,
            entry,
        };
        let watch =
            Watch { child: Some(child), ends, reader: Some(reader), stopped, log, line: Vec::new(), shared };
        // Without the thread the drop below still ends everything; the zombie goes with this process.
        spawned.watcher =
            Some(std::thread::Builder::new().name("lumen-gamescope".into()).spawn(move || watch.run())?);
        Ok(spawned)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Whether process `pid` is this gamescope or was started by it.
    pub fn owns(&self, pid: u32) -> bool {
        // A gamescope with capabilities shows nobody its environment, so parents count too.
        let ancestors =
            std::iter::successors(Some(pid), |pid| marks::parent(*pid).filter(|parent| *parent > 1));
        marks::variable(pid, MARK).as_deref() == Some(self.mark.value())
            || ancestors.take(32).any(|ancestor| ancestor == self.pid())
    }

    /// What its log has said until now; waits for news until `limit` is over. The error is how it ended, with its last
    /// words.
    pub fn news(&self, limit: Duration, enough: impl Fn(&Said) -> bool) -> Result<Said, String> {
        let waiting = |state: &mut State| !enough(&state.said) && state.ended.is_none();
        let state = lock(&self.shared.state);
        let waited = self.shared.changed.wait_timeout_while(state, limit, waiting);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match &state.ended {
            Some(ended) if !enough(&state.said) => {
                let tail: Vec<_> = state.tail.iter().map(String::as_str).collect();
                Err(format!("{ended}; its last words: {}", tail.join(" / ")))
            }
            _ => Ok(state.said.clone()),
        }
    }

    /// See [`ContainedApp::on_end`].
    fn on_end(&self, told: Box<dyn FnOnce() + Send>) {
        let mut state = lock(&self.shared.state);
        if state.silent {
            return;
        }
        if state.ended.is_none() {
            state.on_end = Some(told);
            return;
        }
        drop(state);
        told();
    }

    /// Ends the app, gamescope, and what is left of them; returns when all are gone.
    pub fn terminate(&self) {
        let mut over = lock(&self.over);
        if std::mem::replace(&mut *over, true) {
            return;
        }
        {
            let mut state = lock(&self.shared.state);
            state.silent = true;
            state.on_end = None;
        }
        let all = marks::processes(self.mark.value());
        let files = Files::of(&self.runtime_dir, self.pid(), &lock(&self.shared.state).said, &all);
        // The app gets to save; gamescope ends with it.
        for process in all.iter().filter(|process| !process.is_gamescope() && process.pid != self.pid) {
            process.signal(Signal::TERM);
        }
        let app_runs = all.iter().any(|process| !process.is_gamescope() && process.pid != self.pid);
        if !(app_runs && self.has_ended_within(GRACE)) {
            self.signal(Signal::TERM);
        }
        if !self.has_ended_within(GRACE) {
            tracing::warn!(pid = self.pid(), "gamescope does not end on request and is killed");
            self.signal(Signal::KILL);
            if !self.has_ended_within(KILLED) {
                tracing::error!(pid = self.pid(), "gamescope cannot be ended and is left behind");
            }
        }
        kill_all(self.mark.value());
        files.remove_if_orphaned();
    }

    fn signal(&self, signal: Signal) {
        // One that is gone by now does not matter.
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }

    fn has_ended_within(&self, limit: Duration) -> bool {
        let state = lock(&self.shared.state);
        let waited = self.shared.changed.wait_timeout_while(state, limit, |state| state.ended.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.ended.is_some()
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        self.terminate();
        drop(self.stop.take());
        if let Some(watcher) = self.watcher.take()
            && watcher.thread().id() != std::thread::current().id()
        {
            let _ = watcher.join();
        }
        if let Some(entry) = self.entry.take() {
            entry.done();
        }
    }
}

/// Kills everything with the mark and waits until it is gone, for a second.
pub(super) fn kill_all(mark: &str) {
    let deadline = clock::now() + KILLED;
    let mut nobody_before = false;
    loop {
        let left = marks::processes(mark);
        // Twice: a process that is just starting a program has no environment to show for a moment.
        if left.is_empty() && nobody_before {
            return;
        }
        nobody_before = left.is_empty();
        for process in &left {
            process.signal(Signal::KILL);
        }
        if clock::now() >= deadline {
            let names: Vec<_> = left.iter().map(|process| process.name.as_str()).collect();
            tracing::error!(?names, "processes of a gamescope cannot be ended and are left behind");
            return;
        }
        std::thread::sleep(LOOK);
    }
}

/// The app's handle for whoever watches it.
pub(super) struct Contained(pub Weak<Spawned>);

impl ContainedApp for Contained {
    fn on_end(&self, ended: Box<dyn FnOnce() + Send>) {
        if let Some(spawned) = self.0.upgrade() {
            spawned.on_end(ended);
        }
    }

    fn terminate(&self) {
        if let Some(spawned) = self.0.upgrade() {
            spawned.terminate();
        }
    }
}

/// Keeps gamescope alive. Ends it at its own end, whoever else still looks at it.
pub(super) struct Keepalive(pub Arc<Spawned>);

impl Drop for Keepalive {
    fn drop(&mut self) {
        self.0.terminate();
    }
}

/// What the thread owns.
struct Watch {
    child: Option<Child>,
    ends: OwnedFd,
    reader: Option<PipeReader>,
    stopped: PipeReader,
    log: Option<File>,
    line: Vec<u8>,
    shared: Arc<Shared>,
}

impl Watch {
    fn run(mut self) {
        loop {
            let mut fds = vec![PollFd::new(&self.stopped, PollFlags::IN)];
            if self.child.is_some() {
                fds.push(PollFd::new(&self.ends, PollFlags::IN));
            }
            if let Some(reader) = &self.reader {
                fds.push(PollFd::new(reader, PollFlags::IN));
            }
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return tracing::error!(%error, "gamescope is not watched any more"),
            }
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(fds);
            // Its last words come before its end.
            self.read();
            if self.child.is_some() && ready[1] {
                self.end();
            }
            if ready[0] {
                return;
            }
        }
    }

    /// Reads what there is. What outlives gamescope may go on printing, so this goes on too.
    fn read(&mut self) {
        let mut block = [0; 4096];
        while let Some(reader) = &mut self.reader {
            match reader.read(&mut block) {
                Ok(0) => self.reader = None,
                Ok(read) => self.take(&block[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => self.reader = None,
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.log.as_mut().is_some_and(|log| log.write_all(bytes).is_err()) {
            // A full disk must not stop the game.
            self.log = None;
        }
        for byte in bytes {
            if *byte != b'\n' {
                self.line.push(*byte);
            }
            if *byte == b'\n' || self.line.len() >= LONGEST_LINE {
                let line = String::from_utf8_lossy(&self.line).into_owned();
                self.line.clear();
                self.hear(&line);
            }
        }
    }

    fn hear(&self, line: &str) {
        tracing::trace!(line, "gamescope");
        let mut state = lock(&self.shared.state);
        if state.tail.len() == TAIL {
            state.tail.pop_front();
        }
        state.tail.push_back(without_colours(line));
        if state.said.take(line) {
            self.shared.changed.notify_all();
        }
    }

    fn end(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let how = child.wait().map_or_else(|error| format!("ended ({error})"), describe);
        let mut state = lock(&self.shared.state);
        if !state.silent {
            tracing::info!(how, "gamescope and its app ended");
        }
        state.ended = Some(how);
        let told = state.on_end.take();
        drop(state);
        self.shared.changed.notify_all();
        if let Some(told) = told {
            told();
        }
    }
}

fn describe(status: ExitStatus) -> String {
    format!("gamescope ended ({status})")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
