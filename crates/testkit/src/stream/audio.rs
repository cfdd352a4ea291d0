//! Thread `tk-audio`: pings from the audio SETUP on, and whatever the host sends.
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::{PING_INTERVAL, Shared, Stop, connected_socket, ping};
use crate::audio::{AudioKey, Receiver};
use crate::clock;
use crate::netem::{Profile, Relay};

/// Longest wait for a packet, so that the end is noticed.
const NAP: Duration = Duration::from_millis(50);

/// The running thread, and the network emulator in its path.
#[derive(Debug)]
pub(crate) struct AudioThread {
    pub thread: JoinHandle<()>,
    pub relay: Option<Relay>,
}

/// What the thread has to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AudioPlan {
    pub address: SocketAddr,
    pub ping: Option<[u8; 16]>,
    pub packet_duration_ms: u32,
    /// Key, if what the client wants encrypted is known by now; decided with DESCRIBE, before the audio SETUP.
    pub key: Option<AudioKey>,
    pub keep: bool,
}

impl AudioThread {
    pub fn start(shared: Arc<Shared>, plan: AudioPlan, network: Option<Profile>) -> io::Result<Self> {
        let relay = network.map(|profile| Relay::start(&[plan.address], profile)).transpose()?;
        let address = relay.as_ref().map_or(plan.address, |relay| relay.entrances()[0]);
        let socket = connected_socket(address)?;
        socket.set_read_timeout(Some(NAP))?;
        let thread = std::thread::Builder::new().name("tk-audio".into()).spawn(move || {
            let mut receiver = Receiver::new(plan.key, plan.packet_duration_ms);
            let (mut pings, mut next_ping) = (0u32, clock::now());
            let mut buffer = [0; 2048];
            while shared.stopping() == Stop::Run {
                let now = clock::now();
                if now >= next_ping {
                    pings += 1;
                    next_ping = now + PING_INTERVAL;
                    if let Err(error) = socket.send(&ping(plan.ping.as_ref(), pings)) {
                        tracing::trace!(%error, "an audio ping could not be sent");
                    }
                    shared.state().audio.pings = u64::from(pings);
                }
                let Ok(length) = socket.recv(&mut buffer) else { continue };
                let packets = receiver.push(&buffer[..length]);
                shared.update(|state| {
                    state.audio = receiver.statistics();
                    state.audio.pings = u64::from(pings);
                    if plan.keep {
                        packets.into_iter().for_each(|packet| state.push_audio(packet));
                    }
                });
            }
        })?;
        Ok(AudioThread { thread, relay })
    }
}
