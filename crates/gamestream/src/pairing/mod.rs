//! Pairing, the host's side (protocol text §3). Drawn in `docs/design/pairing.md`.
//!
//! 1. Phase 1 ([`Step::Begin`]): [`PairingTable::begin`]; hold the connection. When a person enters the PIN,
//!    [`PairingTable::provide_pin`] returns what to answer. Attempts that end before are returned by the call that ended
//!    them: answer their connections with [`refused`]. When the connection closes first, [`PairingTable::abandon`].
//! 2. Phases 2–4 ([`Step::Phase`]): [`PairingTable::phase`]. Where it returns a [`PairedClient`], store that before the
//!    reply is sent.
//! 3. Phase 5 ([`Step::Confirm`]), over HTTPS with the new certificate: [`confirmed`].

mod attempt;
mod exchange;
mod failures;
mod identity;
mod table;

pub use attempt::AttemptId;
pub use identity::{CertificateError, HostIdentity};
pub use table::{Begin, PairingTable, PhaseOutcome, PinError, Waiting};

use crate::query::Query;
use crate::xml::Document;

/// Which step of pairing a `/pair` request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Phase 1.
    Begin,
    /// Phase 2, 3 or 4.
    Phase,
    /// Phase 5.
    Confirm,
    /// None of them: answer [`refused`].
    Unknown,
}

impl Step {
    /// The step of a query.
    pub fn of(query: &Query) -> Self {
        match query.value("phrase") {
            Some("getservercert") => Self::Begin,
            Some("pairchallenge") => Self::Confirm,
            _ if ["clientchallenge", "serverchallengeresp", "clientpairingsecret"]
                .iter()
                .any(|key| query.value(key).is_some()) =>
            {
                Self::Phase
            }
            _ => Self::Unknown,
        }
    }
}

/// A client that proved that it holds the PIN and the key of its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairedClient {
    /// Its certificate, as TLS will show it.
    pub cert_der: Vec<u8>,
    /// The same as text.
    pub cert_pem: String,
    /// What the person who entered the PIN called it.
    pub name: String,
}

/// `paired` 0 with status 400: the attempt is over.
pub fn refused() -> String {
    Document::failed(400, "Pairing refused").element("paired", "0").finish()
}

/// Reply to phase 5.
pub fn confirmed() -> String {
    Document::ok().element("paired", "1").finish()
}

/// `paired` 1 without a certificate: clients say that another pairing is in progress.
fn in_progress() -> String {
    Document::ok().element("paired", "1").finish()
}

/// `paired` 0 with status 200: phase 4 did not fit.
fn not_proven() -> String {
    Document::ok().element("paired", "0").finish()
}

#[cfg(test)]
mod tests;
