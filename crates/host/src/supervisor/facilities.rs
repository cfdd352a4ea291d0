//! What carrying out the table's effects needs of what the host shares.

use super::{Routes, Shared};
use crate::clients::ClientStore;
use crate::control_stream::ControlStreams;
use crate::event::Event;
use crate::runtime::Runtime;
use lumen_capture::CaptureConfig;
use lumen_config::Config;
use lumen_encode::{EncoderConfig, Preset, ProbeReport};
use lumen_gamestream::sdp::StreamParameters;
use lumen_gamestream::session::{AppRun, ClientId, Connection, SessionId};
use lumen_media::{Mode, VirtualDisplay};
use lumen_net::udp::UdpPort;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread::JoinHandle;

impl Shared {
    /// The settings now.
    pub fn config(&self) -> Arc<Config> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the settings; running streams keep theirs.
    pub fn set_config(&self, config: Config) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// How pictures are taken now.
    pub fn capture_config(&self) -> CaptureConfig {
        crate::capture_config(&self.config(), self.parts.session_dir.as_deref())
    }

    /// To report events from elsewhere, without owning what is shared here.
    pub fn reporter(&self) -> SyncSender<Event> {
        self.events.clone()
    }

    /// Drops `thing` soon, on another thread.
    pub fn release(&self, thing: impl Send + 'static) {
        if let Some(releaser) = &*self.releaser.lock().unwrap_or_else(PoisonError::into_inner) {
            releaser.release(thing);
        }
    }

    /// Runs `body` on a thread that is joined when the host stops.
    pub fn spawn(&self, name: &str, body: impl FnOnce() + Send + 'static) {
        let mut workers = self.workers();
        workers.retain(|worker| !worker.is_finished());
        match std::thread::Builder::new().name(name.into()).spawn(body) {
            Ok(worker) => workers.push(worker),
            Err(error) => tracing::error!(%error, name, "cannot start a thread"),
        }
    }

    /// Has the threads of streams run before others, soon.
    pub fn put_threads_first(self: &Arc<Self>) {
        let host = self.clone();
        self.spawn("lumen-rtkit", move || crate::priority::ask(host.parts.system_bus.as_deref()));
    }

    pub(super) fn workers(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Paired clients.
    pub fn clients(&self) -> &ClientStore {
        &self.parts.clients
    }

    /// The control streams.
    pub fn control(&self) -> &ControlStreams {
        self.control.get().expect("set before the first session can exist")
    }

    /// The display backend.
    pub fn display(&self) -> &dyn VirtualDisplay {
        self.parts.display.as_ref()
    }

    /// What the encoders can do.
    pub fn probe(&self) -> &ProbeReport {
        &self.parts.probe
    }

    /// `uniqueid`, which also marks this host's processes.
    pub fn unique_id(&self) -> &str {
        &self.parts.unique_id
    }

    /// Where apps are looked for.
    pub fn search_path(&self) -> &str {
        &self.parts.search_path
    }

    /// Where the output of apps goes.
    pub fn log_dir(&self) -> PathBuf {
        self.parts.log_dir.clone()
    }

    /// Where apps start.
    pub fn home(&self) -> Option<PathBuf> {
        self.parts.home.clone()
    }

    /// Where video is sent from.
    pub fn video_port(&self) -> Arc<UdpPort> {
        self.parts.video_port.clone()
    }

    /// Where sound is sent from.
    pub fn audio_port(&self) -> Arc<UdpPort> {
        self.parts.audio_port.clone()
    }

    /// Where the sockets of the user's session are.
    pub fn session_dir(&self) -> Option<&Path> {
        self.parts.session_dir.as_deref()
    }

    /// Whether a connection's client wants the sound on the host's speakers too.
    pub fn host_audio(&self, session: SessionId) -> bool {
        self.tables().sessions.session(session).is_some_and(|session| session.host_audio())
    }

    /// What a connection set up; `None` when it was replaced.
    pub fn connection(&self, session: SessionId) -> Option<Connection> {
        self.tables().sessions.session(session)?.connection().cloned()
    }

    /// The connection that waits for this run of an app; a newer launch may have replaced the one that began it.
    pub fn connection_of_run(&self, run: AppRun) -> Option<Connection> {
        let tables = self.tables();
        let session = tables.sessions.sessions().find(|session| session.run() == run)?;
        session.connection().cloned()
    }

    /// What ANNOUNCE fixed for a connection.
    pub fn parameters(&self, session: SessionId) -> Option<StreamParameters> {
        self.tables().sessions.session(session)?.parameters().cloned()
    }

    /// Remembers what ANNOUNCE fixed, for [`Shared::likely_mode`].
    pub fn remember_mode(&self, client: ClientId, mode: Mode) {
        self.tables().announced.insert(client, mode);
    }

    /// What ANNOUNCE will fix after a `/launch` of this mode, which rounds the rate: the same as last time, if that is less
    /// than 1 % away.
    pub fn likely_mode(&self, client: ClientId, asked: Mode) -> Mode {
        let near = |last: &Mode| {
            (last.width(), last.height()) == (asked.width(), asked.height())
                && last.refresh_mhz().abs_diff(asked.refresh_mhz()) < asked.refresh_mhz() / 100
        };
        self.tables().announced.get(&client).copied().filter(near).unwrap_or(asked)
    }

    /// Where a connection's packets go.
    pub fn routes(&self, session: SessionId) -> Option<Routes> {
        self.tables().connections.get(&session).map(|(_, routes)| routes.clone())
    }

    /// Drops what belongs to a void connection.
    pub fn forget(&self, session: SessionId) {
        let mut tables = self.tables();
        tables.connections.remove(&session);
        tables.handshakes.remove(session);
    }

    /// The encoder preset for a stream: as configured, or what the probe found to leave headroom.
    pub fn preset_for(&self, encoder: &EncoderConfig) -> Preset {
        match self.config().video.preset {
            lumen_config::Preset::Auto => {
                self.probe().preset_for(encoder.codec, encoder.width, encoder.height, encoder.refresh_mhz)
            }
            lumen_config::Preset::Fast => Preset::Fast,
            lumen_config::Preset::Better => Preset::Better,
        }
    }

    /// Calls `each` with every session and its client's runtime.
    pub fn for_each_session(
        &self,
        mut each: impl FnMut(&lumen_gamestream::session::Session, Option<&Runtime>),
    ) {
        let tables = self.tables();
        for session in tables.sessions.sessions() {
            each(session, tables.runtimes.get(&session.client()).map(AsRef::as_ref));
        }
    }

    /// Who works for a connection; `None` once it is void.
    pub fn runtime_of(&self, session: SessionId) -> Option<Arc<Runtime>> {
        let tables = self.tables();
        let (client, _) = tables.connections.get(&session)?;
        tables.runtimes.get(client).cloned()
    }
}
