//! A granted session of the portal: asked for once, then held as long as it lives.

use super::link::{self, Failure, Link, Method, Options, Results};
use super::tokens::Tokens;
use super::{NAME, Patience, remedy};
use crate::bus;
use lumen_media::DisplayError;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use zbus::export::ordered_stream::OrderedStreamExt;
use zbus::message::Type;
use zbus::zvariant::{self, ObjectPath, OwnedObjectPath, Value};
use zbus::{MatchRule, MessageStream};

const SCREEN_CAST: &str = "org.freedesktop.portal.ScreenCast";
const REMOTE_DESKTOP: &str = "org.freedesktop.portal.RemoteDesktop";
const SESSION: &str = "org.freedesktop.portal.Session";
/// Names of the desktops' own halves of the portal; a session does not outlive its half.
const HALVES: &str = "org.freedesktop.impl.portal.desktop";
/// The half that only shows dialogs of GTK; no session of ours depends on it.
const GTK_HALF: &str = "org.freedesktop.impl.portal.desktop.gtk";

const HALF_ENDED: &str = "the desktop's half of the portal ended";

/// Bit of `AvailableSourceTypes`: an existing monitor.
const MONITOR: u32 = 1;
/// `persist_mode`: until revoked.
const UNTIL_REVOKED: u32 = 2;

/// Who draws the pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cursor {
    Hidden = 1,
    Embedded = 2,
    Metadata = 4,
}

impl Cursor {
    /// The best of `AvailableCursorModes`: drawn by the compositor, else by us.
    fn best(available: u32) -> Self {
        [Self::Embedded, Self::Metadata]
            .into_iter()
            .find(|mode| available & *mode as u32 != 0)
            .unwrap_or(Self::Hidden)
    }
}

/// What the portal of this desktop can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Abilities {
    /// Version of `ScreenCast`; 0 without.
    pub screen_cast: u32,
    /// `AvailableSourceTypes`.
    pub sources: u32,
    /// `AvailableCursorModes`.
    pub cursors: u32,
    /// Version of `RemoteDesktop`; 0 without.
    pub remote_desktop: u32,
    /// `AvailableDeviceTypes`: keyboard 1, pointer 2, touchscreen 4.
    pub devices: u32,
}

impl Abilities {
    /// Asks the portal.
    pub async fn of(link: &Link, limit: Duration) -> Result<Self, Failure> {
        let cast = link.properties(SCREEN_CAST, limit).await?;
        let desktop = link.properties(REMOTE_DESKTOP, limit).await?;
        Ok(Self {
            screen_cast: number(&cast, "version").unwrap_or_default(),
            sources: number(&cast, "AvailableSourceTypes").unwrap_or_default(),
            cursors: number(&cast, "AvailableCursorModes").unwrap_or_default(),
            remote_desktop: number(&desktop, "version").unwrap_or_default(),
            devices: number(&desktop, "AvailableDeviceTypes").unwrap_or_default(),
        })
    }

    /// Whether a monitor can be shown.
    pub fn shows_monitors(self) -> bool {
        self.screen_cast > 0 && self.sources & MONITOR != 0
    }

    /// Whether one grant can cover picture and input.
    pub fn takes_input(self) -> bool {
        self.remote_desktop > 0 && self.devices != 0
    }
}

/// The stream that the portal granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    /// Global id of its PipeWire node.
    pub node: u32,
    /// Size in the compositor's coordinates, where the portal tells it.
    pub size: Option<(u32, u32)>,
    /// Where it begins there, where the portal tells it.
    pub position: Option<(i32, i32)>,
    /// The id by which libei names the region of what it shows.
    pub mapping_id: Option<String>,
}

/// What a session is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The picture of a monitor, and input where the same grant can cover it.
    Picture,
    /// Input only.
    Input,
}

