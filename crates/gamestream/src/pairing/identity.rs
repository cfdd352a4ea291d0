//! Certificates and signatures: the host's own, and the client's.

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use std::fmt;
use x509_parser::oid_registry::OID_KEY_TYPE_EC_PUBLIC_KEY;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Longest certificate text taken, in bytes. Those of clients have about 1.2 kB.
const MAX_PEM: usize = 8 * 1024;

/// Why a certificate or key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not the text of one X.509 certificate.
    #[error("the certificate is not an X.509 certificate in PEM form")]
    Certificate,
    /// Not an RSA key of at least 2048 bits in PKCS#8 form.
    #[error("the private key is not an RSA key of 2048 bits or more in PKCS#8 form")]
    Key,
    /// Certificate and key do not belong together.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
}

/// What the host proves itself with. Never changes: clients pin it.
pub struct HostIdentity {
    cert_pem: String,
    cert_der: Vec<u8>,
    signature: Vec<u8>,
    key: RsaKeyPair,
}

impl fmt::Debug for HostIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostIdentity").field("cert_pem", &self.cert_pem).finish_non_exhaustive()
    }
}

impl HostIdentity {
    /// From a self-signed certificate as text and its RSA private key in PKCS#8 DER. Clients receive the text byte for
    /// byte, so it has to be the same after each start.
    ///
    /// # Errors
    /// [`CertificateError`] when either cannot be used, or they do not belong together.
    pub fn new(cert_pem: &str, key_pkcs8: &[u8]) -> Result<Self, CertificateError> {
        let certificate = Certificate::from_pem(cert_pem.as_bytes())?;
        let key = RsaKeyPair::from_pkcs8(key_pkcs8).map_err(|_| CertificateError::Key)?;
        let identity = Self {
            cert_pem: cert_pem.to_owned(),
            cert_der: certificate.der.clone(),
            signature: certificate.signature.clone(),
            key,
        };
        let proof = b"the key fits the certificate";
        if !certificate.verify(proof, &identity.sign(proof)) {
            return Err(CertificateError::Mismatch);
        }
        Ok(identity)
    }

    /// The certificate as clients receive it.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The certificate as TLS shows it.
    pub fn cert_der(&self) -> &[u8] {
        &self.cert_der
    }

    /// The certificate's own signature.
    pub(super) fn cert_signature(&self) -> &[u8] {
        &self.signature
    }

    /// PKCS#1 v1.5 with SHA-256. Deterministic: ring asks for a random source for other paddings only.
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .expect("the buffer has the length of the modulus, and any message can be signed");
        signature
    }
}

/// A client's certificate, as it came with phase 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    /// As TLS will show it.
    pub(super) der: Vec<u8>,
    /// The text without anything around it.
    pub(super) pem: String,
    /// `signatureValue`.
    pub(super) signature: Vec<u8>,
    key: Vec<u8>,
    elliptic: bool,
}

impl Certificate {
    /// Only the form is checked: clients sign themselves, with serial 0 and any dates.
    pub(super) fn from_pem(text: &[u8]) -> Result<Self, CertificateError> {
        if text.len() > MAX_PEM {
            return Err(CertificateError::Certificate);
        }
        let text = std::str::from_utf8(text).map_err(|_| CertificateError::Certificate)?;
        let (_, pem) = parse_x509_pem(text.as_bytes()).map_err(|_| CertificateError::Certificate)?;
        let (rest, x509) =
            X509Certificate::from_der(&pem.contents).map_err(|_| CertificateError::Certificate)?;
        if pem.label != "CERTIFICATE" || !rest.is_empty() {
            return Err(CertificateError::Certificate);
        }
        let key = x509.public_key();
        Ok(Self {
            pem: trimmed(text).ok_or(CertificateError::Certificate)?,
            signature: x509.signature_value.data.to_vec(),
            key: key.subject_public_key.data.to_vec(),
            elliptic: key.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY,
            der: pem.contents,
        })
    }

    /// Whether the owner of this certificate signed `message`, with SHA-256.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = if self.elliptic {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.key).verify(message, signature)
        } else {
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.key).verify(message, signature)
        };
        verified.is_ok()
    }
}

/// From the first to the last line of the certificate, so that nothing else gets stored with it.
fn trimmed(text: &str) -> Option<String> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let start = text.find(BEGIN)?;
    let end = start + text[start..].find(END)? + END.len();
    let lines = text[start..end].lines().map(str::trim_end);
    Some(lines.flat_map(|line| [line, "\n"]).collect())
}
