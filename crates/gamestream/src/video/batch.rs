//! The datagrams of one frame, back to back.

use std::ops::Range;

/// Room for the datagrams of one frame in one buffer, all of one length, so that a run of them can be given to UDP
/// segmentation offload as it is. Reused from frame to frame; it grows to the largest frame and stays there.
#[derive(Clone, Debug, Default)]
pub struct ShardBatch {
    buffer: Vec<u8>,
    segment_size: usize,
    len: usize,
}

impl ShardBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of a datagram; 0 before the first frame.
    pub fn segment_size(&self) -> usize {
        self.segment_size
    }

    /// Datagrams held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no datagram is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All datagrams in the order in which they are sent, `len × segment_size` bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len * self.segment_size]
    }

    /// A run of datagrams by index; what lies beyond the last one is left out.
    pub fn run(&self, datagrams: Range<usize>) -> &[u8] {
        let end = datagrams.end.min(self.len);
        let start = datagrams.start.min(end);
        &self.buffer[start * self.segment_size..end * self.segment_size]
    }

    /// Each datagram.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.bytes().chunks_exact(self.segment_size.max(1))
    }

    /// Forgets all datagrams and keeps the memory.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Makes room for `len` datagrams, whose bytes are whatever an earlier frame left, and hands all of it out.
    pub(super) fn reset(&mut self, len: usize, segment_size: usize) -> &mut [u8] {
        let bytes = len * segment_size;
        if self.buffer.len() < bytes {
            self.buffer.resize(bytes, 0);
        }
        self.len = len;
        self.segment_size = segment_size;
        &mut self.buffer[..bytes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_cut_at_the_end() {
        let mut batch = ShardBatch::new();
        assert_eq!((batch.bytes(), batch.segments().len()), (&[][..], 0));
        batch.reset(3, 2).copy_from_slice(&[0, 1, 2, 3, 4, 5]);
        assert_eq!(batch.run(1..2), [2, 3]);
        assert_eq!(batch.run(2..9), [4, 5]);
        assert_eq!(batch.run(5..9), []);
        assert_eq!(batch.segments().collect::<Vec<_>>(), [[0, 1], [2, 3], [4, 5]]);
        batch.reset(1, 4);
        assert_eq!(batch.bytes().len(), 4, "a smaller frame shows none of the larger one before");
        batch.clear();
        assert!(batch.is_empty());
    }
}
