//! Keeps the desktop awake while somebody watches: no blank screen, no lock, no sleep.
//!
//! Nobody touches this machine's keyboard meanwhile, and to the desktop it looks abandoned. Every service that can be told
//! is told, since desktops listen to different ones: the screen saver (KDE Plasma, GNOME, Xfce), GNOME's session manager,
//! logind for sleep; the portal where neither of the first two is there. Compositors of the wlroots kind listen to a
//! Wayland surface instead ([`pixel`]).

mod pixel;

#[cfg(test)]
mod tests;

use crate::{DisplayConfig, bus};
use std::collections::HashMap;
use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use zbus::proxy::{CacheProperties, MethodFlags};
use zbus::zvariant::{self, DynamicType, OwnedObjectPath, Value};
use zbus::{Connection, Proxy};

/// Who is named as the cause, where desktops list inhibitions.
const WHO: &str = "Lumen";
const WHY: &str = "somebody watches this desktop from another device";
/// For each service to answer. Nothing waits for this but the thread of D-Bus.
const LIMIT: Duration = Duration::from_secs(3);
/// Where the system bus is, unless the environment says otherwise.
const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";
/// GNOME's and the portal's flags: suspending, and idling.
const SUSPEND_AND_IDLE: u32 = 4 | 8;
/// Name in errors and logs.
const NAME: &str = "idle inhibition";

/// The desktop stays awake until this is dropped, and also when the process ends otherwise.
pub(crate) struct Inhibition {
    // Closing it ends the task that holds the inhibitions.
    _release: oneshot::Sender<Infallible>,
    held: watch::Receiver<Option<Vec<&'static str>>>,
}

impl Inhibition {
    /// Which services hold one for us; `None` until all have been asked.
    #[cfg_attr(not(test), expect(dead_code, reason = "asked by tests"))]
    pub fn held(&self) -> Option<Vec<&'static str>> {
        self.held.borrow().clone()
    }
}

/// Asks the compositors of the session that listen to surfaces to stay awake. Returns as [`inhibit`] does.
pub(crate) fn inhibit_by_surface(config: &DisplayConfig) -> Vec<pixel::Pixel> {
    let sockets = config.session.wayland_sockets();
    sockets
        .iter()
        .filter(|socket| lumen_wayland::listener(socket).is_some())
        .filter_map(|socket| pixel::Pixel::show(socket).ok())
        .collect()
}

