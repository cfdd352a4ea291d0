//! The control streams of all sessions: one UDP port, one thread. Opens what clients send, hands input to the output
//! without a detour, asks the encoder for key frames, and sends the host's messages.

use crate::stream::pipeline::IdrHandle;
use crate::stream::stats::StreamStats;
use lumen_gamestream::control::{ClientMessage, ControlCipher, HostMessage, Termination};
use lumen_gamestream::session::SessionId;
use lumen_input::pads::PadInput;
use lumen_input::{Dropped, Mapper};
use lumen_media::{Timestamp, clock};
use lumen_net::Path;
use lumen_net::enet::{ControlConfig, ControlEvent, ControlHost, ControlStats, PeerKey};
use lumen_net::udp::{PortHandler, Reader, ReaderWaker, UdpPort};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Commands that wait for the thread; a few per session's life.
const COMMANDS: usize = 256;
/// Clients send something every 100 ms; what they hold is let go after this silence, long before ENet gives up.
const SILENCE: Duration = Duration::from_secs(1);
/// Messages for a client that has not said anything yet; a few per gamepad that stayed.
const WAITING: usize = 128;
/// How long a client that was told of the end may take to leave by itself (protocol text §10.3).
const FAREWELL: Duration = Duration::from_secs(1);

/// What a session brings to its control stream.
pub struct Admission {
    /// Number from SETUP.
    pub connect_data: u32,
    /// Address to expect instead, for clients that do not send the number.
    pub legacy_address: Option<IpAddr>,
    /// Key and counters.
    pub cipher: ControlCipher,
    /// Where input goes.
    pub mapper: Mapper,
    /// Where that of gamepads goes; `None` without gamepads.
    pub pads: Option<PadInput>,
    /// Whom to ask for key frames.
    pub idr: IdrHandle,
    /// Where reports are counted.
    pub stats: Arc<StreamStats>,
}

enum Command {
    Admit(SessionId, Box<Admission>),
    Terminate(SessionId, Termination),
    ReleaseInput(SessionId),
    Send(SessionId, HostMessage),
    Forget(SessionId),
}

/// What happened to a session's control stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlNews {
    /// ENet is connected.
    Connected(SessionId),
    /// The client left or fell silent.
    Disconnected(SessionId),
}

/// What was dropped, and how many sessions there are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Sessions that are let in or not yet gone.
    pub sessions: usize,
    /// Control messages that did not open or decode.
    pub refused_messages: u64,
    /// Of the datagrams before that.
    pub datagrams: ControlStats,
    /// Input without effect.
    pub input: Dropped,
}

/// Kept by the thread, read by others.
#[derive(Default)]
struct Shown {
    counts: Mutex<Counts>,
    changed: Condvar,
}

/// The running thread. Dropping it ends all control streams.
pub struct ControlStreams {
    shown: Arc<Shown>,
    commands: SyncSender<Command>,
    waker: ReaderWaker,
    _reader: Reader,
}

impl ControlStreams {
    /// Serves `port`; `news` is called on the thread and must not wait.
    pub fn start(port: Arc<UdpPort>, news: impl Fn(ControlNews) + Send + 'static) -> std::io::Result<Self> {
        let (commands, received) = sync_channel(COMMANDS);
        let shown = Arc::new(Shown::default());
        let handler = Handler {
            shown: shown.clone(),
            counts: Counts::default(),
            port: port.clone(),
            host: ControlHost::new(ControlConfig::default(), clock::now()),
            commands: received,
            sessions: HashMap::new(),
            peers: HashMap::new(),
            news: Box::new(news),
        };
        let reader = Reader::spawn(port, "lumen-control", handler)?;
        Ok(Self { shown, commands, waker: reader.waker(), _reader: reader })
    }

    /// Lets a session's client in.
    pub fn admit(&self, session: SessionId, admission: Admission) {
        self.command(Command::Admit(session, Box::new(admission)));
    }

