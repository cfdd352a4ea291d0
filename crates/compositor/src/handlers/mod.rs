//! What clients ask, by protocol.

mod misc;
mod seat;
mod surface;
mod xdg_shell;
