//! Files of the state folder: private, and either old or new after a crash, never half.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A directory or file that Lumen needs and cannot use.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Reading failed for another reason than absence.
    #[error("cannot read {}: {source}. Check its owner and permissions", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Writing failed.
    #[error("cannot write {}: {source}. Make the directory writable, or choose another one: server.state_dir in the configuration, or XDG_RUNTIME_DIR for sockets", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The content makes no sense.
    #[error("{} is damaged ({reason}). Move it away to start afresh; paired clients then have to pair again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Makes `dir` and its parents, readable by the owner only.
pub fn ensure_private_dir(dir: &Path) -> Result<(), FileError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| FileError::Write { path: dir.to_owned(), source })
}

/// The file's content, or `None` when there is no such file.
pub fn read_optional(path: &Path) -> Result<Option<String>, FileError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError::Read { path: path.to_owned(), source }),
    }
}

/// Replaces `path` with `content`, mode 0600, through a synced temporary file in the same directory.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let temporary = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        // The rename itself has to reach the disk, or a power cut brings the old file back.
        fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|source| FileError::Write { path: path.to_owned(), source })
}

/// Holds the lock of a state folder while the host runs.
#[derive(Debug)]
pub struct InstanceLock {
    _file: fs::File,
}

impl InstanceLock {
    /// Takes the lock.
    ///
    /// # Errors
    /// `Ok(None)` means that another host holds it.
    pub fn acquire(state_dir: &Path) -> Result<Option<Self>, FileError> {
        let path = state_dir.join("lock");
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|source| FileError::Write { path: path.clone(), source })?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(FileError::Write { path, source: error.into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn written_files_are_private_and_replaced_whole() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("clients.json");
        assert_eq!(read_optional(&path).expect("absent is fine"), None);
        write_private(&path, b"one").expect("writable");
        write_private(&path, b"two").expect("writable");
        assert_eq!(read_optional(&path).expect("readable").as_deref(), Some("two"));
        let mode = fs::metadata(&path).expect("exists").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 1, "no temporary file stays");
    }

    #[test]
    fn errors_name_the_file_and_the_remedy() {
        let error = write_private(Path::new("/proc/nowhere/file"), b"").expect_err("not writable");
        assert!(error.to_string().contains("/proc/nowhere/file"), "{error}");
        assert!(error.to_string().contains("server.state_dir"), "{error}");
    }

    #[test]
    fn only_one_host_holds_the_lock() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let first = InstanceLock::acquire(dir.path()).expect("writable");
        assert!(first.is_some());
        assert!(InstanceLock::acquire(dir.path()).expect("writable").is_none());
        drop(first);
        assert!(InstanceLock::acquire(dir.path()).expect("writable").is_some());
    }
}
