//! Mutter's process on the session bus. Every call goes to the process that was found first, never to one that took its
//! name later, and has a deadline.

use crate::bus;
use lumen_media::{DisplayError, clock};
use serde::Serialize;
use std::future::Future;
use std::time::Duration;
use zbus::zvariant::{DynamicType, OwnedValue, Type, Value};
use zbus::{Connection, MatchRule, Message, MessageStream, message};

/// What people call this desktop, in errors.
pub(super) const DESKTOP: &str = "GNOME";

/// The longest that one answer may take. Mutter answers within milliseconds unless it hangs.
const CALL_LIMIT: Duration = Duration::from_secs(2);

/// How long GNOME Shell is looked at for its overview, how many looks in a row it has to be away, and the time between.
const OVERVIEW_LIMIT: Duration = Duration::from_secs(20);
const OVERVIEW_AWAY: u32 = 4;
const OVERVIEW_PAUSE: Duration = Duration::from_millis(250);

const SCREEN_CAST: &str = "org.gnome.Mutter.ScreenCast";
const BUS: Address = Address { path: "/org/freedesktop/DBus", interface: "org.freedesktop.DBus" };
const SHELL: Address = Address { path: "/org/gnome/Shell", interface: "org.gnome.Shell" };
const SCREEN_SAVER: Address = Address { path: "/org/gnome/ScreenSaver", interface: "org.gnome.ScreenSaver" };

/// An object and one of its interfaces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address<'a> {
    pub path: &'a str,
    pub interface: &'a str,
}

/// A connection to the session bus, and which of its peers is Mutter.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    connection: Connection,
    owner: String,
}

impl Peer {
    /// Finds Mutter on the session bus at `address`.
    ///
    /// # Errors
    /// [`DisplayError::Absent`] when there is no bus or no Mutter, [`DisplayError::Timeout`].
    pub async fn find(address: &str) -> Result<Self, DisplayError> {
        let connection =
            within("an answer of the session bus", CALL_LIMIT, bus::connect(DESKTOP, address)).await?;
        let Some(owner) = owner_of(&connection, SCREEN_CAST).await? else {
            return Err(DisplayError::Absent {
                backend: DESKTOP,
                looked_for: format!("{SCREEN_CAST} on the session bus at {address}"),
            });
        };
        Ok(Self { connection, owner })
    }

    /// Names this very process of Mutter among all that ever run; letters, digits and `-`.
    pub fn instance(&self) -> String {
        let owner = self.owner.trim_start_matches(':').replace('.', "-");
        format!("{}-{owner}", self.connection.server_guid())
    }

    /// Calls Mutter.
    ///
    /// # Errors
    /// [`DisplayError::Gone`] when it ended, [`DisplayError::Timeout`], and whatever it answers.
    pub async fn call<B>(
        &self,
        to: Address<'_>,
        method: &'static str,
        body: &B,
    ) -> Result<Message, DisplayError>
    where
        B: Serialize + DynamicType,
    {
        call(&self.connection, &self.owner, to, method, body).await
    }

    /// A property of one of Mutter's objects.
    pub async fn property(&self, of: Address<'_>, name: &str) -> Result<OwnedValue, DisplayError> {
        let properties = Address { interface: "org.freedesktop.DBus.Properties", ..of };
        let answer = self.call(properties, "Get", &(of.interface, name)).await?;
        read::<OwnedValue>(&answer)
    }

