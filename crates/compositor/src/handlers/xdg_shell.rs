//! Toplevels, popups, decoration and activation.

use crate::client::{MAX_WINDOWS, expel};
use crate::state::Compositor;
use smithay::desktop::{
    PopupKeyboardGrab, PopupKind, PopupPointerGrab, PopupUngrabStrategy, find_popup_root_surface,
};
use smithay::input::Seat;
use smithay::input::pointer::Focus;
use smithay::reexports::wayland_protocols::xdg::decoration::zv1::server::zxdg_toplevel_decoration_v1::Mode;
use smithay::reexports::wayland_protocols::xdg::shell::server::xdg_toplevel::State;
use smithay::reexports::wayland_server::Resource;
use smithay::reexports::wayland_server::protocol::wl_output::WlOutput;
use smithay::reexports::wayland_server::protocol::wl_seat::WlSeat;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::Serial;
use smithay::wayland::shell::xdg::decoration::XdgDecorationHandler;
use smithay::wayland::shell::xdg::{
    PopupSurface, PositionerState, ToplevelSurface, XdgShellHandler, XdgShellState,
};
use smithay::wayland::xdg_activation::{
    XdgActivationHandler, XdgActivationState, XdgActivationToken, XdgActivationTokenData,
};
use smithay::{delegate_xdg_activation, delegate_xdg_decoration, delegate_xdg_shell};

impl XdgShellHandler for Compositor {
    fn xdg_shell_state(&mut self) -> &mut XdgShellState {
        &mut self.protocols.xdg_shell
    }

    fn new_toplevel(&mut self, surface: ToplevelSurface) {
        if self.may_have_window(surface.wl_surface()) {
            self.desk.add(surface);
        }
    }

    fn new_popup(&mut self, surface: PopupSurface, _positioner: PositionerState) {
        if !self.may_have_window(surface.wl_surface()) {
            return;
        }
        self.desk.constrain(&surface);
        if let Err(error) = self.desk.popups.track_popup(PopupKind::Xdg(surface)) {
            tracing::debug!(%error, "popup without a parent");
        }
    }

    fn reposition_request(&mut self, surface: PopupSurface, positioner: PositionerState, token: u32) {
        surface.with_pending_state(|state| {
            state.geometry = positioner.get_geometry();
            state.positioner = positioner;
        });
        self.desk.constrain(&surface);
        surface.send_repositioned(token);
    }

    fn grab(&mut self, surface: PopupSurface, seat: WlSeat, serial: Serial) {
        let Some(seat) = Seat::<Self>::from_resource(&seat) else { return };
        let kind = PopupKind::Xdg(surface);
        let Ok(root) = find_popup_root_surface(&kind) else { return };
        let Ok(mut grab) = self.desk.popups.grab_popup(root, kind, &seat, serial) else { return };
        let previous = grab.previous_serial().unwrap_or(serial);
        if let Some(keyboard) = seat.get_keyboard() {
            if keyboard.is_grabbed() && !keyboard.has_grab(serial) && !keyboard.has_grab(previous) {
                grab.ungrab(PopupUngrabStrategy::All);
                return;
            }
            keyboard.set_focus(self, grab.current_grab(), serial);
            keyboard.set_grab(self, PopupKeyboardGrab::new(&grab), serial);
        }
        if let Some(pointer) = seat.get_pointer() {
            if pointer.is_grabbed() && !pointer.has_grab(serial) && !pointer.has_grab(previous) {
                grab.ungrab(PopupUngrabStrategy::All);
                return;
            }
            pointer.set_grab(self, PopupPointerGrab::new(&grab), serial, Focus::Keep);
        }
        self.popup_grab = Some(grab);
    }

    fn fullscreen_request(&mut self, surface: ToplevelSurface, _output: Option<WlOutput>) {
        self.desk.fill(&surface, State::Fullscreen);
        answer(&surface);
    }

    fn unfullscreen_request(&mut self, surface: ToplevelSurface) {
        self.desk.unfill(&surface, State::Fullscreen);
        answer(&surface);
    }

    fn maximize_request(&mut self, surface: ToplevelSurface) {
        self.desk.fill(&surface, State::Maximized);
        answer(&surface);
    }

    fn unmaximize_request(&mut self, surface: ToplevelSurface) {
        self.desk.unfill(&surface, State::Maximized);
        answer(&surface);
    }

    fn toplevel_destroyed(&mut self, surface: ToplevelSurface) {
        self.desk.remove(surface.wl_surface());
        self.focus_topmost();
    }

    fn popup_destroyed(&mut self, _surface: PopupSurface) {
        self.desk.popups_changed();
    }
}

/// The protocol wants a configure after each such request; before the first one it comes with that.
fn answer(surface: &ToplevelSurface) {
    if surface.is_initial_configure_sent() {
        surface.send_configure();
    }
}

impl Compositor {
    /// Whether the client of a new window may have it; it is disconnected if not.
    fn may_have_window(&self, surface: &WlSurface) -> bool {
        let id = surface.id();
        let shell = &self.protocols.xdg_shell;
        let toplevels = shell.toplevel_surfaces().iter().map(ToplevelSurface::wl_surface);
        let popups = shell.popup_surfaces().iter().map(PopupSurface::wl_surface);
        if toplevels.chain(popups).filter(|other| other.id().same_client_as(&id)).count() <= MAX_WINDOWS {
            return true;
        }
        if let Some(client) = surface.client() {
            expel(&self.display, &client, "windows");
        }
        false
    }
}

impl XdgDecorationHandler for Compositor {
    fn new_decoration(&mut self, toplevel: ToplevelSurface) {
        toplevel.with_pending_state(|state| state.decoration_mode = Some(Mode::ServerSide));
    }

    fn request_mode(&mut self, toplevel: ToplevelSurface, mode: Mode) {
        toplevel.with_pending_state(|state| state.decoration_mode = Some(mode));
        if toplevel.is_initial_configure_sent() {
            toplevel.send_pending_configure();
        }
    }

    fn unset_mode(&mut self, toplevel: ToplevelSurface) {
        self.request_mode(toplevel, Mode::ServerSide);
    }
}

impl XdgActivationHandler for Compositor {
    fn activation_state(&mut self) -> &mut XdgActivationState {
        &mut self.protocols.activation
    }

    fn request_activation(
        &mut self,
        token: XdgActivationToken,
        _data: XdgActivationTokenData,
        surface: WlSurface,
    ) {
        self.protocols.activation.remove_token(&token);
        self.activate(&surface);
    }
}

delegate_xdg_shell!(Compositor);
delegate_xdg_decoration!(Compositor);
delegate_xdg_activation!(Compositor);
