//! From filled buffers to frames: the newest wins, what can be lent is lent, the rest is copied.

use super::cursor::{Beneath, Cursor, Malformed};
use super::format::Reading;
use super::frames::{Copied, Lent, Mailbox, Pool};
use super::negotiate::Agreement;
use super::picture::{Area, Rows, Transform, Unreadable, copy};
use super::sys::{BufferId, Buffers, Memory};
use libspa::sys as spa;
use lumen_media::slot::Sender;
use lumen_media::{Frame, PixelBuffer, PixelFormat, SourceReport, Timestamp};
use pipewire::stream::Stream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Buffers that stay with the producer whatever happens: one to draw, one to send. Who has no more gets his back at
/// once, after a copy.
const WITH_PRODUCER: usize = 2;
/// How long a producer may take for its first picture after a pause before the last one is shown again, which may be
/// hours old.
const FIRST_PICTURE: Duration = Duration::from_millis(250);
/// How long a picture counts as the current one after the screen was last known to show it.
const FRESH: Duration = Duration::from_millis(200);
/// A time of presentation is believed when it lies this near to the arrival.
const PLAUSIBLE: Duration = Duration::from_secs(2);

/// Why a buffer was not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dropped {
    Corrupted,
    Unmapped,
    /// Its memory could not be synchronised, or is shorter than it was.
    Inaccessible,
    Unreadable(Unreadable),
    /// Not the buffer but its pointer.
    Cursor,
}

/// A readable picture in a buffer.
#[derive(Clone, Copy)]
struct Found {
    id: BufferId,
    rows: Rows,
    transform: Transform,
    captured: Timestamp,
    sequence: u64,
}

/// A picture of our own.
struct Kept {
    frame: Frame,
    pixels: Arc<Copied>,
    /// What the pointer covers in it.
    beneath: Beneath,
    /// When it was known to be what the screen shows.
    current: Timestamp,
}

/// Makes frames of buffers.
pub(crate) struct Pictures {
    frames: Sender<Frame>,
    mailbox: Arc<Mailbox>,
    report: Arc<Mutex<SourceReport>>,
    pool: Pool,
    agreement: Option<Agreement>,
    sequence: u64,
    /// Somebody watches.
    wanted: bool,
    /// The newest picture that was lent. Its buffer stays with us until there is a newer one: the producer would draw
    /// over what a pause has to keep.
    lent: Option<Found>,
    /// Nobody reads the lent one any more.
    read: bool,
    /// The newest picture, copied.
    kept: Option<Kept>,
    /// When the kept picture is shown if the producer has sent nothing.
    due: Option<Timestamp>,
    /// The pointer, where it is ours to draw. Then each picture is copied, and the copy kept: the pointer moves over
    /// it without a new one.
    cursor: Option<Cursor>,
    warned: Vec<Dropped>,
}

impl Pictures {
    pub(crate) fn new(
        frames: Sender<Frame>,
        mailbox: Arc<Mailbox>,
        report: Arc<Mutex<SourceReport>>,
        cursor: bool,
    ) -> Self {
        Self {
            frames,
            mailbox,
            report,
            pool: Pool::default(),
            agreement: None,
            sequence: 0,
            wanted: false,
            lent: None,
            read: false,
            kept: None,
            due: None,
            cursor: cursor.then(Cursor::default),
            warned: Vec::new(),
        }
    }

    fn report(&self) -> MutexGuard<'_, SourceReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Producer and we agreed on a format.
    pub(crate) fn agree(&mut self, agreement: Agreement, buffers: &mut Buffers, stream: &Stream) {
        // Its buffers are of the old format, and go.
        self.let_go(buffers, stream);
        if self
            .agreement
            .is_some_and(|before| (before.width, before.height) != (agreement.width, agreement.height))
        {
            self.kept = None;
        }
        self.agreement = Some(agreement);
        self.warned.clear();
        let mut report = self.report();
        report.format = agreement.to_string();
        report.negotiations += 1;
    }

