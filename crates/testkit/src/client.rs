//! The client: one identity, one host, the requests of protocol text §2–§4.
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::audio::AudioKey;
use crate::clock;
use crate::http::{self, Response, Tls};
use crate::identity::{self, Identity};
use crate::pairing::{Exchange, PairVariant, PairingError, Secrets};
use crate::request::{Generation, StreamRequest};
use crate::rtsp::{self, Cipher, Handshake, RtspError, Target};
use crate::stream::audio::AudioPlan;
use crate::stream::{AudioThread, Setup, Shared, StartError, Stream, StreamOptions, Timings};
use crate::xml;

/// Where a host's plain HTTP port is; all else is learned from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostAddress {
    /// Address of the host, IPv4 or IPv6.
    pub ip: IpAddr,
    /// HTTP port, 47989 by default.
    pub http_port: u16,
}

/// The fields of `/serverinfo` that clients read (protocol text §2.5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerInfo {
    /// `hostname`.
    pub hostname: String,
    /// `appversion`.
    pub app_version: String,
    /// `GfeVersion`.
    pub gfe_version: String,
    /// `uniqueid`.
    pub unique_id: String,
    /// `HttpsPort`; 47984 when missing or 0.
    pub https_port: u16,
    /// `mac`.
    pub mac: String,
    /// `LocalIP`.
    pub local_ip: String,
    /// `MaxLumaPixelsHEVC`.
    pub max_luma_pixels_hevc: u64,
    /// `ServerCodecModeSupport`.
    pub codec_modes: u32,
    /// `PairStatus` is 1.
    pub paired: bool,
    /// `currentgame`.
    pub current_game: u32,
    /// `state`.
    pub state: String,
    /// The whole answer, for tests that look at its text.
    pub xml: String,
}

/// One entry of `/applist`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// `ID`.
    pub id: u32,
    /// `AppTitle`.
    pub title: String,
    /// `IsHdrSupported`.
    pub hdr: bool,
}

/// Why a request or a start-up failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The connection failed or broke.
    #[error("{what} failed: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The host answered with another status than 200 in the XML root.
    #[error("host returned error: {message} (error {code})")]
    Status {
        /// `status_code`.
        code: i64,
        /// `status_message`.
        message: String,
    },
    /// The host broke the protocol; the text names the rule.
    #[error("protocol violation of the host: {0}")]
    Protocol(String),
    /// The client shows "PIN didn't match".
    #[error("the PIN typed on the host is not the one this client shows")]
    WrongPin,
    /// Another pairing is in progress, says the host.
    #[error("the host says that another pairing is in progress")]
    PairingInProgress,
    /// The host ended the pairing in this phase with `paired` 0.
    #[error("the host refused pairing phase {0}")]
    PairingRefused(u8),
    /// HTTPS was asked for before the host's certificate is known.
    #[error("this client is not paired; pair it or hand it the host's certificate")]
    NotPaired,
    /// The RTSP handshake failed: connection, code or form of an answer.
    #[error(transparent)]
    Rtsp(#[from] RtspError),
    /// Control could not be connected within 10 s.
    #[error("no ENet connection to the control port within 10 s")]
    NoControl,
}

/// The answer to `/launch` or `/resume`, and the keys that were sent with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchReply {
    /// `sessionUrl0`.
    pub session_url: String,
    /// `rikey`.
    pub key: [u8; 16],
    /// `rikeyid`.
    pub key_id: i32,
}

/// How long answers may take (protocol text §10.5).
const SERVER_INFO: Duration = Duration::from_secs(5);
const PAIR_STEP: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_secs(30);
const LAUNCH: Duration = Duration::from_secs(120);
/// Frames that wait for the test unless it says otherwise.
const FRAME_QUEUE: usize = 256;

/// A client. Cloning it gives a second client of the same certificate.
#[derive(Debug, Clone)]
pub struct Client {
    identity: Identity,
    host: HostAddress,
    generation: Generation,
    host_certificate: Option<Vec<u8>>,
    https_port: Option<u16>,
}

impl Client {
    /// A client of the current generation that knows nothing of the host yet.
    pub fn new(identity: Identity, host: HostAddress) -> Self {
        Client { identity, host, generation: Generation::Current, host_certificate: None, https_port: None }
    }

    /// Plays another generation of clients.
    pub fn with_generation(mut self, generation: Generation) -> Self {
        self.generation = generation;
        self
    }

    /// Sets the host certificate (DER) that an earlier pairing gave, see [`Client::host_certificate`].
    pub fn with_host_certificate(mut self, der: Vec<u8>) -> Self {
        self.host_certificate = Some(der);
        self
    }

