//! Windows: where they are, which is above, which is the main one.

use crate::compose::PictureElement;
use smithay::backend::renderer::element::AsRenderElements;
use smithay::backend::renderer::pixman::PixmanRenderer;
use smithay::backend::renderer::utils::with_renderer_surface_state;
use smithay::desktop::{
    PopupKind, PopupManager, Space, Window, WindowSurfaceType, find_popup_root_surface,
    get_popup_toplevel_coords,
};
use smithay::output::Output;
use smithay::reexports::wayland_protocols::xdg::shell::server::xdg_toplevel::State;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{IsAlive, Logical, Point, Rectangle, Size};
use smithay::wayland::shell::xdg::{PopupSurface, ToplevelSurface};

/// All windows of the output.
pub(crate) struct Desk {
    space: Space<Window>,
    pub(crate) popups: PopupManager,
    /// Made, but without a picture yet.
    unmapped: Vec<Window>,
    /// Fills the output.
    main: Option<Window>,
    size: Size<i32, Logical>,
    /// Windows came, went or moved since the last [`Desk::settle`].
    changed: bool,
}

/// What a commit of a toplevel meant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Mapping {
    /// It shows itself for the first time, or again.
    Appeared(WlSurface),
    Disappeared,
    Unchanged,
}

impl Desk {
    pub(crate) fn new(output: &Output, size: Size<i32, Logical>) -> Self {
        let mut space = Space::default();
        space.map_output(output, (0, 0));
        Self {
            space,
            popups: PopupManager::default(),
            unmapped: Vec::new(),
            main: None,
            size,
            changed: false,
        }
    }

    /// The output has another size: windows that fill it are asked to follow, the others stay on it.
    pub(crate) fn resize(&mut self, size: Size<i32, Logical>) {
        self.size = size;
        self.changed = true;
        let windows: Vec<Window> = self.space.elements().cloned().collect();
        for window in windows {
            let Some(toplevel) = window.toplevel().cloned() else { continue };
            let filling = toplevel.with_pending_state(|state| {
                state.bounds = Some(size);
                let filling =
                    state.states.contains(State::Fullscreen) || state.states.contains(State::Maximized);
                if filling {
                    state.size = Some(size);
                }
                filling
            });
            toplevel.send_pending_configure();
            if !filling {
                let location = self.place(&window, &toplevel);
                self.space.map_element(window, location, false);
            }
        }
    }

    pub(crate) fn add(&mut self, toplevel: ToplevelSurface) {
        self.unmapped.push(Window::new_wayland_window(toplevel));
    }

    /// The window of a toplevel's surface, shown or not.
    pub(crate) fn window(&self, surface: &WlSurface) -> Option<Window> {
        let is_it = |window: &&Window| root(window) == Some(surface);
        self.space.elements().find(is_it).or_else(|| self.unmapped.iter().find(is_it)).cloned()
    }

    /// The state of `window` changed; configures it the first time, maps and unmaps it.
    pub(crate) fn toplevel_committed(&mut self, window: &Window) -> Mapping {
        let Some(toplevel) = window.toplevel() else { return Mapping::Unchanged };
        let surface = toplevel.wl_surface();
        let hidden = self.unmapped.iter().position(|other| other == window);
        match (shows(surface), hidden) {
            // A buffer before the first configure was acknowledged: the client is told its error.
            (true, _) if !toplevel.ensure_configured() => Mapping::Unchanged,
            (true, Some(index)) => {
                self.unmapped.swap_remove(index);
                let location = self.place(window, toplevel);
                self.space.map_element(window.clone(), location, false);
                self.raise(window);
                Mapping::Appeared(surface.clone())
            }
            (true, None) => {
                self.keep_place(window, toplevel);
                Mapping::Unchanged
            }
            (false, None) => {
                self.space.unmap_elem(window);
                self.unmapped.push(window.clone());
                self.leave_main(window);
                // The next commit begins anew, with a configure.
                toplevel.reset_initial_configure_sent();
                self.changed = true;
                Mapping::Disappeared
            }
            (false, Some(_)) => {
                if !toplevel.is_initial_configure_sent() {
                    self.configure_first(window, toplevel);
                }
                Mapping::Unchanged
            }
        }
    }

