//! A running stream: the client's threads for video, control and audio, seen from the test.
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::audio::{AudioStatistics, OpusPacket};
use crate::clock::{self, Time};
use crate::control::{ClientMessage, HostMessage};
use crate::input::InputPacket;
use crate::netem::{Profile, Relay, RelayStatistics};
use crate::rtsp::{Negotiated, Offer};
use crate::video::{Frame, VideoStatistics, Violation};

pub(crate) mod audio;
mod control;
mod shared;
mod video;

pub(crate) use audio::AudioThread;
pub(crate) use shared::{Shared, Stop};

/// Choices of the test that a stock client does not have.
#[derive(Debug, Clone, Default)]
pub struct StreamOptions {
    /// Put a seeded network emulator between this client and the host, for the video, the audio and the control port.
    pub network: Option<Profile>,
    /// Hold out one data shard of each FEC block, derive it again from parity and compare: proves every block's
    /// parity, at the price of waiting for one parity packet.
    pub prove_parity: bool,
    /// Queue of complete frames waiting for [`Stream::next_frame`]; 0 means the default of 256. When full the
    /// oldest is dropped and counted.
    pub frame_queue: usize,
    /// Keep audio packets for [`Stream::next_audio`]: at most 256, the oldest is dropped.
    pub keep_audio: bool,
}

/// Why a stream is over, as a stock client would report it (protocol text §10.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// This side left: [`Stream::disconnect`], [`Stream::kill`] or drop.
    Left,
    /// 0x0109 with 0x80030023 after at least one frame: client result 0.
    Graceful,
    /// The same before any frame: −102.
    Early,
    /// 0x800e9403: −104.
    FrameConversion,
    /// 0x800e9302: −103.
    ProtectedContent,
    /// Any other termination code: shown to the user in hex.
    HostError(u32),
    /// ENet disconnect without 0x0109, or a dead peer: −1.
    ControlLost,
    /// No video datagram within 10 s: −100.
    NoVideoTraffic,
    /// Datagrams, but no complete IDR within 10 s of the first: −101.
    NoVideoFrame,
    /// A socket of this client failed, with its errno.
    Socket(i32),
}

impl Ending {
    /// Number that a stock client hands to its user interface.
    pub fn client_result(self) -> i32 {
        match self {
            Ending::Left | Ending::Graceful => 0,
            Ending::Early => -102,
            Ending::FrameConversion => -104,
            Ending::ProtectedContent => -103,
            Ending::HostError(code) => code.cast_signed(),
            Ending::ControlLost => -1,
            Ending::NoVideoTraffic => -100,
            Ending::NoVideoFrame => -101,
            Ending::Socket(errno) => errno,
        }
    }

    /// True when the user would see no error.
    pub fn is_clean(self) -> bool {
        self.client_result() == 0
    }
}

/// When each step of the start-up happened on CLOCK_MONOTONIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// `/launch` or `/resume` was about to be sent.
    pub launch_sent: Time,
    /// Its answer was read.
    pub launch_answered: Time,
    /// PLAY was answered.
    pub rtsp_done: Option<Time>,
    /// ENet was connected.
    pub control_connected: Option<Time>,
    /// First video datagram.
    pub first_datagram: Option<Time>,
    /// First complete frame.
    pub first_frame: Option<Time>,
}

/// Counters of a stream, all since its start.
#[derive(Debug, Clone, Default)]
pub struct Statistics {
    /// Start-up times.
    pub timings: Timings,
    /// Video counters.
    pub video: VideoStatistics,
    /// Audio counters.
    pub audio: AudioStatistics,
    /// Control messages received.
    pub host_messages: u64,
    /// Control datagrams that did not decrypt or parse.
    pub control_rejected: u64,
    /// 0x0302 sent, the first one included.
    pub idr_requests: u64,
    /// 0x0301 sent.
    pub invalidation_requests: u64,
    /// Complete frames dropped because nobody took them.
    pub queue_dropped: u64,
    /// ENet's mean round trip time.
    pub control_round_trip: Duration,
    /// What the network emulator did, when one is in the path.
    pub network: Option<RelayStatistics>,
}

