//! Names of the display backends.

use std::fmt;
use std::str::FromStr;

/// A display backend, as `LUMEN_COMPOSITOR` and the configuration name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DisplayKind {
    /// Whatever suits the machine best.
    #[default]
    Auto,
    /// Lumen's own headless compositor.
    Builtin,
    /// KDE Plasma.
    Kwin,
    /// GNOME.
    Mutter,
    /// sway and its relatives.
    Wlroots,
    /// Hyprland.
    Hyprland,
    /// gamescope.
    Gamescope,
    /// Mirror of a monitor through xdg-desktop-portal.
    Portal,
}

/// A name that no backend has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no display backend. \
     Known: auto, built-in, kwin, mutter, wlroots, hyprland, gamescope, portal"
)]
pub struct UnknownDisplay(String);

impl DisplayKind {
    /// Every name that parses.
    pub const ALL: [DisplayKind; 8] = [
        DisplayKind::Auto,
        DisplayKind::Builtin,
        DisplayKind::Kwin,
        DisplayKind::Mutter,
        DisplayKind::Wlroots,
        DisplayKind::Hyprland,
        DisplayKind::Gamescope,
        DisplayKind::Portal,
    ];
}

impl DisplayKind {
    /// How input reaches it, in words for people.
    pub fn input(self) -> &'static str {
        match self {
            DisplayKind::Auto => "as the desktop that is chosen takes it",
            DisplayKind::Builtin => "directly",
            DisplayKind::Kwin => "by KWin's libei, else by its fake input",
            DisplayKind::Mutter => {
                "by libei in the session that shows the monitor; characters that the layout lacks by number"
            }
            DisplayKind::Wlroots | DisplayKind::Hyprland => {
                "by a virtual pointer and keyboard, in the seat's layout or that of input.keyboard_layout; touch as pointer"
            }
            DisplayKind::Gamescope => "by its libei socket; touch as pointer, no text beyond the layout",
            DisplayKind::Portal => "by libei under the same grant where the portal has RemoteDesktop",
        }
    }
}

impl fmt::Display for DisplayKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DisplayKind::Auto => "auto",
            DisplayKind::Builtin => "built-in",
            DisplayKind::Kwin => "kwin",
            DisplayKind::Mutter => "mutter",
            DisplayKind::Wlroots => "wlroots",
            DisplayKind::Hyprland => "hyprland",
            DisplayKind::Gamescope => "gamescope",
            DisplayKind::Portal => "portal",
        })
    }
}

impl FromStr for DisplayKind {
    type Err = UnknownDisplay;

    fn from_str(name: &str) -> Result<Self, UnknownDisplay> {
        let wanted = name.trim().to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|kind| kind.to_string() == wanted)
            .ok_or_else(|| UnknownDisplay(name.chars().take(64).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_back() {
        for kind in DisplayKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!(" KWin ".parse(), Ok(DisplayKind::Kwin));
        assert!("weston".parse::<DisplayKind>().is_err());
    }
}
