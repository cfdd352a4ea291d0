//! Our own Moonlight client, written from the protocol text only.
//!
//! It is the second opinion on the host: it shares no code with it and depends on no other Lumen crate. Every
//! layer comes twice, as a sans-IO core that tests drive on virtual time and golden bytes, and as a driver on
//! std threads and blocking sockets:
//!
//! | core | driver |
//! |---|---|
//! | [`pairing::Exchange`], [`xml`] | [`client::Client`] over [`http`] |
//! | [`rtsp::Handshake`], [`rtsp::Cipher`] | [`rtsp::run`] |
//! | [`control::Session`] | the thread `tk-control` of a [`Stream`] |
//! | [`video::Depacketizer`] | `tk-video` |
//! | [`audio::Receiver`] | `tk-audio` |
//! | [`netem::Link`] | [`netem::Relay`] |
//!
//! A test pairs and streams like this:
//!
//! ```no_run
//! use std::time::Duration;
//! use lumen_testkit::{Client, HostAddress, Identity, StreamOptions, StreamRequest};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let host = HostAddress { ip: "127.0.0.1".parse()?, http_port: 47989 };
//! let mut client = Client::new(Identity::test_key(0), host);
//! client.pair("1234", Duration::from_secs(30))?; // blocks until the PIN is typed on the host
//! let app = client.app_list()?[0].id;
//! let request = StreamRequest::new(1280, 720, 60);
//! let stream = client.launch(app, &request, &StreamOptions::default())?;
//! let frame = stream.next_frame(Duration::from_secs(5))?;
//! assert_eq!(frame.index, 1);
//! let ending = stream.disconnect(Duration::from_secs(3));
//! assert!(ending.is_clean());
//! # Ok(()) }
//! ```
//!
//! Everything that the host does and the text does not allow is kept as a [`video::Violation`]; a stream that
//! plays but has violations is a failed test. All waits take a timeout; dropping a [`Stream`] ends and joins its
//! threads.
#![deny(unsafe_code)]

pub mod audio;
pub mod client;
pub mod clock;
pub mod control;
pub mod decode;
pub mod fec;
pub mod http;
pub mod identity;
pub mod input;
pub mod netem;
pub mod pairing;
pub mod request;
pub mod rtsp;
pub mod stream;
#[cfg(test)]
mod testhost;
pub mod video;
pub mod xml;

pub use audio::sound::{SoundDecoder, SoundError};
pub use client::{App, Client, ClientError, HostAddress, ServerInfo};
pub use clock::Time;
pub use decode::{Decoder, Picture};
pub use identity::Identity;
pub use input::InputPacket;
pub use pairing::PairVariant;
pub use request::{AudioRequest, Codec, ColourSpace, CscMode, EncryptionWish, Generation, StreamRequest};
pub use stream::{Ending, Statistics, Stream, StreamOptions, WaitError};

#[cfg(test)]
mod independence {
    /// The second opinion shares no code with what it judges: no dependency on another Lumen crate, in any table.
    #[test]
    fn this_crate_depends_on_no_other_lumen_crate() {
        let manifest = include_str!("../Cargo.toml");
        let (_, tables) = manifest.split_once("[dependencies]").expect("the manifest has dependencies");
        let own: Vec<&str> = tables.lines().filter(|line| line.contains("lumen")).collect();
        assert_eq!(own, [""; 0]);
    }
}
