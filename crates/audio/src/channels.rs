//! Which speaker each channel is.

use libspa::sys as spa;

/// Speakers in the order of the protocol (protocol text §7.2), as PipeWire names and numbers them.
const SPEAKERS: [(&str, u32); 8] = [
    ("FL", spa::SPA_AUDIO_CHANNEL_FL),
    ("FR", spa::SPA_AUDIO_CHANNEL_FR),
    ("FC", spa::SPA_AUDIO_CHANNEL_FC),
    ("LFE", spa::SPA_AUDIO_CHANNEL_LFE),
    ("RL", spa::SPA_AUDIO_CHANNEL_RL),
    ("RR", spa::SPA_AUDIO_CHANNEL_RR),
    ("SL", spa::SPA_AUDIO_CHANNEL_SL),
    ("SR", spa::SPA_AUDIO_CHANNEL_SR),
];

/// The channels of a stream: stereo, 5.1 or 7.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channels {
    /// Front left and right.
    Stereo,
    /// FL FR FC LFE RL RR.
    Surround51,
    /// FL FR FC LFE RL RR SL SR.
    Surround71,
}

impl Channels {
    /// From how many there are; none for other numbers than 2, 6 and 8.
    pub fn from_count(count: u32) -> Option<Self> {
        match count {
            2 => Some(Self::Stereo),
            6 => Some(Self::Surround51),
            8 => Some(Self::Surround71),
            _ => None,
        }
    }

    /// How many there are.
    pub fn count(self) -> usize {
        match self {
            Self::Stereo => 2,
            Self::Surround51 => 6,
            Self::Surround71 => 8,
        }
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stereo => "stereo",
            Self::Surround51 => "5.1",
            Self::Surround71 => "7.1",
        }
    }

    /// PipeWire's names of the speakers, with commas.
    pub(crate) fn position(self) -> String {
        let names: Vec<_> = SPEAKERS[..self.count()].iter().map(|(name, _)| *name).collect();
        names.join(",")
    }

    /// PipeWire's numbers of the speakers.
    pub(crate) fn numbers(self) -> [u32; spa::SPA_AUDIO_MAX_CHANNELS as usize] {
        let mut numbers = [0; spa::SPA_AUDIO_MAX_CHANNELS as usize];
        for (number, (_, speaker)) in numbers.iter_mut().zip(&SPEAKERS[..self.count()]) {
            *number = *speaker;
        }
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speakers_stand_in_the_order_of_the_protocol() {
        assert_eq!(Channels::Stereo.position(), "FL,FR");
        assert_eq!(Channels::Surround51.position(), "FL,FR,FC,LFE,RL,RR");
        assert_eq!(Channels::Surround71.position(), "FL,FR,FC,LFE,RL,RR,SL,SR");
        // The numbers of PipeWire's enum spa_audio_channel.
        assert_eq!(Channels::Surround71.numbers()[..9], [3, 4, 5, 6, 12, 13, 7, 8, 0]);
    }

    #[test]
    fn counts_are_those_of_the_protocol() {
        for count in 0..20 {
            let channels = Channels::from_count(count);
            assert_eq!(channels.is_some(), [2, 6, 8].contains(&count));
            assert!(channels.is_none_or(|channels| channels.count() == count as usize));
        }
    }
}
