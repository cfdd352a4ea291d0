//! The backends against the real desktops, each in a private session. A desktop that is not installed is left out, with
//! a line on stderr.

mod eyes;
mod gamescope;
mod hyprland;
mod input;
mod killed;
mod kwin;
mod mutter;
mod portal;
mod sway;
