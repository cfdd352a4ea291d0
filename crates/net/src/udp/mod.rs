//! One UDP port on all addresses of both families, and the thread that reads it.

mod reader;
mod run;

pub use reader::{PortHandler, Reader, ReaderWaker};
pub use run::MAX_RUN_BYTES;

use crate::bind::{self, BindError, Transport};
use crate::path::{Path, normalise, normalise_ip};
use lumen_media::clock;
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use run::Runs;
use rustix::net::sockopt;
use socket2::Socket;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Send and receive buffers asked of the kernel, in bytes (protocol text §6.12 wants 1 MiB at least for sending).
const SOCKET_BUFFER: usize = 2 << 20;
/// How long a full send buffer may hold up a frame before its packet is given up.
const SEND_PATIENCE: Duration = Duration::from_millis(100);
/// A receive buffer large enough for a run that the kernel has put together from equal datagrams.
pub(crate) const RECEIVE_BUFFER: usize = 1 << 16;

/// A UDP port. Any thread may send; one thread receives.
#[derive(Debug)]
pub struct UdpPort {
    socket: Socket,
    state: UdpSocketState,
    port: u16,
    ipv6: bool,
    runs: Runs,
    error_logged: AtomicBool,
}

impl UdpPort {
    /// Takes a port on all addresses; IPv4 only where the machine has no IPv6. Port 0 lets the system choose.
    ///
    /// # Errors
    /// [`BindError`] names the port and who has it.
    pub fn bind(port: u16) -> Result<Self, BindError> {
        let socket = bind::bound(Transport::Udp, port, |_| Ok(()))?;
        Self::from_socket(socket).map_err(|error| bind::bind_error(Transport::Udp, port, error))
    }

    fn from_socket(socket: Socket) -> io::Result<Self> {
        let ipv6 = socket.local_addr()?.is_ipv6();
        let port = bind::local_port(&socket)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let runs = Runs::new(port, state.max_gso_segments());
        allow_fragments(&socket, ipv6)?;
        // Fails only by giving less, which the kernel's limits decide.
        for (set, what) in [
            (socket.set_send_buffer_size(SOCKET_BUFFER), "send"),
            (socket.set_recv_buffer_size(SOCKET_BUFFER), "receive"),
        ] {
            if let Err(error) = set {
                tracing::debug!(port, %error, "cannot enlarge the {what} buffer");
            }
        }
        let got = socket.send_buffer_size()?;
        if got < 1 << 20 {
            tracing::warn!(
                port,
                bytes = got,
                "the send buffer is below 1 MiB and large frames may wait; raise net.core.wmem_max to 2097152"
            );
        }
        Ok(Self { socket, state, port, ipv6, runs, error_logged: AtomicBool::new(false) })
    }

    /// The port's number.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it also takes IPv6.
    pub fn ipv6(&self) -> bool {
        self.ipv6
    }

    /// Whether runs of packets leave in one call each: the kernel has GSO, and at this moment no destination is
    /// excepted because the way there refuses runs.
    pub fn gso(&self) -> bool {
        self.runs.all_in_one_call(clock::now())
    }

    /// Sends one datagram. Waits up to 100 ms for room in the send buffer.
    ///
    /// # Errors
    /// What the system said, after having logged the first such error of this port.
    pub fn send(&self, path: &Path, datagram: &[u8]) -> io::Result<()> {
        self.transmit(path, datagram, None).inspect_err(|error| self.log_once(path, error))
    }

    /// Sends `run` as datagrams of `segment` bytes, the last one perhaps shorter, with as few calls as the kernel and
    /// the way there allow. Answers how many calls went through and how many datagrams were lost to errors, the first of which is
    /// logged.
    pub fn send_run(&self, path: &Path, run: &[u8], segment: usize) -> RunReport {
        self.runs.send(path.remote.ip(), (run, segment), clock::now(), |bytes, segment| match segment {
            None => self.send(path, bytes),
            Some(_) => self.transmit(path, bytes, segment),
        })
    }

    /// Receives into `buffer`, which should hold 64 KiB, and calls `each` for every datagram in it. Never waits.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is nothing.
    pub fn receive(&self, buffer: &mut [u8], mut each: impl FnMut(Path, &[u8])) -> io::Result<()> {
        let mut meta = [RecvMeta::default()];
        let received =
            self.state.recv(UdpSockRef::from(&self.socket), &mut [IoSliceMut::new(buffer)], &mut meta)?;
        if received == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let [meta] = meta;
        let path = Path { remote: normalise(meta.addr), local: meta.dst_ip.map(normalise_ip) };
        let bytes = &buffer[..meta.len.min(buffer.len())];
        if bytes.is_empty() {
            each(path, bytes);
        }
        for datagram in bytes.chunks(meta.stride.max(1)) {
            each(path, datagram);
        }
        Ok(())
    }

    fn transmit(&self, path: &Path, contents: &[u8], segment_size: Option<usize>) -> io::Result<()> {
        let transmit = quinn_udp::Transmit {
            destination: self.destination(path.remote)?,
            ecn: None,
            contents,
            segment_size,
            src_ip: path.local.filter(|local| !local.is_unspecified() && !local.is_multicast()),
        };
        loop {
            match self.state.try_send(UdpSockRef::from(&self.socket), &transmit) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_for_room()?,
                result => return result,
            }
        }
    }

    /// The address as the socket's family wants it.
    fn destination(&self, remote: SocketAddr) -> io::Result<SocketAddr> {
        match remote {
            SocketAddr::V4(v4) if self.ipv6 => {
                Ok(SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into())
            }
            SocketAddr::V6(_) if !self.ipv6 => Err(io::ErrorKind::NetworkUnreachable.into()),
            _ => Ok(remote),
        }
    }

    fn wait_for_room(&self) -> io::Result<()> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let patience = Timespec { tv_sec: 0, tv_nsec: SEND_PATIENCE.subsec_nanos().into() };
        let mut sockets = [PollFd::new(&self.socket, PollFlags::OUT)];
        match poll(&mut sockets, Some(&patience)) {
            Ok(0) => Err(io::ErrorKind::TimedOut.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn log_once(&self, path: &Path, error: &io::Error) {
        if self.error_logged.swap(true, Ordering::Relaxed) {
            tracing::trace!(port = self.port, %path, %error, "cannot send");
        } else {
            tracing::warn!(
                port = self.port, %path, %error,
                "cannot send a packet; check routes and firewall. Further errors of this port are only counted"
            );
        }
    }
}

impl AsFd for UdpPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What became of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunReport {
    /// System calls that went through.
    pub calls: usize,
    /// Datagrams that could not be sent.
    pub lost: usize,
}

/// Undoes what QUIC wants and GameStream does not: packet sizes are chosen for the path already, and a packet that is
/// too large for some link shall be fragmented, not dropped (protocol text §6.12).
fn allow_fragments(socket: &Socket, ipv6: bool) -> io::Result<()> {
    sockopt::set_ip_mtu_discover(socket, sockopt::Ipv4PathMtuDiscovery::DONT)?;
    if ipv6 {
        sockopt::set_ipv6_mtu_discover(socket, sockopt::Ipv6PathMtuDiscovery::DONT)?;
        crate::sys::allow_ipv6_fragments(socket.as_fd())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
