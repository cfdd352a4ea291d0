//! The datagrams that clients send to the video and audio ports so that the host learns where to send (protocol text
//! §6.1).

use std::fmt;

/// The routing key of a session on the video and audio ports: 16 ASCII characters handed out in `X-SS-Ping-Payload`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PingPayload([u8; 16]);

impl PingPayload {
    /// The hex digits of eight random bytes.
    pub fn from_random(random: [u8; 8]) -> Self {
        let mut digits = [0; 16];
        hex::encode_to_slice(random, &mut digits).expect("16 digits hold 8 bytes");
        Self(digits)
    }

    /// The bytes as they stand in a ping.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for PingPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for PingPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PingPayload({self})")
    }
}

/// A ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ping {
    /// 20 bytes: from a client that was given a payload and understood it.
    Payload {
        /// Whose session it belongs to.
        payload: PingPayload,
        /// Counts up from 1.
        sequence: u32,
    },
    /// The 4 bytes `PING` of older clients: match it by the sender's address.
    Legacy,
}

impl Ping {
    /// Parses a datagram; `None` for everything that is not a ping, which is to be dropped.
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        if datagram == b"PING" {
            return Some(Self::Legacy);
        }
        let bytes: &[u8; 20] = datagram.try_into().ok()?;
        let (payload, sequence) = bytes.split_first_chunk::<16>()?;
        Some(Self::Payload {
            payload: PingPayload(*payload),
            sequence: u32::from_be_bytes(sequence.try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_ping() {
        let payload = PingPayload::from_random([0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
        assert_eq!(payload.to_string(), "0123456789abcdef");
        let mut datagram = b"0123456789abcdef".to_vec();
        datagram.extend([0, 0, 1, 2]);
        assert_eq!(Ping::parse(&datagram), Some(Ping::Payload { payload, sequence: 258 }));
    }

    #[test]
    fn legacy_ping_and_everything_else() {
        assert_eq!(Ping::parse(&hex::decode("50494e47").unwrap()), Some(Ping::Legacy));
        for len in (0..64).filter(|len| *len != 20) {
            assert_eq!(Ping::parse(&vec![b'P'; len]), None, "{len}");
        }
    }
}
