//! Input to the virtual monitor, through the session that made it.

use super::peer::{DESKTOP, Peer};
use super::session::Session;
use crate::bus;
use crate::input::input_error;
use lumen_input::{Beyond, LibeiTarget, Place, Socket};
use lumen_media::InputSink;
use std::sync::Arc;
use std::time::Duration;

/// For GNOME to hand out a socket.
const SOCKET_LIMIT: Duration = Duration::from_secs(3);

/// A sink for what `session` shows, a monitor of this size.
pub(super) fn sink(peer: &Peer, session: &Arc<Session>, size: (u32, u32)) -> Arc<dyn InputSink> {
    let place = Place::Region { mapping_id: session.mapping_id.clone(), size: Some(size), position: None };
    let (peer, session) = (peer.clone(), session.clone());
    let socket: Socket = Box::new(move || {
        bus::wait(DESKTOP, "a socket for input", SOCKET_LIMIT, session.connect_input(&peer))
            .map_err(|error| input_error(DESKTOP, error))
    });
    // Until Mutter takes text as such it types what the layout has, and GNOME's input method the rest.
    let target =
        LibeiTarget { desktop: DESKTOP, place, beyond: Beyond::Number, layout: None, whole_notches: true };
    lumen_input::libei(target, socket)
}
