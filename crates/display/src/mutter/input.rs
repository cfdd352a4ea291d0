//! Input to the virtual monitor, through the session that made it.

use super::peer::{DESKTOP, Peer};
use super::session::Session;
use crate::bus;
use crate::input::input_error;
use lumen_input::{LibeiTarget, Place, Socket, Typist};
use lumen_media::InputSink;
use std::sync::Arc;
use std::time::Duration;

/// For GNOME to hand out a socket.
const SOCKET_LIMIT: Duration = Duration::from_secs(3);
/// For one character.
const TYPING_LIMIT: Duration = Duration::from_millis(300);

/// A sink for what `session` shows, a monitor of this size.
pub(super) fn sink(peer: &Peer, session: &Arc<Session>, size: (u32, u32)) -> Arc<dyn InputSink> {
    let place = Place::Region { mapping_id: session.mapping_id.clone(), size: Some(size) };
    let (typing_peer, typing_session) = (peer.clone(), session.clone());
    let typist: Typist = Box::new(move |character| {
        let typed = typing_session.type_symbol(&typing_peer, symbol(character));
        bus::wait(DESKTOP, "a character to be typed", TYPING_LIMIT, typed)
            .inspect_err(|error| tracing::debug!(%error, "a character was not typed"))
            .is_ok()
    });
    let (peer, session) = (peer.clone(), session.clone());
    let socket: Socket = Box::new(move || {
        bus::wait(DESKTOP, "a socket for input", SOCKET_LIMIT, session.connect_input(&peer))
            .map_err(|error| input_error(DESKTOP, error))
    });
    let target = LibeiTarget { desktop: DESKTOP, place, typist: Some(typist), whole_notches: true };
    lumen_input::libei(target, socket)
}

/// The X11 keysym of a character: Latin-1 as it is, others from 0x01000000.
fn symbol(character: char) -> u32 {
    match u32::from(character) {
        latin @ (0x20..=0x7e | 0xa0..=0xff) => latin,
        other => 0x0100_0000 | other,
    }
}
