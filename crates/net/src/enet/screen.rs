//! What may reach ENet at all.
//!
//! ENet authenticates nothing and its fragment handling can be made to allocate and to show old heap content. Stock
//! clients send no fragments and no message below 28 bytes (protocol text §8.1, §8.2), so everything else is refused
//! before ENet sees it.

use std::ops::Range;

/// Longest datagram accepted, in bytes; clients use an MTU of 900.
pub const MAX_DATAGRAM: usize = 1400;
/// Most commands accepted in a datagram; ENet itself never packs more.
pub const MAX_COMMANDS: usize = 32;
/// Shortest message accepted, in bytes: frame header 8, tag 16, inner header 4 (protocol text §8.2).
pub const MIN_MESSAGE: usize = 28;

const PEER_NONE: u16 = 0x0fff;
const FLAG_SENT_TIME: u16 = 0x8000;
const FLAG_COMPRESSED: u16 = 0x4000;

/// A datagram that may be handed to ENet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screened {
    /// Asks for a new connection.
    Connect {
        /// Chosen by the client; tells a repeated request from a new one.
        connect_id: u32,
        /// What the client was told in RTSP SETUP, or 0.
        data: u32,
    },
    /// Belongs to an existing peer.
    Peer {
        /// Slot that the client was given.
        slot: u16,
        /// Two bits that change with every use of a slot.
        session: u8,
        /// Whether one of the commands ends the connection.
        disconnects: bool,
    },
}

/// Why a datagram was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Shorter than a header or longer than [`MAX_DATAGRAM`].
    #[error("{0} bytes is no ENet datagram of a client")]
    Length(usize),
    /// The compressed flag; both ends leave compression off.
    #[error("compressed")]
    Compressed,
    /// No command, or more than [`MAX_COMMANDS`].
    #[error("no command or more than 32")]
    Count,
    /// A command that clients do not send: none, verify-connect, fragments, unknown ones.
    #[error("command {0} is not for a host")]
    Command(u8),
    /// A command or its data ends beyond the datagram.
    #[error("command ends beyond the datagram")]
    Truncated,
    /// Message data below [`MIN_MESSAGE`].
    #[error("{0} bytes of message data")]
    ShortMessage(usize),
    /// A connect request to a slot, or anything else to no slot.
    #[error("connect request mixed with other traffic")]
    Mixed,
}

struct Command {
    number: u8,
    body: usize,
    message: Option<Range<usize>>,
    end: usize,
}

/// Checks one datagram. Accepted datagrams hold complete commands only, and none that ENet would allocate for beyond
/// the datagram's own size.
///
/// # Errors
/// [`Refusal`] for the first rule that is broken.
pub fn screen(datagram: &[u8]) -> Result<Screened, Refusal> {
    if !(2..=MAX_DATAGRAM).contains(&datagram.len()) {
        return Err(Refusal::Length(datagram.len()));
    }
    let header = u16::from_be_bytes([datagram[0], datagram[1]]);
    if header & FLAG_COMPRESSED != 0 {
        return Err(Refusal::Compressed);
    }
    let (mut at, mut count, mut connect, mut disconnects) = (first_command(header), 0, None, false);
    if at > datagram.len() {
        return Err(Refusal::Truncated);
    }
    while at < datagram.len() {
        let command = command(datagram, at)?;
        count += 1;
        match command.number {
            CONNECT => connect = Some(command.body),
            DISCONNECT => disconnects = true,
            _ => {}
        }
        if count > MAX_COMMANDS {
            return Err(Refusal::Count);
        }
        at = command.end;
    }
    if count == 0 {
        return Err(Refusal::Count);
    }
    match (header & PEER_NONE, connect) {
        (PEER_NONE, Some(body)) if count == 1 => {
            Ok(Screened::Connect { connect_id: be32(datagram, body + 36), data: be32(datagram, body + 40) })
        }
        (PEER_NONE, _) | (_, Some(_)) => Err(Refusal::Mixed),
        (slot, None) => Ok(Screened::Peer { slot, session: (header >> 12 & 3) as u8, disconnects }),
    }
}

