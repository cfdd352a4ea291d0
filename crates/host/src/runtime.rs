//! What one client's session holds: its output, its app, its stream. Carries out the effects of the session table.

use crate::apps::{AppContext, RunningApp};
use crate::control_stream::Admission;
use crate::stream::{Stream, StreamSettings, encoder_config, packetizer_config};
use crate::supervisor::{Event, Shared};
use lumen_gamestream::api::ApiError;
use lumen_gamestream::control::ControlCipher;
use lumen_gamestream::launch::LaunchRequest;
use lumen_gamestream::sdp::{ClientFeatures, StreamParameters};
use lumen_gamestream::session::{AppRun, ClientId, Connection, Effect, SessionId};
use lumen_input::{Accept, Mapper};
use lumen_media::{AppLaunch, FrameSource, InputSink, Mode, OutputSource, Timestamp, VirtualOutput, clock};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// When to look again at a client's output while its resources are in use.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// A virtual output and its picture source, which a stream borrows.
struct Output {
    mode: Mode,
    source: Option<Box<dyn FrameSource>>,
    input: Arc<dyn InputSink>,
    env: Vec<(String, String)>,
    set_mode: Option<lumen_media::display::SetMode>,
    // Last: the output goes when everything that uses it is gone.
    _keepalive: Box<dyn Send>,
}

/// Everything that a client's session owns.
#[derive(Default)]
struct Resources {
    // In the order in which they go: the stream reads the output, the app lives on it.
    stream: Option<(SessionId, Stream)>,
    app: Option<(AppRun, RunningApp)>,
    output: Option<Output>,
    /// When an output without a session goes.
    linger_until: Option<Timestamp>,
    /// Why the newest run could not start, for the requests that wait for it.
    app_failure: Option<(AppRun, ApiError)>,
    /// Why the newest stream could not start, for the request that waits for it.
    stream_failure: Option<(SessionId, ApiError)>,
}

/// One client's runtime. Effects are queued while the table is locked, so that they keep its order, and carried out one
/// after another under a lock of their own, so that other clients do not wait for them.
pub struct Runtime {
    client: ClientId,
    queue: Mutex<VecDeque<Effect>>,
    resources: Mutex<Resources>,
}

/// What the status shows of a runtime.
pub struct RuntimeView {
    /// Mode of the output.
    pub mode: Option<Mode>,
    /// The stream's counters.
    pub stats: Option<crate::stream::stats::Snapshot>,
    /// Pictures left out because they were not of the stream's size.
    pub misfits: u64,
    /// The output waits for its client to come back.
    pub lingering: bool,
}

impl Runtime {
    /// Without resources.
    pub fn new(client: ClientId) -> Self {
        Self { client, queue: Mutex::default(), resources: Mutex::default() }
    }

