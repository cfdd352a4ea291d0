//! Memory shared with the compositor.

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::ffi::c_void;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A mapped memfd.
pub struct SharedMemory {
    fd: OwnedFd,
    address: *mut c_void,
    length: usize,
}

impl SharedMemory {
    /// `length` zeroed bytes.
    pub fn new(length: usize) -> rustix::io::Result<Self> {
        let fd = memfd_create("testcard", MemfdFlags::CLOEXEC)?;
        ftruncate(&fd, length as u64)?;
        let flags = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing object; the file has `length`
        // bytes and nobody shrinks it (the compositor has no reason to, and a shrunk file raises SIGBUS, not corruption).
        let address = unsafe { mmap(std::ptr::null_mut(), length, flags, MapFlags::SHARED, &fd, 0)? };
        Ok(Self { fd, address, length })
    }

    /// The descriptor to hand to the compositor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// All bytes. The compositor only reads them.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is `length` bytes long, readable and writable, lives as long as `self`, and this process
        // has no other reference into it. Every bit pattern is a valid u8, whatever the other side might do.
        unsafe { std::slice::from_raw_parts_mut(self.address.cast(), self.length) }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: address and length are those of our own mapping; no slice outlives `self`.
        if let Err(error) = unsafe { munmap(self.address, self.length) } {
            eprintln!("testcard: unmapping a buffer: {error}");
        }
    }
}
