//! The body of ANNOUNCE: attributes into typed stream parameters.

use super::{ClientFeatures, Encryption, HostFeatures};
use crate::serverinfo::CodecModes;
use crate::video::PacketSize;
use std::collections::HashMap;

/// Most attributes read. Clients send about 40.
const MAX_ATTRIBUTES: usize = 256;
/// `x-nv-general.featureFlags`: audio is encrypted.
const NV_AUDIO_ENCRYPTED: u32 = 0x20;
/// `x-nv-general.useReliableUdp`: control messages are sealed.
const RELIABLE_UDP_SEALED: u32 = 13;
/// Rates from here on are the rate times 1000.
const TIMES_1000_FROM: u32 = 1000;

/// Why the parameters of a stream were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Not UTF-8, or too many attributes.
    #[error("malformed session description")]
    Malformed,
    /// A mandatory attribute is missing.
    #[error("missing {0}")]
    Missing(&'static str),
    /// An attribute's value is not a number, or lies outside of what the protocol allows.
    #[error("invalid {0}")]
    Invalid(&'static str),
    /// The client chose a codec or a profile that was not offered.
    #[error("codec not offered")]
    CodecNotOffered,
    /// The host requires encryption that the client did not enable.
    #[error("encryption required")]
    EncryptionRequired,
}

impl SdpError {
    /// The RTSP status that says so (protocol text §5.6).
    pub fn status(&self) -> u16 {
        match self {
            Self::EncryptionRequired => 403,
            _ => 400,
        }
    }
}

/// A video codec, as `bitStreamFormat` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// 0.
    H264,
    /// 1.
    Hevc,
    /// 2.
    Av1,
}

/// The colour space of `encoderCscMode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColourSpace {
    /// BT.601.
    Bt601,
    /// BT.709.
    Bt709,
    /// BT.2020; in an 8-bit stream it is treated as BT.709 (protocol text §6.11).
    Bt2020,
    /// A value that the protocol does not define.
    Unknown(u32),
}

/// `encoderCscMode`: space and range that the client wishes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ColourWish {
    /// Matrix and primaries.
    pub space: ColourSpace,
    /// Full range instead of limited.
    pub full_range: bool,
}

/// Which nonces control messages use (protocol text §8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ControlEncryption {
    /// 12-byte nonces that differ by direction.
    V2,
    /// 16-byte nonces that repeat; only for clients that cannot do better.
    Legacy,
}

/// Bitrate class of the sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AudioQuality {
    /// 96 kbit/s stereo and its surround relatives.
    Normal,
    /// 512 kbit/s stereo and its surround relatives.
    High,
}

/// The sound of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioParameters {
    /// 2, 6 or 8.
    pub channels: u8,
    /// WAVEFORMAT bits.
    pub mask: u32,
    /// Bitrate class.
    pub quality: AudioQuality,
    /// Milliseconds per packet: 5 or 10.
    pub packet_ms: u8,
    /// Payloads are encrypted; not the host's choice (protocol text §7.4).
    pub encrypted: bool,
    /// Packets may be marked for priority (`x-nv-aqos.qosTrafficType`).
    pub qos: bool,
}

/// Everything that ANNOUNCE fixes for a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamParameters {
    /// Codec.
    pub codec: VideoCodec,
    /// Pixels. Limits are the host's business.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// `maxFPS` as sent; see [`StreamParameters::refresh_mhz`].
    pub max_fps: u32,
    /// `clientRefreshRateX100`; 0 when unknown.
    pub client_refresh_x100: u32,
    /// Video payload size per packet plus 16, already reduced for encryption; what [`PacketSize`] takes.
    pub packet_size: u16,
    /// The user's bitrate in kbit/s, where the client says it.
    pub configured_kbps: Option<u32>,
    /// The bitrate the client computed for the encoder, in kbit/s.
    pub maximum_kbps: u32,
    /// Slices wanted per frame, at least 1.
    pub slices: u32,
    /// Most reference frames: 0 is unlimited, 1 is strict.
    pub max_reference_frames: u32,
    /// Colour space and range.
    pub colour: ColourWish,
    /// A 10-bit profile was negotiated.
    pub ten_bit: bool,
    /// 4:4:4 chroma.
    pub chroma_444: bool,
    /// Intra refresh instead of whole key frames (an extension that stock clients do not use).
    pub intra_refresh: bool,
    /// Least parity packets per FEC block.
    pub min_required_fec: u8,
    /// What the client encrypts.
    pub encryption: Encryption,
    /// How control messages are sealed.
    pub control: ControlEncryption,
    /// Video packets may be marked for priority.
    pub video_qos: bool,
    /// What the client can do.
    pub client_features: ClientFeatures,
    /// Sound.
    pub audio: AudioParameters,
}

