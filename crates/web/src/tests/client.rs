//! A client: raw HTTP over TCP or TLS.

use super::certificates::Credentials;
use super::soon;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::ring::{default_provider, sign::any_supported_type};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(super) async fn connect(address: SocketAddr) -> TcpStream {
    soon(TcpStream::connect(address)).await.expect("the server listens")
}

/// Connects from one of the many addresses of the loopback interface.
pub(super) async fn connect_from(source: [u8; 4], address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((source, 0).into()).expect("an address of loopback");
    soon(socket.connect(address)).await.expect("the server listens")
}

pub(super) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: lumen\r\n\r\n")
}

pub(super) fn get_keep_alive(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: lumen\r\nConnection: Keep-Alive\r\n\r\n")
}

/// Sends and reads until the server closes.
pub(super) async fn exchange<S>(mut stream: S, request: &str) -> io::Result<String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    soon(async {
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    })
    .await
}

/// Reads one answer of a connection that stays open: head and body.
pub(super) async fn read_answer<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    soon(async {
        let mut answer = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&answer).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.to_lowercase();
                let length = length.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
                if length.and_then(|length| length.parse().ok()) == Some(body.len()) {
                    return text;
                }
            }
            let mut byte = [0];
            assert_eq!(stream.read(&mut byte).await.expect("open"), 1, "closed after {text:?}");
            answer.push(byte[0]);
        }
    })
    .await
}

/// Waits until the server closes the connection, whatever it says before.
pub(super) async fn closed<S: AsyncRead + Unpin>(mut stream: S) -> Vec<u8> {
    let mut rest = Vec::new();
    // A reset is as good an end as any.
    let _ = soon(stream.read_to_end(&mut rest)).await;
    rest
}

/// TLS settings of a client that takes any host, with its certificate if it has one.
pub(super) fn tls(
    version: &'static SupportedProtocolVersion,
    credentials: Option<&Credentials>,
) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .expect("a known version")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyHost));
    let mut config = match credentials {
        None => builder.with_no_client_auth(),
        Some(credentials) => builder.with_client_cert_resolver(Arc::new(Unchecked::new(credentials))),
    };
    config.resumption = Resumption::in_memory_sessions(8);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

pub(super) async fn connect_tls(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("lumen").expect("a name");
    soon(TlsConnector::from(config).connect(name, connect(address).await)).await
}

/// Presents a certificate without asking whether the key belongs to it.
#[derive(Debug)]
struct Unchecked(Arc<CertifiedKey>);

impl Unchecked {
    fn new(credentials: &Credentials) -> Self {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(credentials.key.clone()));
        let key = any_supported_type(&key).expect("a key that ring knows");
        let chain = vec![CertificateDer::from(credentials.certificate.clone())];
        Self(Arc::new(CertifiedKey::new(chain, key)))
    }
}

impl ResolvesClientCert for Unchecked {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Takes any host that owns its key.
#[derive(Debug)]
struct AnyHost;

impl ServerCertVerifier for AnyHost {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = default_provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
