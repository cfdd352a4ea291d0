//! Samples in, Opus packets of one length out.

use crate::sys::{MultistreamEncoder, OpusError, Setup};
use lumen_gamestream::audio::{OpusLayout, PacketDuration};

/// Encodes one stream's sound as the protocol wants it (protocol text §7.2): every packet has the same length, which
/// audio's FEC needs.
pub struct Encoder {
    inner: MultistreamEncoder,
    packet: Vec<u8>,
    samples: usize,
}

impl Encoder {
    /// For a layout and duration. `limit` is the longest packet that a datagram takes, in bytes: 10 ms of the highest
    /// surround bitrates are longer, and get as many bits as fit.
    ///
    /// # Errors
    /// What libopus says.
    pub fn new(layout: &OpusLayout, duration: PacketDuration, limit: usize) -> Result<Self, OpusError> {
        let length = layout.packet_bytes(duration).min(limit);
        let bitrate = length as u64 * 8000 / u64::from(duration.millis());
        let inner = MultistreamEncoder::new(Setup {
            channels: layout.channels,
            streams: layout.streams,
            coupled: layout.coupled_streams,
            mapping: layout.mapping(),
            bitrate: i32::try_from(bitrate).unwrap_or(i32::MAX),
        })?;
        let samples = duration.samples() * usize::from(layout.channels);
        Ok(Self { inner, packet: vec![0; length], samples })
    }

    /// Encodes the samples of one packet, interleaved.
    ///
    /// # Errors
    /// What libopus says; also when the number of samples is not that of one packet.
    pub fn encode(&mut self, samples: &[f32]) -> Result<&[u8], OpusError> {
        let samples = if samples.len() == self.samples { samples } else { &[] };
        let length = self.inner.encode(samples, &mut self.packet)?;
        Ok(&self.packet[..length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumen_testkit::audio::tone::{decibels, usual_amplitude};
    use lumen_testkit::{AudioRequest, SoundDecoder};

    #[test]
    fn packets_of_every_layout_have_the_length_of_the_bitrate() {
        for layout in OpusLayout::ALL {
            for duration in [PacketDuration::FiveMs, PacketDuration::TenMs] {
                let limit = 1375;
                let mut encoder = Encoder::new(&layout, duration, limit).unwrap();
                let count = duration.samples() * usize::from(layout.channels);
                let expected = layout.packet_bytes(duration).min(limit);
                for round in 0..20u32 {
                    // Silence, a tone, noise: the length never changes.
                    let sample = |index: usize| match round % 3 {
                        0 => 0.0,
                        1 => (index as f32 * 0.05).sin() * 0.8,
                        _ => ((index as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / 8_388_608.0 - 1.0,
                    };
                    let samples: Vec<f32> = (0..count).map(sample).collect();
                    assert_eq!(encoder.encode(&samples).unwrap().len(), expected, "{layout:?} {duration:?}");
                }
            }
        }
    }

    /// Level of the first channel's tone after a second, when packets begin at this sample of its wave. The tone of each
    /// further channel is 100 Hz higher.
    fn level_after(layout: &OpusLayout, tone: f64, first: usize) -> f64 {
        let duration = PacketDuration::FiveMs;
        let channels = usize::from(layout.channels);
        let mut encoder = Encoder::new(layout, duration, 1375).unwrap();
        let audio = AudioRequest { channels: layout.channels.into(), ..AudioRequest::default() };
        let lines: Vec<_> =
            OpusLayout::ADVERTISED.iter().map(|layout| layout.surround_params().to_string()).collect();
        let mut decoder = SoundDecoder::new(&lines, audio).unwrap();
        let mut heard = Vec::new();
        for packet in 0..240 {
            let start = first + packet * duration.samples();
            let sample = |index: usize| {
                let hertz = tone + 100.0 * (index % channels) as f64;
                let turns = hertz * (start + index / channels) as f64 / 48_000.0;
                (0.25 * (std::f64::consts::TAU * turns).sin()) as f32
            };
            let samples: Vec<f32> = (0..duration.samples() * channels).map(sample).collect();
            let packet = encoder.encode(&samples).unwrap();
            heard.extend(decoder.decode(packet).unwrap().iter().step_by(channels));
        }
        decibels(usual_amplitude(&heard[38_400..], tone), 0.25)
    }

    /// libopus 1.3 is off by up to 6 dB with such tones.
    #[test]
    fn a_tone_keeps_its_level_at_whatever_point_of_its_wave_packets_begin() {
        for layout in [OpusLayout::STEREO, OpusLayout::SURROUND_71] {
            for (tone, first) in [(400.0, 0), (400.0, 8), (400.0, 56), (1000.0, 24), (443.0, 0)] {
                let level = level_after(&layout, tone, first);
                assert!(level.abs() < 0.25, "{layout:?}, {tone} Hz from {first}: {level:+.2} dB");
            }
        }
    }

    #[test]
    fn a_wrong_number_of_samples_is_refused() {
        let mut encoder = Encoder::new(&OpusLayout::STEREO, PacketDuration::FiveMs, 1375).unwrap();
        assert!(encoder.encode(&[0.0; 100]).is_err());
        assert!(encoder.encode(&[0.0; 480]).is_ok());
    }

    #[test]
    fn errors_say_what_libopus_says() {
        let setup = Setup { channels: 2, streams: 0, coupled: 1, mapping: &[0, 1], bitrate: 96_000 };
        let error = MultistreamEncoder::new(setup).err().unwrap();
        assert_eq!(error.to_string(), "libopus: invalid argument (-1)");
    }
}
