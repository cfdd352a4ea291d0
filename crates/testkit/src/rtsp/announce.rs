//! The ANNOUNCE body (protocol text §5.6, Appendix C).
use std::fmt::Display;
use std::net::IpAddr;

use super::handshake::Offer;
use crate::request::{Codec, Generation, StreamRequest};

/// Client flag: sends frame FEC status.
const CLIENT_FEC_STATUS: u32 = 0x01;
/// Client flag: understands ping payload and connect data.
const CLIENT_SESSION_ID: u32 = 0x02;
/// Bits of `encryptionEnabled`.
const CONTROL_V2: u32 = 1;
const VIDEO: u32 = 2;
const AUDIO: u32 = 4;
/// Cap of the bitrate attributes.
const BITRATE_CAP: u32 = 100_000;

/// What the client turned on, from its wish and the host's offer (protocol text §11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announcement {
    /// `x-ss-general.encryptionEnabled`.
    pub encryption_enabled: u32,
    /// Audio is encrypted (`x-nv-general.featureFlags` 0x20).
    pub audio_encrypted: bool,
    /// Packet size after rounding and reduction.
    pub packet_size: u32,
}

impl Announcement {
    /// Decides as stock clients do.
    pub fn decide(request: &StreamRequest, offer: &Offer, generation: Generation) -> Self {
        let wish = request.encryption;
        let legacy = generation == Generation::Legacy61;
        let supported = |bit: u32| offer.encryption_supported & bit != 0;
        let requested = |bit: u32| offer.encryption_requested & bit != 0;
        let mut enabled = 0;
        let video = (supported(VIDEO) && wish.video) || (requested(VIDEO) && !wish.video);
        let audio_encrypted = wish.audio || (!legacy && requested(AUDIO));
        if !legacy {
            enabled |= if supported(CONTROL_V2) { CONTROL_V2 } else { 0 };
            enabled |= if video { VIDEO } else { 0 };
            enabled |= if audio_encrypted && supported(AUDIO) { AUDIO } else { 0 };
        }
        let reduction = if enabled & VIDEO != 0 { 32 } else { 0 };
        let packet_size = (request.packet_size / 16 * 16).saturating_sub(reduction);
        Announcement { encryption_enabled: enabled, audio_encrypted, packet_size }
    }

    /// Control uses v2 IVs.
    pub fn control_v2(&self) -> bool {
        self.encryption_enabled & CONTROL_V2 != 0
    }

    /// Video is encrypted.
    pub fn video_encrypted(&self) -> bool {
        self.encryption_enabled & VIDEO != 0
    }
}

/// The body, line by line in the captured order.
pub fn announce_body(
    request: &StreamRequest,
    announcement: &Announcement,
    generation: Generation,
    address: IpAddr,
    video_port: u16,
) -> String {
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    let mut sdp =
        Lines(format!("v=0\r\no=android 0 14 IN {family} {address}\r\ns=NVIDIA Streaming Client\r\n"));
    if generation == Generation::Current {
        sdp.add("x-ml-general.featureFlags", CLIENT_FEC_STATUS | CLIENT_SESSION_ID);
        sdp.add("x-ss-general.encryptionEnabled", announcement.encryption_enabled);
        sdp.add("x-ss-video[0].chromaSamplingType", u32::from(request.chroma_444));
    }
    add_video(&mut sdp, request, announcement);
    add_quality(&mut sdp, request, announcement);
    add_codec(&mut sdp, request);
    add_audio(&mut sdp, request);
    sdp.add("x-nv-video[0].encoderCscMode", request.csc.wire());
    sdp.0.push_str(&format!("t=0 0\r\nm=video {video_port}  \r\n"));
    sdp.0
}

struct Lines(String);

impl Lines {
    /// One attribute; a space stands before each line's end.
    fn add(&mut self, name: &str, value: impl Display) {
        self.0.push_str(&format!("a={name}:{value} \r\n"));
    }
}

fn add_video(sdp: &mut Lines, request: &StreamRequest, announcement: &Announcement) {
    let remote = if request.local_network { 0 } else { 500 };
    let bitrate = (request.bitrate_kbps.saturating_mul(4) / 5).saturating_sub(remote).min(BITRATE_CAP);
    sdp.add("x-nv-video[0].clientViewportWd", request.width);
    sdp.add("x-nv-video[0].clientViewportHt", request.height);
    sdp.add("x-nv-video[0].maxFPS", request.fps);
    sdp.add("x-nv-video[0].packetSize", announcement.packet_size);
    sdp.add("x-nv-video[0].rateControlMode", 4);
    sdp.add("x-nv-video[0].timeoutLengthMs", 7000);
    sdp.add("x-nv-video[0].framesWithInvalidRefThreshold", 0);
    sdp.add("x-nv-video[0].initialBitrateKbps", bitrate);
    sdp.add("x-nv-video[0].initialPeakBitrateKbps", bitrate);
    sdp.add("x-nv-vqos[0].bw.minimumBitrateKbps", bitrate);
    sdp.add("x-nv-vqos[0].bw.maximumBitrateKbps", bitrate);
    sdp.add("x-ml-video.configuredBitrateKbps", request.bitrate_kbps);
}

fn add_quality(sdp: &mut Lines, request: &StreamRequest, announcement: &Announcement) {
    let traffic = |class: u32| if request.local_network { class } else { 0 };
    sdp.add("x-nv-vqos[0].fec.enable", 1);
    sdp.add("x-nv-vqos[0].videoQualityScoreUpdateTime", 5000);
    sdp.add("x-nv-vqos[0].qosTrafficType", traffic(5));
    sdp.add("x-nv-aqos.qosTrafficType", traffic(4));
    sdp.add("x-nv-general.featureFlags", if announcement.audio_encrypted { 0xa7 } else { 0x87 });
    sdp.add("x-nv-general.useReliableUdp", 13);
    sdp.add("x-nv-vqos[0].fec.minRequiredFecPackets", request.min_fec_packets);
    sdp.add("x-nv-vqos[0].bllFec.enable", 0);
    sdp.add("x-nv-vqos[0].drc.enable", 0);
    sdp.add("x-nv-general.enableRecoveryMode", 0);
}

fn add_codec(sdp: &mut Lines, request: &StreamRequest) {
    sdp.add("x-nv-video[0].videoEncoderSlicesPerFrame", request.slices);
    if request.codec != Codec::Av1 {
        sdp.add("x-nv-clientSupportHevc", u32::from(request.codec == Codec::Hevc));
    }
    sdp.add("x-nv-vqos[0].bitStreamFormat", request.codec.bit_stream_format());
    sdp.add("x-nv-video[0].dynamicRangeMode", u32::from(request.hdr));
    sdp.add("x-nv-video[0].maxNumReferenceFrames", request.max_reference_frames);
    sdp.add("x-nv-video[0].clientRefreshRateX100", request.refresh_x100);
}

fn add_audio(sdp: &mut Lines, request: &StreamRequest) {
    let audio = request.audio;
    let surround = audio.channels > 2;
    sdp.add("x-nv-audio.surround.numChannels", audio.channels);
    sdp.add("x-nv-audio.surround.channelMask", audio.channel_mask());
    sdp.add("x-nv-audio.surround.enable", u32::from(surround));
    sdp.add("x-nv-audio.surround.AudioQuality", u32::from(surround && audio.high_quality));
    sdp.add("x-nv-aqos.packetDuration", audio.packet_duration_ms);
}