    /// The buffers are of this kind.
    pub(crate) fn memory_is(&self, memory: Memory) {
        if let Some(agreement) = self.agreement {
            self.report().format = format!("{agreement}, {}", memory.name());
        }
    }

    /// Nobody watches, and the producer is let go of; or it is there again.
    pub(crate) fn sleeps(&self, asleep: bool) {
        self.report().asleep = asleep;
    }

    /// The best path was left, and why.
    pub(crate) fn fell_back(&self, cause: String) {
        self.report().fallback = cause;
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted
    }

    pub(crate) fn has_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Somebody watches from now on, or nobody does.
    pub(crate) fn set_wanted(
        &mut self,
        wanted: bool,
        buffers: &mut Buffers,
        stream: &Stream,
        now: Timestamp,
    ) {
        // A second activation empties the slot like the first, so the picture in it is due again.
        if self.wanted {
            self.keep(buffers, stream, now);
        }
        self.wanted = wanted;
        // A picture of this moment needs no newer one.
        let fresh = self.kept.as_ref().is_some_and(|kept| now.since(kept.current) < FRESH);
        self.due = wanted.then_some(if fresh { now } else { now + FIRST_PICTURE });
    }

    /// Nobody reads this buffer any more.
    pub(crate) fn release(&mut self, id: BufferId, buffers: &mut Buffers, stream: &Stream) {
        if self.lent.is_some_and(|lent| lent.id == id) {
            self.read = true;
        } else {
            buffers.queue(stream, id);
        }
    }

    /// The lent picture is not the newest any more. Its buffer goes back now, or when its reader is done.
    fn let_go(&mut self, buffers: &mut Buffers, stream: &Stream) {
        let read = std::mem::take(&mut self.read);
        if let Some(found) = self.lent.take().filter(|_| read) {
            buffers.queue(stream, found.id);
        }
    }

    /// Shows the kept picture when the producer is late. Returns when to look again.
    pub(crate) fn tick(&mut self, now: Timestamp) -> Option<Timestamp> {
        if self.due.is_some_and(|due| now >= due) {
            self.due = None;
            if let Some(kept) = &self.kept {
                self.sequence += 1;
                let frame = Frame { captured: now, sequence: self.sequence, ..kept.frame.clone() };
                self.send(frame);
            }
        }
        self.due
    }

    fn send(&mut self, frame: Frame) {
        self.due = None;
        // The receiver lives as long as the thread that calls this is wanted.
        let _ = self.frames.send(frame);
    }

    /// Empties the stream's queue and shows its newest picture.
    pub(crate) fn take_newest(&mut self, buffers: &mut Buffers, stream: &Stream, now: Timestamp) {
        let mut newest: Option<Found> = None;
        let mut pointed = false;
        while let Some(id) = buffers.dequeue(stream) {
            pointed |= self.point(buffers, id);
            match self.find(buffers, id, now) {
                Ok(found) => {
                    self.sequence += 1;
                    self.report().arrived += 1;
                    if let Some(older) = newest.replace(Found { sequence: self.sequence, ..found }) {
                        buffers.queue(stream, older.id);
                    }
                }
                Err(cause) => {
                    self.count(cause);
                    buffers.queue(stream, id);
                }
            }
        }
        match newest {
            Some(found) => self.show(found, buffers, stream, now),
            None if pointed => self.show_pointer(now),
            None => {}
        }
    }

    /// Reads a buffer's pointer, also of one without a picture. Returns whether the pointer changed.
    fn point(&mut self, buffers: &Buffers, id: BufferId) -> bool {
        let Some(cursor) = &mut self.cursor else { return false };
        let Some(metadata) = buffers.metadata(id, spa::SPA_META_Cursor) else { return false };
        cursor.update(metadata).unwrap_or_else(|Malformed| {
            self.count(Dropped::Cursor);
            false
        })
    }