    fn configure_first(&mut self, window: &Window, toplevel: &ToplevelSurface) {
        if self.main.as_ref().is_none_or(|main| !main.alive()) && toplevel.parent().is_none() {
            self.main = Some(window.clone());
            self.fill(toplevel, State::Fullscreen);
        }
        let bounds = self.size;
        toplevel.with_pending_state(|state| state.bounds = Some(bounds));
        toplevel.send_configure();
    }

    /// Asks `toplevel` to fill the output, as full-screen or maximised.
    pub(crate) fn fill(&self, toplevel: &ToplevelSurface, how: State) {
        toplevel.with_pending_state(|state| {
            state.states.set(how);
            state.size = Some(self.size);
        });
    }

    /// Takes back what [`Desk::fill`] asked; the main window stays full-screen.
    pub(crate) fn unfill(&mut self, toplevel: &ToplevelSurface, how: State) {
        if self.main.as_ref().and_then(root) == Some(toplevel.wl_surface()) && how == State::Fullscreen {
            return;
        }
        toplevel.with_pending_state(|state| {
            state.states.unset(how);
            if !state.states.contains(State::Fullscreen) && !state.states.contains(State::Maximized) {
                state.size = None;
            }
        });
    }

    /// Where `window` belongs: centred, above its parent if it has one, and on the output as far as it fits.
    fn place(&self, window: &Window, toplevel: &ToplevelSurface) -> Point<i32, Logical> {
        let own = window.geometry().size;
        let parent = toplevel.parent().and_then(|parent| self.window(&parent));
        let around = parent
            .and_then(|parent| self.space.element_geometry(&parent))
            .unwrap_or_else(|| Rectangle::from_size(self.size));
        let fit = |start: i32, length: i32, own: i32, whole: i32| {
            start.saturating_add((length - own) / 2).min(whole.saturating_sub(own)).max(0)
        };
        if fills(toplevel) {
            return Point::from((((self.size.w - own.w) / 2).max(0), ((self.size.h - own.h) / 2).max(0)));
        }
        Point::from((
            fit(around.loc.x, around.size.w, own.w, self.size.w),
            fit(around.loc.y, around.size.h, own.h, self.size.h),
        ))
    }

    /// A window that fills the output stays in its middle, whatever size it chose.
    fn keep_place(&mut self, window: &Window, toplevel: &ToplevelSurface) {
        if !fills(toplevel) {
            return;
        }
        let location = self.place(window, toplevel);
        if self.space.element_location(window) != Some(location) {
            self.space.map_element(window.clone(), location, false);
            self.changed = true;
        }
    }

    /// To the top, its dialogs above it, and active.
    pub(crate) fn raise(&mut self, window: &Window) {
        self.space.raise_element(window, true);
        let mut family: Vec<WlSurface> = root(window).cloned().into_iter().collect();
        // Every round finds a new member or ends, so parents in a circle do no harm.
        let mut next = 0;
        while next < family.len() {
            let parent = family[next].clone();
            next += 1;
            let children: Vec<Window> = self
                .space
                .elements()
                .filter(|child| child.toplevel().and_then(ToplevelSurface::parent).as_ref() == Some(&parent))
                .filter(|child| root(child).is_some_and(|surface| !family.contains(surface)))
                .cloned()
                .collect();
            for child in children {
                self.space.raise_element(&child, false);
                family.extend(root(&child).cloned());
            }
        }
        for other in self.space.elements() {
            if let Some(toplevel) = other.toplevel() {
                toplevel.send_pending_configure();
            }
        }
        self.changed = true;
    }

    /// Forgets the window of a destroyed toplevel.
    pub(crate) fn remove(&mut self, surface: &WlSurface) {
        if let Some(window) = self.window(surface) {
            self.space.unmap_elem(&window);
            self.unmapped.retain(|other| other != &window);
            self.leave_main(&window);
            self.changed = true;
        }
    }