impl StreamParameters {
    /// Reads the body of an ANNOUNCE. `stereo` is the quality that the RTSP `Host` header stands for (protocol text
    /// §5.4); `features` is what DESCRIBE offered.
    ///
    /// # Errors
    /// [`SdpError`], whose [`SdpError::status`] is the RTSP status.
    pub fn parse(body: &[u8], features: &HostFeatures, stereo: AudioQuality) -> Result<Self, SdpError> {
        let attributes = Attributes::read(body)?;
        let parameters = video(&attributes, audio(&attributes, stereo)?)?;
        parameters.check_offer(features)?;
        Ok(parameters)
    }

    /// The refresh rate in millihertz: `maxFPS`, or the client's display rate where it lies within 1 % of it (so 59.94
    /// is kept, but a panel's 120 Hz does not turn 60 into 120).
    pub fn refresh_mhz(&self) -> u32 {
        if self.max_fps >= TIMES_1000_FROM {
            return self.max_fps;
        }
        let asked = self.max_fps * 1000;
        let Some(display) = self.client_refresh_x100.checked_mul(10) else { return asked };
        if display.abs_diff(asked) <= asked / 100 { display } else { asked }
    }

    /// The encoder's bitrate in kbit/s: the user's, less what FEC, sound and overhead will take (protocol text §5.6,
    /// each share of what is left after the one before). Without the user's figure, the one the client computed.
    pub fn encoder_kbps(&self, fec_percent: u32) -> u32 {
        let Some(configured) = self.configured_kbps else { return self.maximum_kbps };
        let mut left = u64::from(configured);
        if fec_percent <= 80 {
            left = left * u64::from(100 - fec_percent) / 100;
        }
        let per_channel = match self.audio.quality {
            AudioQuality::Normal => 96,
            AudioQuality::High => 256,
        };
        left -= (u64::from(self.audio.channels) * per_channel).min(left / 5);
        left -= (left / 10).min(500);
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    /// The bit of `ServerCodecModeSupport` that this stream needs.
    pub fn codec_mode(&self) -> Option<CodecModes> {
        Some(match (self.codec, self.chroma_444, self.ten_bit) {
            (VideoCodec::H264, false, false) => CodecModes::H264,
            (VideoCodec::H264, true, false) => CodecModes::H264_444,
            (VideoCodec::H264, _, true) => return None,
            (VideoCodec::Hevc, false, false) => CodecModes::HEVC,
            (VideoCodec::Hevc, false, true) => CodecModes::HEVC_10,
            (VideoCodec::Hevc, true, false) => CodecModes::HEVC_444,
            (VideoCodec::Hevc, true, true) => CodecModes::HEVC_444_10,
            (VideoCodec::Av1, false, false) => CodecModes::AV1,
            (VideoCodec::Av1, false, true) => CodecModes::AV1_10,
            (VideoCodec::Av1, true, false) => CodecModes::AV1_444,
            (VideoCodec::Av1, true, true) => CodecModes::AV1_444_10,
        })
    }

    fn check_offer(&self, features: &HostFeatures) -> Result<(), SdpError> {
        if !self.codec_mode().is_some_and(|mode| features.codecs.contains(mode)) {
            return Err(SdpError::CodecNotOffered);
        }
        let mut effective = self.encryption;
        if self.audio.encrypted {
            effective = effective | Encryption::AUDIO;
        }
        if !effective.contains(features.encryption_required) {
            return Err(SdpError::EncryptionRequired);
        }
        Ok(())
    }
}

fn video(attributes: &Attributes<'_>, audio: AudioParameters) -> Result<StreamParameters, SdpError> {
    let packet_size = attributes.require("x-nv-video[0].packetSize")?;
    let packet_size = u16::try_from(packet_size)
        .ok()
        .filter(|size| PacketSize::new(*size).is_ok())
        .ok_or(SdpError::Invalid("x-nv-video[0].packetSize"))?;
    let maximum_kbps = match attributes.number("x-nv-vqos[0].bw.maximumBitrateKbps")? {
        Some(kbps) => Some(kbps),
        None => attributes.number("x-nv-video[0].initialBitrateKbps")?,
    };
    let configured_kbps = attributes.number("x-ml-video.configuredBitrateKbps")?.filter(|kbps| *kbps > 0);
    let csc = attributes.number("x-nv-video[0].encoderCscMode")?.unwrap_or(0);
    let encryption = Encryption::from_bits(attributes.number("x-ss-general.encryptionEnabled")?.unwrap_or(0));
    let max_fps = attributes.require("x-nv-video[0].maxFPS")?;
    if max_fps == 0 {
        return Err(SdpError::Invalid("x-nv-video[0].maxFPS"));
    }
    // Our version number selects sealed control in every client, also in one that leaves this out; one that asks for
    // another transport would talk in clear and be ignored for ever.
    if attributes.number("x-nv-general.useReliableUdp")?.is_some_and(|udp| udp != RELIABLE_UDP_SEALED) {
        return Err(SdpError::Invalid("x-nv-general.useReliableUdp"));
    }
    Ok(StreamParameters {
        codec: match attributes.number("x-nv-vqos[0].bitStreamFormat")?.unwrap_or(0) {
            0 => VideoCodec::H264,
            1 => VideoCodec::Hevc,
            2 => VideoCodec::Av1,
            _ => return Err(SdpError::CodecNotOffered),
        },
        width: attributes.require("x-nv-video[0].clientViewportWd")?,
        height: attributes.require("x-nv-video[0].clientViewportHt")?,
        max_fps,
        client_refresh_x100: attributes.number("x-nv-video[0].clientRefreshRateX100")?.unwrap_or(0),
        packet_size,
        configured_kbps,
        maximum_kbps: maximum_kbps
            .or(configured_kbps)
            .ok_or(SdpError::Missing("x-nv-vqos[0].bw.maximumBitrateKbps"))?,
        slices: attributes.require("x-nv-video[0].videoEncoderSlicesPerFrame")?.max(1),
        max_reference_frames: attributes.require("x-nv-video[0].maxNumReferenceFrames")?,
        colour: ColourWish {
            space: match csc >> 1 {
                0 => ColourSpace::Bt601,
                1 => ColourSpace::Bt709,
                2 => ColourSpace::Bt2020,
                other => ColourSpace::Unknown(other),
            },
            full_range: csc & 1 == 1,
        },
        ten_bit: attributes.flag("x-nv-video[0].dynamicRangeMode")?,
        chroma_444: attributes.flag("x-ss-video[0].chromaSamplingType")?,
        intra_refresh: attributes.flag("x-ss-video[0].intraRefresh")?,
        min_required_fec: u8::try_from(
            attributes.number("x-nv-vqos[0].fec.minRequiredFecPackets")?.unwrap_or(0),
        )
        .map_err(|_| SdpError::Invalid("x-nv-vqos[0].fec.minRequiredFecPackets"))?,
        encryption,
        control: if encryption.contains(Encryption::CONTROL_V2) {
            ControlEncryption::V2
        } else {
            ControlEncryption::Legacy
        },
        video_qos: attributes.flag("x-nv-vqos[0].qosTrafficType")?,
        client_features: ClientFeatures::from_bits(
            attributes.number("x-ml-general.featureFlags")?.unwrap_or(0),
        ),
        audio,
    })
}

fn audio(attributes: &Attributes<'_>, stereo: AudioQuality) -> Result<AudioParameters, SdpError> {
    let channels = match attributes.require("x-nv-audio.surround.numChannels")? {
        channels @ (2 | 6 | 8) => channels as u8,
        _ => return Err(SdpError::Invalid("x-nv-audio.surround.numChannels")),
    };
    let surround_quality = attributes.require("x-nv-audio.surround.AudioQuality")?;
    let nv_flags = attributes.number("x-nv-general.featureFlags")?.unwrap_or(0);
    let enabled = attributes.number("x-ss-general.encryptionEnabled")?.unwrap_or(0);
    Ok(AudioParameters {
        channels,
        mask: attributes.require("x-nv-audio.surround.channelMask")?,
        quality: match (channels, surround_quality) {
            (2, _) => stereo,
            (_, 0) => AudioQuality::Normal,
            _ => AudioQuality::High,
        },
        packet_ms: match attributes.number("x-nv-aqos.packetDuration")?.unwrap_or(5) {
            duration @ (5 | 10) => duration as u8,
            _ => return Err(SdpError::Invalid("x-nv-aqos.packetDuration")),
        },
        encrypted: nv_flags & NV_AUDIO_ENCRYPTED != 0
            || Encryption::from_bits(enabled).contains(Encryption::AUDIO),
        qos: attributes.flag("x-nv-aqos.qosTrafficType")?,
    })
}

/// The `a=name:value` lines; of a repeated name the first counts, other lines are skipped.
struct Attributes<'a>(HashMap<&'a str, &'a str>);

impl<'a> Attributes<'a> {
    fn read(body: &'a [u8]) -> Result<Self, SdpError> {
        let text = std::str::from_utf8(body).map_err(|_| SdpError::Malformed)?;
        let mut attributes = HashMap::new();
        for line in text.lines() {
            let Some((name, value)) = line.strip_prefix("a=").and_then(|line| line.split_once(':')) else {
                continue;
            };
            if attributes.len() == MAX_ATTRIBUTES {
                return Err(SdpError::Malformed);
            }
            // Clients end every value with a space.
            attributes.entry(name.trim()).or_insert(value.trim());
        }
        Ok(Self(attributes))
    }

    fn number(&self, name: &'static str) -> Result<Option<u32>, SdpError> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| SdpError::Invalid(name))
    }

    fn require(&self, name: &'static str) -> Result<u32, SdpError> {
        self.number(name)?.ok_or(SdpError::Missing(name))
    }

    fn flag(&self, name: &'static str) -> Result<bool, SdpError> {
        Ok(self.number(name)?.unwrap_or(0) != 0)
    }
}
