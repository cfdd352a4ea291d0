//! From windows to a picture in a pooled buffer.

use crate::pool::Pool;
use lumen_media::slot::Sender;
use lumen_media::{Frame, Mode, PixelFormat, Timestamp};
use smithay::backend::renderer::Bind;
use smithay::backend::renderer::Color32F;
use smithay::backend::renderer::damage::OutputDamageTracker;
use smithay::backend::renderer::element::memory::MemoryRenderBufferRenderElement;
use smithay::backend::renderer::element::render_elements;
use smithay::backend::renderer::element::surface::WaylandSurfaceRenderElement;
use smithay::backend::renderer::pixman::{PixmanError, PixmanRenderer};
use smithay::reexports::calloop::ping::Ping;
use smithay::utils::Transform;
use std::io;

/// Behind all windows: dark, plain, and cheap to encode.
const BACKGROUND: Color32F = Color32F::new(0.06, 0.06, 0.08, 1.0);

render_elements! {
    /// What a picture is made of, front to back.
    pub(crate) PictureElement<=PixmanRenderer>;
    Surface=WaylandSurfaceRenderElement<PixmanRenderer>,
    Pointer=MemoryRenderBufferRenderElement<PixmanRenderer>,
}

/// What came of an attempt to compose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A new picture lies in the slot.
    Drawn,
    /// Nothing visible had changed.
    Unchanged,
    /// Every buffer is lent.
    Starved,
    /// A client's buffer could not be read; the next attempt draws everything.
    Failed,
}

/// Draws pictures and hands them over.
pub(crate) struct Composer {
    pub(crate) renderer: PixmanRenderer,
    tracker: OutputDamageTracker,
    pool: Pool,
    frames: Sender<Frame>,
    size: (u32, u32),
    sequence: u64,
    failures: u64,
}

/// Why an output's picture cannot be drawn at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ComposerError {
    #[error("cannot allocate picture buffers: {0}. Free memory or ask for a smaller mode")]
    Memory(#[from] io::Error),
    #[error("pixman does not start: {0}")]
    Renderer(#[from] PixmanError),
}

impl Composer {
    pub(crate) fn new(mode: Mode, frames: Sender<Frame>, wake: Ping) -> Result<Self, ComposerError> {
        let size = (mode.width(), mode.height());
        Ok(Self {
            renderer: PixmanRenderer::new()?,
            tracker: OutputDamageTracker::new((size.0 as i32, size.1 as i32), 1.0, Transform::Normal),
            pool: Pool::new(size.0, size.1, wake)?,
            frames,
            size,
            sequence: 0,
            failures: 0,
        })
    }

    /// The next picture is drawn and handed over whole, changed or not.
    pub(crate) fn start_over(&mut self) {
        self.pool.forget();
    }

    /// Number of the last picture.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Draws what changed and hands the picture over as composed at `now`.
    pub(crate) fn compose(&mut self, elements: &[PictureElement], now: Timestamp) -> Outcome {
        let Some(target) = self.pool.target() else { return Outcome::Starved };
        let (index, age) = (target.index(), target.age);
        let drawn = match self.renderer.bind(target.image) {
            Ok(mut framebuffer) => self
                .tracker
                .render_output(&mut self.renderer, &mut framebuffer, age, elements, BACKGROUND)
                .map(|result| result.damage.is_some())
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match drawn {
            Ok(true) => self.hand_over(index, now),
            Ok(false) => Outcome::Unchanged,
            Err(error) => {
                self.failures += 1;
                if self.failures.is_power_of_two() {
                    tracing::warn!(%error, failures = self.failures, "cannot draw a client's buffer");
                }
                self.pool.forget();
                Outcome::Failed
            }
        }
    }

    fn hand_over(&mut self, index: usize, now: Timestamp) -> Outcome {
        let Some(pixels) = self.pool.publish(index) else { return Outcome::Starved };
        self.sequence += 1;
        let frame = Frame {
            width: self.size.0,
            height: self.size.1,
            stride: self.pool.stride(),
            format: PixelFormat::Bgrx,
            captured: now,
            sequence: self.sequence,
            pixels,
        };
        // A receiver that is gone means that the host is about to drop the output.
        drop(self.frames.send(frame));
        Outcome::Drawn
    }
}
