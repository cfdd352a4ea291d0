//! Thread `tk-control`: ENet between the socket and the session.
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Ending, Shared, Stop, connected_socket};
use crate::clock;
use crate::control::{CipherMode, ClientMessage, Happening, HostMessage, Session, client_result};
use crate::rtsp::Negotiated;
use crate::video::{Rule, Violation};

/// Longest goodbye (protocol text §8.6).
const LINGER: Duration = Duration::from_secs(2);
/// After an unexpected disconnect what is still queued is handed out for this long (§8.6).
const COLLECT: Duration = Duration::from_millis(100);
const VIOLATION_LIMIT: usize = 1000;

/// Starts to connect.
pub(super) fn start(
    shared: Arc<Shared>,
    address: SocketAddr,
    negotiated: &Negotiated,
    key: &[u8; 16],
) -> io::Result<JoinHandle<()>> {
    let socket = connected_socket(address)?;
    socket.set_nonblocking(true)?;
    let mode = if negotiated.announcement.control_v2() { CipherMode::V2 } else { CipherMode::Legacy };
    let (data, key) = (negotiated.connect_data, *key);
    std::thread::Builder::new().name("tk-control".into()).spawn(move || {
        let session = Session::connect(address, data, mode, &key, clock::now());
        Driver { shared, socket, address, session, sent_first: false }.run();
    })
}

struct Driver {
    shared: Arc<Shared>,
    socket: UdpSocket,
    address: SocketAddr,
    session: Session,
    sent_first: bool,
}

impl Driver {
    fn run(mut self) {
        loop {
            match self.shared.stopping() {
                Stop::Run => {}
                Stop::Leave => return self.say_goodbye(),
                Stop::Vanish => return,
            }
            if !self.step() {
                return;
            }
            self.wait(Session::TICK);
        }
    }

    /// One round of receiving, commands and sending. False when ENet has lost the host.
    fn step(&mut self) -> bool {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            self.session.datagram(self.address, &buffer[..length], clock::now());
        }
        self.send_commands();
        self.session.tick(clock::now());
        self.transmit();
        self.take_happenings()
    }

    fn send_commands(&mut self) {
        // Before the connection commands wait; ENet would drop them.
        if !self.sent_first {
            return;
        }
        let commands = std::mem::take(&mut self.shared.state().commands);
        for command in &commands {
            self.session.send(command);
            self.count(command);
        }
    }

    fn count(&self, command: &ClientMessage) {
        let mut state = self.shared.state();
        match command {
            ClientMessage::Start | ClientMessage::RequestIdr => state.idr_requests += 1,
            ClientMessage::Invalidate { .. } => state.invalidation_requests += 1,
            _ => {}
        }
    }

    fn transmit(&mut self) {
        while let Some((_, datagram)) = self.session.poll_transmit() {
            if let Err(error) = self.socket.send(&datagram) {
                tracing::trace!(%error, "a control datagram could not be sent");
            }
        }
    }

    fn take_happenings(&mut self) -> bool {
        while let Some(happening) = self.session.poll_happening() {
            match happening {
                Happening::Connected => {
                    self.sent_first = true;
                    self.count(&ClientMessage::Start);
                    let now = clock::now();
                    self.shared.update(|state| state.timings.control_connected = Some(now));
                }
                Happening::Message(message) => self.take_message(message),
                Happening::Rejected(detail) => self.shared.update(|state| {
                    state.control_rejected += 1;
                    if state.violations.len() < VIOLATION_LIMIT {
                        state.violations.push(Violation { frame: 0, rule: Rule::ControlFrame, detail });
                    }
                }),
                Happening::Disconnected(_) => {
                    self.collect();
                    self.shared.end(Ending::ControlLost);
                    return false;
                }
            }
        }
        let round_trip = self.session.round_trip();
        self.shared.state().control_round_trip = round_trip;
        true
    }

    fn take_message(&mut self, message: HostMessage) {
        let termination = match message {
            HostMessage::Termination(code) => Some(code),
            _ => None,
        };
        let mut frames = false;
        self.shared.update(|state| {
            state.host_messages += 1;
            frames = state.timings.first_datagram.is_some() && state.video.frames > 0;
            state.push_message(message);
        });
        if let Some(code) = termination {
            self.shared.end(client_result(code, frames));
        }
    }

    /// A termination that arrived with the disconnect counts more than the disconnect.
    fn collect(&mut self) {
        let end = clock::now() + COLLECT;
        while clock::now() < end {
            while let Some(happening) = self.session.poll_happening() {
                if let Happening::Message(message) = happening {
                    self.take_message(message);
                }
            }
            self.wait(Duration::from_millis(10));
            let mut buffer = [0; 4096];
            while let Ok(length) = self.socket.recv(&mut buffer) {
                self.session.datagram(self.address, &buffer[..length], clock::now());
            }
        }
    }

    fn say_goodbye(mut self) {
        // What was queued before the goodbye still goes out.
        self.send_commands();
        let linger = match self.shared.state().linger {
            Duration::ZERO => LINGER,
            linger => linger.min(LINGER),
        };
        let end = clock::now() + linger;
        self.session.disconnect(clock::now());
        while !self.session.is_over() && clock::now() < end && self.shared.stopping() != Stop::Vanish {
            self.transmit();
            self.wait(Session::TICK);
            let mut buffer = [0; 4096];
            while let Ok(length) = self.socket.recv(&mut buffer) {
                self.session.datagram(self.address, &buffer[..length], clock::now());
            }
            self.session.tick(clock::now());
            while self.session.poll_happening().is_some() {}
        }
        self.transmit();
    }

    /// Sleeps until a datagram or a command comes.
    fn wait(&self, limit: Duration) {
        let mut fds =
            [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(&self.shared.wake, PollFlags::IN)];
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(limit.subsec_nanos()) };
        if let Err(error) = poll(&mut fds, Some(&timeout)) {
            tracing::trace!(%error, "poll was interrupted");
        }
        let mut counter = [0; 8];
        // Reading resets the counter; there may be nothing to read.
        rustix::io::read(&self.shared.wake, &mut counter).ok();
    }
}
