//! What the host says (protocol text §8.5).

/// A message to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostMessage {
    /// 0x010b: the two motors of a gamepad; zeros stop them.
    Rumble {
        /// Gamepad number.
        controller: u16,
        /// Strong motor.
        low_frequency: u16,
        /// Weak motor.
        high_frequency: u16,
    },
    /// 0x5500: motors in the triggers; only for gamepads that have them.
    TriggerRumble {
        /// Gamepad number.
        controller: u16,
        /// Left trigger.
        left: u16,
        /// Right trigger.
        right: u16,
    },
    /// 0x5501: send this sensor's samples at this rate; 0 stops. Clients send none before.
    MotionRequest {
        /// Gamepad number.
        controller: u16,
        /// Samples per second.
        rate_hz: u16,
        /// Which sensor.
        sensor: MotionSensor,
    },
    /// 0x5502: colour of the gamepad's light. (The same number means something else from clients.)
    Led {
        /// Gamepad number.
        controller: u16,
        /// Red, green, blue.
        rgb: [u8; 3],
    },
    /// 0x5503: adaptive triggers.
    AdaptiveTriggers {
        /// Gamepad number.
        controller: u16,
        /// Effects, verbatim from the DualSense report.
        effects: TriggerEffects,
    },
    /// 0x010e: HDR on with its metadata, or off.
    HdrMode {
        /// `None` is SDR.
        metadata: Option<HdrMetadata>,
    },
    /// 0x0109: the stream ends.
    Termination(Termination),
}

/// Sensors that report motion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MotionSensor {
    /// m/s², gravity included.
    Accelerometer,
    /// Degrees per second.
    Gyroscope,
}

/// Resistance of both triggers; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TriggerEffects {
    /// Effect type and its ten parameter bytes.
    pub left: Option<(u8, [u8; 10])>,
    /// Effect type and its ten parameter bytes.
    pub right: Option<(u8, [u8; 10])>,
}

/// Mastering metadata; 0 where unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HdrMetadata {
    /// Red, green, blue: x, y in 1/50000.
    pub primaries: [(u16, u16); 3],
    /// White point: x, y in 1/50000.
    pub white: (u16, u16),
    /// cd/m².
    pub max_luminance: u16,
    /// 1/10000 cd/m².
    pub min_luminance: u16,
    /// cd/m².
    pub max_content_light: u16,
    /// cd/m².
    pub max_frame_average_light: u16,
    /// cd/m².
    pub max_full_frame_luminance: u16,
}

/// Why a stream ends, as clients understand it (protocol text §10.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Termination {
    /// As intended; no error is shown if the client saw a frame.
    Graceful,
    /// Frames could not be converted: the client suggests a lower resolution or another codec.
    FrameConversion,
    /// Protected content is on the screen.
    ProtectedContent,
    /// Another code, shown to the user as it is.
    Other(u32),
}

impl Termination {
    /// The number on the wire.
    pub fn code(self) -> u32 {
        match self {
            Self::Graceful => 0x8003_0023,
            Self::FrameConversion => 0x800e_9403,
            Self::ProtectedContent => 0x800e_9302,
            Self::Other(code) => code,
        }
    }
}

impl HostMessage {
    /// The content of a frame before sealing: type, length, payload.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, payload) = self.payload();
        let length = u16::try_from(payload.len()).expect("payloads are below 100 bytes");
        [&kind.to_le_bytes()[..], &length.to_le_bytes(), &payload].concat()
    }

    fn payload(&self) -> (u16, Vec<u8>) {
        match *self {
            Self::Rumble { controller, low_frequency, high_frequency } => {
                (0x010b, words(&[0, 0, controller, low_frequency, high_frequency]))
            }
            Self::TriggerRumble { controller, left, right } => (0x5500, words(&[controller, left, right])),
            Self::MotionRequest { controller, rate_hz, sensor } => {
                let mut payload = words(&[controller, rate_hz]);
                payload.push(match sensor {
                    MotionSensor::Accelerometer => 1,
                    MotionSensor::Gyroscope => 2,
                });
                (0x5501, payload)
            }
            Self::Led { controller, rgb } => {
                let mut payload = words(&[controller]);
                payload.extend(rgb);
                (0x5502, payload)
            }
            Self::AdaptiveTriggers { controller, effects } => {
                let flags = u8::from(effects.right.is_some()) << 2 | u8::from(effects.left.is_some()) << 3;
                let (left_type, left) = effects.left.unwrap_or_default();
                let (right_type, right) = effects.right.unwrap_or_default();
                let mut payload = words(&[controller]);
                payload.extend([flags, left_type, right_type]);
                payload.extend(left);
                payload.extend(right);
                (0x5503, payload)
            }
            Self::HdrMode { metadata } => {
                let mut payload = vec![u8::from(metadata.is_some())];
                payload.extend(metadata.unwrap_or_default().encode());
                (0x010e, payload)
            }
            Self::Termination(termination) => (0x0109, termination.code().to_be_bytes().to_vec()),
        }
    }
}

impl HdrMetadata {
    fn encode(&self) -> Vec<u8> {
        let [red, green, blue] = self.primaries;
        words(&[
            red.0,
            red.1,
            green.0,
            green.1,
            blue.0,
            blue.1,
            self.white.0,
            self.white.1,
            self.max_luminance,
            self.min_luminance,
            self.max_content_light,
            self.max_frame_average_light,
            self.max_full_frame_luminance,
        ])
    }
}

fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
