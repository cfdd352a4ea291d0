//! The client's RSA-2048 key and self-signed certificate, as stock clients make them: CN "NVIDIA GameStream Client",
//! serial 0, 20 years (protocol text §2.3, Appendix A).
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use rsa::{Pkcs1v15Sign, RsaPrivateKey, RsaPublicKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};

/// Common name of every stock client's certificate.
const COMMON_NAME: &str = "NVIDIA GameStream Client";

/// Why an identity cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error("cannot access the identity file: {0}")]
    Io(#[from] std::io::Error),
    /// Not a PEM text with an RSA key and a certificate.
    #[error("the identity holds no usable {0}; delete the file to have a new one made")]
    Malformed(&'static str),
    /// The key or certificate could not be made.
    #[error("cannot make an identity: {0}")]
    Generate(String),
}

/// Key and certificate of one client. Clones share the key.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    key: RsaPrivateKey,
    key_der: Vec<u8>,
    certificate_der: Vec<u8>,
    certificate_pem: String,
    certificate_signature: Vec<u8>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.unique_id())
    }
}

impl Identity {
    /// One of the two embedded throw-away identities (index modulo 2). Never use them for anything but tests.
    pub fn test_key(index: usize) -> Identity {
        let pem = [
            concat!(
                include_str!("../fixtures/test_client_0.key.pem"),
                include_str!("../fixtures/test_client_0.cert.pem")
            ),
            concat!(
                include_str!("../fixtures/test_client_1.key.pem"),
                include_str!("../fixtures/test_client_1.cert.pem")
            ),
        ][index % 2];
        Identity::from_pem(pem).expect("the embedded identities are checked by a test")
    }

    /// A fresh key and certificate. Takes about a second with optimised arithmetic, much longer without.
    pub fn generate() -> Result<Identity, IdentityError> {
        let key = RsaPrivateKey::new(&mut SystemRandom, 2048)
            .map_err(|error| IdentityError::Generate(error.to_string()))?;
        Identity::from_key(key)
    }

    /// A certificate for this key. Its dates are fixed: hosts must not look at them (protocol text §2.3).
    pub fn from_key(key: RsaPrivateKey) -> Result<Identity, IdentityError> {
        let failed = |error: &dyn std::fmt::Display| IdentityError::Generate(error.to_string());
        let document = key.to_pkcs8_der().map_err(|error| failed(&error))?;
        let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(
            &PrivatePkcs8KeyDer::from(document.as_bytes()),
            &rcgen::PKCS_RSA_SHA256,
        )
        .map_err(|error| failed(&error))?;
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, COMMON_NAME);
        params.serial_number = Some(rcgen::SerialNumber::from(vec![0]));
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2045, 12, 27);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&pair).map_err(|error| failed(&error))?;
        let pem = certificate.pem().replace("\r\n", "\n");
        Identity::from_parts(key, document.as_bytes().to_vec(), certificate.der().to_vec(), pem)
    }

    /// Reads PEM text with a PKCS#8 key and a certificate. The certificate's own text is what `clientcert` sends.
    pub fn from_pem(text: &str) -> Result<Identity, IdentityError> {
        let key_der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes())
            .map_err(|_| IdentityError::Malformed("private key"))?;
        let key = RsaPrivateKey::from_pkcs8_der(key_der.secret_pkcs8_der())
            .map_err(|_| IdentityError::Malformed("RSA key"))?;
        let certificate = CertificateDer::from_pem_slice(text.as_bytes())
            .map_err(|_| IdentityError::Malformed("certificate"))?;
        let start =
            text.find("-----BEGIN CERTIFICATE-----").ok_or(IdentityError::Malformed("certificate"))?;
        let der = key_der.secret_pkcs8_der().to_vec();
        Identity::from_parts(key, der, certificate.to_vec(), text[start..].to_owned())
    }

    /// Reads `path`, or generates an identity and writes it there, readable for the owner only.
    pub fn load_or_create(path: &Path) -> Result<Identity, IdentityError> {
        match std::fs::read_to_string(path) {
            Ok(text) => return Identity::from_pem(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let identity = Identity::generate()?;
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(identity.to_pem()?.as_bytes())?;
        Ok(identity)
    }

    /// Key and certificate as PEM text.
    pub fn to_pem(&self) -> Result<String, IdentityError> {
        let key = self
            .0
            .key
            .to_pkcs8_pem(rsa::pkcs8::LineEnding::LF)
            .map_err(|error| IdentityError::Generate(error.to_string()))?;
        Ok(format!("{}{}", key.as_str(), self.0.certificate_pem))
    }

    /// Certificate as DER.
    pub fn certificate_der(&self) -> &[u8] {
        &self.0.certificate_der
    }

    /// Certificate as the PEM text whose hex is `clientcert`.
    pub fn certificate_pem(&self) -> &str {
        &self.0.certificate_pem
    }

    /// X.509 `signatureValue` of the certificate ("certSig", protocol text §3).
    pub fn certificate_signature(&self) -> &[u8] {
        &self.0.certificate_signature
    }

    /// Private key as PKCS#8 DER.
    pub fn key_der(&self) -> &[u8] {
        &self.0.key_der
    }

    /// A `uniqueid` as desktop clients have one: up to 16 hex digits, not zero padded. Derived from the certificate.
    pub fn unique_id(&self) -> String {
        let digest = Sha256::digest(&self.0.certificate_der);
        let text = hex::encode(&digest[..8]);
        text.trim_start_matches('0').to_owned()
    }

    /// PKCS#1 v1.5 signature with SHA-256.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, IdentityError> {
        self.0
            .key
            .sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message))
            .map_err(|error| IdentityError::Generate(error.to_string()))
    }

    fn from_parts(
        key: RsaPrivateKey,
        key_der: Vec<u8>,
        certificate_der: Vec<u8>,
        certificate_pem: String,
    ) -> Result<Identity, IdentityError> {
        let certificate_signature =
            certificate_signature(&certificate_der).ok_or(IdentityError::Malformed("certificate"))?;
        Ok(Identity(Arc::new(Inner {
            key,
            key_der,
            certificate_der,
            certificate_pem,
            certificate_signature,
        })))
    }
}