/// The messages in a datagram that [`screen`] accepted, in the order of the datagram.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = match datagram {
        [high, low, ..] => first_command(u16::from_be_bytes([*high, *low])),
        _ => datagram.len(),
    };
    std::iter::from_fn(move || {
        while at < datagram.len() {
            let command = command(datagram, at).ok()?;
            at = command.end;
            if let Some(message) = command.message {
                return Some(&datagram[message]);
            }
        }
        None
    })
}

/// The session bits that a client will use, from the datagram by which the host accepts it.
pub(super) fn accepted_session(sent: &[u8]) -> Option<u8> {
    let header = u16::from_be_bytes([*sent.first()?, *sent.get(1)?]);
    let at = first_command(header);
    (sent.get(at)? & 0x0f == VERIFY_CONNECT).then_some(sent.get(at + 7)? & 3)
}

const ACKNOWLEDGE: u8 = 1;
const CONNECT: u8 = 2;
const VERIFY_CONNECT: u8 = 3;
const DISCONNECT: u8 = 4;
const PING: u8 = 5;
const SEND_RELIABLE: u8 = 6;
const SEND_UNRELIABLE: u8 = 7;
const SEND_UNSEQUENCED: u8 = 9;
const BANDWIDTH_LIMIT: u8 = 10;
const THROTTLE_CONFIGURE: u8 = 11;
/// Command byte, channel, reliable sequence number.
const COMMAND_HEADER: usize = 4;

fn first_command(header: u16) -> usize {
    if header & FLAG_SENT_TIME != 0 { 4 } else { 2 }
}