    /// The last picture again with the pointer where it is now.
    fn show_pointer(&mut self, now: Timestamp) {
        let (Some(cursor), Some(kept)) = (&self.cursor, &self.kept) else { return };
        let mut out = self.pool.take();
        out.clear();
        out.extend_from_slice(kept.pixels.bytes());
        kept.beneath.restore(&mut out);
        let beneath = cursor.draw(&mut out, (kept.frame.width, kept.frame.height), kept.frame.format);
        let pixels = self.pool.wrap(out);
        self.sequence += 1;
        let frame =
            Frame { captured: now, sequence: self.sequence, pixels: pixels.clone(), ..kept.frame.clone() };
        self.kept = Some(Kept { frame: frame.clone(), pixels, beneath, current: now });
        if self.wanted {
            self.send(frame);
        }
    }

    fn count(&mut self, cause: Dropped) {
        self.report().dropped += u64::from(cause != Dropped::Cursor);
        if self.warned.contains(&cause) {
            return;
        }
        self.warned.push(cause);
        match cause {
            // Some compositors send these with each move of the pointer.
            Dropped::Corrupted => {
                tracing::debug!("the compositor marks buffers as corrupted; they are skipped")
            }
            Dropped::Cursor => tracing::warn!("a pointer whose metadata makes no sense is left as it was"),
            Dropped::Unmapped => tracing::warn!("a buffer whose memory cannot be read is skipped"),
            Dropped::Inaccessible => tracing::warn!("a buffer whose memory cannot be accessed is skipped"),
            Dropped::Unreadable(Unreadable::Stride) => {
                tracing::warn!("a buffer whose rows are shorter than the picture is skipped");
            }
            Dropped::Unreadable(Unreadable::Beyond) => {
                tracing::warn!("a buffer whose picture reaches beyond its memory is skipped");
            }
            Dropped::Unreadable(Unreadable::Short) => {
                tracing::warn!("a buffer that holds less than a picture is skipped");
            }
        }
    }

    fn find(&self, buffers: &Buffers, id: BufferId, now: Timestamp) -> Result<Found, Dropped> {
        let (agreement, chunk) = self.agreement.zip(buffers.chunk(id)).ok_or(Dropped::Unmapped)?;
        let header = buffers.metadata(id, spa::SPA_META_Header).and_then(Header::read);
        if chunk.corrupted || header.is_some_and(|header| header.corrupted) {
            return Err(Dropped::Corrupted);
        }
        let bytes = buffers.bytes(id).ok_or(Dropped::Unmapped)?;
        let graphics = buffers.memory(id) == Some(Memory::DmaBuf);
        let rows = Rows::find(chunk, bytes.len(), (agreement.width, agreement.height), graphics)
            .map_err(Dropped::Unreadable)?;
        let crop = buffers.metadata(id, spa::SPA_META_VideoCrop).and_then(region);
        let transform = buffers.metadata(id, spa::SPA_META_VideoTransform).and_then(|bytes| word(bytes, 0));
        Ok(Found {
            id,
            rows: crop.map_or(rows, |area| rows.crop(area)),
            transform: Transform::from_spa(transform.unwrap_or_default()),
            captured: header.map_or(now, |header| presented(header.pts, now)),
            sequence: 0,
        })
    }

    fn show(&mut self, found: Found, buffers: &mut Buffers, stream: &Stream, now: Timestamp) {
        if self.wanted
            && let Some(frame) = self.lend(found, buffers)
        {
            self.kept = None;
            self.let_go(buffers, stream);
            self.lent = Some(found);
            self.send(frame);
            return;
        }
        let copied = self.copy(found, buffers, now);
        buffers.queue(stream, found.id);
        let Some(kept) = copied else {
            // What was shown before stays the last picture.
            return self.count(Dropped::Inaccessible);
        };
        self.let_go(buffers, stream);
        let frame = kept.frame.clone();
        self.kept = Some(kept);
        if self.wanted {
            self.send(frame);
        }
    }