/// A live session. Dropping it closes it, which ends its stream.
pub(super) struct Session {
    link: Link,
    handle: OwnedObjectPath,
    patience: Patience,
    cursor: Cursor,
    /// The granted stream; none for input only.
    pub stream: Option<Stream>,
    /// Whether it is a RemoteDesktop session, which takes input.
    takes_input: bool,
    /// Names of the desktop's halves of the portal when it was granted.
    halves: Vec<String>,
    /// Why it is over, once it is.
    over: watch::Receiver<Option<&'static str>>,
    watcher: AbortHandle,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.watcher.abort();
        let (connection, portal, handle) =
            (self.link.connection.clone(), self.link.portal().to_owned(), self.handle.clone());
        // Not waited for: the portal closes the session in any case when our connection ends, which it does right after.
        bus::spawn(async move {
            link::close(&connection, &portal, handle.as_str(), SESSION).await;
        });
    }
}

impl Session {
    /// Asks for a session: without a question where the desktop remembers one answered before, or allows it ahead.
    pub async fn establish(
        link: Link,
        purpose: Purpose,
        tokens: &Tokens,
        patience: Patience,
    ) -> Result<Self, DisplayError> {
        let told = |step: &'static str| move |failure: Failure| explain(failure, step);
        let abilities = Abilities::of(&link, patience.step).await.map_err(told("its properties"))?;
        tracing::debug!(?abilities, "portal");
        let takes_input = abilities.takes_input();
        match purpose {
            Purpose::Picture if !abilities.shows_monitors() => return Err(no_monitors()),
            Purpose::Input if !takes_input => return Err(no_input()),
            _ => {}
        }
        let interface = if takes_input { REMOTE_DESKTOP } else { SCREEN_CAST };

        let token = link.token();
        let options = Options::from([
            ("handle_token", Value::from(token.as_str())),
            ("session_handle_token", Value::from(token.as_str())),
        ]);
        let created = link
            .request(Method::new(interface, "CreateSession"), &token, &(options,), patience.step)
            .await
            .map_err(told("CreateSession"))?;
        let handle = session_handle(&created).map_err(told("CreateSession"))?;
        let (over, watcher) = watch_session(&link, &handle).await.map_err(told("CreateSession"))?;
        let halves = link.names(is_half, patience.step).await.map_err(told("CreateSession"))?;
        let mut session = Self {
            link,
            handle,
            patience,
            cursor: Cursor::best(abilities.cursors),
            stream: None,
            takes_input,
            halves,
            over,
            watcher,
        };

        let memory = tokens.for_interface(if takes_input { "remote-desktop" } else { "screen-cast" });
        let remembers = if takes_input { abilities.remote_desktop >= 2 } else { abilities.screen_cast >= 4 };
        let persistence = Persistence { memory: &memory, remembers };
        if takes_input {
            session.select_devices(abilities, &persistence).await?;
        }
        if purpose == Purpose::Picture {
            session.select_monitor(abilities, &persistence).await?;
        }
        let started = session.start(interface).await?;
        if remembers {
            memory.replace(text(&started, "restore_token"));
        }
        if purpose == Purpose::Picture {
            session.stream = Some(stream(&started).map_err(told("Start"))?);
        }
        tracing::info!(
            stream = ?session.stream, cursor = ?session.cursor, input = takes_input, "the portal granted a session"
        );
        Ok(session)
    }

