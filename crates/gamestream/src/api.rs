//! Endpoints of the HTTP API, refusals, and the short replies (protocol text §2).

use crate::query::QueryError;
use crate::xml::Document;
use std::borrow::Cow;
use std::net::IpAddr;

/// What a request path asks for (protocol text §2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `/serverinfo`, on both ports.
    ServerInfo,
    /// `/pair`: phases 1–4 over HTTP, phase 5 over HTTPS.
    Pair,
    /// `/unpair`, over HTTP: drops a pending attempt only.
    Unpair,
    /// `/applist`, over HTTPS.
    AppList,
    /// `/appasset`, over HTTPS: a picture for an app.
    AppAsset,
    /// `/launch`, over HTTPS.
    Launch,
    /// `/resume`, over HTTPS.
    Resume,
    /// `/cancel`, over HTTPS.
    Cancel,
}

impl Endpoint {
    /// The endpoint of a request path (without the query); `None` is to be answered with [`ApiError::not_found`].
    pub fn from_path(path: &str) -> Option<Self> {
        Some(match path {
            "/serverinfo" => Self::ServerInfo,
            "/pair" => Self::Pair,
            "/unpair" => Self::Unpair,
            "/applist" => Self::AppList,
            "/appasset" => Self::AppAsset,
            "/launch" => Self::Launch,
            "/resume" => Self::Resume,
            "/cancel" => Self::Cancel,
            _ => return None,
        })
    }

    /// Whether it is served over plain HTTP.
    pub fn over_http(self) -> bool {
        matches!(self, Self::ServerInfo | Self::Pair | Self::Unpair)
    }

    /// Whether it is served over HTTPS, there always for a paired certificate only.
    pub fn over_https(self) -> bool {
        self != Self::Unpair
    }
}

/// A refusal. It travels in the XML root; the HTTP status stays 200, or clients hide the reason (protocol text §2.1).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({status})")]
pub struct ApiError {
    /// `status_code` of the root.
    pub status: i32,
    /// What the client shows to its user.
    pub message: Cow<'static, str>,
}

impl ApiError {
    /// Any status with a message for the user.
    pub fn new(status: i32, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, message: message.into() }
    }

    /// 400: the request itself is at fault.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, message)
    }

    /// 401: the certificate is not paired. Clients fall back to HTTP and show the host as unpaired.
    pub fn not_paired() -> Self {
        Self::new(401, "The client is not authorized. Certificate verification failed.")
    }

    /// 404: no such path.
    pub fn not_found() -> Self {
        Self::new(404, "Not found")
    }

    /// 503: the host cannot do it now.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(503, message)
    }

    /// The reply as a client reads it.
    pub fn to_xml(&self) -> String {
        Document::failed(self.status, &self.message).finish()
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        Self::bad_request(error.to_string())
    }
}

/// Reply to `/launch`; `session_url` comes from [`session_url`].
pub fn launched(session_url: &str) -> String {
    Document::ok().element("sessionUrl0", session_url).element("gamesession", "1").finish()
}

/// Reply to `/resume`; `session_url` comes from [`session_url`].
pub fn resumed(session_url: &str) -> String {
    Document::ok().element("sessionUrl0", session_url).element("resume", "1").finish()
}

/// Reply to `/cancel`, also when nothing ran.
pub fn cancelled() -> String {
    Document::ok().element("cancel", "1").finish()
}

/// Reply to `/unpair`.
pub fn unpaired() -> String {
    Document::ok().finish()
}

/// `sessionUrl0`: where RTSP is served, at the address that the client asked (protocol text §4). `encrypted` selects
/// `rtspenc://`, which only clients with `corever` ≥ 1 understand.
pub fn session_url(encrypted: bool, host: IpAddr, port: u16) -> String {
    let scheme = if encrypted { "rtspenc" } else { "rtsp" };
    match host.to_canonical() {
        IpAddr::V4(host) => format!("{scheme}://{host}:{port}"),
        IpAddr::V6(host) => format!("{scheme}://[{host}]:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#"<?xml version="1.0" encoding="utf-8"?>"#;

    #[test]
    fn paths() {
        let all = [
            ("/serverinfo", Endpoint::ServerInfo, true, true),
            ("/pair", Endpoint::Pair, true, true),
            ("/unpair", Endpoint::Unpair, true, false),
            ("/applist", Endpoint::AppList, false, true),
            ("/appasset", Endpoint::AppAsset, false, true),
            ("/launch", Endpoint::Launch, false, true),
            ("/resume", Endpoint::Resume, false, true),
            ("/cancel", Endpoint::Cancel, false, true),
        ];
        for (path, endpoint, http, https) in all {
            assert_eq!(Endpoint::from_path(path), Some(endpoint));
            assert_eq!((endpoint.over_http(), endpoint.over_https()), (http, https), "{path}");
        }
        for path in ["", "/", "/Launch", "/launch/", "/pin", "serverinfo"] {
            assert_eq!(Endpoint::from_path(path), None, "{path}");
        }
    }

    #[test]
    fn replies() {
        assert_eq!(
            launched("rtspenc://192.168.1.10:48010"),
            format!(
                "{HEAD}<root status_code=\"200\"><sessionUrl0>rtspenc://192.168.1.10:48010</sessionUrl0>\
                 <gamesession>1</gamesession></root>"
            )
        );
        assert_eq!(
            resumed("rtsp://[::1]:1"),
            format!(
                "{HEAD}<root status_code=\"200\"><sessionUrl0>rtsp://[::1]:1</sessionUrl0><resume>1</resume></root>"
            )
        );
        assert_eq!(cancelled(), format!("{HEAD}<root status_code=\"200\"><cancel>1</cancel></root>"));
        assert_eq!(unpaired(), format!("{HEAD}<root status_code=\"200\"></root>"));
        assert_eq!(
            ApiError::not_found().to_xml(),
            format!("{HEAD}<root status_code=\"404\" status_message=\"Not found\"></root>")
        );
        assert!(ApiError::not_paired().to_xml().contains("status_code=\"401\" status_message=\"The client"));
    }

    #[test]
    fn session_urls() {
        assert_eq!(session_url(true, "192.168.1.10".parse().unwrap(), 48010), "rtspenc://192.168.1.10:48010");
        assert_eq!(session_url(false, "fd00::5".parse().unwrap(), 50021), "rtsp://[fd00::5]:50021");
        assert_eq!(session_url(true, "::ffff:10.0.0.1".parse().unwrap(), 1), "rtspenc://10.0.0.1:1");
    }
}
