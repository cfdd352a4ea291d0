//! Whether a compositor still answers.

use crate::{GlobalsOnly, open, roundtrip};
use lumen_media::clock;
use std::io;
use std::path::Path;
use std::time::Duration;
use wayland_client::{Connection, EventQueue};

/// A connection that is there for one question only.
pub struct Pulse {
    connection: Connection,
    queue: EventQueue<GlobalsOnly>,
    globals: GlobalsOnly,
}

impl Pulse {
    /// Connects to the compositor at `path`.
    ///
    /// # Errors
    /// As [`open`].
    pub fn open(path: &Path) -> io::Result<Self> {
        let connection = open(path)?;
        let queue = connection.new_event_queue();
        Ok(Self { connection, queue, globals: GlobalsOnly::default() })
    }

    /// Asks the compositor for an answer; `false` when it gives none within `limit`, or is gone.
    pub fn beats(&mut self, limit: Duration) -> bool {
        let deadline = clock::now() + limit;
        roundtrip(&self.connection, &mut self.queue, &mut self.globals, deadline).unwrap_or(false)
    }
}
