//! The little that a host must know about the bitstreams it sends: where units begin, which pictures stand alone, and
//! what has to be left out (protocol text §6.11). The input comes from our own encoders; nothing here panics on others.

use lumen_media::Codec;
use std::ops::Range;

/// H.264 unit types.
mod h264 {
    pub const IDR: u8 = 5;
    pub const SEI: u8 = 6;
    pub const SPS: u8 = 7;
    pub const PPS: u8 = 8;
}

/// HEVC unit types.
mod hevc {
    pub const IDR: std::ops::RangeInclusive<u8> = 19..=20;
    pub const VPS: u8 = 32;
    pub const SPS: u8 = 33;
    pub const PPS: u8 = 34;
    pub const SEI: std::ops::RangeInclusive<u8> = 39..=40;
}

/// AV1 unit types.
mod av1 {
    pub const SEQUENCE_HEADER: u8 = 1;
    pub const FRAME_HEADER: u8 = 3;
    pub const FRAME: u8 = 6;
}

/// One unit of an access unit: a NAL unit (H.264, HEVC) or an OBU (AV1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its type, as the codec numbers them.
    pub kind: u8,
    /// Where it lies, start code (H.264, HEVC) or header (AV1) included.
    pub range: Range<usize>,
    /// Where its own bytes begin: at the NAL header, or behind the OBU header.
    pub payload: usize,
}

/// The units of an access unit, in order. Bytes that belong to none are left out.
pub fn units(codec: Codec, data: &[u8]) -> Vec<Unit> {
    match codec {
        Codec::H264 | Codec::Hevc => nal_units(codec, data),
        Codec::Av1 => obus(data),
    }
}

/// Whether an access unit can be decoded without any other: an IDR with its parameter sets, or an AV1 key frame with
/// its sequence header.
pub fn stands_alone(codec: Codec, data: &[u8]) -> bool {
    let units = units(codec, data);
    let has = |kind: u8| units.iter().any(|unit| unit.kind == kind);
    match codec {
        Codec::H264 => has(h264::SPS) && has(h264::PPS) && has(h264::IDR),
        Codec::Hevc => {
            has(hevc::VPS)
                && has(hevc::SPS)
                && has(hevc::PPS)
                && units.iter().any(|unit| hevc::IDR.contains(&unit.kind))
        }
        Codec::Av1 => {
            has(av1::SEQUENCE_HEADER)
                && units.iter().any(|unit| is_key_frame(unit, data.get(unit.payload..).unwrap_or_default()))
        }
    }
}

/// The parameter sets of an access unit that stands alone, as containers want them: with start codes, or as an OBU.
pub fn parameter_sets(codec: Codec, data: &[u8]) -> Vec<u8> {
    let wanted = |kind: u8| match codec {
        Codec::H264 => matches!(kind, h264::SPS | h264::PPS),
        Codec::Hevc => matches!(kind, hevc::VPS | hevc::SPS | hevc::PPS),
        Codec::Av1 => kind == av1::SEQUENCE_HEADER,
    };
    units(codec, data)
        .into_iter()
        .filter(|unit| wanted(unit.kind))
        .flat_map(|unit| data[unit.range].to_vec())
        .collect()
}

/// Leaves out supplementary information (encoder versions and the like), so that parameter sets come first and lie in
/// the frame's first packet. Everything else stays as it is.
pub(crate) fn tidy(codec: Codec, data: Vec<u8>) -> Vec<u8> {
    let unwanted = |kind: u8| match codec {
        Codec::H264 => kind == h264::SEI,
        Codec::Hevc => hevc::SEI.contains(&kind),
        Codec::Av1 => false,
    };
    if codec == Codec::Av1 {
        return data;
    }
    let units = units(codec, &data);
    if !units.iter().any(|unit| unwanted(unit.kind)) {
        return data;
    }
    let mut kept = Vec::with_capacity(data.len());
    for unit in units.iter().filter(|unit| !unwanted(unit.kind)) {
        kept.extend_from_slice(&data[unit.range.clone()]);
    }
    kept
}

fn nal_units(codec: Codec, data: &[u8]) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    let mut at = 0;
    while let Some(found) = find_start_code(&data[at..]) {
        let code = at + found;
        let payload = code + 3;
        // A zero byte before the three of the code belongs to it.
        let start = if code > 0 && data[code - 1] == 0 { code - 1 } else { code };
        if let Some(last) = units.last_mut() {
            last.range.end = start;
        }
        let Some(&header) = data.get(payload) else { break };
        let kind = if codec == Codec::H264 { header & 0x1f } else { header >> 1 & 0x3f };
        units.push(Unit { kind, range: start..data.len(), payload });
        at = payload;
    }
    units
}

