//! One connection: TLS if it is asked for, then requests one after another.

use crate::api::{Api, ApiRequest, ApiResponse};
use crate::counters::Counters;
use crate::limits::{Admission, Limits};
use crate::watchdog::{Watchdog, Watched};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

/// What all connections share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub api: Arc<dyn Api>,
    pub limits: Limits,
    /// Turns true when the server ends.
    pub ending: watch::Receiver<bool>,
    pub counters: Counters,
}

/// Who talks to whom.
#[derive(Clone, Debug)]
struct Caller {
    secure: bool,
    certificate: Option<Vec<u8>>,
    peer: SocketAddr,
    local: SocketAddr,
}

/// Serves `stream` until either side ends it. `tls` is there on the HTTPS port. Nothing but debug lines tells of peers
/// that connect and leave: clients probe ports that way.
pub(crate) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    shared: Shared,
    admission: Admission,
) {
    let _held_to_the_end = admission;
    let Ok(local) = stream.local_addr() else { return };
    let (peer, local) = (normalised(peer), normalised(local));
    let Some(tls) = tls else {
        return http(stream, Caller { secure: false, certificate: None, peer, local }, shared).await;
    };
    match timeout(shared.limits.handshake, tls.accept(stream)).await {
        Err(_) => {
            shared.counters.slow();
            debug!(%peer, "TLS handshake took too long");
        }
        Ok(Err(error)) => {
            shared.counters.bad_handshake();
            debug!(%peer, %error, "TLS handshake failed");
        }
        Ok(Ok(stream)) => {
            let certificates = stream.get_ref().1.peer_certificates();
            let certificate = certificates.and_then(<[_]>::first).map(|certificate| certificate.to_vec());
            http(stream, Caller { secure: true, certificate, peer, local }, shared).await;
        }
    }
}

/// Returns when the server ends.
pub(crate) async fn until_ending(ending: &mut watch::Receiver<bool>) {
    // An error means that the server is gone altogether, which is an end, too.
    let _ = ending.wait_for(|ending| *ending).await;
}

async fn http<S>(stream: S, caller: Caller, mut shared: Shared)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let peer = caller.peer;
    let watchdog = Watchdog::new(shared.limits);
    let watched = TokioIo::new(Watched::new(stream, watchdog.clone()));
    let (api, limits) = (shared.api.clone(), shared.limits);
    let observed = watchdog.clone();
    let service = service_fn(move |request| {
        let (api, caller, watchdog) = (api.clone(), caller.clone(), watchdog.clone());
        async move {
            watchdog.busy();
            let response = answer(request, &*api, caller, (limits, &watchdog)).await;
            watchdog.idle();
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        // A peer that closes its side while a handler waits has lost interest; the handler is dropped.
        .half_close(false)
        .max_buf_size(limits.request_line + HEADERS)
        .serve_connection(watched, service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = until_ending(&mut shared.ending) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if observed.was_slow() {
        shared.counters.slow();
    }
    if let Err(error) = ended {
        debug!(%peer, %error, "connection ended early");
    }
}

/// Room for the header lines below the request line; hyper refuses what is larger.
const HEADERS: usize = 16 * 1024;

async fn answer(
    request: Request<Incoming>,
    api: &dyn Api,
    caller: Caller,
    (limits, watchdog): (Limits, &Watchdog),
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let keep = wants_keep_alive(head.headers.get(CONNECTION));
    let line = head.method.as_str().len() + head.uri.path_and_query().map_or(0, |path| path.as_str().len());
    if head.method != Method::GET || line > limits.request_line {
        return respond(refusal(), false);
    }
    // A body means nothing here, but closing on top of unread bytes could cost the client its answer.
    if !body.is_end_stream() {
        let drained = timeout(limits.header, Limited::new(body, limits.body).collect()).await;
        if drained.is_err() {
            watchdog.slow();
        }
        if !matches!(drained, Ok(Ok(_))) {
            return respond(refusal(), false);
        }
    }
    let Caller { secure, certificate, peer, local } = caller;
    let request = ApiRequest {
        secure,
        client_certificate: certificate,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        peer,
        local,
    };
    respond(api.handle(request).await, keep)
}

/// What is not a request of the API gets the API's own "not found" (protocol text §2.4).
fn refusal() -> ApiResponse {
    ApiResponse::xml(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><root status_code=\"404\" status_message=\"Not found\"></root>",
    )
}

/// Clients expect the connection to be closed after an answer unless they say otherwise (protocol text §2.1).
fn wants_keep_alive(connection: Option<&HeaderValue>) -> bool {
    let options = connection.and_then(|value| value.to_str().ok()).unwrap_or_default();
    options.split(',').any(|option| option.trim().eq_ignore_ascii_case("keep-alive"))
}

fn respond(answer: ApiResponse, keep: bool) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    headers.insert(CONNECTION, HeaderValue::from_static(if keep { "keep-alive" } else { "close" }));
    response
}

/// IPv4-mapped IPv6 addresses as the IPv4 addresses that they are; others keep their scope.
fn normalised(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip if ip.is_ipv4() => SocketAddr::new(ip, address.port()),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_become_ipv4_and_scopes_stay() {
        let mapped: SocketAddr = "[::ffff:192.0.2.7]:80".parse().expect("valid");
        assert_eq!(normalised(mapped).to_string(), "192.0.2.7:80");
        let scoped: SocketAddr = "[fe80::1%3]:80".parse().expect("valid");
        assert_eq!(normalised(scoped), scoped);
    }

    #[test]
    fn only_an_explicit_wish_keeps_the_connection() {
        let header = |text| HeaderValue::from_static(text);
        assert!(!wants_keep_alive(None));
        assert!(!wants_keep_alive(Some(&header("close"))));
        assert!(wants_keep_alive(Some(&header("Keep-Alive"))));
        assert!(wants_keep_alive(Some(&header("upgrade, keep-alive"))));
    }
}
