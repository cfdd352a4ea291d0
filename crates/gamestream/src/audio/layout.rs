//! How many channels travel in how many Opus streams, and how clients are told (protocol text §7.2).

use std::fmt;

/// Time that one Opus packet covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PacketDuration {
    /// 5 ms, the usual one.
    FiveMs,
    /// 10 ms, which clients on slow networks ask for.
    TenMs,
}

impl PacketDuration {
    /// From the milliseconds that the client announced; none if it is neither 5 nor 10.
    pub fn from_millis(millis: u32) -> Option<Self> {
        match millis {
            5 => Some(Self::FiveMs),
            10 => Some(Self::TenMs),
            _ => None,
        }
    }

    /// Milliseconds, the unit of audio's RTP timestamps.
    pub fn millis(self) -> u32 {
        match self {
            Self::FiveMs => 5,
            Self::TenMs => 10,
        }
    }

    /// Samples per channel at 48 kHz.
    pub fn samples(self) -> usize {
        48 * self.millis() as usize
    }
}

/// Which of the two bitrates of a channel count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quality {
    /// Coupled streams.
    Normal,
    /// The client asked for high quality: for surround every channel is a stream of its own.
    High,
}

/// An Opus multistream layout at 48 kHz, hard constant bitrate: packets of one length are what audio's FEC needs.
///
/// Input channels come in the order FL FR FC LFE BL BR SL SR, as many as there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpusLayout {
    /// 2, 6 or 8.
    pub channels: u8,
    /// Normal or high.
    pub quality: Quality,
    /// Opus streams.
    pub streams: u8,
    /// How many of them are stereo; they come first.
    pub coupled_streams: u8,
    /// Bits per second.
    pub bitrate: u32,
    mapping: [u8; 8],
}

impl OpusLayout {
    /// Stereo.
    pub const STEREO: OpusLayout = Self::identity(2, Quality::Normal, 1, 1, 96_000);
    /// Stereo at high quality.
    pub const STEREO_HIGH: OpusLayout = Self::identity(2, Quality::High, 1, 1, 512_000);
    /// 5.1.
    pub const SURROUND_51: OpusLayout = Self::identity(6, Quality::Normal, 4, 2, 256_000);
    /// 5.1 at high quality.
    pub const SURROUND_51_HIGH: OpusLayout = Self::identity(6, Quality::High, 6, 0, 1_536_000);
    /// 7.1.
    pub const SURROUND_71: OpusLayout = Self::identity(8, Quality::Normal, 5, 3, 450_000);
    /// 7.1 at high quality.
    pub const SURROUND_71_HIGH: OpusLayout = Self::identity(8, Quality::High, 8, 0, 2_048_000);

    /// Every layout.
    pub const ALL: [OpusLayout; 6] = [
        Self::STEREO,
        Self::STEREO_HIGH,
        Self::SURROUND_51,
        Self::SURROUND_51_HIGH,
        Self::SURROUND_71,
        Self::SURROUND_71_HIGH,
    ];

    /// The layouts whose parameters stand in DESCRIBE, in the order of the lines: for each
    /// channel count normal before high.
    pub const ADVERTISED: [OpusLayout; 5] =
        [Self::STEREO, Self::SURROUND_51, Self::SURROUND_51_HIGH, Self::SURROUND_71, Self::SURROUND_71_HIGH];

    const fn identity(
        channels: u8,
        quality: Quality,
        streams: u8,
        coupled_streams: u8,
        bitrate: u32,
    ) -> Self {
        Self { channels, quality, streams, coupled_streams, bitrate, mapping: [0, 1, 2, 3, 4, 5, 6, 7] }
    }

