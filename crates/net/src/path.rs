//! Between which two addresses datagrams travel.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

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

/// Whose address it is: an IPv4 address for itself, of an IPv6 address the /64, since a subscriber picks the rest at
/// will. Limits for each peer count by this.
pub fn network(address: IpAddr) -> IpAddr {
    match normalise_ip(address) {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
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

    #[test]
    fn a_network_is_an_ipv4_address_or_a_64() {
        let of = |text: &str| network(text.parse().expect("address"));
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2:ffff::"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_ne!(of("::ffff:192.0.2.1"), of("::ffff:192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
