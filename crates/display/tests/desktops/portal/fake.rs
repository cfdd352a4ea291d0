//! A portal that misbehaves as real ones do, on a real bus.

use lumen_lab::Session;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use zbus::blocking::{self, connection::Builder};
use zbus::message::Header;
use zbus::zvariant::{ObjectPath, OwnedFd, OwnedObjectPath, OwnedValue, Value};
use zbus::{Connection, fdo};

const REQUEST: &str = "org.freedesktop.portal.Request";
const PATH: &str = "/org/freedesktop/portal/desktop";

type Options = HashMap<String, OwnedValue>;

/// What the portal does with a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// Grants it, and says so before the call has even returned.
    #[default]
    Early,
    /// Grants it after so long.
    Late(Duration),
    /// Ends it with this response.
    Code(u32),
    /// Says nothing more.
    Nothing,
}

/// How the portal behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Behaviour {
    pub create: Answer,
    pub start: Answer,
    /// Takes no restore token.
    pub refuses_tokens: bool,
}

#[derive(Default)]
struct State {
    behaviour: Behaviour,
    /// What it was asked, in order.
    asked: Vec<String>,
    sessions: Vec<String>,
    tokens_given: u32,
}

type Shared = Arc<Mutex<State>>;

/// The running portal.
pub struct FakePortal {
    connection: blocking::Connection,
    state: Shared,
}

impl FakePortal {
    pub fn start(session: &Session, behaviour: Behaviour) -> Self {
        let state = Shared::new(Mutex::new(State { behaviour, ..State::default() }));
        let connection = Builder::address(session.bus_address())
            .and_then(|builder| builder.serve_at(PATH, ScreenCast(state.clone())))
            .and_then(|builder| builder.name("org.freedesktop.portal.Desktop"))
            .and_then(Builder::build)
            .expect("a portal of ours");
        Self { connection, state }
    }

    /// What it was asked so far, in order.
    pub fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.clone()
    }

    pub fn behave(&self, behaviour: Behaviour) {
        self.state.lock().unwrap().behaviour = behaviour;
    }

    /// Ends the newest session, as "stop sharing" does.
    pub fn close_session(&self) {
        let path = self.state.lock().unwrap().sessions.pop().expect("a session");
        let details = HashMap::<&str, Value<'_>>::new();
        let interface = "org.freedesktop.portal.Session";
        self.connection.emit_signal(None::<&str>, path, interface, "Closed", &(details,)).unwrap();
    }
}

struct ScreenCast(Shared);

impl ScreenCast {
    fn note(&self, text: String) -> Behaviour {
        let mut state = self.0.lock().unwrap();
        state.asked.push(text);
        state.behaviour
    }

    /// Makes the request object and answers it as told; returns its path.
    async fn request(
        &self,
        (header, connection): (Header<'_>, &Connection),
        options: &Options,
        answer: Answer,
        results: HashMap<&'static str, Value<'static>>,
    ) -> fdo::Result<OwnedObjectPath> {
        let sender = header.sender().unwrap().to_string();
        let token = text(options, "handle_token").expect("a token");
        let path = format!("{PATH}/request/{}/{token}", sender[1..].replace('.', "_"));
        connection.object_server().at(path.as_str(), Request(self.0.clone())).await?;
        let (delay, code) = match answer {
            Answer::Early => (None, 0),
            Answer::Late(delay) => (Some(delay), 0),
            Answer::Code(code) => (None, code),
            Answer::Nothing => return Ok(OwnedObjectPath::try_from(path).unwrap()),
        };
        let results = if code == 0 { results } else { HashMap::new() };
        let respond = {
            let (connection, path) = (connection.clone(), path.clone());
            async move {
                let body = (code, results);
                connection.emit_signal(Some(sender), path, REQUEST, "Response", &body).await.unwrap();
            }
        };
        match delay {
            None => respond.await,
            Some(delay) => drop(tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                respond.await;
            })),
        }
        Ok(OwnedObjectPath::try_from(path).unwrap())
    }
}

#[zbus::interface(name = "org.freedesktop.portal.ScreenCast")]
impl ScreenCast {
    async fn create_session(
        &self,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> fdo::Result<OwnedObjectPath> {
        let behaviour = self.note("CreateSession".into());
        let sender = header.sender().unwrap()[1..].replace('.', "_");
        let token = text(&options, "session_handle_token").expect("a token");
        let session = format!("{PATH}/session/{sender}/{token}");
        connection.object_server().at(session.as_str(), PortalSession(self.0.clone())).await?;
        self.0.lock().unwrap().sessions.push(session.clone());
        let results = HashMap::from([("session_handle", Value::from(session))]);
        self.request((header, connection), &options, behaviour.create, results).await
    }

    async fn select_sources(
        &self,
        _session: ObjectPath<'_>,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> fdo::Result<OwnedObjectPath> {
        let number = |key: &str| options.get(key).map(|value| u32::try_from(value).unwrap());
        let token = text(&options, "restore_token");
        let behaviour = self.note(format!(
            "SelectSources types {:?}, cursor {:?}, persist {:?}, token {token:?}",
            number("types"),
            number("cursor_mode"),
            number("persist_mode"),
        ));
        if behaviour.refuses_tokens && token.is_some() {
            return Err(fdo::Error::InvalidArgs("no such token".into()));
        }
        self.request((header, connection), &options, Answer::Early, HashMap::new()).await
    }

    async fn start(
        &self,
        _session: ObjectPath<'_>,
        _window: &str,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> fdo::Result<OwnedObjectPath> {
        let behaviour = self.note("Start".into());
        let stream = HashMap::from([("size", Value::from((800_i32, 600_i32)))]);
        let token = {
            let mut state = self.0.lock().unwrap();
            state.tokens_given += 1;
            format!("token-{}", state.tokens_given)
        };
        let results = HashMap::from([
            ("streams", Value::from(vec![(77_u32, stream)])),
            ("restore_token", Value::from(token)),
        ]);
        self.request((header, connection), &options, behaviour.start, results).await
    }

    fn open_pipe_wire_remote(&self, _session: ObjectPath<'_>, _options: Options) -> OwnedFd {
        self.note("OpenPipeWireRemote".into());
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        std::os::fd::OwnedFd::from(ours).into()
    }

    #[zbus(property, name = "version")]
    fn version(&self) -> u32 {
        4
    }

    #[zbus(property)]
    fn available_source_types(&self) -> u32 {
        3
    }

    #[zbus(property)]
    fn available_cursor_modes(&self) -> u32 {
        3
    }
}

struct Request(Shared);

#[zbus::interface(name = "org.freedesktop.portal.Request")]
impl Request {
    fn close(&self) {
        self.0.lock().unwrap().asked.push("Request.Close".into());
    }
}

struct PortalSession(Shared);

#[zbus::interface(name = "org.freedesktop.portal.Session")]
impl PortalSession {
    fn close(&self) {
        self.0.lock().unwrap().asked.push("Session.Close".into());
    }
}

fn text(options: &Options, key: &str) -> Option<String> {
    options.get(key).map(|value| <&str>::try_from(value).unwrap().to_owned())
}
