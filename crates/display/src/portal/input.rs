//! Input under the grant that shows the picture.

use super::NAME;
use super::session::{Session, Stream};
use crate::input::input_error;
use crate::no_input::NoInput;
use crate::{DisplayConfig, bus};
use lumen_input::{Beyond, LibeiTarget, Place, Socket, WlrootsTarget};
use lumen_media::InputSink;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// For the portal to hand out a socket.
const LIMIT: Duration = Duration::from_secs(5);

/// The sink of the held session: a portal hands out one connection for each session, so it is made once.
#[derive(Default)]
pub(super) struct Input(Mutex<Option<Held>>);

/// A session, and its sink.
type Held = (Weak<Session>, Arc<dyn InputSink>);

impl Input {
    /// The sink for what `session` shows.
    pub fn of(&self, config: &DisplayConfig, session: &Arc<Session>, stream: &Stream) -> Arc<dyn InputSink> {
        if !session.takes_input() {
            return without_grant(config, stream.size);
        }
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, sink)) = &*held
            && of.upgrade().is_some_and(|of| Arc::ptr_eq(&of, session))
        {
            return sink.clone();
        }
        let asked = session.clone();
        let socket: Socket = Box::new(move || {
            bus::wait(NAME, "a socket for input", LIMIT, asked.connect_input())
                .map_err(|error| input_error(NAME, error))
        });
        // GNOME's input method takes what no key types, and so does the one of most others.
        let target = LibeiTarget {
            desktop: NAME,
            place: Place::Region {
                mapping_id: stream.mapping_id.clone(),
                size: stream.size,
                position: stream.position,
            },
            beyond: Beyond::Number,
            layout: None,
            whole_notches: config.session.current_desktop().iter().any(|name| name == "gnome"),
        };
        let sink = lumen_input::libei(target, socket);
        *held = Some((Arc::downgrade(session), sink.clone()));
        sink
    }
}

/// A portal that only shows: desktops of the wlroots family take input by protocols of their own.
fn without_grant(config: &DisplayConfig, size: Option<(u32, u32)>) -> Arc<dyn InputSink> {
    match config.session.wayland_sockets().into_iter().next() {
        Some(socket) => lumen_input::wlroots(WlrootsTarget {
            desktop: NAME,
            socket,
            // The portal does not say which monitor it shows.
            output: lumen_input::WlrootsOutput::Sized(size),
            keyboard: config.named_keyboard(),
        }),
        None => NoInput::of(NAME),
    }
}
