//! The two listeners and the life of the server.

use crate::api::Api;
use crate::connection::{Shared, serve, until_ending};
use crate::counters::{Counters, WebCounts};
use crate::limits::{Gate, Limits};
use crate::tls::{Identity, IdentityError};
use socket2::{SockRef, TcpKeepalive};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, error, info, warn};

/// The two ports, bound by the caller on all addresses.
#[derive(Debug)]
pub struct Listeners {
    /// Plain HTTP.
    pub http: std::net::TcpListener,
    /// HTTPS.
    pub https: std::net::TcpListener,
}

/// Why the servers could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The runtime cannot watch a listener.
    #[error("cannot listen for {purpose}: {source}. Check the limit on open files")]
    Listen {
        /// `HTTP` or `HTTPS`.
        purpose: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The host's certificate cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// The running servers. Dropping it closes everything at once; [`Server::shutdown`] lets answers finish.
pub struct Server {
    http: SocketAddr,
    https: SocketAddr,
    ending: watch::Sender<bool>,
    counters: Counters,
    listeners: JoinSet<()>,
}

impl Server {
    /// Serves both ports on the current tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] says what to do.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(
        listeners: Listeners,
        limits: Limits,
        identity: &Identity,
        api: Arc<dyn Api>,
    ) -> Result<Self, StartError> {
        let tls = TlsAcceptor::from(Arc::new(identity.server_config()?));
        let (http, http_address) = listener(listeners.http, "HTTP")?;
        let (https, https_address) = listener(listeners.https, "HTTPS")?;
        let (ending, ended) = watch::channel(false);
        let gate = Gate::default();
        let counters = Counters::default();
        let shared = Shared { api, limits, ending: ended, counters: counters.clone() };
        let mut server =
            Self { http: http_address, https: https_address, ending, counters, listeners: JoinSet::new() };
        server.listeners.spawn(accept(http, None, gate.clone(), shared.clone()));
        server.listeners.spawn(accept(https, Some(tls), gate, shared));
        info!(http = %server.http, https = %server.https, "web server listens");
        Ok(server)
    }

    /// Where plain HTTP listens.
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// Where HTTPS listens.
    pub fn https_address(&self) -> SocketAddr {
        self.https
    }

    /// What happened to connections so far.
    pub fn counts(&self) -> WebCounts {
        self.counters.snapshot()
    }

    /// Takes no further connections, lets answers finish for as long as `grace`, then closes what is left.
    pub async fn shutdown(mut self, grace: Duration) {
        self.ending.send_replace(true);
        let finished = timeout(grace, async { while self.listeners.join_next().await.is_some() {} }).await;
        if finished.is_err() {
            debug!("closing connections that are still being answered");
            self.listeners.shutdown().await;
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("http", &self.http).field("https", &self.https).finish_non_exhaustive()
    }
}

struct Listener {
    socket: TcpListener,
    purpose: &'static str,
}

fn listener(
    socket: std::net::TcpListener,
    purpose: &'static str,
) -> Result<(Listener, SocketAddr), StartError> {
    let watched = || {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok((TcpListener::from_std(socket)?, address))
    };
    let (socket, address) = watched().map_err(|source| StartError::Listen { purpose, source })?;
    Ok((Listener { socket, purpose }, address))
}

/// Takes connections until the server ends, then waits for those that are open.
async fn accept(listener: Listener, tls: Option<TlsAcceptor>, gate: Gate, shared: Shared) {
    let Listener { socket, purpose } = listener;
    let mut connections = JoinSet::new();
    let (mut failures, mut refusals) = (Throttle::default(), Throttle::default());
    let mut ending = shared.ending.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = until_ending(&mut ending) => break,
            Some(ended) = connections.join_next() => {
                report_panic(ended, &shared.counters);
                continue;
            }
            accepted = socket.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(earlier) = failures.due(Instant::now()) {
                    warn!(purpose, %error, earlier, "cannot take connections; is the limit on open files reached?");
                }
                // Out of descriptors: asking again at once would only burn the processor.
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(admission) = gate.admit(peer.ip(), tls.is_some(), &shared.limits) else {
            shared.counters.refused();
            if let Some(earlier) = refusals.due(Instant::now()) {
                warn!(purpose, peer = %peer.ip(), earlier, "too many connections; the newest is closed");
            }
            continue;
        };
        shared.counters.accepted();
        tune(&stream);
        connections.spawn(serve(stream, peer, tls.clone(), shared.clone(), admission));
    }
    drop(socket);
    while let Some(ended) = connections.join_next().await {
        report_panic(ended, &shared.counters);
    }
}

/// Best effort: a connection works without either.
fn tune(stream: &tokio::net::TcpStream) {
    let socket = SockRef::from(stream);
    // A client that vanishes while a person looks for the PIN would hold its pairing for minutes.
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(20))
        .with_interval(Duration::from_secs(5))
        .with_retries(3);
    if let Err(error) = socket.set_tcp_nodelay(true).and_then(|()| socket.set_tcp_keepalive(&keepalive)) {
        debug!(%error, "cannot tune a connection");
    }
}

fn report_panic(ended: Result<(), JoinError>, counters: &Counters) {
    if let Err(failure) = ended
        && failure.is_panic()
    {
        counters.panic();
        error!(%failure, "a request's handler panicked; its connection is closed");
    }
}

/// Lets one message a minute through and counts the others.
#[derive(Default)]
struct Throttle {
    last: Option<Instant>,
    suppressed: u64,
}

impl Throttle {
    /// How many messages were held back since the last, when one is due.
    fn due(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now - last < Duration::from_secs(60)) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_messages_is_one_a_minute() {
        let mut throttle = Throttle::default();
        let start = Instant::now();
        assert_eq!(throttle.due(start), Some(0));
        assert_eq!(throttle.due(start + Duration::from_secs(1)), None);
        assert_eq!(throttle.due(start + Duration::from_secs(59)), None);
        assert_eq!(throttle.due(start + Duration::from_secs(61)), Some(2));
    }
}
