//! All attempts of a host.

use super::attempt::{Advance, Attempt, AttemptId, State, exactly, paired_with};
use super::exchange;
use super::failures::{Failures, Origin};
use super::identity::{Certificate, HostIdentity};
use super::{PairedClient, in_progress, refused};
use crate::Time;
use crate::query::Query;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Most attempts at once.
const MAX_ATTEMPTS: usize = 16;
/// Most attempts of one address at once.
const MAX_PER_ORIGIN: usize = 3;
/// How long a client waits for its PIN to be entered.
const PIN_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a client may take from one phase to the next; clients themselves give up after 5 to 7 s.
const PHASE_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest name kept for a client, in characters.
const MAX_NAME: usize = 64;

/// What phase 1 led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Hold the connection until [`PairingTable::provide_pin`], or until the attempt is reported as ended.
    Waiting {
        /// Names the attempt.
        id: AttemptId,
        /// An earlier attempt of the same client, now ended: answer its connection with [`refused`].
        replaced: Option<AttemptId>,
    },
    /// Answer at once.
    Refused {
        /// The reply.
        response_xml: String,
    },
}

/// What phase 2, 3 or 4 led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhaseOutcome {
    /// The reply.
    pub response_xml: String,
    /// The client, when phase 4 succeeded: store it before the reply is sent, phase 5 follows at once.
    pub paired: Option<PairedClient>,
    /// The attempt ended without success after the client could see whether its PIN was right; for the log.
    pub failed: bool,
}

/// An attempt that waits for its PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Names the attempt.
    pub id: AttemptId,
    /// Where it comes from.
    pub peer: IpAddr,
    /// How long it has waited.
    pub age: Duration,
    /// Failures of that address that are still remembered.
    pub failures: u32,
}

/// Why a PIN was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// Not four decimal digits.
    #[error("a PIN has four digits; the client shows it")]
    NotAPin,
    /// No attempt of this name waits.
    #[error("this client waits no longer; start pairing on the client again")]
    Unknown,
    /// Another attempt from the same address is between its PIN and its end.
    #[error("another pairing from the same address is just finishing; enter the PIN again in a few seconds")]
    Busy,
}

/// All attempts of a host.
#[derive(Default)]
pub struct PairingTable {
    attempts: BTreeMap<AttemptId, Attempt>,
    failures: Failures,
    last_id: u64,
}

impl std::fmt::Debug for PairingTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PairingTable").field("attempts", &self.attempts.len()).finish_non_exhaustive()
    }
}

impl PairingTable {
    /// Without attempts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Phase 1.
    pub fn begin(&mut self, query: &Query, peer: IpAddr, now: Time) -> Begin {
        let peer = peer.to_canonical();
        let Some((salt, certificate)) = salt_and_certificate(query) else {
            return Begin::Refused { response_xml: refused() };
        };
        if self.failures.must_wait(peer.into(), now) {
            return Begin::Refused { response_xml: in_progress() };
        }
        let same = |attempt: &Attempt| attempt.peer == peer && attempt.certificate.der == certificate.der;
        let replaced = self.attempts.iter().find(|(_, attempt)| same(attempt)).map(|(id, _)| *id);
        let replaced = replaced.filter(|id| self.drop_attempt(*id, now));
        if self.failures.must_wait(peer.into(), now) || self.is_full_for(peer.into()) {
            // Nobody's connection is left hanging: an attempt that waited makes room for this one, so only one past its
            // PIN can have been replaced here.
            return Begin::Refused { response_xml: in_progress() };
        }
        self.last_id += 1;
        let id = AttemptId(self.last_id);
        let state = State::Waiting { salt };
        self.attempts.insert(id, Attempt { peer, certificate, since: now, state });
        Begin::Waiting { id, replaced }
    }

    /// A person entered the PIN that the client shows, and what to call the client. Returns the reply to phase 1.
    ///
    /// # Errors
    /// [`PinError`]; the attempt goes on waiting, unless it was gone before.
    pub fn provide_pin(
        &mut self,
        id: AttemptId,
        pin: &str,
        name: &str,
        identity: &HostIdentity,
        now: Time,
    ) -> Result<String, PinError> {
        if pin.len() != 4 || !pin.bytes().all(|b| b.is_ascii_digit()) {
            return Err(PinError::NotAPin);
        }
        let attempt = self.attempts.get(&id).ok_or(PinError::Unknown)?;
        let State::Waiting { salt } = attempt.state else { return Err(PinError::Unknown) };
        if self.past_pin(attempt.peer).is_some() {
            return Err(PinError::Busy);
        }
        let attempt = self.attempts.get_mut(&id).ok_or(PinError::Unknown)?;
        attempt.state = State::Challenge { key: exchange::key(&salt, pin), name: clean_name(name) };
        attempt.since = now;
        Ok(paired_with("plaincert", identity.cert_pem().as_bytes()))
    }

