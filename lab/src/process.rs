//! One child with its log.

use crate::{LabError, sys, wait_for};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

/// How long a process may take to end on request before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// A running child. Dropping it ends the child and everything in its process group.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    pid: Pid,
    child: Mutex<Child>,
}

impl Process {
    /// Starts `command`; what it prints goes to `log`, which is created anew.
    pub(crate) fn spawn(name: &str, mut command: Command, log: PathBuf) -> Result<Self, LabError> {
        let file = File::create(&log).map_err(LabError::file(&log))?;
        let copy = file.try_clone().map_err(LabError::file(&log))?;
        command.stdin(Stdio::null()).stdout(file).stderr(copy);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = sys::spawn(command).map_err(|cause| LabError::Spawn { program, cause })?;
        let pid = Pid::from_child(&child);
        Ok(Self { name: name.to_owned(), log, pid, child: Mutex::new(child) })
    }

    /// The name that it was started under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, which is also the id of its process group.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Where its log is.
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// What it has printed until now.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last `lines` lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<_> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// How it ended; `None` while it runs.
    pub fn ended(&self) -> Option<ExitStatus> {
        // A status that cannot be read is that of a process that is gone.
        self.child.lock().ok()?.try_wait().unwrap_or_default()
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        self.ended().is_none()
    }

    /// Sends a signal to this process alone.
    pub fn signal(&self, signal: Signal) {
        if self.is_running() {
            // It may end between the two lines; it stays a zombie until we wait, so the id is still its own.
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Kills it, as a crash would: no clean-up of its own, its children left to themselves. Returns when it is gone.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
        if let Ok(mut child) = self.child.lock() {
            let _ = child.wait();
        }
    }

    /// Stops it in its tracks: it keeps its sockets and answers nobody.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`Self::freeze`].
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks it to end, kills it when it does not, and ends what is left of its process group.
    pub fn stop(&self) {
        // A frozen process hears nothing but KILL.
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
        if self.wait(GRACE).is_none() {
            self.kill();
        }
        let _ = kill_process_group(self.pid, Signal::KILL);
    }

    /// Waits for its end, at most for `limit` times the machine's patience.
    pub fn wait(&self, limit: Duration) -> Option<ExitStatus> {
        wait_for("end", limit, || self.ended()).ok()
    }

    /// Waits until `look` finds something, while this process runs.
    ///
    /// # Errors
    /// [`LabError::Ended`] or [`LabError::Timeout`], with the end of the log.
    pub fn wait_until<T>(
        &self,
        waited_for: &str,
        limit: Duration,
        mut look: impl FnMut() -> Option<T>,
    ) -> Result<T, LabError> {
        let found = wait_for(waited_for, limit, || match look() {
            Some(found) => Some(Ok(found)),
            None => self.ended().map(Err),
        });
        match found {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(status)) => Err(LabError::Ended {
                name: self.name.clone(),
                status: status.to_string(),
                waited_for: waited_for.to_owned(),
                log: self.log_tail(20),
            }),
            Err(LabError::Timeout { waited_for, limit, .. }) => {
                let log = format!("; the log of {} ends with:\n{}", self.name, self.log_tail(20));
                Err(LabError::Timeout { waited_for, limit, log })
            }
            Err(other) => Err(other),
        }
    }

    /// Waits for a line of the log that contains `text` and returns it.
    ///
    /// # Errors
    /// [`LabError::Ended`] or [`LabError::Timeout`], with the end of the log.
    pub fn wait_for_log(&self, text: &str, limit: Duration) -> Result<String, LabError> {
        self.wait_until(&format!("line with {text:?}"), limit, || {
            self.log().lines().find(|line| line.contains(text)).map(str::to_owned)
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}
