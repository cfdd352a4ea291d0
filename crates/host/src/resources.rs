//! What one client's session holds: its output, its app, its stream. Carries out the effects of the session table; the
//! life of an output is drawn in `docs/design/outputs.md`.

use crate::apps::{AppContext, RunningApp};
use crate::control_stream::Admission;
use crate::displays;
use crate::event::{self, Event};
use crate::output::{InputSwitch, Output};
use crate::processes::{HOST_MARK, SESSION_MARK};
use crate::recovery::{self, Recovery};
use crate::runtime::{OutputView, RuntimeView, Work};
use crate::sound::{SessionSound, Wanted};
use crate::stream::pipeline::{HOST_FAILURE, News};
use crate::stream::{PictureSettings, Stream, StreamSettings, encoder_config, packetizer_config};
use crate::supervisor::{Routes, Shared};
use lumen_config::Gamepads;
use lumen_gamestream::api::ApiError;
use lumen_gamestream::applist::AppId;
use lumen_gamestream::control::ControlCipher;
use lumen_gamestream::launch::LaunchRequest;
use lumen_gamestream::sdp::{ClientFeatures, StreamParameters};
use lumen_gamestream::session::{AppRun, ClientId, Connection, Effect, SessionId, StopReason};
use lumen_input::pads::{PadChoice, PadInput, PadKind, Pads, PadsConfig};
use lumen_input::{Accept, Mapper};
use lumen_media::{AppLaunch, Mode, Timestamp, clock};
use std::sync::Arc;
use std::time::Duration;

/// How long an output that another one replaces stays when that shows nothing.
const RETIRING: Duration = Duration::from_secs(3);

/// The app of a session, as far as this host runs it.
enum App {
    /// Processes of ours, which end with this.
    Process { _running: RunningApp },
    /// It runs inside the output's compositor.
    Contained,
    /// The desktop itself: nothing was started.
    Desktop,
    /// It ended together with its desktop, which may come back.
    Held,
}

/// Whether who carries out work can wait for an app to end, which may take seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hurry {
    /// A request's thread, which answers when the app is gone.
    None,
    /// The supervisor's thread, which all sessions need: apps and their outputs end elsewhere.
    Supervisor,
}

/// What an app is started with.
#[derive(Clone)]
struct Start {
    launch: AppLaunch,
    /// About the client.
    env: Vec<(String, String)>,
    height: u32,
}

/// Everything that a client's session owns.
#[derive(Default)]
pub struct Resources {
    // In the order in which they go: the stream reads the output, the app lives on it.
    recovery: Option<Recovery>,
    stream: Option<(SessionId, Stream)>,
    app: Option<(AppRun, App)>,
    /// After the app, which would else go on aloud for a moment.
    sound: SessionSound,
    output: Option<Output>,
    /// The output before, and when it goes at the latest.
    retiring: Option<(Output, Timestamp)>,
    input: Arc<InputSwitch>,
    /// The client's gamepads; they outlive a connection if the client asked for that.
    pads: Option<Pads>,
    /// Keeps the desktop awake while a stream shows it.
    awake: Option<Box<dyn Send>>,
    start: Option<Start>,
    /// When an output without a session goes.
    linger_until: Option<Timestamp>,
    /// Why the newest run could not start, for the requests that wait for it.
    app_failure: Option<(AppRun, ApiError)>,
    /// Why the newest stream could not start, for the request that waits for it.
    stream_failure: Option<(SessionId, ApiError)>,
}

impl Resources {
    /// Carries out one piece of work.
    pub fn carry_out(&mut self, work: Work, client: ClientId, hurry: Hurry, shared: &Arc<Shared>) {
        match work {
            Work::Effect(effect) => self.effect(effect, client, hurry, shared),
            Work::AppEnded(run) => self.app_ended(run, shared),
            Work::Lost(session, hung) => self.lost(session, hung, client, shared),
            Work::Showing(session) => {
                if self.stream.as_ref().is_some_and(|(id, _)| *id == session)
                    && let Some((old, _)) = self.retiring.take()
                {
                    tracing::debug!(%client, "the output before is retired");
                    shared.release(old);
                }
            }
            Work::Evicted => {
                self.linger_until = None;
                self.pads = None;
                self.release_output(shared);
            }
            Work::Recovered(session, output) => self.recovered(session, *output, client, shared),
        }
    }

