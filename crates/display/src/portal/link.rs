//! Calls to the portal and its requests. Every wait has a deadline, and ends at once when the portal leaves the bus.

use super::NAME;
use crate::bus;
use crate::session::SessionEnvironment;
use lumen_media::DisplayError;
use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use zbus::export::ordered_stream::OrderedStreamExt;
use zbus::fdo::DBusProxy;
use zbus::message::Type;
use zbus::names::{BusName, OwnedUniqueName, WellKnownName};
use zbus::zvariant::{DynamicType, OwnedValue, Value};
use zbus::{Connection, MatchRule, Message, MessageStream};

/// Well-known name of the portal on the session bus.
pub(super) const BUS_NAME: &str = "org.freedesktop.portal.Desktop";
/// Where all of its interfaces are.
pub(super) const PATH: &str = "/org/freedesktop/portal/desktop";
/// Signals that may wait in a queue of ours; more than any of these objects ever sends.
const QUEUED: usize = 8;

/// `a{sv}`, as we send it.
pub(super) type Options<'a> = HashMap<&'a str, Value<'a>>;
/// `a{sv}`, as it comes.
pub(super) type Results = HashMap<String, OwnedValue>;

/// Why a call or request came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// The portal answered with an error, or the bus did in its place.
    Bus(zbus::Error),
    /// No answer within the limit.
    Late(Duration),
    /// The portal, or the whole bus, went away meanwhile.
    Gone,
    /// The request ended with this code instead of 0.
    Ended(u32),
    /// The answer cannot be read.
    Garbled(String),
}

impl From<zbus::Error> for Failure {
    fn from(error: zbus::Error) -> Self {
        Self::Bus(error)
    }
}

/// The portal that runs now, over a connection of ours. Its sessions end with the connection.
pub(super) struct Link {
    pub connection: Connection,
    /// Whose answers count; another portal that starts later is another link.
    portal: OwnedUniqueName,
    present: watch::Receiver<bool>,
    watcher: AbortHandle,
    requests: AtomicU32,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl Link {
    /// Connects to the session bus and finds the portal there; starts it when it is installed and `start` is set.
    pub async fn connect(
        session: &SessionEnvironment,
        start: bool,
        limit: Duration,
    ) -> Result<Self, DisplayError> {
        let absent =
            |looked_for: &str| DisplayError::Absent { backend: NAME, looked_for: looked_for.to_owned() };
        let address = session.bus_address().ok_or_else(|| absent("a session bus"))?;
        let found = async {
            let connection = bus::connect(NAME, &address).await?;
            let dbus = DBusProxy::new(&connection).await.map_err(broken)?;
            let owner_changes = MatchRule::builder()
                .msg_type(Type::Signal)
                .sender("org.freedesktop.DBus")
                .and_then(|rule| rule.member("NameOwnerChanged"))
                .and_then(|rule| rule.arg(0, BUS_NAME))
                .map_err(broken)?
                .build();
            let changes = MessageStream::for_match_rule(owner_changes, &connection, Some(QUEUED))
                .await
                .map_err(broken)?;
            let name = WellKnownName::from_static_str_unchecked(BUS_NAME);
            let missing =
                |error: zbus::fdo::Error| absent(&format!("{BUS_NAME} on the session bus: {error}"));
            if start && !dbus.name_has_owner(name.clone().into()).await.map_err(missing)? {
                dbus.start_service_by_name(name.clone(), 0).await.map_err(missing)?;
            }
            let portal = dbus.get_name_owner(BusName::from(name)).await.map_err(missing)?;
            let (leave, present) = watch::channel(true);
            let watcher = bus::spawn(watch_owner(changes, portal.clone(), leave));
            Ok(Self { connection, portal, present, watcher, requests: AtomicU32::new(0) })
        };
        tokio::time::timeout(limit, found).await.unwrap_or_else(|_| {
            Err(DisplayError::Timeout { backend: NAME, waited_for: "start of the portal".to_owned(), limit })
        })
    }

    /// Whether the portal is still there.
    pub fn is_present(&self) -> bool {
        *self.present.borrow()
    }

    /// Ends when the portal is gone.
    pub async fn gone(&self) {
        let mut present = self.present.clone();
        // An error means that the watcher ended, which it does with the bus.
        let _ = present.wait_for(|present| !present).await;
    }

    /// A token of ours for the next request or session: unique on this connection.
    pub fn token(&self) -> String {
        format!("lumen{}", self.requests.fetch_add(1, Ordering::Relaxed))
    }

    /// Calls a method of the portal's main object.
    pub async fn call<B>(&self, method: Method, body: &B, limit: Duration) -> Result<Message, Failure>
    where
        B: serde::Serialize + DynamicType,
    {
        self.call_at(PATH, method, body, limit).await
    }

    /// Calls a method of the object at `path`.
    pub async fn call_at<B>(
        &self,
        path: &str,
        method: Method,
        body: &B,
        limit: Duration,
    ) -> Result<Message, Failure>
    where
        B: serde::Serialize + DynamicType,
    {
        let Method { interface, name } = method;
        let portal = Some(BusName::from(self.portal.inner().as_ref()));
        let call = self.connection.call_method(portal, path, Some(interface), name, body);
        self.within(limit, async { Ok(call.await?) }).await
    }

    /// All properties of an interface; empty when the portal does not have it.
    pub async fn properties(&self, interface: &str, limit: Duration) -> Result<Results, Failure> {
        match self.call(Method::ALL_PROPERTIES, &(interface,), limit).await {
            Ok(answer) => answer.body().deserialize().map_err(|error| Failure::Garbled(error.to_string())),
            Err(Failure::Bus(zbus::Error::MethodError(name, text, _))) => {
                tracing::debug!(interface, %name, ?text, "the portal lacks an interface");
                Ok(Results::new())
            }
            Err(failure) => Err(failure),
        }
    }

    /// The names on the bus that `wanted` picks.
    pub async fn names(&self, wanted: fn(&str) -> bool, limit: Duration) -> Result<Vec<String>, Failure> {
        self.within(limit, async {
            let dbus = DBusProxy::new(&self.connection).await?;
            let names = dbus.list_names().await.map_err(zbus::Error::from)?;
            Ok(names.iter().map(|name| name.to_string()).filter(|name| wanted(name)).collect())
        })
        .await
    }

    /// Makes a request: subscribes to its answer, calls, and waits for the answer. The path of the request follows from
    /// our unique name and `token` (which `body` has as its `handle_token`), so that no answer can come too early to be
    /// heard. A request that is not answered in time is closed, which also takes its question off the screen.
    pub async fn request<B>(
        &self,
        method: Method,
        token: &str,
        body: &B,
        limit: Duration,
    ) -> Result<Results, Failure>
    where
        B: serde::Serialize + DynamicType,
    {
        let path = self.request_path(token)?;
        let rule = self.signal(&path, "org.freedesktop.portal.Request", "Response")?;
        let answered = self
            .within(limit, async {
                let mut answers = MessageStream::for_match_rule(rule, &self.connection, Some(QUEUED)).await?;
                self.call(method, body, limit).await?;
                answers.next().await.ok_or(Failure::Gone)?.map_err(Failure::Bus)
            })
            .await;
        if matches!(answered, Err(Failure::Late(_))) {
            self.close(&path, "org.freedesktop.portal.Request").await;
        }
        let answer = answered?;
        let (code, results): (u32, Results) =
            answer.body().deserialize().map_err(|error| Failure::Garbled(error.to_string()))?;
        if code == 0 { Ok(results) } else { Err(Failure::Ended(code)) }
    }

    /// A rule for one signal of one object of this portal.
    pub fn signal(
        &self,
        path: &str,
        interface: &'static str,
        member: &'static str,
    ) -> zbus::Result<MatchRule<'static>> {
        Ok(MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(self.portal.inner().to_owned())?
            .path(path.to_owned())?
            .interface(interface)?
            .member(member)?
            .build())
    }

