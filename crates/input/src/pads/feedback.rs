//! From what games write to a gamepad to messages for the client: only what it can do, only what changed, and not more
//! often than a client can follow (protocol text §8.5).

use lumen_gamestream::control::{HostMessage, MotionSensor, TriggerEffects};
use lumen_gamestream::input::PadCapabilities;
use lumen_media::Timestamp;
use std::time::Duration;

/// Between two messages of one kind to one gamepad. A game that writes more often loses nothing but values in between.
const INTERVAL: Duration = Duration::from_millis(10);
/// A rumble that lasts is sent again after this: clients that play one with a length of its own give it 30 s.
const RUMBLE_AGAIN: Duration = Duration::from_secs(10);
/// Samples per second that are asked of a motion sensor.
pub const MOTION_RATE_HZ: u16 = 200;

/// What a game, or the kernel's driver for it, wants of a gamepad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceFeedback {
    /// The motors, 0 to 65535 each.
    Rumble {
        /// Strong motor.
        low_frequency: u16,
        /// Weak motor.
        high_frequency: u16,
    },
    /// Colour of the light: red, green, blue.
    Led([u8; 3]),
    /// Resistance of the triggers; `None` leaves one as it is.
    Triggers(TriggerEffects),
}

/// What the client's gamepad can do with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Abilities {
    pub rumble: bool,
    pub led: bool,
    pub triggers: bool,
    pub accelerometer: bool,
    pub gyroscope: bool,
}

impl Abilities {
    /// A gamepad that said nothing about itself: rumble is what every client takes.
    pub const UNANNOUNCED: Self =
        Self { rumble: true, led: false, triggers: false, accelerometer: false, gyroscope: false };

    /// Of a gamepad that introduced itself; `adaptive` when its triggers can resist.
    pub fn of(capabilities: PadCapabilities, adaptive: bool, motion: bool) -> Self {
        Self {
            rumble: capabilities.contains(PadCapabilities::RUMBLE),
            led: capabilities.contains(PadCapabilities::RGB_LED),
            triggers: adaptive,
            accelerometer: motion && capabilities.contains(PadCapabilities::ACCELEROMETER),
            gyroscope: motion && capabilities.contains(PadCapabilities::GYROSCOPE),
        }
    }
}

/// A value on its way to the client.
#[derive(Clone, Copy, Debug, Default)]
struct Channel<T> {
    wanted: Option<T>,
    sent: Option<T>,
    at: Option<Timestamp>,
}

impl<T: Copy + PartialEq> Channel<T> {
    fn due(&self) -> Option<Timestamp> {
        (self.wanted.is_some() && self.wanted != self.sent)
            .then(|| self.at.map_or(Timestamp::default(), |at| at + INTERVAL))
    }

    fn take(&mut self, now: Timestamp) -> Option<T> {
        if self.due()? > now {
            return None;
        }
        self.at = Some(now);
        self.sent = self.wanted;
        self.wanted
    }

    fn forget_sent(&mut self) {
        self.sent = None;
        self.at = None;
    }
}

type Effect = (u8, [u8; 10]);

/// Feedback of one gamepad.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Feedback {
    abilities: Abilities,
    rumble: Channel<(u16, u16)>,
    led: Channel<[u8; 3]>,
    left: Channel<Effect>,
    right: Channel<Effect>,
    accelerometer: Channel<u16>,
    gyroscope: Channel<u16>,
}

impl Feedback {
    pub fn new(abilities: Abilities) -> Self {
        let mut feedback = Self::default();
        feedback.can(abilities);
        // Motors stand still and triggers are free until somebody says otherwise.
        feedback.rumble.sent = Some((0, 0));
        feedback
    }

    /// Replaces what the client's gamepad can do.
    pub fn can(&mut self, abilities: Abilities) {
        self.abilities = abilities;
        self.accelerometer.wanted = abilities.accelerometer.then_some(MOTION_RATE_HZ);
        self.gyroscope.wanted = abilities.gyroscope.then_some(MOTION_RATE_HZ);
    }

