//! The socket option that neither `rustix` nor `socket2` offers, and for tests an allocator that counts.

#[cfg(test)]
pub(crate) mod heap;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Lets IPv6 datagrams be fragmented again on a socket where that was forbidden.
pub(crate) fn allow_ipv6_fragments(socket: BorrowedFd<'_>) -> io::Result<()> {
    let off: libc::c_int = 0;
    // SAFETY: the descriptor is borrowed and therefore open; the pointer and the length describe one live `c_int`,
    // which the kernel only reads.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_DONTFRAG,
            (&raw const off).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
