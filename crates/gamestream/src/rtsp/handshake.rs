//! The handshake of one launch: what each request is answered with and what it means (protocol text §5.4).

use super::message::{Request, Response};
use super::seal::Seal;
use super::{Incoming, RtspError};
use crate::crypto::SessionKey;
use crate::ping::PingPayload;
use crate::sdp::{AudioQuality, HostFeatures, StreamParameters};
use std::net::IpAddr;

/// UDP ports, as SETUP tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamPorts {
    /// Video.
    pub video: u16,
    /// Control (ENet).
    pub control: u16,
    /// Audio.
    pub audio: u16,
}

/// What a handshake needs to know.
#[derive(Clone, Debug)]
pub struct HandshakeConfig {
    /// The launch's key if its URL was `rtspenc://`; plain messages are then refused, and sealed ones otherwise.
    pub seal: Option<SessionKey>,
    /// Where the launch came from; plain messages are taken from there only.
    pub peer: IpAddr,
    /// What is offered.
    pub features: HostFeatures,
    /// Where the streams are.
    pub ports: StreamPorts,
    /// Handed out for video and audio.
    pub ping_payload: PingPayload,
    /// Handed out for control.
    pub connect_data: u32,
    /// Handed out as `Session`: letters and digits.
    pub token: String,
}

/// What a request means to the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RtspEvent {
    /// ANNOUNCE: what the client chose. The host may still refuse by [`Response::refused`].
    Announced(Box<StreamParameters>),
    /// PLAY: streams may flow.
    Play,
    /// TEARDOWN: the client leaves.
    Teardown,
}

/// An answered request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// What it means, for requests that mean something.
    pub event: Option<RtspEvent>,
    /// What to answer, before [`Handshake::encode`].
    pub response: Response,
}

/// The server side of one launch's handshake. Takes requests in any order that clients of any age use; only PLAY needs
/// an ANNOUNCE before it.
#[derive(Debug)]
pub struct Handshake {
    config: HandshakeConfig,
    seal: Option<Seal>,
    stereo: AudioQuality,
    announced: Option<StreamParameters>,
    played: bool,
}

impl Handshake {
    /// For a launch that was just answered.
    pub fn new(config: HandshakeConfig) -> Self {
        let seal = config.seal.as_ref().map(Seal::new);
        Self { config, seal, stereo: AudioQuality::High, announced: None, played: false }
    }

    /// Takes a message that came from `peer`.
    ///
    /// # Errors
    /// [`RtspError::NotOpened`], [`RtspError::WrongFraming`] or [`RtspError::Nobody`] when it belongs to another launch
    /// or to none; [`RtspError::Malformed`] and its like when what was sealed is no request.
    pub fn receive(&mut self, incoming: &Incoming, peer: IpAddr) -> Result<Exchange, RtspError> {
        let opened;
        let request = match (incoming, &mut self.seal) {
            (Incoming::Plain(request), None) => {
                if peer.to_canonical() != self.config.peer.to_canonical() || !self.session_fits(request) {
                    return Err(RtspError::Nobody);
                }
                request
            }
            (Incoming::Sealed(message), Some(seal)) => {
                opened = Request::parse(&seal.open(message)?)?;
                &opened
            }
            _ => return Err(RtspError::WrongFraming),
        };
        Ok(self.answer(request))
    }

    /// The bytes of a response. To be called once for each [`Exchange`], before the next message is received.
    pub fn encode(&mut self, response: &Response) -> Vec<u8> {
        let bytes = response.to_bytes();
        match &mut self.seal {
            Some(seal) => seal.seal(&bytes),
            None => bytes,
        }
    }

    fn answer(&mut self, request: &Request) -> Exchange {
        let ok = Response::ok(request.cseq());
        if !self.session_fits(request) {
            return Exchange { event: None, response: ok.refused(454, "Session Not Found") };
        }
        if let Some(stereo) = stereo_quality(request) {
            self.stereo = stereo;
        }
        let (event, response) = match request.method.as_str() {
            "OPTIONS" => {
                let methods = "OPTIONS, DESCRIBE, SETUP, ANNOUNCE, PLAY, TEARDOWN";
                (None, ok.header("Public", methods))
            }
            "DESCRIBE" => {
                let body = self.config.features.describe();
                (None, ok.header("Content-Type", "application/sdp").body(body))
            }
            "SETUP" => (None, self.setup(&request.target, ok)),
            "ANNOUNCE" => self.announce(&request.body, ok),
            "PLAY" => self.play(ok),
            "TEARDOWN" => (Some(RtspEvent::Teardown), ok),
            _ => (None, ok.refused(501, "Not Implemented")),
        };
        Exchange { event, response }
    }

    /// Clients name the session from the first SETUP's reply on.
    fn session_fits(&self, request: &Request) -> bool {
        let session = request.header("Session").and_then(|session| session.split(';').next());
        session.is_none_or(|session| session.trim() == self.config.token)
    }

    fn setup(&self, target: &str, ok: Response) -> Response {
        let ports = self.config.ports;
        let stream = target.split_once('=').map_or("", |(_, stream)| stream);
        let ping = ("X-SS-Ping-Payload", self.config.ping_payload.to_string());
        let (port, (name, value)) = match stream.split('/').next().unwrap_or_default() {
            "audio" => (ports.audio, ping),
            "video" => (ports.video, ping),
            "control" => (ports.control, ("X-SS-Connect-Data", self.config.connect_data.to_string())),
            _ => return ok.refused(404, "Not Found"),
        };
        ok.header("Session", format!("{};timeout = 90", self.config.token))
            .header("Transport", format!("server_port={port}"))
            .header(name, value)
    }

    fn announce(&mut self, body: &[u8], ok: Response) -> (Option<RtspEvent>, Response) {
        let parameters = match StreamParameters::parse(body, &self.config.features, self.stereo) {
            Ok(parameters) => parameters,
            Err(error) => return (None, ok.refused(error.status(), &error.to_string())),
        };
        match &self.announced {
            // Asked again because the answer got lost.
            Some(known) if *known == parameters => (None, ok),
            Some(_) => (None, ok.refused(455, "Method Not Valid in This State")),
            None => {
                self.announced = Some(parameters.clone());
                (Some(RtspEvent::Announced(Box::new(parameters))), ok)
            }
        }
    }

    /// Older clients send a PLAY for each stream: the first counts.
    fn play(&mut self, ok: Response) -> (Option<RtspEvent>, Response) {
        if self.announced.is_none() {
            return (None, ok.refused(455, "Method Not Valid in This State"));
        }
        let first = !std::mem::replace(&mut self.played, true);
        (first.then_some(RtspEvent::Play), ok)
    }
}

/// Stereo quality is signalled by the `Host` header alone: `0.0.0.0` is normal, any other is high (protocol text §5.4).
fn stereo_quality(request: &Request) -> Option<AudioQuality> {
    let host = request.header("Host")?;
    Some(if host == "0.0.0.0" { AudioQuality::Normal } else { AudioQuality::High })
}
