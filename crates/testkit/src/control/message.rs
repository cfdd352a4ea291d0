//! Messages inside the frames (protocol text §8.4, §8.5) and what termination means to a client (§10.4).
use crate::input::{Delivery, InputPacket};
use crate::stream::Ending;
use crate::video::FecReport;

/// A message of the client.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientMessage {
    /// 0x0302 as the first message of the session, on channel 0.
    Start,
    /// 0x0307.
    StartB,
    /// 0x0302 on channel 1.
    RequestIdr,
    /// 0x0301.
    Invalidate {
        /// First lost frame.
        first: u32,
        /// Last lost frame.
        last: u32,
    },
    /// 0x0350.
    AcknowledgeLongTerm(u32),
    /// 0x0200.
    Ping,
    /// 0x0206.
    Input(InputPacket),
    /// 0x5502.
    Report(FecReport),
    /// Anything, for bad-input tests.
    Raw {
        /// Inner type.
        kind: u16,
        /// Payload.
        payload: Vec<u8>,
        /// ENet channel.
        channel: u8,
    },
}

/// A message ready for sealing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Inner type.
    pub kind: u16,
    /// Payload.
    pub payload: Vec<u8>,
    /// ENet channel.
    pub channel: u8,
    /// Reliability.
    pub delivery: Delivery,
}

impl ClientMessage {
    /// Type, bytes, channel and reliability by the table of §8.4.
    pub fn encode(&self) -> Outgoing {
        let reliable =
            |kind, payload, channel| Outgoing { kind, payload, channel, delivery: Delivery::Reliable };
        match self {
            ClientMessage::Start => reliable(0x0302, vec![0, 0], 0),
            ClientMessage::StartB => reliable(0x0307, vec![0], 0),
            ClientMessage::RequestIdr => reliable(0x0302, vec![0, 0], 1),
            ClientMessage::Invalidate { first, last } => {
                let words = [*first, 0, *last, 0, 0, 0];
                reliable(0x0301, words.iter().flat_map(|word| word.to_le_bytes()).collect(), 1)
            }
            ClientMessage::AcknowledgeLongTerm(frame) => {
                reliable(0x0350, [frame.to_le_bytes(), [0; 4]].concat(), 1)
            }
            ClientMessage::Ping => reliable(0x0200, vec![4, 0, 0, 0, 0, 0, 0, 0], 0),
            ClientMessage::Input(packet) => Outgoing {
                kind: 0x0206,
                payload: packet.encode(),
                channel: packet.channel(),
                delivery: packet.delivery(),
            },
            ClientMessage::Report(report) => Outgoing {
                kind: 0x5502,
                payload: report.encode(),
                channel: 0,
                delivery: Delivery::Unsequenced,
            },
            ClientMessage::Raw { kind, payload, channel } => reliable(*kind, payload.clone(), *channel),
        }
    }
}

/// A message of the host, decoded. Short payloads read as zeros behind their end (§8.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostMessage {
    /// 0x010b.
    Rumble {
        /// Controller.
        controller: u16,
        /// Low-frequency motor.
        low: u16,
        /// High-frequency motor.
        high: u16,
    },
    /// 0x5500.
    TriggerRumble {
        /// Controller.
        controller: u16,
        /// Left trigger.
        left: u16,
        /// Right trigger.
        right: u16,
    },
    /// 0x5501.
    MotionState {
        /// Controller.
        controller: u16,
        /// Samples per second, 0 stops.
        rate_hz: u16,
        /// 1 accelerometer, 2 gyroscope.
        kind: u8,
    },
    /// 0x5502.
    Led {
        /// Controller.
        controller: u16,
        /// Red, green, blue.
        rgb: [u8; 3],
    },
    /// 0x5503: controller and the 23 effect bytes as sent.
    AdaptiveTriggers {
        /// Controller.
        controller: u16,
        /// Flags, both types, left and right data.
        effect: Vec<u8>,
    },
    /// 0x010e.
    HdrMode {
        /// Display is HDR.
        enabled: bool,
        /// 13 little-endian numbers of the metadata; missing ones read as 0.
        metadata: [u16; 13],
    },
    /// 0x0109.
    Termination(u32),
    /// Any other type; clients ignore it.
    Unknown {
        /// Inner type.
        kind: u16,
        /// Payload.
        payload: Vec<u8>,
    },
}

impl HostMessage {
    /// Decodes an inner message.
    pub fn decode(kind: u16, payload: &[u8]) -> HostMessage {
        let byte = |at: usize| payload.get(at).copied().unwrap_or(0);
        let word = |at: usize| u16::from_le_bytes([byte(at), byte(at + 1)]);
        match kind {
            0x010b => HostMessage::Rumble { controller: word(4), low: word(6), high: word(8) },
            0x5500 => HostMessage::TriggerRumble { controller: word(0), left: word(2), right: word(4) },
            0x5501 => HostMessage::MotionState { controller: word(0), rate_hz: word(2), kind: byte(4) },
            0x5502 => HostMessage::Led { controller: word(0), rgb: [byte(2), byte(3), byte(4)] },
            0x5503 => HostMessage::AdaptiveTriggers {
                controller: word(0),
                effect: payload.get(2..).unwrap_or_default().to_vec(),
            },
            0x010e => HostMessage::HdrMode {
                enabled: byte(0) != 0,
                metadata: std::array::from_fn(|index| word(1 + 2 * index)),
            },
            0x0109 => HostMessage::Termination(u32::from_be_bytes([byte(0), byte(1), byte(2), byte(3)])),
            _ => HostMessage::Unknown { kind, payload: payload.to_vec() },
        }
    }
}

/// What a termination code means to the client (§10.4).
pub fn client_result(code: u32, frames_received: bool) -> Ending {
    match code {
        0x8003_0023 if frames_received => Ending::Graceful,
        0x8003_0023 => Ending::Early,
        0x800e_9403 => Ending::FrameConversion,
        0x800e_9302 => Ending::ProtectedContent,
        other => Ending::HostError(other),
    }
}