/// Position of the next `00 00 01`.
fn find_start_code(data: &[u8]) -> Option<usize> {
    // Bytes above 1 are by far the most frequent: three positions are ruled out by one look.
    let mut at = 2;
    while at < data.len() {
        match data[at] {
            0 => at += 1,
            1 if data[at - 1] == 0 && data[at - 2] == 0 => return Some(at - 2),
            _ => at += 3,
        }
    }
    None
}

fn obus(data: &[u8]) -> Vec<Unit> {
    let mut units = Vec::new();
    let mut at = 0;
    while let Some(&header) = data.get(at) {
        let kind = header >> 3 & 0x0f;
        let extension = usize::from(header >> 2 & 1);
        let has_size = header >> 1 & 1 == 1;
        let size_at = at + 1 + extension;
        let (payload, size) = if has_size {
            let Some((size, bytes)) = leb128(data.get(size_at..).unwrap_or_default()) else { break };
            (size_at + bytes, size)
        } else {
            (size_at, data.len().saturating_sub(size_at))
        };
        let Some(end) = payload.checked_add(size).filter(|&end| end <= data.len()) else { break };
        units.push(Unit { kind, range: at..end, payload });
        at = end;
    }
    units
}

fn leb128(data: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0u64;
    for (index, &byte) in data.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, index + 1));
        }
    }
    None
}

/// `show_existing_frame` 0 and `frame_type` KEY_FRAME; true for streams without reduced headers, as ours are.
fn is_key_frame(unit: &Unit, payload: &[u8]) -> bool {
    matches!(unit.kind, av1::FRAME | av1::FRAME_HEADER)
        && payload.first().is_some_and(|byte| byte >> 7 == 0 && byte >> 5 & 0b11 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDR: [u8; 31] = [
        0, 0, 0, 1, 0x06, 5, 1, 0, 0x80, // SEI
        0, 0, 0, 1, 0x67, 100, 0, 32, // SPS
        0, 0, 0, 1, 0x68, 0xee, // PPS
        0, 0, 1, 0x65, 0x88, 0, 0, 3, // IDR slice
    ];

    #[test]
    fn units_begin_at_their_start_codes() {
        let units = units(Codec::H264, &IDR);
        assert_eq!(units.iter().map(|unit| unit.kind).collect::<Vec<_>>(), [6, 7, 8, 5]);
        assert_eq!(units[1], Unit { kind: 7, range: 9..17, payload: 13 });
        assert_eq!(units[3].range, 23..31);
        assert!(stands_alone(Codec::H264, &IDR));
        assert!(!stands_alone(Codec::H264, &IDR[..23]));
        assert!(!stands_alone(Codec::Hevc, &IDR));
    }

    #[test]
    fn tidying_leaves_out_sei_only() {
        assert_eq!(tidy(Codec::H264, IDR.to_vec()), IDR[9..]);
        assert_eq!(parameter_sets(Codec::H264, &IDR), IDR[9..23]);
        assert_eq!(tidy(Codec::H264, IDR[9..].to_vec()), IDR[9..]);
    }

    #[test]
    fn av1_units_follow_their_sizes() {
        let delimiter = [0x12, 0];
        let header = [0x0a, 3, 1, 2, 3];
        let key = [0x32, 2, 0x10, 9];
        let unit = [&delimiter[..], &header, &key].concat();
        assert_eq!(units(Codec::Av1, &unit).iter().map(|unit| unit.kind).collect::<Vec<_>>(), [2, 1, 6]);
        assert!(stands_alone(Codec::Av1, &unit));
        assert_eq!(parameter_sets(Codec::Av1, &unit), header);
        let predicted = [&delimiter[..], &header, &[0x32, 2, 0x30, 9]].concat();
        assert!(!stands_alone(Codec::Av1, &predicted));
    }

    #[test]
    fn nonsense_does_no_harm() {
        let mut bits = 1u32;
        for length in 0..200 {
            let bytes: Vec<u8> = (0..length)
                .map(|_| {
                    bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    // Mostly zeros and ones, to hit start codes and sizes.
                    if bits >> 30 == 0 { (bits >> 16) as u8 } else { (bits >> 29 & 1) as u8 }
                })
                .collect();
            for codec in Codec::ALL {
                for unit in units(codec, &bytes) {
                    assert!(unit.range.end <= bytes.len() && unit.payload <= unit.range.end);
                }
                stands_alone(codec, &bytes);
                parameter_sets(codec, &bytes);
                tidy(codec, bytes.clone());
            }
        }
    }
}