/// Why a wait gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// Nothing came in time.
    #[error("nothing arrived within the given time; see Stream::statistics for what did arrive")]
    Timeout,
    /// The stream is over and its queue empty.
    #[error("the stream is over: {0:?}")]
    Ended(Ending),
}

/// A stream. Drop ends it like [`Stream::disconnect`] and joins its threads.
#[derive(Debug)]
pub struct Stream {
    shared: Arc<Shared>,
    negotiated: Negotiated,
    relays: Vec<Relay>,
    threads: Vec<JoinHandle<()>>,
}

/// What the start-up hands over once the RTSP handshake is done.
#[derive(Debug)]
pub(crate) struct Setup {
    pub shared: Arc<Shared>,
    pub negotiated: Negotiated,
    pub host: std::net::IpAddr,
    pub request: crate::request::StreamRequest,
    pub options: StreamOptions,
    pub key: [u8; 16],
    pub audio: Option<AudioThread>,
}

/// Wait for the ENet connection (protocol text §10.5).
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// How long drop waits for the host to acknowledge the disconnect.
const DROP_LINGER: Duration = Duration::from_millis(500);

impl Stream {
    /// Connects control, then starts the video thread, haptics and the pointer's nudge, in the order of Appendix C.
    pub(crate) fn start(setup: Setup) -> Result<Stream, StartError> {
        let Setup { shared, negotiated, host, request, options, key, audio } = setup;
        let mut stream = Stream {
            shared: Arc::clone(&shared),
            negotiated: negotiated.clone(),
            relays: Vec::new(),
            threads: Vec::new(),
        };
        if let Some(audio) = audio {
            stream.threads.push(audio.thread);
            stream.relays.extend(audio.relay);
        }
        let mut video = SocketAddr::new(host, negotiated.video_port);
        let mut control = SocketAddr::new(host, negotiated.control_port);
        if let Some(profile) = options.network {
            let relay = Relay::start(&[video, control], profile)?;
            (video, control) = (relay.entrances()[0], relay.entrances()[1]);
            stream.relays.push(relay);
        }
        stream.threads.push(control::start(Arc::clone(&shared), control, &negotiated, &key)?);
        if !shared.wait_until(CONNECT_WAIT, |state| state.timings.control_connected.is_some()) {
            shared.end(Ending::ControlLost);
            return Err(StartError::NoControl);
        }
        let plan = video::Plan::new(&request, &options, &negotiated, &key);
        stream.threads.push(video::start(Arc::clone(&shared), video, plan)?);
        shared.command(ClientMessage::Input(InputPacket::EnableHaptics));
        if request.wake_pointer {
            shared.command(ClientMessage::Input(InputPacket::MouseMove { dx: 1, dy: 1 }));
            shared.command(ClientMessage::Input(InputPacket::MouseMove { dx: -1, dy: -1 }));
        }
        Ok(stream)
    }

    /// Next complete frame, in order, waiting up to `timeout`. Frames that came before the end are handed out first.
    pub fn next_frame(&self, timeout: Duration) -> Result<Frame, WaitError> {
        self.shared.wait_for(timeout, |state| state.frames.pop_front())
    }

    /// Next message of the host (rumble, HDR mode, …; the termination too), waiting up to `timeout`.
    pub fn next_message(&self, timeout: Duration) -> Result<HostMessage, WaitError> {
        self.shared.wait_for(timeout, |state| state.messages.pop_front())
    }

    /// Next Opus packet, decrypted; needs [`StreamOptions::keep_audio`].
    pub fn next_audio(&self, timeout: Duration) -> Result<OpusPacket, WaitError> {
        self.shared.wait_for(timeout, |state| state.audio_packets.pop_front())
    }

    /// Queues one input packet on its channel and with its reliability (protocol text §8.1, §9.4).
    pub fn send_input(&self, packet: InputPacket) -> Result<(), WaitError> {
        self.send(ClientMessage::Input(packet)).map(drop)
    }

    /// Queues an IDR request (0x0302) and returns when it was queued.
    pub fn request_idr(&self) -> Result<Time, WaitError> {
        self.send(ClientMessage::RequestIdr)
    }