    /// Sets the HTTPS port instead of reading it from `/serverinfo` before each HTTPS request.
    pub fn with_https_port(mut self, port: u16) -> Self {
        self.https_port = Some(port);
        self
    }

    /// The pinned host certificate (DER), if paired.
    pub fn host_certificate(&self) -> Option<&[u8]> {
        self.host_certificate.as_deref()
    }

    /// The client's key and certificate.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where the host is.
    pub fn host(&self) -> HostAddress {
        self.host
    }

    /// Pairs with the PIN that this client "shows". Blocks in phase 1 until the PIN is typed on the host, at most
    /// `timeout`.
    pub fn pair(&mut self, pin: &str, timeout: Duration) -> Result<(), ClientError> {
        self.pair_as(pin, timeout, PairVariant::Stock)
    }

    /// Pairs in a deliberately wrong or unusual way. When it fails the client calls `/unpair`, as stock clients do,
    /// and demands HTTP 200 there.
    pub fn pair_as(&mut self, pin: &str, timeout: Duration, variant: PairVariant) -> Result<(), ClientError> {
        self.https_port = Some(self.server_info_http()?.https_port);
        match self.run_pairing(pin, timeout, variant) {
            Ok(certificate) => {
                self.host_certificate = Some(certificate);
                Ok(())
            }
            Err(error) => {
                self.unpair()?;
                Err(error)
            }
        }
    }

    fn run_pairing(
        &self,
        pin: &str,
        timeout: Duration,
        variant: PairVariant,
    ) -> Result<Vec<u8>, ClientError> {
        let mut exchange = Exchange::new(&self.identity, pin, Secrets::random(), variant);
        let answer = self.pair_phase(1, &exchange.phase1_query(), timeout)?;
        let certificate = match xml::field(&answer, "plaincert").as_deref() {
            None | Some("") => return Err(ClientError::PairingInProgress),
            Some(field) => exchange.plain_cert(field)?.to_vec(),
        };
        if variant == PairVariant::Phase3First {
            self.pair_phase(3, &exchange.phase3_query(), PAIR_STEP)?;
        }
        let answer = self.pair_phase(2, &exchange.phase2_query(), PAIR_STEP)?;
        exchange.challenge_response(&required(&answer, "challengeresponse")?)?;
        if variant == PairVariant::RepeatPhase2 {
            self.pair_phase(2, &exchange.phase2_query(), PAIR_STEP)?;
        }
        if variant != PairVariant::SkipPhase3 {
            let answer = self.pair_phase(3, &exchange.phase3_query(), PAIR_STEP)?;
            match exchange.pairing_secret(&required(&answer, "pairingsecret")?) {
                Err(PairingError::WrongPin) if variant == PairVariant::IgnoreWrongPin => {}
                other => other?,
            }
        }
        self.pair_phase(4, &exchange.phase4_query()?, PAIR_STEP)?;
        let tls = self.tls(Some(&certificate))?;
        let target = self.target("/pair", "devicename=roth&updateState=1&phrase=pairchallenge");
        let port = self.https_port()?;
        let answer = self.text(self.request(port, &target, PAIR_STEP, Some(&tls))?)?;
        check_paired(5, &answer)?;
        Ok(certificate)
    }

    fn pair_phase(&self, phase: u8, query: &str, timeout: Duration) -> Result<String, ClientError> {
        let target = self.target("/pair", &format!("devicename=roth&updateState=1&{query}"));
        let answer = self.request(self.host.http_port, &target, timeout, None)?;
        let text = match self.text(answer) {
            // An out-of-order phase is answered with 400: for the client it is a refusal of this phase.
            Err(ClientError::Status { .. }) => return Err(ClientError::PairingRefused(phase)),
            other => other?,
        };
        check_paired(phase, &text)?;
        Ok(text)
    }

    /// `/serverinfo` over HTTPS when paired, else over HTTP.
    pub fn server_info(&self) -> Result<ServerInfo, ClientError> {
        if self.host_certificate.is_none() {
            return self.server_info_http();
        }
        let answer = self.https_text("/serverinfo", "", SERVER_INFO)?;
        ServerInfo::parse(&answer)
    }

    /// `/serverinfo` over plain HTTP, without any query.
    pub fn server_info_http(&self) -> Result<ServerInfo, ClientError> {
        let answer = self.request(self.host.http_port, "/serverinfo", SERVER_INFO, None)?;
        ServerInfo::parse(&self.text(answer)?)
    }

