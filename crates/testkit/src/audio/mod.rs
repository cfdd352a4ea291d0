//! Audio stream, client side (protocol text §7): packets, FEC 4 + 2, decryption; decoding in [`sound`], and in [`tone`] what
//! tests want to know of a tone.
//!
//! A host may be silent: nothing here waits for a packet.
use aes::Aes128;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockDecryptMut, KeyIvInit};

use crate::fec::{self, Code, Field};

pub mod sound;
#[allow(unsafe_code, reason = "speaks to libopus")]
mod sys;
pub mod tone;

/// RTP header.
const HEADER_LENGTH: usize = 12;
/// RTP header and FEC header of a parity packet.
const PARITY_HEADER_LENGTH: usize = 24;
/// RTP packet type of data.
const TYPE_DATA: u8 = 97;
/// RTP packet type of parity.
const TYPE_PARITY: u8 = 127;
/// Data packets per block.
const DATA_SHARDS: u16 = 4;
/// Largest datagram (§7.1).
const DATAGRAM_LIMIT: usize = 1400;

/// Counters of the audio stream; all zero while the host is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AudioStatistics {
    /// Data packets received.
    pub data_packets: u64,
    /// Parity packets received.
    pub parity_packets: u64,
    /// Packets that parity brought back.
    pub recovered: u64,
    /// Packets lost for good.
    pub lost: u64,
    /// Datagrams that were not audio or did not decrypt.
    pub rejected: u64,
    /// Packets whose timestamp is not sequence × packetDuration, as it has to be (§7.1).
    pub wrong_timestamps: u64,
    /// Pings sent.
    pub pings: u64,
}

/// One Opus packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpusPacket {
    /// RTP sequence number.
    pub sequence: u16,
    /// Opus data, decrypted.
    pub data: Vec<u8>,
    /// Came back by parity.
    pub recovered: bool,
}

/// Session key and base of the audio IV.
#[derive(Debug, Clone, Copy)]
pub struct AudioKey {
    /// `rikey`.
    pub key: [u8; 16],
    /// `rikeyid` modulo 2³².
    pub key_id: u32,
}

impl AudioKey {
    /// BE32((rikeyid + sequence) mod 2³²) ‖ 00×12.
    pub fn iv(&self, sequence: u16) -> [u8; 16] {
        let mut iv = [0; 16];
        iv[..4].copy_from_slice(&self.key_id.wrapping_add(u32::from(sequence)).to_be_bytes());
        iv
    }

    /// Decrypts one payload; `None` when its padding is wrong.
    pub fn open(&self, sequence: u16, payload: &[u8]) -> Option<Vec<u8>> {
        let cipher = cbc::Decryptor::<Aes128>::new(&self.key.into(), &self.iv(sequence).into());
        let mut buffer = payload.to_vec();
        let length = cipher.decrypt_padded_mut::<Pkcs7>(&mut buffer).ok()?.len();
        buffer.truncate(length);
        Some(buffer)
    }
}

/// Receiver of one session: hands out packets block by block, in order within a block.
#[derive(Debug)]
pub struct Receiver {
    key: Option<AudioKey>,
    packet_duration_ms: u32,
    field: Field,
    /// First sequence of the block being collected.
    base: Option<u16>,
    shards: [Option<Vec<u8>>; 6],
    handed_out: [bool; 4],
    /// Unequal lengths were seen: FEC is off for the rest of the session (§7.3).
    fec_off: bool,
    statistics: AudioStatistics,
}

impl Receiver {
    /// `key` when the audio is encrypted; duration as announced, in milliseconds.
    pub fn new(key: Option<AudioKey>, packet_duration_ms: u32) -> Self {
        Receiver {
            key,
            packet_duration_ms,
            field: Field::new(),
            base: None,
            shards: Default::default(),
            handed_out: [false; 4],
            fec_off: false,
            statistics: AudioStatistics::default(),
        }
    }

    /// Counters so far.
    pub fn statistics(&self) -> AudioStatistics {
        self.statistics
    }

    /// True once FEC was given up.
    pub fn fec_is_off(&self) -> bool {
        self.fec_off
    }

    /// Takes one datagram.
    pub fn push(&mut self, datagram: &[u8]) -> Vec<OpusPacket> {
        let mut out = Vec::new();
        if self.take(datagram, &mut out).is_none() {
            self.statistics.rejected += 1;
        }
        out
    }