    /// The buffer itself as a frame, when its bytes are right as they are and the producer has others.
    fn lend(&self, found: Found, buffers: &Buffers) -> Option<Frame> {
        let Reading::AsIs(format) = self.agreement?.format.reading() else { return None };
        let stride = usize::try_from(found.rows.stride).ok()?;
        // The one before goes back as soon as this one is lent, if nobody reads it.
        let taken = buffers.taken().saturating_sub(usize::from(self.read));
        if self.cursor.is_some() || !found.transform.is_none() || taken + WITH_PRODUCER > buffers.len() {
            return None;
        }
        let mapping = buffers.mapping(found.id)?.clone();
        let range = found.rows.start..found.rows.start.checked_add(stride * found.rows.height)?;
        if range.end > mapping.bytes().len() {
            return None;
        }
        mapping.begin_read().ok()?;
        let pixels = Lent::new(mapping, range, found.id, self.mailbox.clone());
        Some(frame(
            found,
            (found.rows.width as u32, found.rows.height as u32),
            stride,
            format,
            Arc::new(pixels),
        ))
    }

    fn copy(&self, found: Found, buffers: &Buffers, now: Timestamp) -> Option<Kept> {
        let reading = self.agreement?.format.reading();
        let mut out = self.pool.take();
        let bytes = buffers.bytes(found.id)?;
        if let Some(mapping) = buffers.mapping(found.id) {
            mapping.begin_read().ok()?;
        }
        let size = copy(bytes, found.rows, reading, found.transform, &mut out);
        if let Some(mapping) = buffers.mapping(found.id) {
            mapping.end_read().ok()?;
        }
        let cursor = self.cursor.as_ref();
        let beneath = cursor.map(|cursor| cursor.draw(&mut out, size, reading.output())).unwrap_or_default();
        let pixels = self.pool.wrap(out);
        let stride = size.0 as usize * PixelFormat::BYTES;
        let frame = frame(found, size, stride, reading.output(), pixels.clone());
        Some(Kept { frame, pixels, beneath, current: now })
    }

    /// Copies the newest picture if it was only lent: its buffer may go back or be removed.
    fn keep(&mut self, buffers: &mut Buffers, stream: &Stream, now: Timestamp) {
        if let Some(kept) = &mut self.kept {
            kept.current = now;
        }
        if let Some(found) = self.lent {
            self.kept = self.copy(found, buffers, now).or(self.kept.take());
            self.let_go(buffers, stream);
        }
    }
}

fn frame(
    found: Found,
    (width, height): (u32, u32),
    stride: usize,
    format: PixelFormat,
    pixels: Arc<dyn PixelBuffer>,
) -> Frame {
    Frame { width, height, stride, format, captured: found.captured, sequence: found.sequence, pixels }
}

/// `spa_meta_header`, as far as it is used.
#[derive(Clone, Copy)]
struct Header {
    corrupted: bool,
    pts: i64,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let pts = i64::from_ne_bytes(bytes.get(8..16)?.try_into().ok()?);
        Some(Self { corrupted: word(bytes, 0)? & spa::SPA_META_HEADER_FLAG_CORRUPTED != 0, pts })
    }
}

/// When a picture was composed: what its header says if that is a time of this clock, else the arrival.
fn presented(pts: i64, now: Timestamp) -> Timestamp {
    let Ok(nanos) = u64::try_from(pts) else { return now };
    let stated = Timestamp::from_nanos(nanos);
    if now.since(stated) > PLAUSIBLE || stated > now { now } else { stated }
}

fn region(bytes: &[u8]) -> Option<Area> {
    let side = |at| u32::try_from(word(bytes, at)?.cast_signed()).ok();
    Some(Area { x: side(0)?, y: side(4)?, width: word(bytes, 8)?, height: word(bytes, 12)? })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plausible_times_are_believed() {
        let now = Timestamp::from_nanos(10_000_000_000);
        assert_eq!(presented(9_990_000_000, now), Timestamp::from_nanos(9_990_000_000));
        for strange in [-1, 0, 1, i64::MAX, 10_000_000_001] {
            assert_eq!(presented(strange, now), now, "{strange}");
        }
    }
}