    /// Queues an effect; the caller holds the table's lock.
    pub fn push(&self, effect: Effect) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(effect);
    }

    /// Carries out what is queued.
    pub fn work(&self, shared: &Arc<Shared>) {
        let mut resources = self.lock();
        loop {
            // Not in the loop's head: the lock must not be held while an effect is carried out.
            let next = self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(effect) = next else { break };
            tracing::debug!(client = %self.client, ?effect, "effect");
            resources.carry_out(effect, self.client, shared);
        }
        let lingering = resources.linger_until.is_some();
        drop(resources);
        if lingering {
            // Only now: whoever looks must find the resources free.
            shared.event(Event::LookAgain);
        }
    }

    /// Why a run could not start, if it could not.
    pub fn app_failure(&self, run: AppRun) -> Option<ApiError> {
        let resources = self.lock();
        resources.app_failure.as_ref().filter(|(failed, _)| *failed == run).map(|(_, error)| error.clone())
    }

    /// Why a stream could not start, if it could not.
    pub fn take_stream_failure(&self, session: SessionId) -> Option<ApiError> {
        self.lock().stream_failure.take_if(|(failed, _)| *failed == session).map(|(_, error)| error)
    }

    /// Drops the output if its time is over; says when to ask again, and whether anything is left to keep.
    pub fn linger(&self, now: Timestamp) -> (Option<Timestamp>, bool) {
        // Busy means in use; another look is cheap.
        let Ok(mut resources) = self.resources.try_lock() else { return (Some(now + BUSY_PAUSE), true) };
        if resources.linger_until.is_some_and(|until| until <= now) {
            resources.linger_until = None;
            resources.output = None;
            tracing::debug!(client = %self.client, "the output is gone");
        }
        let empty = resources.output.is_none() && resources.app.is_none() && resources.stream.is_none();
        (resources.linger_until, !empty)
    }

    /// For the status; `None` while an effect is being carried out.
    pub fn view(&self) -> Option<RuntimeView> {
        let resources = self.resources.try_lock().ok()?;
        Some(RuntimeView {
            mode: resources.output.as_ref().map(|output| output.mode),
            stats: resources.stream.as_ref().map(|(_, stream)| stream.stats().snapshot()),
            misfits: resources.stream.as_ref().map_or(0, |(_, stream)| stream.misfits()),
            lingering: resources.linger_until.is_some(),
        })
    }

    /// Drops everything: the host stops.
    pub fn clear(&self) {
        *self.lock() = Resources::default();
    }

    fn lock(&self) -> MutexGuard<'_, Resources> {
        self.resources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resources {
    fn carry_out(&mut self, effect: Effect, client: ClientId, shared: &Arc<Shared>) {
        match effect {
            Effect::StartApp { app, run, .. } => {
                self.app_failure = None;
                if let Err(error) = self.start_app(app, run, shared) {
                    tracing::warn!(%client, error = %error.message, "the app could not be started");
                    self.app_failure = Some((run, error));
                }
            }
            Effect::StartStream { session } => {
                if let Err(error) = self.start_stream(session, shared) {
                    tracing::warn!(%client, error = %error.message, "the stream could not be started");
                    self.stream_failure = Some((session, error));
                }
            }
            Effect::SendVideo { session } => {
                if let Some((_, stream)) = self.stream.as_ref().filter(|(id, _)| *id == session) {
                    stream.open();
                    tracing::info!(%client, %session, "streaming");
                }
            }
            // Sound comes with a later version; clients do not mind its absence.
            Effect::SendAudio { .. } => {}
            Effect::TerminateClient { session, termination } => {
                shared.control().terminate(session, termination);
            }
            Effect::StopStream { session, reason, .. } => {
                shared.control().release_input(session);
                if let Some((_, stream)) = self.stream.take_if(|(id, _)| *id == session) {
                    let counts = stream.stats().snapshot();
                    match stream.stop().filter(|source| !source.is_closed()) {
                        Some(source) => {
                            if let Some(output) = &mut self.output {
                                output.source = Some(source);
                            }
                        }
                        // The compositor died: the next launch gets another.
                        None => self.output = None,
                    }
                    tracing::info!(%client, %session, %reason, frames = counts.frames, "stream ended");
                }
            }
            Effect::Forget { session } => {
                shared.control().forget(session);
                shared.forget(session);
            }
            Effect::EndApp { run, .. } => {
                if let Some((_, app)) = self.app.take_if(|(id, _)| *id == run) {
                    drop(app);
                    tracing::info!(%client, "app ended by the host");
                }
            }
            Effect::Ended { run, .. } => {
                // An app that ended by itself is still held here.
                drop(self.app.take_if(|(id, _)| *id == run));
                let linger = Duration::from_secs(u64::from(shared.config().display.linger_seconds));
                if self.output.is_some() {
                    self.linger_until = Some(clock::now() + linger);
                }
            }
        }
    }

    fn start_app(
        &mut self,
        app: lumen_gamestream::applist::AppId,
        run: AppRun,
        shared: &Arc<Shared>,
    ) -> Result<(), ApiError> {
        let config = shared.config();
        let entry = config
            .apps
            .iter()
            .find(|entry| entry.id.as_i32() as u32 == app.as_u32())
            .ok_or_else(|| ApiError::new(404, "The host does not have this app"))?;
        let launch = crate::app_launch(entry);
        let connection =
            shared.connection_of_run(run).ok_or_else(|| ApiError::unavailable("The request was replaced"))?;
        let mode = requested_mode(&connection.request)?;
        self.output_at(mode, &launch, shared)?;
        let Some(output) = &self.output else { return Err(ApiError::unavailable("There is no output")) };
        let context = AppContext {
            host_mark: shared.unique_id().to_owned(),
            path: shared.search_path().to_owned(),
            log_dir: shared.log_dir(),
            home: shared.home(),
            output_height: mode.height(),
        };
        let mut env = output.env.clone();
        env.extend(client_environment(mode, &connection));
        let events = shared.clone();
        let running = RunningApp::start(&launch, &env, &context, move || events.event(Event::AppEnded(run)))
            .map_err(|error| ApiError::unavailable(error.to_string()))?;
        self.app = Some((run, running));
        self.linger_until = None;
        Ok(())
    }

    /// Makes sure that there is an output at `mode`.
    fn output_at(&mut self, mode: Mode, launch: &AppLaunch, shared: &Shared) -> Result<(), ApiError> {
        if let Some(output) = &mut self.output {
            if output.mode == mode {
                return Ok(());
            }
            // The app lives in this output's compositor, so the output changes where it can.
            match output.set_mode.as_ref().map(|set_mode| set_mode(mode)) {
                Some(Ok(())) => {
                    output.mode = mode;
                    return Ok(());
                }
                // Another output would cost the app.
                Some(Err(error)) if self.app.is_some() => {
                    return Err(ApiError::unavailable(format!("The output cannot change its mode: {error}")));
                }
                Some(Err(error)) => tracing::warn!(%error, "the output keeps its mode; a new one is made"),
                None => {}
            }
        }
        let started = clock::now();
        let VirtualOutput { path: _, source, effective_mode, input, env, set_mode, keepalive } = shared
            .display()
            .create(mode, launch)
            .map_err(|error| ApiError::unavailable(error.to_string()))?;
        let OutputSource::Frames(source) = source;
        let took = clock::now().since(started);
        tracing::info!(asked = %mode, effective = %effective_mode, ?took, "output made");
        self.output = Some(Output {
            mode: effective_mode,
            source: Some(source),
            input,
            env,
            set_mode,
            _keepalive: keepalive,
        });
        Ok(())
    }

    fn start_stream(&mut self, session: SessionId, shared: &Arc<Shared>) -> Result<(), ApiError> {
        let (Some(connection), Some(parameters)) = (shared.connection(session), shared.parameters(session))
        else {
            return Err(ApiError::unavailable("The request was replaced"));
        };
        let mode = announced_mode(&parameters)?;
        self.output_at(mode, &AppLaunch::default(), shared)?;
        let Some(output) = &mut self.output else { return Err(ApiError::unavailable("There is no output")) };
        let source =
            output.source.take().ok_or_else(|| ApiError::unavailable("The output's pictures are in use"))?;

        let config = shared.config();
        let fec_percent = u8::try_from(config.video.fec_percent).unwrap_or(u8::MAX);
        let mut encoder = encoder_config(&parameters, fec_percent);
        encoder.qp_floor = config.video.qp_floor;
        encoder.threads = config.video.threads.unwrap_or(0);
        encoder.preset = shared.preset_for(&encoder);
        let packets = packetizer_config(&parameters, &connection.request.key, fec_percent);
        let settings = StreamSettings { fec_percent, idle_fps: config.video.idle_fps };
        let route = shared.route(session).unwrap_or_default();
        let events = shared.clone();
        let ended = move |reason: crate::stream::pipeline::PipelineEnd| {
            tracing::warn!(%session, %reason, "the stream cannot go on");
            events.event(Event::StreamFailed(session, reason.termination()));
        };
        let place = (shared.video_port(), route);
        let stream = match Stream::prepare(source, &encoder, packets, &settings, place, ended) {
            Ok(stream) => stream,
            Err((error, source)) => {
                output.source = Some(source);
                return Err(ApiError::unavailable(error.to_string()));
            }
        };
        let legacy = !parameters.client_features.contains(ClientFeatures::SESSION_ID);
        let accept = Accept {
            keyboard: config.input.keyboard,
            pointer: config.input.pointer,
            touch: config.input.touch,
        };
        shared.control().admit(
            session,
            Admission {
                connect_data: connection.connect_data,
                legacy_address: legacy.then_some(connection.peer),
                cipher: ControlCipher::new(&connection.request.key, parameters.control),
                mapper: Mapper::new(output.input.clone(), accept),
                idr: stream.idr_handle(),
                stats: stream.stats(),
            },
        );
        tracing::info!(
            %session, %mode, codec = %encoder.codec, preset = ?encoder.preset, kbps = encoder.bitrate_bps / 1000,
            encrypted = packets_encrypted(&parameters), "stream ready"
        );
        self.stream = Some((session, stream));
        Ok(())
    }
}

