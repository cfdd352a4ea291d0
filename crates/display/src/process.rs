//! Processes, remembered over restarts of the host.

use serde::{Deserialize, Serialize};
use std::fs;

/// A process, told apart from a later one with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    pid: i32,
    /// Ticks since boot.
    started: u64,
}

impl ProcessId {
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Self { pid, started: start_time(&stat)? })
    }

    pub fn own() -> Self {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        Self::of(pid).unwrap_or(Self { pid, started: 0 })
    }

    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    pub fn pid(self) -> i32 {
        self.pid
    }
}

/// Field 22 of `/proc/<pid>/stat`; the name before may hold anything, also brackets. `None` for a process that has ended
/// and is only remembered for its parent.
fn start_time(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    fields.next().filter(|state| !matches!(*state, "Z" | "X"))?;
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_itself_and_no_other() {
        let own = ProcessId::own();
        assert!(own.started > 0 && own.is_alive());
        assert!(!ProcessId { started: own.started + 1, ..own }.is_alive());
        assert_eq!(start_time("7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 77 20"), Some(77));
        assert_eq!(start_time("7 (a) Z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 77 20"), None);
        assert_eq!(start_time("7 nothing"), None);
    }
}
