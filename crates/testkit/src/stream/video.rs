//! Thread `tk-video`: pings, datagrams into the depacketizer, its requests to the control thread.
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Ending, PING_INTERVAL, Shared, Stop, StreamOptions, connected_socket, ping};
use crate::clock::{self, Time};
use crate::control::ClientMessage;
use crate::request::StreamRequest;
use crate::rtsp::Negotiated;
use crate::video::{Depacketizer, Event, Settings};

/// Longest wait for a datagram, so that the end is noticed.
const NAP: Duration = Duration::from_millis(50);
/// No datagram at all, or no IDR after the first one, for this long ends the stream (protocol text §6.1).
const PATIENCE: Duration = Duration::from_secs(10);

/// What the thread has to know.
#[derive(Debug)]
pub(super) struct Plan {
    settings: Settings,
    ping: Option<[u8; 16]>,
}

impl Plan {
    pub fn new(
        request: &StreamRequest,
        options: &StreamOptions,
        negotiated: &Negotiated,
        key: &[u8; 16],
    ) -> Self {
        let announcement = negotiated.announcement;
        let settings = Settings {
            packet_size: announcement.packet_size as usize,
            codec: request.codec,
            key: announcement.video_encrypted().then_some(*key),
            invalidation: request.reference_invalidation && negotiated.offer.invalidation,
            min_parity: request.min_fec_packets as usize,
            prove_parity: options.prove_parity,
        };
        Plan { settings, ping: negotiated.video_ping }
    }
}

pub(super) fn start(shared: Arc<Shared>, address: SocketAddr, plan: Plan) -> io::Result<JoinHandle<()>> {
    let socket = connected_socket(address)?;
    std::thread::Builder::new().name("tk-video".into()).spawn(move || {
        if let Err(error) = run(&shared, address, socket, plan) {
            shared.end(Ending::Socket(error.raw_os_error().unwrap_or(0)));
        }
    })
}

fn run(shared: &Shared, address: SocketAddr, mut socket: std::net::UdpSocket, plan: Plan) -> io::Result<()> {
    socket.set_read_timeout(Some(NAP))?;
    let mut depacketizer = Depacketizer::new(plan.settings);
    let started = clock::now();
    let (mut first, mut pings, mut next_ping) = (None, 0u32, started);
    let mut buffer = vec![0; 65_536];
    while shared.stopping() == Stop::Run {
        if shared.roam.swap(false, Ordering::Relaxed) {
            socket = connected_socket(address)?;
            socket.set_read_timeout(Some(NAP))?;
            next_ping = clock::now();
        }
        let now = clock::now();
        if now >= next_ping {
            pings += 1;
            next_ping = now + PING_INTERVAL;
            if let Err(error) = socket.send(&ping(plan.ping.as_ref(), pings)) {
                tracing::trace!(%error, "a video ping could not be sent");
            }
            shared.state().video.pings = u64::from(pings);
        }
        match socket.recv(&mut buffer) {
            Ok(length) => {
                let now = clock::now();
                first.get_or_insert(now);
                let events = depacketizer.push(&buffer[..length], now);
                publish(shared, &depacketizer, events, now, pings);
            }
            Err(error) if is_harmless(&error) => {}
            Err(error) => return Err(error),
        }
        give_up(shared, &depacketizer, started, first);
    }
    Ok(())
}

/// Nothing to read, or the host's port is closed for now.
fn is_harmless(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock
            | io::ErrorKind::TimedOut
            | io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionRefused
    )
}

fn publish(shared: &Shared, depacketizer: &Depacketizer, events: Vec<Event>, now: Time, pings: u32) {
    let mut commands = Vec::new();
    {
        let mut state = shared.state();
        state.timings.first_datagram.get_or_insert(now);
        let known = state.video.violations;
        state.video = depacketizer.statistics();
        state.video.pings = u64::from(pings);
        if state.video.violations != known {
            let old = usize::try_from(known).unwrap_or(usize::MAX);
            let new = depacketizer.violations().iter().skip(old).cloned();
            state.violations.extend(new);
        }
        for event in events {
            match event {
                Event::Frame(frame) => {
                    state.timings.first_frame.get_or_insert(frame.complete);
                    state.push_frame(frame);
                }
                Event::RequestIdr => commands.push(ClientMessage::RequestIdr),
                Event::RequestInvalidation { first, last } => {
                    commands.push(ClientMessage::Invalidate { first, last });
                }
                Event::AcknowledgeLongTerm(frame) => commands.push(ClientMessage::AcknowledgeLongTerm(frame)),
                Event::Report(report) => commands.push(ClientMessage::Report(report)),
            }
        }
    }
    shared.update(|_| {});
    commands.into_iter().for_each(|command| shared.command(command));
}

fn give_up(shared: &Shared, depacketizer: &Depacketizer, started: Time, first: Option<Time>) {
    let now = clock::now();
    match first {
        None if now.since(started) >= PATIENCE => shared.end(Ending::NoVideoTraffic),
        Some(first) if depacketizer.awaits_first_idr() && now.since(first) >= PATIENCE => {
            shared.end(Ending::NoVideoFrame);
        }
        _ => {}
    }
}
