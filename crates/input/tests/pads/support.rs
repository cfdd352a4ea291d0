//! A client's gamepads, and what comes back for the client.

use lumen_gamestream::control::HostMessage;
use lumen_gamestream::input::{
    Buttons, ControllerArrival, ControllerKind, ControllerState, InputPacket, PadCapabilities,
};
use lumen_input::pads::{PadInput, Pads, PadsConfig};
use lumen_lab::gamepads::{self, Part};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Longest wait for anything that should happen at once.
pub const PATIENCE: Duration = Duration::from_secs(5);

pub struct Rig {
    pub pads: Option<Pads>,
    pub input: PadInput,
    pub messages: Receiver<HostMessage>,
    pub owner: String,
}

impl Rig {
    /// `None`, with a line that says why, where there can be no gamepads.
    pub fn start(name: &str) -> Option<Self> {
        let _ = tracing_subscriber::fmt().with_test_writer().try_init();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if let Some(obstacle) = gamepads::obstacle() {
            lumen_lab::left_out(name, &obstacle);
            return None;
        }
        let owner = format!("{}/{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let pads =
            Pads::start(PadsConfig { owner: owner.clone(), ..PadsConfig::default() }).expect("a thread");
        let (sender, messages) = channel();
        let input = pads.connect(move |message| _ = sender.send(message));
        Some(Self { pads: Some(pads), input, messages, owner })
    }

    pub fn phys(&self, number: u8) -> String {
        format!("lumen/{}/{number}", self.owner)
    }

    pub fn arrive(&mut self, controller: u8, kind: ControllerKind, capabilities: u16, buttons: u32) {
        let capabilities = PadCapabilities::from_bits(capabilities);
        let buttons = Buttons::from_bits(buttons);
        let arrival = ControllerArrival { controller, kind, capabilities, buttons };
        self.input.handle(&InputPacket::ControllerArrival(arrival));
    }

    /// Sends a state of which all the rest is at rest.
    pub fn state(&mut self, controller: u8, change: impl FnOnce(&mut ControllerState)) {
        let mut state = ControllerState {
            controller,
            active_mask: 0xffff,
            buttons: Buttons::default(),
            left_trigger: 0,
            right_trigger: 0,
            left_stick: (0, 0),
            right_stick: (0, 0),
        };
        change(&mut state);
        self.input.handle(&InputPacket::Controller(state));
    }

    pub fn device(&self, number: u8, part: Part) -> evdev::Device {
        self.device_that(number, part, |_| true)
    }

    /// Waits for a device of which something is true.
    pub fn device_that(
        &self,
        number: u8,
        part: Part,
        mut is: impl FnMut(&evdev::Device) -> bool,
    ) -> evdev::Device {
        wait_for(&format!("{part:?} of gamepad {number}"), || {
            gamepads::find(&self.phys(number), part).filter(&mut is)
        })
    }

    /// Waits for a message, letting others pass.
    pub fn message(&self, wanted: HostMessage) {
        let mut others = Vec::new();
        let limit = lumen_lab::patient(PATIENCE);
        while let Ok(message) = self.messages.recv_timeout(limit) {
            if message == wanted {
                return;
            }
            others.push(message);
        }
        panic!("waited {limit:?} in vain for {wanted:?}; there came {others:?}");
    }

    /// Pulls everything out; nothing may be left.
    pub fn end(mut self) {
        drop(self.pads.take());
        let phys = format!("lumen/{}/", self.owner);
        wait_for("all devices to be gone", || gamepads::plugged(&phys).is_empty().then_some(()));
    }
}

pub fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    lumen_lab::wait_for(what, PATIENCE, look).unwrap_or_else(|error| panic!("{error}"))
}
