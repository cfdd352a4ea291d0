//! What a client asks a stream to be.

/// Video codec, by its `bitStreamFormat` value (protocol text §5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// `bitStreamFormat` 0.
    H264,
    /// `bitStreamFormat` 1.
    Hevc,
    /// `bitStreamFormat` 2.
    Av1,
}

impl Codec {
    /// Value of `x-nv-vqos[0].bitStreamFormat`.
    pub fn bit_stream_format(self) -> u32 {
        match self {
            Codec::H264 => 0,
            Codec::Hevc => 1,
            Codec::Av1 => 2,
        }
    }
}

/// Colour space bits of `encoderCscMode` (protocol text §5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColourSpace {
    /// Rec. 601.
    Rec601,
    /// Rec. 709.
    Rec709,
    /// Rec. 2020.
    Rec2020,
}

/// Colour mode asked for: `(space << 1) | full range`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CscMode {
    /// Matrix and primaries.
    pub space: ColourSpace,
    /// True asks for full range (bit 0).
    pub full_range: bool,
}

impl CscMode {
    /// Wire value of `x-nv-video[0].encoderCscMode`.
    pub fn wire(self) -> u32 {
        let space = match self.space {
            ColourSpace::Rec601 => 0,
            ColourSpace::Rec709 => 1,
            ColourSpace::Rec2020 => 2,
        };
        (space << 1) | u32::from(self.full_range)
    }
}

/// Behaviour of which generation of stock clients is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Generation {
    /// Encrypted RTSP, ping payload, connect data, control encryption v2.
    #[default]
    Current,
    /// The 6.1 clients: no `corever` (plain RTSP), no `x-ml-general.featureFlags` (4-byte PING, connect data 0), no
    /// `x-ss-general.encryptionEnabled` (legacy control encryption, plain video).
    Legacy61,
}

/// What the client would like encrypted; the host's offer decides together with it (protocol text §11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EncryptionWish {
    /// Encrypt video when the host supports it.
    pub video: bool,
    /// Encrypt audio; not gated by the host (protocol text §7.4).
    pub audio: bool,
}

/// Channel layout asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioRequest {
    /// 2, 6 or 8.
    pub channels: u32,
    /// High quality: the `Host`/URL rule for stereo, `AudioQuality` for surround (protocol text §5.4, §7.2).
    pub high_quality: bool,
    /// Milliseconds per Opus packet: 5 or 10.
    pub packet_duration_ms: u32,
    /// `localAudioPlayMode`: also play on the host's speakers.
    pub play_on_host: bool,
}

impl AudioRequest {
    /// WAVEFORMAT mask of `x-nv-audio.surround.channelMask`.
    pub fn channel_mask(self) -> u32 {
        match self.channels {
            6 => 0x3f,
            8 => 0x63f,
            _ => 0x3,
        }
    }

    /// `surroundAudioInfo` of `/launch`: `(mask << 16) | channels`.
    pub fn surround_info(self) -> u32 {
        (self.channel_mask() << 16) | self.channels
    }
}

impl Default for AudioRequest {
    fn default() -> Self {
        AudioRequest { channels: 2, high_quality: false, packet_duration_ms: 5, play_on_host: false }
    }
}

/// Everything a stream is asked for: goes into `/launch` and ANNOUNCE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRequest {
    /// Width of the picture in pixels.
    pub width: u32,
    /// Height of the picture in pixels.
    pub height: u32,
    /// `maxFPS`, frames per second.
    pub fps: u32,
    /// `clientRefreshRateX100`; 0 = unknown. 5994 with `fps` 60 asks for 59.94 Hz.
    pub refresh_x100: u32,
    /// The user's bitrate setting in kbit/s.
    pub bitrate_kbps: u32,
    /// Codec to announce.
    pub codec: Codec,
    /// Packet size before the client reduces it (multiple of 16, less 32 with video encryption).
    pub packet_size: u32,
    /// `videoEncoderSlicesPerFrame`.
    pub slices: u32,
    /// What to encrypt.
    pub encryption: EncryptionWish,
    /// Colour mode.
    pub csc: CscMode,
    /// `maxNumReferenceFrames`: 0 unlimited, 1 single.
    pub max_reference_frames: u32,
    /// `dynamicRangeMode`: 10-bit profile.
    pub hdr: bool,
    /// `chromaSamplingType`: 4:4:4.
    pub chroma_444: bool,
    /// Whether the decoder can use reference-frame invalidation (0x0301 instead of 0x0302 after a loss, if the host
    /// advertises it).
    pub reference_invalidation: bool,
    /// `minRequiredFecPackets`; stock clients send 2.
    pub min_fec_packets: u32,
    /// `qosTrafficType` non-zero, as stock clients send on a LAN.
    pub local_network: bool,
    /// `sops` of `/launch`.
    pub optimise_settings: bool,
    /// Stock clients move the pointer by (+1,+1) and (−1,−1) right after connecting (protocol text §9.2).
    pub wake_pointer: bool,
    /// `gcpersist`: virtual gamepads stay when the client leaves.
    pub keep_gamepads: bool,
    /// Sound.
    pub audio: AudioRequest,
}

impl StreamRequest {
    /// H.264, 10 Mbit/s, one slice, 1392-byte packets, Rec. 709 limited, no encryption of video or audio.
    pub fn new(width: u32, height: u32, fps: u32) -> Self {
        StreamRequest {
            width,
            height,
            fps,
            refresh_x100: fps * 100,
            bitrate_kbps: 10_000,
            codec: Codec::H264,
            packet_size: 1392,
            slices: 1,
            encryption: EncryptionWish::default(),
            csc: CscMode { space: ColourSpace::Rec709, full_range: false },
            max_reference_frames: 0,
            hdr: false,
            chroma_444: false,
            reference_invalidation: false,
            min_fec_packets: 2,
            local_network: true,
            optimise_settings: false,
            wake_pointer: true,
            keep_gamepads: false,
            audio: AudioRequest::default(),
        }
    }
}