/// Asks the desktop and the machine to stay awake. Returns at once and never fails: what cannot be had is said in the log.
pub(crate) fn inhibit(config: &DisplayConfig) -> Inhibition {
    let (release, released) = oneshot::channel();
    let (say, held) = watch::channel(None);
    let session_bus = config.session.bus_address();
    let system_bus = config.session.variable("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or(SYSTEM_BUS).to_owned();
    bus::spawn(async move {
        let mut holds = match session_bus {
            Some(address) => hold_session(&address).await,
            None => Vec::new(),
        };
        holds.extend(hold_machine(&system_bus).await);
        let names: Vec<_> = holds.iter().map(|hold| hold.service).collect();
        if names.is_empty() {
            tracing::debug!("nothing here can be asked to stay awake");
        } else {
            tracing::info!(by = names.join(", "), "the desktop stays awake");
        }
        say.send_replace(Some(names));
        let _: Result<Infallible, _> = released.await;
        for hold in holds {
            hold.release().await;
        }
    });
    Inhibition { _release: release, held }
}

/// One service that keeps something awake for us.
struct Hold {
    service: &'static str,
    proxy: Proxy<'static>,
    release: Release,
}

/// How a hold ends. All of them also end with the connection.
enum Release {
    /// This method takes this number back.
    Cookie(&'static str, u32),
    /// This request of the portal is closed.
    Request(OwnedObjectPath),
    /// This is closed.
    Fd(#[expect(dead_code, reason = "closed when dropped")] OwnedFd),
}

impl Hold {
    async fn release(self) {
        let Self { service, proxy, release } = self;
        let done = async {
            match release {
                Release::Cookie(method, cookie) => proxy.call::<_, _, ()>(method, &(cookie,)).await,
                Release::Request(path) => {
                    let request = "org.freedesktop.portal.Request";
                    let portal = Some(proxy.destination().clone());
                    proxy.connection().call_method(portal, path, Some(request), "Close", &()).await.map(drop)
                }
                Release::Fd(_) => Ok(()),
            }
        };
        match tokio::time::timeout(LIMIT, done).await {
            Ok(Ok(())) => tracing::debug!(service, "may idle again"),
            Ok(Err(error)) => tracing::debug!(service, %error, "was not told that it may idle again"),
            Err(_) => tracing::debug!(service, "did not hear in time that it may idle again"),
        }
    }
}

async fn hold_session(address: &str) -> Vec<Hold> {
    let Some(connection) = connected(address).await else { return Vec::new() };
    let mut holds = Vec::new();
    holds.extend(screen_saver(&connection).await);
    holds.extend(session_manager(&connection).await);
    if holds.is_empty() {
        holds.extend(portal(&connection).await);
    }
    holds
}

async fn hold_machine(address: &str) -> Option<Hold> {
    logind(&connected(address).await?).await
}

async fn screen_saver(connection: &Connection) -> Option<Hold> {
    let service = "org.freedesktop.ScreenSaver";
    let proxy = proxy(connection, service, "/org/freedesktop/ScreenSaver", service).await?;
    let cookie: u32 = asked(&proxy, "Inhibit", &(WHO, WHY)).await?;
    Some(Hold { service, proxy, release: Release::Cookie("UnInhibit", cookie) })
}

async fn session_manager(connection: &Connection) -> Option<Hold> {
    let service = "org.gnome.SessionManager";
    let proxy = proxy(connection, service, "/org/gnome/SessionManager", service).await?;
    let no_window = 0_u32;
    let cookie: u32 = asked(&proxy, "Inhibit", &(WHO, no_window, WHY, SUSPEND_AND_IDLE)).await?;
    Some(Hold { service, proxy, release: Release::Cookie("Uninhibit", cookie) })
}

async fn portal(connection: &Connection) -> Option<Hold> {
    let service = "org.freedesktop.portal.Desktop";
    let interface = "org.freedesktop.portal.Inhibit";
    let proxy = proxy(connection, service, "/org/freedesktop/portal/desktop", interface).await?;
    let options = HashMap::from([("reason", Value::from(WHY))]);
    let request: OwnedObjectPath = asked(&proxy, "Inhibit", &("", SUSPEND_AND_IDLE, options)).await?;
    Some(Hold { service, proxy, release: Release::Request(request) })
}

async fn logind(connection: &Connection) -> Option<Hold> {
    let service = "org.freedesktop.login1";
    let proxy =
        proxy(connection, service, "/org/freedesktop/login1", "org.freedesktop.login1.Manager").await?;
    let mut hold = None;
    // Sleep needs a right that some machines give to nobody; idling rarely does.
    for what in ["idle:sleep", "idle"] {
        let fd: Option<zvariant::OwnedFd> = asked(&proxy, "Inhibit", &(what, WHO, WHY, "block")).await;
        if let Some(fd) = fd {
            hold = Some(Hold { service, proxy, release: Release::Fd(fd.into()) });
            break;
        }
    }
    hold
}

async fn connected(address: &str) -> Option<Connection> {
    match tokio::time::timeout(LIMIT, bus::connect(NAME, address)).await {
        Ok(Ok(connection)) => Some(connection),
        Ok(Err(error)) => {
            tracing::debug!(address, %error, "no bus to ask for idle inhibition");
            None
        }
        Err(_) => {
            tracing::debug!(address, "a bus did not answer");
            None
        }
    }
}

async fn proxy(
    connection: &Connection,
    service: &'static str,
    path: &'static str,
    interface: &'static str,
) -> Option<Proxy<'static>> {
    let proxy = async {
        zbus::proxy::Builder::new(connection)
            .destination(service)?
            .path(path)?
            .interface(interface)?
            .cache_properties(CacheProperties::No)
            .build()
            .await
    };
    proxy.await.inspect_err(|error: &zbus::Error| tracing::debug!(service, %error, "cannot be asked")).ok()
}

/// Calls a service that runs; one that does not would only be started in vain.
async fn asked<B, R>(proxy: &Proxy<'static>, method: &'static str, body: &B) -> Option<R>
where
    B: serde::Serialize + DynamicType,
    R: for<'d> zvariant::DynamicDeserialize<'d>,
{
    let service = proxy.destination().as_str();
    let call = proxy.call_with_flags::<_, _, R>(method, MethodFlags::NoAutoStart.into(), body);
    match tokio::time::timeout(LIMIT, call).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            tracing::debug!(service, %error, "does not keep the desktop awake");
            None
        }
        Err(_) => {
            tracing::debug!(service, "did not answer");
            None
        }
    }
}