    /// `/applist`.
    pub fn app_list(&self) -> Result<Vec<App>, ClientError> {
        let answer = self.https_text("/applist", "", SHORT)?;
        let head = answer.find("<App>").map_or(answer.as_str(), |at| &answer[..at]);
        if head
            .split("<root")
            .nth(1)
            .and_then(|root| root.split_once('>'))
            .is_some_and(|(_, gap)| !gap.is_empty())
        {
            return Err(ClientError::Protocol("text between <root> and the first <App> (§2.1)".into()));
        }
        xml::each(&answer, "App").into_iter().map(App::parse).collect()
    }

    /// `/appasset`: the image's bytes.
    pub fn app_asset(&self, app: u32) -> Result<Vec<u8>, ClientError> {
        let answer = self.https("/appasset", &format!("appid={app}&AssetType=2&AssetIdx=0"), SHORT)?;
        if answer.status != 200 {
            return Err(ClientError::Protocol(format!("HTTP status {} on /appasset (§2.1)", answer.status)));
        }
        Ok(answer.body)
    }

    /// `/launch`, RTSP, control, then the stream's threads.
    pub fn launch(
        &self,
        app: u32,
        request: &StreamRequest,
        options: &StreamOptions,
    ) -> Result<Stream, ClientError> {
        let sent = clock::now();
        let reply = self.request_launch(app, request)?;
        self.connect(&reply, request, options, Timings { launch_sent: sent, ..Timings::default() })
    }

    /// The same over `/resume`.
    pub fn resume(&self, request: &StreamRequest, options: &StreamOptions) -> Result<Stream, ClientError> {
        let sent = clock::now();
        let reply = self.request_resume(request)?;
        self.connect(&reply, request, options, Timings { launch_sent: sent, ..Timings::default() })
    }

    /// `/launch` alone, without connecting.
    pub fn request_launch(&self, app: u32, request: &StreamRequest) -> Result<LaunchReply, ClientError> {
        self.ask_for_session("/launch", "gamesession", &format!("appid={app}&"), request)
    }

    /// `/resume` alone, without connecting.
    pub fn request_resume(&self, request: &StreamRequest) -> Result<LaunchReply, ClientError> {
        self.ask_for_session("/resume", "resume", "", request)
    }

    /// Connects to what `/launch` or `/resume` answered.
    pub fn connect_to(
        &self,
        reply: &LaunchReply,
        request: &StreamRequest,
        options: &StreamOptions,
    ) -> Result<Stream, ClientError> {
        self.connect(reply, request, options, Timings { launch_sent: clock::now(), ..Timings::default() })
    }

    /// An HTTPS request as this client makes it, whatever the path; for bad-input tests.
    pub fn https(&self, path: &str, query: &str, silence: Duration) -> Result<Response, ClientError> {
        let certificate = self.host_certificate.as_deref().ok_or(ClientError::NotPaired)?;
        let tls = self.tls(Some(certificate))?;
        self.request(self.https_port()?, &self.target(path, query), silence, Some(&tls))
    }

    /// `/cancel`, then `/serverinfo` has to say that nothing runs: otherwise 599, as stock clients make of it.
    pub fn cancel(&self) -> Result<(), ClientError> {
        let answer = self.https_text("/cancel", "", SHORT)?;
        require_nonzero(&answer, "cancel")?;
        match self.server_info()?.current_game {
            0 => Ok(()),
            _ => Err(ClientError::Status { code: 599, message: "not started by this device".into() }),
        }
    }

    /// `/unpair` over plain HTTP, as stock clients call it in pairing-failure paths.
    pub fn unpair(&self) -> Result<(), ClientError> {
        let answer = self.request(self.host.http_port, &self.target("/unpair", ""), PAIR_STEP, None)?;
        match answer.status {
            200 => Ok(()),
            status => Err(ClientError::Protocol(format!("HTTP status {status} on /unpair (§2.1)"))),
        }
    }

    fn ask_for_session(
        &self,
        path: &str,
        success: &'static str,
        prefix: &str,
        request: &StreamRequest,
    ) -> Result<LaunchReply, ClientError> {
        let key = identity::random::<16>();
        let key_id = i32::from_be_bytes(identity::random());
        let query = format!("{prefix}{}", self.launch_query(request, &key, key_id));
        let answer = self.https_text(path, &query, LAUNCH)?;
        require_nonzero(&answer, success)?;
        let session_url = required(&answer, "sessionUrl0")?;
        if session_url.len() > 255 {
            return Err(ClientError::Protocol("sessionUrl0 is longer than 255 bytes (§4)".into()));
        }
        Ok(LaunchReply { session_url, key, key_id })
    }

