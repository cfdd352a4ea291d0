//! Control stream (protocol text §8).
/// A message of the host, decoded (protocol text §8.5).
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
