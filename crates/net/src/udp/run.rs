//! Runs of equal datagrams: in one call (GSO) where that works, singly where it does not.

use super::RunReport;
use lumen_media::Timestamp;
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Longest run that one GSO call may carry, in bytes: what fits an IPv4 datagram's length field.
pub const MAX_RUN_BYTES: usize = 65_507;
/// Most segments that every kernel with GSO takes in a call.
const MAX_RUN_SEGMENTS: usize = 64;
/// Refused runs in a row after which a destination gets its datagrams singly.
const TRIES: u32 = 3;
/// For how long it does.
const PAUSE: Duration = Duration::from_secs(10);
/// Destinations that are remembered as refusing runs, far more than there are sessions.
const REMEMBERED: usize = 32;

/// Decides for each destination whether runs are worth trying. One destination must not decide for another: the way to
/// one client may lead through a tunnel whose MTU is below the segment, which the kernel refuses with EINVAL or
/// EMSGSIZE, or through an interface without checksum offload (EIO), while the others' takes runs.
#[derive(Debug, Default)]
pub(super) struct GsoGate {
    /// The oldest first.
    refusing: VecDeque<Refusing>,
}

#[derive(Debug)]
struct Refusing {
    destination: IpAddr,
    runs: u32,
    closed_until: Option<Timestamp>,
}

/// What a refused run means for its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Nothing yet.
    Noted,
    /// It gets its datagrams singly for a while.
    Closed,
    /// So it does again, after one more run was tried.
    StillClosed,
}

impl GsoGate {
    /// Whether a run to `destination` should be tried.
    pub(super) fn is_open(&self, destination: IpAddr, now: Timestamp) -> bool {
        let refusing = self.refusing.iter().find(|refusing| refusing.destination == destination);
        refusing.and_then(|refusing| refusing.closed_until).is_none_or(|until| until <= now)
    }

    /// Whether no destination is excepted.
    fn is_open_for_all(&self, now: Timestamp) -> bool {
        self.refusing.iter().all(|refusing| refusing.closed_until.is_none_or(|until| until <= now))
    }

    /// A run went through.
    pub(super) fn worked(&mut self, destination: IpAddr) {
        self.refusing.retain(|refusing| refusing.destination != destination);
    }

    /// A run was refused although its datagrams went through singly.
    pub(super) fn refused(&mut self, destination: IpAddr, now: Timestamp) -> Refused {
        let found = self.refusing.iter().position(|refusing| refusing.destination == destination);
        let mut refusing = found.and_then(|index| self.refusing.remove(index)).unwrap_or(Refusing {
            destination,
            runs: 0,
            closed_until: None,
        });
        refusing.runs = refusing.runs.saturating_add(1);
        let meaning = match refusing.closed_until {
            _ if refusing.runs < TRIES => Refused::Noted,
            None => Refused::Closed,
            Some(_) => Refused::StillClosed,
        };
        if meaning != Refused::Noted {
            refusing.closed_until = Some(now + PAUSE);
        }
        if self.refusing.len() >= REMEMBERED {
            self.refusing.pop_front();
        }
        self.refusing.push_back(refusing);
        meaning
    }
}

/// Sends the runs of one port.
#[derive(Debug)]
pub(super) struct Runs {
    port: u16,
    /// Most segments that the kernel takes in a call; none where it has no GSO.
    segments: Option<usize>,
    gate: Mutex<GsoGate>,
}

impl Runs {
    /// `segments` is what the kernel offered when the socket was made. `quinn-udp` lowers its own figure to 1 for ever
    /// at the first EINVAL or EIO of any send, also of a single datagram from an address that this machine no longer
    /// has; but it only reports that figure and sends the runs that it is given, so it is read once and not again.
    pub(super) fn new(port: u16, segments: usize) -> Self {
        let segments = (segments > 1).then_some(segments.min(MAX_RUN_SEGMENTS));
        Self { port, segments, gate: Mutex::default() }
    }

    /// Whether the kernel takes runs and no destination is excepted.
    pub(super) fn all_in_one_call(&self, now: Timestamp) -> bool {
        self.segments.is_some() && self.gate().is_open_for_all(now)
    }

    /// Sends `run` as datagrams of `segment` bytes. `transmit` gets bytes and, for more than one datagram, the length
    /// of each.
    pub(super) fn send(
        &self,
        destination: IpAddr,
        (run, segment): (&[u8], usize),
        now: Timestamp,
        mut transmit: impl FnMut(&[u8], Option<usize>) -> io::Result<()>,
    ) -> RunReport {
        let mut report = RunReport::default();
        if segment == 0 {
            return report;
        }
        let most = (MAX_RUN_BYTES / segment).clamp(1, self.segments.unwrap_or(MAX_RUN_SEGMENTS));
        // A buffer that stayed full for 100 ms will not take the rest either; each would wait as long again.
        let mut stuck = false;
        for part in run.chunks(segment * most) {
            let mut refusal = None;
            if part.len() > segment && !stuck && self.is_open(destination, now) {
                match transmit(part, Some(segment)) {
                    Ok(()) => {
                        self.gate().worked(destination);
                        report.calls += 1;
                        continue;
                    }
                    Err(error) => {
                        stuck = error.kind() == io::ErrorKind::TimedOut;
                        refusal = Some(error).filter(blames_the_run);
                    }
                }
            }
            let lost = report.lost;
            for datagram in part.chunks(segment) {
                let result =
                    if stuck { Err(io::ErrorKind::TimedOut.into()) } else { transmit(datagram, None) };
                match result {
                    Ok(()) => report.calls += 1,
                    Err(error) => {
                        stuck |= error.kind() == io::ErrorKind::TimedOut;
                        report.lost += 1;
                    }
                }
            }
            // What does not work singly either says nothing about runs.
            if let Some(error) = refusal.filter(|_| report.lost == lost) {
                self.note_refusal(destination, &error, segment, now);
            }
        }
        report
    }

    fn is_open(&self, destination: IpAddr, now: Timestamp) -> bool {
        self.segments.is_some() && self.gate().is_open(destination, now)
    }

    fn note_refusal(&self, destination: IpAddr, error: &io::Error, segment: usize, now: Timestamp) {
        let port = self.port;
        let meaning = self.gate().refused(destination, now);
        match meaning {
            Refused::Noted => tracing::trace!(port, %destination, %error, "a run of packets was refused"),
            Refused::Closed => tracing::warn!(
                port, %destination, %error, segment,
                "the way to this client takes packets singly but not in runs (GSO): its MTU is below the packet size or \
                 the network interface lacks checksum offload. Sending singly costs more CPU; a smaller packet size at \
                 the client may help. Runs are tried again every 10 s"
            ),
            Refused::StillClosed => tracing::debug!(port, %destination, %error, "runs are still refused"),
        }
    }

    fn gate(&self) -> MutexGuard<'_, GsoGate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an error may come from sending a run rather than from sending at all.
fn blames_the_run(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EIO | libc::EMSGSIZE | libc::EOPNOTSUPP))
}

#[cfg(test)]
mod tests;
