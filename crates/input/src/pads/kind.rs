//! What a virtual gamepad pretends to be.

use lumen_gamestream::input::{Buttons, ControllerArrival, ControllerKind, PadCapabilities};
use std::fmt;

/// The gamepad that games see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PadKind {
    /// What every game knows: for gamepads that did not say what they are.
    Xbox360,
    /// Xbox One S.
    XboxOne,
    /// Xbox Series: an Xbox One with a share button.
    XboxSeries,
    /// Xbox Elite 2: an Xbox One with four paddles.
    XboxElite,
    /// PlayStation 5.
    DualSense,
    /// PlayStation 4.
    DualShock4,
    /// Nintendo Switch Pro Controller.
    SwitchPro,
}

/// What the user wants gamepads to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PadChoice {
    /// What comes closest to the client's own.
    #[default]
    Auto,
    /// Always this one.
    Always(PadKind),
}

impl PadKind {
    /// Whether the kernel is given HID reports (`/dev/uhid`), not input events (`/dev/uinput`).
    pub fn is_hid(self) -> bool {
        matches!(self, Self::DualSense | Self::DualShock4)
    }

    /// Whether games can read its motion sensors.
    pub fn has_motion(self) -> bool {
        self.is_hid()
    }

    /// What stands in for it where `/dev/uhid` cannot be used.
    pub fn without_hid(self) -> Self {
        if self.is_hid() { Self::XboxOne } else { self }
    }
}

impl fmt::Display for PadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Xbox360 => "Xbox 360",
            Self::XboxOne => "Xbox One",
            Self::XboxSeries => "Xbox Series",
            Self::XboxElite => "Xbox Elite",
            Self::DualSense => "DualSense",
            Self::DualShock4 => "DualShock 4",
            Self::SwitchPro => "Switch Pro",
        })
    }
}

impl PadChoice {
    /// The kind for a gamepad with this introduction; `None` when it came without one (protocol text §9.5).
    pub fn kind(self, arrival: Option<&ControllerArrival>) -> PadKind {
        if let Self::Always(kind) = self {
            return kind;
        }
        let Some(arrival) = arrival else { return PadKind::Xbox360 };
        let has = |capability| arrival.capabilities.contains(capability);
        match arrival.kind {
            ControllerKind::PlayStation => PadKind::DualSense,
            ControllerKind::Nintendo => PadKind::SwitchPro,
            ControllerKind::Xbox => xbox(arrival.buttons),
            ControllerKind::Unknown | ControllerKind::Steam
                if has(PadCapabilities::GYROSCOPE)
                    || has(PadCapabilities::ACCELEROMETER)
                    || has(PadCapabilities::TOUCHPAD) =>
            {
                PadKind::DualSense
            }
            ControllerKind::Unknown | ControllerKind::Steam => PadKind::Xbox360,
        }
    }
}

/// The Xbox that has these buttons.
fn xbox(buttons: Buttons) -> PadKind {
    const PADDLES: u32 = Buttons::PADDLE_1.bits()
        | Buttons::PADDLE_2.bits()
        | Buttons::PADDLE_3.bits()
        | Buttons::PADDLE_4.bits();
    if buttons.bits() & PADDLES != 0 {
        PadKind::XboxElite
    } else if buttons.contains(Buttons::MISC) {
        PadKind::XboxSeries
    } else {
        PadKind::XboxOne
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_s_own_gamepad_decides() {
        let arrival = |kind, capabilities, buttons| ControllerArrival {
            controller: 0,
            kind,
            capabilities: PadCapabilities::from_bits(capabilities),
            buttons: Buttons::from_bits(buttons),
        };
        let auto = |kind, capabilities| PadChoice::Auto.kind(Some(&arrival(kind, capabilities, 0)));
        assert_eq!(PadChoice::Auto.kind(None), PadKind::Xbox360);
        assert_eq!(auto(ControllerKind::PlayStation, 0), PadKind::DualSense);
        assert_eq!(auto(ControllerKind::Nintendo, 0x3ff), PadKind::SwitchPro);
        assert_eq!(auto(ControllerKind::Xbox, 0x3ff), PadKind::XboxOne);
        for kind in [ControllerKind::Unknown, ControllerKind::Steam] {
            assert_eq!(auto(kind, 0x03), PadKind::Xbox360);
            for capability in [0x08, 0x10, 0x20] {
                assert_eq!(auto(kind, capability), PadKind::DualSense);
            }
        }
        let xbox = |buttons| PadChoice::Auto.kind(Some(&arrival(ControllerKind::Xbox, 3, buttons)));
        assert_eq!(xbox(0xf7ff), PadKind::XboxOne);
        assert_eq!(xbox(0x20_f7ff), PadKind::XboxSeries);
        assert_eq!(xbox(0x2f_f7ff), PadKind::XboxElite);
        let always = PadChoice::Always(PadKind::DualShock4);
        assert_eq!(always.kind(None), PadKind::DualShock4);
        assert_eq!(always.kind(Some(&arrival(ControllerKind::Xbox, 3, 0))), PadKind::DualShock4);
    }
}