    /// Tells the client that its stream ends, and why; the connection is closed when it has left, at the latest a second
    /// later.
    pub fn terminate(&self, session: SessionId, termination: Termination) {
        self.command(Command::Terminate(session, termination));
    }

    /// Lets go of all that the client holds down.
    pub fn release_input(&self, session: SessionId) {
        self.command(Command::ReleaseInput(session));
    }

    /// A way to send messages to a session's client from another thread; what comes when it is gone is dropped.
    pub fn sender(&self, session: SessionId) -> impl Fn(HostMessage) + Send + use<> {
        let (commands, waker) = (self.commands.clone(), self.waker.clone());
        move |message| {
            if commands.send(Command::Send(session, message)).is_ok() {
                waker.wake();
            }
        }
    }

    /// The session is void: nobody may connect for it any more, and nothing more is reported of it.
    pub fn forget(&self, session: SessionId) {
        self.command(Command::Forget(session));
    }

    /// Waits until every client has taken its farewell or left, at most so long.
    pub fn farewell(&self, patience: Duration) {
        let counts = self.shown.counts.lock().unwrap_or_else(PoisonError::into_inner);
        // A time-out is an answer too: whoever is still there will find out by itself.
        let _ = self.shown.changed.wait_timeout_while(counts, patience, |counts| counts.sessions > 0);
    }

    /// What was dropped so far.
    pub fn counts(&self) -> Counts {
        *self.shown.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn command(&self, command: Command) {
        // The thread empties the queue at every turn; it is gone only when the host stops.
        if self.commands.send(command).is_ok() {
            self.waker.wake();
        }
    }
}

struct Session {
    admission: Admission,
    peer: Option<PeerKey>,
    heard: Timestamp,
    /// When to close the connection for good; set once the client was told of the end.
    farewell: Option<Timestamp>,
    forgotten: bool,
    refused_messages: u64,
    /// The client has said something since it connected.
    spoke: bool,
    /// For when it has.
    waiting: Vec<HostMessage>,
}

struct Handler {
    shown: Arc<Shown>,
    counts: Counts,
    port: Arc<UdpPort>,
    host: ControlHost,
    commands: Receiver<Command>,
    sessions: HashMap<SessionId, Session>,
    peers: HashMap<PeerKey, SessionId>,
    news: Box<dyn Fn(ControlNews) + Send>,
}

impl PortHandler for Handler {
    fn datagram(&mut self, path: Path, bytes: &[u8], now: Timestamp) {
        // A session is admitted before its client is told where to connect; on a busy machine both wait here, and the
        // client's first attempt must not be refused: it repeats it half a second later only.
        self.take_commands(now);
        self.host.datagram(path, bytes, now);
        self.events(now);
    }

    fn idle(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.take_commands(now);
        self.host.tick(now);
        self.events(now);
        self.timers(now);
        self.transmit();
        self.show();
        self.host.next_tick(now)
    }
}

impl Handler {
    fn take_commands(&mut self, now: Timestamp) {
        while let Ok(command) = self.commands.try_recv() {
            self.obey(command, now);
        }
    }

