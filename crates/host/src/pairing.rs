//! Pairing: connections that wait for a PIN, and the person who enters it.

use crate::clients::{ClientStore, PairedClient};
use lumen_gamestream::Time;
use lumen_gamestream::pairing::{AttemptId, Begin, HostIdentity, PairingTable, Step, confirmed, refused};
use lumen_gamestream::query::Query;
use lumen_media::clock;
use lumen_web::ApiResponse;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// A little more than an attempt lives, so that the table's own clock decides.
const PATIENCE: Duration = Duration::from_secs(302);

/// How long whoever entered a PIN waits to hear whether it was right; clients need a few round trips.
const OUTCOME_PATIENCE: Duration = Duration::from_secs(3);
/// Digits of the PIN that every client shows (protocol text §3).
const PIN_DIGITS: usize = 4;
/// An address that asks to be paired is written about once in this time.
const QUIET: Duration = Duration::from_secs(10);
/// Addresses that are remembered for that.
const MOST_ANNOUNCED: usize = 64;

#[derive(Default)]
struct Inner {
    table: PairingTable,
    /// Held connections of phase 1.
    held: HashMap<AttemptId, oneshot::Sender<String>>,
    /// When each address was last written about, so that one that asks again and again does not fill the log.
    announced: HashMap<IpAddr, Time>,
    /// How the last pairing ended that got its PIN, and how many did so far.
    outcome: Option<(IpAddr, bool)>,
    outcomes: u64,
}

/// All pairing attempts of the host.
pub struct Pairings {
    inner: Mutex<Inner>,
    /// A pairing that got its PIN ended.
    ended: Condvar,
    identity: HostIdentity,
    clients: Arc<ClientStore>,
    /// Seconds since 1970, for the date of a pairing.
    wall_clock: fn() -> u64,
}

/// Ends an attempt whose client closed its connection.
struct Held<'a> {
    pairings: &'a Pairings,
    id: AttemptId,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut inner = self.pairings.lock();
        inner.held.remove(&self.id);
        inner.table.abandon(self.id, now());
    }
}

fn now() -> Time {
    Duration::from_nanos(clock::now().as_nanos())
}

impl Pairings {
    /// Without attempts.
    pub fn new(identity: HostIdentity, clients: Arc<ClientStore>, wall_clock: fn() -> u64) -> Self {
        Self { inner: Mutex::default(), ended: Condvar::new(), identity, clients, wall_clock }
    }

    /// `/pair` over plain HTTP. Phase 1 is answered when a person has entered the PIN.
    pub async fn answer(&self, query: &Query, peer: SocketAddr) -> ApiResponse {
        let reply = match Step::of(query) {
            Step::Begin => self.begin(query, peer.ip()).await,
            Step::Phase => self.phase(query, peer.ip()),
            // Phase 5 proves something over HTTPS only.
            Step::Confirm | Step::Unknown => refused(),
        };
        ApiResponse::xml(reply)
    }

    /// `/pair` over HTTPS from a paired client: phase 5.
    pub fn confirm(&self, query: &Query) -> ApiResponse {
        ApiResponse::xml(match Step::of(query) {
            Step::Confirm => confirmed(),
            _ => refused(),
        })
    }

    /// `/unpair`: drops a pending attempt, never a pairing.
    pub fn unpair(&self, _query: &Query, peer: SocketAddr) -> ApiResponse {
        let gave_up = self.lock().table.unpair(peer.ip(), now()).is_some();
        if gave_up {
            self.note_outcome(peer.ip(), false);
            tracing::warn!(peer = %peer.ip(), "the client gave up pairing: the PIN was probably wrong; start again on it");
        }
        ApiResponse::xml(lumen_gamestream::api::unpaired())
    }

    /// Who waits for a PIN, the longest first.
    pub fn waiting(&self) -> Value {
        let mut inner = self.lock();
        inner.expire();
        let waiting: Vec<_> = inner
            .table
            .waiting(now())
            .iter()
            .map(|attempt| {
                json!({
                    "address": attempt.peer.to_string(),
                    "seconds": attempt.age.as_secs(),
                    "failures": attempt.failures,
                })
            })
            .collect();
        Value::Array(waiting)
    }

