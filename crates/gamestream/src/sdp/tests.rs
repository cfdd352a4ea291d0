use super::*;
use crate::serverinfo::CodecModes;
use proptest::prelude::*;

fn features() -> HostFeatures {
    HostFeatures {
        codecs: CodecModes::H264 | CodecModes::HEVC | CodecModes::HEVC_10 | CodecModes::AV1,
        pen_touch: true,
        controller_touch: true,
        encryption_supported: Encryption::ALL,
        encryption_requested: Encryption::CONTROL_V2,
        encryption_required: Encryption::NONE,
        ref_pic_invalidation: true,
    }
}

/// The captured body of protocol text, Appendix C, with the trailing spaces that clients really send.
pub(crate) fn captured() -> String {
    let attributes = "x-ml-general.featureFlags:3
x-ss-general.encryptionEnabled:7
x-ss-video[0].chromaSamplingType:0
x-nv-video[0].clientViewportWd:1280
x-nv-video[0].clientViewportHt:720
x-nv-video[0].maxFPS:60
x-nv-video[0].packetSize:1360
x-nv-video[0].rateControlMode:4
x-nv-video[0].timeoutLengthMs:7000
x-nv-video[0].framesWithInvalidRefThreshold:0
x-nv-video[0].initialBitrateKbps:16000
x-nv-video[0].initialPeakBitrateKbps:16000
x-nv-vqos[0].bw.minimumBitrateKbps:16000
x-nv-vqos[0].bw.maximumBitrateKbps:16000
x-ml-video.configuredBitrateKbps:20000
x-nv-vqos[0].fec.enable:1
x-nv-vqos[0].videoQualityScoreUpdateTime:5000
x-nv-vqos[0].qosTrafficType:5
x-nv-aqos.qosTrafficType:4
x-nv-general.featureFlags:167
x-nv-general.useReliableUdp:13
x-nv-vqos[0].fec.minRequiredFecPackets:2
x-nv-vqos[0].bllFec.enable:0
x-nv-vqos[0].drc.enable:0
x-nv-general.enableRecoveryMode:0
x-nv-video[0].videoEncoderSlicesPerFrame:1
x-nv-clientSupportHevc:0
x-nv-vqos[0].bitStreamFormat:0
x-nv-video[0].dynamicRangeMode:0
x-nv-video[0].maxNumReferenceFrames:0
x-nv-video[0].clientRefreshRateX100:6000
x-nv-audio.surround.numChannels:2
x-nv-audio.surround.channelMask:3
x-nv-audio.surround.enable:0
x-nv-audio.surround.AudioQuality:0
x-nv-aqos.packetDuration:5
x-nv-video[0].encoderCscMode:2";
    let mut body = String::from("v=0\r\no=android 0 14 IN IPv4 127.0.0.1\r\ns=NVIDIA Streaming Client\r\n");
    for line in attributes.lines() {
        body += &format!("a={line} \r\n");
    }
    body + "t=0 0\r\nm=video 57998  \r\n"
}

fn parse(body: &str) -> Result<StreamParameters, SdpError> {
    StreamParameters::parse(body.as_bytes(), &features(), AudioQuality::Normal)
}

/// The captured body with the value of one attribute replaced.
fn with(name: &str, value: &str) -> String {
    without(name) + &format!("a={name}:{value} \r\n")
}

fn without(name: &str) -> String {
    let keep = |line: &&str| !line.starts_with(&format!("a={name}:"));
    captured().lines().filter(keep).map(|line| format!("{line}\r\n")).collect()
}

