//! Which gamepads exist, and what they look like: a pure state machine over the client's packets
//! (`docs/design/pads.md`; protocol text §9.2). What it decides goes to [`Devices`]; what devices report back goes
//! through it to the client.

use super::feedback::{Abilities, DeviceFeedback, Feedback};
use super::kind::{PadChoice, PadKind};
use super::presence::{PadView, PlugError, Plugged, Presence};
use super::report::{FINGERS, Finger, PadReport};
use lumen_gamestream::control::{HostMessage, MotionSensor};
use lumen_gamestream::input::{
    Battery, ControllerArrival, ControllerKind, ControllerState, ControllerTouch, InputPacket, Motion,
    PadCapabilities, TouchEvent,
};
use lumen_media::Timestamp;

/// Gamepads that a client can hold.
pub const MAX_PADS: usize = 16;

/// An input packet that concerns a gamepad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadPacket {
    /// The whole state.
    State(ControllerState),
    /// An introduction.
    Arrival(ControllerArrival),
    /// A finger on a touchpad.
    Touch(ControllerTouch),
    /// A motion sensor's sample.
    Motion(Motion),
    /// The battery.
    Battery(Battery),
}

impl PadPacket {
    /// Out of an input packet; `None` if it concerns no gamepad.
    pub fn of(packet: &InputPacket) -> Option<Self> {
        match packet {
            InputPacket::Controller(state) => Some(Self::State(*state)),
            InputPacket::ControllerArrival(arrival) => Some(Self::Arrival(*arrival)),
            InputPacket::ControllerTouch(touch) => Some(Self::Touch(*touch)),
            InputPacket::Motion(motion) => Some(Self::Motion(*motion)),
            InputPacket::Battery(battery) => Some(Self::Battery(*battery)),
            _ => None,
        }
    }

    /// The gamepad's number, 0 to 15.
    pub fn controller(&self) -> u8 {
        match self {
            Self::State(state) => state.controller,
            Self::Arrival(arrival) => arrival.controller,
            Self::Touch(touch) => touch.controller,
            Self::Motion(motion) => motion.controller,
            Self::Battery(battery) => battery.controller,
        }
    }
}

/// Where gamepads are plugged in.
pub trait Devices {
    /// Plugs one in, untouched; gives what it became, which may be the next best thing.
    ///
    /// # Errors
    /// It cannot be had now.
    fn plug(&mut self, number: u8, kind: PadKind) -> Result<Plugged, PlugError>;
    /// Pulls it out.
    fn unplug(&mut self, number: u8);
    /// It looks like this now.
    fn update(&mut self, number: u8, report: &PadReport);
}

/// Gamepads that exist, packets that had no effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PadCounts {
    /// Plugged in now.
    pub pads: usize,
    /// Packets for gamepads that do not exist, or have no device at the time. Of the latter the state that they left is
    /// shown as soon as there is one.
    pub homeless: u64,
}

/// The gamepads of one client.
#[derive(Debug, Default)]
pub struct Manager {
    choice: PadChoice,
    pads: [Option<Pad>; MAX_PADS],
    homeless: u64,
    /// Something changed since [`Manager::news`] was called last.
    changed: bool,
}

#[derive(Debug)]
struct Pad {
    /// What was asked for.
    kind: PadKind,
    presence: Presence,
    /// Its newest introduction.
    arrival: Option<ControllerArrival>,
    /// What the client last said of it, whether there is a device that shows it or not.
    report: PadReport,
    /// Pointer of the finger at the same place in the report.
    pointers: [u32; FINGERS],
    next_finger: u8,
    feedback: Feedback,
}

impl Manager {
    /// Without gamepads.
    pub fn new(choice: PadChoice) -> Self {
        Self { choice, ..Self::default() }
    }

    /// Takes one packet.
    pub fn handle(
        &mut self,
        packet: &PadPacket,
        now: Timestamp,
        devices: &mut dyn Devices,
        send: &mut dyn FnMut(HostMessage),
    ) {
        let number = packet.controller();
        if usize::from(number) >= MAX_PADS {
            self.homeless += 1;
            return;
        }
        match packet {
            PadPacket::Arrival(arrival) => self.arrived(arrival, now, devices, send),
            PadPacket::State(state) if !state.is_present() => self.remove(number, devices, send),
            PadPacket::State(state) => {
                if self.pad(number).is_none() {
                    self.plug(number, None, now, devices);
                }
                self.change(number, devices, |pad| {
                    pad.report.take(state);
                    true
                });
            }
            PadPacket::Touch(touch) => self.change(number, devices, |pad| pad.touched(touch)),
            PadPacket::Motion(motion) => self.change(number, devices, |pad| pad.moved(motion)),
            PadPacket::Battery(battery) => self.change(number, devices, |pad| {
                pad.report.battery = (battery.state, battery.percent);
                true
            }),
        }
    }

