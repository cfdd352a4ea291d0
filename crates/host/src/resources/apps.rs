//! The app of a session.

use super::{App, Resources, Start, requested_mode};
use crate::apps::{AppContext, RunningApp};
use crate::displays;
use crate::event::{self, Event};
use crate::processes::{HOST_MARK, SESSION_MARK};
use crate::supervisor::Shared;
use lumen_gamestream::api::ApiError;
use lumen_gamestream::applist::AppId;
use lumen_gamestream::session::{AppRun, ClientId, Connection};
use lumen_media::{AppLaunch, Mode, clock};
use std::sync::Arc;
use std::time::Duration;

impl Resources {
    pub(super) fn start_app(
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
    pub(super) fn start_program(&self, run: AppRun, shared: &Arc<Shared>) -> Result<App, ApiError> {
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
    pub(super) fn app_ended(&mut self, run: AppRun, shared: &Shared) {
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

    pub(super) fn ended(&mut self, run: AppRun, shared: &Shared) {
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

/// What an app may want to know of the client.
fn client_environment(mode: Mode, connection: &Connection) -> Vec<(String, String)> {
    vec![
        ("LUMEN_CLIENT_WIDTH".into(), mode.width().to_string()),
        ("LUMEN_CLIENT_HEIGHT".into(), mode.height().to_string()),
        ("LUMEN_CLIENT_REFRESH_MHZ".into(), mode.refresh_mhz().to_string()),
        ("LUMEN_CLIENT_ADDRESS".into(), connection.peer.to_string()),
    ]
}
