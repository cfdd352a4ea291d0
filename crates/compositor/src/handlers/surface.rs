//! Surfaces and their buffers.

use crate::client::ClientState;
use crate::desk::{Mapping, shows};
use crate::state::Compositor;
use smithay::backend::renderer::utils::on_commit_buffer_handler;
use smithay::desktop::PopupKind;
use smithay::input::pointer::CursorImageSurfaceData;
use smithay::reexports::wayland_server::Client;
use smithay::reexports::wayland_server::protocol::wl_buffer::WlBuffer;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::wayland::buffer::BufferHandler;
use smithay::wayland::compositor::{
    CompositorClientState, CompositorHandler, CompositorState, SurfaceAttributes, get_parent,
    is_sync_subsurface, with_states,
};
use smithay::wayland::shm::{ShmHandler, ShmState};
use std::sync::PoisonError;

impl CompositorHandler for Compositor {
    fn compositor_state(&mut self) -> &mut CompositorState {
        &mut self.protocols.compositor
    }

    fn client_compositor_state<'a>(&self, client: &'a Client) -> &'a CompositorClientState {
        let state = client.get_data::<ClientState>();
        &state.expect("every connection is admitted with a ClientState").compositor
    }

    fn new_surface(&mut self, surface: &WlSurface) {
        self.count_surface(surface);
    }

    fn commit(&mut self, surface: &WlSurface) {
        on_commit_buffer_handler::<Self>(surface);
        if is_sync_subsurface(surface) {
            // Shown with its parent's next commit.
            return;
        }
        let mut root = surface.clone();
        while let Some(parent) = get_parent(&root) {
            root = parent;
        }
        if let Some(window) = self.desk.window(&root) {
            window.on_commit();
            if root == *surface {
                match self.desk.toplevel_committed(&window) {
                    Mapping::Appeared(surface) => self.focus_keyboard(Some(surface)),
                    Mapping::Disappeared => self.focus_topmost(),
                    Mapping::Unchanged => {}
                }
            }
        }
        self.popup_committed(surface);
        self.move_hotspot(surface);
        self.committed(surface);
    }
}

impl Compositor {
    fn popup_committed(&mut self, surface: &WlSurface) {
        self.desk.popups.commit(surface);
        if let Some(PopupKind::Xdg(popup)) = self.desk.popups.find_popup(surface) {
            self.desk.popups_changed();
            if shows(surface) && !popup.ensure_configured() {
                return;
            }
            if !popup.is_initial_configure_sent()
                && let Err(error) = popup.send_configure()
            {
                tracing::debug!(%error, "popup not configured");
            }
        }
    }

    /// `wl_surface.attach` with an offset moves the hotspot of a cursor and the place of a dragged icon.
    fn move_hotspot(&mut self, surface: &WlSurface) {
        let is_cursor = self.cursor.surface() == Some(surface);
        let dragged = self.drag_icon.as_mut().filter(|(icon, _)| icon == surface);
        if !is_cursor && dragged.is_none() {
            return;
        }
        let delta = with_states(surface, |states| {
            let delta = states
                .cached_state
                .get::<SurfaceAttributes>()
                .current()
                .buffer_delta
                .take()
                .unwrap_or_default();
            if is_cursor && let Some(attributes) = states.data_map.get::<CursorImageSurfaceData>() {
                attributes.lock().unwrap_or_else(PoisonError::into_inner).hotspot -= delta;
            }
            delta
        });
        if let Some((_, offset)) = dragged {
            *offset += delta;
        }
    }
}

impl BufferHandler for Compositor {
    fn buffer_destroyed(&mut self, _buffer: &WlBuffer) {}
}

impl ShmHandler for Compositor {
    fn shm_state(&self) -> &ShmState {
        &self.protocols.shm
    }
}
