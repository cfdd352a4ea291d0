//! What one client's session holds: its output, its app, its stream. Carries out the effects of the session table; the
//! life of an output is drawn in `docs/design/outputs.md`.

mod apps;
mod gamepads;
mod outputs;
mod streams;

pub use gamepads::GamepadsView;
pub use outputs::{announced_mode, requested_mode};

use crate::apps::RunningApp;
use crate::event::Event;
use crate::output::{InputSwitch, Output};
use crate::recovery::Recovery;
use crate::runtime::{OutputView, RuntimeView, Work};
use crate::sound::SessionSound;
use crate::stream::Stream;
use crate::stream::pipeline::HOST_FAILURE;
use crate::supervisor::Shared;
use lumen_gamestream::api::ApiError;
use lumen_gamestream::session::{AppRun, ClientId, Effect, SessionId};
use lumen_input::pads::Pads;
use lumen_media::{AppLaunch, Timestamp};
use std::sync::Arc;

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
            gamepads: self.pads.as_ref().map(GamepadsView::of),
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
                    shared.put_threads_first();
                    tracing::info!(%client, %session, "streaming");
                }
            }
            Effect::SendAudio { session } => {
                self.sound.open(session);
                shared.put_threads_first();
            }
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
}
