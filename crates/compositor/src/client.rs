//! Connections of clients, and how much each may have.
//!
//! What a client can make without end is counted per client; whoever goes beyond a limit is disconnected.

use crate::state::Compositor;
use smithay::reexports::wayland_server::backend::protocol::ProtocolError;
use smithay::reexports::wayland_server::backend::{ClientData, ClientId, DisconnectReason};
use smithay::reexports::wayland_server::protocol::wl_buffer::WlBuffer;
use smithay::reexports::wayland_server::protocol::wl_callback::WlCallback;
use smithay::reexports::wayland_server::protocol::wl_shm::{self, WlShm};
use smithay::reexports::wayland_server::protocol::wl_shm_pool::{self, WlShmPool};
use smithay::reexports::wayland_server::protocol::wl_surface::{self, WlSurface};
use smithay::reexports::wayland_server::{
    Client, DataInit, Dispatch, DisplayHandle, Resource, delegate_dispatch, delegate_global_dispatch,
};
use smithay::wayland::compositor::{CompositorClientState, CompositorState, SurfaceUserData};
use smithay::wayland::shm::{ShmBufferUserData, ShmPoolUserData, ShmState};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Connections of one output.
pub(crate) const MAX_CLIENTS: usize = 64;
/// Bytes that wait for a client that does not read; a desktop program that hangs for a second stays far below.
pub(crate) const MAX_UNREAD: usize = 1 << 20;
/// Toplevels and popups of a client.
pub(crate) const MAX_WINDOWS: usize = 128;
/// Longest side of a client's buffer, in pixels.
const MAX_SIDE: i32 = 16_384;
/// `wl_display.error.no_memory`.
const NO_MEMORY: u32 = 2;

/// What a client may have at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    Surface,
    /// Each holds a file descriptor of ours.
    Pool,
    Buffer,
    /// Frame callbacks that were asked for and not yet sent.
    Callback,
}

impl Counted {
    const ALL: usize = 4;

    fn limit(self) -> u32 {
        match self {
            Counted::Surface | Counted::Buffer => 1024,
            Counted::Pool => 64,
            Counted::Callback => 4096,
        }
    }
}

/// Counts per client; clients without anything have no entry.
#[derive(Debug, Default)]
pub(crate) struct Counts(HashMap<ClientId, [u32; Counted::ALL]>);

impl Counts {
    /// Adds one; `false` when that is more than allowed.
    fn add(&mut self, client: ClientId, counted: Counted) -> bool {
        let count = &mut self.0.entry(client).or_default()[counted as usize];
        *count += 1;
        *count <= counted.limit()
    }

    fn remove(&mut self, client: &ClientId, counted: Counted) {
        if let Some(counts) = self.0.get_mut(client) {
            counts[counted as usize] = counts[counted as usize].saturating_sub(1);
            if *counts == [0; Counted::ALL] {
                self.0.remove(client);
            }
        }
    }
}

/// What belongs to a connection.
#[derive(Debug)]
pub(crate) struct ClientState {
    pub(crate) compositor: CompositorClientState,
    connections: Arc<AtomicUsize>,
}

impl ClientState {
    /// `None` when the output has as many connections as it may.
    pub(crate) fn admit(connections: &Arc<AtomicUsize>) -> Option<Self> {
        let before = connections.fetch_add(1, Ordering::Relaxed);
        let state = Self { compositor: CompositorClientState::default(), connections: connections.clone() };
        // A state that is not admitted counts itself out again when it is dropped.
        (before < MAX_CLIENTS).then_some(state)
    }
}

impl Drop for ClientState {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ClientData for ClientState {
    fn initialized(&self, _client: ClientId) {}

    fn disconnected(&self, _client: ClientId, reason: DisconnectReason) {
        if let DisconnectReason::ProtocolError(error) = reason {
            tracing::debug!(%error, "client disconnected");
        }
    }
}

/// Disconnects a client that took too much.
pub(crate) fn expel(display: &DisplayHandle, client: &Client, what: &str) {
    tracing::debug!(what, "client exceeds a limit");
    let error = ProtocolError {
        code: NO_MEMORY,
        object_id: 1,
        object_interface: "wl_display".to_owned(),
        message: format!("too many {what}"),
    };
    client.kill(display, error);
}

impl Dispatch<WlSurface, SurfaceUserData> for Compositor {
    fn request(
        state: &mut Self,
        client: &Client,
        surface: &WlSurface,
        request: wl_surface::Request,
        data: &SurfaceUserData,
        display: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        let asks_callback = matches!(request, wl_surface::Request::Frame { .. });
        <CompositorState as Dispatch<WlSurface, SurfaceUserData, Self>>::request(
            state, client, surface, request, data, display, init,
        );
        if asks_callback && !state.counts.add(client.id(), Counted::Callback) {
            expel(display, client, "frame callbacks");
        }
    }

