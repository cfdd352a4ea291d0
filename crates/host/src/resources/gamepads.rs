//! The gamepads of a client.

use super::{Hurry, Resources};
use crate::supervisor::Shared;
use lumen_config::Gamepads;
use lumen_gamestream::session::{ClientId, SessionId};
use lumen_input::pads::{PadChoice, PadInput, PadKind, PadView, Pads, PadsConfig};
use serde_json::{Value, json};

/// What the status shows.
pub struct GamepadsView {
    pads: Vec<PadView>,
    /// Packets that no device took.
    dropped: u64,
}

impl GamepadsView {
    /// Of a client's gamepads.
    pub(super) fn of(pads: &Pads) -> Self {
        Self { pads: pads.view(), dropped: pads.counts().homeless }
    }

    /// Each gamepad, for programs.
    pub fn json(&self) -> Value {
        let pads = self.pads.iter().map(|pad| {
            json!({
                "number": pad.number,
                "requested": pad.requested.to_string(),
                "effective": pad.effective.map(|kind| kind.to_string()),
                "reason": pad.reason,
            })
        });
        pads.collect()
    }

    /// Packets for gamepads that were not there.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// [`GamepadsView::json`] for people, in one line.
    pub fn line(json: &Value) -> Option<String> {
        let said = json.as_array()?.iter().map(|pad| {
            let text = |key: &str| pad[key].as_str().unwrap_or("?");
            let (number, requested) = (&pad["number"], text("requested"));
            match pad["effective"].as_str() {
                None => format!("{number}: no {requested} ({})", text("reason")),
                Some(kind) if kind != requested => {
                    format!("{number}: {kind} for {requested} ({})", text("reason"))
                }
                Some(kind) => format!("{number}: {kind}"),
            }
        });
        let said: Vec<_> = said.collect();
        (!said.is_empty()).then(|| said.join(", "))
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gamepads_became_is_shown() {
        let pad = |number, requested, effective, reason: Option<&str>| PadView {
            number,
            requested,
            effective,
            reason: reason.map(str::to_owned),
        };
        let pads = vec![
            pad(0, PadKind::DualSense, Some(PadKind::DualSense), None),
            pad(1, PadKind::DualShock4, Some(PadKind::XboxOne), Some("no access")),
            pad(4, PadKind::Xbox360, None, Some("no such file")),
        ];
        let view = GamepadsView { pads, dropped: 3 };
        let expected = json!([
            { "number": 0, "requested": "DualSense", "effective": "DualSense", "reason": null },
            { "number": 1, "requested": "DualShock 4", "effective": "Xbox One", "reason": "no access" },
            { "number": 4, "requested": "Xbox 360", "effective": null, "reason": "no such file" },
        ]);
        assert_eq!(view.json(), expected);
        assert_eq!(
            GamepadsView::line(&view.json()).as_deref(),
            Some("0: DualSense, 1: Xbox One for DualShock 4 (no access), 4: no Xbox 360 (no such file)")
        );
        assert_eq!(GamepadsView::line(&json!([])), None);
        assert_eq!(GamepadsView::line(&Value::Null), None);
    }
}
