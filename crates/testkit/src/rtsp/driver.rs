//! RTSP over TCP: one connection per request (protocol text §5.1).
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::RtspError;
use super::framing::Cipher;
use super::handshake::Handshake;
use crate::clock;

/// Clients write in pieces of this size.
const CHUNK: usize = 536;
/// Largest answer.
const ANSWER_LIMIT: usize = 1 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(15);
const REFUSED_PAUSE: Duration = Duration::from_millis(500);

/// Runs the handshake to its end. `after` is called after each answer.
pub fn run(
    handshake: &mut Handshake,
    address: SocketAddr,
    mut cipher: Option<&mut Cipher>,
    mut after: impl FnMut(&Handshake) -> io::Result<()>,
) -> Result<(), RtspError> {
    while let Some(request) = handshake.next_request() {
        let method = request.method;
        let failed = |source| RtspError::Io { request: method, source };
        let wire = match &mut cipher {
            Some(cipher) => cipher.seal(request.text.as_bytes()),
            None => request.text.into_bytes(),
        };
        let reply = send(address, &wire, CHUNK).map_err(failed)?;
        let reply = match &mut cipher {
            Some(cipher) => {
                cipher.open(&reply).map_err(|problem| RtspError::Malformed { request: method, problem })?
            }
            None => reply,
        };
        handshake.answer(&reply)?;
        after(handshake).map_err(failed)?;
    }
    Ok(())
}

/// Sends raw bytes in pieces of `chunk` on a connection of their own and reads until the host closes it. A reset
/// is an error: the host has to close with FIN.
pub fn send(address: SocketAddr, bytes: &[u8], chunk: usize) -> io::Result<Vec<u8>> {
    let mut stream = connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    for piece in bytes.chunks(chunk.max(1)) {
        stream.write_all(piece)?;
    }
    let mut reply = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) if reply.len() + length <= ANSWER_LIMIT => reply.extend_from_slice(&buffer[..length]),
            Ok(_) => return Err(io::Error::other("the answer is larger than 1 MiB")),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    // The host has closed already; failing to close this side too changes nothing.
    stream.shutdown(Shutdown::Both).ok();
    Ok(reply)
}

/// A refused connection is tried again every 500 ms for about 10 s (protocol text §4).
fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let start = clock::now();
    loop {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionRefused
                    && clock::now().since(start) < CONNECT_TIMEOUT =>
            {
                std::thread::sleep(REFUSED_PAUSE);
            }
            other => return other,
        }
    }
}