    /// Why it cannot be used any more; `None` while it lives.
    pub fn over(&self) -> Option<&'static str> {
        if !self.link.is_present() {
            return Some("xdg-desktop-portal ended");
        }
        *self.over.borrow()
    }

    /// A connection to PipeWire once more, for another output; fails when the session is over. The word that it is may
    /// still be on its way, behind that of the vanished pictures, so this asks.
    pub async fn reopen_pipewire(&self) -> Result<OwnedFd, DisplayError> {
        let over = |cause: &str| DisplayError::Gone { backend: NAME, cause: cause.to_owned() };
        let remote = match self.over() {
            Some(cause) => return Err(over(cause)),
            None => self.open_pipewire().await?,
        };
        let names = self.link.names(is_half, self.patience.step).await;
        let names = names.map_err(|failure| explain(failure, "a look at its halves"))?;
        match self.over() {
            Some(cause) => Err(over(cause)),
            None if !self.halves.iter().all(|half| names.contains(half)) => Err(over(HALF_ENDED)),
            None => Ok(remote),
        }
    }

    /// Whether the pointer comes beside the pictures.
    pub fn cursor_metadata(&self) -> bool {
        self.cursor == Cursor::Metadata
    }

    /// A connection to PipeWire that sees the granted stream.
    pub async fn open_pipewire(&self) -> Result<OwnedFd, DisplayError> {
        self.open(Method::new(SCREEN_CAST, "OpenPipeWireRemote")).await
    }

    /// Whether its grant covers input.
    pub fn takes_input(&self) -> bool {
        self.takes_input
    }

    /// A connection to the compositor's input emulation (EIS), which takes keyboard and pointer under the same grant.
    pub async fn connect_input(&self) -> Result<OwnedFd, DisplayError> {
        if !self.takes_input {
            return Err(no_input());
        }
        self.open(Method::new(REMOTE_DESKTOP, "ConnectToEIS")).await
    }

    async fn open(&self, method: Method) -> Result<OwnedFd, DisplayError> {
        let told = |failure: Failure| explain(failure, method.name);
        let body = (self.path(), Options::new());
        let answer = self.link.call(method, &body, self.patience.step).await.map_err(told)?;
        let fd: zvariant::OwnedFd =
            answer.body().deserialize().map_err(|error| told(Failure::Garbled(error.to_string())))?;
        Ok(fd.into())
    }

    async fn select_devices(
        &self,
        abilities: Abilities,
        persistence: &Persistence<'_>,
    ) -> Result<(), DisplayError> {
        let method = Method::new(REMOTE_DESKTOP, "SelectDevices");
        let options = Options::from([("types", Value::from(abilities.devices & 7))]);
        self.select(method, options, Some(persistence)).await
    }

    async fn select_monitor(
        &self,
        abilities: Abilities,
        persistence: &Persistence<'_>,
    ) -> Result<(), DisplayError> {
        let method = Method::new(SCREEN_CAST, "SelectSources");
        let mut options = Options::from([("types", Value::from(MONITOR)), ("multiple", Value::from(false))]);
        if abilities.screen_cast >= 2 {
            options.insert("cursor_mode", Value::from(self.cursor as u32));
        }
        // Persistence belongs to the session's own interface; portals refuse it here when that is RemoteDesktop.
        self.select(method, options, (!self.takes_input).then_some(persistence)).await
    }

    /// One of the Select calls; once more without the restore token when the portal does not take it.
    async fn select(
        &self,
        method: Method,
        options: Options<'_>,
        persistence: Option<&Persistence<'_>>,
    ) -> Result<(), DisplayError> {
        let persistence = persistence.filter(|persistence| persistence.remembers);
        let mut remembered = persistence.and_then(|persistence| persistence.memory.read());
        // That of wlroots has a person choose here already, others at the start.
        let patience = if method.name == "SelectSources" { self.patience.person } else { self.patience.step };
        loop {
            let token = self.link.token();
            let mut options = Options::clone(&options);
            options.insert("handle_token", Value::from(token.as_str()));
            if persistence.is_some() {
                options.insert("persist_mode", Value::from(UNTIL_REVOKED));
            }
            if let Some(remembered) = &remembered {
                options.insert("restore_token", Value::from(remembered.clone()));
            }
            let body = (self.path(), options);
            let failure = match self.link.request(method, &token, &body, patience).await {
                Ok(_) => return Ok(()),
                Err(failure) => failure,
            };
            let refused = matches!(failure, Failure::Bus(zbus::Error::MethodError(..)) | Failure::Ended(_));
            if !refused || remembered.take().is_none() {
                return Err(explain(failure, method.name));
            }
            tracing::debug!(?failure, "the portal does not take the restore token: asking anew");
            if let Some(persistence) = persistence {
                persistence.memory.replace(None);
            }
        }
    }

    async fn start(&self, interface: &'static str) -> Result<Results, DisplayError> {
        let token = self.link.token();
        let options = Options::from([("handle_token", Value::from(token.as_str()))]);
        // The empty string: no window of ours that a dialog could belong to.
        let body = (self.path(), "", options);
        let started = self.link.request(Method::new(interface, "Start"), &token, &body, self.patience.person);
        started.await.map_err(|failure| match failure {
            Failure::Late(limit) => DisplayError::Timeout {
                backend: NAME,
                waited_for: format!("a click on the screen of this machine. {}", remedy::AHEAD),
                limit,
            },
            failure => explain(failure, "Start"),
        })
    }

    fn path(&self) -> ObjectPath<'_> {
        self.handle.as_ref()
    }
}

