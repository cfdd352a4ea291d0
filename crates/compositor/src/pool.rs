//! The buffers that pictures are drawn into, and their way back from whoever reads them.

use crate::sys::{Canvas, Layout, Loan};
use lumen_media::PixelBuffer;
use smithay::reexports::calloop::ping::Ping;
use smithay::reexports::pixman::Image;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// One in the slot, one in conversion, one retained by a slow reader, one to draw into.
const BUFFERS: usize = 4;
/// Rows start on cache lines, so that the conversion's vector loads never straddle two.
const ROW_ALIGNMENT: usize = 64;

/// All buffers of an output.
pub(crate) struct Pool {
    slots: Vec<Slot>,
    stride: usize,
    /// Pictures drawn so far.
    drawn: u64,
    waiting: Arc<Waiting>,
}

struct Slot {
    canvas: Canvas,
    /// Value of [`Pool::drawn`] after this one was drawn.
    drawn_at: Option<u64>,
}

/// How readers wake a compositor that waits for a buffer.
struct Waiting {
    wanted: AtomicBool,
    wake: Ping,
}

/// A buffer to draw into.
pub(crate) struct Target<'pool> {
    pub(crate) image: &'pool mut Image<'static, 'static>,
    /// Pictures since this buffer was drawn; 1 is the last one, 0 is unknown.
    pub(crate) age: usize,
    index: usize,
}

impl Target<'_> {
    pub(crate) fn index(&self) -> usize {
        self.index
    }
}

struct Lent {
    /// Given back before the compositor is woken.
    loan: Option<Loan>,
    waiting: Arc<Waiting>,
}

impl PixelBuffer for Lent {
    fn bytes(&self) -> &[u8] {
        self.loan.as_ref().map_or(&[], Loan::bytes)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        drop(self.loan.take());
        // Together with the fence in `Pool::target`: one of the two sides sees the other's store.
        fence(Ordering::SeqCst);
        if self.waiting.wanted.swap(false, Ordering::AcqRel) {
            self.waiting.wake.ping();
        }
    }
}

impl Pool {
    /// Buffers for `width × height`; `wake` is pinged when one comes back that was waited for.
    pub(crate) fn new(width: u32, height: u32, wake: Ping) -> io::Result<Self> {
        let stride = (width as usize * 4).next_multiple_of(ROW_ALIGNMENT);
        let layout = Layout { width: width as usize, height: height as usize, stride };
        let slots = (0..BUFFERS)
            .map(|_| Ok(Slot { canvas: Canvas::new(layout)?, drawn_at: None }))
            .collect::<io::Result<_>>()?;
        Ok(Self {
            slots,
            stride,
            drawn: 0,
            waiting: Arc::new(Waiting { wanted: AtomicBool::new(false), wake }),
        })
    }

    /// Bytes from row to row.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// The free buffer with the least to redraw; `None` asks for a wake-up when one comes back.
    pub(crate) fn target(&mut self) -> Option<Target<'_>> {
        let index = match self.freshest_free() {
            Some(index) => index,
            None => {
                self.waiting.wanted.store(true, Ordering::Release);
                fence(Ordering::SeqCst);
                // One may have come back between the look and the wish.
                self.freshest_free()?
            }
        };
        let drawn = self.drawn;
        let slot = &mut self.slots[index];
        let age = slot.drawn_at.map_or(0, |at| (drawn - at + 1) as usize);
        slot.canvas.image().map(|image| Target { image, age, index })
    }

    /// The buffer at `index` holds the newest picture now; lends it out.
    pub(crate) fn publish(&mut self, index: usize) -> Option<Arc<dyn PixelBuffer>> {
        self.drawn += 1;
        let slot = &mut self.slots[index];
        slot.drawn_at = Some(self.drawn);
        let loan = slot.canvas.lend()?;
        Some(Arc::new(Lent { loan: Some(loan), waiting: self.waiting.clone() }))
    }

    /// Nothing in the buffers can be built upon any more.
    pub(crate) fn forget(&mut self) {
        for slot in &mut self.slots {
            slot.drawn_at = None;
        }
    }

    fn freshest_free(&self) -> Option<usize> {
        let free = self.slots.iter().enumerate().filter(|(_, slot)| slot.canvas.is_free());
        free.max_by_key(|(_, slot)| slot.drawn_at).map(|(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smithay::reexports::calloop::ping::make_ping;

    fn pool() -> Pool {
        let (wake, _source) = make_ping().expect("eventfd");
        Pool::new(33, 7, wake).expect("memory")
    }

    #[test]
    fn rows_are_aligned() {
        assert_eq!(pool().stride(), 192);
    }

    #[test]
    fn the_freshest_free_buffer_is_taken_with_its_age() {
        let mut pool = pool();
        let mut draw = |keep: &mut Vec<_>| {
            let target = pool.target().expect("free");
            let (index, age) = (target.index(), target.age);
            keep.push(pool.publish(index).expect("not lent"));
            (index, age)
        };
        let mut kept = Vec::new();
        let (first, age) = draw(&mut kept);
        assert_eq!(age, 0);
        let (second, age) = draw(&mut kept);
        assert_eq!(age, 0);
        assert_ne!(first, second);
        kept.remove(0);
        assert_eq!(draw(&mut kept), (first, 2));
        kept.clear();
        assert_eq!(draw(&mut kept), (first, 1));
    }

    #[test]
    fn without_a_free_buffer_the_next_return_is_announced() {
        let mut pool = pool();
        let mut kept = Vec::new();
        for _ in 0..BUFFERS {
            let index = pool.target().expect("free").index();
            kept.push(pool.publish(index).expect("not lent"));
        }
        assert!(pool.target().is_none());
        assert!(pool.waiting.wanted.load(Ordering::Acquire));
        kept.pop();
        assert!(!pool.waiting.wanted.load(Ordering::Acquire), "the wish was granted");
        assert!(pool.target().is_some());
    }
}
