//! What a peer may hold, and for how long.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What peers may hold, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections, of HTTP and HTTPS together. Plain HTTP alone gets three quarters of them: anybody may ask
    /// there, and paired clients must still find a place at HTTPS.
    pub connections: usize,
    /// Open connections from one address, or from one /64 of IPv6: a subscriber picks the rest at will.
    pub connections_per_address: usize,
    /// From accept to the end of the TLS handshake.
    pub handshake: Duration,
    /// From the first byte of a request (the first request: from accept or handshake) to the end of its header.
    pub header: Duration,
    /// From one answer to the first byte of the next request.
    pub idle: Duration,
    /// Without any progress while the peer takes an answer.
    pub write: Duration,
    /// Longest request line in bytes. The pairing phases carry a certificate in theirs.
    pub request_line: usize,
    /// Largest body that is read past; larger ones are refused. No request of the protocol has one.
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            connections_per_address: 32,
            handshake: Duration::from_secs(5),
            header: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            write: Duration::from_secs(30),
            request_line: 16 * 1024,
            body: 64 * 1024,
        }
    }
}

impl Limits {
    /// Open connections of plain HTTP; one at least.
    fn plain_connections(&self) -> usize {
        (self.connections - self.connections.div_ceil(4)).max(1)
    }
}

/// Counts open connections.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    total: usize,
    /// Of them, those of plain HTTP.
    plain: usize,
    /// Only networks that hold a connection have an entry.
    by_network: HashMap<IpAddr, usize>,
}

/// The right to hold one connection; dropping it gives it back.
pub(crate) struct Admission {
    gate: Gate,
    network: IpAddr,
    secure: bool,
}

impl Gate {
    /// Admits a connection from `address` unless a limit is reached. `secure` is one to the HTTPS port.
    pub fn admit(&self, address: IpAddr, secure: bool, limits: &Limits) -> Option<Admission> {
        let network = network(address);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = counts.by_network.get(&network).copied().unwrap_or(0);
        let full = counts.total >= limits.connections
            || (!secure && counts.plain >= limits.plain_connections())
            || held >= limits.connections_per_address;
        if full {
            return None;
        }
        counts.total += 1;
        counts.plain += usize::from(!secure);
        counts.by_network.insert(network, held + 1);
        Some(Admission { gate: self.clone(), network, secure })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut counts = self.gate.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total -= 1;
        counts.plain -= usize::from(!self.secure);
        match counts.by_network.get_mut(&self.network) {
            Some(held) if *held > 1 => *held -= 1,
            _ => {
                counts.by_network.remove(&self.network);
            }
        }
    }
}

/// Whose address it is: an IPv4 address for itself, of an IPv6 address the /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn both_limits_hold_and_places_come_back() {
        let gate = Gate::default();
        let limits = Limits { connections: 3, connections_per_address: 2, ..Limits::default() };
        let [a, b] = [1, 2].map(|last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)));
        let first = gate.admit(a, true, &limits).expect("a place");
        let _second = gate.admit(a, true, &limits).expect("a place");
        assert!(gate.admit(a, true, &limits).is_none(), "two per address");
        let _third = gate.admit(b, true, &limits).expect("a place");
        assert!(gate.admit(b, true, &limits).is_none(), "three in all");
        drop(first);
        let fourth = gate.admit(b, true, &limits).expect("the place came back");
        drop((_second, _third, fourth));
        assert_nobody_is_remembered(&gate);
    }

    #[test]
    fn one_network_of_ipv6_counts_as_one_address() {
        let gate = Gate::default();
        let limits = Limits { connections_per_address: 2, ..Limits::default() };
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let held =
            ["2001:db8:0:1::1", "2001:db8:0:1:ffff::2"].map(|text| gate.admit(address(text), true, &limits));
        assert!(held.iter().all(Option::is_some));
        assert!(gate.admit(address("2001:db8:0:1::3"), true, &limits).is_none(), "the same /64");
        assert!(gate.admit(address("2001:db8:0:2::1"), true, &limits).is_some(), "the next /64");
        // Mapped IPv4 addresses share their first 96 bits, but not their owner.
        let mapped = ["::ffff:192.0.2.1", "::ffff:192.0.2.2", "192.0.2.1"].map(address);
        let mapped = mapped.map(|address| gate.admit(address, true, &limits));
        assert!(mapped.iter().all(Option::is_some));
        assert!(gate.admit(address("192.0.2.1"), true, &limits).is_none(), "mapped or not, one address");
        drop((held, mapped));
        assert_nobody_is_remembered(&gate);
    }

    #[test]
    fn plain_http_leaves_a_quarter_to_https() {
        let gate = Gate::default();
        let limits = Limits { connections: 8, connections_per_address: 8, ..Limits::default() };
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut held: Vec<_> =
            (0..6).map(|_| gate.admit(address, false, &limits).expect("a place")).collect();
        assert!(gate.admit(address, false, &limits).is_none(), "six of eight");
        held.extend((0..2).map(|_| gate.admit(address, true, &limits).expect("kept for HTTPS")));
        assert!(gate.admit(address, true, &limits).is_none(), "eight in all");
        held.remove(0);
        held.push(gate.admit(address, false, &limits).expect("the place came back"));
        drop(held);
        assert_nobody_is_remembered(&gate);
        let plain = |connections| Limits { connections, ..Limits::default() }.plain_connections();
        assert_eq!([0, 1, 2, 3, 4, 256].map(plain), [1, 1, 1, 2, 3, 192]);
    }

    fn assert_nobody_is_remembered(gate: &Gate) {
        let counts = gate.0.lock().expect("whole");
        assert_eq!((counts.total, counts.plain, counts.by_network.len()), (0, 0, 0));
    }
}
