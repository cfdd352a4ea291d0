//! The permission to show KWin's screens: a desktop entry that names the program and the protocols it needs.
//!
//! KWin hands its screencast protocol only to programs that such an entry names by their absolute path. The entry is a
//! file of the user; nothing else is changed, and [`remove`] takes exactly that file away.

use super::link::{Link, Stopped, Until};
use crate::DisplayConfig;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The entry's file. Its name is ours alone.
const FILE: &str = "lumen-host.desktop";
/// What marks the entry as ours.
const MARK: &str = "X-Lumen-Setup=true";
/// What KWin is to hand out: pictures, and the input that comes back.
const INTERFACES: &str = "zkde_screencast_unstable_v1,org_kde_kwin_fake_input";
/// How long KWin gets to see a new entry.
const NOTICE: Duration = Duration::from_secs(3);

/// What [`install`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupReport {
    /// The desktop entry.
    pub file: PathBuf,
    /// Whether it was written now; `false` when it was there already, word for word.
    pub written: bool,
    /// Whether the running KWin shows its screens now. `None`: no KWin runs, or another program was set up than the one
    /// that asks.
    pub seen: Option<bool>,
    /// What may still be in the way, with the remedy.
    pub warnings: Vec<String>,
}

/// Why the permission could not be written or removed.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Neither `XDG_DATA_HOME` nor `HOME` is known.
    #[error("where desktop entries go is not known. Set HOME, or XDG_DATA_HOME")]
    NoHome,
    /// The program cannot be named in an entry.
    #[error("{path} cannot be named in a desktop entry: {cause}. Install Lumen somewhere else")]
    Path {
        /// The program.
        path: String,
        /// What is wrong with it.
        cause: &'static str,
    },
    /// The program is not there.
    #[error("{path}: {source}. Give the path of Lumen's program")]
    Program {
        /// The program.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file is somebody else's.
    #[error("{path} was not written by `lumen setup`, so it is left alone. Move it away, then try again")]
    Foreign {
        /// The entry.
        path: String,
    },
    /// The file system refused.
    #[error("{path}: {source}. Make the folder writable, then try again")]
    File {
        /// The entry or its folder.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

/// What is known about the permission of the program that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    /// There is no entry.
    Missing,
    /// The entry names another program.
    Other(String),
    /// The entry names this program.
    Written(PathBuf),
    /// The entry cannot be read.
    Unreadable(PathBuf),
    /// The program has file capabilities; no entry helps.
    Capabilities(PathBuf),
}

/// Gives the program `executable` the permission. Does nothing when it has it.
///
/// # Errors
/// [`SetupError`] with cause and next step.
pub fn install(config: &DisplayConfig, executable: &Path) -> Result<SetupReport, SetupError> {
    let program = |source| SetupError::Program { path: executable.display().to_string(), source };
    let executable = fs::canonicalize(executable).map_err(program)?;
    let file = entry_file(config).ok_or(SetupError::NoHome)?;
    let text = entry(&executable)?;
    let there = read(&file)?;
    let written = there.as_deref() != Some(text.as_str());
    if written {
        replace(&file, &text)
            .map_err(|source| SetupError::File { path: file.display().to_string(), source })?;
    }
    let mut warnings = Vec::new();
    if has_capabilities(&executable) {
        warnings.push(format!(
            "{0} has file capabilities, so KWin cannot tell which program it is and refuses it. Remove them: sudo setcap -r {0}",
            executable.display()
        ));
    }
    let is_us = running().is_some_and(|running| running == executable);
    let seen = if is_us { wait_seen(config) } else { None };
    if seen == Some(false) {
        warnings.push("KWin has not noticed the permission. Log out of Plasma and in again".into());
    }
    Ok(SetupReport { file, written, seen, warnings })
}

/// Takes the permission away. Returns the entry's file when there was one.
///
/// # Errors
/// [`SetupError`] with cause and next step.
pub fn remove(config: &DisplayConfig) -> Result<Option<PathBuf>, SetupError> {
    let file = entry_file(config).ok_or(SetupError::NoHome)?;
    if read(&file)?.is_none() {
        return Ok(None);
    }
    fs::remove_file(&file).map_err(|source| SetupError::File { path: file.display().to_string(), source })?;
    Ok(Some(file))
}

/// What stands about the program that runs.
pub(crate) fn grant(config: &DisplayConfig) -> Grant {
    let running = running();
    if let Some(running) = running.as_ref().filter(|running| has_capabilities(running)) {
        return Grant::Capabilities(running.clone());
    }
    let Some(file) = entry_file(config) else { return Grant::Missing };
    match fs::read_to_string(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Grant::Missing,
        Err(_) => Grant::Unreadable(file),
        Ok(text) => {
            let exec = text.lines().find_map(|line| line.strip_prefix("Exec=")).unwrap_or_default();
            let ours = running.and_then(|running| exec_value(&running).ok());
            if ours.is_some_and(|ours| ours == exec) {
                Grant::Written(file)
            } else {
                Grant::Other(exec.to_owned())
            }
        }
    }
}

/// The program that runs, as KWin sees it.
fn running() -> Option<PathBuf> {
    fs::read_link("/proc/self/exe").ok()
}

fn has_capabilities(executable: &Path) -> bool {
    let mut value = [0u8; 64];
    rustix::fs::getxattr(executable, "security.capability", &mut value).is_ok_and(|length| length > 0)
}

fn entry_file(config: &DisplayConfig) -> Option<PathBuf> {
    let absolute =
        |name: &str| config.session.variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
    Some(data.join("applications").join(FILE))
}

/// The entry that is there; an error when it is not ours.
fn read(file: &Path) -> Result<Option<String>, SetupError> {
    let path = || file.display().to_string();
    match fs::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SetupError::File { path: path(), source }),
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if text.lines().any(|line| line == MARK) {
                Ok(Some(text))
            } else {
                Err(SetupError::Foreign { path: path() })
            }
        }
    }
}

