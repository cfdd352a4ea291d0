//! The GameStream protocol without sockets, clocks or random numbers: bytes, time and randomness come in as arguments,
//! bytes and events come out.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod audio;
pub mod video;
