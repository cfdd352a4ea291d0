//! An encoder's context, the frame that lends it our planes, and the packet that it answers with.

use super::{check, failure, log, out_of_memory};
use crate::error::EncodeError;
use crate::planes::Planes;
use ffmpeg_next::ffi;
use std::ffi::{CString, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// What an encoder is opened with, beyond its options.
pub(crate) struct ContextConfig {
    /// Name in FFmpeg.
    pub library: &'static str,
    pub width: u32,
    pub height: u32,
    /// Pictures in a second, in millihertz.
    pub refresh_mhz: u32,
    pub rate: Rate,
    /// Everything else, by FFmpeg's option names.
    pub options: Vec<(&'static str, String)>,
}

/// What a rate controller keeps to.
#[derive(Clone, Copy)]
pub(crate) struct Rate {
    pub bits_per_second: u64,
    /// 0 where the library takes none.
    pub peak_bits_per_second: u64,
    pub buffer_bits: u64,
}

/// What came out of an encoder.
pub(crate) enum Received {
    /// One access unit.
    Packet(Vec<u8>),
    /// It wants more pictures first, or more time.
    Nothing,
}

/// An open encoder.
pub(crate) struct Context {
    library: &'static str,
    context: NonNull<ffi::AVCodecContext>,
    frame: Frame,
    packet: Packet,
    next_pts: i64,
}

// SAFETY: an encoder context may be used from any thread, one at a time; `&mut self` sees to that.
unsafe impl Send for Context {}

impl Context {
    /// Opens the encoder, or says that there is none of that name.
    pub(crate) fn open(config: &ContextConfig) -> Result<Option<Self>, EncodeError> {
        log::install_once();
        let library = config.library;
        let name = CString::new(library).map_err(|_| out_of_memory(library, "naming the encoder"))?;
        // SAFETY: the name is closed by a zero; the answer is a pointer to a constant or null.
        let codec = unsafe { ffi::avcodec_find_encoder_by_name(name.as_ptr()) };
        if codec.is_null() {
            return Ok(None);
        }
        let (frame, packet) = (Frame::new(library)?, Packet::new(library)?);
        // SAFETY: the codec is a constant of the library.
        let context = NonNull::new(unsafe { ffi::avcodec_alloc_context3(codec) })
            .ok_or_else(|| out_of_memory(library, "avcodec_alloc_context3"))?;
        // From here on `Drop` frees the context.
        let mut this = Self { library, context, frame, packet, next_pts: 0 };
        let fields = this.fields();
        fields.width = config.width as i32;
        fields.height = config.height as i32;
        fields.pix_fmt = ffi::AVPixelFormat::AV_PIX_FMT_YUV420P;
        fields.time_base = ffi::AVRational { num: 1000, den: config.refresh_mhz as i32 };
        fields.framerate = ffi::AVRational { num: config.refresh_mhz as i32, den: 1000 };
        this.set_rate(config.rate);
        let mut options = Dictionary::new(library, &config.options)?;
        // SAFETY: context and codec belong together; the dictionary is owned and stays owned.
        let opened = unsafe { ffi::avcodec_open2(this.context.as_ptr(), codec, options.as_mut_ptr()) };
        check(library, "avcodec_open2", opened)?;
        if let Some(unknown) = options.first_key() {
            tracing::debug!(
                library,
                option = unknown,
                "this version of FFmpeg does not know an encoder option"
            );
        }
        Ok(Some(this))
    }

    fn fields(&mut self) -> &mut ffi::AVCodecContext {
        // SAFETY: allocated by FFmpeg, alive until `Drop`, and reached through `&mut self` only.
        unsafe { self.context.as_mut() }
    }

    /// Sets bitrate and buffer; a library that can change them while it runs does so at its next picture.
    pub(crate) fn set_rate(&mut self, rate: Rate) {
        let fields = self.fields();
        fields.bit_rate = rate.bits_per_second as i64;
        fields.rc_max_rate = rate.peak_bits_per_second as i64;
        fields.rc_buffer_size = i32::try_from(rate.buffer_bits).unwrap_or(i32::MAX);
    }

    /// Hands a picture to the encoder, which refers to `planes` and copies nothing on our side.
    pub(crate) fn send(&mut self, planes: &Arc<Planes>, key: bool) -> Result<(), EncodeError> {
        self.frame.lend(planes, self.library)?;
        // SAFETY: the frame is allocated and ours.
        let fields = unsafe { self.frame.0.as_mut() };
        fields.pts = self.next_pts;
        fields.pict_type = if key {
            ffi::AVPictureType::AV_PICTURE_TYPE_I
        } else {
            ffi::AVPictureType::AV_PICTURE_TYPE_NONE
        };
        self.next_pts += 1;
        // SAFETY: both are alive; the encoder takes its own reference to the frame's buffer.
        let code = unsafe { ffi::avcodec_send_frame(self.context.as_ptr(), self.frame.0.as_ptr()) };
        self.frame.take_back();
        check(self.library, "avcodec_send_frame", code).map(drop)
    }

    /// Takes an access unit if one is ready.
    pub(crate) fn receive(&mut self) -> Result<Received, EncodeError> {
        // SAFETY: both are alive; the packet's old content is released by the call.
        let code = unsafe { ffi::avcodec_receive_packet(self.context.as_ptr(), self.packet.0.as_ptr()) };
        if code == ffi::AVERROR(ffi::EAGAIN) {
            return Ok(Received::Nothing);
        }
        check(self.library, "avcodec_receive_packet", code)?;
        // SAFETY: a successful call leaves `size` bytes at `data` until the packet is used again.
        let data = unsafe {
            let packet = self.packet.0.as_ref();
            std::slice::from_raw_parts(packet.data, packet.size as usize).to_vec()
        };
        Ok(Received::Packet(data))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let mut context = self.context.as_ptr();
        // SAFETY: allocated in `open`, freed here only.
        unsafe { ffi::avcodec_free_context(&mut context) };
    }
}

struct Frame(NonNull<ffi::AVFrame>);

impl Frame {
    fn new(library: &str) -> Result<Self, EncodeError> {
        // SAFETY: no argument.
        NonNull::new(unsafe { ffi::av_frame_alloc() })
            .map(Self)
            .ok_or_else(|| out_of_memory(library, "av_frame_alloc"))
    }

    /// Points the frame at `planes` and lets FFmpeg hold a reference to them.
    fn lend(&mut self, planes: &Arc<Planes>, library: &str) -> Result<(), EncodeError> {
        self.take_back();
        let owner = Box::into_raw(Box::new(planes.clone()));
        let bytes = planes.all();
        // SAFETY: `owner` keeps the bytes alive until `release` is called, once, with it. FFmpeg does not write to a
        // buffer that is marked read-only, so that the pointer may come from a shared reference.
        let buffer = unsafe {
            ffi::av_buffer_create(
                bytes.as_ptr().cast_mut(),
                bytes.len(),
                Some(release),
                owner.cast::<c_void>(),
                ffi::AV_BUFFER_FLAG_READONLY,
            )
        };
        if buffer.is_null() {
            // SAFETY: FFmpeg did not take the box.
            drop(unsafe { Box::from_raw(owner) });
            return Err(out_of_memory(library, "av_buffer_create"));
        }
        // SAFETY: allocated, and ours alone.
        let fields = unsafe { self.0.as_mut() };
        fields.buf[0] = buffer;
        fields.width = planes.width() as i32;
        fields.height = planes.height() as i32;
        fields.format = ffi::AVPixelFormat::AV_PIX_FMT_YUV420P as i32;
        for (index, plane) in [planes.y(), planes.u(), planes.v()].into_iter().enumerate() {
            fields.data[index] = plane.as_ptr().cast_mut();
            let stride = if index == 0 { planes.luma_stride() } else { planes.chroma_stride() };
            fields.linesize[index] = stride as i32;
        }
        // `extended_data` points at `data` from `av_frame_alloc` on.
        Ok(())
    }

    fn take_back(&mut self) {
        // SAFETY: allocated; releases our reference to the planes, if any.
        unsafe { ffi::av_frame_unref(self.0.as_ptr()) };
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        let mut frame = self.0.as_ptr();
        // SAFETY: allocated in `new`, freed here only.
        unsafe { ffi::av_frame_free(&mut frame) };
    }
}

unsafe extern "C" fn release(owner: *mut c_void, _data: *mut u8) {
    // SAFETY: `owner` is the box made in `lend`, and FFmpeg calls this once when its last reference goes.
    drop(unsafe { Box::from_raw(owner.cast::<Arc<Planes>>()) });
}

struct Packet(NonNull<ffi::AVPacket>);

impl Packet {
    fn new(library: &str) -> Result<Self, EncodeError> {
        // SAFETY: no argument.
        NonNull::new(unsafe { ffi::av_packet_alloc() })
            .map(Self)
            .ok_or_else(|| out_of_memory(library, "av_packet_alloc"))
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        let mut packet = self.0.as_ptr();
        // SAFETY: allocated in `new`, freed here only.
        unsafe { ffi::av_packet_free(&mut packet) };
    }
}

/// FFmpeg's key-value list.
pub(super) struct Dictionary(*mut ffi::AVDictionary);

impl Dictionary {
    pub(super) fn new(library: &str, options: &[(&'static str, String)]) -> Result<Self, EncodeError> {
        let mut this = Self(ptr::null_mut());
        for (key, value) in options {
            let invalid = |_| failure(library, "av_dict_set", ffi::AVERROR(ffi::EINVAL));
            let (key, value) =
                (CString::new(*key).map_err(invalid)?, CString::new(value.as_str()).map_err(invalid)?);
            // SAFETY: both texts are closed by a zero and copied.
            let code = unsafe { ffi::av_dict_set(&mut this.0, key.as_ptr(), value.as_ptr(), 0) };
            check(library, "av_dict_set", code)?;
        }
        Ok(this)
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut *mut ffi::AVDictionary {
        &mut self.0
    }

    /// The first key left, after a call took those that it knows.
    fn first_key(&self) -> Option<String> {
        // SAFETY: an empty key with this flag lists all entries; the texts live as long as the dictionary.
        unsafe {
            let entry = ffi::av_dict_get(self.0, c"".as_ptr(), ptr::null(), ffi::AV_DICT_IGNORE_SUFFIX);
            (!entry.is_null()).then(|| std::ffi::CStr::from_ptr((*entry).key).to_string_lossy().into_owned())
        }
    }
}

impl Drop for Dictionary {
    fn drop(&mut self) {
        // SAFETY: owned; null is allowed.
        unsafe { ffi::av_dict_free(&mut self.0) };
    }
}