/// Whether a name on the bus is that of a half that sessions of ours may depend on.
fn is_half(name: &str) -> bool {
    name.starts_with(HALVES) && name != GTK_HALF
}

/// How the grant is remembered.
struct Persistence<'a> {
    memory: &'a super::tokens::Memory,
    /// Whether this version of the portal does so.
    remembers: bool,
}

/// Follows the end of a session: closed by the desktop (or by its "stop sharing"), or its half of the portal gone.
async fn watch_session(
    link: &Link,
    handle: &OwnedObjectPath,
) -> Result<(watch::Receiver<Option<&'static str>>, AbortHandle), Failure> {
    let closed = link.signal(handle.as_str(), SESSION, "Closed")?;
    let mut closed = MessageStream::for_match_rule(closed, &link.connection, Some(1)).await?;
    let halves = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender("org.freedesktop.DBus")?
        .member("NameOwnerChanged")?
        .arg0ns(HALVES)?
        .build();
    let mut halves = MessageStream::for_match_rule(halves, &link.connection, Some(8)).await?;
    let (say, over) = watch::channel(None);
    let say = Arc::new(say);
    let watcher = bus::spawn(async move {
        let half_gone = async {
            while let Some(Ok(change)) = halves.next().await {
                let Ok((name, _old, new)) = change.body().deserialize::<(String, String, String)>() else {
                    continue;
                };
                if new.is_empty() && is_half(&name) {
                    tracing::debug!(%name, "a half of the portal ended");
                    break;
                }
            }
        };
        let cause = tokio::select! {
            _ = closed.next() => "the desktop closed the portal's session",
            () = half_gone => HALF_ENDED,
        };
        tracing::info!(cause, "the portal's session is over");
        say.send_replace(Some(cause));
    });
    Ok((over, watcher))
}

fn session_handle(results: &Results) -> Result<OwnedObjectPath, Failure> {
    // A string by mistake of the first version, which all later ones keep.
    let handle =
        text(results, "session_handle").ok_or_else(|| Failure::Garbled("no session_handle".to_owned()))?;
    OwnedObjectPath::try_from(handle).map_err(|error| Failure::Garbled(error.to_string()))
}

/// The first stream of an answer to Start: `streams` is `a(ua{sv})`.
fn stream(results: &Results) -> Result<Stream, Failure> {
    let garbled = |text: &str| Failure::Garbled(text.to_owned());
    let streams = results.get("streams").ok_or_else(|| garbled("no streams"))?;
    let streams: Vec<(u32, Results)> =
        streams.try_clone().and_then(TryInto::try_into).map_err(|error| garbled(&error.to_string()))?;
    let (node, properties) = streams.into_iter().next().ok_or_else(|| garbled("an empty list of streams"))?;
    let pair = |key| <(i32, i32)>::try_from(properties.get(key)?.try_clone().ok()?).ok();
    let position = pair("position");
    let size = pair("size")
        .and_then(|(width, height)| Some((u32::try_from(width).ok()?, u32::try_from(height).ok()?)));
    let mapping_id = text(&properties, "mapping_id");
    Ok(Stream { node, size, position, mapping_id })
}

fn number(results: &Results, key: &str) -> Option<u32> {
    results.get(key).and_then(|value| u32::try_from(value).ok())
}

fn text(results: &Results, key: &str) -> Option<String> {
    results.get(key).and_then(|value| <&str>::try_from(value).ok()).map(str::to_owned)
}

fn no_monitors() -> DisplayError {
    DisplayError::Unsupported {
        backend: NAME,
        cause: "no half of the portal on this desktop shows monitors".to_owned(),
        remedy: remedy::HALF.to_owned(),
    }
}

fn no_input() -> DisplayError {
    DisplayError::Unsupported {
        backend: NAME,
        cause: "no half of the portal on this desktop takes input (RemoteDesktop)".to_owned(),
        remedy: remedy::HALF.to_owned(),
    }
}

