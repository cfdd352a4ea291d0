//! Every encoder that works here, checked by FFmpeg's decoders and by reading the parameter sets.
#![allow(missing_docs, reason = "tests have no API")]

mod content;
mod decode;
mod files;
mod sps;

use decode::{decode, sample};
use ffmpeg_next::util::color;
use lumen_encode::{
    Converter, EncodeError, EncodedFrame, Encoder, EncoderConfig, Planes, PlanesPool, bitstream,
};
use lumen_media::{Codec, Colour, Matrix, Range};
use std::sync::Arc;

const COLOURS: [Colour; 4] = [
    Colour { matrix: Matrix::Bt601, range: Range::Limited },
    Colour { matrix: Matrix::Bt601, range: Range::Full },
    Colour { matrix: Matrix::Bt709, range: Range::Limited },
    Colour { matrix: Matrix::Bt709, range: Range::Full },
];

/// Opens `config` and encodes one picture, or says why this codec is left out. H.264 and HEVC must work everywhere that
/// the tests run; AV1 depends on the library's version.
fn works(codec: Codec) -> bool {
    let config = EncoderConfig::new(codec, 320, 180, 60_000, 2_000_000);
    let outcome = Encoder::open(&config).and_then(|mut encoder| {
        let pictures = pictures(320, 180, Colour::BT709_LIMITED, 1);
        encoder.encode(&pictures[0], true).map(drop)
    });
    match (codec, outcome) {
        (_, Ok(())) => true,
        (
            Codec::Av1,
            Err(
                cause @ (EncodeError::NoEncoder { .. }
                | EncodeError::TooOld { .. }
                | EncodeError::Withheld { .. }
                | EncodeError::KeyFrameIgnored { .. }),
            ),
        ) => {
            println!("left out: {cause}");
            false
        }
        (codec, Err(cause)) => panic!("{codec}: {cause}"),
    }
}

fn working() -> Vec<Codec> {
    Codec::ALL.into_iter().filter(|&codec| works(codec)).collect()
}

fn pictures(width: u32, height: u32, colour: Colour, count: u64) -> Vec<Arc<Planes>> {
    let pool = PlanesPool::new(width, height);
    let converter = Converter::new(width, height, colour);
    (0..count)
        .map(|number| {
            let mut planes = pool.acquire();
            converter.convert(&content::bars(width, height, number), &mut planes).expect("sizes fit");
            Arc::new(planes)
        })
        .collect()
}

/// Encodes `count` pictures; those in `forced` as IDR.
fn encode(config: &EncoderConfig, count: u64, forced: &[usize]) -> Vec<EncodedFrame> {
    let mut encoder = Encoder::open(config).expect("opens");
    pictures(config.width, config.height, config.colour, count)
        .iter()
        .enumerate()
        .map(|(number, planes)| encoder.encode(planes, forced.contains(&number)).expect("encodes"))
        .collect()
}

fn data(frames: &[EncodedFrame]) -> Vec<&[u8]> {
    frames.iter().map(|frame| frame.data.as_slice()).collect()
}

fn kinds(codec: Codec, frame: &EncodedFrame) -> Vec<u8> {
    bitstream::units(codec, &frame.data).into_iter().map(|unit| unit.kind).collect()
}

fn unit(codec: Codec, frame: &EncodedFrame, kind: u8) -> Vec<u8> {
    let units = bitstream::units(codec, &frame.data);
    let unit = units.into_iter().find(|unit| unit.kind == kind).expect("a unit of that type");
    frame.data[unit.payload..unit.range.end].to_vec()
}

