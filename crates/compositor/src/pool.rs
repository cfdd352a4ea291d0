//! The buffers that pictures are drawn into, and their way back from whoever reads them.

use crate::sys::{Canvas, Layout, Loan};
use lumen_media::PixelBuffer;
use smithay::reexports::calloop::ping::Ping;
use smithay::reexports::pixman::Image;
use smithay::utils::{Physical, Rectangle};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// One in the slot, one in conversion, one retained by a slow reader, one to draw into.
const BUFFERS: usize = 4;
/// Rows start on cache lines, so that the conversion's vector loads never straddle two.
const ROW_ALIGNMENT: usize = 64;
/// More rectangles than this cost more to keep apart than to draw as one.
const MAX_RECTANGLES: usize = 32;

/// A part of the output.
pub(crate) type Area = Rectangle<i32, Physical>;

/// All buffers of an output.
pub(crate) struct Pool {
    slots: Vec<Slot>,
    stride: usize,
    whole: Area,
    waiting: Arc<Waiting>,
}

struct Slot {
    canvas: Canvas,
    /// What changed since this buffer was drawn.
    missing: Vec<Area>,
}

impl Slot {
    fn damage(&mut self, areas: &[Area]) {
        for area in areas {
            if !self.missing.iter().any(|known| known.contains_rect(*area)) {
                self.missing.retain(|known| !area.contains_rect(*known));
                self.missing.push(*area);
            }
        }
        if self.missing.len() > MAX_RECTANGLES {
            let all = self.missing.drain(..).reduce(Rectangle::merge);
            self.missing.extend(all);
        }
    }

    fn pixels_missing(&self) -> i64 {
        self.missing.iter().map(|area| i64::from(area.size.w) * i64::from(area.size.h)).sum()
    }
}

/// How readers wake a compositor that waits for a buffer.
struct Waiting {
    wanted: AtomicBool,
    wake: Ping,
}

/// A buffer to draw into.
pub(crate) struct Target<'pool> {
    pub(crate) image: &'pool mut Image<'static, 'static>,
    /// What must be drawn to bring it up to date.
    pub(crate) missing: &'pool [Area],
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
        let whole = Rectangle::from_size((width as i32, height as i32).into());
        let slots = (0..BUFFERS)
            .map(|_| Ok(Slot { canvas: Canvas::new(layout)?, missing: vec![whole] }))
            .collect::<io::Result<_>>()?;
        Ok(Self { slots, stride, whole, waiting: Arc::new(Waiting { wanted: AtomicBool::new(false), wake }) })
    }

    /// Bytes from row to row.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// These parts of the picture are not what the buffers show any more.
    pub(crate) fn damage(&mut self, areas: &[Area]) {
        for slot in &mut self.slots {
            slot.damage(areas);
        }
    }

    /// Nothing in the buffers can be built upon any more.
    pub(crate) fn damage_all(&mut self) {
        let whole = self.whole;
        self.damage(&[whole]);
    }

    /// The free buffer with the least to draw; `None` asks for a wake-up when one comes back.
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
        let Slot { canvas, missing } = &mut self.slots[index];
        canvas.image().map(|image| Target { image, missing, index })
    }

    /// The buffer at `index` is up to date now; lends it out.
    pub(crate) fn publish(&mut self, index: usize) -> Option<Arc<dyn PixelBuffer>> {
        let slot = &mut self.slots[index];
        let loan = slot.canvas.lend()?;
        slot.missing.clear();
        Some(Arc::new(Lent { loan: Some(loan), waiting: self.waiting.clone() }))
    }

    fn freshest_free(&self) -> Option<usize> {
        let free = self.slots.iter().enumerate().filter(|(_, slot)| slot.canvas.is_free());
        free.min_by_key(|(_, slot)| slot.pixels_missing()).map(|(index, _)| index)
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

    fn area(x: i32, y: i32, width: i32, height: i32) -> Area {
        Rectangle::new((x, y).into(), (width, height).into())
    }

    #[test]
    fn rows_are_aligned() {
        assert_eq!(pool().stride(), 192);
    }

    #[test]
    fn each_buffer_knows_what_it_missed() {
        let mut pool = pool();
        let mut draw = |damage: Area, kept: &mut Vec<_>| {
            pool.damage(&[damage]);
            let target = pool.target().expect("free");
            let (index, missing) = (target.index(), target.missing.to_vec());
            kept.push(pool.publish(index).expect("not lent"));
            (index, missing)
        };
        let (whole, a, b, c) = (area(0, 0, 33, 7), area(0, 0, 2, 2), area(5, 5, 1, 1), area(8, 0, 1, 1));
        let mut kept = Vec::new();
        let (first, missing) = draw(a, &mut kept);
        assert_eq!(missing, [whole]);
        let (second, missing) = draw(b, &mut kept);
        assert_eq!(missing, [whole], "a buffer that was never drawn");
        assert_ne!(first, second);
        kept.remove(0);
        assert_eq!(draw(c, &mut kept), (first, vec![b, c]));
        kept.clear();
        assert_eq!(draw(a, &mut kept), (first, vec![a]));
    }

    #[test]
    fn many_rectangles_become_one() {
        let mut pool = pool();
        let index = pool.target().expect("free").index();
        drop(pool.publish(index));
        for x in 0..33 {
            pool.damage(&[area(x, x % 7, 1, 1)]);
        }
        assert_eq!(pool.target().expect("free").missing, [area(0, 0, 33, 7)]);
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
