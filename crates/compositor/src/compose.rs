//! From windows to a picture in a pooled buffer.

use crate::pool::{Area, Pool, Target};
use lumen_media::slot::Sender;
use lumen_media::{Frame, Mode, PixelFormat, Timestamp};
use smithay::backend::renderer::damage::OutputDamageTracker;
use smithay::backend::renderer::element::memory::MemoryRenderBufferRenderElement;
use smithay::backend::renderer::element::surface::WaylandSurfaceRenderElement;
use smithay::backend::renderer::element::{Element, render_elements};
use smithay::backend::renderer::pixman::{PixmanError, PixmanRenderer};
use smithay::backend::renderer::utils::draw_render_elements;
use smithay::backend::renderer::{Bind, Color32F, Frame as _, Renderer};
use smithay::reexports::calloop::ping::Ping;
use smithay::utils::{Physical, Rectangle, Scale, Size, Transform};
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
    wake: Ping,
    size: (u32, u32),
    sequence: u64,
    /// Something changed that no reader was given yet.
    undelivered: bool,
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
            tracker: tracker(size),
            pool: Pool::new(size.0, size.1, wake.clone())?,
            frames,
            wake,
            size,
            sequence: 0,
            undelivered: true,
            failures: 0,
        })
    }

    /// Pictures are of this mode from now on. Those that are lent stay valid.
    pub(crate) fn resize(&mut self, mode: Mode) -> Result<(), ComposerError> {
        let size = (mode.width(), mode.height());
        if size != self.size {
            self.pool = Pool::new(size.0, size.1, self.wake.clone())?;
            self.tracker = tracker(size);
            self.size = size;
        }
        self.start_over();
        Ok(())
    }

    /// The next picture is drawn and handed over whole, changed or not.
    pub(crate) fn start_over(&mut self) {
        self.pool.damage_all();
        self.undelivered = true;
    }

    /// Number of the last picture.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Draws what changed and hands the picture over as composed at `now`.
    pub(crate) fn compose(&mut self, elements: &[PictureElement], now: Timestamp) -> Outcome {
        // Age 1 asks for what changed since the last call; what each buffer missed before is the pool's business.
        if let Ok((Some(damage), _)) = self.tracker.damage_output(1, elements) {
            self.pool.damage(damage);
            self.undelivered = true;
        }
        if !self.undelivered {
            return Outcome::Unchanged;
        }
        let Some(target) = self.pool.target() else { return Outcome::Starved };
        let index = target.index();
        let size = (self.size.0 as i32, self.size.1 as i32);
        match draw(&mut self.renderer, target, size.into(), elements) {
            Ok(()) => self.hand_over(index, now),
            Err(error) => {
                self.failures += 1;
                if self.failures.is_power_of_two() {
                    tracing::warn!(%error, failures = self.failures, "cannot draw a client's buffer");
                }
                self.start_over();
                Outcome::Failed
            }
        }
    }

    fn hand_over(&mut self, index: usize, now: Timestamp) -> Outcome {
        let Some(pixels) = self.pool.publish(index) else { return Outcome::Starved };
        self.sequence += 1;
        self.undelivered = false;
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

fn tracker(size: (u32, u32)) -> OutputDamageTracker {
    OutputDamageTracker::new((size.0 as i32, size.1 as i32), 1.0, Transform::Normal)
}

/// Brings `target` up to date.
fn draw(
    renderer: &mut PixmanRenderer,
    target: Target<'_>,
    size: Size<i32, Physical>,
    elements: &[PictureElement],
) -> Result<(), PixmanError> {
    let scale = Scale::from(1.0);
    let mut framebuffer = renderer.bind(target.image)?;
    let mut frame = renderer.render(&mut framebuffer, size, Transform::Normal)?;
    let opaque: Vec<Area> = elements
        .iter()
        .flat_map(|element| {
            let corner = element.geometry(scale).loc;
            element.opaque_regions(scale).into_iter().map(move |mut area| {
                area.loc += corner;
                area
            })
        })
        .collect();
    let bare = Rectangle::subtract_rects_many(target.missing.iter().copied(), opaque);
    if !bare.is_empty() {
        frame.clear(BACKGROUND, &bare)?;
    }
    draw_render_elements::<PixmanRenderer, _, _>(&mut frame, scale, elements, target.missing)?;
    drop(frame.finish()?);
    Ok(())
}
