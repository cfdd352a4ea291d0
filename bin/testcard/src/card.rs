//! Whole frames of the card, drawn cheaply: everything is rendered once, a frame is copies of rows and a few rectangles.

use crate::code::{Code, Layout};
use crate::{Rect, bars, code};

mod pattern;

use pattern::{GRAINS, Pattern};

/// What moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// The whole picture moves in every frame.
    Scroll,
    /// A small box moves over a still background.
    Box,
    /// Nothing moves: one frame is all there is.
    Static,
}

/// The picture has no room for the code block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{width}x{height} is too small for the test card; it needs at least 320x180")]
pub struct TooSmall {
    /// Asked width in pixels.
    pub width: u32,
    /// Asked height in pixels.
    pub height: u32,
}

/// What one buffer shows, so that the next frame repairs only what the last one in it changed.
#[derive(Clone, Debug, Default)]
pub struct Painted {
    complete: bool,
    moved: Vec<Rect>,
}

/// One frame to draw.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// What the block says.
    pub code: Code,
    /// Where the pointer is, in pixels; shown by [`Style::Box`].
    pub pointer: Option<(u32, u32)>,
}

/// A card of one size and style.
#[derive(Debug)]
pub struct Card {
    width: u32,
    height: u32,
    style: Style,
    layout: Layout,
    /// The background; the picture repeats it downwards.
    pattern: Pattern,
}

impl Card {
    /// Renders what does not change.
    ///
    /// # Errors
    /// [`TooSmall`] below 320×180.
    pub fn new(width: u32, height: u32, style: Style) -> Result<Self, TooSmall> {
        let layout = Layout::for_size(width, height).ok_or(TooSmall { width, height })?;
        Ok(Self {
            width,
            height,
            style,
            layout,
            pattern: Pattern::render(width, height, style == Style::Scroll),
        })
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Bytes per row of the buffers that [`Card::draw`] takes: no padding.
    pub fn stride(&self) -> usize {
        self.width as usize * 4
    }

    /// Bytes of a whole buffer.
    pub fn bytes(&self) -> usize {
        self.stride() * self.height as usize
    }

    /// Draws a frame (blue, green, red, unused per pixel) over what `painted` says the buffer shows, and returns the
    /// parts that differ from a still card: the damage of a commit is these and the ones of the frame before.
    ///
    /// # Panics
    /// When `pixels` is shorter than [`Card::bytes`].
    pub fn draw(&self, scene: &Scene, pixels: &mut [u8], painted: &mut Painted) -> Vec<Rect> {
        let bars_top = bars::strip(self.width, self.height).y;
        if !painted.complete {
            bars::draw(self.width, self.height, pixels, self.stride());
        }
        let mut moved = vec![self.layout.panel()];
        match self.style {
            Style::Scroll => {
                let all = Rect { x: 0, y: 0, width: self.width, height: bars_top };
                self.restore(all, self.scrolled(scene.code.frame), pixels);
                self.change_grain(scene.code.frame, bars_top, pixels);
                moved = vec![all];
            }
            Style::Box | Style::Static => {
                if !painted.complete {
                    self.restore(Rect { x: 0, y: 0, width: self.width, height: bars_top }, 0, pixels);
                }
                for rect in painted.moved.drain(..) {
                    self.restore(rect, 0, pixels);
                }
            }
        }
        if self.style == Style::Box {
            let marker = scene.pointer.map(|at| (self.pointer_marker(at), [0, 0, 255, 255]));
            for (rect, colour) in
                [(self.moving_box(scene.code.frame), [0, 200, 255, 255])].into_iter().chain(marker)
            {
                self.fill(rect, colour, pixels);
                moved.push(rect);
            }
        }
        code::draw(self.layout, scene.code, pixels, self.stride());
        painted.complete = true;
        painted.moved.clone_from(&moved);
        moved
    }

    /// Rows by which the pattern has moved up: about a third of a picture height a second at 60 frames.
    fn scrolled(&self, frame: u32) -> usize {
        let rows = self.pattern.rows.len() / self.stride();
        (frame as usize * (self.height as usize / 180).max(1)) % rows
    }

    /// Copies the pattern, moved up by `shift` rows, into a part of the picture.
    fn restore(&self, rect: Rect, shift: usize, pixels: &mut [u8]) {
        let stride = self.stride();
        let rows = self.pattern.rows.len() / stride;
        let (left, bytes) = (rect.x as usize * 4, rect.width as usize * 4);
        let (mut y, end) = (rect.y as usize, (rect.y + rect.height) as usize);
        while y < end {
            let row = (y + shift) % rows;
            // Whole rows lie side by side: one copy for as many as the pattern still has.
            let lines = if bytes == stride { (end - y).min(rows - row) } else { 1 };
            let length = if lines > 1 { lines * stride } else { bytes };
            let (to, from) = (y * stride + left, row * stride + left);
            pixels[to..to + length].copy_from_slice(&self.pattern.rows[from..from + length]);
            y += lines;
        }
    }

    /// Puts the striped part with this picture's own grain over what was just restored.
    fn change_grain(&self, frame: u32, bottom: u32, pixels: &mut [u8]) {
        let Some(grain) = (frame % GRAINS).checked_sub(1) else { return };
        let source = &self.pattern.stripes[grain as usize];
        let left = self.pattern.stripes_left as usize * 4;
        let bytes = self.stride() - left;
        let (rows, shift) = (source.len() / bytes, self.scrolled(frame));
        for y in 0..bottom as usize {
            let from = (y + shift) % rows * bytes;
            let to = y * self.stride() + left;
            pixels[to..to + bytes].copy_from_slice(&source[from..from + bytes]);
        }
    }

    fn fill(&self, rect: Rect, colour: [u8; 4], pixels: &mut [u8]) {
        for y in rect.y..rect.y + rect.height {
            let left = y as usize * self.stride() + rect.x as usize * 4;
            pixels[left..left + rect.width as usize * 4].as_chunks_mut::<4>().0.fill(colour);
        }
    }

    /// The box walks to and fro in the free middle, below the code and above the bars.
    fn moving_box(&self, frame: u32) -> Rect {
        let side = (self.height / 12).max(16);
        let (top, bottom) = self.free_rows();
        let walk = |length: u32, speed: u32| {
            let place = frame.wrapping_mul(speed) % (2 * length).max(1);
            place.min(2 * length - place)
        };
        let step = (self.height / 180).max(1);
        Rect {
            x: walk(self.width - side, 2 * step),
            y: top + walk((bottom - top).saturating_sub(side), step),
            width: side,
            height: side.min(bottom - top),
        }
    }

    fn pointer_marker(&self, (x, y): (u32, u32)) -> Rect {
        let side = (self.height / 60).max(8);
        let (top, bottom) = self.free_rows();
        let clamp = |centre: u32, low: u32, high: u32| {
            centre.saturating_sub(side / 2).clamp(low, high.saturating_sub(side).max(low))
        };
        Rect { x: clamp(x, 0, self.width), y: clamp(y, top, bottom), width: side, height: side }
    }

    fn free_rows(&self) -> (u32, u32) {
        let panel = self.layout.panel();
        (panel.y + panel.height, bars::strip(self.width, self.height).y)
    }
}

#[cfg(test)]
mod tests;