    fn launch_query(&self, request: &StreamRequest, key: &[u8; 16], key_id: i32) -> String {
        let flag = u32::from;
        let mut query = format!(
            "mode={}x{}x{}&additionalStates=1&sops={}&rikey={}&rikeyid={key_id}",
            request.width,
            request.height,
            request.fps,
            flag(request.optimise_settings),
            hex::encode(key),
        );
        if request.hdr {
            query.push_str(
                "&hdrMode=1&clientHdrCapVersion=0&clientHdrCapSupportedFlagsInUint32=0\
                 &clientHdrCapMetaDataId=NV_STATIC_METADATA_TYPE_1&clientHdrCapDisplayData=0x0x0x0x0x0x0x0x0x0x0",
            );
        }
        query.push_str(&format!(
            "&localAudioPlayMode={}&surroundAudioInfo={}&remoteControllersBitmap=0&gcmap=0&gcpersist={}",
            flag(request.audio.play_on_host),
            request.audio.surround_info(),
            flag(request.keep_gamepads),
        ));
        if self.generation == Generation::Current {
            query.push_str("&corever=1");
        }
        query
    }

    fn connect(
        &self,
        reply: &LaunchReply,
        request: &StreamRequest,
        options: &StreamOptions,
        mut timings: Timings,
    ) -> Result<Stream, ClientError> {
        timings.launch_answered = clock::now();
        let io_error = |what| move |source| ClientError::Io { what, source };
        let queue = if options.frame_queue == 0 { FRAME_QUEUE } else { options.frame_queue };
        let shared = Arc::new(Shared::new(queue, timings).map_err(io_error("setting up the stream"))?);
        let target = Target::parse(&reply.session_url);
        if target.encrypted && self.generation == Generation::Legacy61 {
            return Err(ClientError::Protocol("rtspenc:// for a client without corever (§4)".into()));
        }
        let address = SocketAddr::new(self.host.ip, target.port);
        let mut cipher = target.encrypted.then(|| Cipher::new(&reply.key));
        let mut handshake = Handshake::new(request, self.generation, target, self.host.ip);
        let mut audio = None;
        let outcome = rtsp::run(&mut handshake, address, cipher.as_mut(), |handshake| {
            if handshake.audio_is_set_up() && audio.is_none() {
                let plan = self.audio_plan(handshake, reply, request, options);
                audio = Some(AudioThread::start(Arc::clone(&shared), plan, options.network)?);
            }
            Ok(())
        });
        if let Err(error) = outcome {
            shared.leave(Duration::from_millis(1));
            if let Some(audio) = audio.take() {
                // The thread only ever ends; its panic would be logged by the runtime.
                audio.thread.join().ok();
            }
            return Err(error.into());
        }
        shared.update(|state| state.timings.rtsp_done = Some(clock::now()));
        Stream::start(Setup {
            shared,
            negotiated: handshake.negotiated().clone(),
            host: self.host.ip,
            request: request.clone(),
            options: options.clone(),
            key: reply.key,
            audio,
        })
        .map_err(|error| match error {
            StartError::Io(source) => ClientError::Io { what: "starting the stream", source },
            StartError::NoControl => ClientError::NoControl,
        })
    }

    fn audio_plan(
        &self,
        handshake: &Handshake,
        reply: &LaunchReply,
        request: &StreamRequest,
        options: &StreamOptions,
    ) -> AudioPlan {
        let known = handshake.negotiated();
        let key = AudioKey { key: reply.key, key_id: reply.key_id.cast_unsigned() };
        AudioPlan {
            address: SocketAddr::new(self.host.ip, known.audio_port),
            ping: known.audio_ping,
            packet_duration_ms: request.audio.packet_duration_ms,
            key: known.announcement.audio_encrypted.then_some(key),
            keep: options.keep_audio,
        }
    }

    fn tls(&self, pinned: Option<&[u8]>) -> Result<Tls, ClientError> {
        Tls::new(Some(&self.identity), pinned)
            .map_err(|source| ClientError::Io { what: "setting up TLS", source })
    }

    fn https_port(&self) -> Result<u16, ClientError> {
        match self.https_port {
            Some(port) => Ok(port),
            None => Ok(self.server_info_http()?.https_port),
        }
    }

    /// Path and query with the client's id and a fresh request id, as desktop clients send them.
    fn target(&self, path: &str, query: &str) -> String {
        let separator = if query.is_empty() { "" } else { "&" };
        let uuid = hex::encode(identity::random::<16>());
        format!("{path}?uniqueid={}&uuid={uuid}{separator}{query}", self.identity.unique_id())
    }