    /// Queues a reference-frame invalidation (0x0301) of the inclusive range.
    pub fn invalidate(&self, first: u32, last: u32) -> Result<(), WaitError> {
        self.send(ClientMessage::Invalidate { first, last }).map(drop)
    }

    /// Queues a raw inner control message, for bad-input tests.
    pub fn send_control(&self, kind: u16, payload: &[u8], channel: u8) -> Result<(), WaitError> {
        self.send(ClientMessage::Raw { kind, payload: payload.to_vec(), channel }).map(drop)
    }

    /// Counters so far.
    pub fn statistics(&self) -> Statistics {
        let mut statistics = self.shared.state().statistics();
        statistics.network = self.relays.iter().map(Relay::statistics).reduce(RelayStatistics::plus);
        statistics
    }

    /// Everything the host did that the text does not allow (bounded: the first 1000, with a count in the
    /// statistics).
    pub fn violations(&self) -> Vec<Violation> {
        self.shared.state().violations.clone()
    }

    /// What the host offered in DESCRIBE.
    pub fn offer(&self) -> &Offer {
        &self.negotiated.offer
    }

    /// What the whole RTSP handshake negotiated.
    pub fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    /// How the stream ended, if it did.
    pub fn ending(&self) -> Option<Ending> {
        self.shared.state().ending
    }

    /// Waits until the stream is over.
    pub fn wait_end(&self, timeout: Duration) -> Option<Ending> {
        self.shared.wait_until(timeout, |state| state.ending.is_some());
        self.ending()
    }

    /// Changes the network emulator's behaviour from now on; does nothing without one.
    pub fn set_network(&self, profile: Profile) {
        for relay in &self.relays {
            relay.set(profile);
        }
    }

    /// Moves the client's video socket to a new local port, as a roaming client does.
    pub fn roam_video(&self) {
        self.shared.roam.store(true, Ordering::Relaxed);
    }

    /// Leaves politely: ENet disconnect after what is queued, lingering up to `linger` for the acknowledgement.
    /// Gives the ending: the host's if it was first.
    pub fn disconnect(mut self, linger: Duration) -> Ending {
        let ending = self.shared.leave(linger);
        self.join();
        ending
    }

    /// Vanishes: all sockets are closed without a word, as after SIGKILL.
    pub fn kill(mut self) {
        self.shared.stop(Stop::Vanish);
        self.join();
    }

    fn send(&self, message: ClientMessage) -> Result<Time, WaitError> {
        if let Some(ending) = self.ending() {
            return Err(WaitError::Ended(ending));
        }
        self.shared.command(message);
        Ok(clock::now())
    }

    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the test client panicked");
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.shared.leave(DROP_LINGER);
            self.join();
        }
    }
}

/// Why the control or video part did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("no ENet connection within 10 s")]
    NoControl,
}

/// Receive buffer of the client's sockets: 2048 packets, as stock clients ask for (protocol text §6.12).
const RECEIVE_BUFFER: usize = 2048 * 1500;

/// A UDP socket with a large receive buffer.
pub(crate) fn udp_socket(bind: SocketAddr) -> std::io::Result<UdpSocket> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(bind), Type::DGRAM, Some(Protocol::UDP))?;
    // The kernel grants what it may; less is no error.
    socket.set_recv_buffer_size(RECEIVE_BUFFER).ok();
    socket.bind(&bind.into())?;
    Ok(socket.into())
}

/// A socket that only hears `peer`: like a client behind NAT it discards what comes from elsewhere.
fn connected_socket(peer: SocketAddr) -> std::io::Result<UdpSocket> {
    let any: std::net::IpAddr = match peer {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = udp_socket(SocketAddr::new(any, 0))?;
    socket.connect(peer)?;
    Ok(socket)
}

/// The ping of protocol text §6.1: payload and a counter from 1, or the four letters.
fn ping(payload: Option<&[u8; 16]>, sequence: u32) -> Vec<u8> {
    match payload {
        Some(payload) => [&payload[..], &sequence.to_be_bytes()].concat(),
        None => b"PING".to_vec(),
    }
}

/// Interval of pings, for the whole session.
const PING_INTERVAL: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
