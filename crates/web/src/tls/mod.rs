//! TLS as stock clients need it, protocol text §2.3: exactly one certificate, TLS 1.2 and 1.3, HTTP/1.1 only, no
//! resumption, and a client certificate that is asked for but neither required nor judged.

mod verify;

use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::server::NoServerSessionStorage;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::Arc;

/// The host's certificate and its key. Clients pin the certificate byte for byte, so it must not change.
#[derive(Clone)]
pub struct Identity {
    /// DER of the self-signed X.509 certificate.
    pub certificate: Vec<u8>,
    /// DER of the PKCS#8 private key.
    pub private_key: Vec<u8>,
}

/// The host's certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "the host's certificate and key cannot be used: {0}. Restore both files from a backup, or remove both and pair every client again"
)]
pub struct IdentityError(#[from] rustls::Error);

impl Identity {
    pub(crate) fn server_config(&self) -> Result<ServerConfig, IdentityError> {
        let certificate = CertificateDer::from(self.certificate.clone());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.private_key.clone()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_client_cert_verifier(Arc::new(verify::AnyClient))
            .with_single_cert(vec![certificate], key)?;
        // A resumed session would carry a certificate whose owner proved nothing on this connection.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}
