//! How sound gets from PipeWire's loop to the packets.

use lumen_media::Timestamp;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most that waits for a reader, in samples of all channels: a second of 7.1.
const ROOM: usize = 8 * 48_000;

/// Some sound that arrived at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Samples of each channel.
    pub(crate) frames: usize,
    pub(crate) arrived: Timestamp,
}

/// Blocks and their samples, interleaved.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    pub(crate) samples: Vec<f32>,
    pub(crate) blocks: Vec<Block>,
}

/// What was captured and not taken yet. Both sides hold the lock for a copy of one block at most.
#[derive(Debug)]
pub(crate) struct Inbox {
    channels: usize,
    waiting: Mutex<Blocks>,
}

impl Inbox {
    pub(crate) fn new(channels: usize) -> Self {
        // Room from the start, so that nothing is allocated while sound flows.
        let waiting = Blocks { samples: Vec::with_capacity(ROOM), blocks: Vec::with_capacity(1024) };
        Self { channels, waiting: Mutex::new(waiting) }
    }

    /// Adds interleaved little-endian floats. When nobody takes them, what is oldest goes.
    pub(crate) fn push(&self, bytes: &[u8], arrived: Timestamp) {
        let frames = bytes.len() / (4 * self.channels);
        let mut waiting = self.lock();
        if waiting.samples.len() + frames * self.channels > ROOM || waiting.blocks.len() >= 1024 {
            waiting.samples.clear();
            waiting.blocks.clear();
        }
        let whole = &bytes[..frames * self.channels * 4];
        waiting.samples.extend(whole.chunks_exact(4).map(|sample| {
            let value = f32::from_le_bytes([sample[0], sample[1], sample[2], sample[3]]);
            // What is no number would poison every filter behind.
            if value.is_finite() { value } else { 0.0 }
        }));
        waiting.blocks.push(Block { frames, arrived });
    }

    /// Replaces `taken` by what waits.
    pub(crate) fn take(&self, taken: &mut Blocks) {
        taken.samples.clear();
        taken.blocks.clear();
        if taken.samples.capacity() < ROOM {
            taken.samples.reserve(ROOM);
        }
        std::mem::swap(&mut *self.lock(), taken);
    }

    /// Forgets what waits.
    pub(crate) fn drain(&self) {
        let mut waiting = self.lock();
        waiting.samples.clear();
        waiting.blocks.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Blocks> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(samples: &[f32]) -> Vec<u8> {
        samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
    }

    #[test]
    fn blocks_come_out_in_order_and_whole_frames_only() {
        let inbox = Inbox::new(2);
        let at = Timestamp::from_nanos;
        inbox.push(&bytes(&[0.1, 0.2, 0.3, 0.4]), at(1));
        inbox.push(&bytes(&[0.5, 0.6, 0.7]), at(2));
        inbox.push(&bytes(&[f32::NAN, f32::INFINITY]), at(3));
        let mut taken = Blocks::default();
        inbox.take(&mut taken);
        assert_eq!(taken.samples, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.0, 0.0]);
        let frames: Vec<_> = taken.blocks.iter().map(|block| (block.frames, block.arrived)).collect();
        assert_eq!(frames, [(2, at(1)), (1, at(2)), (1, at(3))]);
        inbox.take(&mut taken);
        assert!(taken.samples.is_empty() && taken.blocks.is_empty());
    }

    #[test]
    fn what_nobody_takes_does_not_pile_up() {
        let inbox = Inbox::new(8);
        let block = bytes(&vec![0.5; 8 * 1024]);
        for index in 0..10_000 {
            inbox.push(&block, Timestamp::from_nanos(index));
        }
        let mut taken = Blocks::default();
        inbox.take(&mut taken);
        assert!(taken.samples.len() <= ROOM && !taken.samples.is_empty());
        inbox.push(&block, Timestamp::from_nanos(1));
        inbox.drain();
        inbox.take(&mut taken);
        assert!(taken.samples.is_empty());
    }
}