/// Tells what went wrong at `step`, and what to do.
pub(super) fn explain(failure: Failure, step: &str) -> DisplayError {
    let unsupported =
        |cause: String| DisplayError::Unsupported { backend: NAME, cause, remedy: remedy::LOG.to_owned() };
    let forbidden = |cause: String, remedy: &str| DisplayError::Forbidden {
        backend: NAME,
        cause,
        remedy: remedy.to_owned(),
    };
    match failure {
        Failure::Late(limit) => {
            DisplayError::Timeout { backend: NAME, waited_for: format!("answer to {step}"), limit }
        }
        Failure::Gone => {
            DisplayError::Gone { backend: NAME, cause: format!("xdg-desktop-portal ended during {step}") }
        }
        Failure::Ended(1) => forbidden(format!("{step} was refused on the screen"), remedy::AHEAD),
        Failure::Ended(code) => {
            forbidden(format!("{step} was ended by the desktop (response {code})"), remedy::LOG)
        }
        Failure::Garbled(cause) => unsupported(format!("the answer to {step} cannot be read: {cause}")),
        Failure::Bus(zbus::Error::MethodError(name, text, _)) => {
            let cause = format!("{step}: {}", text.unwrap_or_else(|| name.to_string()));
            match name.as_str() {
                "org.freedesktop.DBus.Error.AccessDenied" | "org.freedesktop.portal.Error.NotAllowed" => {
                    forbidden(cause, remedy::AHEAD)
                }
                "org.freedesktop.DBus.Error.NoReply"
                | "org.freedesktop.DBus.Error.ServiceUnknown"
                | "org.freedesktop.DBus.Error.NameHasNoOwner" => DisplayError::Gone { backend: NAME, cause },
                _ => unsupported(cause),
            }
        }
        Failure::Bus(error) => DisplayError::Gone { backend: NAME, cause: format!("{step}: {error}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zbus::zvariant::OwnedValue;

    fn owned<'a>(value: impl Into<Value<'a>>) -> OwnedValue {
        value.into().try_to_owned().expect("no fd in it")
    }

    #[test]
    fn the_pointer_is_best_drawn_by_the_compositor_then_by_us() {
        assert_eq!(Cursor::best(7), Cursor::Embedded);
        assert_eq!(Cursor::best(5), Cursor::Metadata);
        assert_eq!(Cursor::best(1), Cursor::Hidden);
        assert_eq!(Cursor::best(0), Cursor::Hidden);
    }

    #[test]
    fn the_first_stream_is_taken_with_or_without_its_size() {
        let with_size = std::collections::HashMap::from([
            ("size", Value::from((1280_i32, 720_i32))),
            ("position", Value::from((-1280_i32, 0_i32))),
        ]);
        let streams = vec![(42_u32, with_size), (43, Default::default())];
        let results = Results::from([("streams".to_owned(), owned(streams))]);
        assert_eq!(
            stream(&results).expect("a stream"),
            Stream { node: 42, size: Some((1280, 720)), position: Some((-1280, 0)), mapping_id: None }
        );
        let negative = std::collections::HashMap::from([("size", Value::from((-1_i32, 720_i32)))]);
        let results = Results::from([("streams".to_owned(), owned(vec![(42_u32, negative)]))]);
        let bare = Stream { node: 42, size: None, position: None, mapping_id: None };
        assert_eq!(stream(&results).expect("a stream"), bare);
    }

    #[test]
    fn an_answer_without_a_stream_is_an_error() {
        let none: Vec<(u32, std::collections::HashMap<&str, Value<'_>>)> = Vec::new();
        let results = Results::from([("streams".to_owned(), owned(none))]);
        assert!(matches!(stream(&results), Err(Failure::Garbled(_))));
        assert!(matches!(stream(&Results::new()), Err(Failure::Garbled(_))));
        let results = Results::from([("streams".to_owned(), owned("no list"))]);
        assert!(matches!(stream(&results), Err(Failure::Garbled(_))));
    }

    #[test]
    fn a_refusal_names_the_way_to_allow_it_ahead() {
        let text = explain(Failure::Ended(1), "Start").to_string();
        assert!(text.contains("refused on the screen") && text.contains("kde-authorized"), "{text}");
        let text = explain(Failure::Ended(2), "Start").to_string();
        assert!(text.contains("response 2") && text.contains("journalctl"), "{text}");
    }
}
