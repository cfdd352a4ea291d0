//! What every PipeWire client of Lumen needs: a loop that stays entered while one thread turns it, one set-up at a time,
//! and the user's daemon.
//!
//! Each client runs a loop of its own on a thread of its own, which makes every call into the library:
//!
//! ```text
//! let set_up = lumen_pipewire::set_up();          // the library is initialised
//! let main_loop = MainLoopRc::new(None)?;
//! let entered = Entered::new(main_loop.loop_());  // before anything else uses the loop
//! … connect, make streams, listen …
//! drop(set_up);
//! while !ended { entered.turn(timeout); }
//! let tear_down = lumen_pipewire::set_up();       // outlives everything above
//! ```
#![deny(unsafe_code)]
#![deny(missing_docs)]

#[allow(unsafe_code, reason = "turns libpipewire's loop")]
mod sys;

pub use sys::Entered;

use pipewire::context::ContextRc;
use pipewire::core::CoreRc;
use pipewire::properties::PropertiesBox;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The library's set-up loads modules and is not made for two threads at once.
static SET_UP: Mutex<()> = Mutex::new(());

/// Initialises the library, whose own messages appear with `RUST_LOG=pipewire=debug` only: callers say what is the matter,
/// once, and the library says it with each attempt. Whoever makes or destroys loops, contexts, connections and streams holds
/// this meanwhile.
pub fn set_up() -> MutexGuard<'static, ()> {
    let guard = SET_UP.lock().unwrap_or_else(PoisonError::into_inner);
    pipewire::init();
    if !tracing::enabled!(target: "pipewire", tracing::Level::DEBUG) {
        sys::quiet();
    }
    guard
}

/// Connects to the daemon whose socket `pipewire-0` is in `runtime_dir`; without one, to where the environment says.
///
/// # Errors
/// The socket and what the library says about it.
pub fn connect(context: &ContextRc, runtime_dir: Option<&Path>) -> Result<CoreRc, String> {
    let mut properties = PropertiesBox::new();
    let socket = runtime_dir.map(|dir| dir.join("pipewire-0"));
    if let Some(path) = socket.as_deref().and_then(Path::to_str) {
        properties.insert("remote.name", path);
    }
    let name = socket.map_or_else(|| "the default socket".to_owned(), |path| path.display().to_string());
    context.connect_rc(Some(properties)).map_err(|error| format!("{name}: {error}"))
}
