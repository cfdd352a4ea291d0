//! Just enough of the bitstreams to check protocol text §6.11: NAL units and OBUs, by type and place.
use std::ops::Range;

use crate::request::Codec;

/// A NAL unit or OBU inside a frame's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// `nal_unit_type` or `obu_type`.
    pub kind: u8,
    /// Where it lies, start code or OBU header included.
    pub range: Range<usize>,
}

/// Splits a frame into its units. `None` when it does not begin with a start code, or when OBU sizes do not fit.
pub fn units(codec: Codec, data: &[u8]) -> Option<Vec<Unit>> {
    match codec {
        Codec::H264 => nal_units(data, |byte| byte & 0x1f),
        Codec::Hevc => nal_units(data, |byte| byte >> 1 & 0x3f),
        Codec::Av1 => open_bitstream_units(data),
    }
}

/// Slices of a frame (H.264 and HEVC); 0 for AV1, which has tiles.
pub fn slice_count(codec: Codec, data: &[u8]) -> usize {
    let Some(units) = units(codec, data) else { return 0 };
    let is_slice = |kind: u8| match codec {
        Codec::H264 => (1..=5).contains(&kind),
        Codec::Hevc => kind < 32,
        Codec::Av1 => false,
    };
    units.iter().filter(|unit| is_slice(unit.kind)).count()
}

/// What a client finds at the head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The client would take it for an IDR (AV1: a sequence header is present).
    pub idr: bool,
    /// First broken rule of the framing, if any.
    pub broken: Option<&'static str>,
    /// Parameter sets end within the first packet.
    pub sets_in_first_packet: bool,
}

/// Looks at a frame's data of which `first` bytes travelled in the first packet.
pub fn judge(codec: Codec, data: &[u8], first: usize) -> Verdict {
    let Some(units) = units(codec, data) else {
        let broken = Some(match codec {
            Codec::Av1 => "the OBUs do not fill the temporal unit",
            _ => "the frame does not begin with a start code",
        });
        return Verdict { idr: false, broken, sets_in_first_packet: false };
    };
    match codec {
        Codec::H264 => judge_nal(&units, first, &[6, 9], &[7, 8], &[10, 11], |kind| kind == 5),
        Codec::Hevc => {
            judge_nal(&units, first, &[35, 39], &[32, 33, 34], &[36, 37], |kind| (16..=23).contains(&kind))
        }
        Codec::Av1 => judge_obu(&units),
    }
}

/// `skipped`: stripped at the head; `sets`: parameter sets in order; `ends`: end of sequence or stream.
fn judge_nal(
    units: &[Unit],
    first: usize,
    skipped: &[u8],
    sets: &[u8],
    ends: &[u8],
    is_key_slice: impl Fn(u8) -> bool,
) -> Verdict {
    let mut rest = units.iter().skip_while(|unit| skipped.contains(&unit.kind)).peekable();
    let idr = rest.peek().is_some_and(|unit| unit.kind == sets[0]);
    let mut broken = None;
    if units.iter().any(|unit| ends.contains(&unit.kind)) {
        broken = Some("an end-of-sequence or end-of-stream NAL unit");
    }
    let has_key_slice = units.iter().any(|unit| is_key_slice(unit.kind));
    let mut sets_in_first_packet = true;
    if idr {
        for set in sets {
            match units.iter().find(|unit| unit.kind == *set) {
                Some(unit) => sets_in_first_packet &= unit.range.end <= first,
                None => broken = Some("a parameter set is missing"),
            }
        }
        if !has_key_slice {
            broken = Some("parameter sets without a key picture");
        }
    } else if has_key_slice {
        broken = Some("a key picture without parameter sets in front");
    }
    Verdict { idr, broken, sets_in_first_packet }
}

fn judge_obu(units: &[Unit]) -> Verdict {
    const TEMPORAL_DELIMITER: u8 = 2;
    const SEQUENCE_HEADER: u8 = 1;
    const PADDING: u8 = 15;
    let idr = units.iter().any(|unit| unit.kind == SEQUENCE_HEADER);
    let delimiters = units.iter().filter(|unit| unit.kind == TEMPORAL_DELIMITER).count();
    let broken = if units.first().is_none_or(|unit| unit.kind != TEMPORAL_DELIMITER) || delimiters != 1 {
        Some("not exactly one temporal unit that begins with its delimiter")
    } else if units.iter().any(|unit| unit.kind == PADDING) {
        Some("a padding OBU")
    } else {
        None
    };
    Verdict { idr, broken, sets_in_first_packet: true }
}