/// Writes the whole file or nothing of it.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    // Not `.desktop`: whoever watches the folder shall not read half an entry.
    let fresh = folder.join(format!(".{FILE}.new"));
    let written = (|| {
        let mut out =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&fresh)?;
        out.set_permissions(fs::Permissions::from_mode(0o644))?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        fs::rename(&fresh, file)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    written
}

fn entry(executable: &Path) -> Result<String, SetupError> {
    let exec = exec_value(executable)?;
    Ok(format!(
        "[Desktop Entry]\n\
         Type=Application\n\
         Name=Lumen\n\
         Comment=Lets Lumen stream this desktop; written by lumen setup, removed by lumen setup --remove\n\
         Exec={exec}\n\
         NoDisplay=true\n\
         Terminal=false\n\
         X-KDE-Wayland-Interfaces={INTERFACES}\n\
         {MARK}\n"
    ))
}

/// The program as value of the key `Exec`.
fn exec_value(executable: &Path) -> Result<String, SetupError> {
    let refuse = |cause| SetupError::Path { path: executable.display().to_string(), cause };
    let path = executable.to_str().ok_or_else(|| refuse("its path is not UTF-8"))?;
    if !executable.is_absolute() {
        return Err(refuse("its path is not absolute"));
    }
    if path.ends_with(" (deleted)") {
        return Err(refuse("it was replaced while it runs; start the new one"));
    }
    if path.chars().any(char::is_control) {
        return Err(refuse("its path has control characters"));
    }
    // The specification has ways to write them; KWin 6.7 finds the program by none of those.
    if path.contains(['"', '`', '$', '\\', '%']) {
        return Err(refuse("its path has one of \" ` $ \\ %, by which KWin does not find it"));
    }
    // What the specification reserves is quoted, as it demands.
    let reserved = [' ', '\'', '<', '>', '~', '|', '&', ';', '*', '?', '#', '(', ')'];
    Ok(if path.contains(reserved) { format!("\"{path}\"") } else { path.to_owned() })
}

