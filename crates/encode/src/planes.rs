//! Pictures as the encoders take them: three planes, 4:2:0, 8 bit.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Start of a plane and of each of its rows: a cache line, and what the widest SIMD loads like best.
const ALIGNMENT: usize = 64;
/// Buffers kept for reuse: one being written, one waiting, one being encoded, one retained for repeats.
const KEPT: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    width: u32,
    height: u32,
    luma_stride: usize,
    chroma_stride: usize,
}

impl Layout {
    fn new(width: u32, height: u32) -> Self {
        let (width, height) = (width.next_multiple_of(2), height.next_multiple_of(2));
        Self {
            width,
            height,
            luma_stride: (width as usize).next_multiple_of(ALIGNMENT),
            chroma_stride: (width as usize / 2).next_multiple_of(ALIGNMENT),
        }
    }

    fn luma_len(self) -> usize {
        self.luma_stride * self.height as usize
    }

    fn chroma_len(self) -> usize {
        self.chroma_stride * (self.height as usize / 2)
    }

    fn len(self) -> usize {
        self.luma_len() + 2 * self.chroma_len()
    }
}

type FreeList = Mutex<Vec<Vec<u8>>>;

/// Makes [`Planes`] of one size and takes their memory back when they are dropped.
///
/// Clones share the memory. A pool outlived by its planes is fine: they are freed instead.
#[derive(Clone)]
pub struct PlanesPool {
    layout: Layout,
    free: Arc<FreeList>,
}

impl PlanesPool {
    /// For pictures of `width × height` pixels; both are rounded up to even numbers.
    pub fn new(width: u32, height: u32) -> Self {
        Self { layout: Layout::new(width, height), free: Arc::default() }
    }

    /// Planes that nobody else holds. Their content is whatever they held before.
    pub fn acquire(&self) -> Planes {
        let reused = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let memory = reused.unwrap_or_else(|| vec![0; self.layout.len() + ALIGNMENT - 1]);
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        Planes { layout: self.layout, start, memory, home: Arc::downgrade(&self.free) }
    }
}

impl fmt::Debug for PlanesPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlanesPool").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// One picture as Y, U and V planes: U and V have half the width and half the height of Y.
///
/// Writable while uniquely owned; wrap it in an [`Arc`] to encode it, then it can be retained for repeats.
/// Rows start at multiples of 64 bytes.
pub struct Planes {
    layout: Layout,
    start: usize,
    memory: Vec<u8>,
    home: Weak<FreeList>,
}

/// The three planes of a picture, for writing.
pub(crate) struct PlanesMut<'a> {
    pub y: &'a mut [u8],
    pub u: &'a mut [u8],
    pub v: &'a mut [u8],
}

impl Planes {
    /// Width of the luma plane in pixels, always even.
    pub fn width(&self) -> u32 {
        self.layout.width
    }

    /// Height of the luma plane in pixels, always even.
    pub fn height(&self) -> u32 {
        self.layout.height
    }

    /// Bytes from one row of luma to the next.
    pub fn luma_stride(&self) -> usize {
        self.layout.luma_stride
    }

    /// Bytes from one row of either chroma plane to the next.
    pub fn chroma_stride(&self) -> usize {
        self.layout.chroma_stride
    }

    /// Luma, `luma_stride × height` bytes.
    pub fn y(&self) -> &[u8] {
        &self.all()[..self.layout.luma_len()]
    }

    /// Blue difference, `chroma_stride × height / 2` bytes.
    pub fn u(&self) -> &[u8] {
        let start = self.layout.luma_len();
        &self.all()[start..start + self.layout.chroma_len()]
    }

    /// Red difference, `chroma_stride × height / 2` bytes.
    pub fn v(&self) -> &[u8] {
        &self.all()[self.layout.luma_len() + self.layout.chroma_len()..]
    }

    /// All three planes, one after the other.
    pub(crate) fn all(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.layout.len()]
    }

    pub(crate) fn planes_mut(&mut self) -> PlanesMut<'_> {
        let all = &mut self.memory[self.start..self.start + self.layout.len()];
        let (y, chroma) = all.split_at_mut(self.layout.luma_len());
        let (u, v) = chroma.split_at_mut(self.layout.chroma_len());
        PlanesMut { y, u, v }
    }
}

impl Drop for Planes {
    fn drop(&mut self) {
        if let Some(home) = self.home.upgrade() {
            let mut free = home.lock().unwrap_or_else(PoisonError::into_inner);
            if free.len() < KEPT {
                free.push(std::mem::take(&mut self.memory));
            }
        }
    }
}

impl fmt::Debug for Planes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Planes").field("layout", &self.layout).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_sizes_are_rounded_up_and_every_row_is_aligned() {
        let planes = PlanesPool::new(1111, 667).acquire();
        assert_eq!((planes.width(), planes.height()), (1112, 668));
        for plane in [planes.y(), planes.u(), planes.v()] {
            assert_eq!(plane.as_ptr().align_offset(ALIGNMENT), 0);
        }
        assert_eq!(planes.luma_stride() % ALIGNMENT, 0);
        assert_eq!(planes.chroma_stride() % ALIGNMENT, 0);
        assert_eq!(planes.u().len(), planes.v().len());
    }

    #[test]
    fn memory_returns_to_the_pool_and_only_so_much_is_kept() {
        let pool = PlanesPool::new(320, 180);
        let first = pool.acquire();
        let address = first.y().as_ptr();
        drop(first);
        assert_eq!(pool.acquire().y().as_ptr(), address);
        let many: Vec<_> = (0..KEPT + 3).map(|_| pool.acquire()).collect();
        drop(many);
        assert_eq!(pool.free.lock().expect("no panic").len(), KEPT);
    }

    #[test]
    fn planes_outlive_their_pool() {
        let pool = PlanesPool::new(320, 180);
        let planes = pool.acquire();
        drop(pool);
        assert_eq!(planes.y().len(), 320 * 180);
    }
}