    /// Notes what a game wants; it is sent if, or as soon as, the client's gamepad can do it.
    pub fn want(&mut self, feedback: DeviceFeedback) {
        match feedback {
            DeviceFeedback::Rumble { low_frequency, high_frequency } => {
                self.rumble.wanted = Some((low_frequency, high_frequency));
            }
            DeviceFeedback::Led(rgb) => self.led.wanted = Some(rgb),
            DeviceFeedback::Triggers(effects) => {
                self.left.wanted = effects.left.or(self.left.wanted);
                self.right.wanted = effects.right.or(self.right.wanted);
            }
        }
    }

    /// A client that connects anew knows nothing.
    pub fn forget_sent(&mut self) {
        self.rumble.forget_sent();
        self.led.forget_sent();
        self.left.forget_sent();
        self.right.forget_sent();
        self.accelerometer.forget_sent();
        self.gyroscope.forget_sent();
    }

    /// When [`Feedback::flush`] has something to send.
    pub fn due(&self) -> Option<Timestamp> {
        let Abilities { rumble, led, triggers, .. } = self.abilities;
        let due = [
            self.rumble.due().or(self.rumble_again()).filter(|_| rumble),
            self.led.due().filter(|_| led),
            self.left.due().filter(|_| triggers),
            self.right.due().filter(|_| triggers),
            self.accelerometer.due(),
            self.gyroscope.due(),
        ];
        due.into_iter().flatten().min()
    }

    /// Sends what has changed and may be sent.
    pub fn flush(&mut self, controller: u8, now: Timestamp, send: &mut dyn FnMut(HostMessage)) {
        let controller = u16::from(controller);
        if self.rumble_again().is_some_and(|at| at <= now) {
            self.rumble.sent = None;
        }
        if self.abilities.rumble
            && let Some((low_frequency, high_frequency)) = self.rumble.take(now)
        {
            send(HostMessage::Rumble { controller, low_frequency, high_frequency });
        }
        if self.abilities.led
            && let Some(rgb) = self.led.take(now)
        {
            send(HostMessage::Led { controller, rgb });
        }
        if self.abilities.triggers {
            let effects = TriggerEffects { left: self.left.take(now), right: self.right.take(now) };
            if effects != TriggerEffects::default() {
                send(HostMessage::AdaptiveTriggers { controller, effects });
            }
        }
        let sensors = [
            (&mut self.accelerometer, MotionSensor::Accelerometer),
            (&mut self.gyroscope, MotionSensor::Gyroscope),
        ];
        for (channel, sensor) in sensors {
            if let Some(rate_hz) = channel.take(now) {
                send(HostMessage::MotionRequest { controller, rate_hz, sensor });
            }
        }
    }

    /// When a rumble that lasts is sent again.
    fn rumble_again(&self) -> Option<Timestamp> {
        let lasts = self.rumble.wanted == self.rumble.sent && self.rumble.wanted? != (0, 0);
        (lasts && self.abilities.rumble).then_some(self.rumble.at? + RUMBLE_AGAIN)
    }

    /// The device is gone, and what games wanted of it: what moves is stopped by the next [`Feedback::flush`].
    pub fn rest(&mut self) {
        self.rumble.wanted = self.rumble.wanted.map(|_| (0, 0));
        self.left.wanted = self.left.wanted.map(|_| RELAXED);
        self.right.wanted = self.right.wanted.map(|_| RELAXED);
        self.led.wanted = None;
    }

    /// The gamepad goes: what still moves is stopped.
    pub fn stop(&mut self, controller: u8, send: &mut dyn FnMut(HostMessage)) {
        let controller = u16::from(controller);
        if self.rumble.sent.is_some_and(|sent| sent != (0, 0)) {
            send(HostMessage::Rumble { controller, low_frequency: 0, high_frequency: 0 });
        }
        let free = |channel: &Channel<Effect>| {
            channel.sent.map(|_| RELAXED).filter(|_| channel.sent != Some(RELAXED))
        };
        let effects = TriggerEffects { left: free(&self.left), right: free(&self.right) };
        if effects != TriggerEffects::default() {
            send(HostMessage::AdaptiveTriggers { controller, effects });
        }
        *self = Self::default();
    }
}

/// The effect of a trigger without resistance.
const RELAXED: Effect = (0x05, [0; 10]);

#[cfg(test)]
#[path = "feedback_tests.rs"]
mod tests;
