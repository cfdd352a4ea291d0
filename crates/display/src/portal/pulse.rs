//! Signs of life of who makes the pictures behind the portal.

use super::{NAME, link};
use crate::{DisplayConfig, bus, pulse};
use lumen_media::clock;
use lumen_media::display::Pulse;
use std::sync::Arc;
use std::time::Duration;
use zbus::Connection;
use zbus::fdo::DBusProxy;
use zbus::names::{BusName, OwnedUniqueName};

/// Portal backends that copy the pictures themselves, by the last part of their names; elsewhere the compositor hands
/// them out.
const COPYING: [&str; 4] = ["wlr", "hyprland", "luminous", "cosmic"];
/// Before it.
const BACKENDS: &str = "org.freedesktop.impl.portal.desktop.";
/// For finding the backend.
const FIND_LIMIT: Duration = Duration::from_secs(1);

/// Asks the compositor, where one runs and there is no doubt whose monitor is shown, and the portal's backend, where that
/// copies the pictures; `None` where neither can be asked.
pub(super) fn of(config: &DisplayConfig) -> Option<Pulse> {
    let compositor = match config.session.wayland_sockets().as_slice() {
        [only] => pulse::of(only),
        _ => None,
    };
    let copying = bus::wait(NAME, "the portal's backend", FIND_LIMIT, Copying::find(config))
        .inspect_err(|error| tracing::debug!(%error, "the portal's backend is not watched"))
        .unwrap_or_default();
    if compositor.is_none() && copying.is_none() {
        return None;
    }
    Some(Arc::new(move |limit| {
        let asked = clock::now();
        compositor.as_ref().is_none_or(|beats| beats(limit))
            && copying
                .as_ref()
                .is_none_or(|backend| backend.beats(limit.saturating_sub(clock::now().since(asked))))
    }))
}

/// A backend that copies the pictures.
struct Copying {
    connection: Connection,
    backend: OwnedUniqueName,
}

impl Copying {
    async fn find(config: &DisplayConfig) -> Result<Option<Self>, lumen_media::DisplayError> {
        let Some(address) = config.session.bus_address() else { return Ok(None) };
        // Of its own: a session of the portal ends with the connection that made it, which this would keep open.
        let connection = bus::connect(NAME, &address).await?;
        let Ok(dbus) = DBusProxy::new(&connection).await else { return Ok(None) };
        for suffix in COPYING {
            let Ok(name) = BusName::try_from(format!("{BACKENDS}{suffix}")) else { continue };
            if let Ok(backend) = dbus.get_name_owner(name).await {
                return Ok(Some(Self { connection, backend }));
            }
        }
        Ok(None)
    }

    /// Whether it answers within `limit`; one that has left the bus does not.
    fn beats(&self, limit: Duration) -> bool {
        let peer = Some("org.freedesktop.DBus.Peer");
        let ping = async {
            let answer =
                self.connection.call_method(Some(&self.backend), link::PATH, peer, "Ping", &()).await;
            answer.map_err(|error| {
                let cause = error.to_string();
                lumen_media::DisplayError::Gone { backend: NAME, cause }
            })
        };
        let beats = bus::wait(NAME, "an answer of its backend", limit, ping);
        if let Err(error) = &beats {
            tracing::debug!(%error, "no sign of life");
        }
        beats.is_ok()
    }
}
