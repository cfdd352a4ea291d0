//! Accepts any client certificate, but only from the owner of its key.
//!
//! Clients present certificates that no usual verifier takes: X.509 v1, serial number 0, expired, not yet valid. Which
//! one is a paired client's is decided per request. What must hold here is the handshake signature: certificates travel
//! in clear while pairing, so without that check anybody could present somebody else's.

use ring::signature as algorithm;
use ring::signature::{UnparsedPublicKey, VerificationAlgorithm};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

/// The verifier.
#[derive(Debug)]
pub(super) struct AnyClient;

/// Schemes that clients may sign with.
const SCHEMES: [SignatureScheme; 9] = [
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ED25519,
];

impl ClientCertVerifier for AnyClient {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify(message, certificate, signature.scheme, signature.signature(), Version::Tls12)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify(message, certificate, signature.scheme, signature.signature(), Version::Tls13)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

/// Which rules tie schemes to keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Tls12,
    Tls13,
}

/// The kind of key in a certificate, as far as it decides which algorithms fit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyKind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

fn verify(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    scheme: SignatureScheme,
    signature: &[u8],
    version: Version,
) -> Result<HandshakeSignatureValid, Error> {
    let bad_encoding = || Error::InvalidCertificate(CertificateError::BadEncoding);
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| bad_encoding())?;
    let info = parsed.public_key();
    let kind = match info.parsed() {
        Ok(PublicKey::RSA(_)) => KeyKind::Rsa,
        // Length of an uncompressed point; ring checks that it lies on the curve.
        Ok(PublicKey::EC(point)) if point.data().len() == 65 => KeyKind::P256,
        Ok(PublicKey::EC(point)) if point.data().len() == 97 => KeyKind::P384,
        _ if info.algorithm.algorithm.to_id_string() == ED25519_OID => KeyKind::Ed25519,
        _ => return Err(Error::InvalidCertificate(CertificateError::BadSignature)),
    };
    let algorithm = algorithm_for(scheme, kind, version)
        .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    UnparsedPublicKey::new(algorithm, &info.subject_public_key.data)
        .verify(message, signature)
        .map(|()| HandshakeSignatureValid::assertion())
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadSignature))
}

fn algorithm_for(
    scheme: SignatureScheme,
    kind: KeyKind,
    version: Version,
) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match (scheme, kind) {
        (SignatureScheme::RSA_PSS_SHA256, KeyKind::Rsa) => &algorithm::RSA_PSS_2048_8192_SHA256,
        (SignatureScheme::RSA_PSS_SHA384, KeyKind::Rsa) => &algorithm::RSA_PSS_2048_8192_SHA384,
        (SignatureScheme::RSA_PSS_SHA512, KeyKind::Rsa) => &algorithm::RSA_PSS_2048_8192_SHA512,
        (SignatureScheme::ECDSA_NISTP256_SHA256, KeyKind::P256) => &algorithm::ECDSA_P256_SHA256_ASN1,
        (SignatureScheme::ECDSA_NISTP384_SHA384, KeyKind::P384) => &algorithm::ECDSA_P384_SHA384_ASN1,
        (SignatureScheme::ED25519, KeyKind::Ed25519) => &algorithm::ED25519,
        // TLS 1.3 knows PKCS#1 in certificates only, and its ECDSA schemes name the curve as well as the hash.
        _ if version == Version::Tls13 => return None,
        (SignatureScheme::RSA_PKCS1_SHA256, KeyKind::Rsa) => &algorithm::RSA_PKCS1_2048_8192_SHA256,
        (SignatureScheme::RSA_PKCS1_SHA384, KeyKind::Rsa) => &algorithm::RSA_PKCS1_2048_8192_SHA384,
        (SignatureScheme::RSA_PKCS1_SHA512, KeyKind::Rsa) => &algorithm::RSA_PKCS1_2048_8192_SHA512,
        (SignatureScheme::ECDSA_NISTP256_SHA256, KeyKind::P384) => &algorithm::ECDSA_P384_SHA256_ASN1,
        (SignatureScheme::ECDSA_NISTP384_SHA384, KeyKind::P256) => &algorithm::ECDSA_P256_SHA384_ASN1,
        _ => return None,
    })
}

const ED25519_OID: &str = "1.3.101.112";
