//! Which launch a message belongs to: no cookie tells, only the key that opens it, or the sender's address.

use super::handshake::{Exchange, Handshake};
use super::message::Response;
use super::{Incoming, RtspError};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The handshakes of all launches, by the caller's names for them (which grow with time).
#[derive(Debug)]
pub struct Router<K> {
    handshakes: BTreeMap<K, Handshake>,
}

impl<K> Default for Router<K> {
    fn default() -> Self {
        Self { handshakes: BTreeMap::new() }
    }
}

impl<K: Copy + Ord> Router<K> {
    /// Without handshakes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the handshake of a launch.
    pub fn insert(&mut self, key: K, handshake: Handshake) {
        self.handshakes.insert(key, handshake);
    }

    /// Drops a handshake whose launch is void.
    pub fn remove(&mut self, key: K) {
        self.handshakes.remove(&key);
    }

    /// Finds the handshake that takes a message, the newest first, and lets it answer.
    ///
    /// # Errors
    /// Why the newest that could have taken it did not; [`RtspError::Nobody`] when there was none. Close the connection.
    pub fn receive(&mut self, incoming: &Incoming, peer: IpAddr) -> Result<(K, Exchange), RtspError> {
        let mut refusal = RtspError::Nobody;
        for (key, handshake) in self.handshakes.iter_mut().rev() {
            match handshake.receive(incoming, peer) {
                Ok(exchange) => return Ok((*key, exchange)),
                Err(error) if refusal == RtspError::Nobody => refusal = error,
                Err(_) => {}
            }
        }
        Err(refusal)
    }

    /// The bytes of a response; `None` when its handshake is gone.
    pub fn encode(&mut self, key: K, response: &Response) -> Option<Vec<u8>> {
        self.handshakes.get_mut(&key).map(|handshake| handshake.encode(response))
    }
}
