//! Everything of the host that touches a network: the ENet control stream, UDP sockets, the paced video sender, the
//! RTSP listener and the mDNS announcement. The protocol inside the packets lives in `gamestream`; this crate moves
//! bytes and knows who they came from.
//!
//! * [`enet::ControlHost`] is sans-IO: datagrams and time in, datagrams and events out.
//! * [`udp::UdpPort`] is one port on all addresses of both families; [`udp::Reader`] is the thread that reads it.
//! * [`sender`] spreads a frame's packets over part of the frame interval.
//! * [`rtsp::RtspServer`] serves one request per TCP connection.
//! * [`mdns::Announcement`] makes the host findable.
//!
//! Addresses are normalised everywhere: an IPv4 peer on a dual-stack socket is shown as IPv4, see [`path::normalise`].
#![deny(unsafe_code)]
#![deny(missing_docs)]

pub mod bind;
pub mod enet;
pub mod mdns;
pub mod path;
pub mod rtsp;
pub mod sender;
#[allow(unsafe_code, reason = "one socket option that no safe crate offers")]
mod sys;
pub mod udp;

pub use bind::BindError;
pub use path::Path;
