//! A stream's events as calls of a trait.

use libspa::sys as spa;
use pipewire::stream::{Stream, StreamListener, StreamState};
use pipewire::sys::pw_buffer;
use std::ptr::NonNull;
use std::rc::Rc;

/// A buffer that PipeWire has announced. It is made here only, from what the events and the stream hand over, and
/// is valid until the event that removes it has been handled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct BufferPtr(NonNull<pw_buffer>);

impl BufferPtr {
    pub(super) fn new(raw: *mut pw_buffer) -> Option<Self> {
        NonNull::new(raw).map(Self)
    }

    pub(super) fn as_raw(self) -> *mut pw_buffer {
        self.0.as_ptr()
    }

    fn spa(&self) -> Option<&spa::spa_buffer> {
        // SAFETY: valid until removed, see the type; PipeWire sets `buffer` before it announces. The bindings of the
        // two libraries declare the same C structure twice.
        unsafe { self.0.as_ref().buffer.cast::<spa::spa_buffer>().as_ref() }
    }

    /// The first block; packed formats have no other.
    pub(super) fn data(&self) -> Option<&spa::spa_data> {
        let buffer = self.spa()?;
        if buffer.n_datas == 0 {
            return None;
        }
        // SAFETY: `datas` points at `n_datas` elements that live as long as the buffer.
        unsafe { buffer.datas.as_ref() }
    }

    /// The bytes of the metadata of a kind.
    pub(super) fn metadata(&self, kind: u32) -> Option<&[u8]> {
        let buffer = self.spa()?;
        if buffer.n_metas == 0 || buffer.metas.is_null() {
            return None;
        }
        // SAFETY: `metas` points at `n_metas` elements that live as long as the buffer.
        let metas = unsafe { std::slice::from_raw_parts(buffer.metas, buffer.n_metas as usize) };
        let meta = metas.iter().find(|meta| meta.type_ == kind && !meta.data.is_null())?;
        // SAFETY: PipeWire reserves `size` bytes at `data`, for as long as the buffer lives.
        Some(unsafe { std::slice::from_raw_parts(meta.data.cast::<u8>(), meta.size as usize) })
    }
}

/// Who handles a stream's events; all come on the loop's thread. A call into the stream may bring the next event
/// before it returns, so nothing may be borrowed mutably meanwhile.
pub(crate) trait Events {
    /// The stream's state changed.
    fn state(&self, state: StreamState);
    /// A parameter changed; `None` clears it.
    fn parameter(&self, id: u32, pod: Option<&[u8]>);
    /// A buffer is there.
    fn added(&self, buffer: BufferPtr);
    /// A buffer goes; it may not be used any more after this call.
    fn removed(&self, buffer: BufferPtr);
    /// A buffer may be filled.
    fn process(&self);
}

/// Sends the events of `stream` to `events` until the listener is dropped.
///
/// # Errors
/// What the library says.
pub(crate) fn listen<E: Events + 'static>(
    stream: &Stream,
    events: Rc<E>,
) -> Result<StreamListener<Rc<E>>, pipewire::Error> {
    stream
        .add_local_listener_with_user_data(events)
        .state_changed(|_, events, _, state| events.state(state))
        .param_changed(|_, events, id, pod| events.parameter(id, pod.map(libspa::pod::Pod::as_bytes)))
        .add_buffer(|_, events, raw| {
            if let Some(buffer) = BufferPtr::new(raw) {
                events.added(buffer);
            }
        })
        .remove_buffer(|_, events, raw| {
            if let Some(buffer) = BufferPtr::new(raw) {
                events.removed(buffer);
            }
        })
        .process(|_, events| events.process())
        .register()
}
