//! Memory that a compositor copies into and that readers see, never both at once.

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

/// A memfd of fixed size, mapped for reading.
pub(super) struct SharedMemory {
    fd: OwnedFd,
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to this value alone and has no ties to a thread.
unsafe impl Send for SharedMemory {}
// SAFETY: this process only reads the mapping.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// `len` zeroed bytes that nobody can take away again.
    pub fn new(len: usize) -> io::Result<Self> {
        let fd = memfd_create("lumen-screencopy", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&fd, len as u64)?;
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory in use.
        let start = unsafe { mmap(std::ptr::null_mut(), len, ProtFlags::READ, MapFlags::SHARED, &fd, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { fd, start, len })
    }

    /// The descriptor to hand to the compositor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// All bytes. The compositor writes them only between a capture request and its end, when no reader has them.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: initialised (zeroed by the kernel), `len` bytes long and sealed against shrinking, alive as long as
        // `self`. Whoever lends this out does not give it to the compositor meanwhile.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping that `new` made; nothing borrows from a value that is being dropped.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok());
    }
}
