//! The TCP side of RTSP (protocol text §5.1): one request per connection, answered, half-closed and drained, so that
//! the client reads the whole answer and a FIN. The messages are somebody else's business.
//!
//! A connection costs a bounded buffer, lives for ten seconds at most and never holds a thread.

use crate::path::{network, normalise, normalise_ip};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};

/// Read at a time; clients send chunks of at most 536 bytes.
const CHUNK: usize = 4096;
/// Pause after an error of `accept`, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Limits of the listener.
#[derive(Clone, Copy, Debug)]
pub struct RtspConfig {
    /// From accept to the end of the answer.
    pub deadline: Duration,
    /// Longest silence before the request is complete.
    pub idle: Duration,
    /// How long to wait for the client's FIN after the answer.
    pub drain: Duration,
    /// Bytes thrown away while waiting for it.
    pub drain_bytes: usize,
    /// Longest request, whatever the handler would take, in bytes.
    pub max_request: usize,
    /// Connections at a time.
    pub connections: usize,
    /// Of them from one address, or from one /64 of IPv6.
    pub connections_per_address: usize,
}

impl Default for RtspConfig {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            idle: Duration::from_secs(5),
            drain: Duration::from_secs(2),
            drain_bytes: 64 * 1024,
            max_request: 64 * 1024,
            connections: 64,
            connections_per_address: 8,
        }
    }
}

/// What to do with a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The request is not complete.
    NeedMore,
    /// Send this, then close in good order.
    Reply(Vec<u8>),
    /// Close without an answer.
    Close,
}

/// Both ends of a connection, normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The client.
    pub remote: SocketAddr,
    /// The address of ours that it asked.
    pub local: IpAddr,
}

/// Understands requests. Called on a runtime thread: it must not wait for anything.
pub trait RtspHandler: Send + Sync + 'static {
    /// `received` is everything that this connection has sent so far; called after each arrival. A connection that
    /// sends nothing is never shown.
    fn received(&self, received: &[u8], ends: Ends) -> Progress;
}

impl<F: Fn(&[u8], Ends) -> Progress + Send + Sync + 'static> RtspHandler for F {
    fn received(&self, received: &[u8], ends: Ends) -> Progress {
        self(received, ends)
    }
}

/// Counters of a [`RtspServer`].
#[derive(Debug, Default)]
pub struct RtspStats {
    answered: AtomicU64,
    refused: AtomicU64,
    expired: AtomicU64,
}

impl RtspStats {
    /// Requests answered.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Connections closed at once because of the limits.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Connections closed because they were slow, silent in the middle of a request, or too long.
    pub fn expired(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }
}

/// A running listener. Dropping it closes the port and all connections.
pub struct RtspServer {
    accept: AbortHandle,
    stats: Arc<RtspStats>,
}

impl RtspServer {
    /// Serves a listener from [`crate::bind::tcp`]. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// When the runtime cannot watch the listener.
    pub fn spawn(
        listener: std::net::TcpListener,
        config: RtspConfig,
        handler: impl RtspHandler,
    ) -> io::Result<RtspServer> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let stats = Arc::new(RtspStats::default());
        let shared = Arc::new(Shared { config, handler, stats: stats.clone(), open: Mutex::default() });
        let accept = tokio::spawn(accept(listener, shared)).abort_handle();
        Ok(RtspServer { accept, stats })
    }

    /// The counters.
    pub fn stats(&self) -> &RtspStats {
        &self.stats
    }
}

impl Drop for RtspServer {
    fn drop(&mut self) {
        // The connections live in a set that the task owns.
        self.accept.abort();
    }
}

struct Shared<H> {
    config: RtspConfig,
    handler: H,
    stats: Arc<RtspStats>,
    /// Open connections by [`network`].
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// A counted connection.
struct Place<H> {
    shared: Arc<Shared<H>>,
    network: IpAddr,
}

impl<H> Place<H> {
    fn take(shared: &Arc<Shared<H>>, address: IpAddr) -> Option<Self> {
        let network = network(address);
        let mut open = shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = open.values().sum();
        let here = open.get(&network).copied().unwrap_or(0);
        if total >= shared.config.connections || here >= shared.config.connections_per_address {
            return None;
        }
        open.insert(network, here + 1);
        Some(Self { shared: shared.clone(), network })
    }
}

impl<H> Drop for Place<H> {
    fn drop(&mut self) {
        let mut open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.network);
            }
        }
    }
}

async fn accept<H: RtspHandler>(listener: TcpListener, shared: Arc<Shared<H>>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, remote)) => {
                let remote = normalise(remote);
                let Some(place) = Place::take(&shared, remote.ip()) else {
                    shared.stats.refused.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(%remote, "RTSP connection refused: too many at once");
                    continue;
                };
                connections.spawn(serve(stream, remote, place));
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept an RTSP connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve<H: RtspHandler>(mut stream: TcpStream, remote: SocketAddr, place: Place<H>) {
    let shared = &place.shared;
    let Ok(local) = stream.local_addr() else { return };
    let ends = Ends { remote, local: normalise_ip(local.ip()) };
    let deadline = Instant::now() + shared.config.deadline;
    match timeout_at(deadline, request(&mut stream, ends, shared)).await {
        Ok(Ok(Some(reply))) => {
            let written = timeout_at(deadline, async {
                stream.write_all(&reply).await?;
                stream.shutdown().await
            });
            if matches!(written.await, Ok(Ok(()))) {
                shared.stats.answered.fetch_add(1, Ordering::Relaxed);
                drain(&mut stream, &shared.config).await;
            } else {
                tracing::debug!(%remote, "RTSP client did not take its answer");
            }
        }
        Ok(Ok(None)) => drain(&mut stream, &shared.config).await,
        Ok(Err(error)) => {
            shared.stats.expired.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%remote, %error, "RTSP connection ended within a request");
        }
        Err(_) => {
            shared.stats.expired.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%remote, "RTSP request not complete in time");
        }
    }
}

/// Reads a request. `None` for a connection that ends without an answer.
async fn request<H: RtspHandler>(
    stream: &mut TcpStream,
    ends: Ends,
    shared: &Shared<H>,
) -> io::Result<Option<Vec<u8>>> {
    let mut received = Vec::new();
    let mut chunk = [0u8; CHUNK];
    loop {
        let count = timeout(shared.config.idle, stream.read(&mut chunk))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        if count == 0 {
            // Clients probe the port with connections that say nothing (protocol text §1.3).
            return if received.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        if received.len() + count > shared.config.max_request {
            return Err(io::ErrorKind::InvalidData.into());
        }
        received.extend_from_slice(&chunk[..count]);
        match shared.handler.received(&received, ends) {
            Progress::NeedMore => {}
            Progress::Reply(reply) => return Ok(Some(reply)),
            Progress::Close => return Ok(None),
        }
    }
}

/// Reads until the client closes: data left unread would turn our FIN into a reset that eats the answer.
async fn drain(stream: &mut TcpStream, config: &RtspConfig) {
    let discard = async {
        let mut chunk = [0u8; CHUNK];
        let mut left = config.drain_bytes;
        stream.shutdown().await?;
        while left > 0 {
            match stream.read(&mut chunk).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        Ok::<(), io::Error>(())
    };
    // However it ends, the connection is closed next.
    let _ = timeout(config.drain, discard).await;
}

#[cfg(test)]
mod tests;
