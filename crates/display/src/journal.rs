//! What was changed in a desktop's layout, written down before it is changed, so that the next start can undo it.
//!
//! One file per backend and output, `<state_dir>/layout/<name>.json`, written whole and renamed into place.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A written entry. Dropping it does nothing: [`Entry::done`] removes the file once the layout is restored.
#[derive(Debug)]
pub(crate) struct Entry {
    file: PathBuf,
}

fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("layout")
}

impl Entry {
    /// Writes `before` down, durably, under `name` (letters, digits, `-`).
    pub fn write(state_dir: &Path, name: &str, before: &impl Serialize) -> io::Result<Self> {
        let folder = folder(state_dir);
        fs::create_dir_all(&folder)?;
        let file = folder.join(format!("{name}.json"));
        let fresh = folder.join(format!(".{name}.new"));
        let written = fs::File::create(&fresh)?;
        serde_json::to_writer(&written, before)?;
        written.sync_all()?;
        fs::rename(&fresh, &file)?;
        Ok(Self { file })
    }

    /// The layout is as before: forgets the entry.
    pub fn done(self) {
        if let Err(error) = fs::remove_file(&self.file) {
            tracing::warn!(file = %self.file.display(), %error, "a layout journal cannot be removed; the next start restores it again");
        }
    }
}

/// What hosts that were killed left behind, of entries whose name begins with `prefix`. Damaged ones are dropped with a
/// warning.
pub(crate) fn left_over<T: DeserializeOwned>(state_dir: &Path, prefix: &str) -> Vec<(Entry, T)> {
    let files = fs::read_dir(folder(state_dir)).into_iter().flatten().flatten().map(|entry| entry.path());
    files
        .filter(|file| {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with(prefix) && name.ends_with(".json")
        })
        .filter_map(read)
        .collect()
}

/// What a host that was killed left behind under this very `name`; dropped with a warning when damaged.
pub(crate) fn left_over_at<T: DeserializeOwned>(state_dir: &Path, name: &str) -> Option<(Entry, T)> {
    let file = folder(state_dir).join(format!("{name}.json"));
    if file.exists() { read(file) } else { None }
}

fn read<T: DeserializeOwned>(file: PathBuf) -> Option<(Entry, T)> {
    let read = fs::read(&file).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
    match read {
        Ok(before) => Some((Entry { file }, before)),
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "a damaged layout journal is dropped");
            let _ = fs::remove_file(&file);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_until_it_is_done_and_damaged_ones_are_dropped() {
        let dir = tempfile::tempdir().expect("temporary directory");
        Entry::write(dir.path(), "kwin-1", &vec![1, 2]).expect("written");
        fs::write(folder(dir.path()).join("kwin-2.json"), "{").expect("written");
        let mut found = left_over::<Vec<u32>>(dir.path(), "kwin-");
        let (entry, before) = found.pop().expect("one");
        assert!(found.is_empty());
        assert_eq!(before, [1, 2]);
        assert!(left_over::<Vec<u32>>(dir.path(), "sway-").is_empty());
        entry.done();
        assert!(left_over::<Vec<u32>>(dir.path(), "kwin-").is_empty());
    }

    #[test]
    fn a_name_is_not_taken_for_another_that_it_begins() {
        let dir = tempfile::tempdir().expect("temporary directory");
        Entry::write(dir.path(), "kwin-wayland-10", &10).expect("written");
        assert!(left_over_at::<u32>(dir.path(), "kwin-wayland-1").is_none());
        assert_eq!(left_over_at(dir.path(), "kwin-wayland-10").map(|(_, before)| before), Some(10));
    }
}