#[test]
fn bars_keep_their_colours_in_every_matrix_and_range() {
    for codec in working() {
        for colour in COLOURS {
            let config = EncoderConfig { colour, ..EncoderConfig::new(codec, 640, 360, 30_000, 4_000_000) };
            let frames = encode(&config, 6, &[]);
            let decoded = decode(codec, &data(&frames));
            assert_eq!(decoded.len(), frames.len());
            for picture in [&decoded[0], &decoded[5]] {
                assert_eq!((picture.width(), picture.height()), (640, 360));
                let (space, primaries, transfer) = match colour.matrix {
                    Matrix::Bt601 => (
                        color::Space::SMPTE170M,
                        color::Primaries::SMPTE170M,
                        color::TransferCharacteristic::SMPTE170M,
                    ),
                    Matrix::Bt709 => {
                        (color::Space::BT709, color::Primaries::BT709, color::TransferCharacteristic::BT709)
                    }
                };
                assert_eq!(picture.color_space(), space);
                assert_eq!(picture.color_primaries(), primaries);
                assert_eq!(picture.color_transfer_characteristic(), transfer);
                let range = match colour.range {
                    Range::Limited => color::Range::MPEG,
                    Range::Full => color::Range::JPEG,
                };
                assert_eq!(picture.color_range(), range);
                for (bar, rgb) in content::BARS.into_iter().enumerate() {
                    let got = sample(picture, 80 * bar + 40, 90);
                    for (got, expected) in got.into_iter().zip(content::expected(colour, rgb)) {
                        let off = (f64::from(got) - expected).abs();
                        assert!(off <= 3.0, "{codec} {colour:?} {rgb:?}: {got} instead of {expected}");
                    }
                }
            }
        }
    }
}

#[test]
fn idrs_come_first_and_on_demand_and_stand_alone() {
    for codec in working() {
        let frames = encode(&EncoderConfig::new(codec, 640, 360, 60_000, 3_000_000), 30, &[7, 8, 20]);
        let idrs: Vec<usize> = (0..30).filter(|&number| frames[number].idr).collect();
        assert_eq!(idrs, [0, 7, 8, 20], "{codec}");
        let first_units: &[u8] = match codec {
            Codec::H264 => &[7, 8, 5],
            Codec::Hevc => &[32, 33, 34],
            Codec::Av1 => &[2, 1],
        };
        for &number in &idrs {
            assert!(kinds(codec, &frames[number]).starts_with(first_units), "{codec}");
        }
        // A decoder that joins at an IDR decodes everything from there on, exactly as one that saw it all.
        let whole = decode(codec, &data(&frames));
        let joined = decode(codec, &data(&frames[20..]));
        assert_eq!((whole.len(), joined.len()), (30, 10), "{codec}");
        for (late, early) in joined.iter().zip(&whole[20..]) {
            assert_eq!(late.data(0), early.data(0), "{codec}");
        }
    }
}

#[test]
fn predicted_h264_frames_are_slices_and_nothing_else() {
    let frames = encode(&EncoderConfig::new(Codec::H264, 640, 360, 60_000, 3_000_000), 10, &[]);
    for frame in &frames[1..] {
        assert!(kinds(Codec::H264, frame).iter().all(|&kind| kind == 1), "{:?}", kinds(Codec::H264, frame));
    }
}

#[test]
fn h264_pictures_have_the_slices_that_were_asked_for() {
    for slices in [1u32, 2, 3, 4, 8] {
        let config = EncoderConfig {
            slices,
            threads: 1,
            ..EncoderConfig::new(Codec::H264, 1280, 720, 60_000, 8_000_000)
        };
        let frames = encode(&config, 3, &[2]);
        for (number, slice) in [(0, 5), (1, 1), (2, 5)] {
            let count = kinds(Codec::H264, &frames[number]).iter().filter(|&&kind| kind == slice).count();
            assert_eq!(count, slices as usize, "frame {number}");
        }
    }
}

