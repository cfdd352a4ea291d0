//! UDP ports that carry datagrams to a host through emulated links.
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Link, Profile, RelayStatistics};
use crate::clock::{self, Time};

/// Longest sleep, so that a stop is noticed.
const NAP: Duration = Duration::from_millis(20);
/// Largest UDP payload.
const BUFFER: usize = 65_536;

/// A relay with one entrance per target, until dropped.
#[derive(Debug)]
pub struct Relay {
    entrances: Vec<SocketAddr>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    profile: Profile,
    changed: bool,
    statistics: RelayStatistics,
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One target: the socket that the client talks to, the one that talks to the host, a link each way.
struct Path {
    entrance: UdpSocket,
    exit: UdpSocket,
    target: SocketAddr,
    client: Option<SocketAddr>,
    up: Link,
    down: Link,
}

impl Relay {
    /// Opens an entrance on the loopback for each target and starts the thread `tk-netem`.
    pub fn start(targets: &[SocketAddr], profile: Profile) -> io::Result<Relay> {
        let mut paths = Vec::new();
        for (index, target) in targets.iter().enumerate() {
            let (near, any): (IpAddr, IpAddr) = match target {
                SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST.into(), Ipv4Addr::UNSPECIFIED.into()),
                SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST.into(), Ipv6Addr::UNSPECIFIED.into()),
            };
            let entrance = crate::stream::udp_socket(SocketAddr::new(near, 0))?;
            let exit = crate::stream::udp_socket(SocketAddr::new(any, 0))?;
            entrance.set_nonblocking(true)?;
            exit.set_nonblocking(true)?;
            let seed = profile.seed.wrapping_add(index as u64 * 2);
            let (up, down) = (Link::new(seed, profile.up), Link::new(seed.wrapping_add(1), profile.down));
            paths.push(Path { entrance, exit, target: *target, client: None, up, down });
        }
        let entrances = paths.iter().map(|path| path.entrance.local_addr()).collect::<Result<_, _>>()?;
        let state = State { profile, changed: true, statistics: RelayStatistics::default() };
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), state: Mutex::new(state) });
        let for_thread = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name("tk-netem".into()).spawn(move || run(paths, &for_thread))?;
        Ok(Relay { entrances, shared, thread: Some(thread) })
    }

    /// Where the client sends to, in the order of the targets.
    pub fn entrances(&self) -> &[SocketAddr] {
        &self.entrances
    }

    /// Changes the network from now on; the seed of the running links stays.
    pub fn set(&self, profile: Profile) {
        let mut state = self.shared.state();
        state.profile = profile;
        state.changed = true;
    }

    /// Sum over all links.
    pub fn statistics(&self) -> RelayStatistics {
        self.shared.state().statistics
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the network emulator's thread panicked");
        }
    }
}

fn run(mut paths: Vec<Path>, shared: &Shared) {
    let mut buffer = vec![0; BUFFER];
    while !shared.stop.load(Ordering::Relaxed) {
        let now = clock::now();
        {
            let mut state = shared.state();
            if std::mem::take(&mut state.changed) {
                for path in &mut paths {
                    path.up.set(state.profile.up, state.profile.blackout);
                    path.down.set(state.profile.down, state.profile.blackout);
                }
            }
        }
        for path in &mut paths {
            path.receive(&mut buffer, now);
        }
        let now = clock::now();
        let due: Vec<_> = paths.iter_mut().map(|path| path.due(now)).collect();
        // Counted before they leave, so that who has received a datagram finds it in the statistics.
        shared.state().statistics = paths.iter().fold(RelayStatistics::default(), |sum, path| {
            sum.plus(path.up.statistics()).plus(path.down.statistics())
        });
        for (path, (up, down)) in paths.iter().zip(due) {
            path.deliver(&up, &down);
        }
        wait(&paths);
    }
}

/// Sleeps until a datagram comes or is due.
fn wait(paths: &[Path]) {
    let now = clock::now();
    let due = paths.iter().flat_map(|path| [path.up.next_due(), path.down.next_due()]).flatten().min();
    let nap = due.map_or(NAP, |due| due.since(now).min(NAP));
    let mut fds: Vec<PollFd<'_>> = paths
        .iter()
        .flat_map(|path| [&path.entrance, &path.exit])
        .map(|socket| PollFd::new(socket, PollFlags::IN))
        .collect();
    let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(nap.subsec_nanos()) };
    if let Err(error) = poll(&mut fds, Some(&timeout)) {
        tracing::debug!(%error, "poll of the network emulator was interrupted");
    }
}

impl Path {
    fn receive(&mut self, buffer: &mut [u8], now: Time) {
        // At most this many per turn, so that a flood in one direction does not starve the other.
        for _ in 0..256 {
            let Ok((length, from)) = self.entrance.recv_from(buffer) else { break };
            self.client = Some(from);
            self.up.push(&buffer[..length], now);
        }
        for _ in 0..256 {
            let Ok((length, from)) = self.exit.recv_from(buffer) else { break };
            if from == self.target {
                self.down.push(&buffer[..length], now);
            }
        }
    }

    fn due(&mut self, now: Time) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let up = std::iter::from_fn(|| self.up.pop(now)).collect();
        let down = std::iter::from_fn(|| self.down.pop(now)).collect();
        (up, down)
    }

    fn deliver(&self, up: &[Vec<u8>], down: &[Vec<u8>]) {
        for datagram in up {
            send(&self.exit, datagram, self.target);
        }
        if let Some(client) = self.client {
            for datagram in down {
                send(&self.entrance, datagram, client);
            }
        }
    }
}

fn send(socket: &UdpSocket, datagram: &[u8], to: SocketAddr) {
    if let Err(error) = socket.send_to(datagram, to) {
        tracing::trace!(%error, "the emulated network could not hand on a datagram");
    }
}
