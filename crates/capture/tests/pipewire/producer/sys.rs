//! The producer's buffers.

use super::{Memory, Shot};
use libspa::pod::Pod;
use libspa::sys as spa;
use pipewire::stream::Stream;
use pipewire::sys::pw_buffer;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Whether a `Format` has a modifier.
pub fn has_modifier(pod: &Pod) -> bool {
    let object = pod.as_object().expect("a format is an object");
    object.find_prop(libspa::utils::Id(spa::SPA_FORMAT_VIDEO_modifier)).is_some()
}

/// A file behind a buffer.
struct File {
    buffer: *mut pw_buffer,
    fd: OwnedFd,
    offset: usize,
    bytes: usize,
}

/// The files behind the buffers that the producer allocates itself.
#[derive(Default)]
pub struct Slots(Vec<File>);

fn data<'a>(buffer: *mut pw_buffer) -> &'a mut spa::spa_data {
    // SAFETY: called with buffers between their `add` and their `remove`, which have one block.
    unsafe { &mut *(*(*buffer).buffer.cast::<spa::spa_buffer>()).datas }
}

impl Slots {
    pub fn add(&mut self, buffer: *mut pw_buffer, memory: Memory, bytes: usize) {
        let offset = match memory {
            Memory::Library => return,
            Memory::Own { offset } => offset,
            Memory::Claimed | Memory::Unmappable => 0,
        };
        let data = data(buffer);
        let graphics = data.type_ & (1 << spa::SPA_DATA_DmaBuf) != 0;
        let unmappable = graphics && memory == Memory::Unmappable;
        let fd = if unmappable {
            rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).expect("an eventfd")
        } else {
            let fd =
                rustix::fs::memfd_create("lumen-test", rustix::fs::MemfdFlags::CLOEXEC).expect("a memfd");
            rustix::fs::ftruncate(&fd, (offset + bytes) as u64).expect("of this size");
            fd
        };
        data.type_ = if graphics { spa::SPA_DATA_DmaBuf } else { spa::SPA_DATA_MemFd };
        data.flags = spa::SPA_DATA_FLAG_READWRITE;
        data.fd = i64::from(fd.as_raw_fd());
        data.mapoffset = offset as u32;
        data.maxsize = bytes as u32;
        data.data = std::ptr::null_mut();
        self.0.push(File { buffer, fd, offset, bytes });
    }

    pub fn remove(&mut self, buffer: *mut pw_buffer) {
        self.0.retain(|file| file.buffer != buffer);
    }

    /// Fills a buffer and sends it; `false` when none is free.
    pub fn send(&mut self, stream: &Stream, shot: &Shot) -> bool {
        // SAFETY: on the loop's thread; the buffer is queued below.
        let buffer = unsafe { stream.dequeue_raw_buffer() };
        if buffer.is_null() {
            return false;
        }
        let data = data(buffer);
        if let Some(file) = self.0.iter().find(|file| file.buffer == buffer) {
            assert!(shot.bytes.len() <= file.bytes);
            rustix::io::pwrite(file.fd.as_fd(), &shot.bytes, file.offset as u64).expect("written");
        } else if !data.data.is_null() {
            assert!(shot.bytes.len() <= data.maxsize as usize);
            // SAFETY: the library mapped `maxsize` bytes there.
            unsafe {
                std::ptr::copy_nonoverlapping(shot.bytes.as_ptr(), data.data.cast(), shot.bytes.len());
            }
        }
        // SAFETY: each block has a chunk.
        let chunk = unsafe { &mut *data.chunk };
        chunk.offset = shot.offset;
        chunk.size = shot.size;
        chunk.stride = shot.stride;
        chunk.flags = shot.chunk_flags;
        let mut header = vec![0; 32];
        let (flags, pts) = shot.header.unwrap_or((0, -1));
        header[..4].copy_from_slice(&flags.to_ne_bytes());
        header[8..16].copy_from_slice(&pts.to_ne_bytes());
        let crop = shot.crop.unwrap_or_default().iter().flat_map(|side| side.to_ne_bytes()).collect();
        let transform = shot.transform.unwrap_or_default().to_ne_bytes().to_vec();
        let cursor = shot.cursor.clone().unwrap_or(vec![0; 28]);
        for (kind, bytes) in [
            (spa::SPA_META_Header, header),
            (spa::SPA_META_VideoCrop, crop),
            (spa::SPA_META_VideoTransform, transform),
            (spa::SPA_META_Cursor, cursor),
        ] {
            write_meta(buffer, kind, &bytes);
        }
        // SAFETY: dequeued above.
        unsafe { stream.queue_raw_buffer(buffer) };
        // Refused while the stream does not run.
        stream.trigger_process().is_ok()
    }
}

fn write_meta(buffer: *mut pw_buffer, kind: u32, bytes: &[u8]) {
    // SAFETY: the buffer is dequeued; it has `n_metas` metadata of `size` bytes each.
    unsafe {
        let buffer = &*(*buffer).buffer.cast::<spa::spa_buffer>();
        let mut metas = (0..buffer.n_metas as usize).map(|index| &*buffer.metas.add(index));
        if let Some(meta) = metas.find(|meta| meta.type_ == kind) {
            assert!(bytes.len() <= meta.size as usize, "metadata {kind}");
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), meta.data.cast(), bytes.len());
        }
    }
}

/// Tells when a cycle of the graph is over; the bindings lack this event.
pub struct Cycles {
    hook: Box<spa::spa_hook>,
    _events: Box<pipewire::sys::pw_stream_events>,
    _done: Box<Box<dyn Fn()>>,
}

impl Cycles {
    pub fn new(stream: &Stream, done: impl Fn() + 'static) -> Self {
        unsafe extern "C" fn trigger_done(data: *mut std::ffi::c_void) {
            // SAFETY: `data` is the closure of `new`, which lives as long as the hook.
            let done = unsafe { &*data.cast::<Box<dyn Fn()>>() };
            done();
        }
        // SAFETY: both are plain C structures of numbers and optional pointers.
        let (mut hook, mut events): (Box<spa::spa_hook>, Box<pipewire::sys::pw_stream_events>) =
            unsafe { (Box::new(std::mem::zeroed()), Box::new(std::mem::zeroed())) };
        events.version = pipewire::sys::PW_VERSION_STREAM_EVENTS;
        events.trigger_done = Some(trigger_done);
        let done: Box<Box<dyn Fn()>> = Box::new(Box::new(done));
        // SAFETY: hook, events and closure stay where they are until the hook is removed.
        unsafe {
            pipewire::sys::pw_stream_add_listener(
                stream.as_raw_ptr(),
                std::ptr::from_mut(&mut *hook).cast(),
                &*events,
                std::ptr::from_ref(&*done).cast_mut().cast(),
            );
        }
        Self { hook, _events: events, _done: done }
    }
}

impl Drop for Cycles {
    fn drop(&mut self) {
        libspa::utils::hook::remove(*self.hook);
    }
}
