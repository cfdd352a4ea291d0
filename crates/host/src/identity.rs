//! Who this host is: an RSA-2048 key, a self-signed certificate and a UUID, made once and kept for ever, because clients
//! pin the certificate byte for byte (protocol text §2.3).

use crate::files::{self, FileError};
use anyhow::Context;
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding};
use std::path::Path;
use std::time::Duration;

/// Key, certificate and name tag of the host.
pub struct Identity {
    /// PKCS#8 private key, PEM.
    pub key_pem: String,
    /// The same key for signing.
    pub key: rsa::RsaPrivateKey,
    /// X.509 v3 certificate, PEM with LF line ends: what `plaincert` carries.
    pub certificate_pem: String,
    /// The same certificate, DER.
    pub certificate_der: Vec<u8>,
    /// `uniqueid` of `/serverinfo`.
    pub unique_id: uuid::Uuid,
}

impl Identity {
    /// Loads the identity from `dir`, or makes one there. `since_epoch` dates a new certificate.
    pub fn load_or_create(dir: &Path, since_epoch: Duration) -> anyhow::Result<Self> {
        files::ensure_private_dir(dir)?;
        let key_path = dir.join("key.pem");
        let certificate_path = dir.join("certificate.pem");
        let id_path = dir.join("unique-id");

        let key_pem = match files::read_optional(&key_path)? {
            Some(pem) => pem,
            None => {
                tracing::info!("making the host's key and certificate (once)");
                let key =
                    rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).context("making an RSA key")?;
                let pem = key.to_pkcs8_pem(LineEnding::LF).context("encoding the host's key")?.to_string();
                files::write_private(&key_path, pem.as_bytes())?;
                pem
            }
        };
        let damaged = |path: &Path, reason: String| FileError::Damaged { path: path.to_owned(), reason };
        let key = rsa::RsaPrivateKey::from_pkcs8_pem(&key_pem)
            .map_err(|error| damaged(&key_path, error.to_string()))?;
        let certificate_pem = match files::read_optional(&certificate_path)? {
            Some(pem) => pem,
            None => {
                let pem = self_signed(&key, since_epoch).context("making the host's certificate")?;
                files::write_private(&certificate_path, pem.as_bytes())?;
                pem
            }
        };
        let (_, parsed) = x509_parser::pem::parse_x509_pem(certificate_pem.as_bytes())
            .map_err(|error| damaged(&certificate_path, error.to_string()))?;
        let unique_id = match files::read_optional(&id_path)? {
            Some(text) => {
                text.trim().parse().map_err(|error: uuid::Error| damaged(&id_path, error.to_string()))?
            }
            None => {
                let id = uuid::Uuid::new_v4();
                files::write_private(&id_path, format!("{id}\n").as_bytes())?;
                id
            }
        };
        Ok(Self { key_pem, key, certificate_der: parsed.contents, certificate_pem, unique_id })
    }
}

fn self_signed(key: &rsa::RsaPrivateKey, since_epoch: Duration) -> anyhow::Result<String> {
    const SECONDS_A_YEAR: u64 = 31_556_952;
    let der = key.to_pkcs8_der()?;
    let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(
        &rustls_pki_types::PrivatePkcs8KeyDer::from(der.as_bytes().to_vec()),
        &rcgen::PKCS_RSA_SHA256,
    )?;
    let mut parameters = rcgen::CertificateParams::default();
    let mut name = rcgen::DistinguishedName::new();
    name.push(rcgen::DnType::CommonName, "Lumen Game Streaming Host");
    parameters.distinguished_name = name;
    // Dated from the start of last year, so that a client whose clock lags a little does not see the future.
    let year = 1970 + i32::try_from(since_epoch.as_secs() / SECONDS_A_YEAR)?;
    parameters.not_before = rcgen::date_time_ymd(year - 1, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(year + 20, 1, 1);
    Ok(parameters.self_signed(&pair)?.pem().replace("\r\n", "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rsa::traits::PublicKeyParts;

    #[test]
    fn an_identity_survives_a_restart_unchanged() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let now = Duration::from_secs(1_790_000_000);
        let first = Identity::load_or_create(dir.path(), now).expect("makes one");
        let second = Identity::load_or_create(dir.path(), now * 2).expect("loads it");
        assert_eq!(first.certificate_pem, second.certificate_pem);
        assert_eq!(first.unique_id, second.unique_id);
        assert_eq!(first.key.n(), second.key.n());
        assert_eq!(first.key.size(), 256, "RSA-2048");

        let (_, certificate) = x509_parser::parse_x509_certificate(&first.certificate_der).expect("parses");
        assert_eq!(certificate.version(), x509_parser::x509::X509Version::V3);
        assert_eq!(certificate.signature_value.data.len(), 256);
        let years = (certificate.validity().not_after.timestamp()
            - certificate.validity().not_before.timestamp())
            / 31_556_952;
        assert!((20..=21).contains(&years), "{years} years");
        assert!(!first.certificate_pem.contains('\r'), "LF line ends only");
    }

    #[test]
    fn a_damaged_key_is_named() {
        let dir = tempfile::tempdir().expect("temporary directory");
        std::fs::write(dir.path().join("key.pem"), "nonsense").expect("writable");
        let error = Identity::load_or_create(dir.path(), Duration::from_secs(1)).err().expect("refused");
        assert!(error.to_string().contains("key.pem is damaged"), "{error:#}");
    }
}
