//! A connection to a server of libei on which every wait has a deadline.

use crate::sink::{InputError, timespec};
use lumen_media::{Timestamp, clock};
use reis::PendingRequestResult;
use reis::ei;
use reis::event::{Device, EiEvent, EiEventConverter};
use reis::handshake::{EiHandshaker, HandshakeResp};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

/// For the greeting.
const LIMIT: Duration = Duration::from_secs(3);

/// One connection.
pub(super) struct Link {
    desktop: &'static str,
    context: ei::Context,
    converter: EiEventConverter,
    unsent: bool,
}

impl Link {
    pub fn open(desktop: &'static str, socket: OwnedFd) -> Result<Self, InputError> {
        let lost = |cause: String| InputError::Lost { desktop, cause };
        let context = ei::Context::new(UnixStream::from(socket)).map_err(|error| lost(error.to_string()))?;
        let greeted = greet(desktop, &context, clock::now() + LIMIT)?;
        Ok(Self { desktop, converter: EiEventConverter::new(&context, greeted), context, unsent: false })
    }

    /// The last serial that the server sent.
    pub fn serial(&self) -> u32 {
        self.converter.connection().serial()
    }

    /// Ends a group of a device's events.
    pub fn frame(&self, device: &Device) {
        device.device().frame(self.serial(), clock::now().as_nanos() / 1000);
    }

    /// The next event that has arrived.
    pub fn next_event(&mut self) -> Result<Option<EiEvent>, InputError> {
        if let Some(event) = self.converter.next_event() {
            return Ok(Some(event));
        }
        self.convert()?;
        Ok(self.converter.next_event())
    }

    /// Makes events of what was read.
    fn convert(&mut self) -> Result<(), InputError> {
        let lost = |cause: String| InputError::Lost { desktop: self.desktop, cause };
        while let Some(pending) = self.context.pending_event() {
            match pending {
                PendingRequestResult::Request(request) => {
                    self.converter.handle_event(request).map_err(|error| lost(error.to_string()))?;
                }
                PendingRequestResult::ParseError(error) => return Err(lost(error.to_string())),
                // Of something that is gone already.
                PendingRequestResult::InvalidObject(_) => {}
            }
        }
        Ok(())
    }

    /// Waits until the server has taken all that was sent; `false` when it has not in time.
    pub fn settle(&mut self, deadline: Timestamp) -> Result<bool, InputError> {
        let done = Rc::new(Cell::new(false));
        let callback = self.converter.connection().connection().sync(1);
        let told = done.clone();
        self.converter.add_callback_handler(callback, move |_| told.set(true));
        loop {
            self.flush()?;
            self.wait(None, Some(deadline))?;
            self.convert()?;
            if done.get() || clock::now() >= deadline {
                return Ok(done.get());
            }
        }
    }

    /// Sends what is queued; `false` when the server takes no more at the moment.
    pub fn flush(&mut self) -> Result<bool, InputError> {
        self.unsent = match self.context.flush() {
            Ok(()) => false,
            Err(Errno::WOULDBLOCK | Errno::INTR) => true,
            Err(error) => return Err(InputError::Lost { desktop: self.desktop, cause: error.to_string() }),
        };
        Ok(!self.unsent)
    }

    /// Waits until something arrives, `wake` can be read or `deadline` passes; reads.
    pub fn wait(
        &mut self,
        wake: Option<BorrowedFd<'_>>,
        deadline: Option<Timestamp>,
    ) -> Result<(), InputError> {
        wait(self.desktop, &self.context, self.unsent, wake, deadline)
    }
}

fn wait(
    desktop: &'static str,
    context: &ei::Context,
    unsent: bool,
    wake: Option<BorrowedFd<'_>>,
    deadline: Option<Timestamp>,
) -> Result<(), InputError> {
    let lost = |cause: String| InputError::Lost { desktop, cause };
    let wanted = if unsent { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
    let socket = context.as_fd();
    let mut fds = vec![PollFd::from_borrowed_fd(socket, wanted)];
    fds.extend(wake.map(|wake| PollFd::from_borrowed_fd(wake, PollFlags::IN)));
    let timeout = deadline.map(|deadline| timespec(deadline.since(clock::now())));
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(lost(error.to_string())),
    }
    if fds[0].revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
        context.read().map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => lost("it closed the connection".to_owned()),
            _ => lost(error.to_string()),
        })?;
    }
    Ok(())
}

fn greet(
    desktop: &'static str,
    context: &ei::Context,
    deadline: Timestamp,
) -> Result<HandshakeResp, InputError> {
    let lost = |cause: String| InputError::Lost { desktop, cause };
    let mut handshaker = EiHandshaker::new("Lumen", ei::handshake::ContextType::Sender);
    loop {
        while let Some(result) = context.pending_event() {
            let event = match result {
                PendingRequestResult::Request(event) => event,
                PendingRequestResult::ParseError(error) => return Err(lost(error.to_string())),
                PendingRequestResult::InvalidObject(id) => {
                    return Err(lost(format!("it spoke of an unknown object {id}")));
                }
            };
            let greeted = handshaker.handle_event(event).map_err(|error| lost(error.to_string()))?;
            if let Some(greeted) = greeted {
                return Ok(greeted);
            }
        }
        if clock::now() >= deadline {
            return Err(lost(format!("it did not greet within {LIMIT:?}")));
        }
        wait(desktop, context, false, None, Some(deadline))?;
    }
}
