//! The seam between the servers and what answers their requests.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

/// A GET request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiRequest {
    /// It came over TLS.
    pub secure: bool,
    /// DER of the certificate whose key the client proved to own in the handshake; whether it is a paired one is for
    /// the handler to decide, on every request. Always `None` over plain HTTP.
    pub client_certificate: Option<Vec<u8>>,
    /// Path as it was sent (`/serverinfo`).
    pub path: String,
    /// Query as it was sent, without the `?`; empty when there is none.
    pub query: String,
    /// Where it came from; IPv4-mapped addresses are normalised to IPv4.
    pub peer: SocketAddr,
    /// The address that was asked; IPv4-mapped addresses are normalised to IPv4.
    pub local: SocketAddr,
}

/// An answer. Its HTTP status is always 200: clients take anything else for a broken host (protocol text §2.1), the
/// outcome stands in the XML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiResponse {
    /// MIME type.
    pub content_type: &'static str,
    /// What it says.
    pub body: Vec<u8>,
}

impl ApiResponse {
    /// An XML document.
    pub fn xml(document: impl Into<Vec<u8>>) -> Self {
        Self { content_type: "application/xml; charset=utf-8", body: document.into() }
    }

    /// A PNG picture.
    pub fn png(picture: impl Into<Vec<u8>>) -> Self {
        Self { content_type: "image/png", body: picture.into() }
    }
}

/// An answer in the making.
pub type ApiFuture<'a> = Pin<Box<dyn Future<Output = ApiResponse> + Send + 'a>>;

/// Answers requests.
pub trait Api: Send + Sync + 'static {
    /// Answers one request. Requests are handled at the same time; the future is dropped when its client goes away.
    fn handle(&self, request: ApiRequest) -> ApiFuture<'_>;
}