    /// Asks a request or session to end, without waiting for the answer.
    pub async fn close(&self, path: &str, interface: &str) {
        close(&self.connection, self.portal.as_str(), path, interface).await;
    }

    /// The portal's name on this connection.
    pub fn portal(&self) -> &str {
        self.portal.as_str()
    }

    fn request_path(&self, token: &str) -> Result<String, Failure> {
        let name = self.connection.unique_name().ok_or(Failure::Gone)?;
        Ok(request_path(name.as_str(), token))
    }

    async fn within<T>(
        &self,
        limit: Duration,
        wait: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            result = tokio::time::timeout(limit, wait) => result.unwrap_or(Err(Failure::Late(limit))),
            () = self.gone() => Err(Failure::Gone),
        }
    }
}

/// Asks the object at `path` to close itself. Nothing waits for it: it also ends with the connection.
pub(super) async fn close(connection: &Connection, portal: &str, path: &str, interface: &str) {
    let sent = async {
        let message = Message::method_call(path, "Close")?
            .destination(portal)?
            .interface(interface)?
            .with_flags(zbus::message::Flags::NoReplyExpected)?
            .build(&())?;
        connection.send(&message).await
    };
    if let Err(error) = sent.await {
        tracing::debug!(%error, path, "the portal was not told to close");
    }
}

/// An interface and one of its methods.
#[derive(Clone, Copy, Debug)]
pub(super) struct Method {
    pub interface: &'static str,
    pub name: &'static str,
}

impl Method {
    const ALL_PROPERTIES: Self = Self { interface: "org.freedesktop.DBus.Properties", name: "GetAll" };

    pub const fn new(interface: &'static str, name: &'static str) -> Self {
        Self { interface, name }
    }
}

/// Where the portal puts the request that `sender` made with `token`.
fn request_path(sender: &str, token: &str) -> String {
    format!("{PATH}/request/{}/{token}", sender.trim_start_matches(':').replace('.', "_"))
}

async fn watch_owner(mut changes: MessageStream, portal: OwnedUniqueName, leave: watch::Sender<bool>) {
    while let Some(Ok(change)) = changes.next().await {
        let Ok((_name, old, _new)) = change.body().deserialize::<(String, String, String)>() else {
            continue;
        };
        if old == portal.as_str() {
            break;
        }
    }
    leave.send_replace(false);
}

fn broken(error: zbus::Error) -> DisplayError {
    DisplayError::Gone { backend: NAME, cause: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_request_follows_from_the_unique_name_and_the_token() {
        assert_eq!(request_path(":1.42", "lumen7"), "/org/freedesktop/portal/desktop/request/1_42/lumen7");
    }
}