fn command(datagram: &[u8], at: usize) -> Result<Command, Refusal> {
    let number = datagram.get(at).ok_or(Refusal::Truncated)? & 0x0f;
    let (body_len, has_message) = match number {
        ACKNOWLEDGE | DISCONNECT => (4, false),
        CONNECT => (44, false),
        PING => (0, false),
        SEND_RELIABLE => (2, true),
        SEND_UNRELIABLE | SEND_UNSEQUENCED => (4, true),
        BANDWIDTH_LIMIT => (8, false),
        THROTTLE_CONFIGURE => (12, false),
        refused => return Err(Refusal::Command(refused)),
    };
    let body = at + COMMAND_HEADER;
    let mut end = body + body_len;
    if end > datagram.len() {
        return Err(Refusal::Truncated);
    }
    let mut message = None;
    if has_message {
        // The data length is the last field of all three.
        let length = usize::from(u16::from_be_bytes([datagram[end - 2], datagram[end - 1]]));
        if length < MIN_MESSAGE {
            return Err(Refusal::ShortMessage(length));
        }
        message = Some(end..end + length);
        end += length;
        if end > datagram.len() {
            return Err(Refusal::Truncated);
        }
    }
    Ok(Command { number, body, message, end })
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The first datagram of a stock client (protocol text §8.1).
    fn connect() -> Vec<u8> {
        let mut bytes = vec![0x8f, 0xff, 0x12, 0x34, 0x82, 0xff, 0x00, 0x01, 0x00, 0x00, 0xff, 0xff];
        for value in [900u32, 65536, 48, 0, 0, 5000, 2, 2, 0x0102_0304, 0xdead_beef] {
            bytes.extend(value.to_be_bytes());
        }
        assert_eq!(bytes.len(), 52);
        bytes
    }

    fn reliable(length: usize) -> Vec<u8> {
        let mut bytes = vec![0x90, 0x03, 0, 9, 0x86, 0x01, 0, 7];
        bytes.extend((length as u16).to_be_bytes());
        bytes.extend((0..length).map(|i| i as u8));
        bytes
    }

    #[test]
    fn golden_connect() {
        let expected = Screened::Connect { connect_id: 0x0102_0304, data: 0xdead_beef };
        assert_eq!(screen(&connect()), Ok(expected));
        for end in 0..connect().len() {
            assert!(screen(&connect()[..end]).is_err(), "truncated at {end}");
        }
        let mut twice = connect();
        twice.extend_from_slice(&connect()[4..]);
        assert_eq!(screen(&twice), Err(Refusal::Mixed));
    }

    #[test]
    fn golden_reliable_message() {
        let datagram = reliable(28);
        assert_eq!(screen(&datagram), Ok(Screened::Peer { slot: 3, session: 1, disconnects: false }));
        let found: Vec<_> = messages(&datagram).collect();
        assert_eq!(found, [&datagram[10..]]);
        assert_eq!(screen(&reliable(27)), Err(Refusal::ShortMessage(27)));
        assert_eq!(screen(&reliable(0)), Err(Refusal::ShortMessage(0)));
        assert_eq!(screen(&datagram[..datagram.len() - 1]), Err(Refusal::Truncated));
    }

    #[test]
    fn refused_commands_and_flags() {
        for number in [0u8, 3, 8, 12, 13, 14, 15] {
            let mut datagram = vec![0x80, 0x00, 0, 0, number];
            datagram.resize(64, 0);
            assert_eq!(screen(&datagram), Err(Refusal::Command(number)));
        }
        assert_eq!(screen(&[0x40, 0, 5, 0, 0, 0]), Err(Refusal::Compressed));
        assert_eq!(screen(&[0x00, 0x00]), Err(Refusal::Count));
        assert_eq!(screen(&[0x0f, 0xff, 5, 0, 0, 0]), Err(Refusal::Mixed), "ping to no slot");
        let mut to_slot = connect();
        to_slot[0..2].copy_from_slice(&[0x80, 0x01]);
        assert_eq!(screen(&to_slot), Err(Refusal::Mixed), "connect to a slot");
        let mut pings = vec![0x00, 0x01];
        pings.extend([5u8, 0, 0, 0].repeat(MAX_COMMANDS));
        assert!(screen(&pings).is_ok());
        pings.extend([5u8, 0, 0, 0]);
        assert_eq!(screen(&pings), Err(Refusal::Count));
        assert_eq!(screen(&vec![0; MAX_DATAGRAM + 1]), Err(Refusal::Length(MAX_DATAGRAM + 1)));
        assert_eq!(
            screen(&[0x00, 0x02, 4, 0xff, 0, 1, 0, 0, 0, 9]),
            Ok(Screened::Peer { slot: 2, session: 0, disconnects: true })
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let accepted = screen(&bytes).is_ok();
            let long_enough = messages(&bytes).all(|message| message.len() >= MIN_MESSAGE);
            prop_assert!(!accepted || long_enough);
        }

        #[test]
        fn commands_one_after_another(commands in prop::collection::vec((0u8..16, 0usize..80), 1..40)) {
            let mut datagram = vec![0x90, 0x05, 1, 2];
            let mut expected = 0;
            for &(number, length) in &commands {
                datagram.extend([number | 0x80, 1, 0, 1]);
                let body = match number {
                    1 | 4 | 7 | 9 => 4, 2 | 3 => 44 - 4 * usize::from(number == 3), 6 => 2, 8 | 12 => 20,
                    10 => 8, 11 => 12, _ => 0,
                };
                let mut bytes = vec![0u8; body];
                if matches!(number, 6 | 7 | 9) {
                    bytes[body - 2..].copy_from_slice(&(length as u16).to_be_bytes());
                    bytes.extend(vec![7u8; length]);
                    expected += 1;
                }
                datagram.extend(bytes);
            }
            let allowed = commands.iter().all(|&(number, length)| match number {
                1 | 4 | 5 | 10 | 11 => true,
                6 | 7 | 9 => length >= MIN_MESSAGE,
                _ => false,
            });
            let fits = commands.len() <= MAX_COMMANDS && datagram.len() <= MAX_DATAGRAM;
            prop_assert_eq!(screen(&datagram).is_ok(), allowed && fits);
            if allowed && fits {
                prop_assert_eq!(messages(&datagram).count(), expected);
            }
        }
    }
}
