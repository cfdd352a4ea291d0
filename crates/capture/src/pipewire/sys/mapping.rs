//! Memory of a producer, mapped for reading.

use rustix::fs::{SealFlags, fcntl_get_seals, fstat};
use rustix::ioctl::{Setter, ioctl, opcode};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;

/// `DMA_BUF_IOCTL_SYNC`: brackets what the processor reads of a dmabuf.
const DMA_BUF_SYNC: rustix::ioctl::Opcode = opcode::write::<u64>(b'b', 0);
const SYNC_READ: u64 = 1;
const SYNC_END: u64 = 4;

/// What a read of the memory needs around it.
enum Guard {
    /// Shared memory whose owner cannot make it shorter.
    Sealed,
    /// Shared memory whose size is looked at before a picture is read.
    Unsealed(OwnedFd),
    /// Graphics memory, which is synchronised.
    DmaBuf(OwnedFd),
}

/// A mapping of our own: it lives as long as somebody reads it, whatever happens to PipeWire's buffer meanwhile.
pub(crate) struct Mapping {
    base: NonNull<c_void>,
    mapped: usize,
    start: usize,
    len: usize,
    guard: Guard,
}

// SAFETY: the mapping is read-only for us and stays until drop; which thread reads or unmaps it makes no difference.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes at `offset` of `fd`; a `len` of 0 is all that is there.
    ///
    /// # Errors
    /// What the system says, or that the memory is shorter than announced, where reading would be a fatal signal.
    pub(crate) fn new(fd: RawFd, offset: usize, len: usize, dmabuf: bool) -> io::Result<Self> {
        if fd < 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a buffer without a file descriptor"));
        }
        // SAFETY: PipeWire keeps the descriptor open while the buffer is added, which is when this is called.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        // A dmabuf's status has no size in older kernels; its seek has.
        let there = if dmabuf {
            rustix::fs::seek(fd, rustix::fs::SeekFrom::End(0))?
        } else {
            u64::try_from(fstat(fd)?.st_size).unwrap_or(0)
        };
        let there = usize::try_from(there).unwrap_or(0);
        let len = if len == 0 { there.saturating_sub(offset) } else { len };
        let mapped = offset.checked_add(len).filter(|end| *end <= there && len > 0).ok_or_else(|| {
            let text = format!("the buffer holds {there} bytes, {len} at {offset} were announced");
            io::Error::new(io::ErrorKind::UnexpectedEof, text)
        })?;
        let guard = if dmabuf {
            Guard::DmaBuf(fd.try_clone_to_owned()?)
        } else if fcntl_get_seals(fd).is_ok_and(|seals| seals.contains(SealFlags::SHRINK)) {
            Guard::Sealed
        } else {
            Guard::Unsealed(fd.try_clone_to_owned()?)
        };
        // SAFETY: a new mapping at an address that the kernel chooses touches no memory of ours.
        let base = unsafe { mmap(std::ptr::null_mut(), mapped, ProtFlags::READ, MapFlags::SHARED, fd, 0)? };
        let base = NonNull::new(base).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        Ok(Self { base, mapped, start: offset, len, guard })
    }

    /// The mapped bytes. The producer is another process and writes here once the buffer is back with it; a picture
    /// read too late shows two pictures at once and nothing worse.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `start + len` bytes are mapped until drop; any bit pattern is a valid `u8`. Writes of the other
        // process are no accesses of this program, and no value read here decides about memory safety. Memory without
        // a seal can be made shorter by its owner at any time, and a read beyond its end is a fatal signal. We trust
        // the compositor not to do that to a buffer that is with us; `begin_read` finds what was shortened before, but
        // not what is shortened during a read. That ends the process and corrupts nothing.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().cast::<u8>().add(self.start), self.len) }
    }

    /// Before a picture is read.
    ///
    /// # Errors
    /// When graphics memory cannot be synchronised, or shared memory is shorter than it was: it must not be read.
    pub(crate) fn begin_read(&self) -> io::Result<()> {
        if let Guard::Unsealed(fd) = &self.guard
            && usize::try_from(fstat(fd)?.st_size).unwrap_or(0) < self.mapped
        {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the buffer was made shorter"));
        }
        self.sync(SYNC_READ)
    }

    /// After it was read.
    pub(crate) fn end_read(&self) -> io::Result<()> {
        self.sync(SYNC_READ | SYNC_END)
    }

    fn sync(&self, flags: u64) -> io::Result<()> {
        let Guard::DmaBuf(fd) = &self.guard else { return Ok(()) };
        loop {
            // SAFETY: the call reads one u64, as the opcode says.
            match unsafe { ioctl(fd.as_fd(), Setter::<DMA_BUF_SYNC, u64>::new(flags)) } {
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                // Some producers call plain shared memory a dmabuf; it needs no bracket.
                Err(rustix::io::Errno::NOTTY) | Ok(()) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, unmapped once; whoever reads it holds a reference.
        let _ = unsafe { munmap(self.base.as_ptr(), self.mapped) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    fn memory(bytes: &[u8]) -> OwnedFd {
        let fd = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).expect("memfd");
        rustix::io::write(&fd, bytes).expect("written");
        fd
    }

    #[test]
    fn a_mapping_outlives_its_descriptor() {
        let fd = memory(b"0123456789");
        let mapping = Mapping::new(fd.as_raw_fd(), 2, 5, false).expect("mapped");
        drop(fd);
        assert_eq!(mapping.bytes(), b"23456");
    }

    #[test]
    fn memory_shorter_than_announced_is_refused() {
        let fd = memory(b"0123456789");
        let error = Mapping::new(fd.as_raw_fd(), 4, 7, false).err().expect("too long");
        assert_eq!(error.to_string(), "the buffer holds 10 bytes, 7 at 4 were announced");
        assert_eq!(Mapping::new(fd.as_raw_fd(), 4, 0, false).expect("all").bytes(), b"456789");
        assert!(Mapping::new(-1, 0, 4, false).is_err());
    }

    #[test]
    fn memory_that_was_made_shorter_is_not_read() {
        let fd = memory(b"0123456789");
        let mapping = Mapping::new(fd.as_raw_fd(), 2, 5, false).expect("mapped");
        mapping.begin_read().expect("all is there");
        rustix::fs::ftruncate(&fd, 6).expect("shorter");
        assert!(mapping.begin_read().is_err());
        rustix::fs::ftruncate(&fd, 7).expect("long enough");
        mapping.begin_read().expect("all that was announced is there");
    }

    #[test]
    fn shared_memory_called_a_dmabuf_can_be_read() {
        let fd = memory(b"0123");
        let mapping = Mapping::new(fd.as_raw_fd(), 0, 4, true).expect("mapped");
        drop(fd);
        mapping.begin_read().expect("no bracket needed");
        assert_eq!(mapping.bytes(), b"0123");
        mapping.end_read().expect("no bracket needed");
    }
}
