//! A running stream: the client's threads for video, control and audio, seen from the test.
use std::sync::Arc;
use std::time::Duration;

use crate::audio::AudioStatistics;
use crate::clock::Time;
use crate::control::HostMessage;
use crate::input::InputPacket;
use crate::netem::{Profile, RelayStatistics};
use crate::video::{Frame, VideoStatistics, Violation};

/// Choices of the test that a stock client does not have.
#[derive(Debug, Clone, Default)]
pub struct StreamOptions {
    /// Put a seeded network emulator between this client and the host, for the video and the control port.
    pub network: Option<Profile>,
    /// Hold out one data shard of each FEC block, derive it again from parity and compare: proves every block's
    /// parity, at the price of waiting for one parity packet.
    pub prove_parity: bool,
    /// Queue of complete frames waiting for [`Stream::next_frame`]; 0 means the default of 256. When full the
    /// oldest is dropped and counted.
    pub frame_queue: usize,
    /// Keep the raw datagrams of audio packets for [`Stream::next_audio`].
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
    pub(crate) inner: Arc<()>,
}

impl Stream {
    /// Next complete frame, in order, waiting up to `timeout`. Frames that came before the end are handed out first.
    pub fn next_frame(&self, timeout: Duration) -> Result<Frame, WaitError> {
        todo!("{timeout:?}")
    }

    /// Next message of the host (rumble, HDR mode, …; the termination too), waiting up to `timeout`.
    pub fn next_message(&self, timeout: Duration) -> Result<HostMessage, WaitError> {
        todo!("{timeout:?}")
    }

    /// Next decoded-from-the-wire Opus packet (sequence, payload); needs [`StreamOptions::keep_audio`].
    pub fn next_audio(&self, timeout: Duration) -> Result<(u16, Vec<u8>), WaitError> {
        todo!("{timeout:?}")
    }

    /// Queues one input packet on its channel and with its reliability (protocol text §8.1, §9.4).
    pub fn send_input(&self, packet: InputPacket) -> Result<(), WaitError> {
        todo!("{packet:?}")
    }

    /// Queues an IDR request (0x0302) and returns when it was queued.
    pub fn request_idr(&self) -> Result<Time, WaitError> {
        todo!()
    }

    /// Queues a reference-frame invalidation (0x0301) of the inclusive range.
    pub fn invalidate(&self, first: u32, last: u32) -> Result<(), WaitError> {
        todo!("{first} {last}")
    }

    /// Queues a raw inner control message, for bad-input tests.
    pub fn send_control(&self, kind: u16, payload: &[u8], channel: u8) -> Result<(), WaitError> {
        todo!("{kind} {payload:?} {channel}")
    }

    /// Counters so far.
    pub fn statistics(&self) -> Statistics {
        todo!()
    }

    /// Everything the host did that the text does not allow (bounded: the first 1000, with a count in the
    /// statistics).
    pub fn violations(&self) -> Vec<Violation> {
        todo!()
    }

    /// How the stream ended, if it did.
    pub fn ending(&self) -> Option<Ending> {
        todo!()
    }

    /// Waits until the stream is over.
    pub fn wait_end(&self, timeout: Duration) -> Option<Ending> {
        todo!("{timeout:?}")
    }

    /// Changes the network emulator's behaviour from now on; does nothing without one.
    pub fn set_network(&self, profile: Profile) {
        todo!("{profile:?}")
    }

    /// Moves the client's video socket to a new local port, as a roaming client does.
    pub fn roam_video(&self) {
        todo!()
    }

    /// Leaves politely: ENet disconnect after what is queued, lingering up to `linger` for the acknowledgement.
    pub fn disconnect(self, linger: Duration) -> Ending {
        todo!("{linger:?}")
    }

    /// Vanishes: all sockets are closed without a word, as after SIGKILL.
    pub fn kill(self) {
        todo!()
    }
}

/// Receive buffer of the client's sockets: 2048 packets, as stock clients ask for (protocol text §6.12).
const RECEIVE_BUFFER: usize = 2048 * 1500;

/// A UDP socket with a large receive buffer.
pub(crate) fn udp_socket(bind: std::net::SocketAddr) -> std::io::Result<std::net::UdpSocket> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(bind), Type::DGRAM, Some(Protocol::UDP))?;
    // The kernel grants what it may; less is no error.
    socket.set_recv_buffer_size(RECEIVE_BUFFER).ok();
    socket.bind(&bind.into())?;
    Ok(socket.into())
}