    /// Phase 2, 3 or 4. `random` is fresh for each call.
    pub fn phase(
        &mut self,
        query: &Query,
        peer: IpAddr,
        identity: &HostIdentity,
        random: [u8; 32],
        now: Time,
    ) -> PhaseOutcome {
        let peer = peer.to_canonical();
        let over = |response_xml, failed| PhaseOutcome { response_xml, paired: None, failed };
        let Some(id) = self.past_pin(peer) else { return over(refused(), false) };
        let Some(attempt) = self.attempts.get_mut(&id) else { return over(refused(), false) };
        match attempt.advance(query, identity, random) {
            Advance::On { state, reply } => {
                attempt.state = state;
                attempt.since = now;
                over(reply, false)
            }
            Advance::Paired { client, reply } => {
                self.attempts.remove(&id);
                self.failures.clear(peer.into());
                PhaseOutcome { response_xml: reply, paired: Some(client), failed: false }
            }
            Advance::Over { reply } => {
                let failed = attempt.was_a_guess();
                self.drop_attempt(id, now);
                over(reply, failed)
            }
        }
    }

    /// `/unpair`: ends the attempt of this address that is past its PIN. Answer [`crate::api::unpaired`].
    pub fn unpair(&mut self, peer: IpAddr, now: Time) -> Option<AttemptId> {
        let id = self.past_pin(peer.to_canonical())?;
        self.drop_attempt(id, now);
        Some(id)
    }

    /// The connection of phase 1 closed, or a person refused the attempt. True if it was there.
    pub fn abandon(&mut self, id: AttemptId, now: Time) -> bool {
        // Past its PIN, phase 1 is answered and its connection closes as it should.
        let waits = self.attempts.get(&id).is_some_and(|attempt| !attempt.is_past_pin());
        waits && self.drop_attempt(id, now)
    }

    /// Ends what took too long. Answer the connections of those returned that still wait with [`refused`].
    pub fn expire(&mut self, now: Time) -> Vec<AttemptId> {
        let late: Vec<AttemptId> =
            self.attempts.iter().filter(|(_, attempt)| deadline(attempt) <= now).map(|(id, _)| *id).collect();
        for id in &late {
            self.drop_attempt(*id, now);
        }
        self.failures.forget_old(now);
        late
    }

    /// When to call [`PairingTable::expire`] next, unless an event changes it.
    pub fn next_deadline(&self) -> Option<Time> {
        self.attempts.values().map(deadline).min()
    }

    /// Who waits for a PIN, the longest first.
    pub fn waiting(&self, now: Time) -> Vec<Waiting> {
        let waiting = self.attempts.iter().filter(|(_, attempt)| !attempt.is_past_pin());
        waiting
            .map(|(id, attempt)| Waiting {
                id: *id,
                peer: attempt.peer,
                age: now.saturating_sub(attempt.since),
                failures: self.failures.count(attempt.peer.into()),
            })
            .collect()
    }

    /// The one attempt of an address that is past its PIN.
    fn past_pin(&self, peer: IpAddr) -> Option<AttemptId> {
        let mut attempts = self.attempts.iter();
        attempts.find(|(_, attempt)| attempt.peer == peer && attempt.is_past_pin()).map(|(id, _)| *id)
    }

    fn is_full_for(&self, origin: Origin) -> bool {
        let of_origin = self.attempts.values().filter(|attempt| Origin::from(attempt.peer) == origin).count();
        self.attempts.len() >= MAX_ATTEMPTS || of_origin >= MAX_PER_ORIGIN
    }

    /// Ends an attempt without success.
    fn drop_attempt(&mut self, id: AttemptId, now: Time) -> bool {
        let Some(attempt) = self.attempts.remove(&id) else { return false };
        if attempt.was_a_guess() {
            self.failures.note(attempt.peer.into(), now);
        }
        true
    }
}

fn deadline(attempt: &Attempt) -> Time {
    attempt.since + if attempt.is_past_pin() { PHASE_TIMEOUT } else { PIN_TIMEOUT }
}

fn salt_and_certificate(query: &Query) -> Option<([u8; exchange::BLOCK], Certificate)> {
    let salt = exactly(query, "salt")?;
    let certificate = Certificate::from_pem(&query.bytes("clientcert").ok()??).ok()?;
    Some((salt, certificate))
}

/// A name that can be shown on a terminal.
fn clean_name(name: &str) -> String {
    let name: String = name.trim().chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
    if name.is_empty() { "unnamed client".to_owned() } else { name }
}