    /// What a game wants of a gamepad.
    pub fn feedback(&mut self, number: u8, feedback: DeviceFeedback) {
        if let Some(pad) = self.pad(number) {
            pad.feedback.want(feedback);
        }
    }

    /// A gamepad's device failed and is gone; it is tried again. True if it is the first that failed in a row.
    pub fn lost(&mut self, number: u8, cause: PlugError, now: Timestamp) -> bool {
        let Some(pad) = self.pad(number) else { return false };
        pad.feedback.rest();
        let first = pad.presence.lost(cause, now);
        self.changed = true;
        first
    }

    /// Tries again what has no device, when its time has come.
    pub fn retry(&mut self, now: Timestamp, devices: &mut dyn Devices) {
        for (number, pad) in (0u8..).zip(&mut self.pads) {
            if let Some(pad) = pad
                && pad.presence.retry_at().is_some_and(|at| at <= now)
            {
                pad.retry(number, now, devices);
                self.changed = true;
            }
        }
    }

    /// Sends what is due of the feedback.
    pub fn flush(&mut self, now: Timestamp, send: &mut dyn FnMut(HostMessage)) {
        for (number, pad) in (0u8..).zip(&mut self.pads) {
            if let Some(pad) = pad {
                pad.feedback.flush(number, now, send);
            }
        }
    }

    /// When [`Manager::flush`] has something to send, or [`Manager::retry`] something to try.
    pub fn due(&self) -> Option<Timestamp> {
        let pads = self.pads.iter().flatten();
        pads.flat_map(|pad| [pad.feedback.due(), pad.presence.retry_at()]).flatten().min()
    }

    /// Another connection of the client takes over: it knows nothing of what was sent before.
    pub fn reconnected(&mut self) {
        for pad in self.pads.iter_mut().flatten() {
            pad.feedback.forget_sent();
        }
    }

    /// Lets go of every button, stick and finger.
    pub fn release_all(&mut self, devices: &mut dyn Devices) {
        for (number, pad) in (0u8..).zip(&mut self.pads) {
            if let Some(pad) = pad {
                pad.report.release();
                pad.show(number, devices);
            }
        }
    }

    /// Pulls all of them out.
    pub fn clear(&mut self, devices: &mut dyn Devices, send: &mut dyn FnMut(HostMessage)) {
        for number in 0..MAX_PADS as u8 {
            self.remove(number, devices, send);
        }
    }

    /// Counters.
    pub fn counts(&self) -> PadCounts {
        let pads = self.pads.iter().flatten().filter(|pad| pad.presence.kind().is_some()).count();
        PadCounts { pads, homeless: self.homeless }
    }

    /// All gamepads, if anything about them changed since the last call.
    pub fn news(&mut self) -> Option<Vec<PadView>> {
        let pads = (0u8..).zip(&self.pads).filter_map(|(number, pad)| {
            let pad = pad.as_ref()?;
            let reason = pad.presence.reason().map(ToString::to_string);
            Some(PadView { number, requested: pad.kind, effective: pad.presence.kind(), reason })
        });
        std::mem::take(&mut self.changed).then(|| pads.collect())
    }

    fn pad(&mut self, number: u8) -> Option<&mut Pad> {
        self.pads.get_mut(usize::from(number))?.as_mut()
    }

    /// Clients introduce their gamepads again when they connect again, and some when a capability comes late; the device
    /// that games have open stays unless it must be another.
    fn arrived(
        &mut self,
        arrival: &ControllerArrival,
        now: Timestamp,
        devices: &mut dyn Devices,
        send: &mut dyn FnMut(HostMessage),
    ) {
        let (number, kind) = (arrival.controller, self.choice.kind(Some(arrival)));
        match self.pad(number).filter(|pad| pad.kind == kind) {
            Some(pad) => {
                pad.arrival = Some(*arrival);
                if pad.presence.kind().is_some() {
                    pad.introduce();
                } else {
                    pad.retry(number, now, devices);
                    self.changed = true;
                }
            }
            None => {
                self.remove(number, devices, send);
                self.plug(number, Some(arrival), now, devices);
            }
        }
    }

    fn plug(
        &mut self,
        number: u8,
        arrival: Option<&ControllerArrival>,
        now: Timestamp,
        devices: &mut dyn Devices,
    ) {
        let kind = self.choice.kind(arrival);
        let mut pad = Pad {
            kind,
            // Kept without a device too, so that it is not tried again with every packet.
            presence: Presence::new(devices.plug(number, kind), now),
            arrival: arrival.copied(),
            report: PadReport::default(),
            pointers: [0; FINGERS],
            next_finger: 0,
            feedback: Feedback::default(),
        };
        pad.feedback = Feedback::new(pad.abilities());
        if let Some(slot) = self.pads.get_mut(usize::from(number)) {
            *slot = Some(pad);
            self.changed = true;
        }
    }

