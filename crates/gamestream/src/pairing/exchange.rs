//! The arithmetic of one attempt, free of tables and time: golden vectors are checked against these functions.

use super::identity::{Certificate, HostIdentity};
use crate::crypto::{Ecb, sha256};
use subtle::ConstantTimeEq;

/// Length of salts, challenges and secrets.
pub(super) const BLOCK: usize = 16;

/// The key that salt and PIN make.
pub(super) fn key(salt: &[u8; BLOCK], pin: &str) -> [u8; BLOCK] {
    let hash = sha256(&[salt, pin.as_bytes()]);
    *hash.first_chunk().expect("a SHA-256 is longer than a block")
}

/// The host's random bytes of one attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Secrets {
    pub(super) secret: [u8; BLOCK],
    pub(super) challenge: [u8; BLOCK],
}

impl Secrets {
    pub(super) fn from_random(random: [u8; 2 * BLOCK]) -> Self {
        let [secret @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = random;
        let [_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, challenge @ ..] = random;
        Self { secret, challenge }
    }
}

/// Phase 2: answers the client's challenge and poses the host's.
pub(super) fn challenge_response(
    key: &Ecb,
    client_challenge: [u8; BLOCK],
    host_cert_signature: &[u8],
    secrets: &Secrets,
) -> [u8; 3 * BLOCK] {
    let challenge = key.decrypt(client_challenge);
    let hash = sha256(&[&challenge, host_cert_signature, &secrets.secret]);
    let mut plain = [0; 3 * BLOCK];
    plain[..32].copy_from_slice(&hash);
    plain[32..].copy_from_slice(&secrets.challenge);
    key.encrypt(plain)
}

/// Phase 3: what the client claims to know, to be checked in phase 4.
pub(super) fn client_hash(key: &Ecb, response: [u8; 2 * BLOCK]) -> [u8; 2 * BLOCK] {
    key.decrypt(response)
}

/// Phase 3: the host's secret, signed.
pub(super) fn pairing_secret(identity: &HostIdentity, secrets: &Secrets) -> Vec<u8> {
    [&secrets.secret[..], &identity.sign(&secrets.secret)].concat()
}

/// Phase 4: whether the client knew the PIN (the hash fits) and owns its certificate (the signature fits).
pub(super) fn is_proven(
    client: &Certificate,
    client_hash: &[u8; 2 * BLOCK],
    server_challenge: &[u8; BLOCK],
    pairing_secret: &[u8],
) -> bool {
    let Some((secret, signature)) = pairing_secret.split_first_chunk::<BLOCK>() else { return false };
    let expected = sha256(&[server_challenge, &client.signature, secret]);
    let known = bool::from(expected[..].ct_eq(&client_hash[..]));
    // Both are always computed, so that time does not tell which was wrong.
    let signed = client.verify(secret, signature);
    known & signed
}
