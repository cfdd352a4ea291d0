//! A minimal blocking HTTP/1.1 GET, over TCP and over TLS with the client's certificate and the host's pinned one
//! (protocol text §2.1, §2.3).
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error as TlsError, SignatureScheme, StreamOwned,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};

use crate::clock;
use crate::identity::Identity;

/// Largest answer that is read.
const ANSWER_LIMIT: usize = 16 << 20;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Response {
    /// First header of this (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What goes into a TLS connection.
#[derive(Debug, Clone)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Presents the identity's certificate. The host has to show exactly `pinned` (DER) as its only certificate;
    /// with `None` any certificate does.
    pub fn new(identity: Option<&Identity>, pinned: Option<&[u8]>) -> io::Result<Tls> {
        let provider = Arc::new(ring::default_provider());
        let verifier = Pinned { certificate: pinned.map(<[u8]>::to_vec), provider: Arc::clone(&provider) };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let certificate = CertificateDer::from(identity.certificate_der().to_vec());
                let key = PrivatePkcs8KeyDer::from(identity.key_der().to_vec());
                builder
                    .with_client_auth_cert(vec![certificate], PrivateKeyDer::Pkcs8(key))
                    .map_err(io::Error::other)?
            }
        };
        // Each request is a new client to the host, as with stock clients.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Tls(Arc::new(config)))
    }
}

/// Sends `GET target` (path and query) and reads the answer. `silence` is how long the host may say nothing.
pub fn get(address: SocketAddr, target: &str, silence: Duration, tls: Option<&Tls>) -> io::Result<Response> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    stream.set_read_timeout(Some(silence.max(Duration::from_millis(1))))?;
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: lumen-testkit\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    match tls {
        None => exchange(stream, &request, silence),
        Some(Tls(config)) => {
            let name = ServerName::from(address.ip());
            let connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
            exchange(StreamOwned::new(connection, stream), &request, silence)
        }
    }
}

fn exchange(mut stream: impl Read + Write, request: &str, silence: Duration) -> io::Result<Response> {
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut data = Vec::new();
    let mut buffer = [0; 16_384];
    let mut last = clock::now();
    loop {
        if let Some(response) = parse(&data, false)? {
            return Ok(response);
        }
        if data.len() > ANSWER_LIMIT {
            return Err(io::Error::other("the answer is larger than 16 MiB"));
        }
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                data.extend_from_slice(&buffer[..length]);
                last = clock::now();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // TLS peers often close without saying so first.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if clock::now().since(last) >= silence {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "the host did not answer in time"));
                }
            }
            Err(error) => return Err(error),
        }
    }
    parse(&data, true)?.ok_or_else(|| io::Error::other("the connection ended inside the answer"))
}

/// A complete answer, `None` while bytes are missing. `ended`: the connection was closed.
fn parse(data: &[u8], ended: bool) -> io::Result<Option<Response>> {
    let Some(split) = data.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let malformed = |what: &str| io::Error::other(format!("malformed answer: {what}"));
    let head = std::str::from_utf8(&data[..split]).map_err(|_| malformed("head is not UTF-8"))?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1."))
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| malformed("status line"))?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let body = &data[split + 4..];
    let mut response = Response { status, headers, body: Vec::new() };
    if response.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        let Some(body) = chunked(body).map_err(malformed)? else { return Ok(None) };
        response.body = body;
        return Ok(Some(response));
    }
    match response.header("content-length").map(str::parse::<usize>) {
        Some(Ok(length)) if body.len() >= length => response.body = body[..length].to_vec(),
        Some(Ok(_)) => return Ok(None),
        Some(Err(_)) => return Err(malformed("Content-Length")),
        None if ended => response.body = body.to_vec(),
        None => return Ok(None),
    }
    Ok(Some(response))
}

fn chunked(mut rest: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
    let mut body = Vec::new();
    loop {
        let Some(line) = rest.windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        let text = std::str::from_utf8(&rest[..line]).map_err(|_| "chunk size")?;
        let digits = text.split(';').next().unwrap_or("").trim();
        let size = usize::from_str_radix(digits, 16).map_err(|_| "chunk size")?;
        if size > ANSWER_LIMIT {
            return Err("chunk size");
        }
        rest = &rest[line + 2..];
        if rest.len() < size + 2 {
            return Ok(None);
        }
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
        if size == 0 {
            return Ok(Some(body));
        }
    }
}

/// Compares the host's certificate byte by byte; chain, names and dates do not matter, the handshake's signature
/// does.
#[derive(Debug)]
struct Pinned {
    certificate: Option<Vec<u8>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if !intermediates.is_empty() {
            return Err(TlsError::General("the host sent more than one certificate".into()));
        }
        match &self.certificate {
            Some(pinned) if pinned.as_slice() != end_entity.as_ref() => {
                Err(TlsError::General("the host's certificate is not the pinned one".into()))
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_complete_only_when_they_are() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: y\r\n\r\nabcd";
        for cut in 0..whole.len() - 1 {
            assert_eq!(parse(&whole[..cut], false).unwrap(), None, "{cut}");
        }
        let response = parse(whole, false).unwrap().unwrap();
        assert_eq!(
            (response.status, response.body.as_slice(), response.header("x")),
            (200, &b"abc"[..], Some("y"))
        );
        let open = b"HTTP/1.0 404 Not Found\r\n\r\nrest";
        assert_eq!(parse(open, false).unwrap(), None);
        assert_eq!(parse(open, true).unwrap().unwrap().body, b"rest");
        let pieces =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x\r\nd\r\n0\r\n\r\n";
        assert_eq!(parse(pieces, false).unwrap().unwrap().body, b"abcd");
        assert!(parse(b"SPDY\r\n\r\n", true).is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", true).is_err());
    }
}