    fn destroyed(state: &mut Self, client: ClientId, surface: &WlSurface, data: &SurfaceUserData) {
        state.counts.remove(&client, Counted::Surface);
        <CompositorState as Dispatch<WlSurface, SurfaceUserData, Self>>::destroyed(
            state, client, surface, data,
        );
    }
}

impl Dispatch<WlCallback, ()> for Compositor {
    fn request(
        _state: &mut Self,
        _client: &Client,
        _callback: &WlCallback,
        _request: <WlCallback as Resource>::Request,
        _data: &(),
        _display: &DisplayHandle,
        _init: &mut DataInit<'_, Self>,
    ) {
        // wl_callback has no requests.
    }

    fn destroyed(state: &mut Self, client: ClientId, _callback: &WlCallback, _data: &()) {
        state.counts.remove(&client, Counted::Callback);
    }
}

impl Dispatch<WlShm, ()> for Compositor {
    fn request(
        state: &mut Self,
        client: &Client,
        shm: &WlShm,
        request: wl_shm::Request,
        data: &(),
        display: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        let creates = matches!(request, wl_shm::Request::CreatePool { .. });
        if creates && !state.counts.add(client.id(), Counted::Pool) {
            shm.post_error(wl_shm::Error::InvalidFd, "too many wl_shm_pool objects");
            return;
        }
        <ShmState as Dispatch<WlShm, (), Self>>::request(state, client, shm, request, data, display, init);
    }
}

impl Dispatch<WlShmPool, ShmPoolUserData> for Compositor {
    fn request(
        state: &mut Self,
        client: &Client,
        pool: &WlShmPool,
        request: wl_shm_pool::Request,
        data: &ShmPoolUserData,
        display: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        let refusal = match &request {
            wl_shm_pool::Request::CreateBuffer { offset, width, height, stride, .. } => {
                // pixman addresses rows in units of four bytes.
                if *width > MAX_SIDE || *height > MAX_SIDE || offset % 4 != 0 || stride % 4 != 0 {
                    Some(format!(
                        "buffer {width}x{height}, offset {offset}, stride {stride} is not supported"
                    ))
                } else if state.counts.add(client.id(), Counted::Buffer) {
                    None
                } else {
                    Some("too many wl_buffer objects".to_owned())
                }
            }
            wl_shm_pool::Request::Resize { size } if *size <= 0 => Some(format!("invalid pool size {size}")),
            _ => None,
        };
        if let Some(message) = refusal {
            pool.post_error(wl_shm::Error::InvalidStride, message);
            return;
        }
        <ShmState as Dispatch<WlShmPool, ShmPoolUserData, Self>>::request(
            state, client, pool, request, data, display, init,
        );
    }

    fn destroyed(state: &mut Self, client: ClientId, pool: &WlShmPool, data: &ShmPoolUserData) {
        state.counts.remove(&client, Counted::Pool);
        <ShmState as Dispatch<WlShmPool, ShmPoolUserData, Self>>::destroyed(state, client, pool, data);
    }
}

impl Dispatch<WlBuffer, ShmBufferUserData> for Compositor {
    fn request(
        state: &mut Self,
        client: &Client,
        buffer: &WlBuffer,
        request: <WlBuffer as Resource>::Request,
        data: &ShmBufferUserData,
        display: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        <ShmState as Dispatch<WlBuffer, ShmBufferUserData, Self>>::request(
            state, client, buffer, request, data, display, init,
        );
    }

    fn destroyed(state: &mut Self, client: ClientId, buffer: &WlBuffer, data: &ShmBufferUserData) {
        state.counts.remove(&client, Counted::Buffer);
        <ShmState as Dispatch<WlBuffer, ShmBufferUserData, Self>>::destroyed(state, client, buffer, data);
    }
}

impl Compositor {
    /// Counts a new surface; disconnects its client when that is one too many.
    pub(crate) fn count_surface(&mut self, surface: &WlSurface) {
        if let Some(client) = surface.client()
            && !self.counts.add(client.id(), Counted::Surface)
        {
            expel(&self.display, &client, "surfaces");
        }
    }
}

delegate_global_dispatch!(Compositor: [WlShm: ()] => ShmState);

mod delegates {
    use super::*;
    use smithay::reexports::wayland_server::protocol::wl_compositor::WlCompositor;
    use smithay::reexports::wayland_server::protocol::wl_region::WlRegion;
    use smithay::reexports::wayland_server::protocol::wl_subcompositor::WlSubcompositor;
    use smithay::reexports::wayland_server::protocol::wl_subsurface::WlSubsurface;
    use smithay::wayland::compositor::{RegionUserData, SubsurfaceUserData};

    delegate_global_dispatch!(Compositor: [WlCompositor: ()] => CompositorState);
    delegate_global_dispatch!(Compositor: [WlSubcompositor: ()] => CompositorState);
    delegate_dispatch!(Compositor: [WlCompositor: ()] => CompositorState);
    delegate_dispatch!(Compositor: [WlRegion: RegionUserData] => CompositorState);
    delegate_dispatch!(Compositor: [WlSubcompositor: ()] => CompositorState);
    delegate_dispatch!(Compositor: [WlSubsurface: SubsurfaceUserData] => CompositorState);
}