    fn remove(&mut self, number: u8, devices: &mut dyn Devices, send: &mut dyn FnMut(HostMessage)) {
        let Some(mut pad) = self.pads.get_mut(usize::from(number)).and_then(Option::take) else { return };
        if pad.presence.kind().is_some() {
            devices.unplug(number);
        }
        pad.feedback.stop(number, send);
        self.changed = true;
    }

    /// Changes a gamepad's state, and shows it if `change` says that it did.
    fn change(&mut self, number: u8, devices: &mut dyn Devices, change: impl FnOnce(&mut Pad) -> bool) {
        let Some(pad) = self.pad(number) else {
            self.homeless += 1;
            return;
        };
        if change(pad) {
            pad.show(number, devices);
        }
        if pad.presence.kind().is_none() {
            self.homeless += 1;
        }
    }
}

impl Pad {
    /// Another attempt. Games find the device in the state in which the client's gamepad is by now.
    fn retry(&mut self, number: u8, now: Timestamp, devices: &mut dyn Devices) {
        self.presence.tried(devices.plug(number, self.kind), now);
        if self.presence.kind().is_some() {
            self.introduce();
            self.show(number, devices);
        }
    }

    /// The client's gamepad, or the device, is another than before: all is said again that it is to know.
    fn introduce(&mut self) {
        self.feedback.can(self.abilities());
        self.feedback.forget_sent();
    }

    fn show(&self, number: u8, devices: &mut dyn Devices) {
        if self.presence.kind().is_some() {
            devices.update(number, &self.report);
        }
    }

    fn abilities(&self) -> Abilities {
        let Some(actual) = self.presence.kind() else { return Abilities::default() };
        let Some(arrival) = &self.arrival else { return Abilities::UNANNOUNCED };
        // There is no capability bit for it: PlayStation gamepads may have it, and clients know whether theirs does.
        let adaptive = actual == PadKind::DualSense && arrival.kind == ControllerKind::PlayStation;
        Abilities::of(arrival.capabilities, adaptive, actual.has_motion())
    }

    fn moved(&mut self, motion: &Motion) -> bool {
        let sample = [motion.x, motion.y, motion.z];
        if sample.iter().any(|value| !value.is_finite()) {
            return false;
        }
        match motion.sensor {
            MotionSensor::Accelerometer => self.report.accelerometer = sample,
            MotionSensor::Gyroscope => self.report.gyroscope = sample,
        }
        true
    }

    fn touched(&mut self, touch: &ControllerTouch) -> bool {
        let slot = (0..FINGERS)
            .find(|slot| self.report.fingers[*slot].is_some() && self.pointers[*slot] == touch.pointer);
        match (touch.event, slot) {
            (TouchEvent::Down | TouchEvent::Move, _) if !(touch.x.is_finite() && touch.y.is_finite()) => {
                false
            }
            (TouchEvent::Down | TouchEvent::Move, Some(slot)) => {
                let (x, y) = self.place(touch);
                let finger = self.report.fingers[slot].map(|finger| Finger { x, y, ..finger });
                std::mem::replace(&mut self.report.fingers[slot], finger) != finger
            }
            (TouchEvent::Down, None) => {
                // A third finger has no place.
                let Some(slot) = self.report.fingers.iter().position(Option::is_none) else { return false };
                let (x, y) = self.place(touch);
                self.report.fingers[slot] = Some(Finger { id: self.next_finger, x, y });
                self.next_finger = (self.next_finger + 1) % 128;
                self.pointers[slot] = touch.pointer;
                true
            }
            (TouchEvent::Up | TouchEvent::Cancel, Some(slot)) => self.report.fingers[slot].take().is_some(),
            (TouchEvent::CancelAll, _) => {
                std::mem::replace(&mut self.report.fingers, [None; FINGERS]) != [None; FINGERS]
            }
            // Moves are unreliable on the wire: they may come after their up.
            _ => false,
        }
    }

    /// Where a finger is on the one touchpad that games see: two small ones lie side by side.
    fn place(&self, touch: &ControllerTouch) -> (f32, f32) {
        let (x, y) = (touch.x.clamp(0.0, 1.0), touch.y.clamp(0.0, 1.0));
        let two =
            self.arrival.is_some_and(|arrival| arrival.capabilities.contains(PadCapabilities::TWO_TOUCHPADS));
        if !two {
            return (x, y);
        }
        (if touch.touchpad == 0 { x / 2.0 } else { 0.5 + x / 2.0 }, y)
    }
}

#[cfg(test)]
#[path = "manager_tests.rs"]
mod tests;
