//! Three buffers in one pool: one shown, one queued, one to draw into.

use crate::client::App;
use crate::sys::SharedMemory;
use anyhow::Context;
use lumen_testcard::Rect;
use lumen_testcard::card::{Card, Painted, Scene};
use wayland_client::QueueHandle;
use wayland_client::protocol::{wl_buffer::WlBuffer, wl_shm, wl_shm::WlShm};

const COUNT: usize = 3;

struct Slot {
    buffer: WlBuffer,
    busy: bool,
    painted: Painted,
}

/// Buffers of one size. Dropping it destroys them.
pub struct Buffers {
    memory: SharedMemory,
    slots: Vec<Slot>,
    bytes: usize,
}

impl Buffers {
    pub fn new(card: &Card, shm: &WlShm, queue: &QueueHandle<App>) -> anyhow::Result<Self> {
        let bytes = card.bytes();
        let total = i32::try_from(bytes * COUNT).context("the buffers exceed what a pool may hold")?;
        let memory = SharedMemory::new(bytes * COUNT).context("allocating buffers")?;
        let pool = shm.create_pool(memory.fd(), total, queue, ());
        let slots = (0..COUNT)
            .map(|index| {
                let buffer = pool.create_buffer(
                    (index * bytes) as i32,
                    card.width() as i32,
                    card.height() as i32,
                    card.stride() as i32,
                    wl_shm::Format::Xrgb8888,
                    queue,
                    (),
                );
                Slot { buffer, busy: false, painted: Painted::default() }
            })
            .collect();
        pool.destroy();
        Ok(Self { memory, slots, bytes })
    }

    /// Draws into a free buffer, which is the compositor's from then on; `None` when it has not given one back.
    pub fn draw(&mut self, card: &Card, scene: &Scene) -> Option<(&WlBuffer, Vec<Rect>)> {
        let index = self.slots.iter().position(|slot| !slot.busy)?;
        let slot = &mut self.slots[index];
        let pixels = &mut self.memory.bytes()[index * self.bytes..(index + 1) * self.bytes];
        let damage = card.draw(scene, pixels, &mut slot.painted);
        slot.busy = true;
        Some((&slot.buffer, damage))
    }

    pub fn has_free(&self) -> bool {
        self.slots.iter().any(|slot| !slot.busy)
    }

    pub fn release(&mut self, buffer: &WlBuffer) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.buffer == *buffer) {
            slot.busy = false;
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        for slot in &self.slots {
            slot.buffer.destroy();
        }
    }
}
