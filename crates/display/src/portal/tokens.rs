//! Restore tokens: what a portal gives out so that it need not ask the same question again.
//!
//! One file per desktop and interface, `<state_dir>/portal/<desktop>-<interface>.token`, readable by this user only. A
//! token is good for one session, which hands out the next.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Below the state directory.
const FOLDER: &str = "portal";
/// A token is a UUID or little more; a longer file is not one of ours.
const MAX_TOKEN: usize = 4096;

/// The tokens of one desktop.
pub(super) struct Tokens {
    folder: PathBuf,
    desktop: String,
}

/// Where one token is kept.
pub(super) struct Memory {
    file: PathBuf,
}

/// Forgets all tokens of all desktops.
pub(super) fn forget_all(state_dir: &Path) {
    let folder = state_dir.join(FOLDER);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(folder = %folder.display(), %error, "the portal's restore tokens cannot be removed");
        }
        _ => {}
    }
}

impl Tokens {
    /// `desktop` are the names in `XDG_CURRENT_DESKTOP`.
    pub fn new(state_dir: &Path, desktop: &[String]) -> Self {
        let plain = |name: &String| {
            name.chars().filter(|&letter| letter.is_ascii_alphanumeric() || letter == '-').collect::<String>()
        };
        let names: Vec<_> = desktop.iter().map(plain).filter(|name| !name.is_empty()).collect();
        let desktop = if names.is_empty() { "unknown".to_owned() } else { names.join("-") };
        Self { folder: state_dir.join(FOLDER), desktop }
    }

    pub fn for_interface(&self, interface: &str) -> Memory {
        Memory { file: self.folder.join(format!("{}-{interface}.token", self.desktop)) }
    }
}

impl Memory {
    /// The token, if there is one.
    pub fn read(&self) -> Option<String> {
        let token = fs::read_to_string(&self.file).ok()?;
        let token = token.trim();
        (!token.is_empty() && token.len() <= MAX_TOKEN).then(|| token.to_owned())
    }

    /// Keeps the next token; none forgets the one that was used up. A state directory that cannot be written costs a
    /// question at the next start, no more.
    pub fn replace(&self, token: Option<String>) {
        let done = match &token {
            Some(token) => self.write(token),
            None => fs::remove_file(&self.file).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            }),
        };
        if let Err(error) = done {
            tracing::warn!(
                file = %self.file.display(), %error,
                "the portal's restore token cannot be kept: the desktop will ask again. Make the directory writable"
            );
        }
    }

    fn write(&self, token: &str) -> io::Result<()> {
        if let Some(folder) = self.file.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let fresh = self.file.with_extension("new");
        // Made anew, so that its mode is ours and not that of a file that lay there.
        let _ = fs::remove_file(&fresh);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(token.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, &self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_token_is_kept_private_replaced_and_forgotten() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let tokens = Tokens::new(dir.path(), &["kde".to_owned()]);
        let memory = tokens.for_interface("remote-desktop");
        assert_eq!(memory.read(), None);
        memory.replace(None);
        for token in ["first", "second"] {
            memory.replace(Some(token.to_owned()));
            assert_eq!(memory.read().as_deref(), Some(token));
            let mode = fs::metadata(&memory.file).expect("a file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(tokens.for_interface("screen-cast").read(), None);
        memory.replace(None);
        assert_eq!(memory.read(), None);
        assert_eq!(fs::read_dir(dir.path().join("portal")).expect("folder").count(), 0);
        memory.replace(Some("third".to_owned()));
        forget_all(dir.path());
        assert_eq!(memory.read(), None);
        forget_all(dir.path());
    }

    #[test]
    fn a_desktop_cannot_name_a_file_elsewhere() {
        let tokens = Tokens::new(Path::new("/state"), &["../x".to_owned(), "gnome".to_owned()]);
        assert_eq!(tokens.for_interface("y").file, Path::new("/state/portal/x-gnome-y.token"));
        let tokens = Tokens::new(Path::new("/state"), &[]);
        assert_eq!(tokens.for_interface("y").file, Path::new("/state/portal/unknown-y.token"));
    }
}
