//! Sessions: feeds what happens into the session table and has its effects carried out.
//!
//! Two locks, always in this order: a client's resources (held while an effect is carried out, possibly for seconds), then
//! the table (held for moments only). So no request about one client waits for another's app to end.

mod facilities;

use crate::clients::ClientStore;
use crate::control_stream::ControlStreams;
use crate::event::{Event, report};
use crate::output::Releaser;
use crate::resources::{announced_mode, requested_mode};
use crate::runtime::{Runtime, Work};
use crate::stream::sender::Route;
use lumen_config::Config;
use lumen_encode::ProbeReport;
use lumen_gamestream::Time;
use lumen_gamestream::api::ApiError;
use lumen_gamestream::applist::AppId;
use lumen_gamestream::control::Termination;
use lumen_gamestream::launch::LaunchRequest;
use lumen_gamestream::ping::Ping;
use lumen_gamestream::rtsp::{
    Exchange, Handshake, HandshakeConfig, Incoming, Router, RtspError, RtspEvent, StreamPorts,
};
use lumen_gamestream::sdp::{HostFeatures, StreamParameters};
use lumen_gamestream::session::{
    AppRun, ClientId, Connection, Effect, LaunchOrder, Policy, SessionId, SessionTable, StreamKind,
};
use lumen_media::{Mode, Timestamp, VirtualDisplay, clock};
use lumen_net::Path;
use lumen_net::udp::UdpPort;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

/// Events that wait for the supervisor's thread: a few per session and second at most.
const EVENTS: usize = 1024;
/// How long clients get to take the host's farewell (protocol text §10.3).
const FAREWELL: Duration = Duration::from_millis(1200);

/// What the host gives the supervisor.
pub struct Parts {
    /// Settings.
    pub config: Config,
    /// `uniqueid`.
    pub unique_id: String,
    /// Paired clients.
    pub clients: Arc<ClientStore>,
    /// Makes outputs.
    pub display: Arc<dyn VirtualDisplay>,
    /// What the encoders can do.
    pub probe: ProbeReport,
    /// Where video is sent from.
    pub video_port: Arc<UdpPort>,
    /// Where sound is sent from.
    pub audio_port: Arc<UdpPort>,
    /// Where apps are looked for.
    pub search_path: String,
    /// Where the output of apps goes.
    pub log_dir: PathBuf,
    /// Where apps start.
    pub home: Option<PathBuf>,
    /// Where the sockets of the user's session are.
    pub session_dir: Option<PathBuf>,
    /// D-Bus address of the system bus, where it is not the usual one.
    pub system_bus: Option<String>,
    /// What RTSP offers.
    pub features: HostFeatures,
    /// What the session table grants.
    pub policy: Policy,
}

/// Where a connection's packets go.
#[derive(Clone, Default)]
pub struct Routes {
    /// Pictures.
    pub video: Route,
    /// Sound.
    pub audio: Route,
}

struct Tables {
    sessions: SessionTable,
    handshakes: Router<SessionId>,
    runtimes: HashMap<ClientId, Arc<Runtime>>,
    /// Connections that are not forgotten yet.
    connections: HashMap<SessionId, (ClientId, Routes)>,
    /// What each client's last ANNOUNCE fixed.
    announced: HashMap<ClientId, Mode>,
    /// The host stops: nobody is let in any more.
    stopping: bool,
}

/// What all parts of the host share.
pub struct Shared {
    parts: Parts,
    config: RwLock<Arc<Config>>,
    tables: Mutex<Tables>,
    control: OnceLock<ControlStreams>,
    events: SyncSender<Event>,
    releaser: Mutex<Option<Releaser>>,
    /// Threads that work for a client without its lock.
    workers: Mutex<Vec<JoinHandle<()>>>,
}