    fn obey(&mut self, command: Command, now: Timestamp) {
        match command {
            Command::Admit(id, admission) => {
                self.host.expect(admission.connect_data);
                if let Some(address) = admission.legacy_address {
                    self.host.expect_address(address);
                }
                let session = Session {
                    admission: *admission,
                    peer: None,
                    heard: now,
                    farewell: None,
                    forgotten: false,
                    refused_messages: 0,
                    spoke: false,
                    waiting: Vec::new(),
                };
                self.sessions.insert(id, session);
            }
            Command::Terminate(id, termination) => {
                let Some(session) = self.sessions.get_mut(&id) else { return };
                let Some(peer) = session.peer else { return };
                let frame = session.admission.cipher.seal(&HostMessage::Termination(termination));
                if let Err(error) = self.host.send(peer, &frame) {
                    tracing::debug!(%id, %error, "the client cannot be told of the end");
                }
                session.farewell = Some(now + FAREWELL);
            }
            Command::ReleaseInput(id) => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.admission.release_all();
                }
            }
            Command::Send(id, message) => self.send(id, message),
            Command::Forget(id) => self.forget(id),
        }
    }

    fn send(&mut self, id: SessionId, message: HostMessage) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        // Nothing comes after the farewell.
        if session.forgotten || session.farewell.is_some() {
            return;
        }
        match session.peer {
            Some(peer) if session.spoke => session.deliver(peer, &mut self.host, &message),
            _ if session.waiting.len() < WAITING => session.waiting.push(message),
            _ => {}
        }
    }

    fn forget(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.admission.release_all();
        session.forgotten = true;
        self.host.unexpect(session.admission.connect_data);
        let address = session.admission.legacy_address;
        if session.peer.is_none() {
            self.remove(id);
        } else if session.farewell.is_none() {
            // Nobody told the client: ENet does, when everything queued was taken.
            if let Some(peer) = session.peer {
                self.host.close(peer, 0);
            }
        }
        if let Some(address) = address {
            let others = self
                .sessions
                .values()
                .any(|other| !other.forgotten && other.admission.legacy_address == Some(address));
            if !others {
                self.host.unexpect_address(address);
            }
        }
    }

    fn events(&mut self, now: Timestamp) {
        while let Some(event) = self.host.poll_event() {
            match event {
                ControlEvent::Connected { peer, connect_data, path, replaces } => {
                    self.connected(peer, connect_data, path, replaces, now);
                }
                ControlEvent::Message { peer, bytes } => self.message(peer, &bytes, now),
                ControlEvent::Roaming { peer, path, messages } => self.roaming(peer, path, &messages),
                ControlEvent::Disconnected { peer, .. } => {
                    if let Some(id) = self.peers.remove(&peer) {
                        self.lost(id, peer);
                    }
                }
            }
        }
    }

    fn connected(
        &mut self,
        peer: PeerKey,
        connect_data: u32,
        path: Path,
        replaces: Option<PeerKey>,
        now: Timestamp,
    ) {
        let address = lumen_net::path::normalise_ip(path.remote.ip());
        let matches = |session: &Session| {
            !session.forgotten
                && if connect_data == 0 {
                    session.admission.legacy_address == Some(address)
                } else {
                    session.admission.connect_data == connect_data
                }
        };
        // The newest of several sessions of one address.
        let found = self.sessions.iter().filter(|(_, session)| matches(session)).map(|(id, _)| *id).max();
        let Some(id) = found else {
            self.host.reset(peer);
            return;
        };
        // Clients without connect data look alike from one address: the one that is replaced may be another session's.
        if let Some(old) = replaces
            && let Some(other) = self.peers.remove(&old)
            && other != id
        {
            self.lost(other, old);
        }
        self.peers.insert(peer, id);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.peer = Some(peer);
            session.heard = now;
        }
        tracing::debug!(session = %id, %path, "control stream connected");
        (self.news)(ControlNews::Connected(id));
    }

    fn message(&mut self, peer: PeerKey, bytes: &[u8], now: Timestamp) {
        let Some(session) = self.peers.get(&peer).and_then(|id| self.sessions.get_mut(id)) else { return };
        match session.admission.cipher.open(bytes) {
            Ok(message) => {
                session.heard = now;
                session.obey(message, now);
                if !std::mem::replace(&mut session.spoke, true) {
                    for message in std::mem::take(&mut session.waiting) {
                        session.deliver(peer, &mut self.host, &message);
                    }
                }
            }
            Err(error) => {
                self.counts.refused_messages += 1;
                session.refused_messages += 1;
                if session.refused_messages == 1 {
                    tracing::warn!(%peer, %error, "a control message was dropped; further ones are only counted");
                }
            }
        }
    }

    fn roaming(&mut self, peer: PeerKey, path: Path, messages: &[Vec<u8>]) {
        let Some(session) = self.peers.get(&peer).and_then(|id| self.sessions.get(id)) else { return };
        if messages.iter().any(|message| session.admission.cipher.proves(message)) {
            self.host.confirm(peer, path);
        }
    }

    /// A session's connection is gone.
    fn lost(&mut self, id: SessionId, peer: PeerKey) {
        let Some(session) = self.sessions.get_mut(&id).filter(|session| session.peer == Some(peer)) else {
            return;
        };
        session.peer = None;
        session.spoke = false;
        session.admission.release_all();
        if session.forgotten {
            self.remove(id);
        } else {
            (self.news)(ControlNews::Disconnected(id));
        }
    }

    fn remove(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.remove(&id) {
            let dropped = session.admission.mapper.dropped();
            let sum = &mut self.counts.input;
            sum.unknown += dropped.unknown;
            sum.invalid += dropped.invalid;
            sum.gamepad += dropped.gamepad;
            sum.refused += dropped.refused;
        }
    }

    /// Shows the counters to other threads.
    fn show(&mut self) {
        self.counts.sessions = self.sessions.len();
        self.counts.datagrams = self.host.stats();
        *self.shown.counts.lock().unwrap_or_else(PoisonError::into_inner) = self.counts;
        self.shown.changed.notify_all();
    }

    fn timers(&mut self, now: Timestamp) {
        let mut over = Vec::new();
        for (id, session) in &mut self.sessions {
            // A message that was lost keeps those behind it waiting, while the client is there.
            let datagram = session.peer.and_then(|peer| self.host.heard(peer)).unwrap_or(session.heard);
            if session.admission.holds_anything() && now.since(session.heard.max(datagram)) > SILENCE {
                tracing::info!(session = %id, "the client fell silent: what it held is let go");
                session.admission.release_all();
            }
            if session.farewell.is_some_and(|at| at <= now) {
                over.push((*id, session.peer));
                session.farewell = None;
            }
        }
        for (id, peer) in over {
            match peer {
                Some(peer) => self.host.close(peer, 0),
                None => self.remove(id),
            }
        }
    }

    fn transmit(&mut self) {
        while let Some(transmit) = self.host.poll_transmit() {
            // The port logs the first error; ENet repeats what is lost.
            let _ = self.port.send(&transmit.path, &transmit.bytes);
        }
    }
}