    /// The signals of one of Mutter's objects, from now on.
    pub async fn signals(&self, of: Address<'_>, name: &str) -> Result<MessageStream, DisplayError> {
        let rule = || -> zbus::Result<MatchRule<'_>> {
            let rule = MatchRule::builder().msg_type(message::Type::Signal).sender(self.owner.as_str())?;
            Ok(rule.path(of.path)?.interface(of.interface)?.member(name)?.build().to_owned())
        };
        let rule = rule().map_err(|error| explain("AddMatch", &error))?;
        let stream = async {
            let queued = MessageStream::for_match_rule(rule, &self.connection, None).await;
            queued.map_err(|error| explain("AddMatch", &error))
        };
        within("the bus to pass on signals", CALL_LIMIT, stream).await
    }

    /// GNOME Shell's version, such as `50.5`; `None` where Mutter runs without it.
    pub async fn shell_version(&self) -> Option<String> {
        let owner = owner_of(&self.connection, SHELL.interface).await.ok()??;
        let properties = Address { interface: "org.freedesktop.DBus.Properties", ..SHELL };
        let asked = (SHELL.interface, "ShellVersion");
        let answer = call(&self.connection, &owner, properties, "Get", &asked).await.ok()?;
        String::try_from(read::<OwnedValue>(&answer).ok()?).ok()
    }

    /// Leaves the overview, which the shell shows after the login: a window that opens would stay a thumbnail in it. While it
    /// starts the shell forgets the request, which takes a busy machine seconds, so it is looked after until it has stayed
    /// away for a moment.
    pub async fn leave_overview(&self) {
        let Ok(Some(owner)) = owner_of(&self.connection, SHELL.interface).await else { return };
        let properties = Address { interface: "org.freedesktop.DBus.Properties", ..SHELL };
        let name = (SHELL.interface, "OverviewActive");
        let until = clock::now() + OVERVIEW_LIMIT;
        let mut away = 0;
        while clock::now() < until {
            let looked = call(&self.connection, &owner, properties, "Get", &name).await;
            match looked.and_then(|answer| read::<OwnedValue>(&answer)).map(bool::try_from) {
                Ok(Ok(true)) => {
                    away = 0;
                    let body = (name.0, name.1, Value::from(false));
                    match call(&self.connection, &owner, properties, "Set", &body).await {
                        Ok(_) | Err(DisplayError::Timeout { .. }) => {}
                        Err(error) => return tracing::debug!(%error, "GNOME Shell stays in its overview"),
                    }
                }
                Ok(Ok(false)) => away += 1,
                Err(DisplayError::Timeout { .. }) => {}
                // A shell that has none.
                Ok(Err(_)) | Err(_) => return,
            }
            if away == OVERVIEW_AWAY {
                return;
            }
            tokio::time::sleep(OVERVIEW_PAUSE).await;
        }
        tracing::warn!("GNOME Shell does not leave its overview: the app is shown small in it");
    }

    /// Whether the lock screen is shown.
    pub async fn screen_is_locked(&self) -> bool {
        let Ok(Some(owner)) = owner_of(&self.connection, SCREEN_SAVER.interface).await else { return false };
        let answer = call(&self.connection, &owner, SCREEN_SAVER, "GetActive", &()).await;
        answer.ok().and_then(|answer| read::<bool>(&answer).ok()).unwrap_or(false)
    }

    /// Whether another name of Mutter's is on the bus.
    pub async fn has(&self, name: &str) -> bool {
        matches!(owner_of(&self.connection, name).await, Ok(Some(_)))
    }

    /// Mutter's process id, as the bus knows it.
    pub async fn process(&self) -> Option<u32> {
        let asked = self.owner.as_str();
        let answer =
            call(&self.connection, BUS.interface, BUS, "GetConnectionUnixProcessID", &asked).await.ok()?;
        read::<u32>(&answer).ok()
    }

    /// What the user's service manager gives to the programs that it starts; empty without one.
    pub async fn service_environment(&self) -> Vec<String> {
        let manager =
            Address { path: "/org/freedesktop/systemd1", interface: "org.freedesktop.systemd1.Manager" };
        let Ok(Some(owner)) = owner_of(&self.connection, "org.freedesktop.systemd1").await else {
            return Vec::new();
        };
        let properties = Address { interface: "org.freedesktop.DBus.Properties", ..manager };
        let asked = (manager.interface, "Environment");
        let answer = call(&self.connection, &owner, properties, "Get", &asked).await;
        let value = answer.ok().and_then(|answer| read::<OwnedValue>(&answer).ok());
        value.and_then(|value| Vec::<String>::try_from(value).ok()).unwrap_or_default()
    }

    /// Closes the connection for all who share it; Mutter then ends what it made for us.
    pub async fn close(self) {
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "the connection to the session bus was already gone");
        }
    }
}

