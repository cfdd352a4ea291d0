//! Pairing, client side (protocol text §3): the four cryptographic phases as a sans-IO exchange.
//!
//! The caller sends each `phaseN_query` as the query of `/pair` and hands the named field of the answer to the
//! method that follows it.
use aes::Aes128;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

use crate::identity::{self, Identity, IdentityError};

/// Deliberately wrong or unusual ways to pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PairVariant {
    /// As stock desktop clients do.
    #[default]
    Stock,
    /// All hex digits in upper case, as the mobile clients send them.
    UppercaseHex,
    /// The phase-4 signature has one bit flipped.
    TamperedSignature,
    /// The phase-4 secret has one bit flipped after phase 3 committed to it.
    TamperedSecret,
    /// Goes on to phase 4 although the host's proof shows that the PIN was wrong.
    IgnoreWrongPin,
    /// Phase 2 is sent twice.
    RepeatPhase2,
    /// Phase 3 before phase 2.
    Phase3First,
    /// Phase 4 without phase 3.
    SkipPhase3,
    /// The salt has 8 bytes only.
    ShortSalt,
    /// The phase-4 secret has 8 bytes and no signature.
    ShortSecret,
}

/// Why the exchange cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum PairingError {
    /// A field of the host's answer is not what the text says.
    #[error("{field} of the host is {problem}")]
    Field {
        /// Name in the XML.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Host and client used different PINs.
    #[error("the PIN typed on the host is not the one this client shows")]
    WrongPin,
    /// The client's own key failed.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Random inputs of one attempt.
#[derive(Debug, Clone, Copy)]
pub struct Secrets {
    /// Salt of the PIN.
    pub salt: [u8; 16],
    /// The client's challenge C.
    pub challenge: [u8; 16],
    /// The client's secret, revealed in phase 4.
    pub client_secret: [u8; 16],
}

impl Secrets {
    /// Fresh ones.
    pub fn random() -> Self {
        Secrets { salt: identity::random(), challenge: identity::random(), client_secret: identity::random() }
    }
}

/// One attempt to pair.
#[derive(Debug)]
pub struct Exchange {
    identity: Identity,
    secrets: Secrets,
    variant: PairVariant,
    key: [u8; 16],
    host_certificate: Vec<u8>,
    host_hash: [u8; 32],
    host_challenge: [u8; 16],
}

impl Exchange {
    /// Begins an attempt with the PIN that this client shows.
    pub fn new(identity: &Identity, pin: &str, secrets: Secrets, variant: PairVariant) -> Self {
        let salt = if variant == PairVariant::ShortSalt { &secrets.salt[..8] } else { &secrets.salt[..] };
        Exchange {
            identity: identity.clone(),
            secrets,
            variant,
            key: pin_key(salt, pin),
            host_certificate: Vec::new(),
            host_hash: [0; 32],
            host_challenge: [0; 16],
        }
    }

    /// Phase 1: salt and client certificate.
    pub fn phase1_query(&self) -> String {
        let salt = match self.variant {
            PairVariant::ShortSalt => &self.secrets.salt[..8],
            _ => &self.secrets.salt[..],
        };
        let certificate = self.hex(self.identity.certificate_pem().as_bytes());
        format!("phrase=getservercert&salt={}&clientcert={certificate}", self.hex(salt))
    }

    /// Takes `plaincert` and gives the host's certificate as DER.
    pub fn plain_cert(&mut self, field: &str) -> Result<&[u8], PairingError> {
        let problem = |problem| PairingError::Field { field: "plaincert", problem };
        let pem = hex::decode(field).map_err(|_| problem("no hex text"))?;
        if !pem.starts_with(b"-----BEGIN CERTIFICATE-----\n") || pem.contains(&b'\r') {
            return Err(problem("no PEM text with LF endings"));
        }
        let der = CertificateDer::from_pem_slice(&pem).map_err(|_| problem("no PEM certificate"))?;
        if identity::certificate_signature(&der).is_none_or(|signature| signature.len() != 256) {
            return Err(problem("no certificate with an RSA-2048 signature"));
        }
        self.host_certificate = der.to_vec();
        Ok(&self.host_certificate)
    }

    /// Phase 2: the encrypted client challenge.
    pub fn phase2_query(&self) -> String {
        format!("clientchallenge={}", self.hex(&ecb_encrypt(&self.key, &self.secrets.challenge)))
    }

    /// Takes `challengeresponse`: the host's hash and challenge.
    pub fn challenge_response(&mut self, field: &str) -> Result<(), PairingError> {
        let problem = |problem| PairingError::Field { field: "challengeresponse", problem };
        let encrypted = hex::decode(field).map_err(|_| problem("no hex text"))?;
        if encrypted.len() != 48 {
            return Err(problem("not 48 bytes long"));
        }
        let plain = ecb_decrypt(&self.key, &encrypted);
        self.host_hash.copy_from_slice(&plain[..32]);
        self.host_challenge.copy_from_slice(&plain[32..]);
        Ok(())
    }

    /// Phase 3: the encrypted commitment to the client's secret.
    pub fn phase3_query(&self) -> String {
        let hash = challenge_hash(
            &self.host_challenge,
            self.identity.certificate_signature(),
            &self.secrets.client_secret,
        );
        format!("serverchallengeresp={}", self.hex(&ecb_encrypt(&self.key, &hash)))
    }

    /// Takes `pairingsecret`: checks the host's signature first, then its hash, which tells a wrong PIN.
    pub fn pairing_secret(&mut self, field: &str) -> Result<(), PairingError> {
        let problem = |problem| PairingError::Field { field: "pairingsecret", problem };
        let secret = hex::decode(field).map_err(|_| problem("no hex text"))?;
        if secret.len() != 272 {
            return Err(problem("not 272 bytes long"));
        }
        let (secret, signature) = secret.split_at(16);
        if !identity::verify_by_certificate(&self.host_certificate, secret, signature) {
            return Err(problem("not signed by the certificate of plaincert"));
        }
        let certificate_signature =
            identity::certificate_signature(&self.host_certificate).unwrap_or_default();
        if challenge_hash(&self.secrets.challenge, &certificate_signature, secret) != self.host_hash {
            return Err(PairingError::WrongPin);
        }
        Ok(())
    }

    /// Phase 4: the client's secret and its signature.
    pub fn phase4_query(&self) -> Result<String, PairingError> {
        let mut secret = self.secrets.client_secret.to_vec();
        let mut signature = self.identity.sign(&secret)?;
        match self.variant {
            PairVariant::TamperedSignature => signature[100] ^= 1,
            PairVariant::TamperedSecret => {
                secret[0] ^= 1;
                signature = self.identity.sign(&secret)?;
            }
            PairVariant::ShortSecret => {
                secret.truncate(8);
                signature.clear();
            }
            _ => {}
        }
        secret.extend_from_slice(&signature);
        Ok(format!("clientpairingsecret={}", self.hex(&secret)))
    }

    /// The host certificate of phase 1 (DER), empty before.
    pub fn host_certificate(&self) -> &[u8] {
        &self.host_certificate
    }

    fn hex(&self, bytes: &[u8]) -> String {
        match self.variant {
            PairVariant::UppercaseHex => hex::encode_upper(bytes),
            _ => hex::encode(bytes),
        }
    }
}

/// K = SHA-256(salt ‖ PIN digits)[0..16].
pub fn pin_key(salt: &[u8], pin: &str) -> [u8; 16] {
    let digest = Sha256::new().chain_update(salt).chain_update(pin.as_bytes()).finalize();
    let mut key = [0; 16];
    key.copy_from_slice(&digest[..16]);
    key
}

/// SHA-256(challenge ‖ certSig ‖ secret): the form of both sides' hashes.
pub fn challenge_hash(challenge: &[u8], certificate_signature: &[u8], secret: &[u8]) -> [u8; 32] {
    let digest =
        Sha256::new().chain_update(challenge).chain_update(certificate_signature).chain_update(secret);
    digest.finalize().into()
}

/// AES-128-ECB without padding; whole blocks only, a rest is left as it is.
pub fn ecb_encrypt(key: &[u8; 16], data: &[u8]) -> Vec<u8> {
    let cipher = Aes128::new(key.into());
    let mut out = data.to_vec();
    out.chunks_exact_mut(16).for_each(|block| cipher.encrypt_block(block.into()));
    out
}

/// Inverse of [`ecb_encrypt`].
pub fn ecb_decrypt(key: &[u8; 16], data: &[u8]) -> Vec<u8> {
    let cipher = Aes128::new(key.into());
    let mut out = data.to_vec();
    out.chunks_exact_mut(16).for_each(|block| cipher.decrypt_block(block.into()));
    out
}

#[cfg(test)]
mod tests;
