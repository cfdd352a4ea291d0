//! One attempt and the phase it is in.

use super::exchange::{self, BLOCK, Secrets};
use super::identity::{Certificate, HostIdentity};
use super::{PairedClient, not_proven, refused};
use crate::Time;
use crate::crypto::Ecb;
use crate::query::Query;
use crate::xml::Document;
use std::fmt;
use std::net::IpAddr;

/// Names an attempt. Never used twice by a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub(super) u64);

impl AttemptId {
    /// The number that a person names it by.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Back from the number that a person named.
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

pub(super) struct Attempt {
    pub(super) peer: IpAddr,
    pub(super) certificate: Certificate,
    pub(super) since: Time,
    pub(super) state: State,
}

/// What is due next.
pub(super) enum State {
    /// A person's PIN.
    Waiting { salt: [u8; BLOCK] },
    /// Phase 2.
    Challenge { key: [u8; BLOCK], name: String },
    /// Phase 3.
    Response { key: [u8; BLOCK], name: String, secrets: Secrets },
    /// Phase 4.
    Secret { name: String, challenge: [u8; BLOCK], client_hash: [u8; 2 * BLOCK] },
}

/// What a phase led to.
pub(super) enum Advance {
    /// The attempt goes on.
    On { state: State, reply: String },
    /// It succeeded.
    Paired { client: PairedClient, reply: String },
    /// It is over.
    Over { reply: String },
}

impl Attempt {
    /// Whether the PIN is there, so that a phase of this attempt may come.
    pub(super) fn is_past_pin(&self) -> bool {
        !matches!(self.state, State::Waiting { .. })
    }

    /// Whether the client has seen whether its PIN was right: an attempt that ends now was a guess.
    pub(super) fn was_a_guess(&self) -> bool {
        matches!(self.state, State::Secret { .. })
    }

    /// Answers the phase that is due; any other ends the attempt.
    pub(super) fn advance(&self, query: &Query, identity: &HostIdentity, random: [u8; 32]) -> Advance {
        let advance = match &self.state {
            State::Waiting { .. } => None,
            State::Challenge { key, name } => exactly(query, "clientchallenge").map(|challenge| {
                let secrets = Secrets::from_random(random);
                let signature = identity.cert_signature();
                let reply = exchange::challenge_response(&Ecb::new(key), challenge, signature, &secrets);
                Advance::On {
                    state: State::Response { key: *key, name: name.clone(), secrets },
                    reply: paired_with("challengeresponse", &reply),
                }
            }),
            State::Response { key, name, secrets } => {
                exactly(query, "serverchallengeresp").map(|response| Advance::On {
                    state: State::Secret {
                        name: name.clone(),
                        challenge: secrets.challenge,
                        client_hash: exchange::client_hash(&Ecb::new(key), response),
                    },
                    reply: paired_with("pairingsecret", &exchange::pairing_secret(identity, secrets)),
                })
            }
            State::Secret { name, challenge, client_hash } => {
                let secret = query.bytes("clientpairingsecret").ok().flatten();
                secret.filter(|secret| secret.len() > BLOCK).map(|secret| {
                    if exchange::is_proven(&self.certificate, client_hash, challenge, &secret) {
                        Advance::Paired {
                            client: PairedClient {
                                cert_der: self.certificate.der.clone(),
                                cert_pem: self.certificate.pem.clone(),
                                name: name.clone(),
                            },
                            reply: super::confirmed(),
                        }
                    } else {
                        Advance::Over { reply: not_proven() }
                    }
                })
            }
        };
        advance.unwrap_or_else(|| Advance::Over { reply: refused() })
    }
}

/// `N` bytes in hex under `key`.
pub(super) fn exactly<const N: usize>(query: &Query, key: &str) -> Option<[u8; N]> {
    query.bytes(key).ok()??.try_into().ok()
}

/// `paired` 1 with a phase's own field.
pub(super) fn paired_with(field: &'static str, bytes: &[u8]) -> String {
    Document::ok().element("paired", "1").element(field, &hex::encode(bytes)).finish()
}
