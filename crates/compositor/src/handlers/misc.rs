//! Protocols that need next to nothing from us.

use crate::state::Compositor;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::wayland::compositor::with_states;
use smithay::wayland::fractional_scale::{FractionalScaleHandler, with_fractional_scale};
use smithay::wayland::idle_inhibit::IdleInhibitHandler;
use smithay::wayland::output::OutputHandler;
use smithay::{
    delegate_fractional_scale, delegate_idle_inhibit, delegate_output, delegate_presentation,
    delegate_single_pixel_buffer, delegate_viewporter,
};

impl OutputHandler for Compositor {}

impl FractionalScaleHandler for Compositor {
    fn new_fractional_scale(&mut self, surface: WlSurface) {
        with_states(&surface, |states| {
            with_fractional_scale(states, |scale| scale.set_preferred_scale(1.0));
        });
    }
}

// Nothing ever goes idle here: the output lives as long as its session.
impl IdleInhibitHandler for Compositor {
    fn inhibit(&mut self, _surface: WlSurface) {}

    fn uninhibit(&mut self, _surface: WlSurface) {}
}

delegate_output!(Compositor);
delegate_fractional_scale!(Compositor);
delegate_idle_inhibit!(Compositor);
delegate_presentation!(Compositor);
delegate_single_pixel_buffer!(Compositor);
delegate_viewporter!(Compositor);
