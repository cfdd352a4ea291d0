//! sway's IPC: `i3-ipc`, a length, a kind, JSON. Each question has a deadline.

use super::SWAY;
use lumen_media::{DisplayError, Timestamp, clock};
use rustix::net::sockopt::socket_peercred;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const MAGIC: &[u8; 6] = b"i3-ipc";
const RUN_COMMAND: u32 = 0;
const GET_WORKSPACES: u32 = 1;
const GET_OUTPUTS: u32 = 3;
const GET_VERSION: u32 = 7;
/// An answer longer than this is none of sway's; its largest is a few hundred kilobytes.
const LONGEST: u32 = 16 << 20;

/// Why sway did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum IpcError {
    /// No answer in time.
    #[error("sway did not answer {0}")]
    Timeout(&'static str),
    /// The connection broke, or never was.
    #[error("the connection to sway broke: {0}")]
    Gone(String),
    /// sway said no, in its own words.
    #[error("sway refused `{command}`: {answer}")]
    Refused { command: String, answer: String },
}

impl IpcError {
    pub fn into_display(self, limit: Duration) -> DisplayError {
        match self {
            Self::Timeout(question) => {
                DisplayError::Timeout { backend: SWAY, waited_for: question.to_owned(), limit }
            }
            Self::Gone(cause) => DisplayError::Gone { backend: SWAY, cause },
            Self::Refused { .. } => DisplayError::Unsupported {
                backend: SWAY,
                cause: self.to_string(),
                remedy: "Look into sway's log; a newer sway may know the command".to_owned(),
            },
        }
    }
}

/// Version of sway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Version {
    pub major: u32,
    pub minor: u32,
    /// `sway`, or the name of what was made from it.
    pub variant: Option<String>,
}

impl Version {
    /// Whether `output NAME unplug` exists.
    pub fn can_unplug(&self) -> bool {
        (self.major, self.minor) >= (1, 8)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}.{}", self.variant.as_deref().unwrap_or("sway"), self.major, self.minor)
    }
}

/// Place and size in sway's layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Rect {
    pub x: i32,
    pub y: i32,
    pub width: i32,
    pub height: i32,
}

/// A mode as sway tells it; `refresh` in millihertz, 0 where none was ever set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
pub(super) struct CurrentMode {
    pub width: u32,
    pub height: u32,
    pub refresh: u32,
}

/// An output as sway tells it. What a disabled one lacks has its default.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Output {
    pub name: String,
    pub active: bool,
    pub focused: bool,
    pub rect: Rect,
    pub current_mode: Option<CurrentMode>,
    pub current_workspace: Option<String>,
    pub scale: Option<f64>,
    pub transform: Option<String>,
}

/// A workspace as sway tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Workspace {
    pub name: String,
    pub output: String,
}

#[derive(Deserialize)]
struct Outcome {
    success: bool,
    error: Option<String>,
}

/// A connection to sway's IPC socket.
#[derive(Debug)]
pub(super) struct Ipc {
    stream: UnixStream,
    /// All questions together end here.
    deadline: Timestamp,
}

impl Ipc {
    /// Connects; everything asked on this connection ends by `deadline`.
    pub fn connect(socket: &Path, deadline: Timestamp) -> Result<Self, IpcError> {
        let gone = |error: io::Error| IpcError::Gone(format!("{}: {error}", socket.display()));
        let stream = lumen_wayland::connect(socket).map_err(gone)?;
        stream.set_nonblocking(false).map_err(gone)?;
        Ok(Self { stream, deadline })
    }

    /// The process that listens at the socket: sway.
    pub fn pid(&self) -> Option<i32> {
        Some(socket_peercred(&self.stream).ok()?.pid.as_raw_nonzero().get())
    }

    pub fn version(&mut self) -> Result<Version, IpcError> {
        self.ask(GET_VERSION, "", "get_version")
    }

    pub fn outputs(&mut self) -> Result<Vec<Output>, IpcError> {
        self.ask(GET_OUTPUTS, "", "get_outputs")
    }

    pub fn workspaces(&mut self) -> Result<Vec<Workspace>, IpcError> {
        self.ask(GET_WORKSPACES, "", "get_workspaces")
    }

    /// Runs one command, or several with `;` between.
    pub fn run(&mut self, command: &str) -> Result<(), IpcError> {
        let outcomes: Vec<Outcome> = self.ask(RUN_COMMAND, command, "a command")?;
        match outcomes.into_iter().find(|outcome| !outcome.success) {
            None => Ok(()),
            Some(failed) => Err(IpcError::Refused {
                command: command.to_owned(),
                answer: failed.error.unwrap_or_else(|| "no reason given".to_owned()),
            }),
        }
    }

