//! The thread that serves a client's gamepads: packets in, devices on the other side, feedback back.

use super::inbox::{Inbox, Note, PadInput, Send};
use super::kind::PadChoice;
use super::manager::{Manager, PadCounts};
use super::plugs::Plugs;
use super::presence::PadView;
use lumen_gamestream::control::HostMessage;
use lumen_media::priority::{Priority, raise};
use lumen_media::{Timestamp, clock};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// What gamepads shall be, and whose they are.
#[derive(Clone, Debug, Default)]
pub struct PadsConfig {
    /// Which kind games see.
    pub choice: PadChoice,
    /// Host and client, short: every device carries it.
    pub owner: String,
}

/// What the thread shows of its gamepads.
#[derive(Default)]
struct Shown {
    counts: PadCounts,
    pads: Vec<PadView>,
}

/// A client's gamepads. Dropping it pulls them all out, before drop returns.
pub struct Pads {
    inbox: Arc<Inbox>,
    shown: Arc<Mutex<Shown>>,
    thread: Option<JoinHandle<()>>,
}

impl Pads {
    /// Starts the thread; devices are made when the client plugs something in.
    ///
    /// # Errors
    /// Those of making a thread or a descriptor.
    pub fn start(config: PadsConfig) -> io::Result<Self> {
        let inbox = Inbox::new()?;
        let shown = Arc::<Mutex<Shown>>::default();
        let worker = Worker {
            manager: Manager::new(config.choice),
            plugs: Plugs::new(config.owner),
            send: None,
            shown: shown.clone(),
            said_homeless: false,
        };
        let thread = std::thread::Builder::new().name("lumen-pads".into()).spawn({
            let inbox = inbox.clone();
            move || {
                raise(Priority::High);
                worker.run(&inbox)
            }
        })?;
        Ok(Self { inbox, shown, thread: Some(thread) })
    }

    /// A connection of the client begins. `send` is called on the thread of the gamepads and must not wait. What an older
    /// connection still writes has no effect from now on.
    pub fn connect(&self, send: impl FnMut(HostMessage) + std::marker::Send + 'static) -> PadInput {
        self.inbox.connect(Box::new(send))
    }

    /// The connection is over, and the gamepads stay for the next: all that is held is let go.
    pub fn disconnect(&self) {
        self.inbox.disconnect();
    }

    /// Gamepads and what was dropped.
    pub fn counts(&self) -> PadCounts {
        self.shown().counts
    }

    /// Each gamepad: what was asked for, what games see, and why that is something else.
    pub fn view(&self) -> Vec<PadView> {
        self.shown().pads.clone()
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pads {
    fn drop(&mut self) {
        self.inbox.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the gamepads panicked");
        }
    }
}

struct Worker {
    manager: Manager,
    plugs: Plugs,
    /// `None` while no client is connected.
    send: Option<Send>,
    shown: Arc<Mutex<Shown>>,
    said_homeless: bool,
}

impl Worker {
    fn run(mut self, inbox: &Inbox) {
        let mut notes = VecDeque::new();
        while inbox.take(&mut notes) {
            for note in notes.drain(..) {
                // To plug one in takes the kernel tens of milliseconds; nobody waits for thousands.
                if inbox.is_closed() {
                    break;
                }
                self.obey(note);
            }
            let next = self.turn();
            self.show();
            self.wait(inbox, next);
        }
        let Self { manager, plugs, send, .. } = &mut self;
        manager.clear(plugs, &mut |message| deliver(send, message));
    }

    fn obey(&mut self, note: Note) {
        let Self { manager, plugs, send, .. } = self;
        match note {
            Note::Packet(packet) => {
                manager.handle(&packet, clock::now(), plugs, &mut |message| deliver(send, message));
            }
            Note::Release => manager.release_all(plugs),
            Note::Connect(to) => {
                *send = Some(to);
                manager.reconnected();
            }
            Note::Disconnect => {
                *send = None;
                manager.release_all(plugs);
            }
        }
    }

    /// Serves the devices and sends what is due; says when to do it again at the latest.
    fn turn(&mut self) -> Option<Timestamp> {
        let now = clock::now();
        let Self { manager, plugs, send, .. } = self;
        // Without a client nobody plays: what is overdue when the next one is there is tried at once.
        if send.is_some() {
            manager.retry(now, plugs);
        }
        plugs.serve(now, |number, said| manager.feedback(number, said));
        let next = plugs.turn(now, |number, said| manager.feedback(number, said));
        for (number, cause) in plugs.take_lost() {
            let error = cause.to_string();
            if manager.lost(number, cause, now) {
                tracing::warn!(number, error, "a gamepad is gone for now; it is tried again");
            } else {
                tracing::debug!(number, error, "a gamepad is gone again");
            }
        }
        // Without a client feedback waits for the next one.
        let Some(send) = send else { return next };
        manager.flush(now, send);
        [next, manager.due()].into_iter().flatten().min()
    }

    fn show(&mut self) {
        let counts = self.manager.counts();
        if counts.homeless > 0 && !std::mem::replace(&mut self.said_homeless, true) {
            tracing::info!("input for a gamepad that is not there was dropped; more of it is only counted");
        }
        let news = self.manager.news();
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.counts = counts;
        if let Some(pads) = news {
            shown.pads = pads;
        }
    }

    fn wait(&self, inbox: &Inbox, next: Option<Timestamp>) {
        let timeout = next.map(|next| {
            let left = next.since(clock::now());
            Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            }
        });
        let mut descriptors = vec![PollFd::from_borrowed_fd(inbox.wake(), PollFlags::IN)];
        descriptors.extend(self.plugs.descriptors().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        // Interrupted or not: the next turn looks at everything.
        let _ = poll(&mut descriptors, timeout.as_ref());
    }
}

fn deliver(send: &mut Option<Send>, message: HostMessage) {
    if let Some(send) = send {
        send(message);
    }
}