    fn request(
        &self,
        port: u16,
        target: &str,
        silence: Duration,
        tls: Option<&Tls>,
    ) -> Result<Response, ClientError> {
        let what = if tls.is_some() { "the HTTPS request" } else { "the HTTP request" };
        let failed = |source: io::Error| ClientError::Io { what, source };
        http::get(SocketAddr::new(self.host.ip, port), target, silence, tls).map_err(failed)
    }

    fn https_text(&self, path: &str, query: &str, silence: Duration) -> Result<String, ClientError> {
        self.text(self.https(path, query, silence)?)
    }

    /// The XML of an answer whose HTTP status and root say 200.
    fn text(&self, answer: Response) -> Result<String, ClientError> {
        let protocol = |problem: String| ClientError::Protocol(problem);
        if answer.status != 200 {
            return Err(protocol(format!("HTTP status {} (§2.1)", answer.status)));
        }
        let text =
            String::from_utf8(answer.body).map_err(|_| protocol("an answer that is not UTF-8".into()))?;
        let code = xml::root_attribute(&text, "status_code")
            .ok_or_else(|| protocol("a root without status_code (§2.1)".into()))?;
        match code.parse::<i64>() {
            Ok(200) => Ok(text),
            Ok(code) => {
                let message = xml::root_attribute(&text, "status_message").unwrap_or_default();
                Err(ClientError::Status { code, message })
            }
            Err(_) => Err(protocol(format!("status_code {code:?}"))),
        }
    }
}

impl From<PairingError> for ClientError {
    fn from(error: PairingError) -> Self {
        match error {
            PairingError::WrongPin => ClientError::WrongPin,
            other => ClientError::Protocol(other.to_string()),
        }
    }
}

impl ServerInfo {
    /// Reads the fields; those that clients cannot do without have to be there.
    pub fn parse(xml_text: &str) -> Result<ServerInfo, ClientError> {
        let text = |tag: &str| xml::field(xml_text, tag).unwrap_or_default();
        let app_version = required(xml_text, "appversion")?;
        let parts: Vec<Option<i64>> = app_version.split('.').map(|part| part.parse().ok()).collect();
        if parts.len() != 4 || parts.contains(&None) {
            return Err(ClientError::Protocol(format!("appversion {app_version:?} (§2.5)")));
        }
        let https_port = text("HttpsPort").parse().ok().filter(|port| *port != 0).unwrap_or(47_984);
        let state = required(xml_text, "state")?;
        let named = text("currentgame").parse().unwrap_or(0);
        // Only trusted while the state says busy (§2.5).
        let current_game = if state.ends_with("_SERVER_BUSY") { named } else { 0 };
        Ok(ServerInfo {
            hostname: text("hostname"),
            app_version,
            gfe_version: text("GfeVersion"),
            unique_id: required(xml_text, "uniqueid")?,
            https_port,
            mac: text("mac"),
            local_ip: text("LocalIP"),
            max_luma_pixels_hevc: text("MaxLumaPixelsHEVC").parse().unwrap_or(0),
            codec_modes: text("ServerCodecModeSupport").parse().unwrap_or(0),
            paired: required(xml_text, "PairStatus")? == "1",
            current_game,
            state,
            xml: xml_text.to_owned(),
        })
    }
}

impl App {
    fn parse(entry: &str) -> Result<App, ClientError> {
        let id = required(entry, "ID")?;
        let broken = || ClientError::Protocol(format!("app ID {id:?} (§2.7)"));
        let number = id.parse::<i32>().ok().filter(|id| *id > 0).ok_or_else(broken)?;
        Ok(App {
            id: number.cast_unsigned(),
            title: required(entry, "AppTitle")?,
            hdr: xml::field(entry, "IsHdrSupported").as_deref() == Some("1"),
        })
    }
}

fn required(text: &str, tag: &'static str) -> Result<String, ClientError> {
    xml::field(text, tag).ok_or_else(|| ClientError::Protocol(format!("no <{tag}> in the answer")))
}

fn require_nonzero(text: &str, tag: &'static str) -> Result<(), ClientError> {
    match required(text, tag)?.as_str() {
        "" | "0" => Err(ClientError::Protocol(format!("<{tag}> says failure with status 200"))),
        _ => Ok(()),
    }
}

fn check_paired(phase: u8, text: &str) -> Result<(), ClientError> {
    match required(text, "paired")?.as_str() {
        "1" => Ok(()),
        _ => Err(ClientError::PairingRefused(phase)),
    }
}

#[cfg(test)]
mod tests;