fn nal_units(data: &[u8], kind: impl Fn(u8) -> u8) -> Option<Vec<Unit>> {
    let mut starts = Vec::new();
    let mut at = 0;
    while let Some(found) = data.get(at..).and_then(find_start_code) {
        let code = at + found;
        // A zero byte in front belongs to a four-byte start code.
        let begin = if code > 0 && data[code - 1] == 0 { code - 1 } else { code };
        if let Some(&head) = data.get(code + 3) {
            starts.push((begin, head));
        }
        at = code + 3;
    }
    if starts.first().is_none_or(|(begin, _)| *begin != 0) {
        return None;
    }
    let ends = starts.iter().skip(1).map(|(begin, _)| *begin).chain([data.len()]);
    let all =
        starts.iter().zip(ends).map(|((begin, head), end)| Unit { kind: kind(*head), range: *begin..end });
    Some(all.collect())
}

fn find_start_code(data: &[u8]) -> Option<usize> {
    data.windows(3).position(|window| window == [0, 0, 1])
}

fn open_bitstream_units(data: &[u8]) -> Option<Vec<Unit>> {
    let mut units = Vec::new();
    let mut at = 0;
    while at < data.len() {
        let head = data[at];
        let (kind, extension, has_size) = (head >> 3 & 0x0f, head & 4 != 0, head & 2 != 0);
        let mut body = at + 1 + usize::from(extension);
        let end = if has_size {
            let (size, length) = leb128(data.get(body..)?)?;
            body += length;
            body.checked_add(usize::try_from(size).ok()?)?
        } else {
            data.len()
        };
        if head & 0x80 != 0 || body > data.len() || end > data.len() {
            return None;
        }
        units.push(Unit { kind, range: at..end });
        at = end;
    }
    Some(units)
}

fn leb128(data: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (index, byte) in data.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_h264_key_picture_is_recognised_behind_aud_and_sei() {
        let data = [
            &[0, 0, 0, 1, 9, 0x10][..],
            &[0, 0, 1, 6, 5, 5],
            &[0, 0, 0, 1, 0x67, 1, 2],
            &[0, 0, 0, 1, 0x68, 3],
            &[0, 0, 1, 0x65, 9, 9, 0, 0, 1, 0x65, 8],
        ]
        .concat();
        assert_eq!(slice_count(Codec::H264, &data), 2);
        let verdict = judge(Codec::H264, &data, 25);
        assert_eq!(verdict, Verdict { idr: true, broken: None, sets_in_first_packet: true });
        assert!(!judge(Codec::H264, &data, 24).sets_in_first_packet);
    }

    #[test]
    fn broken_nal_streams_are_named() {
        assert!(judge(Codec::H264, &[1, 2, 3], 3).broken.is_some());
        assert!(judge(Codec::H264, &[0, 0, 1, 0x65, 1], 5).broken.is_some());
        assert!(judge(Codec::H264, &[0, 0, 1, 0x67, 1, 0, 0, 1, 0x65, 1], 10).broken.is_some());
        assert!(judge(Codec::H264, &[0, 0, 1, 0x41, 1, 0, 0, 1, 0x0b], 9).broken.is_some());
        assert_eq!(judge(Codec::H264, &[0, 0, 1, 0x41, 1], 5).broken, None);
    }

    #[test]
    fn hevc_needs_all_three_sets() {
        let unit = |kind: u8| vec![0, 0, 0, 1, kind << 1, 1, 7];
        let whole: Vec<u8> = [35, 32, 33, 34, 39, 19].into_iter().flat_map(unit).collect();
        assert_eq!(
            judge(Codec::Hevc, &whole, whole.len()),
            Verdict { idr: true, broken: None, sets_in_first_packet: true }
        );
        let short: Vec<u8> = [32, 33, 19].into_iter().flat_map(unit).collect();
        assert!(judge(Codec::Hevc, &short, short.len()).broken.is_some());
    }

    #[test]
    fn av1_is_one_temporal_unit() {
        let key = [0x12, 0, 0x0a, 2, 1, 2, 0x32, 3, 1, 2, 3];
        assert_eq!(
            judge(Codec::Av1, &key, 11),
            Verdict { idr: true, broken: None, sets_in_first_packet: true }
        );
        assert_eq!(units(Codec::Av1, &key).unwrap().len(), 3);
        assert!(judge(Codec::Av1, &key[2..], 9).broken.is_some());
        assert!(judge(Codec::Av1, &key[..10], 10).broken.is_some());
    }
}
