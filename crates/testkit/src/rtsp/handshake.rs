//! The seven requests in order and what their answers negotiate (protocol text §5.4, §5.5).
use std::net::IpAddr;

use super::RtspError;
use super::announce::{Announcement, announce_body};
use super::response::{Response, number};
use crate::request::{Generation, StreamRequest};

const SINCE_EPOCH: &str = "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
const CLIENT_TRANSPORT: &str = "Transport: unicast;X-GS-ClientPort=50000-50001\r\n";

/// Where `sessionUrl0` points (protocol text §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `sessionUrl0` verbatim.
    pub url: String,
    /// Port: the integer after the last colon; 48010 if there is none.
    pub port: u16,
    /// `rtspenc://`.
    pub encrypted: bool,
}

impl Target {
    /// Reads `sessionUrl0` as clients do.
    pub fn parse(url: &str) -> Target {
        let digits = url.rsplit(':').next().unwrap_or("");
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        let port = digits[..end].parse().unwrap_or(48_010);
        Target { url: url.to_owned(), port, encrypted: url.contains("rtspenc://") }
    }
}

/// What DESCRIBE offers (protocol text §5.5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offer {
    /// `x-ss-general.featureFlags`.
    pub feature_flags: u32,
    /// `x-ss-general.encryptionSupported`.
    pub encryption_supported: u32,
    /// `x-ss-general.encryptionRequested`.
    pub encryption_requested: u32,
    /// `refPicInvalidation` line present.
    pub invalidation: bool,
    /// HEVC line present.
    pub hevc: bool,
    /// AV1 line present.
    pub av1: bool,
    /// Digits of all `surround-params`, in order.
    pub surround: Vec<String>,
    /// The whole body.
    pub text: String,
}

impl Offer {
    /// Substring searches, as clients do.
    pub fn parse(body: &str) -> Offer {
        let value = |name: &str| body.find(name).and_then(|at| number(&body[at + name.len()..])).unwrap_or(0);
        let surround = body
            .match_indices("surround-params=")
            .map(|(at, key)| body[at + key.len()..].chars().take_while(char::is_ascii_digit).collect())
            .collect();
        Offer {
            feature_flags: value("x-ss-general.featureFlags:"),
            encryption_supported: value("x-ss-general.encryptionSupported:"),
            encryption_requested: value("x-ss-general.encryptionRequested:"),
            invalidation: body.contains("x-nv-video[0].refPicInvalidation:1"),
            hevc: body.contains("sprop-parameter-sets=AAAAAU"),
            av1: body.contains("AV1/90000"),
            surround,
            text: body.to_owned(),
        }
    }
}

/// What the whole handshake negotiated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// The host's offer.
    pub offer: Offer,
    /// What the client announced.
    pub announcement: Announcement,
    /// `Session` token.
    pub session: String,
    /// UDP port of audio.
    pub audio_port: u16,
    /// UDP port of video.
    pub video_port: u16,
    /// UDP port of control.
    pub control_port: u16,
    /// Ping payload of audio; `None` means the 4-byte PING.
    pub audio_ping: Option<[u8; 16]>,
    /// Ping payload of video.
    pub video_ping: Option<[u8; 16]>,
    /// ENet connect data.
    pub connect_data: u32,
}

/// One request to send on its own connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Method.
    pub method: &'static str,
    /// The whole text.
    pub text: String,
}

/// Sans-IO handshake: [`Handshake::next_request`], send it, [`Handshake::answer`], until there is none.
#[derive(Debug)]
pub struct Handshake {
    request: StreamRequest,
    generation: Generation,
    target: Target,
    address: IpAddr,
    step: usize,
    negotiated: Negotiated,
}

/// Step after which the audio pings begin.
const AUDIO_SET_UP: usize = 3;
const METHODS: [&str; 7] = ["OPTIONS", "DESCRIBE", "SETUP", "SETUP", "SETUP", "ANNOUNCE", "PLAY"];

impl Handshake {
    /// `address` is the host's, as the client sees it.
    pub fn new(request: &StreamRequest, generation: Generation, target: Target, address: IpAddr) -> Self {
        let offer = Offer::default();
        let announcement = Announcement::decide(request, &offer, generation);
        Handshake {
            request: request.clone(),
            generation,
            target,
            address,
            step: 0,
            negotiated: Negotiated {
                offer,
                announcement,
                session: String::new(),
                audio_port: 48_000,
                video_port: 47_998,
                control_port: 47_999,
                audio_ping: None,
                video_ping: None,
                connect_data: 0,
            },
        }
    }

