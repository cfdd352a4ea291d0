//! The two listeners and the life of the server.

use crate::api::Api;
use crate::connection::{Shared, serve, until_ending};
use crate::limits::{Gate, Limits};
use crate::tls::{Identity, IdentityError};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, error, info, warn};

/// Where to listen and what to allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Port of plain HTTP; 0 takes a free one.
    pub http_port: u16,
    /// Port of HTTPS; 0 takes a free one.
    pub https_port: u16,
    /// What peers may hold.
    pub limits: Limits,
}

/// Why the servers could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another program listens there.
    #[error(
        "TCP port {port} ({purpose}) is taken by another program. Stop that program, or move all of Lumen's ports with server.base_port"
    )]
    PortTaken {
        /// Which port.
        port: u16,
        /// `HTTP` or `HTTPS`.
        purpose: &'static str,
    },
    /// Ports below 1024 are for root.
    #[error("TCP port {port} ({purpose}) may not be used by this user. Choose a server.base_port above 1028")]
    Forbidden {
        /// Which port.
        port: u16,
        /// `HTTP` or `HTTPS`.
        purpose: &'static str,
    },
    /// Another cause.
    #[error(
        "cannot listen on TCP port {port} ({purpose}): {source}. Check the network set-up of this machine, or choose another server.base_port"
    )]
    Listen {
        /// Which port.
        port: u16,
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
    listeners: JoinSet<()>,
}

impl Server {
    /// Binds both ports and serves them on the current tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] names the port and what to do.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(options: &Options, identity: &Identity, api: Arc<dyn Api>) -> Result<Self, StartError> {
        let tls = TlsAcceptor::from(Arc::new(identity.server_config()?));
        let http = listen(options.http_port, "HTTP")?;
        let https = listen(options.https_port, "HTTPS")?;
        let (ending, ended) = watch::channel(false);
        let gate = Gate::default();
        let addresses = [&http, &https].map(|listener| listener.socket.local_addr());
        let [http_address, https_address] = addresses;
        let broken = |purpose, port| move |source| StartError::Listen { port, purpose, source };
        let mut server = Self {
            http: http_address.map_err(broken("HTTP", options.http_port))?,
            https: https_address.map_err(broken("HTTPS", options.https_port))?,
            ending,
            listeners: JoinSet::new(),
        };
        let shared = Shared { api, limits: options.limits, ending: ended };
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

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 128;

struct Listener {
    socket: TcpListener,
    purpose: &'static str,
}

/// Listens on all addresses: one socket for IPv6 and IPv4, or IPv4 alone where the kernel has no IPv6.
fn listen(port: u16, purpose: &'static str) -> Result<Listener, StartError> {
    let dual = bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    let bound = match dual {
        Err(error) if is_no_ipv6(&error) => bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
        other => other,
    };
    match bound {
        Ok(socket) => Ok(Listener { socket, purpose }),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(StartError::PortTaken { port, purpose })
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(StartError::Forbidden { port, purpose })
        }
        Err(source) => Err(StartError::Listen { port, purpose, source }),
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A restart must not wait for connections of the last run to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn is_no_ipv6(error: &io::Error) -> bool {
    // EAFNOSUPPORT has no kind of its own; a disabled IPv6 shows as an address that is not there.
    const EAFNOSUPPORT: i32 = 97;
    error.raw_os_error() == Some(EAFNOSUPPORT) || error.kind() == io::ErrorKind::AddrNotAvailable
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
                report_panic(ended);
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
        let Some(admission) = gate.admit(peer.ip().to_canonical(), &shared.limits) else {
            if let Some(earlier) = refusals.due(Instant::now()) {
                warn!(purpose, peer = %peer.ip(), earlier, "too many connections; the newest is closed");
            }
            continue;
        };
        tune(&stream);
        connections.spawn(serve(stream, peer, tls.clone(), shared.clone(), admission));
    }
    drop(socket);
    while let Some(ended) = connections.join_next().await {
        report_panic(ended);
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

fn report_panic(ended: Result<(), JoinError>) {
    if let Err(failure) = ended
        && failure.is_panic()
    {
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
