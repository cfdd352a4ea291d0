//! The stream of a session.

use super::{App, Resources, announced_mode};
use crate::control_stream::Admission;
use crate::event::{self, Event};
use crate::sound::Wanted;
use crate::stream::pipeline::News;
use crate::stream::{PictureSettings, Stream, StreamSettings, encoder_config, packetizer_config};
use crate::supervisor::{Routes, Shared};
use lumen_encode::View;
use lumen_gamestream::api::ApiError;
use lumen_gamestream::control::ControlCipher;
use lumen_gamestream::sdp::{ClientFeatures, StreamParameters};
use lumen_gamestream::session::{ClientId, SessionId, StopReason};
use lumen_input::{Accept, Mapper};
use lumen_media::AppLaunch;
use std::sync::Arc;

impl Resources {
    pub(super) fn start_stream(
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
        let input = self.input.clone();
        input.view(View::FULL);
        let news = move |news: News| {
            let event = match news {
                News::Viewed(view) => return input.view(view),
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

    pub(super) fn stop_stream(
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

fn packets_encrypted(parameters: &StreamParameters) -> bool {
    parameters.encryption.contains(lumen_gamestream::sdp::Encryption::VIDEO)
}