#[test]
fn describe_is_the_golden_body() {
    let features = HostFeatures { codecs: features().codecs | CodecModes::AV1_10, ..features() };
    assert_eq!(
        features.describe(),
        "a=x-ss-general.featureFlags:3\na=x-ss-general.encryptionSupported:7\n\
         a=x-ss-general.encryptionRequested:1\na=x-nv-video[0].refPicInvalidation:1\n\
         sprop-parameter-sets=AAAAAU\na=rtpmap:98 AV1/90000\na=fmtp:97 surround-params=21101\n\
         a=fmtp:97 surround-params=642012453\na=fmtp:97 surround-params=660012345\n\
         a=fmtp:97 surround-params=85301245673\na=fmtp:97 surround-params=88001234567\n"
    );
}

#[test]
fn describe_drops_what_cannot_be_honoured_and_offers_what_it_requests() {
    let features = HostFeatures {
        codecs: CodecModes::H264,
        pen_touch: false,
        controller_touch: true,
        encryption_supported: Encryption::CONTROL_V2,
        encryption_requested: Encryption::NONE,
        encryption_required: Encryption::VIDEO,
        ref_pic_invalidation: false,
    };
    let body = features.describe();
    assert!(body.starts_with(
        "a=x-ss-general.featureFlags:2\na=x-ss-general.encryptionSupported:3\n\
         a=x-ss-general.encryptionRequested:2\na=fmtp:97 surround-params=21101\n"
    ));
}

#[test]
fn the_captured_announce() {
    let parameters = parse(&captured()).unwrap();
    assert_eq!(
        parameters,
        StreamParameters {
            codec: VideoCodec::H264,
            width: 1280,
            height: 720,
            max_fps: 60,
            client_refresh_x100: 6000,
            packet_size: 1360,
            configured_kbps: Some(20_000),
            maximum_kbps: 16_000,
            slices: 1,
            max_reference_frames: 0,
            colour: ColourWish { space: ColourSpace::Bt709, full_range: false },
            ten_bit: false,
            chroma_444: false,
            intra_refresh: false,
            min_required_fec: 2,
            encryption: Encryption::ALL,
            control: ControlEncryption::V2,
            video_qos: true,
            client_features: ClientFeatures::from_bits(3),
            audio: AudioParameters {
                channels: 2,
                mask: 3,
                quality: AudioQuality::Normal,
                packet_ms: 5,
                encrypted: true,
                qos: true,
            },
        }
    );
    assert!(parameters.client_features.contains(ClientFeatures::SESSION_ID));
    assert_eq!(parameters.refresh_mhz(), 60_000);
}

#[test]
fn what_is_mandatory_is_named_when_missing() {
    for name in [
        "x-nv-video[0].clientViewportWd",
        "x-nv-video[0].clientViewportHt",
        "x-nv-video[0].maxFPS",
        "x-nv-video[0].packetSize",
        "x-nv-video[0].videoEncoderSlicesPerFrame",
        "x-nv-video[0].maxNumReferenceFrames",
        "x-nv-audio.surround.numChannels",
        "x-nv-audio.surround.channelMask",
        "x-nv-audio.surround.AudioQuality",
    ] {
        let error = parse(&without(name)).unwrap_err();
        assert_eq!(error, SdpError::Missing(name));
        assert_eq!(error.status(), 400);
        assert_eq!(parse(&with(name, "nonsense")), Err(SdpError::Invalid(name)));
        assert_eq!(parse(&with(name, "99999999999999")), Err(SdpError::Invalid(name)));
        assert_eq!(parse(&with(name, "-1")), Err(SdpError::Invalid(name)));
    }
}

#[test]
fn what_is_optional_has_its_default() {
    let keep = [
        "clientViewport",
        "maxFPS",
        "packetSize",
        "initialBitrateKbps",
        "SlicesPerFrame",
        "maxNumReferenceFrames",
        "numChannels",
        "channelMask",
        "AudioQuality",
    ];
    let body = captured();
    let body: Vec<&str> = body.lines().filter(|line| keep.iter().any(|key| line.contains(key))).collect();
    let parameters = parse(&body.join("\n")).unwrap();
    assert_eq!(parameters.colour, ColourWish { space: ColourSpace::Bt601, full_range: false });
    assert_eq!(parameters.control, ControlEncryption::Legacy);
    assert_eq!((parameters.audio.packet_ms, parameters.audio.encrypted), (5, false));
    assert_eq!((parameters.min_required_fec, parameters.client_refresh_x100), (0, 0));
    assert_eq!(parameters.client_features, ClientFeatures::default());
    assert_eq!((parameters.configured_kbps, parameters.encoder_kbps(20)), (None, 16_000));
}

