//! Events of the compositor, turned into calls of [`State`].

use super::state::{FrameObject, Output, Shot, State};
use lumen_media::{Timestamp, clock};
use wayland_client::protocol::wl_output::{self, Transform, WlOutput};
use wayland_client::protocol::wl_registry::{self, WlRegistry};
use wayland_client::protocol::{wl_buffer, wl_callback, wl_shm, wl_shm_pool};
use wayland_client::{Connection, Dispatch, QueueHandle, WEnum, delegate_noop};
use wayland_protocols::ext::image_capture_source::v1::client::{
    ext_image_capture_source_v1::ExtImageCaptureSourceV1,
    ext_output_image_capture_source_manager_v1::ExtOutputImageCaptureSourceManagerV1,
};
use wayland_protocols::ext::image_copy_capture::v1::client::{
    ext_image_copy_capture_frame_v1::{self as ext_frame, ExtImageCopyCaptureFrameV1, FailureReason},
    ext_image_copy_capture_manager_v1::ExtImageCopyCaptureManagerV1,
    ext_image_copy_capture_session_v1::{self as ext_session, ExtImageCopyCaptureSessionV1},
};
use wayland_protocols_wlr::screencopy::v1::client::{
    zwlr_screencopy_frame_v1::{self as wlr_frame, Flags, ZwlrScreencopyFrameV1},
    zwlr_screencopy_manager_v1::ZwlrScreencopyManagerV1,
};

/// First version of `wl_output` that tells names.
const NAMES_SINCE: u32 = 4;
/// First version of the wlr protocol that says when it named all buffers.
pub(super) const WLR_VERSION: u32 = 3;

/// Mark of the answer to a `sync`: how many have come.
#[derive(Default)]
pub(super) struct Synced(pub std::sync::atomic::AtomicBool);

impl Dispatch<WlRegistry, ()> for State {
    fn event(
        state: &mut Self,
        registry: &WlRegistry,
        event: wl_registry::Event,
        (): &(),
        _: &Connection,
        queue: &QueueHandle<Self>,
    ) {
        match event {
            wl_registry::Event::Global { name, interface, version } => match interface.as_str() {
                "wl_shm" => state.shm = Some(registry.bind(name, 1, queue, ())),
                "wl_output" if version >= NAMES_SINCE => {
                    let proxy = registry.bind(name, NAMES_SINCE, queue, name);
                    let output = Output { global: name, proxy, name: None, transform: Transform::Normal };
                    state.outputs.push(output);
                }
                "ext_image_copy_capture_manager_v1" => state.ext = Some(registry.bind(name, 1, queue, ())),
                "ext_output_image_capture_source_manager_v1" => {
                    state.sources = Some(registry.bind(name, 1, queue, ()));
                }
                "zwlr_screencopy_manager_v1" if version >= WLR_VERSION => {
                    state.wlr = Some(registry.bind(name, WLR_VERSION, queue, ()));
                }
                _ => {}
            },
            wl_registry::Event::GlobalRemove { name } => {
                if state.target == Some(name) {
                    state.ended = Some("the output was removed".to_owned());
                }
                state.outputs.retain(|output| {
                    if output.global == name {
                        output.proxy.release();
                    }
                    output.global != name
                });
            }
            _ => {}
        }
    }
}

impl Dispatch<WlOutput, u32> for State {
    fn event(
        state: &mut Self,
        _: &WlOutput,
        event: wl_output::Event,
        global: &u32,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let Some(output) = state.outputs.iter_mut().find(|output| output.global == *global) else { return };
        match event {
            wl_output::Event::Name { name } => output.name = Some(name),
            wl_output::Event::Geometry { transform: WEnum::Value(transform), .. } => {
                output.transform = transform;
            }
            _ => {}
        }
    }
}

