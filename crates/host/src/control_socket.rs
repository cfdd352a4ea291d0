//! The control socket: every command of `lumen` to a running host, as one line of JSON each way.
//!
//! The socket belongs to the user (mode 0600, in a directory of mode 0700 or the user's runtime directory), so whoever can
//! open it may pair clients.

use lumen_config::Paths;
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
    /// Which host this is: [`Identity`].
    Who,
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

/// What a host says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The settings that it reads; absolute.
    pub config_file: PathBuf,
    /// The base port that it serves on.
    pub base_port: u16,
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
    /// Hosts listen, but none that was meant.
    #[error(
        "no Lumen host of {} is running. One of {} is: lumen --config {} ...",
        wanted.display(), running.display(), running.display()
    )]
    Another {
        /// Settings of the host that was meant.
        wanted: PathBuf,
        /// Settings of one that runs.
        running: PathBuf,
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

/// A host that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Where it listens.
    pub socket: PathBuf,
    /// Who it is.
    pub identity: Identity,
}

impl Running {
    /// The host that `paths` mean: the one that reads this configuration file, also when the base port in it, after which
    /// sockets are named, was changed since it started; else the one on the configured port, whatever it reads.
    /// `port_known` is false when the file cannot be read.
    ///
    /// # Errors
    /// [`CallError::NoHost`], [`CallError::Another`]; [`CallError::Io`] for a socket that is there and not ours.
    pub fn find(paths: &Paths, port_known: bool) -> Result<Self, CallError> {
        let dirs = [&paths.runtime_dir, &paths.state_dir];
        let mut found: Vec<Self> = Vec::new();
        for socket in dirs.into_iter().flat_map(|dir| sockets_in(dir)) {
            if let Ok(identity) = who(&socket) {
                found.push(Self { socket, identity });
            }
        }
        if let Some(ours) = found.iter().find(|host| host.identity.config_file == paths.config_file) {
            return Ok(ours.clone());
        }
        let configured = configured_sockets(paths);
        let configured = if port_known { configured.as_slice() } else { &[] };
        if let Some(host) = found.iter().find(|host| configured.contains(&host.socket)) {
            return Ok(host.clone());
        }
        if let Some(another) = found.first() {
            let running = another.identity.config_file.clone();
            return Err(CallError::Another { wanted: paths.config_file.clone(), running });
        }
        for socket in configured {
            match who(socket) {
                Err(CallError::NoHost { .. }) => {}
                // It is there, and says why it cannot be asked.
                Err(error) => return Err(error),
                Ok(identity) => return Ok(Self { socket: socket.clone(), identity }),
            }
        }
        let tried: Vec<_> = configured_sockets(paths).iter().map(|path| path.display().to_string()).collect();
        Err(CallError::NoHost { tried: tried.join(" or ") })
    }

    /// Sends `request` and waits for the answer.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn call(&self, request: &Request) -> Result<Response, CallError> {
        call(&self.socket, request)
    }
}

/// Where the host with the configured port may listen: a service and a shell do not always have the same runtime folder.
fn configured_sockets(paths: &Paths) -> Vec<PathBuf> {
    let mut sockets = vec![paths.control_socket.clone()];
    if let Some(name) = paths.control_socket.file_name() {
        let other = paths.state_dir.join(name);
        if !sockets.contains(&other) {
            sockets.push(other);
        }
    }
    sockets
}

/// Control sockets in a folder, whatever their port.
fn sockets_in(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let ours = |name: &str| name == "lumen.sock" || (name.starts_with("lumen-") && name.ends_with(".sock"));
    let mut sockets: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(ours))
        .map(|entry| entry.path())
        .collect();
    sockets.sort();
    sockets
}

fn who(socket: &Path) -> Result<Identity, CallError> {
    match call(socket, &Request::Who)? {
        Response::Data(value) => {
            serde_json::from_value(value).map_err(|error| CallError::Answer(error.to_string()))
        }
        Response::Done(text) | Response::Failed(text) => Err(CallError::Answer(text)),
    }
}

/// Sends `request` to the host that listens at `path` and waits for its answer.
fn call(path: &Path, request: &Request) -> Result<Response, CallError> {
    let io_error = |source| CallError::Io { path: path.to_owned(), source };
    let mut stream = UnixStream::connect(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            CallError::NoHost { tried: path.display().to_string() }
        }
        _ => io_error(error),
    })?;
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
        assert!(matches!(call(&path, &Request::Status), Err(CallError::NoHost { .. })));
        let socket = ControlSocket::open(&path, |request| match request {
            Request::Unpair { client } => Response::Done(client),
            _ => Response::Failed("no".into()),
        })
        .expect("listens");
        let mode = std::fs::metadata(&path).expect("exists").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let answer = call(&path, &Request::Unpair { client: "tv".into() }).expect("answered");
        assert_eq!(answer, Response::Done("tv".into()));
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn the_host_that_is_meant_is_found_also_after_its_port_was_edited() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let paths = |config: &str, port: &str| Paths {
            config_file: config.into(),
            state_dir: dir.path().join("state"),
            runtime_dir: dir.path().to_path_buf(),
            control_socket: dir.path().join(port),
        };
        let serve = |config: &'static str, base_port: u16, socket: &str| {
            let identity = Identity { config_file: config.into(), base_port };
            let answer = serde_json::to_value(&identity).expect("plain");
            ControlSocket::open(&dir.path().join(socket), move |_| Response::Data(answer.clone()))
                .expect("listens")
        };
        let port = |config: &str, socket: &str, port_known| {
            Running::find(&paths(config, socket), port_known).map(|host| host.identity.base_port)
        };
        assert!(matches!(port("/a", "lumen.sock", true), Err(CallError::NoHost { .. })));
        let a = serve("/a", 47989, "lumen.sock");
        assert_eq!(port("/a", "lumen.sock", true).ok(), Some(47989));
        assert_eq!(port("/a", "lumen-50000.sock", true).ok(), Some(47989), "its port was edited");
        assert_eq!(port("/a", "lumen-50000.sock", false).ok(), Some(47989), "its file cannot be read");
        assert_eq!(port("/b", "lumen.sock", true).ok(), Some(47989), "named by its port only");
        assert!(matches!(port("/b", "lumen.sock", false), Err(CallError::Another { .. })));
        assert!(matches!(port("/b", "lumen-50000.sock", true), Err(CallError::Another { .. })));
        let b = serve("/b", 50000, "state/lumen-50000.sock");
        assert_eq!(port("/b", "lumen.sock", true).ok(), Some(50000));
        drop((a, b));
        // What a killed host leaves.
        drop(UnixListener::bind(dir.path().join("lumen.sock")).expect("bound"));
        assert!(matches!(port("/a", "lumen.sock", true), Err(CallError::NoHost { .. })));
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
        assert!(call(&path, &Request::Clients).is_ok());
    }

    #[test]
    fn requests_are_plain_json() {
        let request = Request::Pair { pin: "0042".into(), address: None, name: Some("tv".into()) };
        let text = serde_json::to_string(&request).expect("serialises");
        assert_eq!(text, r#"{"command":"pair","pin":"0042","address":null,"name":"tv"}"#);
    }
}
