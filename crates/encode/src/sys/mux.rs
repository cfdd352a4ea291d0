//! A container file with one video stream.

use super::codec::Dictionary;
use super::{check, log, out_of_memory};
use crate::error::EncodeError;
use ffmpeg_next::ffi;
use lumen_media::{Codec, Colour, Matrix, Range};
use std::ffi::CString;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::time::Duration;

/// Ticks per second of the times handed in.
const TIME_BASE: ffi::AVRational = ffi::AVRational { num: 1, den: 1_000_000 };

/// What a container is opened with.
pub(crate) struct MuxerConfig<'a> {
    /// Name of the container in FFmpeg.
    pub container: &'static str,
    pub path: &'a Path,
    pub codec: Codec,
    pub width: u32,
    pub height: u32,
    pub refresh_mhz: u32,
    pub colour: Colour,
    /// Parameter sets.
    pub extradata: &'a [u8],
}

/// A container file that is being written.
pub(crate) struct Muxer {
    container: &'static str,
    context: NonNull<ffi::AVFormatContext>,
    packet: NonNull<ffi::AVPacket>,
}

// SAFETY: a format context may be used from any thread, one at a time; `&mut self` sees to that.
unsafe impl Send for Muxer {}

impl Muxer {
    /// Creates the file and writes its header.
    pub(crate) fn create(config: &MuxerConfig<'_>) -> Result<Self, EncodeError> {
        log::install_once();
        let container = config.container;
        let text =
            |bytes: &[u8]| CString::new(bytes).map_err(|_| out_of_memory(container, "naming the file"));
        let format = text(container.as_bytes())?;
        let path = text(config.path.as_os_str().as_encoded_bytes())?;
        // SAFETY: no argument.
        let packet = NonNull::new(unsafe { ffi::av_packet_alloc() })
            .ok_or_else(|| out_of_memory(container, "av_packet_alloc"))?;
        let mut context = ptr::null_mut();
        // SAFETY: the texts are closed by zeros; the context is written on success.
        let code = unsafe {
            ffi::avformat_alloc_output_context2(&mut context, ptr::null(), format.as_ptr(), path.as_ptr())
        };
        let Some(context) = NonNull::new(context) else {
            let mut packet = packet.as_ptr();
            // SAFETY: allocated above.
            unsafe { ffi::av_packet_free(&mut packet) };
            return Err(super::failure(container, "avformat_alloc_output_context2", code.min(-1)));
        };
        // From here on `Drop` frees both.
        let this = Self { container, context, packet };
        this.describe(config)?;
        // SAFETY: the context is alive; `pb` is closed by `Drop`.
        let code =
            unsafe { ffi::avio_open(&mut (*context.as_ptr()).pb, path.as_ptr(), ffi::AVIO_FLAG_WRITE as _) };
        check(container, "avio_open", code)?;
        let mut options = Dictionary::new(container, &[])?;
        // SAFETY: context and its stream are set up.
        let code = unsafe { ffi::avformat_write_header(context.as_ptr(), options.as_mut_ptr()) };
        check(container, "avformat_write_header", code)?;
        Ok(this)
    }

