//! Whether a compositor still answers.

use crate::{open, until};
use lumen_media::clock;
use std::io;
use std::path::Path;
use std::time::Duration;
use wayland_client::protocol::wl_callback::{self, WlCallback};
use wayland_client::{Connection, Dispatch, EventQueue, QueueHandle};

#[derive(Default)]
struct Answers(u64);

impl Dispatch<WlCallback, ()> for Answers {
    fn event(
        answers: &mut Self,
        _: &WlCallback,
        _: wl_callback::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        answers.0 += 1;
    }
}

/// A connection that is there for one question only.
pub struct Pulse {
    connection: Connection,
    queue: EventQueue<Answers>,
    answers: Answers,
    asked: u64,
}

impl Pulse {
    /// Connects to the compositor at `path`.
    ///
    /// # Errors
    /// As [`open`].
    pub fn open(path: &Path) -> io::Result<Self> {
        let connection = open(path)?;
        let queue = connection.new_event_queue();
        Ok(Self { connection, queue, answers: Answers::default(), asked: 0 })
    }

    /// Asks the compositor for an answer; `false` when it gives none within `limit`, or is gone.
    pub fn beats(&mut self, limit: Duration) -> bool {
        self.connection.display().sync(&self.queue.handle(), ());
        self.asked += 1;
        let asked = self.asked;
        let answered =
            until(&mut self.queue, &mut self.answers, clock::now() + limit, |answers| answers.0 >= asked);
        answered.unwrap_or(false)
    }
}
