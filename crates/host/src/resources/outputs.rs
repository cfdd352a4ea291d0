//! The output of a session: made, changed, lost and made again.

use super::{App, Resources};
use crate::event::Event;
use crate::output::Output;
use crate::recovery::{self, Recovery};
use crate::supervisor::Shared;
use lumen_gamestream::api::ApiError;
use lumen_gamestream::launch::LaunchRequest;
use lumen_gamestream::sdp::StreamParameters;
use lumen_gamestream::session::{ClientId, SessionId};
use lumen_media::{AppLaunch, Mode, clock};
use std::sync::Arc;
use std::time::Duration;

/// How long an output that another one replaces stays when that shows nothing.
const RETIRING: Duration = Duration::from_secs(3);

impl Resources {
    /// Makes sure that there is an output that serves `mode`; says whether one had to be made, for `launch`.
    pub(super) fn output_at(
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
        let made = Output::make(shared.display(), &shared.capture_config(), mode, launch())
            .map_err(|error| ApiError::unavailable(error.to_string()))?;
        if let Some(old) = self.output.replace(made)
            && let Some((older, _)) = self.retiring.replace((old, clock::now() + RETIRING))
        {
            shared.release(older);
        }
        Ok(true)
    }

    /// Nobody watches the desktop any more.
    pub(super) fn let_sleep(&mut self, shared: &Shared) {
        if let Some(awake) = self.awake.take() {
            shared.release(awake);
        }
    }

    /// Drops the output soon.
    pub(super) fn release_output(&mut self, shared: &Shared) {
        if let Some(output) = self.output.take() {
            shared.release(output);
        }
    }

    /// A stream's pictures ended: the output is made again while the stream repeats the last picture.
    pub(super) fn lost(&mut self, session: SessionId, hung: bool, client: ClientId, shared: &Arc<Shared>) {
        if self.stream.as_ref().is_none_or(|(id, _)| *id != session) || self.recovery.is_some() {
            return;
        }
        // The next desktop knows nothing of what is held here, so nothing must count as held.
        shared.control().release_input(session);
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

    pub(super) fn recovered(
        &mut self,
        session: SessionId,
        mut output: Output,
        client: ClientId,
        shared: &Arc<Shared>,
    ) {
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
        shared.put_threads_first();
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