    /// When [`Resources::let_go`] has something to do.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let recovery = self.recovery.as_ref().filter(|recovery| !recovery.failed);
        let deadlines = [
            self.linger_until,
            self.retiring.as_ref().map(|(_, until)| *until),
            recovery.map(|recovery| recovery.deadline),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Drops what has had its time.
    pub fn let_go(&mut self, now: Timestamp, client: ClientId, shared: &Shared) {
        if self.linger_until.is_some_and(|until| until <= now) {
            self.linger_until = None;
            self.release_output(shared);
            tracing::debug!(%client, "the output is gone");
        }
        if let Some((old, _)) = self.retiring.take_if(|(_, until)| *until <= now) {
            tracing::debug!(%client, "the output before is retired, though the new one shows nothing yet");
            shared.release(old);
        }
        let contained = self.output.as_ref().is_some_and(|output| output.contained().is_some());
        if let Some(recovery) = &mut self.recovery
            && !recovery.failed
            && recovery.deadline <= now
        {
            recovery.failed = true;
            tracing::warn!(%client, "the output could not be made again in time; the stream ends");
            shared.event(Event::StreamFailed(recovery.session, HOST_FAILURE));
            if let Some((run, _)) = self.app.as_ref().filter(|_| contained) {
                shared.event(Event::AppGone(*run));
            }
        }
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.output.is_none()
            && self.retiring.is_none()
            && self.app.is_none()
            && self.stream.is_none()
            && self.recovery.is_none()
    }

    /// Why a run could not start, if it could not.
    pub fn app_failure(&self, run: AppRun) -> Option<ApiError> {
        self.app_failure.as_ref().filter(|(failed, _)| *failed == run).map(|(_, error)| error.clone())
    }

    /// Why a stream could not start, if it could not.
    pub fn take_stream_failure(&mut self, session: SessionId) -> Option<ApiError> {
        self.stream_failure.take_if(|(failed, _)| *failed == session).map(|(_, error)| error)
    }

    /// For the status.
    pub fn view(&self) -> RuntimeView {
        let pipeline = self.stream.as_ref().map(|(_, stream)| stream.pipeline());
        let output = self.output.as_ref().map(|output| OutputView {
            mode: output.effective,
            path: output.path.clone(),
            input: output.input.report(),
            capture: output
                .report()
                .or_else(|| pipeline.map(|pipeline| pipeline.report()))
                .unwrap_or_default(),
        });
        RuntimeView {
            output,
            stats: self.stream.as_ref().map(|(_, stream)| stream.stats().snapshot()),
            misfits: pipeline.map_or(0, |pipeline| pipeline.misfits()),
            scaled: pipeline.map_or(0, |pipeline| pipeline.scaled()),
            sound: self.sound.view(),
            lingering: self.linger_until.is_some(),
            recovering: self.recovery.is_some(),
        }
    }

    fn effect(&mut self, effect: Effect, client: ClientId, hurry: Hurry, shared: &Arc<Shared>) {
        match effect {
            Effect::StartApp { app, run, .. } => {
                self.app_failure = None;
                if let Err(error) = self.start_app(app, run, client, shared) {
                    tracing::warn!(%client, error = %error.message, "the app could not be started");
                    self.app_failure = Some((run, error));
                }
            }
            Effect::StartStream { session } => {
                if let Err(error) = self.start_stream(session, client, shared) {
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
            Effect::SendAudio { session } => self.sound.open(session),
            Effect::TerminateClient { session, termination } => {
                shared.control().terminate(session, termination);
            }
            Effect::StopStream { session, reason, keep_gamepads } => {
                self.stop_stream(session, reason, client, shared);
                match &self.pads {
                    Some(pads) if keep_gamepads => pads.disconnect(),
                    _ => self.unplug(hurry, shared),
                }
            }
            Effect::Forget { session } => {
                shared.control().forget(session);
                shared.forget(session);
            }
            Effect::EndApp { run, .. } => {
                if let Some((_, app)) = self.app.take_if(|(id, _)| *id == run) {
                    let contained = matches!(app, App::Contained);
                    let gone = (app, self.output.take_if(|_| contained));
                    let sound = std::mem::take(&mut self.sound);
                    match hurry {
                        Hurry::None => drop((gone, sound)),
                        Hurry::Supervisor => shared.release((gone, sound)),
                    }
                    tracing::info!(%client, "app ended by the host");
                }
            }
            Effect::Ended { run, .. } => {
                self.unplug(hurry, shared);
                self.ended(run, shared);
            }
        }
    }

    // --- gamepads ---

    /// Where a connection's gamepad input goes; its gamepads are plugged in when the client says so.
    fn pad_input(&mut self, session: SessionId, client: ClientId, shared: &Shared) -> Option<PadInput> {
        let choice = pad_choice(shared.config().input.gamepads)?;
        if self.pads.is_none() {
            // Who looks at a device finds host and client by the beginnings of their ids.
            let host: String = shared.unique_id().chars().take(8).collect();
            let config = PadsConfig { choice, owner: format!("{host}/{client}") };
            self.pads = Pads::start(config)
                .inspect_err(
                    |error| tracing::warn!(%client, %error, "no gamepads: a thread cannot be started"),
                )
                .ok();
        }
        Some(self.pads.as_ref()?.connect(shared.control().sender(session)))
    }

    /// The kernel may take some hundredths of a second per gamepad.
    fn unplug(&mut self, hurry: Hurry, shared: &Shared) {
        let pads = self.pads.take();
        match hurry {
            Hurry::None => drop(pads),
            Hurry::Supervisor => shared.release(pads),
        }
    }

    // --- apps ---

    fn start_app(
        &mut self,
        app: AppId,
        run: AppRun,
        client: ClientId,
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
        let mode = shared.likely_mode(client, requested_mode(&connection.request)?);
        self.sound.prepare(&connection, shared.session_dir());
        let mut env = client_environment(mode, &connection);
        env.extend(self.sound.environment());
        self.output_at(mode, || contained_launch(&launch, &env, shared.unique_id()), shared)?;
        self.start = Some(Start { launch, env, height: mode.height() });
        let app = self.start_program(run, shared)?;
        self.app = Some((run, app));
        self.linger_until = None;
        Ok(())
    }

    /// Starts what [`Resources::start`] says on the output, unless it runs there already.
    fn start_program(&self, run: AppRun, shared: &Arc<Shared>) -> Result<App, ApiError> {
        let (Some(output), Some(start)) = (&self.output, &self.start) else {
            return Err(ApiError::unavailable("There is no output"));
        };
        let events = shared.reporter();
        let ended = move || event::report(&events, Event::AppEnded(run));
        if let Some(app) = output.contained() {
            app.on_end(Box::new(ended));
            return Ok(App::Contained);
        }
        if displays::shows_no_programs(&output.path) {
            tracing::info!(app = start.launch.title, "not started: nothing but the test pattern is shown");
            return Ok(App::Desktop);
        }
        if start.launch.command.is_empty() && !displays::is_builtin(&output.path) {
            return Ok(App::Desktop);
        }
        let context = AppContext {
            host_mark: shared.unique_id().to_owned(),
            path: shared.search_path().to_owned(),
            log_dir: shared.log_dir(),
            home: shared.home(),
            output_height: start.height,
        };
        let env: Vec<_> = output.env.iter().chain(&start.env).cloned().collect();
        RunningApp::start(&start.launch, &env, &context, ended)
            .map(|running| App::Process { _running: running })
            .map_err(|error| ApiError::unavailable(error.to_string()))
    }

    /// An app's end is its session's end, unless it is the desktop that is being made again.
    fn app_ended(&mut self, run: AppRun, shared: &Shared) {
        let lost =
            self.recovery.is_some() || self.stream.as_ref().is_some_and(|(_, s)| s.pipeline().is_lost());
        let desktop = self.start.as_ref().is_some_and(|start| start.launch.command.is_empty());
        match &mut self.app {
            Some((current, app @ App::Process { .. })) if *current == run && lost && desktop => {
                *app = App::Held
            }
            _ => shared.event(Event::AppGone(run)),
        }
    }

    fn ended(&mut self, run: AppRun, shared: &Shared) {
        // An app that ended by itself is still held here.
        let ended = self.app.take_if(|(id, _)| *id == run);
        if let Some((old, _)) = self.retiring.take() {
            shared.release(old);
        }
        if matches!(ended, Some((_, App::Contained))) {
            // Its app was its purpose.
            self.release_output(shared);
        }
        self.start = None;
        shared.release(std::mem::take(&mut self.sound));
        let linger = Duration::from_secs(u64::from(shared.config().display.linger_seconds));
        if self.output.as_ref().is_some_and(|output| !output.lasting) {
            self.linger_until = Some(clock::now() + linger);
        }
    }

    // --- outputs ---

    /// Makes sure that there is an output that serves `mode`; says whether one had to be made, for `launch`.
    fn output_at(
        &mut self,
        mode: Mode,
        launch: impl FnOnce() -> AppLaunch,
        shared: &Shared,
    ) -> Result<bool, ApiError> {
        if self.output.as_ref().is_some_and(Output::is_gone) {
            tracing::info!("the output was lost while nobody looked");
            let contained = matches!(self.app, Some((_, App::Contained)));
            // Here, not later: some desktops know their outputs by name.
            self.output = None;
            if let Some((run, _)) = self.app.as_ref().filter(|_| contained) {
                shared.event(Event::AppGone(*run));
                return Err(ApiError::unavailable("The app's picture is lost, so the app was ended"));
            }
        }
        if let Some(output) = &mut self.output {
            if output.fits(mode) {
                return Ok(false);
            }
            if output.contained().is_some() {
                tracing::info!(has = %output.effective, asked = %mode, "the output contains its app and is scaled");
                return Ok(false);
            }
            // The app lives in this output's compositor, so the output changes where it can.
            match output.change_mode(mode) {
                Some(Ok(())) => return Ok(false),
                // Another output would cost the app.
                Some(Err(error)) if self.app.is_some() => {
                    return Err(ApiError::unavailable(format!("The output cannot change its mode: {error}")));
                }
                Some(Err(error)) => tracing::warn!(%error, "the output keeps its mode; a new one is made"),
                None => {}
            }
        }
        let made = Output::make(shared.display(), &shared.capture_config(), mode, launch(), None)
            .map_err(|error| ApiError::unavailable(error.to_string()))?;
        if let Some(old) = self.output.replace(made)
            && let Some((older, _)) = self.retiring.replace((old, clock::now() + RETIRING))
        {
            shared.release(older);
        }
        Ok(true)
    }

    /// Nobody watches the desktop any more.
    fn let_sleep(&mut self, shared: &Shared) {
        if let Some(awake) = self.awake.take() {
            shared.release(awake);
        }
    }

    /// Drops the output soon.
    fn release_output(&mut self, shared: &Shared) {
        if let Some(output) = self.output.take() {
            shared.release(output);
        }
    }

    /// A stream's pictures ended: the output is made again while the stream repeats the last picture.
    fn lost(&mut self, session: SessionId, hung: bool, client: ClientId, shared: &Arc<Shared>) {
        if self.stream.as_ref().is_none_or(|(id, _)| *id != session) || self.recovery.is_some() {
            return;
        }
        self.input.connect(None);
        self.let_sleep(shared);
        if matches!(self.app, Some((_, App::Contained))) {
            tracing::warn!(%client, %session, "the pictures of a contained app ended");
            self.recovery = Some(Recovery::idle(session, recovery::CONTAINED_LIMIT));
            return;
        }
        tracing::warn!(%client, %session, "the desktop lost the output; it is made again");
        self.recovery = Some(Recovery::start(session, self.output.take(), hung, shared));
    }

    fn recovered(&mut self, session: SessionId, mut output: Output, client: ClientId, shared: &Arc<Shared>) {
        let wanted =
            self.recovery.as_ref().is_some_and(|recovery| recovery.session == session && !recovery.failed);
        let stream = self.stream.as_ref().filter(|(id, _)| wanted && *id == session);
        let (Some((_, stream)), Some(source)) = (stream, output.source.take()) else {
            return shared.release(output);
        };
        if let Err(source) = stream.pipeline().replace(source) {
            output.source = Some(source);
            return shared.release(output);
        }
        self.recovery = None;
        self.input.connect(Some(output.input.clone()));
        self.awake = shared.display().keep_awake(&output.path);
        self.output = Some(output);
        tracing::info!(%client, %session, "the output is back");
        if let Some((run, App::Held)) = self.app {
            match self.start_program(run, shared) {
                Ok(app) => self.app = Some((run, app)),
                Err(error) => {
                    tracing::warn!(%client, error = %error.message, "the app could not be started again");
                    shared.event(Event::AppGone(run));
                }
            }
        }
    }

    // --- streams ---

    fn start_stream(
        &mut self,
        session: SessionId,
        client: ClientId,
        shared: &Arc<Shared>,
    ) -> Result<(), ApiError> {
        let (Some(connection), Some(parameters)) = (shared.connection(session), shared.parameters(session))
        else {
            return Err(ApiError::unavailable("The request was replaced"));
        };
        let mode = announced_mode(&parameters)?;
        shared.remember_mode(client, mode);
        let made = self.output_at(mode, AppLaunch::default, shared)?;
        if made && let Some((run, App::Desktop)) = self.app {
            // Where the desktop went away meanwhile, the built-in one needs its terminal.
            self.app = Some((run, self.start_program(run, shared)?));
        }
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
        let settings = StreamSettings { fec_percent, pictures: PictureSettings::new(&config) };
        let Routes { video: route, audio: sound_route } = shared.routes(session).unwrap_or_default();
        let events = shared.reporter();
        let news = move |news: News| {
            let event = match news {
                News::Lost { hung } => Event::SourceLost(session, hung),
                News::Showing => Event::Showing(session),
                News::Ended(reason) => {
                    tracing::warn!(%session, %reason, "the stream cannot go on");
                    Event::StreamFailed(session, reason.termination())
                }
            };
            event::report(&events, event);
        };
        let place = (shared.video_port(), route);
        let stream = match Stream::prepare(source, &encoder, packets, &settings, place, news) {
            Ok(stream) => stream,
            Err((error, source)) => {
                output.source = Some(source);
                return Err(ApiError::unavailable(error.to_string()));
            }
        };
        self.input.connect(Some(output.input.clone()));
        self.awake = shared.display().keep_awake(&output.path);
        let accept = Accept {
            keyboard: config.input.keyboard,
            pointer: config.input.pointer,
            touch: config.input.touch,
        };
        let pads = self.pad_input(session, client, shared);
        let legacy = !parameters.client_features.contains(ClientFeatures::SESSION_ID);
        shared.control().admit(
            session,
            Admission {
                connect_data: connection.connect_data,
                legacy_address: legacy.then_some(connection.peer),
                cipher: ControlCipher::new(&connection.request.key, parameters.control),
                mapper: Mapper::new(self.input.clone(), accept),
                pads,
                idr: stream.pipeline().idr_handle(),
                stats: stream.stats(),
            },
        );
        tracing::info!(
            %session, %mode, codec = %encoder.codec, preset = ?encoder.preset, kbps = encoder.bitrate_bps / 1000,
            encrypted = packets_encrypted(&parameters), "stream ready"
        );
        self.stream = Some((session, stream));
        let wanted = Wanted {
            session,
            parameters: &parameters,
            host_audio: shared.host_audio(session),
            key: &connection.request,
            gain: config.audio.gain,
        };
        self.sound.start(&wanted, (shared.audio_port(), sound_route), shared.session_dir());
        Ok(())
    }

    fn stop_stream(
        &mut self,
        session: SessionId,
        reason: StopReason,
        client: ClientId,
        shared: &Arc<Shared>,
    ) {
        shared.control().release_input(session);
        self.sound.stop(session);
        let Some((_, stream)) = self.stream.take_if(|(id, _)| *id == session) else { return };
        let recovering = self.recovery.take().is_some();
        self.let_sleep(shared);
        let counts = stream.stats().snapshot();
        match stream.stop().filter(|source| !source.is_closed()) {
            Some(source) => {
                if let Some(output) = &mut self.output {
                    output.source = Some(source);
                }
            }
            // The compositor died: the next launch gets another.
            None => self.release_output(shared),
        }
        tracing::info!(%client, %session, %reason, recovering, frames = counts.frames, "stream ended");
        // What lived on the output is gone with it.
        let gone = match &self.app {
            Some((run, App::Held)) => Some(*run),
            Some((run, App::Contained)) if self.output.is_none() => Some(*run),
            _ => None,
        };
        if let Some(run) = gone {
            shared.event(Event::AppGone(run));
        }
    }
}

/// What a compositor that contains its app is to start: with the same marks and the same environment as any app.
fn contained_launch(launch: &AppLaunch, env: &[(String, String)], host_mark: &str) -> AppLaunch {
    let mut launch = launch.clone();
    let own = std::mem::take(&mut launch.env);
    launch.env = env.to_vec();
    launch.env.extend(own);
    launch.env.push((HOST_MARK.into(), host_mark.to_owned()));
    launch.env.push((SESSION_MARK.into(), uuid::Uuid::new_v4().to_string()));
    launch
}

/// What gamepads become; `None`: there shall be none.
fn pad_choice(gamepads: Gamepads) -> Option<PadChoice> {
    Some(PadChoice::Always(match gamepads {
        Gamepads::Auto => return Some(PadChoice::Auto),
        Gamepads::Off => return None,
        Gamepads::Xbox360 => PadKind::Xbox360,
        Gamepads::XboxOne => PadKind::XboxOne,
        Gamepads::DualSense => PadKind::DualSense,
        Gamepads::DualShock4 => PadKind::DualShock4,
        Gamepads::SwitchPro => PadKind::SwitchPro,
    }))
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