    /// The layout of a channel count and quality; none for other counts than 2, 6 and 8.
    pub fn select(channels: u32, quality: Quality) -> Option<&'static OpusLayout> {
        const { &Self::ALL }
            .iter()
            .find(|layout| u32::from(layout.channels) == channels && layout.quality == quality)
    }

    /// The same layout with another assignment of input channels to streams; none if it is not a permutation of them.
    pub fn with_mapping(mut self, mapping: &[u8]) -> Option<Self> {
        let channels = usize::from(self.channels);
        if mapping.len() != channels || !(0..self.channels).all(|channel| mapping.contains(&channel)) {
            return None;
        }
        self.mapping[..channels].copy_from_slice(mapping);
        Some(self)
    }

    /// Input channel → channel of the streams, as libopus takes it.
    pub fn mapping(&self) -> &[u8] {
        &self.mapping[..usize::from(self.channels)]
    }

    /// What DESCRIBE says about this layout.
    pub fn surround_params(&self) -> SurroundParams {
        SurroundParams(*self)
    }

    /// Bytes of each Opus packet at the constant bitrate.
    pub fn packet_bytes(&self, duration: PacketDuration) -> usize {
        (u64::from(self.bitrate) * u64::from(duration.millis()) / 8000) as usize
    }

    /// Speakers as the bits of WAVEFORMATEXTENSIBLE.
    pub fn channel_mask(&self) -> u16 {
        match self.channels {
            2 => 0x3,
            6 => 0x3f,
            _ => 0x63f,
        }
    }

    /// What clients send as `surroundAudioInfo` when they ask for this channel count: mask above, count below.
    pub fn surround_audio_info(&self) -> u32 {
        u32::from(self.channel_mask()) << 16 | u32::from(self.channels)
    }
}

/// The digits of a `surround-params` line: channels, streams, coupled streams, mapping.
///
/// Clients move the fourth digit of the mapping of normal-quality surround lines, so that those are written with the
/// last channels rotated against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SurroundParams(OpusLayout);

impl fmt::Display for SurroundParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SurroundParams(layout) = self;
        write!(f, "{}{}{}", layout.channels, layout.streams, layout.coupled_streams)?;
        let mut mapping = layout.mapping;
        let mapping = &mut mapping[..usize::from(layout.channels)];
        if layout.channels > 2 && layout.quality == Quality::Normal {
            mapping[3..].rotate_left(1);
        }
        mapping.iter().try_for_each(|channel| write!(f, "{channel}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_protocol_text() {
        let lines: Vec<_> = OpusLayout::ADVERTISED.iter().map(|l| l.surround_params().to_string()).collect();
        assert_eq!(lines, ["21101", "642012453", "660012345", "85301245673", "88001234567"]);
    }

    #[test]
    fn other_mappings_are_rotated_alike() {
        let line = |layout: OpusLayout, mapping: &[u8]| {
            layout.with_mapping(mapping).map(|layout| layout.surround_params().to_string())
        };
        let five = OpusLayout::SURROUND_51;
        assert_eq!(line(five, &[0, 1, 4, 5, 2, 3]).as_deref(), Some("642014235"));
        let seven = OpusLayout::SURROUND_71;
        assert_eq!(line(seven, &[0, 1, 6, 7, 2, 3, 4, 5]).as_deref(), Some("85301623457"));
        assert_eq!(line(five, &[0, 1, 2, 3, 4, 4]), None);
        assert_eq!(line(five, &[0, 1, 2, 3, 4]), None);
        assert_eq!(line(five, &[0, 1, 2, 3, 4, 6]), None);
    }

    #[test]
    fn the_clients_rotation_gives_the_mapping_back() {
        for layout in [OpusLayout::SURROUND_51, OpusLayout::SURROUND_71] {
            let digits = layout.surround_params().to_string();
            let advertised: Vec<u8> = digits.bytes().skip(3).map(|digit| digit - b'0').collect();
            let last = advertised.len() - 1;
            let mut applied = advertised[..3].to_vec();
            applied.push(advertised[last]);
            applied.extend(&advertised[3..last]);
            assert_eq!(applied, layout.mapping());
        }
    }

    #[test]
    fn numbers_of_appendix_b() {
        let info =
            |channels| OpusLayout::select(channels, Quality::High).map(OpusLayout::surround_audio_info);
        assert_eq!(info(2), Some(196_610));
        assert_eq!(info(6), Some(4_128_774));
        assert_eq!(info(8), Some(104_792_072));
        assert_eq!(info(4), None);
    }

    #[test]
    fn sizes_follow_the_duration() {
        assert_eq!(PacketDuration::from_millis(5).map(PacketDuration::samples), Some(240));
        assert_eq!(PacketDuration::from_millis(10).map(PacketDuration::samples), Some(480));
        assert_eq!(PacketDuration::from_millis(20), None);
        assert_eq!(OpusLayout::STEREO.packet_bytes(PacketDuration::FiveMs), 60);
        assert_eq!(OpusLayout::SURROUND_71_HIGH.packet_bytes(PacketDuration::FiveMs), 1280);
    }
}