/// `future`, at most for `limit`.
pub(super) async fn within<T>(
    waited_for: &str,
    limit: Duration,
    future: impl Future<Output = Result<T, DisplayError>>,
) -> Result<T, DisplayError> {
    tokio::time::timeout(limit, future).await.unwrap_or_else(|_| Err(timeout(waited_for, limit)))
}

pub(super) fn timeout(waited_for: &str, limit: Duration) -> DisplayError {
    DisplayError::Timeout { backend: DESKTOP, waited_for: waited_for.to_owned(), limit }
}

/// The arguments of a message.
pub(super) fn read<T>(message: &Message) -> Result<T, DisplayError>
where
    T: Type + for<'d> serde::Deserialize<'d>,
{
    message.body().deserialize::<T>().map_err(|error| {
        DisplayError::Other(format!("{DESKTOP} answered something else than expected: {error}"))
    })
}

async fn owner_of(connection: &Connection, name: &str) -> Result<Option<String>, DisplayError> {
    let body = name;
    let asked =
        connection.call_method(Some(BUS.interface), BUS.path, Some(BUS.interface), "GetNameOwner", &body);
    let answer = tokio::time::timeout(CALL_LIMIT, asked)
        .await
        .map_err(|_| timeout("the session bus to name the owner", CALL_LIMIT))?;
    match answer {
        Ok(answer) => read::<String>(&answer).map(Some),
        Err(zbus::Error::MethodError(name, ..)) if name.ends_with(".NameHasNoOwner") => Ok(None),
        Err(error) => Err(explain("GetNameOwner", &error)),
    }
}

async fn call<B>(
    connection: &Connection,
    owner: &str,
    to: Address<'_>,
    method: &'static str,
    body: &B,
) -> Result<Message, DisplayError>
where
    B: Serialize + DynamicType,
{
    let asked = connection.call_method(Some(owner), to.path, Some(to.interface), method, body);
    match tokio::time::timeout(CALL_LIMIT, asked).await {
        Ok(answer) => answer.map_err(|error| explain(method, &error)),
        Err(_) => Err(timeout(&format!("the answer to {method}"), CALL_LIMIT)),
    }
}

fn explain(method: &str, error: &zbus::Error) -> DisplayError {
    let zbus::Error::MethodError(name, text, _) = error else {
        return DisplayError::Gone { backend: DESKTOP, cause: format!("{method}: {error}") };
    };
    let text = text.as_deref().unwrap_or("no reason given");
    match name.rsplit('.').next().unwrap_or_default() {
        "AccessDenied" => DisplayError::Forbidden {
            backend: DESKTOP,
            cause: format!("{method}: {text}"),
            remedy: "Look whether the session is locked or screen sharing is switched off".into(),
        },
        "ServiceUnknown" | "NameHasNoOwner" | "NoReply" | "Disconnected" => {
            DisplayError::Gone { backend: DESKTOP, cause: format!("{method}: {text}") }
        }
        "UnknownMethod" | "UnknownInterface" | "UnknownProperty" => DisplayError::Unsupported {
            backend: DESKTOP,
            cause: format!("it does not know {method}"),
            remedy: "GNOME 42 on Wayland or newer can; or set display.source to `portal`".into(),
        },
        _ => DisplayError::Other(format!("{DESKTOP} refused {method}: {text}")),
    }
}

/// A number as D-Bus wants it in a dictionary.
pub(super) fn value<'a>(value: impl Into<Value<'a>>) -> Value<'a> {
    value.into()
}