    /// Looks at the outputs until `found` finds what it looks for.
    pub fn wait_for<T>(
        &mut self,
        waited_for: &'static str,
        mut found: impl FnMut(&[Output]) -> Option<T>,
    ) -> Result<T, IpcError> {
        loop {
            if let Some(found) = found(&self.outputs()?) {
                return Ok(found);
            }
            if clock::now() + LOOK_AGAIN >= self.deadline {
                return Err(IpcError::Timeout(waited_for));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn ask<T: DeserializeOwned>(
        &mut self,
        kind: u32,
        text: &str,
        question: &'static str,
    ) -> Result<T, IpcError> {
        let answer = self.exchange(kind, text).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => IpcError::Timeout(question),
            _ => IpcError::Gone(error.to_string()),
        })?;
        serde_json::from_slice(&answer)
            .map_err(|error| IpcError::Gone(format!("the answer to {question} makes no sense: {error}")))
    }

    fn exchange(&mut self, kind: u32, text: &str) -> io::Result<Vec<u8>> {
        let question = message(kind, text);
        self.limit()?;
        self.stream.write_all(&question)?;
        let mut head = [0; MAGIC.len() + 8];
        self.read(&mut head)?;
        let (length, _) = parse_head(&head).filter(|(_, answered)| *answered == kind).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "what answers does not speak sway's IPC")
        })?;
        let mut body = vec![0; length as usize];
        self.read(&mut body)?;
        Ok(body)
    }

    /// Reads all of `bytes`, by the deadline however they trickle in.
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < bytes.len() {
            self.limit()?;
            match self.stream.read(&mut bytes[filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn limit(&self) -> io::Result<()> {
        let left = self.deadline.since(clock::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.set_write_timeout(Some(left))
    }
}

/// Between two looks at the outputs: sway applies a mode within a few milliseconds.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

fn message(kind: u32, text: &str) -> Vec<u8> {
    let length = text.len() as u32;
    [MAGIC.as_slice(), &length.to_ne_bytes(), &kind.to_ne_bytes(), text.as_bytes()].concat()
}

/// Length and kind of an answer.
fn parse_head(head: &[u8; MAGIC.len() + 8]) -> Option<(u32, u32)> {
    let (magic, numbers) = head.split_first_chunk()?;
    let (length, kind) = numbers.split_first_chunk()?;
    let length = u32::from_ne_bytes(*length);
    (magic == MAGIC && length <= LONGEST)
        .then(|| (length, kind.first_chunk().map(|kind| u32::from_ne_bytes(*kind))))
        .and_then(|(length, kind)| Some((length, kind?)))
}

/// `text` as one word of a command.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn versions_tell_who_can_unplug() {
        let version = |text: &str| serde_json::from_str::<Version>(text).expect("a version");
        let old = version(r#"{"human_readable":"1.7","major":1,"minor":7,"patch":0}"#);
        assert!(!old.can_unplug());
        let new = version(r#"{"human_readable":"1.12","variant":"sway","major":1,"minor":12,"patch":0}"#);
        assert!(new.can_unplug());
        assert_eq!((old.to_string(), new.to_string()), ("sway 1.7".into(), "sway 1.12".into()));
    }

    #[test]
    fn a_disabled_output_is_read() {
        let text = r#"{"name":"DP-1","active":false,"current_workspace":null,"rect":{"x":0,"y":0,"width":0,"height":0}}"#;
        let output: Output = serde_json::from_str(text).expect("an output");
        assert_eq!(output, Output { name: "DP-1".into(), ..Output::default() });
    }

    #[test]
    fn heads_are_checked() {
        let mut head: [u8; 14] = message(3, "").try_into().expect("only a head");
        assert_eq!(parse_head(&head), Some((0, 3)));
        head[0] = b'I';
        assert_eq!(parse_head(&head), None);
        let mut long: [u8; 14] = message(3, "").try_into().expect("only a head");
        long[6..10].copy_from_slice(&(LONGEST + 1).to_ne_bytes());
        assert_eq!(parse_head(&long), None);
    }

    #[test]
    fn names_become_one_word() {
        assert_eq!(quoted(r#"my "best" \ 1"#), r#""my \"best\" \\ 1""#);
    }

    #[test]
    fn who_never_answers_is_given_up() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let socket = dir.path().join("s");
        let listener = UnixListener::bind(&socket).expect("bound");
        let deadline = clock::now() + Duration::from_millis(30);
        let mut ipc = Ipc::connect(&socket, deadline).expect("connected");
        assert!(matches!(ipc.version(), Err(IpcError::Timeout("get_version"))));
        drop(listener);
        let error = Ipc::connect(&socket, deadline).expect_err("nobody listens");
        assert!(matches!(error, IpcError::Gone(_)), "{error}");
    }
}