    /// When the main window goes, the topmost one that belongs to no other takes its place.
    fn leave_main(&mut self, window: &Window) {
        if self.main.as_ref() != Some(window) {
            return;
        }
        let heir = self
            .space
            .elements()
            .rev()
            .find(|other| other.toplevel().is_some_and(|toplevel| toplevel.parent().is_none()))
            .cloned();
        if let Some(toplevel) = heir.as_ref().and_then(Window::toplevel) {
            self.fill(toplevel, State::Fullscreen);
            toplevel.send_pending_configure();
        }
        self.main = heir;
    }

    /// The window that should have the keyboard when the one that had it is gone.
    pub(crate) fn topmost(&self) -> Option<WlSurface> {
        self.space.elements().next_back().and_then(root).cloned()
    }

    /// Whether the window of a toplevel's surface, or the popup of this surface, is on the output.
    pub(crate) fn is_shown(&self, surface: &WlSurface) -> bool {
        self.space.elements().any(|window| root(window) == Some(surface))
            || self.popups.find_popup(surface).is_some()
    }

    /// What lies under a place of the output, and where that begins.
    pub(crate) fn surface_under(
        &self,
        place: Point<f64, Logical>,
    ) -> Option<(WlSurface, Point<f64, Logical>)> {
        let (window, location) = self.space.element_under(place)?;
        let (surface, offset) = window.surface_under(place - location.to_f64(), WindowSurfaceType::ALL)?;
        Some((surface, (offset + location).to_f64()))
    }

    /// The window under a place of the output.
    pub(crate) fn window_under(&self, place: Point<f64, Logical>) -> Option<Window> {
        self.space.element_under(place).map(|(window, _)| window.clone())
    }

    /// Keeps a popup on the output, as its positioner allows.
    pub(crate) fn constrain(&self, popup: &PopupSurface) {
        let kind = PopupKind::Xdg(popup.clone());
        let Some(window) = find_popup_root_surface(&kind).ok().and_then(|surface| self.window(&surface))
        else {
            return;
        };
        let window_location = self.space.element_location(&window).unwrap_or_default();
        let mut target = Rectangle::from_size(self.size);
        target.loc -= get_popup_toplevel_coords(&kind) + window_location;
        popup.with_pending_state(|state| {
            state.geometry = state.positioner.get_unconstrained_geometry(target);
        });
    }

    /// Puts everything in order after a turn of the loop; whether windows changed.
    pub(crate) fn settle(&mut self) -> bool {
        self.popups.cleanup();
        self.unmapped.retain(IsAlive::alive);
        let changed = std::mem::take(&mut self.changed);
        self.space.refresh();
        changed
    }

    /// Popups came or went.
    pub(crate) fn popups_changed(&mut self) {
        self.changed = true;
    }

    pub(crate) fn elements(&self, renderer: &mut PixmanRenderer) -> Vec<PictureElement> {
        let mut elements = Vec::new();
        for window in self.space.elements().rev() {
            let location = self.space.element_location(window).unwrap_or_default() - window.geometry().loc;
            elements.extend(AsRenderElements::<PixmanRenderer>::render_elements::<PictureElement>(
                window,
                renderer,
                location.to_physical(1),
                1.0.into(),
                1.0,
            ));
        }
        elements
    }

    /// Every surface at the root of a tree: toplevels and popups.
    pub(crate) fn surfaces(&self) -> Vec<WlSurface> {
        let mut surfaces = Vec::new();
        for surface in self.space.elements().chain(&self.unmapped).filter_map(root) {
            surfaces.push(surface.clone());
            surfaces.extend(
                PopupManager::popups_for_surface(surface).map(|(popup, _)| popup.wl_surface().clone()),
            );
        }
        surfaces
    }
}

fn root(window: &Window) -> Option<&WlSurface> {
    window.toplevel().map(ToplevelSurface::wl_surface)
}

fn fills(toplevel: &ToplevelSurface) -> bool {
    let states = toplevel.current_state().states;
    states.contains(State::Fullscreen) || states.contains(State::Maximized)
}

/// Whether a surface has a buffer.
pub(crate) fn shows(surface: &WlSurface) -> bool {
    with_renderer_surface_state(surface, |state| state.buffer().is_some()).unwrap_or(false)
}
