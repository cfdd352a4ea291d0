//! What the user can do, in words.

/// The desktop asks somebody who is not there, or was told no.
pub(super) const AHEAD: &str = "Allow it once on the screen of this machine: the answer is remembered. On KDE Plasma it \
    can be allowed ahead: lumen setup --portal (the same as: flatpak permission-set kde-authorized remote-desktop \"\" yes)";

/// The portal runs, but its half for this desktop does not.
pub(super) const HALF: &str = "Install the portal of your desktop (xdg-desktop-portal-kde, -gnome, -wlr, -hyprland), see \
    that XDG_CURRENT_DESKTOP or portals.conf names it, and restart xdg-desktop-portal";

/// The cause is in the portal.
pub(super) const LOG: &str = "Its log tells why: journalctl --user -u 'xdg-desktop-portal*'";
