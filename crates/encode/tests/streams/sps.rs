//! As much of an H.264 and an HEVC sequence parameter set as the protocol text §6.11 says something about.

/// Bits of a parameter set, emulation prevention removed.
pub struct Bits {
    bytes: Vec<u8>,
    at: usize,
}

impl Bits {
    /// `nal` begins at the NAL header.
    pub fn new(nal: &[u8], header: usize) -> Self {
        let mut bytes: Vec<u8> = Vec::new();
        let mut zeros = 0;
        for &byte in &nal[header..] {
            if zeros >= 2 && byte == 3 {
                zeros = 0;
                continue;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            bytes.push(byte);
        }
        Self { bytes, at: 0 }
    }

    pub fn u(&mut self, count: usize) -> u32 {
        (0..count).fold(0, |value, _| {
            let bit = self.bytes[self.at / 8] >> (7 - self.at % 8) & 1;
            self.at += 1;
            value << 1 | u32::from(bit)
        })
    }

    pub fn flag(&mut self) -> bool {
        self.u(1) == 1
    }

    /// Passes over `count` bits.
    pub fn skip(&mut self, count: usize) {
        self.at += count;
    }

    /// Passes over `count` values.
    pub fn skip_ue(&mut self, count: usize) {
        for _ in 0..count {
            self.ue();
        }
    }

    pub fn ue(&mut self) -> u32 {
        let mut zeros = 0;
        while !self.flag() {
            zeros += 1;
        }
        (1 << zeros) - 1 + self.u(zeros)
    }
}

/// Colour description of a VUI.
#[derive(Debug, PartialEq, Eq)]
pub struct VuiColour {
    pub full_range: bool,
    /// Primaries, transfer, matrix.
    pub description: (u32, u32, u32),
}

#[derive(Debug, PartialEq, Eq)]
pub struct H264 {
    pub profile: u32,
    pub level: u32,
    pub refs: u32,
    pub colour: VuiColour,
    pub max_reorder: u32,
    pub max_buffering: u32,
}

fn vui_start(bits: &mut Bits) -> VuiColour {
    if bits.flag() && bits.u(8) == 255 {
        bits.u(32);
    }
    if bits.flag() {
        bits.flag();
    }
    assert!(bits.flag(), "video_signal_type_present_flag");
    bits.u(3);
    let full_range = bits.flag();
    assert!(bits.flag(), "colour_description_present_flag");
    let colour = VuiColour { full_range, description: (bits.u(8), bits.u(8), bits.u(8)) };
    if bits.flag() {
        assert_eq!((bits.ue(), bits.ue()), (0, 0), "chroma siting is left");
    }
    colour
}

/// Reads an H.264 SPS with a VUI that has bitstream restrictions; panics on anything else.
pub fn h264(nal: &[u8]) -> H264 {
    let mut bits = Bits::new(nal, 1);
    let profile = bits.u(8);
    bits.u(8);
    let level = bits.u(8);
    bits.ue();
    if profile >= 100 {
        assert_eq!(bits.ue(), 1, "4:2:0");
        assert_eq!((bits.ue(), bits.ue()), (0, 0), "eight bits");
        bits.flag();
        assert!(!bits.flag(), "no scaling matrix");
    }
    bits.ue();
    match bits.ue() {
        0 => bits.skip_ue(1),
        2 => {}
        other => panic!("pic_order_cnt_type {other}"),
    }
    let refs = bits.ue();
    bits.flag();
    bits.skip_ue(2);
    assert!(bits.flag(), "frame_mbs_only");
    bits.flag();
    if bits.flag() {
        bits.skip_ue(4);
    }
    assert!(bits.flag(), "vui_parameters_present_flag");
    let colour = vui_start(&mut bits);
    if bits.flag() {
        bits.skip(65);
    }
    assert!(!bits.flag() && !bits.flag(), "no HRD");
    bits.flag();
    assert!(bits.flag(), "bitstream_restriction_flag");
    bits.flag();
    bits.skip_ue(4);
    H264 { profile, level, refs, colour, max_reorder: bits.ue(), max_buffering: bits.ue() }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Hevc {
    pub profile: u32,
    pub buffering: u32,
    pub reorder: u32,
    pub latency_increase_plus1: u32,
    pub colour: VuiColour,
}

/// Reads an HEVC SPS as x265 writes it; panics on what it does not use.
pub fn hevc(nal: &[u8]) -> Hevc {
    let mut bits = Bits::new(nal, 2);
    bits.u(4);
    assert_eq!(bits.u(3), 0, "one sub-layer");
    bits.flag();
    bits.u(3);
    let profile = bits.u(5);
    bits.skip(88);
    bits.ue();
    assert_eq!(bits.ue(), 1, "4:2:0");
    bits.skip_ue(2);
    if bits.flag() {
        bits.skip_ue(4);
    }
    assert_eq!((bits.ue(), bits.ue()), (0, 0), "eight bits");
    let poc_bits = bits.ue() + 4;
    bits.flag();
    let (buffering, reorder, latency_increase_plus1) = (bits.ue() + 1, bits.ue(), bits.ue());
    bits.skip_ue(6);
    assert!(!bits.flag(), "no scaling lists");
    bits.skip(2);
    assert!(!bits.flag(), "no PCM");
    let sets = bits.ue();
    for index in 0..sets {
        short_term_set(&mut bits, index);
    }
    if bits.flag() {
        for _ in 0..bits.ue() {
            bits.u(poc_bits as usize);
            bits.flag();
        }
    }
    bits.skip(2);
    assert!(bits.flag(), "vui_parameters_present_flag");
    let colour = vui_start(&mut bits);
    Hevc { profile, buffering, reorder, latency_increase_plus1, colour }
}

fn short_term_set(bits: &mut Bits, index: u32) {
    if index > 0 {
        assert!(!bits.flag(), "no inter-predicted set");
    }
    let (negative, positive) = (bits.ue(), bits.ue());
    for _ in 0..negative + positive {
        bits.skip_ue(1);
        bits.skip(1);
    }
}
