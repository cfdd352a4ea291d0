//! Buffers that the compositor copies into, and their way back from whoever reads them.

use super::bell::Bell;
use super::pixels::Packing;
use super::state::State;
use super::sys::SharedMemory;
use lumen_media::PixelBuffer;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use wayland_client::QueueHandle;
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_shm::{Format, WlShm};

/// Most buffers of one layout: one being written, one waiting in the slot, and as many as readers may hold.
const MOST: usize = 6;

/// Size and format of the buffers that the compositor wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub width: u32,
    pub height: u32,
    pub stride: u32,
    pub format: Format,
    pub packing: Packing,
}

impl Layout {
    fn bytes(&self) -> usize {
        self.stride as usize * self.height as usize
    }
}

struct Shared {
    memory: SharedMemory,
    /// While set, the compositor may write or a reader may read.
    lent: AtomicBool,
    returns: Arc<Returns>,
}

/// Tells the thread that a buffer came back, if it waits for one.
pub(super) struct Returns {
    pub bell: Arc<Bell>,
    starved: AtomicBool,
}

/// The right to a buffer, first for the compositor, then for readers. Dropping it gives the buffer back.
pub(super) struct Lease {
    shared: Arc<Shared>,
    pub buffer: WlBuffer,
    pub layout: Layout,
}

impl Lease {
    pub fn bytes(&self) -> &[u8] {
        self.shared.memory.bytes()
    }

    /// For readers.
    pub fn into_picture(self) -> Arc<dyn PixelBuffer> {
        Arc::new(Picture(self))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.lent.store(false, Ordering::SeqCst);
        if self.shared.returns.starved.swap(false, Ordering::SeqCst) {
            self.shared.returns.bell.ring();
        }
    }
}

struct Picture(Lease);

impl PixelBuffer for Picture {
    fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }
}

struct Buffer {
    shared: Arc<Shared>,
    buffer: WlBuffer,
}

/// Buffers of one layout. What readers hold outlives it.
pub(super) struct Pool {
    layout: Option<Layout>,
    buffers: Vec<Buffer>,
    returns: Arc<Returns>,
}

impl Pool {
    pub fn new(bell: Arc<Bell>) -> Self {
        let returns = Arc::new(Returns { bell, starved: AtomicBool::new(false) });
        Self { layout: None, buffers: Vec::new(), returns }
    }

    /// A free buffer of `layout`; `None` while readers hold them all: the bell rings when one comes back.
    pub fn take(
        &mut self,
        layout: Layout,
        shm: &WlShm,
        queue: &QueueHandle<State>,
    ) -> io::Result<Option<Lease>> {
        if self.layout != Some(layout) {
            self.clear();
            self.layout = Some(layout);
        }
        if let Some(lease) = self.free() {
            return Ok(Some(lease));
        }
        if self.buffers.len() < MOST {
            self.buffers.push(self.allocate(layout, shm, queue)?);
            return Ok(self.free());
        }
        // Said first and looked at again: one that comes back in between is not missed.
        self.returns.starved.store(true, Ordering::SeqCst);
        Ok(self.free())
    }

    fn free(&self) -> Option<Lease> {
        let layout = self.layout?;
        let free = self.buffers.iter().find(|buffer| !buffer.shared.lent.swap(true, Ordering::SeqCst))?;
        Some(Lease { shared: free.shared.clone(), buffer: free.buffer.clone(), layout })
    }

    fn allocate(&self, layout: Layout, shm: &WlShm, queue: &QueueHandle<State>) -> io::Result<Buffer> {
        let too_large = || io::Error::from(io::ErrorKind::FileTooLarge);
        let length = i32::try_from(layout.bytes()).map_err(|_| too_large())?;
        let memory = SharedMemory::new(layout.bytes())?;
        let [width, height, stride] = [layout.width, layout.height, layout.stride].map(|side| side as i32);
        let pool = shm.create_pool(memory.fd(), length, queue, ());
        let buffer = pool.create_buffer(0, width, height, stride, layout.format, queue, ());
        pool.destroy();
        let lent = AtomicBool::new(false);
        Ok(Buffer { shared: Arc::new(Shared { memory, lent, returns: self.returns.clone() }), buffer })
    }

    fn clear(&mut self) {
        for buffer in self.buffers.drain(..) {
            buffer.buffer.destroy();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.clear();
    }
}
