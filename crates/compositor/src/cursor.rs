//! The pointer that is drawn into the picture: small pictures of our own, no theme needed.

use crate::compose::PictureElement;
use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::element::Kind;
use smithay::backend::renderer::element::memory::{MemoryRenderBuffer, MemoryRenderBufferRenderElement};
use smithay::backend::renderer::element::surface::render_elements_from_surface_tree;
use smithay::backend::renderer::pixman::PixmanRenderer;
use smithay::input::pointer::{CursorIcon, CursorImageStatus, CursorImageSurfaceData};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{IsAlive, Logical, Point, Transform};
use smithay::wayland::compositor::with_states;

/// `#` is black, `o` white, anything else transparent; the hotspot is in pixels from the top left.
struct Drawing {
    rows: &'static [&'static str],
    hotspot: (i32, i32),
}

const ARROW: Drawing = Drawing {
    rows: &[
        "#",
        "##",
        "#o#",
        "#oo#",
        "#ooo#",
        "#oooo#",
        "#ooooo#",
        "#oooooo#",
        "#ooooooo#",
        "#oooooooo#",
        "#ooooooooo#",
        "#oooooo#####",
        "#ooo#oo#",
        "#oo# #oo#",
        "#o#  #oo#",
        "##    #oo#",
        "#     #oo#",
        "       ##",
    ],
    hotspot: (0, 0),
};

const BEAM: Drawing = Drawing {
    rows: &[
        "### ###", "#oo#oo#", "###o###", "  #o#  ", "  #o#  ", "  #o#  ", "  #o#  ", "  #o#  ", "  #o#  ",
        "  #o#  ", "  #o#  ", "  #o#  ", "  #o#  ", "  #o#  ", "###o###", "#oo#oo#", "### ###",
    ],
    hotspot: (3, 8),
};

const HAND: Drawing = Drawing {
    rows: &[
        "    ##",
        "   #oo#",
        "   #oo#",
        "   #oo#",
        "   #oo###",
        "   #oo#oo###",
        "   #oo#oo#oo##",
        " # #oo#oo#oo#o#",
        "#o##oooooooo#o#",
        "#oo#oooooooooo#",
        " #oooooooooooo#",
        " #ooooooooooo#",
        "  #oooooooooo#",
        "  #ooooooooo#",
        "   #oooooooo#",
        "   ##########",
    ],
    hotspot: (5, 0),
};

const CROSS: Drawing = Drawing {
    rows: &[
        "      ###",
        "      #o#",
        "      #o#",
        "      #o#",
        "      #o#",
        "      #o#",
        "#######o#######",
        "#ooooooooooooo#",
        "#######o#######",
        "      #o#",
        "      #o#",
        "      #o#",
        "      #o#",
        "      #o#",
        "      ###",
    ],
    hotspot: (7, 7),
};

struct Picture {
    buffer: MemoryRenderBuffer,
    hotspot: Point<i32, Logical>,
}

impl Picture {
    fn new(drawing: &Drawing) -> Self {
        let width = drawing.rows.iter().map(|row| row.len()).max().unwrap_or(0);
        let pixel = |byte: u8| match byte {
            b'#' => [0, 0, 0, 255],
            b'o' => [255, 255, 255, 255],
            _ => [0; 4],
        };
        let row = |row: &&str| {
            row.bytes().chain(std::iter::repeat(b' ')).take(width).flat_map(pixel).collect::<Vec<_>>()
        };
        let pixels: Vec<u8> = drawing.rows.iter().flat_map(row).collect();
        let size = (width as i32, drawing.rows.len() as i32);
        Self {
            buffer: MemoryRenderBuffer::from_slice(
                &pixels,
                Fourcc::Argb8888,
                size,
                1,
                Transform::Normal,
                None,
            ),
            hotspot: drawing.hotspot.into(),
        }
    }
}

/// What the pointer looks like.
pub(crate) struct Cursor {
    status: CursorImageStatus,
    /// What a pen looks like, while there is one.
    pen: Option<CursorImageStatus>,
    /// A pointer that nobody has moved yet is not drawn.
    moved: bool,
    arrow: Picture,
    beam: Picture,
    hand: Picture,
    cross: Picture,
}

impl Cursor {
    pub(crate) fn new() -> Self {
        Self {
            status: CursorImageStatus::default_named(),
            pen: None,
            moved: false,
            arrow: Picture::new(&ARROW),
            beam: Picture::new(&BEAM),
            hand: Picture::new(&HAND),
            cross: Picture::new(&CROSS),
        }
    }

    pub(crate) fn set(&mut self, status: CursorImageStatus) {
        self.status = status;
    }

    /// What a pen looks like; `None` when it is gone.
    pub(crate) fn set_pen(&mut self, status: Option<CursorImageStatus>) {
        self.pen = status;
    }

    fn status(&self) -> &CursorImageStatus {
        self.pen.as_ref().unwrap_or(&self.status)
    }

    /// From now on it is drawn.
    pub(crate) fn show(&mut self) {
        self.moved = true;
    }

    /// The client's picture of it, if that is what is shown.
    pub(crate) fn surface(&self) -> Option<&WlSurface> {
        match self.status() {
            CursorImageStatus::Surface(surface) if surface.alive() => Some(surface),
            _ => None,
        }
    }

    /// How to draw it with its hotspot at `position`.
    pub(crate) fn elements(
        &self,
        renderer: &mut PixmanRenderer,
        position: Point<f64, Logical>,
    ) -> Vec<PictureElement> {
        if !self.moved || *self.status() == CursorImageStatus::Hidden {
            return Vec::new();
        }
        let position: Point<i32, Logical> = position.to_i32_floor();
        if let Some(surface) = self.surface() {
            let location = (position - hotspot(surface)).to_physical(1);
            return render_elements_from_surface_tree(renderer, surface, location, 1.0, 1.0, Kind::Cursor);
        }
        let picture = self.picture();
        let location = (position - picture.hotspot).to_physical(1).to_f64();
        MemoryRenderBufferRenderElement::from_buffer(
            renderer,
            location,
            &picture.buffer,
            None,
            None,
            None,
            Kind::Cursor,
        )
        .map(|element| vec![element.into()])
        .unwrap_or_default()
    }

    fn picture(&self) -> &Picture {
        let CursorImageStatus::Named(icon) = self.status() else { return &self.arrow };
        match icon {
            CursorIcon::Text | CursorIcon::VerticalText => &self.beam,
            CursorIcon::Pointer | CursorIcon::Grab | CursorIcon::Grabbing => &self.hand,
            CursorIcon::Crosshair
            | CursorIcon::Cell
            | CursorIcon::Move
            | CursorIcon::AllScroll
            | CursorIcon::ColResize
            | CursorIcon::RowResize
            | CursorIcon::EwResize
            | CursorIcon::NsResize
            | CursorIcon::NeswResize
            | CursorIcon::NwseResize
            | CursorIcon::NResize
            | CursorIcon::SResize
            | CursorIcon::EResize
            | CursorIcon::WResize
            | CursorIcon::NeResize
            | CursorIcon::NwResize
            | CursorIcon::SeResize
            | CursorIcon::SwResize => &self.cross,
            _ => &self.arrow,
        }
    }
}

fn hotspot(surface: &WlSurface) -> Point<i32, Logical> {
    with_states(surface, |states| {
        let attributes = states.data_map.get::<CursorImageSurfaceData>()?;
        Some(attributes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).hotspot)
    })
    .unwrap_or_default()
}