    fn take(&mut self, datagram: &[u8], out: &mut Vec<OpusPacket>) -> Option<()> {
        let head: &[u8; HEADER_LENGTH] = datagram.first_chunk()?;
        if head[0] != 0x80 || datagram.len() > DATAGRAM_LIMIT {
            return None;
        }
        let sequence = u16::from_be_bytes([head[2], head[3]]);
        match head[1] {
            TYPE_DATA => {
                let timestamp = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
                if timestamp as u16 != (u32::from(sequence) * self.packet_duration_ms) as u16 {
                    self.statistics.wrong_timestamps += 1;
                }
                self.statistics.data_packets += 1;
                let index = sequence % DATA_SHARDS;
                self.collect(sequence - index, usize::from(index), &datagram[HEADER_LENGTH..], out);
            }
            TYPE_PARITY => {
                let parity: &[u8; PARITY_HEADER_LENGTH] = datagram.first_chunk()?;
                let base = u16::from_be_bytes([parity[14], parity[15]]);
                if parity[12] > 1 || parity[13] != TYPE_DATA {
                    return None;
                }
                self.statistics.parity_packets += 1;
                if !base.is_multiple_of(DATA_SHARDS) {
                    self.fec_off = true;
                    return Some(());
                }
                let index = usize::from(DATA_SHARDS) + usize::from(parity[12]);
                self.collect(base, index, &datagram[PARITY_HEADER_LENGTH..], out);
            }
            _ => return None,
        }
        Some(())
    }

    fn collect(&mut self, base: u16, index: usize, payload: &[u8], out: &mut Vec<OpusPacket>) {
        let current = *self.base.get_or_insert(base);
        let ahead = base.wrapping_sub(current).cast_signed();
        if ahead < 0 {
            return;
        }
        if ahead > 0 {
            let missing = self.handed_out.iter().filter(|done| !**done).count();
            self.statistics.lost += missing as u64 + (ahead as u64 - u64::from(DATA_SHARDS));
            self.base = Some(base);
            self.shards = Default::default();
            self.handed_out = [false; 4];
        }
        if self.shards[index].is_some() {
            return;
        }
        self.shards[index] = Some(payload.to_vec());
        if self.shards.iter().flatten().any(|shard| shard.len() != payload.len()) {
            self.fec_off = true;
        }
        if index < usize::from(DATA_SHARDS) {
            self.hand_out(base, index, false, out);
        }
        let count = self.shards.iter().flatten().count();
        let whole = self.handed_out.iter().all(|done| *done);
        if whole || self.fec_off || count < usize::from(DATA_SHARDS) {
            return;
        }
        if fec::recover(&self.field, Code::Audio, &mut self.shards, usize::from(DATA_SHARDS)).is_ok() {
            for index in 0..usize::from(DATA_SHARDS) {
                if !self.handed_out[index] {
                    self.statistics.recovered += 1;
                    self.hand_out(base, index, true, out);
                }
            }
        }
    }

    fn hand_out(&mut self, base: u16, index: usize, recovered: bool, out: &mut Vec<OpusPacket>) {
        self.handed_out[index] = true;
        let sequence = base.wrapping_add(index as u16);
        let Some(payload) = &self.shards[index] else { return };
        let data = match &self.key {
            None => payload.clone(),
            Some(key) => match key.open(sequence, payload) {
                Some(data) => data,
                None => {
                    self.statistics.rejected += 1;
                    return;
                }
            },
        };
        out.push(OpusPacket { sequence, data, recovered });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: AudioKey =
        AudioKey { key: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], key_id: 0x0102_0304 };

