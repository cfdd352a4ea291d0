//! Picture memory that pixman draws into and others read, never both at once.

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use smithay::reexports::pixman::{FormatCode, Image};
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Zeroed, page-aligned memory of this process.
struct Memory {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to this value alone and has no ties to a thread.
unsafe impl Send for Memory {}
// SAFETY: shared access only reads; `Canvas` and `Picture` see to it that nobody draws meanwhile.
unsafe impl Sync for Memory {}

impl Memory {
    fn new(len: usize) -> io::Result<Self> {
        // SAFETY: a fresh private mapping at an address of the kernel's choice touches no memory in use.
        let start = unsafe {
            mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping that `new` made; nothing borrows from a value that is being dropped.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok());
    }
}

struct Shared {
    memory: Memory,
    /// While set, a [`Picture`] may read and nobody may draw.
    lent: AtomicBool,
}

/// Size of a canvas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Bytes from row to row; a multiple of four and at least `4 × width`.
    pub(crate) stride: usize,
}

/// A picture in the making: pixman's view of the memory. Lives on the compositor's thread.
pub(crate) struct Canvas {
    /// Points into `shared.memory`; dropped first.
    image: Image<'static, 'static>,
    shared: Arc<Shared>,
}

impl Canvas {
    pub(crate) fn new(layout: Layout) -> io::Result<Self> {
        assert!(
            layout.stride.is_multiple_of(4) && layout.stride / 4 >= layout.width,
            "rows must be aligned and hold their pixels"
        );
        let memory = Memory::new(layout.stride * layout.height)?;
        // SAFETY: the memory is page-aligned, `stride × height` long, and outlives the image: `Canvas` drops the image
        // first and never hands it out by value. Access while lent is refused by `image`.
        let image = unsafe {
            Image::from_raw_mut(
                FormatCode::X8R8G8B8,
                layout.width,
                layout.height,
                memory.start.as_ptr().cast(),
                layout.stride,
                false,
            )
        }
        .map_err(|_| io::Error::other("pixman refused the buffer"))?;
        Ok(Self { image, shared: Arc::new(Shared { memory, lent: AtomicBool::new(false) }) })
    }

    /// Whether it can be drawn into.
    pub(crate) fn is_free(&self) -> bool {
        !self.shared.lent.load(Ordering::Acquire)
    }

    /// What to draw into; `None` while it is lent.
    pub(crate) fn image(&mut self) -> Option<&mut Image<'static, 'static>> {
        self.is_free().then_some(&mut self.image)
    }

    /// Lends it to readers until the result is dropped; `None` while it is lent already.
    pub(crate) fn lend(&mut self) -> Option<Loan> {
        if self.shared.lent.swap(true, Ordering::AcqRel) {
            return None;
        }
        Some(Loan { shared: self.shared.clone() })
    }
}

/// The right to read a canvas. Dropping it gives the canvas back.
pub(crate) struct Loan {
    shared: Arc<Shared>,
}

impl Loan {
    pub(crate) fn bytes(&self) -> &[u8] {
        let memory = &self.shared.memory;
        // SAFETY: initialised (zeroed by the kernel), alive through the `Arc`, and not written while `lent` is set, which
        // it is for as long as this value lives.
        unsafe { std::slice::from_raw_parts(memory.start.as_ptr(), memory.len) }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.shared.lent.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lent_canvas_cannot_be_drawn_into() {
        let mut canvas = Canvas::new(Layout { width: 3, height: 2, stride: 64 }).expect("memory");
        assert!(canvas.image().is_some());
        let loan = canvas.lend().expect("free");
        assert_eq!(loan.bytes().len(), 128);
        assert_eq!(loan.bytes().as_ptr() as usize % 4096, 0);
        assert!(canvas.image().is_none() && canvas.lend().is_none());
        drop(loan);
        assert!(canvas.image().is_some());
    }

    #[test]
    fn a_loan_outlives_its_canvas() {
        let mut canvas = Canvas::new(Layout { width: 16, height: 1, stride: 64 }).expect("memory");
        let loan = canvas.lend().expect("free");
        drop(canvas);
        assert!(loan.bytes().iter().all(|byte| *byte == 0));
    }
}
