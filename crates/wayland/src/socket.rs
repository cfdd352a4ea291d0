//! Connections that never block.

use rustix::net::sockopt::socket_peercred;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Connects to the socket at `path`; the stream does not block. Who hangs with a full backlog makes this fail at once, as
/// [`io::ErrorKind::WouldBlock`].
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket.into())
}

/// The process that listens at the socket at `path`.
pub fn listener(path: &Path) -> Option<i32> {
    let stream = connect(path).ok()?;
    Some(socket_peercred(&stream).ok()?.pid.as_raw_nonzero().get())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn who_never_accepts_refuses_instead_of_blocking() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("wayland-0");
        let server = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
        let server = server.expect("a socket");
        rustix::net::bind(&server, &SocketAddrUnix::new(&path).expect("an address")).expect("bound");
        rustix::net::listen(&server, 1).expect("listening");
        assert_eq!(listener(&path), Some(rustix::process::getpid().as_raw_nonzero().get()));
        let (tell, told) = channel();
        // Not joined: it would block for ever where `connect` does.
        std::thread::spawn(move || {
            let mut waiting = Vec::new();
            let refused = loop {
                match connect(&path) {
                    Ok(stream) if waiting.len() < 100 => waiting.push(stream),
                    other => break other.map(drop).map_err(|error| error.kind()),
                }
            };
            let _ = tell.send((waiting.len(), refused));
        });
        let (waiting, refused) = told.recv_timeout(Duration::from_secs(10)).expect("does not block");
        assert!(waiting > 0, "the backlog takes some");
        assert_eq!(refused, Err(io::ErrorKind::WouldBlock));
    }

    #[test]
    fn nobody_listens_at_what_is_gone() {
        let dir = tempfile::tempdir().expect("temporary directory");
        assert_eq!(listener(&dir.path().join("wayland-0")), None);
    }
}