    fn describe(&self, config: &MuxerConfig<'_>) -> Result<(), EncodeError> {
        // SAFETY: the stream belongs to the context and is ours until the header is written; extradata is allocated
        // with FFmpeg's allocator, with its padding, and freed with the stream.
        unsafe {
            let stream = ffi::avformat_new_stream(self.context.as_ptr(), ptr::null());
            let stream =
                stream.as_mut().ok_or_else(|| out_of_memory(self.container, "avformat_new_stream"))?;
            stream.time_base = TIME_BASE;
            stream.avg_frame_rate = ffi::AVRational { num: config.refresh_mhz as i32, den: 1000 };
            let parameters = &mut *stream.codecpar;
            parameters.codec_type = ffi::AVMediaType::AVMEDIA_TYPE_VIDEO;
            parameters.codec_id = match config.codec {
                Codec::H264 => ffi::AVCodecID::AV_CODEC_ID_H264,
                Codec::Hevc => ffi::AVCodecID::AV_CODEC_ID_HEVC,
                Codec::Av1 => ffi::AVCodecID::AV_CODEC_ID_AV1,
            };
            parameters.width = config.width as i32;
            parameters.height = config.height as i32;
            parameters.format = ffi::AVPixelFormat::AV_PIX_FMT_YUV420P as i32;
            (parameters.color_primaries, parameters.color_trc, parameters.color_space) =
                match config.colour.matrix {
                    Matrix::Bt601 => (
                        ffi::AVColorPrimaries::AVCOL_PRI_SMPTE170M,
                        ffi::AVColorTransferCharacteristic::AVCOL_TRC_SMPTE170M,
                        ffi::AVColorSpace::AVCOL_SPC_SMPTE170M,
                    ),
                    Matrix::Bt709 => (
                        ffi::AVColorPrimaries::AVCOL_PRI_BT709,
                        ffi::AVColorTransferCharacteristic::AVCOL_TRC_BT709,
                        ffi::AVColorSpace::AVCOL_SPC_BT709,
                    ),
                };
            parameters.color_range = match config.colour.range {
                Range::Limited => ffi::AVColorRange::AVCOL_RANGE_MPEG,
                Range::Full => ffi::AVColorRange::AVCOL_RANGE_JPEG,
            };
            let padded = config.extradata.len() + ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize;
            let extradata = ffi::av_mallocz(padded).cast::<u8>();
            if extradata.is_null() {
                return Err(out_of_memory(self.container, "av_mallocz"));
            }
            ptr::copy_nonoverlapping(config.extradata.as_ptr(), extradata, config.extradata.len());
            parameters.extradata = extradata;
            parameters.extradata_size = config.extradata.len() as i32;
        }
        Ok(())
    }

    /// Writes one access unit.
    pub(crate) fn write(&mut self, data: &[u8], key: bool, time: Duration) -> Result<(), EncodeError> {
        // SAFETY: packet and context are alive and ours; the packet gets its own copy of the data, and the muxer
        // leaves it blank.
        let code = unsafe {
            let packet = self.packet.as_ptr();
            check(self.container, "av_new_packet", ffi::av_new_packet(packet, data.len() as i32))?;
            ptr::copy_nonoverlapping(data.as_ptr(), (*packet).data, data.len());
            (*packet).pts = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
            (*packet).dts = (*packet).pts;
            (*packet).flags = if key { ffi::AV_PKT_FLAG_KEY } else { 0 };
            (*packet).stream_index = 0;
            let stream = *(*self.context.as_ptr()).streams;
            ffi::av_packet_rescale_ts(packet, TIME_BASE, (*stream).time_base);
            ffi::av_interleaved_write_frame(self.context.as_ptr(), packet)
        };
        check(self.container, "av_interleaved_write_frame", code).map(drop)
    }

    /// Writes what the container keeps for its end.
    pub(crate) fn finish(self) -> Result<(), EncodeError> {
        // SAFETY: the header was written by `create`; called once, since it takes the muxer.
        let code = unsafe { ffi::av_write_trailer(self.context.as_ptr()) };
        check(self.container, "av_write_trailer", code)?;
        // SAFETY: opened by `create`; `Drop` closes what is not null.
        let code = unsafe { ffi::avio_closep(&mut (*self.context.as_ptr()).pb) };
        check(self.container, "avio_closep", code).map(drop)
    }
}

impl Drop for Muxer {
    fn drop(&mut self) {
        let mut packet = self.packet.as_ptr();
        // SAFETY: both are owned and freed here only; closing a file that is not open does nothing.
        unsafe {
            ffi::av_packet_free(&mut packet);
            ffi::avio_closep(&mut (*self.context.as_ptr()).pb);
            ffi::avformat_free_context(self.context.as_ptr());
        }
    }
}