#[test]
fn audio_is_encrypted_by_either_flag() {
    let encrypted = |body: String| parse(&body).unwrap().audio.encrypted;
    assert!(encrypted(with("x-ss-general.encryptionEnabled", "1")), "167 has 0x20");
    assert!(encrypted(with("x-nv-general.featureFlags", "135")), "7 has 4");
    let neither =
        with("x-nv-general.featureFlags", "135").replace("encryptionEnabled:7", "encryptionEnabled:3");
    assert!(!encrypted(neither));
}

#[test]
fn codecs_must_have_been_offered() {
    let codec = |value: &str| parse(&with("x-nv-vqos[0].bitStreamFormat", value)).map(|p| p.codec);
    assert_eq!(codec("1"), Ok(VideoCodec::Hevc));
    assert_eq!(codec("2"), Ok(VideoCodec::Av1));
    assert_eq!(codec("3"), Err(SdpError::CodecNotOffered));
    assert_eq!(parse(&with("x-nv-video[0].dynamicRangeMode", "1")), Err(SdpError::CodecNotOffered));
    assert_eq!(parse(&with("x-ss-video[0].chromaSamplingType", "1")), Err(SdpError::CodecNotOffered));
    let hevc_10 =
        with("x-nv-video[0].dynamicRangeMode", "1").replace("bitStreamFormat:0", "bitStreamFormat:1");
    assert!(parse(&hevc_10).unwrap().ten_bit);
}

#[test]
fn required_encryption_is_enforced() {
    let required = |encryption_required, body: &str| {
        let features = HostFeatures { encryption_required, ..features() };
        StreamParameters::parse(body.as_bytes(), &features, AudioQuality::High).map(|_| ())
    };
    let plain_video = with("x-ss-general.encryptionEnabled", "1");
    let error = required(Encryption::VIDEO, &plain_video).unwrap_err();
    assert_eq!((error.clone(), error.status()), (SdpError::EncryptionRequired, 403));
    assert_eq!(required(Encryption::AUDIO, &plain_video), Ok(()), "by the older flag");
    assert_eq!(required(Encryption::ALL, &captured()), Ok(()));
}

#[test]
fn colour_modes() {
    let colour = |value: &str| parse(&with("x-nv-video[0].encoderCscMode", value)).unwrap().colour;
    let wish = |space, full_range| ColourWish { space, full_range };
    assert_eq!(colour("2"), wish(ColourSpace::Bt709, false));
    assert_eq!(colour("3"), wish(ColourSpace::Bt709, true));
    assert_eq!(colour("5"), wish(ColourSpace::Bt2020, true));
    assert_eq!(colour("9"), wish(ColourSpace::Unknown(4), true));
}

#[test]
fn fractional_rates_only_near_the_asked_one() {
    let rate = |fps: &str, display: &str| {
        let body = with("x-nv-video[0].maxFPS", fps);
        let body = body.replace("clientRefreshRateX100:6000", &format!("clientRefreshRateX100:{display}"));
        parse(&body).unwrap().refresh_mhz()
    };
    assert_eq!(rate("60", "5994"), 59_940);
    assert_eq!(rate("60", "5940"), 59_400);
    assert_eq!(rate("60", "5939"), 60_000);
    assert_eq!(rate("60", "12000"), 60_000);
    assert_eq!(rate("60", "0"), 60_000);
    assert_eq!(rate("120", "11988"), 119_880);
    assert_eq!(rate("59940", "0"), 59_940);
    assert_eq!(rate("4294967295", "4294967295"), u32::MAX);
}

