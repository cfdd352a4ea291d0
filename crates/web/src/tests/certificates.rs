//! Certificates as clients bring them, also odd ones.

use rcgen::{CertificateParams, KeyPair, PublicKeyData, SerialNumber, date_time_ymd};
use rsa::pkcs8::EncodePrivateKey;
use rustls_pki_types::PrivatePkcs8KeyDer;
use std::sync::OnceLock;

/// A certificate and a key, which need not belong together.
#[derive(Clone)]
pub(super) struct Credentials {
    /// DER.
    pub certificate: Vec<u8>,
    /// DER of PKCS#8.
    pub key: Vec<u8>,
}

impl Credentials {
    pub fn p256() -> Self {
        Self::ordinary(&generate(&rcgen::PKCS_ECDSA_P256_SHA256))
    }

    pub fn p384() -> Self {
        Self::ordinary(&generate(&rcgen::PKCS_ECDSA_P384_SHA384))
    }

    pub fn ed25519() -> Self {
        Self::ordinary(&generate(&rcgen::PKCS_ED25519))
    }

    /// What stock clients have: RSA-2048. Made once, it takes a while.
    pub fn rsa() -> Self {
        Self::ordinary(&rsa_key())
    }

    /// A stock client's certificate: RSA-2048, serial number 0, and out of date at that.
    pub fn rsa_serial_zero_expired() -> Self {
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from_slice(&[0]));
        params.not_before = date_time_ymd(1999, 1, 1);
        params.not_after = date_time_ymd(2000, 1, 1);
        Self::made(params, &rsa_key())
    }

    pub fn not_yet_valid() -> Self {
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(2999, 1, 1);
        params.not_after = date_time_ymd(3000, 1, 1);
        Self::made(params, &generate(&rcgen::PKCS_ECDSA_P256_SHA256))
    }

    /// X.509 v1: no version field, no extensions. Its own signature is made of zeros, which is nobody's concern.
    pub fn version_1() -> Self {
        let key = generate(&rcgen::PKCS_ECDSA_P256_SHA256);
        let ecdsa_with_sha256 =
            der(0x30, &[&der(0x06, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]])]);
        let serial = der(0x02, &[&[0]]);
        let common_name =
            der(0x30, &[&der(0x06, &[&[0x55, 0x04, 0x03]]), &der(0x0c, &[b"NVIDIA GameStream Client"])]);
        let name = der(0x30, &[&der(0x31, &[&common_name])]);
        let validity = der(0x30, &[&der(0x17, &[b"200101000000Z"]), &der(0x17, &[b"400101000000Z"])]);
        let info = key.subject_public_key_info();
        let body = der(0x30, &[&serial, &ecdsa_with_sha256, &name, &validity, &name, &info]);
        let certificate = der(0x30, &[&body, &ecdsa_with_sha256, &der(0x03, &[&[0; 65]])]);
        Self { certificate, key: key.serialize_der() }
    }

    /// The certificate of one client with the key of another: what somebody has who listened to a pairing.
    pub fn stolen(certificate: &Credentials, key: &Credentials) -> Self {
        Self { certificate: certificate.certificate.clone(), key: key.key.clone() }
    }

    fn ordinary(key: &KeyPair) -> Self {
        Self::made(CertificateParams::default(), key)
    }

    fn made(params: CertificateParams, key: &KeyPair) -> Self {
        let certificate = params.self_signed(key).expect("valid parameters");
        Self { certificate: certificate.der().to_vec(), key: key.serialize_der() }
    }
}

fn generate(algorithm: &'static rcgen::SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).expect("the system has random numbers")
}

fn rsa_key() -> KeyPair {
    static KEY: OnceLock<Vec<u8>> = OnceLock::new();
    let der = KEY.get_or_init(|| {
        let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).expect("a key");
        key.to_pkcs8_der().expect("encodable").as_bytes().to_vec()
    });
    KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(der.as_slice()), &rcgen::PKCS_RSA_SHA256)
        .expect("ring takes RSA-2048")
}

/// One DER value out of its parts.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut value = vec![tag];
    match content.len() {
        short @ 0..=0x7f => value.push(short as u8),
        long => {
            value.push(0x82);
            value.extend(u16::try_from(long).expect("small").to_be_bytes());
        }
    }
    value.extend(content);
    value
}
