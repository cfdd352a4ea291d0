//! Moving colour bars: a frame source that needs nothing but memory.

use lumen_media::slot::{self, Receiver};
use lumen_media::{Frame, FrameSource, Mode, PixelBuffer, PixelFormat, Timestamp, clock};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Colour bars of 75 %: white, yellow, cyan, green, magenta, red, blue, black, as red, green, blue.
pub const BARS: [[u8; 3]; 8] = [
    [191, 191, 191],
    [191, 191, 0],
    [0, 191, 191],
    [0, 191, 0],
    [191, 0, 191],
    [191, 0, 0],
    [0, 0, 191],
    [0, 0, 0],
];

/// Pictures kept for reuse: one being drawn, one in the slot, one with the reader, one spare.
const KEPT: usize = 4;
/// Pixels that the lower part moves from picture to picture.
const STEP: u64 = 8;

type FreeList = Arc<Mutex<Vec<Vec<u8>>>>;

/// A picture's memory, given back when its last reader is done.
struct Pixels {
    bytes: Vec<u8>,
    free: FreeList,
}

impl PixelBuffer for Pixels {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Pixels {
    fn drop(&mut self) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

struct Painter {
    mode: Mode,
    sequence: u64,
    free: FreeList,
}

impl Painter {
    fn new(mode: Mode) -> Self {
        Self { mode, sequence: 0, free: FreeList::default() }
    }

    /// The next picture: still bars above, the same bars moving to the left below.
    fn paint(&mut self, now: Timestamp) -> Frame {
        let (width, height) = (self.mode.width() as usize, self.mode.height() as usize);
        let stride = width * PixelFormat::BYTES;
        let reused = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut bytes = reused.unwrap_or_else(|| vec![0; stride * height]);
        let still = height * 2 / 3;
        let (above, below) = bytes.split_at_mut(still * stride);
        paint_rows(above, stride, width, 0);
        let offset = (self.sequence * STEP % width as u64) as usize;
        paint_rows(below, stride, width, offset);
        self.sequence += 1;
        Frame {
            width: width as u32,
            height: height as u32,
            stride,
            format: PixelFormat::Bgrx,
            captured: now,
            sequence: self.sequence,
            pixels: Arc::new(Pixels { bytes, free: self.free.clone() }),
        }
    }
}

fn paint_rows(rows: &mut [u8], stride: usize, width: usize, offset: usize) {
    if rows.len() < stride {
        return;
    }
    let (first, others) = rows.split_at_mut(stride);
    for (x, pixel) in first.chunks_exact_mut(PixelFormat::BYTES).enumerate() {
        let [red, green, blue] = BARS[(x + offset) % width * BARS.len() / width];
        pixel.copy_from_slice(&[blue, green, red, 255]);
    }
    for row in others.chunks_exact_mut(stride) {
        row.copy_from_slice(first);
    }
}

/// Eight colour bars: the upper two thirds of the picture stand still, the lower third moves.
///
/// Draws on a thread of its own at the mode's rate while active, and nothing at all while not; ends when dropped.
pub struct TestPattern {
    frames: Receiver<Frame>,
    active: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl TestPattern {
    /// A pattern at exactly `mode`, active from the start.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn new(mode: Mode) -> std::io::Result<Self> {
        let (sender, frames) = slot::slot();
        let active = Arc::new(AtomicBool::new(true));
        let ended = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("test-pattern".into()).spawn({
            let (active, ended) = (active.clone(), ended.clone());
            move || run(mode, &sender, &active, &ended)
        })?;
        Ok(Self { frames, active, ended, thread: Some(thread) })
    }
}

fn run(mode: Mode, sender: &slot::Sender<Frame>, active: &AtomicBool, ended: &AtomicBool) {
    let mut painter = Painter::new(mode);
    let interval = mode.frame_interval();
    let mut due = clock::now();
    while !ended.load(Ordering::Acquire) {
        if !active.load(Ordering::Acquire) {
            // `set_active` and `drop` unpark.
            std::thread::park();
            due = clock::now();
            continue;
        }
        let now = clock::now();
        let early = due.since(now);
        if !early.is_zero() {
            std::thread::park_timeout(early);
            continue;
        }
        if sender.send(painter.paint(now)).is_err() {
            return;
        }
        // After a stall the pattern goes on from now instead of catching up.
        due = (due + interval).max(now);
    }
}

impl FrameSource for TestPattern {
    fn frames(&self) -> &Receiver<Frame> {
        &self.frames
    }

    fn set_active(&mut self, active: bool) {
        self.active.store(active, Ordering::Release);
        // A picture from before the pause, or drawn while it began, would be stale now.
        drop(self.frames.try_take());
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for TestPattern {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic of the painter has been reported by its thread.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumen_media::slot::Wait;
    use std::time::Duration;

    fn mode(width: u32, height: u32) -> Mode {
        Mode::new(width, height, 60_000).expect("valid")
    }

    fn pixel(frame: &Frame, x: usize, y: usize) -> [u8; 3] {
        let at = y * frame.stride + x * PixelFormat::BYTES;
        let bytes = frame.pixels.bytes();
        [bytes[at + 2], bytes[at + 1], bytes[at]]
    }

    #[test]
    fn bars_stand_above_and_move_below() {
        let mut painter = Painter::new(mode(641, 361));
        let first = painter.paint(Timestamp::from_nanos(1));
        let second = painter.paint(Timestamp::from_nanos(2));
        assert_eq!((first.sequence, second.sequence), (1, 2));
        for (index, bar) in BARS.iter().enumerate() {
            let middle = 641 * (2 * index + 1) / 16;
            assert_eq!(pixel(&first, middle, 10), *bar);
            assert_eq!(pixel(&second, middle, 10), *bar);
            assert_eq!(pixel(&first, middle, 350), *bar);
        }
        assert_eq!(pixel(&second, 75, 350), BARS[1], "the second bar came 8 pixels closer");
        assert_eq!(pixel(&first, 75, 350), BARS[0]);
    }

    #[test]
    fn memory_is_used_again() {
        let mut painter = Painter::new(mode(320, 180));
        let address = |frame: &Frame| frame.pixels.bytes().as_ptr();
        let first = painter.paint(Timestamp::from_nanos(1));
        let used = address(&first);
        drop(first);
        assert_eq!(address(&painter.paint(Timestamp::from_nanos(2))), used);
    }

    #[test]
    fn frames_come_while_active_and_again_after_a_pause() {
        let mut source = TestPattern::new(mode(320, 180)).expect("a thread");
        let deadline = || Some(clock::now() + Duration::from_secs(30));
        let Wait::Value(first) = source.wait_latest(deadline()) else { panic!("no frame") };
        let Wait::Value(second) = source.wait_latest(deadline()) else { panic!("no second frame") };
        assert!(second.sequence > first.sequence && second.captured > first.captured);
        source.set_active(false);
        source.set_active(true);
        assert!(matches!(source.wait_latest(deadline()), Wait::Value(_)));
    }
}
