//! The control socket: every command of `lumen` to a running host, as one line of JSON each way.
//!
//! The socket belongs to the user (mode 0600, in a directory of mode 0700 or the user's runtime directory), so whoever can
//! open it may pair clients.

use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Longest accepted line, either way.
const MAX_LINE: u64 = 1 << 20;
/// How long either side may dawdle.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections served at the same time.
const MAX_CONNECTIONS: usize = 16;

/// What a command asks of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Request {
    /// Who waits for a PIN.
    Waiting,
    /// Gives the PIN to the client at `address`, or to the only one that waits.
    Pair {
        /// Four digits, as the client shows them.
        pin: String,
        /// Address of the client; needed when several wait.
        address: Option<String>,
        /// Name to keep it under.
        name: Option<String>,
    },
    /// Paired clients.
    Clients,
    /// Forgets clients by short id or name.
    Unpair {
        /// Short id or name.
        client: String,
    },
    /// Everything `lumen status` shows.
    Status,
    /// Reads the configuration again.
    Reload,
}

/// What the host answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// Done; the text says what.
    Done(String),
    /// Not done; the text names the cause and the next step.
    Failed(String),
    /// Data, its shape by the request.
    Data(serde_json::Value),
}

/// Why a command did not reach a host.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens.
    #[error("no Lumen host is running (nothing answers at {tried}). Start it with: lumen serve")]
    NoHost {
        /// Sockets that were tried.
        tried: String,
    },
    /// The connection failed.
    #[error("talking to the host at {} failed: {source}. Is it another user's?", path.display())]
    Io {
        /// Socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The answer made no sense.
    #[error("the host answered something unexpected; is it of another version? ({0})")]
    Answer(String),
}

/// Sends `request` to the host behind the first of `paths` where one listens, and waits for its answer.
pub fn call(paths: &[PathBuf], request: &Request) -> Result<Response, CallError> {
    for path in paths {
        match UnixStream::connect(path) {
            Ok(stream) => return converse(stream, path, request),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {}
            Err(source) => return Err(CallError::Io { path: path.clone(), source }),
        }
    }
    let tried: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    Err(CallError::NoHost { tried: tried.join(" or ") })
}

fn converse(mut stream: UnixStream, path: &Path, request: &Request) -> Result<Response, CallError> {
    let io_error = |source| CallError::Io { path: path.to_owned(), source };
    stream.set_read_timeout(Some(PATIENCE)).map_err(io_error)?;
    let mut line = serde_json::to_string(request).map_err(|error| CallError::Answer(error.to_string()))?;
    line.push('\n');
    stream.write_all(line.as_bytes()).map_err(io_error)?;
    let mut answer = String::new();
    BufReader::new(stream.take(MAX_LINE)).read_line(&mut answer).map_err(io_error)?;
    serde_json::from_str(&answer).map_err(|error| CallError::Answer(error.to_string()))
}

/// The listening end. Dropping it removes the socket.
pub struct ControlSocket {
    path: PathBuf,
    stopping: Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl ControlSocket {
    /// Listens at `path` and answers with `handle`, which may be called from several threads at once. A socket that a dead
    /// host left there is replaced; the caller holds the instance lock, so no live host can be behind it.
    pub fn open(
        path: &Path,
        handle: impl Fn(Request) -> Response + Send + Sync + 'static,
    ) -> Result<Self, crate::files::FileError> {
        let write_error = |source| crate::files::FileError::Write { path: path.to_owned(), source };
        if let Some(parent) = path.parent() {
            crate::files::ensure_private_dir(parent)?;
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(write_error(error)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(write_error)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(write_error)?;
        let stopping = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = stopping.clone();
        let handle = Arc::new(handle);
        let thread = std::thread::Builder::new()
            .name("lumen-ctl".into())
            .spawn(move || accept(&listener, &seen, &handle))
            .map_err(write_error)?;
        Ok(Self { path: path.to_owned(), stopping, thread: Some(thread) })
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // Wakes the accept call.
        let _ = UnixStream::connect(&self.path);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

fn accept<H>(listener: &UnixListener, stopping: &std::sync::atomic::AtomicBool, handle: &Arc<H>)
where
    H: Fn(Request) -> Response + Send + Sync + 'static,
{
    let busy = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        if stopping.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else { continue };
        if busy.fetch_add(1, Ordering::AcqRel) >= MAX_CONNECTIONS {
            busy.fetch_sub(1, Ordering::AcqRel);
            continue;
        }
        let handle = handle.clone();
        let done = busy.clone();
        let spawned = std::thread::Builder::new().name("lumen-ctl-conn".into()).spawn(move || {
            if let Err(error) = answer(stream, handle.as_ref()) {
                tracing::debug!(%error, "control connection");
            }
            done.fetch_sub(1, Ordering::AcqRel);
        });
        if spawned.is_err() {
            busy.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

fn answer(mut stream: UnixStream, handle: &impl Fn(Request) -> Response) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new((&stream).take(MAX_LINE)).read_line(&mut line)?;
    let response = match serde_json::from_str(&line) {
        Ok(request) => handle(request),
        Err(error) => Response::Failed(format!("this host does not know that command ({error})")),
    };
    let mut text = serde_json::to_string(&response).map_err(io::Error::other)?;
    text.push('\n');
    stream.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_answered_and_the_socket_is_private_and_removed() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("run/control.sock");
        assert!(matches!(call(std::slice::from_ref(&path), &Request::Status), Err(CallError::NoHost { .. })));
        let elsewhere = dir.path().join("elsewhere.sock");
        let socket = ControlSocket::open(&path, |request| match request {
            Request::Unpair { client } => Response::Done(client),
            _ => Response::Failed("no".into()),
        })
        .expect("listens");
        let mode = std::fs::metadata(&path).expect("exists").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let answer =
            call(std::slice::from_ref(&path), &Request::Unpair { client: "tv".into() }).expect("answered");
        assert_eq!(answer, Response::Done("tv".into()));
        let both = [elsewhere, path.clone()];
        assert!(
            call(&both, &Request::Unpair { client: "tv".into() }).is_ok(),
            "the second place is tried too"
        );
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn nonsense_gets_an_error_and_harms_nobody() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("control.sock");
        let _socket = ControlSocket::open(&path, |_| Response::Done("fine".into())).expect("listens");
        let mut stream = UnixStream::connect(&path).expect("connects");
        stream.write_all(b"\xff\xfe{\n").expect("sent");
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        assert!(call(std::slice::from_ref(&path), &Request::Clients).is_ok());
    }

    #[test]
    fn requests_are_plain_json() {
        let request = Request::Pair { pin: "0042".into(), address: None, name: Some("tv".into()) };
        let text = serde_json::to_string(&request).expect("serialises");
        assert_eq!(text, r#"{"command":"pair","pin":"0042","address":null,"name":"tv"}"#);
    }
}