fn packets_encrypted(parameters: &StreamParameters) -> bool {
    parameters.encryption.contains(lumen_gamestream::sdp::Encryption::VIDEO)
}

/// The mode of a launch; ANNOUNCE has the last word, so one that is left open starts at 60 Hz.
pub fn requested_mode(request: &LaunchRequest) -> Result<Mode, ApiError> {
    const DEFAULT_REFRESH_MHZ: u32 = 60_000;
    let (width, height, refresh) = match &request.mode {
        Some(mode) => (mode.width, mode.height, mode.refresh_mhz.unwrap_or(DEFAULT_REFRESH_MHZ)),
        None => (1920, 1080, DEFAULT_REFRESH_MHZ),
    };
    Mode::new(width, height, refresh).map_err(|error| ApiError::bad_request(error.to_string()))
}

/// The mode that ANNOUNCE fixed.
pub fn announced_mode(parameters: &StreamParameters) -> Result<Mode, ApiError> {
    Mode::new(parameters.width, parameters.height, parameters.refresh_mhz())
        .map_err(|error| ApiError::bad_request(error.to_string()))
}

/// What an app may want to know of the client.
fn client_environment(mode: Mode, connection: &Connection) -> Vec<(String, String)> {
    vec![
        ("LUMEN_CLIENT_WIDTH".into(), mode.width().to_string()),
        ("LUMEN_CLIENT_HEIGHT".into(), mode.height().to_string()),
        ("LUMEN_CLIENT_REFRESH_MHZ".into(), mode.refresh_mhz().to_string()),
        ("LUMEN_CLIENT_ADDRESS".into(), connection.peer.to_string()),
    ]
}
