//! The GameStream protocol of a host without sockets, clocks or random numbers: bytes, time and randomness come in as
//! arguments, bytes and events come out.
//!
//! # How a host uses it
//!
//! 1. **HTTP** ([`query`], [`api`], [`serverinfo`], [`applist`], [`launch`], [`pairing`]): map the path to an
//!    [`api::Endpoint`], parse the query, call the builder of the reply. Every reply is XML and goes out with HTTP
//!    status 200; refusals are [`api::ApiError`]s, rendered by [`api::ApiError::to_xml`].
//! 2. **Sessions** ([`session`]): `/launch`, `/resume`, `/cancel` and everything that happens to a stream are events of
//!    one [`session::SessionTable`]; each answers with [`session::Effect`]s that the host carries out in order.
//! 3. **RTSP** ([`rtsp`], [`sdp`]): one [`rtsp::Assembler`] per TCP connection turns bytes into one request, an
//!    [`rtsp::Router`] finds the launch it belongs to and answers.
//! 4. **UDP**: [`ping`] parses what arrives on the video and audio ports; [`video`] and [`audio`] make what leaves.
//! 5. **Control** ([`control`], [`input`]): a [`control::ControlCipher`] per session opens client frames and seals host
//!    messages; ENet itself is not part of this crate.
//!
//! Time is a [`Time`]: a `Duration` since an epoch of the caller's choice, the same for all calls on one value.
//!
//! "Protocol text §n" in the documentation of items names the section that fixes a wire fact.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod api;
pub mod applist;
pub mod audio;
pub mod control;
pub mod crypto;
#[doc(hidden)]
pub mod fuzz;
pub mod input;
pub mod launch;
pub mod pairing;
pub mod ping;
pub mod query;
pub mod rtsp;
pub mod sdp;
pub mod serverinfo;
pub mod session;
pub mod video;
mod xml;

/// A point in time: the duration since an epoch that the caller chooses (boot, start of the program, start of a test).
pub type Time = std::time::Duration;
