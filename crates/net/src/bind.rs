//! Taking ports, and saying who has one that cannot be taken.

use socket2::{Domain, Protocol, Socket, Type};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

/// Transport of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Tcp => "TCP",
            Transport::Udp => "UDP",
        })
    }
}

/// A process that has a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Its name, as the kernel shows it.
    pub name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

/// Why a port could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody has it.
    #[error(
        "{transport} port {port} is in use by {}; end that program or set another base port in the configuration",
        .holder.as_ref().map_or_else(|| "a program that /proc does not name".to_owned(), Holder::to_string)
    )]
    InUse {
        /// TCP or UDP.
        transport: Transport,
        /// Port number.
        port: u16,
        /// Who, if `/proc` shows it to us.
        holder: Option<Holder>,
    },
    /// The system does not let this user have it.
    #[error(
        "this user may not take {transport} port {port}; set a base port above 1024 in the configuration or allow it in the system's policy"
    )]
    Denied {
        /// TCP or UDP.
        transport: Transport,
        /// Port number.
        port: u16,
    },
    /// Something else.
    #[error(
        "cannot take {transport} port {port}: {source}; check that the machine has a network stack and free file descriptors"
    )]
    Other {
        /// TCP or UDP.
        transport: Transport,
        /// Port number.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
}

/// A TCP listener on all addresses of both families (IPv4 only where the machine has no IPv6), non-blocking. Port 0
/// lets the system choose.
///
/// # Errors
/// [`BindError`] names the port and who has it.
pub fn tcp(port: u16) -> Result<TcpListener, BindError> {
    let socket = bound(Transport::Tcp, port, |socket| {
        // Otherwise connections of the last run keep the port for a minute.
        socket.set_reuse_address(true)
    })?;
    let listening = socket.listen(128).and_then(|()| socket.set_nonblocking(true));
    listening.map_err(|error| bind_error(Transport::Tcp, port, error))?;
    Ok(TcpListener::from(OwnedFd::from(socket)))
}

/// A socket on all addresses, prepared by `prepare` before it is bound.
pub(crate) fn bound(
    transport: Transport,
    port: u16,
    prepare: impl Fn(&Socket) -> io::Result<()>,
) -> Result<Socket, BindError> {
    let attempt = |domain, address: IpAddr| {
        let (kind, protocol) = match transport {
            Transport::Tcp => (Type::STREAM, Protocol::TCP),
            Transport::Udp => (Type::DGRAM, Protocol::UDP),
        };
        let socket = Socket::new(domain, kind, Some(protocol))?;
        if domain == Domain::IPV6 {
            socket.set_only_v6(false)?;
        }
        prepare(&socket)?;
        socket.bind(&SocketAddr::new(address, port).into())?;
        Ok(socket)
    };
    attempt(Domain::IPV6, Ipv6Addr::UNSPECIFIED.into())
        .or_else(|error: io::Error| {
            if lacks_ipv6(&error) {
                tracing::info!(port, %error, "no IPv6 on this machine, IPv4 only");
                attempt(Domain::IPV4, Ipv4Addr::UNSPECIFIED.into())
            } else {
                Err(error)
            }
        })
        .map_err(|error| bind_error(transport, port, error))
}

fn lacks_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::EPROTONOSUPPORT))
}

/// Words for an error that taking a port gave.
pub(crate) fn bind_error(transport: Transport, port: u16, source: io::Error) -> BindError {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            BindError::InUse { transport, port, holder: port_holder(transport, port) }
        }
        io::ErrorKind::PermissionDenied => BindError::Denied { transport, port },
        _ => BindError::Other { transport, port, source },
    }
}

/// Who has a port, as far as `/proc` shows it to this user. For TCP only listeners count.
pub fn port_holder(transport: Transport, port: u16) -> Option<Holder> {
    let files = match transport {
        Transport::Tcp => ["/proc/net/tcp6", "/proc/net/tcp"],
        Transport::Udp => ["/proc/net/udp6", "/proc/net/udp"],
    };
    files
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .flat_map(|table| socket_inodes(&table, transport, port))
        .find_map(process_of_socket)
}

/// Inodes of the sockets on `port` in a table such as `/proc/net/udp`.
fn socket_inodes(table: &str, transport: Transport, port: u16) -> Vec<u64> {
    // sl, local address:port, remote, state, queues, timer, retransmits, uid, timeout, inode
    let inode = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let local = fields.nth(1)?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?.parse().ok()?;
        let (_, local_port) = local.rsplit_once(':')?;
        let listening = transport == Transport::Udp || state == "0A";
        (listening && u16::from_str_radix(local_port, 16) == Ok(port) && inode != 0).then_some(inode)
    };
    table.lines().skip(1).filter_map(inode).collect()
}

fn process_of_socket(inode: u64) -> Option<Holder> {
    let wanted = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?;
    processes.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let mut descriptors = std::fs::read_dir(process.path().join("fd")).ok()?.flatten();
        descriptors
            .find(|fd| std::fs::read_link(fd.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str()))?;
        let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        Some(Holder { pid, name: name.trim().to_owned() })
    })
}

/// The port that a bound socket has; tells what the system chose for port 0.
pub(crate) fn local_port(socket: impl AsFd) -> io::Result<u16> {
    let address = socket2::SockRef::from(&socket).local_addr()?;
    address.as_socket().map(|address| address.port()).ok_or_else(|| io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_its_holder() {
        let first = tcp(0).expect("some port");
        let port = first.local_addr().expect("bound").port();
        let Err(BindError::InUse { port: named, holder: Some(holder), .. }) = tcp(port) else {
            panic!("the second listener must be refused and the first named");
        };
        assert_eq!((named, holder.pid), (port, std::process::id()));
        let text = BindError::InUse { transport: Transport::Tcp, port, holder: Some(holder) }.to_string();
        assert!(text.contains(&port.to_string()) && text.contains("in use by") && text.contains("base port"));
    }

    #[test]
    fn tables_are_read_by_port_and_state() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 00000000:BB75 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0\n\
             1: 0100007F:BB75 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0\n\
             garbage\n";
        assert_eq!(socket_inodes(table, Transport::Tcp, 47989), [4711]);
        assert_eq!(socket_inodes(table, Transport::Udp, 47989), [4711, 4712]);
        assert_eq!(socket_inodes(table, Transport::Udp, 1), []);
    }

    #[test]
    fn both_families_reach_one_listener() {
        let listener = tcp(0).expect("some port");
        let port = listener.local_addr().expect("bound").port();
        std::net::TcpStream::connect(("127.0.0.1", port)).expect("IPv4 reaches it");
        if listener.local_addr().expect("bound").is_ipv6() && TcpListener::bind(("::1", 0)).is_ok() {
            std::net::TcpStream::connect(("::1", port)).expect("IPv6 reaches it");
        }
    }
}