impl Admission {
    fn holds_anything(&self) -> bool {
        self.mapper.holds_anything() || self.pads.as_ref().is_some_and(PadInput::holds_anything)
    }

    fn release_all(&mut self) {
        self.mapper.release_all();
        if let Some(pads) = &mut self.pads {
            pads.release_all();
        }
    }
}

impl Session {
    fn deliver(&mut self, peer: PeerKey, host: &mut ControlHost, message: &HostMessage) {
        let frame = self.admission.cipher.seal(message);
        if let Err(error) = host.send(peer, &frame) {
            tracing::debug!(%peer, %error, "a message to the client was dropped");
        }
    }

    fn obey(&mut self, message: ClientMessage, now: Timestamp) {
        let Admission { mapper, pads, idr, stats, .. } = &mut self.admission;
        match message {
            ClientMessage::Input(_) if self.forgotten => {}
            ClientMessage::Input(packet) => {
                let taken = pads.as_mut().is_some_and(|pads| pads.handle(&packet));
                if !taken {
                    mapper.handle_received(&packet, now);
                }
            }
            ClientMessage::RequestIdr => {
                stats.idr_requested();
                idr.request();
            }
            // No software encoder can give up single references, so a lost range costs a key frame.
            ClientMessage::InvalidateFrames { .. } => {
                stats.invalidation_requested();
                idr.request();
            }
            ClientMessage::FecStatus(status) => {
                let received = u32::from(status.received_data) + u32::from(status.received_parity);
                stats.block_reported(received >= u32::from(status.total_data), now);
            }
            _ => {}
        }
    }
}