/// `signatureValue` of a DER certificate.
pub fn certificate_signature(der: &[u8]) -> Option<Vec<u8>> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    Some(certificate.signature_value.data.to_vec())
}

/// Whether `signature` is a PKCS#1 v1.5 SHA-256 signature over `message` by the RSA key in the DER certificate.
pub fn verify_by_certificate(der: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(der) else { return false };
    let Ok(key) = RsaPublicKey::from_pkcs1_der(&certificate.public_key().subject_public_key.data) else {
        return false;
    };
    key.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message), signature).is_ok()
}

/// The system's randomness for key generation.
struct SystemRandom;

impl rsa::rand_core::RngCore for SystemRandom {
    fn next_u32(&mut self) -> u32 {
        getrandom::u32().expect("the system's random source works once the machine is up")
    }
    fn next_u64(&mut self) -> u64 {
        getrandom::u64().expect("the system's random source works once the machine is up")
    }
    fn fill_bytes(&mut self, dest: &mut [u8]) {
        getrandom::fill(dest).expect("the system's random source works once the machine is up");
    }
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl rsa::rand_core::CryptoRng for SystemRandom {}

/// `N` random bytes of the system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system's random source works once the machine is up");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_identities_look_like_a_stock_clients() {
        for index in 0..2 {
            let identity = Identity::test_key(index);
            let (_, certificate) = x509_parser::parse_x509_certificate(identity.certificate_der()).unwrap();
            assert_eq!(certificate.subject().to_string(), format!("CN={COMMON_NAME}"));
            assert_eq!(certificate.raw_serial(), [0]);
            assert_eq!(identity.certificate_signature().len(), 256);
            let signature = identity.sign(b"message").unwrap();
            assert!(verify_by_certificate(identity.certificate_der(), b"message", &signature));
            assert!(!verify_by_certificate(identity.certificate_der(), b"other", &signature));
        }
        assert_ne!(Identity::test_key(0).certificate_der(), Identity::test_key(1).certificate_der());
    }

    #[test]
    fn a_generated_identity_survives_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.pem");
        let made = Identity::load_or_create(&path).unwrap();
        let read = Identity::load_or_create(&path).unwrap();
        assert_eq!(made.certificate_der(), read.certificate_der());
        assert_eq!(made.certificate_pem(), read.certificate_pem());
        assert_eq!(made.key_der(), read.key_der());
        let (_, certificate) = x509_parser::parse_x509_certificate(made.certificate_der()).unwrap();
        assert_eq!(certificate.raw_serial(), [0]);
        assert_eq!(certificate.subject().to_string(), format!("CN={COMMON_NAME}"));
        let days =
            certificate.validity().not_after.timestamp() - certificate.validity().not_before.timestamp();
        assert_eq!(days / 86_400, 7300);
        assert!(verify_by_certificate(made.certificate_der(), b"x", &read.sign(b"x").unwrap()));
        std::fs::write(&path, "junk").unwrap();
        assert!(matches!(Identity::load_or_create(&path), Err(IdentityError::Malformed(_))));
    }
}
