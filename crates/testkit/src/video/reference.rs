//! A host's packetizer in the plainest form, for the tests of the receiving side: protocol text §6.2–§6.9 word by
//! word, arithmetic by definition.
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::fec::{Code, Field};

/// State of the sending side.
pub struct Packetizer {
    pub packet_size: usize,
    pub percentage: usize,
    pub min_parity: usize,
    pub sequence: u32,
    pub frame: u32,
    pub key: Option<[u8; 16]>,
    pub counter: u64,
    pub extra_flags: u8,
    field: Field,
}

impl Packetizer {
    pub fn new(packet_size: usize) -> Self {
        Packetizer {
            packet_size,
            percentage: 20,
            min_parity: 2,
            sequence: 0,
            frame: 1,
            key: None,
            counter: 0,
            extra_flags: 0,
            field: Field::new(),
        }
    }

    /// Datagrams of one frame.
    pub fn frame(&mut self, data: &[u8], kind: u8, latency: u16, timestamp: u32) -> Vec<Vec<u8>> {
        let n = self.packet_size - 16;
        let mut bytes = vec![0x01];
        bytes.extend_from_slice(&latency.to_le_bytes());
        bytes.push(kind);
        let rest = (8 + data.len()) % n;
        bytes.extend_from_slice(&(if rest == 0 { n } else { rest } as u16).to_le_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(data);
        let chunks: Vec<&[u8]> = bytes.chunks(n).collect();
        let limit = 25_500 / (100 + self.percentage);
        let (blocks, percentage) = match chunks.len().div_ceil(limit) {
            blocks @ 1..=4 => (blocks, self.percentage),
            _ => (4, 0),
        };
        let share = chunks.len().div_ceil(blocks);
        let mut out = Vec::new();
        for (index, block) in chunks.chunks(share).enumerate() {
            let multi = (index << 4 | (blocks - 1) << 6) as u8;
            out.extend(self.block(block, multi, percentage, timestamp));
        }
        self.frame += 1;
        out.into_iter().map(|datagram| self.seal(datagram)).collect()
    }

    fn block(&mut self, chunks: &[&[u8]], multi: u8, percentage: usize, timestamp: u32) -> Vec<Vec<u8>> {
        let d = chunks.len();
        let (mut percentage, mut p) = (percentage, (d * percentage).div_ceil(100));
        if percentage > 0 && p < self.min_parity {
            p = self.min_parity;
            percentage = 100 * p / d;
        }
        let mut shards: Vec<Vec<u8>> = Vec::new();
        for (i, chunk) in chunks.iter().enumerate() {
            let mut shard = vec![0; self.packet_size + 16];
            shard[16..20].copy_from_slice(&((self.sequence + i as u32) << 8).to_le_bytes());
            shard[24] = 1 | if i == 0 { 4 } else { 0 } | if i + 1 == d { 2 } else { 0 };
            shard[25] = self.extra_flags;
            shard[26] = 0x10;
            shard[32..32 + chunk.len()].copy_from_slice(chunk);
            shards.push(shard);
        }
        let code = Code::Cauchy { parity: p };
        for j in 0..p {
            let mut parity = vec![0; self.packet_size + 16];
            for (i, shard) in shards[..d].iter().enumerate() {
                self.field.add_product(&mut parity, shard, code.coefficient(&self.field, j, i));
            }
            shards.push(parity);
        }
        for (i, shard) in shards.iter_mut().enumerate() {
            shard[..16].fill(0);
            shard[0] = 0x90;
            shard[2..4].copy_from_slice(&(self.sequence as u16).to_be_bytes());
            shard[4..8].copy_from_slice(&timestamp.to_be_bytes());
            shard[20..24].copy_from_slice(&self.frame.to_le_bytes());
            shard[27] = multi;
            let info = (i << 12 | d << 22 | percentage << 4) as u32;
            shard[28..32].copy_from_slice(&info.to_le_bytes());
            self.sequence += 1;
        }
        shards
    }

    fn seal(&mut self, datagram: Vec<u8>) -> Vec<u8> {
        let Some(key) = self.key else { return datagram };
        let mut iv = [0; 12];
        iv[..8].copy_from_slice(&self.counter.to_le_bytes());
        iv[11] = b'V';
        self.counter += 1;
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).unwrap());
        let mut cipher = datagram.clone();
        let nonce = Nonce::assume_unique_for_key(iv);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut cipher).unwrap();
        [&iv[..], &datagram[20..24], tag.as_ref(), &cipher].concat()
    }
}
