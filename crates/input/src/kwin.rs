//! KWin: its own libei, and fake input where that is out of reach.

use crate::fake_input;
use crate::libei::{Beyond, LibeiTarget, Place, Socket, libei_or};
use lumen_media::InputSink;
use std::path::PathBuf;
use std::sync::Arc;

/// Where events of a KWin go.
#[derive(Clone, Debug)]
pub struct KwinTarget {
    /// KWin's Wayland socket, absolute.
    pub socket: PathBuf,
    /// Name of the streamed output: positions land there.
    pub output: String,
}

/// A sink for a KWin that hands out a socket of libei (`eis`), or shows fake input on its Wayland socket. Returns at once.
pub fn kwin(target: KwinTarget, eis: Socket) -> Arc<dyn InputSink> {
    let KwinTarget { socket, output } = target;
    let fake = fake_input::connect(socket.clone(), output.clone());
    let libei = LibeiTarget {
        desktop: "KWin",
        // KWin's regions carry the names of its outputs.
        place: Place::Region { mapping_id: Some(output), size: None, position: None },
        beyond: Beyond::Typist(fake_input::typist(socket)),
        layout: None,
        whole_notches: false,
    };
    libei_or(libei, eis, Some(fake))
}
