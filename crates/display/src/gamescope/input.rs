//! Input to a gamescope, by its socket of libei.

use super::NAME;
use crate::DisplayConfig;
use lumen_input::{Beyond, InputError, LibeiTarget, Place, Socket};
use lumen_media::{InputSink, Mode};
use lumen_wayland::{connect, listener};
use std::path::PathBuf;
use std::sync::Arc;

/// A sink for a gamescope of this size. `socket` is where it listens by its own words, relative to the runtime directory;
/// without, the socket of a process for which `owns` holds.
pub(super) fn sink(
    config: &DisplayConfig,
    mode: Mode,
    socket: Option<&str>,
    owns: impl Fn(u32) -> bool + Send + 'static,
) -> Arc<dyn InputSink> {
    let session = config.session.clone();
    let named = socket.map(|name| session.runtime_dir.join(name));
    let ask: Socket = Box::new(move || {
        let lost = |cause: String| InputError::Lost { desktop: NAME, cause };
        let found = || {
            let sockets = session.sockets(|name| name.starts_with("gamescope-") && name.ends_with("-ei"));
            sockets
                .into_iter()
                .find(|path| listener(path).and_then(|pid| u32::try_from(pid).ok()).is_some_and(&owns))
        };
        let path: PathBuf = named.clone().or_else(found).ok_or_else(|| InputError::Unsupported {
            desktop: NAME,
            cause: "it has no socket for input".into(),
            remedy: "Update gamescope to 3.15 or newer, built with libeis".into(),
        })?;
        connect(&path).map(Into::into).map_err(|error| lost(format!("{}: {error}", path.display())))
    });
    let target = LibeiTarget {
        desktop: NAME,
        // Its one region has no end, and its positions are pixels.
        place: Place::Pixels(mode.width(), mode.height()),
        beyond: Beyond::Nothing,
        // It tells no keymap, and is started with ours.
        layout: Some((config.own_layout().to_owned(), config.keyboard_variant.clone().unwrap_or_default())),
        whole_notches: false,
    };
    lumen_input::libei(target, ask)
}
