//! The gamepads of a client.

use super::{Hurry, Resources};
use crate::supervisor::Shared;
use lumen_config::Gamepads;
use lumen_gamestream::session::{ClientId, SessionId};
use lumen_input::pads::{PadChoice, PadInput, PadKind, Pads, PadsConfig};

impl Resources {
    /// Where a connection's gamepad input goes; its gamepads are plugged in when the client says so.
    pub(super) fn pad_input(
        &mut self,
        session: SessionId,
        client: ClientId,
        shared: &Shared,
    ) -> Option<PadInput> {
        let choice = pad_choice(shared.config().input.gamepads)?;
        if self.pads.is_none() {
            // Who looks at a device finds host and client by the beginnings of their ids.
            let host: String = shared.unique_id().chars().take(8).collect();
            let config = PadsConfig { choice, owner: format!("{host}/{client}") };
            self.pads = Pads::start(config)
                .inspect_err(
                    |error| tracing::warn!(%client, %error, "no gamepads: a thread cannot be started"),
                )
                .ok();
        }
        Some(self.pads.as_ref()?.connect(shared.control().sender(session)))
    }

    /// The kernel may take some hundredths of a second per gamepad.
    pub(super) fn unplug(&mut self, hurry: Hurry, shared: &Shared) {
        let pads = self.pads.take();
        match hurry {
            Hurry::None => drop(pads),
            Hurry::Supervisor => shared.release(pads),
        }
    }
}

/// What gamepads become; `None`: there shall be none.
fn pad_choice(gamepads: Gamepads) -> Option<PadChoice> {
    Some(PadChoice::Always(match gamepads {
        Gamepads::Auto => return Some(PadChoice::Auto),
        Gamepads::Off => return None,
        Gamepads::Xbox360 => PadKind::Xbox360,
        Gamepads::XboxOne => PadKind::XboxOne,
        Gamepads::DualSense => PadKind::DualSense,
        Gamepads::DualShock4 => PadKind::DualShock4,
        Gamepads::SwitchPro => PadKind::SwitchPro,
    }))
}
