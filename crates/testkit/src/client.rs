//! The client: one identity, one host, the requests of protocol text §2–§4.
use std::net::IpAddr;
use std::time::Duration;

use crate::identity::Identity;
use crate::pairing::PairVariant;
use crate::request::{Generation, StreamRequest};
use crate::stream::{Stream, StreamOptions};

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
    /// An RTSP request was answered with another code than 200.
    #[error("RTSP {request} was answered with {code}")]
    Rtsp {
        /// Method of the request.
        request: &'static str,
        /// Code of the answer.
        code: u16,
    },
    /// Control could not be connected within 10 s.
    #[error("no ENet connection to the control port within 10 s")]
    NoControl,
}

/// A client. Cloning it gives a second client of the same certificate.
#[derive(Debug, Clone)]
pub struct Client {
    identity: Identity,
    host: HostAddress,
}

impl Client {
    /// A client of the current generation that knows nothing of the host yet.
    pub fn new(identity: Identity, host: HostAddress) -> Self {
        Client { identity, host }
    }

    /// Plays another generation of clients.
    pub fn with_generation(self, generation: Generation) -> Self {
        todo!("{generation:?}")
    }

    /// Sets the host certificate (DER) that an earlier pairing gave, see [`Client::host_certificate`].
    pub fn with_host_certificate(self, der: Vec<u8>) -> Self {
        todo!("{der:?}")
    }

    /// The pinned host certificate (DER), if paired.
    pub fn host_certificate(&self) -> Option<&[u8]> {
        todo!()
    }

    /// Pairs with the PIN that this client "shows". Blocks in phase 1 until the PIN is typed on the host, at most
    /// `timeout`.
    pub fn pair(&mut self, pin: &str, timeout: Duration) -> Result<(), ClientError> {
        self.pair_as(pin, timeout, PairVariant::Stock)
    }

    /// Pairs in a deliberately wrong or unusual way.
    pub fn pair_as(&mut self, pin: &str, timeout: Duration, variant: PairVariant) -> Result<(), ClientError> {
        todo!("{pin} {timeout:?} {variant:?}")
    }

    /// `/serverinfo` over HTTPS when paired, else over HTTP.
    pub fn server_info(&self) -> Result<ServerInfo, ClientError> {
        todo!("{:?} {:?}", self.identity, self.host)
    }

    /// `/serverinfo` over plain HTTP, without any query.
    pub fn server_info_http(&self) -> Result<ServerInfo, ClientError> {
        todo!()
    }

    /// `/applist`.
    pub fn app_list(&self) -> Result<Vec<App>, ClientError> {
        todo!()
    }

    /// `/appasset`: the image's bytes.
    pub fn app_asset(&self, app: u32) -> Result<Vec<u8>, ClientError> {
        todo!("{app}")
    }

    /// `/launch`, RTSP, control, then the stream's threads.
    pub fn launch(
        &self,
        app: u32,
        request: &StreamRequest,
        options: &StreamOptions,
    ) -> Result<Stream, ClientError> {
        todo!("{app} {request:?} {options:?}")
    }

    /// The same over `/resume`.
    pub fn resume(&self, request: &StreamRequest, options: &StreamOptions) -> Result<Stream, ClientError> {
        todo!("{request:?} {options:?}")
    }

    /// `/cancel`.
    pub fn cancel(&self) -> Result<(), ClientError> {
        todo!()
    }

    /// `/unpair` over plain HTTP, as stock clients call it in pairing-failure paths.
    pub fn unpair(&self) -> Result<(), ClientError> {
        todo!()
    }
}