/// Whether KWin hands out its screens, as soon as it does.
fn wait_seen(config: &DisplayConfig) -> Option<bool> {
    let (socket, _) = super::find(config, NOTICE).ok()?;
    let until = Until::within(NOTICE);
    loop {
        match Link::open(&socket, until) {
            Ok(link) if link.state.version("zkde_screencast_unstable_v1").is_some() => return Some(true),
            Ok(_) => {}
            // It is KWin, and has shown nothing in time.
            Err(Stopped::Deadline) => return Some(false),
            Err(_) => return None,
        }
        if until.deadline.is_some_and(|deadline| lumen_media::clock::now() >= deadline) {
            return Some(false);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(home: &Path) -> DisplayConfig {
        let mut config = DisplayConfig::new(home);
        config.session.variables.insert("HOME".into(), home.display().to_string());
        config
    }

    fn program(folder: &Path, name: &str) -> PathBuf {
        let program = folder.join(name);
        fs::write(&program, "").expect("written");
        program
    }

    #[test]
    fn an_entry_is_written_once_renewed_and_removed() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let config = config(dir.path());
        let first = install(&config, &program(dir.path(), "lumen")).expect("installed");
        assert!(first.written && first.seen.is_none() && first.warnings.is_empty(), "{first:?}");
        let text = fs::read_to_string(&first.file).expect("there");
        let exec = fs::canonicalize(dir.path()).expect("there").join("lumen");
        assert!(text.contains(&format!("\nExec={}\n", exec.display())), "{text}");
        assert!(
            text.contains("\nNoDisplay=true\n") && text.contains("zkde_screencast_unstable_v1"),
            "{text}"
        );
        assert!(first.file.starts_with(dir.path().join(".local/share/applications")));

        let again = install(&config, &program(dir.path(), "lumen")).expect("installed");
        assert!(!again.written);
        let other = install(&config, &program(dir.path(), "other")).expect("installed");
        assert!(other.written && other.file == first.file);
        let named = dir.path().canonicalize().expect("there").join("other").display().to_string();
        assert_eq!(grant(&config), Grant::Other(named));

        assert_eq!(remove(&config).expect("removed"), Some(first.file.clone()));
        assert!(!first.file.exists());
        assert_eq!(
            fs::read_dir(first.file.parent().expect("a folder")).expect("there").count(),
            0,
            "nothing is left"
        );
        assert_eq!(remove(&config).expect("nothing to do"), None);
        assert_eq!(grant(&config), Grant::Missing);
    }

    #[test]
    fn the_data_folder_is_that_of_the_session() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut config = config(dir.path());
        let data = dir.path().join("data");
        config.session.variables.insert("XDG_DATA_HOME".into(), data.display().to_string());
        let report = install(&config, Path::new("/proc/self/exe")).expect("installed");
        assert_eq!(report.file, data.join("applications").join(FILE));
        assert_eq!(grant(&config), Grant::Written(report.file));
        config.session.variables.clear();
        assert!(matches!(install(&config, Path::new("/proc/self/exe")), Err(SetupError::NoHome)));
    }

    #[test]
    fn a_foreign_file_is_left_alone() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let config = config(dir.path());
        let file = entry_file(&config).expect("a place");
        fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        fs::write(&file, "[Desktop Entry]\nName=mine\n").expect("written");
        let program = program(dir.path(), "lumen");
        assert!(matches!(install(&config, &program), Err(SetupError::Foreign { .. })));
        assert!(matches!(remove(&config), Err(SetupError::Foreign { .. })));
        assert_eq!(fs::read_to_string(&file).expect("there"), "[Desktop Entry]\nName=mine\n");
    }

    #[test]
    fn paths_are_quoted_or_refused() {
        let value = |path: &str| exec_value(Path::new(path));
        assert_eq!(value("/usr/bin/lumen").expect("plain"), "/usr/bin/lumen");
        assert_eq!(value("/my games/lumen").expect("quoted"), "\"/my games/lumen\"");
        assert_eq!(value("/a;b/lumen").expect("quoted"), "\"/a;b/lumen\"");
        for path in
            ["lumen", "/a\nb", "/100%/lumen", "/a$b", "/a\\b", "/a\"b", "/a`b", "/usr/bin/lumen (deleted)"]
        {
            let error = value(path).expect_err(path).to_string();
            assert!(error.contains("Install Lumen somewhere else"), "{error}");
        }
        let missing = install(&config(Path::new("/nowhere")), Path::new("/nowhere/lumen"));
        assert!(matches!(missing, Err(SetupError::Program { .. })));
    }
}