impl Dispatch<ExtImageCopyCaptureSessionV1, ()> for State {
    fn event(
        state: &mut Self,
        _: &ExtImageCopyCaptureSessionV1,
        event: ext_session::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            ext_session::Event::BufferSize { width, height } => state.offer.size = Some((width, height)),
            ext_session::Event::ShmFormat { format: WEnum::Value(format) } => {
                state.offer.formats.push(format);
            }
            ext_session::Event::Done => state.adopt_offer(),
            ext_session::Event::Stopped => state.ended = Some("the compositor ended the capture".to_owned()),
            _ => {}
        }
    }
}

impl Dispatch<ExtImageCopyCaptureFrameV1, ()> for State {
    fn event(
        state: &mut Self,
        proxy: &ExtImageCopyCaptureFrameV1,
        event: ext_frame::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let is_this =
            |shot: &&mut Shot| matches!(&shot.object, Some(FrameObject::Ext(frame)) if frame == proxy);
        let Some(shot) = state.shot.as_mut().filter(is_this) else { return };
        match event {
            ext_frame::Event::Transform { transform: WEnum::Value(transform) } => shot.transform = transform,
            ext_frame::Event::PresentationTime { tv_sec_hi, tv_sec_lo, tv_nsec } => {
                shot.presented = Some(time(tv_sec_hi, tv_sec_lo, tv_nsec));
            }
            ext_frame::Event::Ready => state.ready(),
            ext_frame::Event::Failed { reason: WEnum::Value(FailureReason::Stopped) } => {
                state.ended = Some("the compositor ended the capture".to_owned());
            }
            ext_frame::Event::Failed { reason } => state.failed(clock::now(), &format!("{reason:?}")),
            _ => {}
        }
    }
}

impl Dispatch<ZwlrScreencopyFrameV1, ()> for State {
    fn event(
        state: &mut Self,
        proxy: &ZwlrScreencopyFrameV1,
        event: wlr_frame::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let is_this =
            |shot: &&mut Shot| matches!(&shot.object, Some(FrameObject::Wlr(frame)) if frame == proxy);
        let Some(shot) = state.shot.as_mut().filter(is_this) else { return };
        match event {
            wlr_frame::Event::Buffer { format: WEnum::Value(format), width, height, stride } => {
                state.offer.formats = vec![format];
                state.offer.size = Some((width, height));
                state.offer.stride = Some(stride);
            }
            wlr_frame::Event::BufferDone => {
                shot.offered = true;
                state.adopt_offer();
            }
            wlr_frame::Event::Flags { flags: WEnum::Value(flags) } => {
                shot.upside_down = flags.contains(Flags::YInvert);
            }
            wlr_frame::Event::Ready { tv_sec_hi, tv_sec_lo, tv_nsec } => {
                shot.presented = Some(time(tv_sec_hi, tv_sec_lo, tv_nsec));
                state.ready();
            }
            wlr_frame::Event::Failed => state.failed(clock::now(), "no reason given"),
            _ => {}
        }
    }
}

impl Dispatch<wl_callback::WlCallback, std::sync::Arc<Synced>> for State {
    fn event(
        _: &mut Self,
        _: &wl_callback::WlCallback,
        _: wl_callback::Event,
        synced: &std::sync::Arc<Synced>,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        synced.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

delegate_noop!(State: ignore wl_shm::WlShm);
delegate_noop!(State: ignore wl_buffer::WlBuffer);
delegate_noop!(State: wl_shm_pool::WlShmPool);
delegate_noop!(State: ExtImageCaptureSourceV1);
delegate_noop!(State: ExtOutputImageCaptureSourceManagerV1);
delegate_noop!(State: ExtImageCopyCaptureManagerV1);
delegate_noop!(State: ZwlrScreencopyManagerV1);

fn time(seconds_high: u32, seconds_low: u32, nanos: u32) -> Timestamp {
    let seconds = u64::from(seconds_high) << 32 | u64::from(seconds_low);
    Timestamp::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(u64::from(nanos)))
}
