//! One client's picture on its way: pipeline, packets, sending.

pub mod cadence;
mod convert;
pub mod parity;
pub mod pipeline;
pub mod sender;
pub mod stats;
pub mod vigil;

use lumen_config::Config;
use lumen_encode::{EncodeError, EncoderConfig};
use lumen_gamestream::crypto::SessionKey;
use lumen_gamestream::sdp::{ColourSpace, Encryption, StreamParameters, VideoCodec};
use lumen_gamestream::video::{Packetizer, PacketizerConfig, PacketizerError};
use lumen_media::{Codec, Colour, Frame, FrameSource, Matrix, Range, slot};
use lumen_net::sender::{FrameSender, PacerConfig};
use lumen_net::udp::UdpPort;
use pipeline::{IdrHandle, News, Pipeline};
use sender::Route;
use stats::StreamStats;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

/// Encoded frames between the encoder and the sender: one being sent, one ready. More would only be latency.
const QUEUE: usize = 1;

/// What the configuration decides about a stream.
#[derive(Clone, Debug)]
pub struct StreamSettings {
    /// Parity per data in percent.
    pub fec_percent: u8,
    /// What concerns the pictures.
    pub pictures: PictureSettings,
}

/// What the configuration decides about a stream's pictures.
#[derive(Clone, Copy, Debug)]
pub struct PictureSettings {
    /// Repeats per second while nothing moves.
    pub idle_fps: u32,
    /// How long a desktop without new pictures may leave a question open before it counts as hung.
    pub answer: Duration,
}

impl PictureSettings {
    /// What `config` says.
    pub fn new(config: &Config) -> Self {
        Self {
            idle_fps: config.video.idle_fps,
            answer: Duration::from_secs(config.capture.answer_seconds.into()),
        }
    }
}

/// Why a stream could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The encoder refused.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The client's packet size cannot be served.
    #[error(transparent)]
    Packets(#[from] PacketizerError),
    /// The system refused a thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The output has no picture to take.
    #[error("the output's pictures are in use or gone")]
    NoSource,
}

/// A stream from its ANNOUNCE to its end. [`Stream::stop`] gives the picture source back.
pub struct Stream {
    pipeline: Pipeline,
    sender: JoinHandle<()>,
    stats: Arc<StreamStats>,
}

impl Stream {
    /// Makes everything ready; nothing is sent before [`Stream::open`]. When that fails the source is given back with
    /// the error. `news` is called from the stream's threads.
    pub fn prepare(
        source: Box<dyn FrameSource>,
        encoder: &EncoderConfig,
        packets: PacketizerConfig,
        settings: &StreamSettings,
        (port, route): (Arc<UdpPort>, Route),
        news: impl Fn(News) + Send + Sync + 'static,
    ) -> Result<Self, (StreamError, Box<dyn FrameSource>)> {
        let packetizer = match Packetizer::new(packets) {
            Ok(packetizer) => packetizer,
            Err(error) => return Err((error.into(), source)),
        };
        let (queue, units) = sync_channel(QUEUE);
        let pipeline = Pipeline::start(source, encoder, settings.pictures, queue, news)
            .map_err(|(error, source)| (error.into(), source))?;
        let interval = Duration::from_nanos(1_000_000_000_000 / u64::from(encoder.refresh_mhz.max(1)));
        let frames = FrameSender::new(port, PacerConfig::default(), interval);
        let stats = Arc::new(StreamStats::new(frames.stats(), settings.fec_percent));
        let idr = pipeline.idr_handle();
        let sender =
            sender::spawn(units, packetizer, frames, route, stats.clone(), move || idr.reduce_bitrate());
        match sender {
            Ok(sender) => Ok(Self { pipeline, sender, stats }),
            Err(error) => {
                // Without a thread nothing works any more; the source is lost only if its own thread panicked.
                let source = pipeline.stop().unwrap_or_else(|| Box::new(Closed::default()));
                Err((error.into(), source))
            }
        }
    }

    /// Lets pictures out, a key frame first.
    pub fn open(&self) {
        self.pipeline.open();
    }

    /// To ask for key frames from other threads.
    pub fn idr_handle(&self) -> IdrHandle {
        self.pipeline.idr_handle()
    }

    /// The two threads before the sender: its counters, and its source.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// The counters.
    pub fn stats(&self) -> Arc<StreamStats> {
        self.stats.clone()
    }

    /// Ends all threads and hands the source back, deactivated; `None` if it closed.
    pub fn stop(self) -> Option<Box<dyn FrameSource>> {
        // The encoder first: its end closes the queue that the sender waits on.
        let source = self.pipeline.stop();
        let _ = self.sender.join();
        source
    }
}

/// Stands in for a source that was lost to a panic.
struct Closed(slot::Receiver<Frame>);

impl Default for Closed {
    fn default() -> Self {
        Self(slot::slot().1)
    }
}

impl FrameSource for Closed {
    fn frames(&self) -> &slot::Receiver<Frame> {
        &self.0
    }

    fn set_active(&mut self, _active: bool) {}
}

/// The encoder's settings for what a client announced.
pub fn encoder_config(parameters: &StreamParameters, fec_percent: u8) -> EncoderConfig {
    let codec = match parameters.codec {
        VideoCodec::H264 => Codec::H264,
        VideoCodec::Hevc => Codec::Hevc,
        VideoCodec::Av1 => Codec::Av1,
    };
    let colour = Colour {
        matrix: match parameters.colour.space {
            ColourSpace::Bt601 => Matrix::Bt601,
            // BT.2020 in an 8-bit stream is treated as BT.709 (protocol text §6.11).
            _ => Matrix::Bt709,
        },
        range: if parameters.colour.full_range { Range::Full } else { Range::Limited },
    };
    // What users ask for by mistake is served as near as an encoder can.
    let bitrate = u64::from(parameters.encoder_kbps(u32::from(fec_percent))) * 1000;
    let bitrate = bitrate.clamp(200_000, 1_000_000_000);
    EncoderConfig {
        slices: parameters.slices.min(64),
        max_ref_frames: parameters.max_reference_frames.min(16),
        colour,
        ..EncoderConfig::new(codec, parameters.width, parameters.height, parameters.refresh_mhz(), bitrate)
    }
}

/// The packets' settings for what a client announced.
pub fn packetizer_config(
    parameters: &StreamParameters,
    key: &SessionKey,
    fec_percent: u8,
) -> PacketizerConfig {
    PacketizerConfig {
        packet_size: parameters.packet_size,
        fec_percent,
        min_fec_packets: parameters.min_required_fec,
        encryption: parameters.encryption.contains(Encryption::VIDEO).then(|| key.clone()),
    }
}