/// The supervisor and its thread.
pub struct Supervisor {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// The table's answer to a `/launch` or `/resume`.
type Entered = Result<(SessionId, Vec<Effect>), ApiError>;
/// Which of the two.
type Enter = fn(&mut SessionTable, ClientId, LaunchOrder, Time) -> Entered;

fn time(now: Timestamp) -> Time {
    Duration::from_nanos(now.as_nanos())
}

impl Supervisor {
    /// Starts the thread. `control` serves the control port and is told where to report: not the shared state, which owns
    /// what it makes.
    pub fn start(
        parts: Parts,
        control: impl FnOnce(SyncSender<Event>) -> std::io::Result<ControlStreams>,
    ) -> std::io::Result<Self> {
        let (events, received) = sync_channel(EVENTS);
        let shared = Arc::new(Shared {
            config: RwLock::new(Arc::new(parts.config.clone())),
            tables: Mutex::new(Tables {
                sessions: SessionTable::new(parts.policy),
                handshakes: Router::new(),
                runtimes: HashMap::new(),
                connections: HashMap::new(),
                announced: HashMap::new(),
                stopping: false,
            }),
            parts,
            control: OnceLock::new(),
            events,
            releaser: Mutex::new(Some(Releaser::start()?)),
            workers: Mutex::default(),
        });
        let streams = control(shared.events.clone())?;
        let _ = shared.control.set(streams);
        let worker = shared.clone();
        let thread =
            std::thread::Builder::new().name("lumen-tick".into()).spawn(move || worker.run(&received))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// What the rest of the host needs of it.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let _ = self.shared.events.send(Event::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let workers = std::mem::take(&mut *self.shared.workers());
        for worker in workers {
            let _ = worker.join();
        }
        // Last: workers may leave something to it.
        drop(self.shared.releaser.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Shared {
    // --- what requests ask ---

    /// A `/launch`: starts the app on an output of the client's mode. Blocks for as long as that takes.
    ///
    /// # Errors
    /// What the client shows to its user.
    pub fn launch(
        self: &Arc<Self>,
        client: ClientId,
        request: LaunchRequest,
        peer: IpAddr,
    ) -> Result<Connection, ApiError> {
        self.connect(client, request, peer, SessionTable::launch)
    }

    /// A `/resume`: gets ready for the client's return to its app.
    ///
    /// # Errors
    /// What the client shows to its user.
    pub fn resume(
        self: &Arc<Self>,
        client: ClientId,
        request: LaunchRequest,
        peer: IpAddr,
    ) -> Result<Connection, ApiError> {
        self.connect(client, request, peer, SessionTable::resume)
    }

    /// A `/cancel`: ends the client's session. The state is clear at once; returns when its app is gone.
    pub fn cancel(self: &Arc<Self>, client: ClientId) {
        self.transition(|table, now| table.cancel(client, now));
    }

    /// Ends the session of a client that was unpaired, and its output.
    pub fn evict(self: &Arc<Self>, client: ClientId) {
        self.transition(|table, now| table.evict(client, now));
        let runtime = {
            let mut tables = self.tables();
            tables.announced.remove(&client);
            tables.runtimes.get(&client).cloned()
        };
        if let Some(runtime) = runtime {
            runtime.push(Work::Evicted);
            runtime.work(self);
            self.event(Event::LookAgain);
        }
    }

    /// The app that runs for this client.
    pub fn current_game(&self, client: ClientId) -> Option<AppId> {
        self.tables().sessions.current_game(client)
    }

    /// Takes an RTSP message; the bytes to answer. ANNOUNCE makes the stream ready, which takes some milliseconds.
    ///
    /// # Errors
    /// Why the connection is to be closed without an answer.
    pub fn rtsp(self: &Arc<Self>, incoming: &Incoming, peer: IpAddr) -> Result<Vec<u8>, RtspError> {
        let (session, Exchange { event, mut response }) = {
            let mut tables = self.tables();
            let (session, exchange) = tables.handshakes.receive(incoming, peer)?;
            tables.sessions.rtsp_progress(session, time(clock::now()));
            (session, exchange)
        };
        let mut failed = false;
        match &event {
            Some(RtspEvent::Announced(parameters)) => {
                if let Err(error) = self.announced(session, (**parameters).clone()) {
                    let status = u16::try_from(error.status).unwrap_or(503);
                    response = response.refused(status, &error.message);
                    failed = true;
                }
                self.tables().sessions.answered(session, time(clock::now()));
            }
            Some(RtspEvent::Play) => self.transition(|table, now| table.played(session, now)),
            Some(RtspEvent::Teardown) | None => {}
        }
        // Before what voids the handshake, or the client would not learn why.
        let answer = self.tables().handshakes.encode(session, &response).ok_or(RtspError::Nobody);
        if failed {
            self.transition(|table, now| table.stream_failed(session, Termination::FrameConversion, now));
        }
        if event == Some(RtspEvent::Teardown) {
            self.transition(|table, now| table.torn_down(session, now));
        }
        self.event(Event::LookAgain);
        answer
    }

    /// Learns from a ping where a client listens.
    pub fn ping(&self, kind: StreamKind, ping: &Ping, path: Path) {
        let tables = self.tables();
        let session = match ping {
            Ping::Payload { payload, .. } => tables.sessions.by_ping(payload),
            Ping::Legacy => tables.sessions.by_peer(path.remote.ip(), kind),
        };
        let Some(session) = session else { return };
        let Some(routes) = tables.connections.get(&session).map(|(_, routes)| routes.clone()) else { return };
        drop(tables);
        let route = match kind {
            StreamKind::Video => routes.video,
            StreamKind::Audio => routes.audio,
        };
        if route.learn(path) {
            self.event(Event::Ping(session, kind));
        }
    }

    // --- what happens by itself ---

    /// Reports an event; never waits. A full queue means that the host is drowning, and the event is lost.
    pub fn event(&self, event: Event) {
        report(&self.events, event);
    }

    fn run(self: Arc<Self>, events: &Receiver<Event>) {
        loop {
            let now = clock::now();
            self.react(|table, now| table.tick(now));
            let deadline = self.next_deadline(now);
            let event = match deadline {
                Some(at) => match events.recv_timeout(at.since(clock::now())) {
                    Ok(event) => event,
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => return,
                },
                None => match events.recv() {
                    Ok(event) => event,
                    Err(_) => return,
                },
            };
            match event {
                Event::AppEnded(run) => self.give(self.runtime_of_run(run), Work::AppEnded(run)),
                Event::AppGone(run) => self.react(|table, now| table.app_ended(run, now)),
                Event::ControlConnected(id) => self.react(|table, now| table.control_connected(id, now)),
                Event::ControlDisconnected(id) => {
                    self.react(|table, now| table.control_disconnected(id, now));
                }
                Event::Ping(id, kind) => self.react(|table, _| table.ping_learned(id, kind)),
                Event::StreamFailed(id, termination) => {
                    self.react(|table, now| table.stream_failed(id, termination, now));
                }
                Event::SourceLost(id, hung) => self.give(self.runtime_of(id), Work::Lost(id, hung)),
                Event::Showing(id) => self.give(self.runtime_of(id), Work::Showing(id)),
                Event::LookAgain => {}
                Event::Stop => return self.shut_down(),
            }
        }
    }

    /// Ends every session: all clients are told at once, and their apps end side by side.
    fn shut_down(self: &Arc<Self>) {
        self.tables().stopping = true;
        let touched = self.step(|table, now| table.shut_down(now));
        std::thread::scope(|scope| {
            for runtime in &touched {
                scope.spawn(move || runtime.work(self));
            }
        });
        self.control().farewell(FAREWELL);
        let runtimes: Vec<_> = self.tables().runtimes.drain().map(|(_, runtime)| runtime).collect();
        runtimes.iter().for_each(|runtime| runtime.clear());
    }

    /// Lets go of outputs whose time is over, and says when to look again.
    fn next_deadline(self: &Arc<Self>, now: Timestamp) -> Option<Timestamp> {
        let runtimes: Vec<_> = self.tables().runtimes.clone().into_iter().collect();
        let mut next = None;
        for (client, runtime) in runtimes {
            let (again, keep) = runtime.look(now, self);
            next = earlier(next, again);
            if !keep {
                let mut tables = self.tables();
                if tables.sessions.of_client(client).is_none() {
                    tables.runtimes.remove(&client);
                }
            }
        }
        let table = self.tables().sessions.next_deadline();
        earlier(next, table.map(|at| Timestamp::from_nanos(u64::try_from(at.as_nanos()).unwrap_or(u64::MAX))))
    }

    // --- transitions ---

    fn connect(
        self: &Arc<Self>,
        client: ClientId,
        request: LaunchRequest,
        peer: IpAddr,
        enter: Enter,
    ) -> Result<Connection, ApiError> {
        // First of all: a mode that cannot be must not cost the running app.
        requested_mode(&request)?;
        let mut random = [0; 20];
        getrandom::fill(&mut random)
            .map_err(|error| ApiError::unavailable(format!("no randomness: {error}")))?;
        let (id, runtime, connection, run) = {
            let mut tables = self.tables();
            if tables.stopping {
                return Err(stopping());
            }
            // Under this lock, so that a client that is being unpaired cannot slip through.
            if self.parts.clients.find(client).is_none() {
                return Err(ApiError::not_paired());
            }
            let now = time(clock::now());
            let order = LaunchOrder { request, peer, random };
            let (id, effects) = enter(&mut tables.sessions, client, order, now)?;
            let entered = tables.sessions.session(id);
            let entered = entered.and_then(|session| Some((session.connection()?.clone(), session.run())));
            let Some((connection, run)) = entered else {
                return Err(ApiError::unavailable("The request was replaced"));
            };
            tables.connections.insert(id, (client, Routes::default()));
            let handshake = Handshake::new(self.handshake_config(&connection));
            tables.handshakes.insert(id, handshake);
            let runtime =
                tables.runtimes.entry(client).or_insert_with(|| Arc::new(Runtime::new(client))).clone();
            effects.into_iter().for_each(|effect| runtime.push(Work::Effect(effect)));
            (id, runtime, connection, run)
        };
        runtime.work(self);
        // Before the look at the table: a host that stops ends the session first, and clears the runtime after that.
        let failure = runtime.app_failure(run);
        let ended = {
            let mut tables = self.tables();
            tables.sessions.answered(id, time(clock::now()));
            // Not by its id: of two launches at once the later one goes on with the app of the earlier one.
            let mut sessions = tables.sessions.sessions();
            let lives = sessions.any(|session| session.run() == run && session.connection().is_some());
            (!lives).then_some(tables.stopping)
        };
        self.event(Event::LookAgain);
        match (failure, ended) {
            (None, None) => Ok(connection),
            (Some(error), _) => {
                self.transition(|table, now| table.app_ended(run, now));
                Err(error)
            }
            // While the desktop was asked, which can take many seconds.
            (None, Some(true)) => Err(stopping()),
            (None, Some(false)) => Err(ApiError::unavailable("The session was ended before it began")),
        }
    }

    fn announced(self: &Arc<Self>, session: SessionId, parameters: StreamParameters) -> Result<(), ApiError> {
        announced_mode(&parameters)?;
        self.transition(|table, now| table.announced(session, parameters, now));
        self.runtime_of(session).and_then(|runtime| runtime.take_stream_failure(session)).map_or(Ok(()), Err)
    }

    /// One step of the table and what follows from it.
    fn transition(self: &Arc<Self>, step: impl FnOnce(&mut SessionTable, Time) -> Vec<Effect>) {
        for runtime in self.step(step) {
            runtime.work(self);
        }
    }

    /// The same for the supervisor's own thread, which waits for nobody's resources.
    fn react(self: &Arc<Self>, step: impl FnOnce(&mut SessionTable, Time) -> Vec<Effect>) {
        for runtime in self.step(step) {
            runtime.kick(self);
        }
    }

    /// Has a runtime do something that no table decides.
    fn give(self: &Arc<Self>, runtime: Option<Arc<Runtime>>, work: Work) {
        if let Some(runtime) = runtime {
            runtime.push(work);
            runtime.kick(self);
        }
    }

    /// One step of the table; says which runtimes have work now.
    fn step(&self, step: impl FnOnce(&mut SessionTable, Time) -> Vec<Effect>) -> Vec<Arc<Runtime>> {
        let mut touched: Vec<Arc<Runtime>> = Vec::new();
        {
            let mut tables = self.tables();
            let effects = step(&mut tables.sessions, time(clock::now()));
            for effect in effects {
                let client = match effect {
                    Effect::StartApp { client, .. }
                    | Effect::EndApp { client, .. }
                    | Effect::Ended { client, .. } => Some(client),
                    Effect::StartStream { session }
                    | Effect::SendAudio { session }
                    | Effect::SendVideo { session }
                    | Effect::TerminateClient { session, .. }
                    | Effect::StopStream { session, .. }
                    | Effect::Forget { session } => {
                        tables.connections.get(&session).map(|(client, _)| *client)
                    }
                };
                let Some(runtime) = client.and_then(|client| tables.runtimes.get(&client)) else { continue };
                runtime.push(Work::Effect(effect));
                if !touched.iter().any(|known| Arc::ptr_eq(known, runtime)) {
                    touched.push(runtime.clone());
                }
            }
        }
        touched
    }

    fn handshake_config(&self, connection: &Connection) -> HandshakeConfig {
        let ports = self.config().server.ports;
        HandshakeConfig {
            seal: connection.encrypted_rtsp.then(|| connection.request.key.clone()),
            peer: connection.peer,
            features: self.parts.features,
            ports: StreamPorts { audio: ports.audio(), video: ports.video(), control: ports.control() },
            ping_payload: connection.ping_payload,
            connect_data: connection.connect_data,
            token: connection.rtsp_token.clone(),
        }
    }

    fn runtime_of_run(&self, run: AppRun) -> Option<Arc<Runtime>> {
        let tables = self.tables();
        let session = tables.sessions.sessions().find(|session| session.run() == run)?;
        tables.runtimes.get(&session.client()).cloned()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stopping() -> ApiError {
    ApiError::unavailable("The host is stopping")
}

fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests;