    fn data(sequence: u16, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x80, 97];
        packet.extend_from_slice(&sequence.to_be_bytes());
        packet.extend_from_slice(&(u32::from(sequence) * 5).to_be_bytes());
        packet.extend_from_slice(&[0; 4]);
        packet.extend_from_slice(payload);
        packet
    }

    fn golden_packets() -> Vec<Vec<u8>> {
        let mut packets: Vec<Vec<u8>> = (0..4u8)
            .map(|i| {
                data(
                    u16::from(i),
                    &[
                        0xfc,
                        0x10 * i + 1,
                        0x10 * i + 2,
                        0x10 * i + 3,
                        0x10 * i + 4,
                        0x10 * i + 5,
                        0x10 * i + 6,
                        0x10 * i + 7,
                    ],
                )
            })
            .collect();
        packets
            .push(hex::decode("807f00040000000000000000006100000000000000000000fc1b18191e1f1c1d").unwrap());
        packets
            .push(hex::decode("807f00050000000000000000016100000000000000000000fc91929394959697").unwrap());
        packets
    }

    #[test]
    fn golden_block_survives_every_loss_of_two() {
        let packets = golden_packets();
        assert_eq!(hex::encode(&packets[3]), "806100030000000f00000000fc31323334353637");
        for a in 0..6 {
            for b in 0..6 {
                let mut receiver = Receiver::new(None, 5);
                let mut got: Vec<OpusPacket> = Vec::new();
                for (index, packet) in packets.iter().enumerate() {
                    if index != a && index != b {
                        got.extend(receiver.push(packet));
                    }
                }
                got.sort_by_key(|packet| packet.sequence);
                let payloads: Vec<&[u8]> = got.iter().map(|packet| packet.data.as_slice()).collect();
                let original: Vec<&[u8]> = packets[..4].iter().map(|packet| &packet[12..]).collect();
                assert_eq!(payloads, original);
                assert_eq!(receiver.statistics().wrong_timestamps, 0);
            }
        }
    }

    #[test]
    fn golden_ciphertexts_open() {
        for (sequence, iv, cipher, plain) in [
            (0, "01020304", "d13a0034f0d2cd42e138a84d4640e8f3", "fc01020304050607"),
            (1, "01020305", "a02a29b33455ac3d3e66c734e00483aa", "fc11121314151617"),
            (2, "01020306", "d366f9998fc2d113481e5d2daaa632d3", "fc21222324252627"),
            (3, "01020307", "12688d720c7b1069f43614d75e4e9304", "fc31323334353637"),
        ] {
            assert_eq!(hex::encode(&KEY.iv(sequence)[..4]), iv);
            let opened = KEY.open(sequence, &hex::decode(cipher).unwrap()).unwrap();
            assert_eq!(hex::encode(opened), plain);
        }
        let minus_one = AudioKey { key_id: 0xffff_ffff, ..KEY };
        assert_eq!(hex::encode(minus_one.iv(2)), format!("00000001{}", "00".repeat(12)));
        assert_eq!(KEY.open(0, &[0; 7]), None);
    }

    #[test]
    fn encrypted_parity_recovers_an_encrypted_packet() {
        let mut receiver = Receiver::new(Some(KEY), 5);
        let cipher = |text: &str| hex::decode(text).unwrap();
        receiver.push(&data(0, &cipher("d13a0034f0d2cd42e138a84d4640e8f3")));
        receiver.push(&data(1, &cipher("a02a29b33455ac3d3e66c734e00483aa")));
        receiver.push(&data(3, &cipher("12688d720c7b1069f43614d75e4e9304")));
        let mut parity = hex::decode("807f00040000000000000000006100000000000000000000").unwrap();
        parity.extend(cipher("562961ea01df607209b1974cbdf03280"));
        let got = receiver.push(&parity);
        let expected = OpusPacket { sequence: 2, data: cipher("fc21222324252627"), recovered: true };
        assert_eq!(got, [expected]);
    }

    #[test]
    fn losses_and_unequal_lengths_are_counted() {
        let mut receiver = Receiver::new(None, 5);
        receiver.push(&data(0, &[1]));
        receiver.push(&data(9, &[1]));
        assert_eq!(receiver.statistics().lost, 3 + 4);
        receiver.push(&data(10, &[1, 2]));
        assert!(receiver.fec_is_off());
        receiver.push(&[0x90; 20]);
        assert_eq!(receiver.statistics().rejected, 1);
    }

    proptest! {
        #[test]
        fn hostile_datagrams_never_panic(
            packets in prop::collection::vec(
                (any::<bool>(), 0usize..6, prop::collection::vec(any::<u8>(), 0..60)), 0..60),
            encrypted: bool,
        ) {
            let golden = golden_packets();
            let mut receiver = Receiver::new(encrypted.then_some(KEY), 5);
            for (real, index, bytes) in packets {
                let mut datagram = if real { golden[index].clone() } else { bytes.clone() };
                if let (true, [at, value, ..]) = (real, bytes.as_slice()) {
                    let at = usize::from(*at) % datagram.len();
                    datagram[at] = *value;
                }
                receiver.push(&datagram);
            }
        }
    }
}
