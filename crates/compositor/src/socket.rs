//! Wayland sockets `lumen-N` and their locks.
//!
//! A socket belongs to whoever holds an exclusive lock on `lumen-N.lock`. The kernel drops the lock with its process, so
//! a socket whose lock is free was left by a host that was killed.

use lumen_media::DisplayError;
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Start of the names of our sockets.
const PREFIX: &str = "lumen-";
/// Highest number tried; far above the outputs that any machine serves.
const MAX_SOCKETS: u32 = 256;

/// A listening Wayland socket. Dropping it removes the socket and its lock from the directory.
#[derive(Debug)]
pub(crate) struct Socket {
    name: String,
    path: PathBuf,
    lock_path: PathBuf,
    /// Held for as long as the socket exists.
    _lock: File,
}

impl Socket {
    /// Takes the first free name in `dir`.
    pub(crate) fn bind(dir: &Path) -> Result<(Self, UnixListener), DisplayError> {
        let refuse = |source| DisplayError::Socket { dir: dir.display().to_string(), source };
        for number in 0..MAX_SOCKETS {
            let name = format!("{PREFIX}{number}");
            let lock_path = dir.join(format!("{name}.lock"));
            let Some(lock) = try_lock(&lock_path).map_err(refuse)? else { continue };
            let path = dir.join(&name);
            remove_if_there(&path).map_err(refuse)?;
            let listener = match UnixListener::bind(&path) {
                Ok(listener) => listener,
                Err(error) => {
                    let _ = std::fs::remove_file(&lock_path);
                    return Err(refuse(error));
                }
            };
            let socket = Socket { name, path, lock_path, _lock: lock };
            listener.set_nonblocking(true).map_err(refuse)?;
            return Ok((socket, listener));
        }
        Err(refuse(io::Error::other(format!("all {MAX_SOCKETS} names {PREFIX}N are in use"))))
    }

    /// What `WAYLAND_DISPLAY` must say.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The socket first: while the lock is held nobody else takes the name.
        for path in [&self.path, &self.lock_path] {
            if let Err(error) = remove_if_there(path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove the Wayland socket");
            }
        }
    }
}

/// Removes sockets and locks that a killed host left in `runtime_dir`, and returns how many sockets those were.
///
/// Only names `lumen-N` and `lumen-N.lock` whose lock nobody holds are touched.
///
/// # Errors
/// [`DisplayError::Socket`] when the directory is missing or not writable.
pub fn cleanup_stale(runtime_dir: &Path) -> Result<usize, DisplayError> {
    let refuse = |source| DisplayError::Socket { dir: runtime_dir.display().to_string(), source };
    rustix::fs::access(runtime_dir, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
        .map_err(|error| refuse(error.into()))?;
    let mut removed = 0;
    for entry in std::fs::read_dir(runtime_dir).map_err(refuse)? {
        let entry = entry.map_err(refuse)?;
        let Ok(file_name) = entry.file_name().into_string() else { continue };
        let name = file_name.strip_suffix(".lock").unwrap_or(&file_name);
        if !is_our_name(name) {
            continue;
        }
        let lock_path = runtime_dir.join(format!("{name}.lock"));
        let Some(_lock) = try_lock(&lock_path).map_err(refuse)? else { continue };
        let path = runtime_dir.join(name);
        removed += usize::from(path.symlink_metadata().is_ok());
        remove_if_there(&path).map_err(refuse)?;
        remove_if_there(&lock_path).map_err(refuse)?;
    }
    if removed > 0 {
        tracing::info!(removed, dir = %runtime_dir.display(), "removed Wayland sockets that a killed host left");
    }
    Ok(removed)
}

fn is_our_name(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .and_then(|number| number.parse::<u32>().ok())
        .is_some_and(|number| number < MAX_SOCKETS && name == format!("{PREFIX}{number}"))
}

/// The lock, or `None` when somebody holds it.
fn try_lock(path: &Path) -> io::Result<Option<File>> {
    loop {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // Between open and lock the holder may have removed the file: then this lock guards nothing.
        let ours = rustix::fs::fstat(&file)?;
        match rustix::fs::stat(path) {
            Ok(there) if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino) => return Ok(Some(file)),
            Ok(_) | Err(rustix::io::Errno::NOENT) => continue,
            Err(error) => return Err(error.into()),
        }
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_host_left_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (alive, _listener) = Socket::bind(dir.path()).expect("free");
        assert_eq!(alive.name(), "lumen-0");
        // A listener that was never unlinked, like after SIGKILL.
        drop(UnixListener::bind(dir.path().join("lumen-7")).expect("bind"));
        std::fs::write(dir.path().join("lumen-7.lock"), "").expect("write");
        std::fs::write(dir.path().join("lumen-9.lock"), "").expect("write");
        for other in ["wayland-0", "lumen-state", "lumen-07", "lumen-7.lock.d"] {
            std::fs::write(dir.path().join(other), "").expect("write");
        }
        assert_eq!(cleanup_stale(dir.path()).expect("writable"), 1);
        let mut left: Vec<_> = std::fs::read_dir(dir.path())
            .expect("readable")
            .map(|entry| entry.expect("entry").file_name().into_string().expect("UTF-8"))
            .collect();
        left.sort();
        assert_eq!(
            left,
            ["lumen-0", "lumen-0.lock", "lumen-07", "lumen-7.lock.d", "lumen-state", "wayland-0"]
        );
    }

    #[test]
    fn names_are_taken_in_turn_and_given_back() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (first, _first) = Socket::bind(dir.path()).expect("free");
        let (second, _second) = Socket::bind(dir.path()).expect("free");
        assert_eq!((first.name(), second.name()), ("lumen-0", "lumen-1"));
        drop(first);
        assert!(!dir.path().join("lumen-0").exists() && !dir.path().join("lumen-0.lock").exists());
        let (again, _again) = Socket::bind(dir.path()).expect("free");
        assert_eq!(again.name(), "lumen-0");
    }

    #[test]
    fn a_missing_directory_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let missing = dir.path().join("missing");
        let error = cleanup_stale(&missing).expect_err("missing");
        assert!(error.to_string().contains("missing") && error.to_string().contains("XDG_RUNTIME_DIR"));
        assert!(matches!(Socket::bind(&missing), Err(DisplayError::Socket { .. })));
    }
}
