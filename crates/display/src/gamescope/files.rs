//! What a gamescope leaves in the file system when it could not clean up after itself.

use super::log::Said;
use super::marks::{self, Marked};
use rustix::fs::{FlockOperation, flock};
use std::fs;
use std::path::{Path, PathBuf};

/// Where X servers put their locks and sockets, whatever `TMPDIR` says.
const X_PLACE: &str = "/tmp";

/// Files of one gamescope, collected while it runs.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Its Wayland and libei sockets; each has a lock of the same name.
    sockets: Vec<PathBuf>,
    /// Number of its X display.
    display: Option<u32>,
    /// Who holds the X display's lock.
    pid: u32,
    /// Through which its Vulkan layer is told the frame rate.
    limiter: Option<PathBuf>,
}

impl Files {
    /// By what its log said and what its processes carry.
    pub fn of(runtime_dir: &Path, pid: u32, said: &Said, processes: &[Marked]) -> Self {
        let inside = |name: &str| {
            let value = processes
                .iter()
                .find_map(|one| marks::variable(one.pid.as_raw_nonzero().get().unsigned_abs(), name))?;
            // Names are the app's to change: nothing but a file of this folder is ever removed.
            let path = runtime_dir.join(value);
            (path.parent() == Some(runtime_dir)).then_some(path)
        };
        let wayland = said.socket.as_ref().map(|name| runtime_dir.join(name));
        let ei = said.socket.as_ref().map(|name| runtime_dir.join(format!("{name}-ei")));
        let limiter = inside("GAMESCOPE_LIMITER_FILE").filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with("gamescope-limiter-"))
        });
        Self { sockets: wayland.into_iter().chain(ei).collect(), display: said.display, pid, limiter }
    }

    /// Removes what nobody holds any more. After a clean end there is nothing.
    pub fn remove_if_orphaned(&self) {
        for socket in &self.sockets {
            let mut lock = socket.clone().into_os_string();
            lock.push(".lock");
            let lock = PathBuf::from(lock);
            let Ok(file) = fs::File::open(&lock) else { continue };
            // Another gamescope may have taken the name over.
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                let _ = fs::remove_file(socket);
                let _ = fs::remove_file(&lock);
            }
        }
        if let Some(display) = self.display {
            let lock = PathBuf::from(format!("{X_PLACE}/.X{display}-lock"));
            let holder = fs::read_to_string(&lock).ok().and_then(|text| text.trim().parse().ok());
            if holder == Some(self.pid) {
                let _ = fs::remove_file(format!("{X_PLACE}/.X11-unix/X{display}"));
                let _ = fs::remove_file(lock);
            }
        }
        if let Some(limiter) = &self.limiter {
            let _ = fs::remove_file(limiter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_that_somebody_holds_stay_and_orphans_go() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let names = ["gamescope-0", "gamescope-0.lock", "gamescope-0-ei", "gamescope-0-ei.lock"];
        for name in names {
            fs::write(dir.path().join(name), "").expect("written");
        }
        let said = Said { socket: Some("gamescope-0".into()), ..Said::default() };
        let files = Files::of(dir.path(), 0, &said, &[]);
        let held = fs::File::open(dir.path().join("gamescope-0.lock")).expect("there");
        flock(&held, FlockOperation::LockExclusive).expect("free");
        files.remove_if_orphaned();
        let left = names.map(|name| dir.path().join(name).exists());
        assert_eq!(left, [true, true, false, false]);
        drop(held);
        files.remove_if_orphaned();
        assert_eq!(fs::read_dir(dir.path()).expect("there").count(), 0);
    }
}
