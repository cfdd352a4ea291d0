//! What a peer may hold, and for how long.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What peers may hold, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections, of HTTP and HTTPS together.
    pub connections: usize,
    /// Open connections from one address.
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

/// Counts open connections.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    total: usize,
    /// Only addresses that hold a connection have an entry.
    by_address: HashMap<IpAddr, usize>,
}

/// The right to hold one connection; dropping it gives it back.
pub(crate) struct Admission {
    gate: Gate,
    address: IpAddr,
}

impl Gate {
    /// Admits a connection from `address` unless a limit is reached.
    pub fn admit(&self, address: IpAddr, limits: &Limits) -> Option<Admission> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = counts.by_address.get(&address).copied().unwrap_or(0);
        if counts.total >= limits.connections || held >= limits.connections_per_address {
            return None;
        }
        counts.total += 1;
        counts.by_address.insert(address, held + 1);
        Some(Admission { gate: self.clone(), address })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut counts = self.gate.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total -= 1;
        match counts.by_address.get_mut(&self.address) {
            Some(held) if *held > 1 => *held -= 1,
            _ => {
                counts.by_address.remove(&self.address);
            }
        }
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
        let first = gate.admit(a, &limits).expect("a place");
        let _second = gate.admit(a, &limits).expect("a place");
        assert!(gate.admit(a, &limits).is_none(), "two per address");
        let _third = gate.admit(b, &limits).expect("a place");
        assert!(gate.admit(b, &limits).is_none(), "three in all");
        drop(first);
        let fourth = gate.admit(b, &limits).expect("the place came back");
        drop((_second, _third, fourth));
        let counts = gate.0.lock().expect("whole");
        assert_eq!((counts.total, counts.by_address.len()), (0, 0), "nothing is remembered of who left");
    }
}