    /// The next request; `None` after PLAY was answered.
    pub fn next_request(&self) -> Option<Request> {
        let method = METHODS.get(self.step)?;
        // High stereo quality is told by the URL and Host alone.
        let high_quality = self.request.audio.high_quality;
        let (url, host) = match high_quality {
            true => (self.target.url.clone(), self.address.to_string()),
            false => (format!("rtsp://0.0.0.0:{}", self.target.port), "0.0.0.0".to_owned()),
        };
        let session = match self.negotiated.session.as_str() {
            "" => String::new(),
            token => format!("Session: {token}\r\n"),
        };
        let setup = |stream: &str| (stream.to_owned(), format!("{session}{CLIENT_TRANSPORT}{SINCE_EPOCH}"));
        let mut body = String::new();
        let (uri, extra) = match self.step {
            0 => (url, String::new()),
            1 => (url, format!("Accept: application/sdp\r\n{SINCE_EPOCH}")),
            2 => setup("streamid=audio/0/0"),
            3 => setup("streamid=video/0/0"),
            4 => setup("streamid=control/13/0"),
            5 => {
                body = announce_body(
                    &self.request,
                    &self.negotiated.announcement,
                    self.generation,
                    self.address,
                    self.negotiated.video_port,
                );
                let length = body.len();
                let extra = format!("{session}Content-type: application/sdp\r\nContent-length: {length}\r\n");
                ("streamid=control/13/0".to_owned(), extra)
            }
            _ => ("/".to_owned(), session),
        };
        let sequence = self.step + 1;
        let text = format!(
            "{method} {uri} RTSP/1.0\r\nCSeq: {sequence}\r\nX-GS-ClientVersion: 14\r\nHost: {host}\r\n{extra}\r\n{body}"
        );
        Some(Request { method, text })
    }

    /// Takes the whole answer to the request that [`Handshake::next_request`] gave.
    pub fn answer(&mut self, bytes: &[u8]) -> Result<(), RtspError> {
        let request = METHODS.get(self.step).copied().unwrap_or("PLAY");
        let malformed = |problem: String| RtspError::Malformed { request, problem };
        let response = Response::parse(bytes).map_err(malformed)?;
        if response.code != 200 {
            return Err(RtspError::Code { request, code: response.code });
        }
        let expected = (self.step + 1).to_string();
        if response.header("CSeq").is_some_and(|sequence| sequence != expected) {
            return Err(malformed(format!("CSeq is not {expected}")));
        }
        match self.step {
            1 if response.body.is_empty() => return Err(malformed("an empty DESCRIBE body".to_owned())),
            1 => {
                self.negotiated.offer = Offer::parse(&response.body);
                self.negotiated.announcement =
                    Announcement::decide(&self.request, &self.negotiated.offer, self.generation);
            }
            2..=4 => self.set_up(&response).map_err(malformed)?,
            _ => {}
        }
        self.step += 1;
        Ok(())
    }

    /// True once audio pings have to be sent: from the audio SETUP on.
    pub fn audio_is_set_up(&self) -> bool {
        self.step >= AUDIO_SET_UP
    }

    /// What was negotiated so far.
    pub fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    fn set_up(&mut self, response: &Response) -> Result<(), String> {
        let known = &mut self.negotiated;
        if known.session.is_empty() {
            let session = response.header("Session").ok_or("no Session header")?;
            known.session = session.split(';').next().unwrap_or("").to_owned();
            if known.session.is_empty() {
                return Err("an empty Session token".to_owned());
            }
        }
        let transport = response.header("Transport").ok_or("no Transport header")?;
        let port = transport
            .split_once("server_port=")
            .and_then(|(_, rest)| number(rest))
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port != 0);
        // Clients of the older generation know neither payload nor connect data.
        let current = self.generation == Generation::Current;
        let ping = response
            .header("X-SS-Ping-Payload")
            .filter(|_| current)
            .and_then(|payload| <[u8; 16]>::try_from(payload.as_bytes()).ok())
            .filter(|payload| payload[0] != 0);
        match self.step {
            2 => (known.audio_port, known.audio_ping) = (port.unwrap_or(48_000), ping),
            3 => (known.video_port, known.video_ping) = (port.unwrap_or(47_998), ping),
            _ => {
                known.control_port = port.unwrap_or(47_999);
                let data = response.header("X-SS-Connect-Data").filter(|_| current);
                known.connect_data = data.and_then(number).unwrap_or(0);
            }
        }
        Ok(())
    }
}
