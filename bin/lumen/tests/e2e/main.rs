//! The real host against our own Moonlight client: compositor, app, capture, encoder, sockets, decoder.
//!
//! Each test starts hosts of its own, on free ports and in a temporary directory, and waits for events with deadlines.

mod audio;
mod bad_input;
mod desktops;
mod lab;
mod lifecycle;
mod network;
mod pads;
mod pairing;
mod picture;
mod programs;
mod tools;