#[test]
fn packet_sizes() {
    let size = |value: &str| parse(&with("x-nv-video[0].packetSize", value)).map(|p| p.packet_size);
    assert_eq!(size("256"), Ok(256));
    assert_eq!(size("1456"), Ok(1456));
    for bad in ["64", "240", "0", "1000", "1457", "1472", "65600"] {
        assert_eq!(size(bad), Err(SdpError::Invalid("x-nv-video[0].packetSize")), "{bad}");
    }
}

#[test]
fn the_encoder_leaves_room_for_the_rest() {
    let stereo = parse(&captured()).unwrap();
    // 20000 − 20 % = 16000; − 2 × 96 = 15808; − 500.
    assert_eq!(stereo.encoder_kbps(20), 15_308);
    assert_eq!(stereo.encoder_kbps(90), 20_000 - 192 - 500, "no share for FEC above 80 %");
    let mut surround = stereo.clone();
    surround.configured_kbps = Some(2_000);
    surround.audio.channels = 8;
    surround.audio.quality = AudioQuality::High;
    // 1600; 2048 for sound is capped at a fifth; a tenth for the rest.
    assert_eq!(surround.encoder_kbps(20), 1_600 - 320 - 128);
    surround.configured_kbps = Some(u32::MAX);
    assert_eq!(surround.encoder_kbps(0), u32::MAX - 2_048 - 500);
}

#[test]
fn stereo_quality_comes_from_outside_and_surround_quality_from_the_body() {
    let quality = |body: &str, stereo| {
        StreamParameters::parse(body.as_bytes(), &features(), stereo).unwrap().audio.quality
    };
    assert_eq!(quality(&captured(), AudioQuality::High), AudioQuality::High);
    let surround = with("x-nv-audio.surround.numChannels", "6");
    assert_eq!(quality(&surround, AudioQuality::High), AudioQuality::Normal);
    let high = surround.replace("AudioQuality:0", "AudioQuality:1");
    assert_eq!(quality(&high, AudioQuality::Normal), AudioQuality::High);
}

#[test]
fn hostile_bodies() {
    assert_eq!(parse(&with("x-nv-audio.surround.numChannels", "3")).unwrap_err().status(), 400);
    assert_eq!(parse(&with("x-nv-aqos.packetDuration", "7")).unwrap_err().status(), 400);
    assert_eq!(parse(&with("x-nv-general.useReliableUdp", "1")).unwrap_err().status(), 400);
    assert_eq!(parse(&with("x-nv-vqos[0].fec.minRequiredFecPackets", "256")).unwrap_err().status(), 400);
    assert_eq!(parse(&with("x-nv-video[0].maxFPS", "0")).unwrap_err().status(), 400);
    let many: String = (0..300).map(|n| format!("a=x{n}:1\n")).collect();
    assert_eq!(parse(&many), Err(SdpError::Malformed));
    assert_eq!(
        StreamParameters::parse(&[0xff, 0xfe], &features(), AudioQuality::High),
        Err(SdpError::Malformed)
    );
}

proptest! {
    #[test]
    fn any_numbers_are_answered_without_overflow(width: u32, fps in 1u32.., refresh: u32, kbps: u32, fec in 0u32..300) {
        let body = captured()
            .replace("clientViewportWd:1280", &format!("clientViewportWd:{width}"))
            .replace("maxFPS:60", &format!("maxFPS:{fps}"))
            .replace("RateX100:6000", &format!("RateX100:{refresh}"))
            .replace("configuredBitrateKbps:20000", &format!("configuredBitrateKbps:{kbps}"));
        let parameters = parse(&body).unwrap();
        prop_assert!(parameters.refresh_mhz() > 0);
        prop_assert!(kbps == 0 || parameters.encoder_kbps(fec) <= kbps);
    }
}
