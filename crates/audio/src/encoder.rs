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
