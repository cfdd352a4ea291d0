//! The grant that KDE Plasma reads before it asks: picture and input for the programs of one application id.
//!
//! It is an entry in the permission store of the portals: table `kde-authorized`, id `remote-desktop`, the application
//! id, and `yes`. A program outside of a sandbox has the id of the systemd unit it runs in when that is called
//! `app-<id>…` (as desktops call the units of what their menus start) and `<id>.desktop` exists, else the empty one. So
//! `lumen.service`, a login over SSH and a virtual console have the empty id, which is the one granted here; a Lumen that
//! was started by hand in a terminal may have the terminal's, and then the desktop asks on the screen all the same.

use super::link::Failure;
use super::{NAME, session, tokens};
use crate::{DisplayConfig, bus};
use lumen_media::DisplayError;
use std::collections::HashMap;
use std::time::Duration;
use zbus::zvariant::OwnedValue;

const STORE: &str = "org.freedesktop.impl.portal.PermissionStore";
const STORE_PATH: &str = "/org/freedesktop/impl/portal/PermissionStore";
const NOT_FOUND: &str = "org.freedesktop.portal.Error.NotFound";
const TABLE: &str = "kde-authorized";
const ID: &str = "remote-desktop";
/// Application id of a service.
const APP: &str = "";
/// The store is a small program of its own, and may have to be started.
const LIMIT: Duration = Duration::from_secs(5);

/// Whether KDE Plasma lets Lumen show and control the desktop without asking.
///
/// # Errors
/// [`DisplayError`] when there is no session bus or permission store.
pub fn authorized(config: &DisplayConfig) -> Result<bool, DisplayError> {
    waiting(config, async |store| is_set(store).await)
}

/// Lets Lumen, run as a service, show and control the desktop without a question; only KDE Plasma (6.3 or newer) heeds
/// it. Every program of this user that runs as a service gets the same right. Returns whether it was missing before: undo
/// only what was written.
///
/// # Errors
/// [`DisplayError`] when there is no session bus or permission store.
pub fn authorize(config: &DisplayConfig) -> Result<bool, DisplayError> {
    waiting(config, async |store| {
        if is_set(store).await? {
            return Ok(false);
        }
        let () = store.call("SetPermission", &(TABLE, true, ID, APP, ["yes"].as_slice())).await?;
        tracing::info!("KDE Plasma lets Lumen show and control the desktop without asking");
        Ok(true)
    })
}

/// Takes back what [`authorize`] gave, and forgets the restore tokens of answers given on the screen, which would let
/// Lumen in just as well. Returns whether the grant was there.
///
/// # Errors
/// [`DisplayError`] when there is no session bus or permission store.
pub fn deauthorize(config: &DisplayConfig) -> Result<bool, DisplayError> {
    tokens::forget_all(&config.state_dir);
    waiting(config, async |store| {
        if !is_set(store).await? {
            return Ok(false);
        }
        let () = store.call("DeletePermission", &(TABLE, ID, APP)).await?;
        tracing::info!("KDE Plasma asks again before Lumen shows or controls the desktop");
        Ok(true)
    })
}

async fn is_set(store: &zbus::Proxy<'_>) -> zbus::Result<bool> {
    let found: zbus::Result<(HashMap<String, Vec<String>>, OwnedValue)> =
        store.call("Lookup", &(TABLE, ID)).await;
    match found {
        Ok((permissions, _)) => {
            Ok(permissions.get(APP).is_some_and(|given| given.iter().any(|word| word == "yes")))
        }
        Err(zbus::Error::MethodError(name, ..)) if name == NOT_FOUND => Ok(false),
        Err(error) => Err(error),
    }
}

fn waiting<T>(
    config: &DisplayConfig,
    work: impl AsyncFnOnce(&zbus::Proxy<'static>) -> zbus::Result<T>,
) -> Result<T, DisplayError> {
    let absent = |what: &str| {
        DisplayError::Other(format!(
            "{what}, so there is no portal to set up. Run this in a session of KDE Plasma, as its user"
        ))
    };
    let address = config.session.bus_address().ok_or_else(|| absent("there is no session bus"))?;
    bus::wait(NAME, "the permission store", LIMIT, async {
        let connection = bus::connect(NAME, &address).await?;
        let store = async {
            zbus::proxy::Builder::new(&connection)
                .destination(STORE)?
                .path(STORE_PATH)?
                .interface(STORE)?
                .cache_properties(zbus::proxy::CacheProperties::No)
                .build()
                .await
        };
        let store: zbus::Proxy<'static> =
            store.await.map_err(|error| session::explain(Failure::Bus(error), "the permission store"))?;
        work(&store).await.map_err(|error| match error {
            zbus::Error::MethodError(name, ..) if name == "org.freedesktop.DBus.Error.ServiceUnknown" => {
                absent("the permission store of xdg-desktop-portal is not installed")
            }
            error => session::explain(Failure::Bus(error), "the permission store"),
        })
    })
}