    /// A person entered a PIN.
    ///
    /// # Errors
    /// What that person should know.
    pub fn enter_pin(&self, pin: &str, address: Option<&str>, name: Option<&str>) -> Result<String, String> {
        if pin.len() != PIN_DIGITS || !pin.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("\"{pin}\" is not a PIN: it is the four digits that the client shows."));
        }
        let mut inner = self.lock();
        inner.expire();
        let waiting = inner.table.waiting(now());
        let wanted: Option<IpAddr> = match address {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| format!("\"{text}\" is not an address"))?),
        };
        let fitting: Vec<_> =
            waiting.iter().filter(|attempt| wanted.is_none_or(|address| attempt.peer == address)).collect();
        let attempt = match (fitting.as_slice(), wanted) {
            ([], _) if waiting.is_empty() => {
                return Err("No client waits for a PIN. Start pairing on the client first.".into());
            }
            ([], _) => return Err("No client with that address waits; lumen pair lists who does.".into()),
            ([one], _) => one,
            // Of several attempts of one device the newest shows the PIN that a person sees.
            ([.., newest], Some(_)) => newest,
            (several, None) => {
                let list: Vec<_> = several.iter().map(|attempt| attempt.peer.to_string()).collect();
                return Err(format!("Several clients wait; say which with --address: {}", list.join(", ")));
            }
        };
        let name = name.map_or_else(|| format!("client at {}", attempt.peer), str::to_owned);
        let reply = inner
            .table
            .provide_pin(attempt.id, pin, &name, &self.identity, now())
            .map_err(|error| error.to_string())?;
        let peer = attempt.peer;
        match inner.held.remove(&attempt.id).map(|held| held.send(reply)) {
            Some(Ok(())) => self.await_outcome(inner, peer, &name),
            _ => Err("The client closed its connection; start pairing on it again.".into()),
        }
    }

    /// Waits a moment for what the client makes of its PIN.
    fn await_outcome(
        &self,
        inner: MutexGuard<'_, Inner>,
        peer: IpAddr,
        name: &str,
    ) -> Result<String, String> {
        let before = inner.outcomes;
        let open = |inner: &mut Inner| {
            inner.outcomes == before || inner.outcome.is_none_or(|(ended, _)| ended != peer)
        };
        let waited = self.ended.wait_timeout_while(inner, OUTCOME_PATIENCE, open);
        let (inner, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        match inner.outcome.filter(|_| !timeout.timed_out()) {
            Some((_, true)) => Ok(format!("Paired: \"{name}\" may stream from now on.")),
            Some((_, false)) => {
                Err("The PIN was wrong. Start pairing on the client again: it shows a new one.".into())
            }
            None => Ok(format!(
                "PIN sent to {peer}, which has not answered yet. It says whether the PIN was right; lumen clients lists it then."
            )),
        }
    }

    fn note_outcome(&self, peer: IpAddr, paired: bool) {
        let mut inner = self.lock();
        inner.outcome = Some((peer.to_canonical(), paired));
        inner.outcomes += 1;
        self.ended.notify_all();
    }

    async fn begin(&self, query: &Query, peer: IpAddr) -> String {
        let (id, answer) = {
            let mut inner = self.lock();
            inner.expire();
            match inner.table.begin(query, peer, now()) {
                Begin::Refused { response_xml } => return response_xml,
                Begin::Waiting { id, replaced } => {
                    if let Some(held) = replaced.and_then(|replaced| inner.held.remove(&replaced)) {
                        let _ = held.send(refused());
                    }
                    let (sender, answer) = oneshot::channel();
                    inner.held.insert(id, sender);
                    (id, answer)
                }
            }
        };
        let held = Held { pairings: self, id };
        if self.lock().is_news(peer) {
            tracing::info!("{peer} asks to be paired: type the PIN that it shows (lumen pair PIN)");
        }
        let reply = tokio::time::timeout(PATIENCE, answer).await;
        drop(held);
        match reply {
            Ok(Ok(reply)) => reply,
            _ => refused(),
        }
    }

    fn phase(&self, query: &Query, peer: IpAddr) -> String {
        let mut random = [0; 32];
        if let Err(error) = getrandom::fill(&mut random) {
            tracing::error!(%error, "no randomness for pairing");
            return refused();
        }
        let outcome = {
            let mut inner = self.lock();
            inner.expire();
            inner.table.phase(query, peer, &self.identity, random, now())
        };
        if outcome.failed {
            tracing::warn!(%peer, "a pairing failed: the PIN was wrong");
            self.note_outcome(peer, false);
        }
        if let Some(client) = outcome.paired {
            let paired = PairedClient {
                name: client.name,
                certificate: client.cert_pem,
                paired_at: (self.wall_clock)(),
            };
            let name = paired.name.clone();
            // On disk before the reply: phase 5 comes at once, and a crash must not lose what the client believes.
            match self.clients.add(paired) {
                Ok(id) => {
                    tracing::info!(%name, %id, %peer, "paired");
                    self.note_outcome(peer, true);
                }
                Err(error) => {
                    tracing::error!(%error, "the pairing could not be kept");
                    return refused();
                }
            }
        }
        outcome.response_xml
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whether this address was not written about lately.
    fn is_news(&mut self, peer: IpAddr) -> bool {
        let now = now();
        self.announced.retain(|_, at| now.saturating_sub(*at) < QUIET);
        if self.announced.len() >= MOST_ANNOUNCED {
            return false;
        }
        self.announced.insert(peer, now).is_none()
    }

    fn expire(&mut self) {
        for id in self.table.expire(now()) {
            if let Some(held) = self.held.remove(&id) {
                let _ = held.send(refused());
            }
        }
    }
}