#[test]
fn the_h264_sps_says_what_decoders_need_to_know() {
    for colour in COLOURS {
        for max_ref_frames in [0, 1] {
            let config = EncoderConfig {
                colour,
                max_ref_frames,
                ..EncoderConfig::new(Codec::H264, 1280, 720, 60_000, 8_000_000)
            };
            let sps = sps::h264(&unit(Codec::H264, &encode(&config, 1, &[])[0], 7));
            let family = if colour.matrix == Matrix::Bt601 { 6 } else { 1 };
            let expected = sps::H264 {
                profile: 100,
                level: 32,
                refs: 1,
                colour: sps::VuiColour {
                    full_range: colour.range == Range::Full,
                    description: (family, family, family),
                },
                max_reorder: 0,
                max_buffering: 1,
            };
            assert_eq!(sps, expected);
        }
    }
}

#[test]
fn the_hevc_sps_says_what_decoders_need_to_know() {
    for colour in COLOURS {
        let config = EncoderConfig { colour, ..EncoderConfig::new(Codec::Hevc, 640, 360, 60_000, 8_000_000) };
        let sps = sps::hevc(&unit(Codec::Hevc, &encode(&config, 1, &[])[0], 33));
        let family = if colour.matrix == Matrix::Bt601 { 6 } else { 1 };
        assert_eq!((sps.profile, sps.reorder), (1, 0));
        // 0 means no limit, 1 a limit of no picture at all: x265 writes the stricter one.
        assert!(sps.latency_increase_plus1 <= 1, "{sps:?}");
        assert!(sps.buffering <= 3, "{sps:?}");
        let full_range = colour.range == Range::Full;
        assert_eq!(sps.colour, sps::VuiColour { full_range, description: (family, family, family) });
    }
}

#[test]
fn odd_sizes_are_encoded_one_pixel_larger() {
    for codec in working() {
        let frames = encode(&EncoderConfig::new(codec, 1111, 667, 60_000, 5_000_000), 2, &[]);
        let decoded = decode(codec, &data(&frames));
        assert_eq!((decoded[1].width(), decoded[1].height()), (1112, 668), "{codec}");
        let expected = content::expected(Colour::BT709_LIMITED, content::BARS[7]);
        for (got, expected) in sample(&decoded[1], 1111, 100).into_iter().zip(expected) {
            assert!((f64::from(got) - expected).abs() <= 3.0, "{codec}: {got} instead of {expected}");
        }
    }
}

#[test]
fn bitrate_and_buffer_are_kept_and_can_change_on_the_way() {
    let config = EncoderConfig::new(Codec::H264, 1280, 720, 60_000, 4_000_000);
    let mut encoder = Encoder::open(&config).expect("opens");
    let pictures = pictures(1280, 720, config.colour, 30);
    let bytes = |encoder: &mut Encoder, count: usize| -> usize {
        (0..count)
            .map(|number| encoder.encode(&pictures[number * 7 % 30], false).expect("encodes").data.len())
            .sum()
    };
    bytes(&mut encoder, 10);
    let before = bytes(&mut encoder, 60);
    encoder.set_bitrate(1_000_000).expect("x264 changes while it runs");
    bytes(&mut encoder, 10);
    let after = bytes(&mut encoder, 60);
    assert!(before <= 525_000, "a second at 4 Mbit/s took {before} bytes");
    assert!(after <= 132_000, "a second at 1 Mbit/s took {after} bytes");
    assert!(before > 2 * after, "{before} against {after}");
    assert_eq!(encoder.config().bitrate_bps, 1_000_000);
    assert!(encoder.set_bitrate(0).is_err());
}

#[test]
fn a_new_bitrate_for_hevc_comes_with_an_idr() {
    let config = EncoderConfig::new(Codec::Hevc, 320, 180, 60_000, 2_000_000);
    let mut encoder = Encoder::open(&config).expect("opens");
    let picture = &pictures(320, 180, config.colour, 1)[0];
    assert!(encoder.encode(picture, false).expect("encodes").idr);
    assert!(!encoder.encode(picture, false).expect("encodes").idr);
    encoder.set_bitrate(1_000_000).expect("opens again");
    assert!(encoder.encode(picture, false).expect("encodes").idr);
}

