//! Which processes belong to this host, found by a mark in their environment.
//!
//! A process group is not enough: a terminal puts its shell into a session of its own, launchers fork twice. Every app
//! therefore carries `LUMEN_HOST` (this host) and `LUMEN_SESSION` (its session), which all its children inherit.

use rustix::process::{Pid, Signal, kill_process};
use std::collections::HashSet;
use std::path::Path;

/// Marks every process of this host; its value is the host's unique id.
pub const HOST_MARK: &str = "LUMEN_HOST";
/// Marks every process of one session.
pub const SESSION_MARK: &str = "LUMEN_SESSION";

/// Processes whose environment holds `name=value`, this one and its ancestors left out.
pub fn marked(name: &str, value: &str) -> Vec<Pid> {
    let wanted = format!("{name}={value}").into_bytes();
    let spared = ancestors();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
        .filter(|pid| !spared.contains(pid))
        // Unreadable means another user's process, so not ours; a zombie's environment is empty.
        .filter(|pid| {
            std::fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero()))
                .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|entry| entry == wanted))
        })
        .collect()
}

/// Sends `signal` to all of them; a process that is gone already does not matter.
pub fn signal_all(pids: &[Pid], signal: Signal) {
    for pid in pids {
        let _ = kill_process(*pid, signal);
    }
}

fn ancestors() -> HashSet<Pid> {
    let mut found = HashSet::new();
    let mut next = Some(rustix::process::getpid());
    while let Some(pid) = next {
        if !found.insert(pid) {
            break;
        }
        next = parent(pid);
    }
    found
}

fn parent(pid: Pid) -> Option<Pid> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The command in parentheses may hold anything, so count from the last one.
    let after = stat.rsplit_once(") ")?.1;
    Pid::from_raw(after.split_whitespace().nth(1)?.parse().ok()?)
}

/// Where a program is found: as it stands when it holds a slash, else along `path`.
pub fn find_program(program: &str, path: &str) -> Option<std::path::PathBuf> {
    let usable = |candidate: &Path| {
        candidate.is_file() && rustix::fs::access(candidate, rustix::fs::Access::EXEC_OK).is_ok()
    };
    if program.contains('/') {
        return Some(Path::new(program).to_owned()).filter(|candidate| usable(candidate));
    }
    path.split(':')
        .filter(|dir| !dir.is_empty())
        .map(|dir| Path::new(dir).join(program))
        .find(|candidate| usable(candidate))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_child_is_found_by_its_mark_even_when_it_left_the_process_group() {
        let value = uuid::Uuid::new_v4().to_string();
        let mut child = Command::new("setsid")
            .args(["--wait", "sh", "-c", "echo up; exec sleep 60"])
            .env(SESSION_MARK, &value)
            .stdout(Stdio::piped())
            .spawn()
            .expect("setsid is part of util-linux");
        let mut line = [0; 3];
        std::io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut line).expect("it started");
        let found = marked(SESSION_MARK, &value);
        assert!(!found.is_empty());
        signal_all(&found, Signal::KILL);
        child.wait().expect("reaped");
        assert!(marked(SESSION_MARK, &value).is_empty());
    }

    #[test]
    fn this_process_is_never_a_leftover_of_its_own() {
        let me = ancestors();
        assert!(me.contains(&rustix::process::getpid()));
        assert!(me.len() > 1);
    }

    #[test]
    fn programs_are_found_along_the_path() {
        assert!(find_program("sh", "/nonexistent:/bin:/usr/bin").is_some());
        assert!(find_program("/bin/sh", "").is_some());
        assert!(find_program("no-such-program", "/bin:/usr/bin").is_none());
        assert!(find_program("/etc/passwd", "").is_none(), "not executable");
    }
}
