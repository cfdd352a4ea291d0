//! Gamepads in the kernel: made of a client's packets, read and written as games do.
//!
//! They need `/dev/uinput` and `/dev/uhid`, which the lab's virtual machine has.

mod playstation;
mod support;
mod uinput;