#[test]
fn a_static_picture_settles_to_almost_nothing() {
    let config = EncoderConfig::new(Codec::H264, 1280, 720, 60_000, 10_000_000);
    let mut encoder = Encoder::open(&config).expect("opens");
    let picture = &pictures(1280, 720, config.colour, 1)[0];
    let sizes: Vec<_> =
        (0..60).map(|_| encoder.encode(picture, false).expect("encodes").data.len()).collect();
    assert!(sizes[50..].iter().all(|&size| size < 1500), "{sizes:?}");
}

#[test]
fn planes_come_back_to_their_pool_when_the_encoder_is_done() {
    for codec in working() {
        let pictures = pictures(320, 180, Colour::BT709_LIMITED, 3);
        let mut encoder =
            Encoder::open(&EncoderConfig::new(codec, 320, 180, 60_000, 2_000_000)).expect("opens");
        for planes in &pictures {
            encoder.encode(planes, false).expect("encodes");
        }
        assert_eq!(Arc::strong_count(&pictures[0]), 1, "{codec} holds no more than the last picture");
        drop(encoder);
        assert!(pictures.iter().all(|planes| Arc::strong_count(planes) == 1), "{codec}");
    }
}

#[test]
fn bad_settings_are_refused_by_name() {
    let good = EncoderConfig::new(Codec::H264, 1280, 720, 60_000, 10_000_000);
    let bad = [
        ("width", EncoderConfig { width: 0, ..good.clone() }),
        ("width", EncoderConfig { width: u32::MAX, ..good.clone() }),
        ("height", EncoderConfig { height: 15, ..good.clone() }),
        ("refresh_mhz", EncoderConfig { refresh_mhz: 0, ..good.clone() }),
        ("refresh_mhz", EncoderConfig { refresh_mhz: u32::MAX, ..good.clone() }),
        ("bitrate_bps", EncoderConfig { bitrate_bps: 0, ..good.clone() }),
        ("bitrate_bps", EncoderConfig { bitrate_bps: u64::MAX, ..good.clone() }),
        ("slices", EncoderConfig { slices: 65, ..good.clone() }),
        ("max_ref_frames", EncoderConfig { max_ref_frames: 17, ..good.clone() }),
        ("threads", EncoderConfig { threads: 1000, ..good.clone() }),
        ("qp_floor", EncoderConfig { qp_floor: 52, ..good.clone() }),
        ("vbv_frames", EncoderConfig { vbv_frames: f32::NAN, ..good.clone() }),
        ("vbv_frames", EncoderConfig { vbv_frames: 0.0, ..good }),
    ];
    for (field, config) in bad {
        match Encoder::open(&config) {
            Err(EncodeError::BadConfig { name, .. }) => assert_eq!(name, field),
            Err(other) => panic!("{field}: {other}"),
            Ok(_) => panic!("{field} was accepted: {config:?}"),
        }
    }
}

#[test]
fn settings_at_the_limits_work() {
    for (width, height, refresh_mhz, bitrate_bps, slices) in [
        (320, 180, 480_000, 10_000, 64),
        (64, 64, 10_000, 1_000_000_000, 64),
        (1364, 768, 59_940, 500_000, 0),
    ] {
        for codec in [Codec::H264, Codec::Hevc] {
            let config = EncoderConfig {
                slices,
                ..EncoderConfig::new(codec, width, height, refresh_mhz, bitrate_bps)
            };
            let frames = encode(&config, 3, &[]);
            assert_eq!(decode(codec, &data(&frames)).len(), 3, "{config:?}");
        }
    }
}

#[test]
fn a_picture_of_another_size_is_refused() {
    let config = EncoderConfig::new(Codec::H264, 1280, 720, 60_000, 10_000_000);
    let mut encoder = Encoder::open(&config).expect("opens");
    let other = Arc::new(PlanesPool::new(1280, 718).acquire());
    assert!(matches!(encoder.encode(&other, false), Err(EncodeError::WrongSize { .. })));
}
