//! Processes that belong to one gamescope, found by a mark in their environment: games are started by launchers that
//! fork twice and open sessions of their own, so neither parents nor process groups tell.

use rustix::process::{Pid, Signal, kill_process};
use std::path::PathBuf;

/// Carried by a gamescope that Lumen started, and inherited by everything in it.
pub(super) const MARK: &str = "LUMEN_GAMESCOPE";

/// A process, and what it is called.
#[derive(Clone, Debug)]
pub(super) struct Marked {
    pub pid: Pid,
    pub name: String,
}

impl Marked {
    /// Whether it belongs to gamescope itself and not to the app.
    pub fn is_gamescope(&self) -> bool {
        self.name.starts_with("gamescope") || self.name.starts_with("Xwayland")
    }

    pub fn signal(&self, signal: Signal) {
        // One that is gone by now does not matter.
        let _ = kill_process(self.pid, signal);
    }
}

/// All processes with the mark `value`. Zombies have no environment and are not among them.
pub(super) fn processes(value: &str) -> Vec<Marked> {
    let wanted = format!("{MARK}={value}").into_bytes();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
        .filter(|pid| {
            environment(*pid).is_some_and(|all| all.split(|byte| *byte == 0).any(|one| one == wanted))
        })
        .map(|pid| Marked { pid, name: name(pid) })
        .collect()
}

/// Whether a process was started by a Lumen, this one or another.
pub(super) fn is_marked(pid: u32) -> bool {
    variable(pid, MARK).is_some()
}

/// A variable of a process.
pub(super) fn variable(pid: u32, name: &str) -> Option<String> {
    let all = environment(Pid::from_raw(pid.try_into().ok()?)?)?;
    all.split(|byte| *byte == 0).find_map(|one| {
        let value = std::str::from_utf8(one).ok()?.strip_prefix(name)?.strip_prefix('=')?;
        Some(value.to_owned())
    })
}

/// All processes of this user by number.
pub(super) fn all() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The parent of a process.
pub(super) fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so count from the last one.
    stat.rsplit_once(") ")?.1.split_whitespace().nth(1)?.parse().ok()
}

/// The program of a process.
pub(super) fn program(pid: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/exe")).ok()
}

fn environment(pid: Pid) -> Option<Vec<u8>> {
    std::fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()
}

fn name(pid: Pid) -> String {
    let name = std::fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero())).unwrap_or_default();
    name.trim_end().to_owned()
}
