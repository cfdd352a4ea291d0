//! Which sway runs, and how programs reach it.

use super::SWAY;
use super::ipc::{Ipc, IpcError, Version};
use crate::SessionEnvironment;
pub(super) use crate::process::ProcessId;
use lumen_media::{DisplayError, Timestamp, clock};
pub(super) use lumen_wayland::listener;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A running sway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instance {
    /// Its IPC socket.
    pub ipc: PathBuf,
    pub process: ProcessId,
    pub version: Version,
}

impl Instance {
    /// The first sway of the session that answers; each has `limit` for it.
    pub fn find(session: &SessionEnvironment, limit: Duration) -> Result<Self, DisplayError> {
        let sockets = session.sway_sockets();
        let mut hung = None;
        for ipc in &sockets {
            match Self::at(ipc, limit) {
                Ok(Some(instance)) => return Ok(instance),
                Ok(None) | Err(IpcError::Gone(_) | IpcError::Refused { .. }) => {}
                Err(error) => hung = Some(error),
            }
        }
        Err(hung.map_or_else(
            || DisplayError::Absent {
                backend: SWAY,
                looked_for: format!("an IPC socket that answers in {}", session.runtime_dir.display()),
            },
            |error| error.into_display(limit),
        ))
    }

    fn at(ipc: &Path, limit: Duration) -> Result<Option<Self>, IpcError> {
        let mut connection = Ipc::connect(ipc, clock::now() + limit)?;
        let version = connection.version()?;
        let process = connection.pid().and_then(ProcessId::of);
        Ok(process.map(|process| Self { ipc: ipc.to_owned(), process, version }))
    }

    /// Connects; everything asked ends by `deadline`.
    pub fn connect(&self, deadline: Timestamp) -> Result<Ipc, IpcError> {
        Ipc::connect(&self.ipc, deadline)
    }

    /// Its Wayland socket: the one at which the same process listens.
    pub fn wayland_socket(&self, session: &SessionEnvironment) -> Option<PathBuf> {
        session.wayland_sockets().into_iter().find(|path| listener(path) == Some(self.process.pid()))
    }

    /// `DISPLAY` of its Xwayland, from the sockets that it holds: connecting would start an Xwayland that waits for its
    /// first client.
    pub fn x_display(&self) -> Option<String> {
        let table = fs::read_to_string("/proc/net/unix").ok()?;
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.process.pid())).ok()?;
        let held: HashSet<String> = descriptors
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok()?.into_os_string().into_string().ok())
            .collect();
        x_display(&table, |inode| held.contains(&format!("socket:[{inode}]")))
    }
}

/// `:N` from the table of Unix sockets, of those whose inode is `held`.
fn x_display(table: &str, held: impl Fn(&str) -> bool) -> Option<String> {
    table.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(6);
        let (inode, path) = (fields.next()?, fields.next()?);
        let number = path.trim_start_matches('@').strip_prefix("/tmp/.X11-unix/X")?;
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        (is_number && held(inode)).then(|| format!(":{number}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_display_is_read_from_the_table() {
        let table = "Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000: 00000002 00000000 00010000 0001 01 10 /run/user/0/wayland-1\n\
            0000: 00000002 00000000 00010000 0001 01 11 @/tmp/.X11-unix/X7\n\
            0000: 00000002 00000000 00010000 0001 01 12\n\
            0000: 00000002 00000000 00010000 0001 01 13 /tmp/.X11-unix/X0\n";
        assert_eq!(x_display(table, |inode| inode == "13"), Some(":0".into()));
        assert_eq!(x_display(table, |inode| inode == "11"), Some(":7".into()));
        assert_eq!(x_display(table, |inode| inode == "10" || inode == "12"), None);
    }
}
