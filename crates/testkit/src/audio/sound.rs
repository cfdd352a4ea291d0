//! Opus packets into samples, with the mapping that a stock client takes from DESCRIBE (protocol text §7.2).
use super::sys::State;
use crate::request::AudioRequest;

/// Longest packet that is decoded: 10 ms.
const MOST_FRAMES: usize = 480;

/// Why sound cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SoundError {
    /// DESCRIBE has no line for 7.1: stock clients do not connect then.
    #[error("the host offers no surround-params line for {0} channels")]
    NoLine(u32),
    /// A line that is no permutation of its channels.
    #[error("the surround-params line {0:?} describes no layout")]
    BadLine(String),
    /// libopus refused.
    #[error("libopus refuses (error {0})")]
    Opus(i32),
    /// The packet covers another time than was agreed on.
    #[error("a packet has {found} samples a channel, {wanted} were agreed on")]
    Duration {
        /// Samples of each channel in the packet.
        found: usize,
        /// Samples of each channel that `packetDuration` means.
        wanted: usize,
    },
}

/// How channels are packed into streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Opus streams.
    pub streams: u8,
    /// How many of them are stereo.
    pub coupled: u8,
    /// Channel → channel of the streams.
    pub mapping: Vec<u8>,
}

impl Layout {
    /// What a client makes of the lines of DESCRIBE: of those with its channel count the first one for normal quality,
    /// rotated for surround, the second one for high quality.
    pub fn choose(lines: &[String], audio: AudioRequest) -> Result<Self, SoundError> {
        let channels = audio.channels as usize;
        let mut fitting = lines.iter().filter(|line| line.starts_with(&audio.channels.to_string()));
        let high = audio.high_quality && channels > 2;
        let Some(line) = (if high { fitting.nth(1) } else { fitting.next() }) else {
            return match channels {
                2 => Ok(Layout { streams: 1, coupled: 1, mapping: vec![0, 1] }),
                6 => Ok(Layout { streams: 4, coupled: 2, mapping: vec![0, 4, 1, 5, 2, 3] }),
                _ => Err(SoundError::NoLine(audio.channels)),
            };
        };
        let bad = || SoundError::BadLine(line.clone());
        let digits: Vec<u8> = line
            .chars()
            .map(|c| c.to_digit(10).map(|digit| digit as u8).ok_or_else(bad))
            .collect::<Result<_, _>>()?;
        let [_, streams, coupled, told @ ..] = digits.as_slice() else { return Err(bad()) };
        if told.len() != channels || (0..channels as u8).any(|channel| !told.contains(&channel)) {
            return Err(bad());
        }
        let mut mapping = told.to_vec();
        if channels > 2 && !high {
            mapping[3] = told[channels - 1];
            mapping[4..].copy_from_slice(&told[3..channels - 1]);
        }
        Ok(Layout { streams: *streams, coupled: *coupled, mapping })
    }
}

/// Decodes one stream's packets.
#[derive(Debug)]
pub struct SoundDecoder {
    state: State,
    channels: usize,
    frames: usize,
    buffer: Vec<f32>,
}

impl SoundDecoder {
    /// For what the host offers (`Offer::surround`) and what was asked for.
    pub fn new(lines: &[String], audio: AudioRequest) -> Result<Self, SoundError> {
        let layout = Layout::choose(lines, audio)?;
        let state = State::new(layout.streams, layout.coupled, &layout.mapping).map_err(SoundError::Opus)?;
        let channels = layout.mapping.len();
        let frames = 48 * audio.packet_duration_ms as usize;
        Ok(SoundDecoder { state, channels, frames, buffer: vec![0.0; MOST_FRAMES * channels] })
    }

    /// Channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The samples of one packet, interleaved.
    pub fn decode(&mut self, packet: &[u8]) -> Result<&[f32], SoundError> {
        let found = self.state.decode(packet, &mut self.buffer).map_err(SoundError::Opus)?;
        if found != self.frames {
            return Err(SoundError::Duration { found, wanted: self.frames });
        }
        Ok(&self.buffer[..found * self.channels])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(lines: &[&str], channels: u32, high_quality: bool) -> Result<Vec<u8>, SoundError> {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let audio = AudioRequest { channels, high_quality, ..AudioRequest::default() };
        Layout::choose(&lines, audio)
            .map(|layout| [&[layout.streams, layout.coupled][..], &layout.mapping].concat())
    }

    #[test]
    fn lines_of_the_text_give_the_mappings_of_the_text() {
        let lines = ["21101", "642012453", "660012345", "85301245673", "88001234567"];
        assert_eq!(choose(&lines, 2, true).unwrap(), [1, 1, 0, 1]);
        assert_eq!(choose(&lines, 6, false).unwrap(), [4, 2, 0, 1, 2, 3, 4, 5]);
        assert_eq!(choose(&lines, 6, true).unwrap(), [6, 0, 0, 1, 2, 3, 4, 5]);
        assert_eq!(choose(&lines, 8, false).unwrap(), [5, 3, 0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(choose(&lines, 8, true).unwrap(), [8, 0, 0, 1, 2, 3, 4, 5, 6, 7]);
        // As observed with a stock client.
        assert_eq!(choose(&["642014523"], 6, false).unwrap(), [4, 2, 0, 1, 4, 3, 5, 2]);
        assert_eq!(choose(&[], 6, false).unwrap(), [4, 2, 0, 4, 1, 5, 2, 3]);
        assert_eq!(choose(&[], 8, false), Err(SoundError::NoLine(8)));
        for bad in ["64201245", "642012455", "6x2012453", "6"] {
            assert_eq!(choose(&[bad], 6, false), Err(SoundError::BadLine(bad.into())));
        }
    }

    #[test]
    fn packets_that_are_no_opus_are_refused() {
        let mut decoder = SoundDecoder::new(&[], AudioRequest::default()).unwrap();
        for bytes in [&[][..], &[0xff; 3], &[0x13, 0x37, 0]] {
            let _ = decoder.decode(bytes);
        }
        // A frame of 10 ms where 5 ms were agreed on.
        assert_eq!(
            decoder.decode(&[0xf4, 0xff, 0xfe]),
            Err(SoundError::Duration { found: 480, wanted: 240 })
        );
    }
}
