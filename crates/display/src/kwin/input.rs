//! Input to KWin: by its own D-Bus call, which asks nobody, or by fake input.

use super::facts::Facts;
use super::link::KWIN;
use crate::input::input_error;
use crate::{DisplayConfig, bus};
use lumen_input::{KwinTarget, Socket};
use lumen_media::{DisplayError, InputSink};
use lumen_wayland::listener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const SERVICE: &str = "org.kde.KWin";
const PATH: &str = "/org/kde/KWin/EIS/RemoteDesktop";
const INTERFACE: &str = "org.kde.KWin.EIS.RemoteDesktop";
/// Ends of D-Bus errors of a KWin without its part for libei.
const NOT_THERE: [&str; 4] = [".UnknownMethod", ".UnknownObject", ".UnknownInterface", ".AccessDenied"];
/// For KWin to hand out a socket.
const LIMIT: Duration = Duration::from_secs(3);
/// For KWin to say which process it is.
const TALK: Duration = Duration::from_millis(900);
/// Keyboard, pointer and touchscreen; those beyond are ignored by versions that do not know them.
const ALL: i32 = 0b11_1111;

/// What is so for good at this address, and is no fault where fake input works.
fn never(cause: impl Into<String>) -> DisplayError {
    let remedy = "Run Lumen with the session's DBUS_SESSION_BUS_ADDRESS".to_owned();
    DisplayError::Unsupported { backend: KWIN, cause: cause.into(), remedy }
}

/// A sink for the output called `output` of the KWin at `socket`.
pub(crate) fn sink(config: &DisplayConfig, socket: &Path, output: &str) -> Arc<dyn InputSink> {
    let config = config.clone();
    let wayland = socket.to_owned();
    // KWin ends what a connection asked for when it closes.
    let mut held: Option<zbus::Connection> = None;
    let eis: Socket = Box::new(move || {
        let (fd, connection) = ask(&config, &wayland).map_err(|error| input_error(KWIN, error))?;
        held.replace(connection);
        Ok(fd)
    });
    lumen_input::kwin(KwinTarget { socket: socket.to_owned(), output: output.to_owned() }, eis)
}

fn ask(config: &DisplayConfig, socket: &Path) -> Result<(OwnedFd, zbus::Connection), DisplayError> {
    let address = config.session.bus_address().ok_or_else(|| never("there is no session bus"))?;
    // The bus may be another session's than the socket.
    let (on_bus, at_socket) = (Facts::ask(config, TALK).pid, listener(socket));
    if let (Some(on_bus), Some(at_socket)) = (on_bus, at_socket)
        && i64::from(on_bus) != i64::from(at_socket)
    {
        return Err(never("the session bus is another KWin's"));
    }
    let failed = |error: zbus::Error| match &error {
        zbus::Error::MethodError(name, ..) if NOT_THERE.iter().any(|end| name.ends_with(end)) => {
            never("it hands out no sockets of libei")
        }
        _ => DisplayError::Gone { backend: KWIN, cause: error.to_string() },
    };
    bus::wait(KWIN, "a socket for input", LIMIT, async {
        let connection = bus::connect(KWIN, &address).await.map_err(|error| never(error.to_string()))?;
        let answer = connection
            .call_method(Some(SERVICE), PATH, Some(INTERFACE), "connectToEIS", &ALL)
            .await
            .map_err(failed)?;
        let (fd, _cookie): (zbus::zvariant::OwnedFd, i32) = answer.body().deserialize().map_err(failed)?;
        Ok((fd.into(), connection))
    })
}
