//! Between which two addresses datagrams travel.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A peer's address and the address of ours that it asked. An answer sent along the same path leaves from the address
/// that the peer knows, also on a machine with several (protocol text §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The peer, normalised.
    pub remote: SocketAddr,
    /// Our own address; `None` leaves the choice to the routing table.
    pub local: Option<IpAddr>,
}

impl Path {
    /// A path that leaves our own address to the routing table.
    pub fn to(remote: SocketAddr) -> Self {
        Self { remote: normalise(remote), local: None }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.remote, f)
    }
}

/// An IPv4 peer seen through a dual-stack socket as plain IPv4 (protocol text §1.3); everything else as it is, but
/// without a flow label.
pub fn normalise(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => address,
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(IpAddr::V4(v4), v6.port()),
            None => {
                let mut plain = v6;
                plain.set_flowinfo(0);
                SocketAddr::V6(plain)
            }
        },
    }
}

/// [`normalise`] for an address without a port.
pub fn normalise_ip(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_become_ipv4() {
        let parse = |text: &str| text.parse::<SocketAddr>().expect("address");
        assert_eq!(normalise(parse("[::ffff:192.0.2.7]:47999")), parse("192.0.2.7:47999"));
        assert_eq!(normalise(parse("[2001:db8::1]:5")), parse("[2001:db8::1]:5"));
        assert_eq!(normalise(parse("[::1]:5")), parse("[::1]:5"), "loopback is not IPv4-compatible 0.0.0.1");
        assert_eq!(normalise(parse("192.0.2.7:1")), parse("192.0.2.7:1"));
    }
}
