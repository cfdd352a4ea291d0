use super::*;
use fec_rs::ReedSolomon;

const KEY: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// The datagrams of protocol text §6.8.
const GOLDEN: [&str; 5] = [
    "900000001234567800000000000000000000000001000000050010002004c000017b00020c00000000000001650102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223",
    "900000011234567800000000000000000001000001000000010010002014c0002425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f50515253",
    "900000021234567800000000000000000002000001000000030010002024c0005455565758595a5b5c5d5e5f000000000000000000000000000000000000000000000000000000000000000000000000",
    "90000003123456780000000000000000007a000001000000b100f7002034c000870972c008bd75c6f84b83beac6ae49ee59f116be79d13691268e69cc3b9374d364cc2b8344ec0bac1bb354f205ad4ae",
    "9000000412345678000000000000000000dd000001000000790051002044c00050a4f62a517c072ef1d8a37e3b62ec96ed971963ef951b611a60ee94dba12f552e54daa02c56d8a2d9a32d57c3b9374d",
];

fn config(packet_size: u16) -> PacketizerConfig {
    PacketizerConfig { packet_size, fec_percent: 20, min_fec_packets: 2, encryption: None }
}

fn encrypted(packet_size: u16) -> PacketizerConfig {
    PacketizerConfig { encryption: Some(SessionKey::new(KEY)), ..config(packet_size) }
}

/// Golden packets are smaller than what is accepted from clients.
fn golden_packetizer(encryption: Option<SessionKey>) -> Packetizer {
    Packetizer::with_size(PacketSize::unchecked(64), &PacketizerConfig { encryption, ..config(64) })
}

fn golden_frame() -> (FrameMeta, Vec<u8>) {
    let meta = FrameMeta { kind: FrameType::Idr, rtp_timestamp: 0x1234_5678, host_latency: 123, ltr: false };
    (meta, [0, 0, 0, 1, 0x65].into_iter().chain(1..=0x5f).collect())
}

fn predicted() -> FrameMeta {
    FrameMeta { kind: FrameType::Predicted, rtp_timestamp: 90_000, host_latency: 0, ltr: false }
}

fn access_unit(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 7 + index / 251) as u8).collect()
}

fn u32_le(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().unwrap())
}

/// A plaintext datagram taken apart as a client does it.
struct Packet<'a>(&'a [u8]);

impl Packet<'_> {
    fn sequence(&self) -> u16 {
        u16::from_be_bytes([self.0[2], self.0[3]])
    }
    fn counter(&self) -> u32 {
        u32_le(&self.0[16..20]) >> 8
    }
    fn frame_index(&self) -> u32 {
        u32_le(&self.0[20..24])
    }
    fn flags(&self) -> u8 {
        self.0[24]
    }
    fn block(&self) -> u8 {
        self.0[27] >> 4 & 3
    }
    fn last_block(&self) -> u8 {
        self.0[27] >> 6
    }
    fn fec_index(&self) -> usize {
        (u32_le(&self.0[28..32]) >> 12 & 0x3ff) as usize
    }
    fn data_shards(&self) -> usize {
        (u32_le(&self.0[28..32]) >> 22) as usize
    }
    fn percent(&self) -> usize {
        (u32_le(&self.0[28..32]) >> 4 & 0xff) as usize
    }
    fn parity_shards(&self) -> usize {
        (self.data_shards() * self.percent()).div_ceil(100)
    }
    /// Its shard: fields that are written after encoding count as zero.
    fn shard(&self) -> Vec<u8> {
        let mut shard = self.0.to_vec();
        for range in [0..16, 20..24, 27..32] {
            shard[range].fill(0);
        }
        shard
    }
}

/// The packets of each block, checked for their place in it.
fn blocks_of(batch: &ShardBatch) -> Vec<Vec<Packet<'_>>> {
    let mut blocks: Vec<Vec<Packet<'_>>> = Vec::new();
    for packet in batch.segments().map(Packet) {
        if packet.fec_index() == 0 {
            blocks.push(Vec::new());
        }
        let index = blocks.len() - 1;
        let block = &mut blocks[index];
        assert_eq!((usize::from(packet.block()), packet.fec_index()), (index, block.len()));
        block.push(packet);
    }
    for block in &blocks {
        let first = &block[0];
        assert_eq!(block.len(), first.data_shards() + first.parity_shards(), "what a client expects");
        for (index, packet) in block.iter().take(first.data_shards()).enumerate() {
            let start = if index == 0 { 0x04 } else { 0 };
            let end = if index + 1 == first.data_shards() { 0x02 } else { 0 };
            assert_eq!(packet.flags(), 0x01 | start | end);
            assert_eq!(packet.0[26], 0x10);
        }
        assert!(block.iter().all(|packet| usize::from(packet.last_block()) + 1 == blocks.len()));
    }
    blocks
}

/// Frame header and access unit as a client puts them together from the data shards.
fn assemble(shards: impl IntoIterator<Item = Vec<u8>>) -> (Vec<u8>, Vec<u8>) {
    let payloads: Vec<Vec<u8>> = shards.into_iter().map(|shard| shard[PACKET_HEADER..].to_vec()).collect();
    let mut frame = payloads.concat();
    let last = usize::from(u16::from_le_bytes([frame[4], frame[5]]));
    let padding = frame.split_off((payloads.len() - 1) * payloads[0].len() + last);
    assert!(padding.iter().all(|byte| *byte == 0), "the last shard is padded with zeros");
    let data = frame.split_off(FRAME_HEADER);
    (frame, data)
}

/// The data shards of a block of which the first packets, as many as there is parity, were lost.
fn recover(block: &[Packet<'_>]) -> Vec<Vec<u8>> {
    let (data, parity) = (block[0].data_shards(), block[0].parity_shards());
    let mut shards: Vec<Option<Vec<u8>>> = block.iter().map(|packet| Some(packet.shard())).collect();
    if parity > 0 {
        shards[..parity.min(data)].fill(None);
        ReedSolomon::new(data, parity).unwrap().reconstruct(&mut shards).unwrap();
    }
    shards.into_iter().take(data).flatten().collect()
}

#[test]
fn packets_of_the_protocol_text() {
    let (meta, data) = golden_frame();
    let mut packetizer = golden_packetizer(None);
    let mut batch = ShardBatch::new();
    let info = packetizer.packetize(meta, &data, &mut batch).unwrap();
    assert_eq!(info, FrameInfo { frame_index: 1, packets: 5, parity_packets: 2, blocks: 1 });
    assert_eq!((batch.len(), batch.segment_size()), (5, 80));
    for (packet, expected) in batch.segments().zip(GOLDEN) {
        assert_eq!(hex::encode(packet), expected);
    }
}

#[test]
fn encrypted_packets_of_the_protocol_text() {
    let (meta, data) = golden_frame();
    let mut packetizer = golden_packetizer(Some(SessionKey::new(KEY)));
    let mut batch = ShardBatch::new();
    packetizer.packetize(meta, &data, &mut batch).unwrap();
    assert_eq!((batch.len(), batch.segment_size()), (5, 64 + 48));
    let first = concat!(
        "000000000000000000000056",
        "01000000",
        "6d51d7a7aee3cfae793d22df17f72420",
        "4f33772dc4bf60c3fc7929865625ec58199cb9faa2eb43e663dcc80f25b5ad5dfe451c83870fd170",
        "afb1a6d8e019adc7e8f6764b0cc3b21c29543660500bf94c25b4add7b783acad573b043c480bf2c7"
    );
    assert_eq!(hex::encode(batch.run(0..1)), first);
    let second = batch.run(1..2);
    assert_eq!(hex::encode(&second[..12]), "010000000000000000000056");
    assert_eq!(hex::encode(&second[16..32]), "4d2bea3243f9a1161a311082f2e56d60");
    for (counter, datagram) in batch.segments().enumerate() {
        assert_eq!(hex::encode(open(datagram, counter as u64, 1)), GOLDEN[counter]);
    }
}

/// Decrypts a datagram, whose nonce and frame number must be the expected ones.
fn open(datagram: &[u8], counter: u64, frame_index: u32) -> Vec<u8> {
    use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    assert_eq!(datagram[..8], counter.to_le_bytes());
    assert_eq!(datagram[8..12], [0, 0, 0, b'V']);
    assert_eq!(u32_le(&datagram[12..16]), frame_index);
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &KEY).unwrap());
    let nonce = Nonce::try_assume_unique_for_key(&datagram[..12]).unwrap();
    let mut sealed = [&datagram[32..], &datagram[16..32]].concat();
    key.open_in_place(nonce, Aad::empty(), &mut sealed).unwrap().to_vec()
}

#[test]
fn counters_run_on_over_frames_and_nonces_never_repeat() {
    let mut packetizer = Packetizer::new(encrypted(256)).unwrap();
    let mut batch = ShardBatch::new();
    let mut sent = 0;
    for frame_index in 1..=20 {
        assert_eq!(packetizer.next_frame_index(), frame_index);
        let data = access_unit(100 * frame_index as usize);
        let info = packetizer.packetize(predicted(), &data, &mut batch).unwrap();
        assert_eq!((info.frame_index, info.packets), (frame_index, batch.len()));
        for datagram in batch.segments() {
            let plain = open(datagram, sent, frame_index);
            assert_eq!(u64::from(Packet(&plain).sequence()), sent);
            assert_eq!(Packet(&plain).frame_index(), frame_index);
            sent += 1;
        }
    }
}

#[test]
fn sixteen_and_twenty_four_bits_wrap() {
    let mut packetizer = Packetizer::new(config(256)).unwrap();
    let mut batch = ShardBatch::new();
    for start in [0xfffe_u64, 0xff_fffe, 0xffff_fffe] {
        packetizer.counter = start;
        packetizer.packetize(predicted(), &access_unit(1500), &mut batch).unwrap();
        let blocks = blocks_of(&batch);
        let data_shards = blocks[0][0].data_shards();
        for (packet, counter) in blocks[0].iter().zip(start..) {
            assert_eq!(packet.sequence(), counter as u16);
            if packet.fec_index() < data_shards {
                assert_eq!(packet.counter(), counter as u32 & 0xff_ffff);
            }
        }
        assert_eq!(packetizer.counter, start + batch.len() as u64);
    }
}

#[test]
fn the_nonce_goes_beyond_what_the_headers_number() {
    let mut packetizer = Packetizer::new(encrypted(256)).unwrap();
    let mut batch = ShardBatch::new();
    packetizer.counter = 0xffff_ffff;
    packetizer.packetize(predicted(), &access_unit(500), &mut batch).unwrap();
    for (datagram, counter) in batch.segments().zip(0xffff_ffff_u64..) {
        open(datagram, counter, 1);
    }
}

#[test]
fn frame_index_skips_zero() {
    let mut packetizer = Packetizer::new(config(256)).unwrap();
    let mut batch = ShardBatch::new();
    packetizer.next_frame_index = u32::MAX;
    assert_eq!(packetizer.packetize(predicted(), &[1], &mut batch).unwrap().frame_index, u32::MAX);
    assert_eq!(packetizer.packetize(predicted(), &[1], &mut batch).unwrap().frame_index, 1);
}

#[test]
fn lengths_around_a_whole_packet() {
    let mut packetizer = Packetizer::new(config(256)).unwrap();
    let mut batch = ShardBatch::new();
    let payload = 240;
    for (length, packets, last) in [
        (0, 1, 8),
        (1, 1, 9),
        (payload - 9, 1, 239),
        (payload - 8, 1, 240),
        (payload - 7, 2, 1),
        (2 * payload - 8, 2, 240),
        (2 * payload - 7, 3, 1),
    ] {
        let data = access_unit(length);
        packetizer.packetize(predicted(), &data, &mut batch).unwrap();
        let blocks = blocks_of(&batch);
        assert_eq!(blocks[0][0].data_shards(), packets, "{length} bytes");
        let (header, received) = assemble(recover(&blocks[0]));
        assert_eq!(header, [0x01, 0, 0, 1, last, 0, 0, 0], "{length} bytes");
        assert_eq!(received, data);
    }
}

#[test]
fn frame_type_latency_and_ltr_are_told() {
    let mut packetizer = Packetizer::new(config(1392)).unwrap();
    let mut batch = ShardBatch::new();
    for (kind, value) in [
        (FrameType::Predicted, 1),
        (FrameType::Idr, 2),
        (FrameType::IntraRefresh, 4),
        (FrameType::AfterInvalidation, 5),
    ] {
        let meta = FrameMeta { kind, rtp_timestamp: 7, host_latency: 0x1234, ltr: value == 5 };
        packetizer.packetize(meta, &access_unit(5000), &mut batch).unwrap();
        let blocks = blocks_of(&batch);
        assert!(blocks[0].iter().take(4).all(|packet| packet.0[25] == u8::from(value == 5)));
        assert!(blocks[0].iter().all(|packet| packet.0[4..8] == [0, 0, 0, 7]));
        let recovered = recover(&blocks[0]);
        assert_eq!(recovered[0][25], u8::from(value == 5), "parity covers the flag");
        assert_eq!(assemble(recovered).0[..4], [0x01, 0x34, 0x12, value]);
    }
}

/// Every data count of a block at several percentages, with as many packets lost as a client can recover.
#[test]
fn what_is_lost_can_be_recovered() {
    let mut batch = ShardBatch::new();
    for percent in [0, 5, 10, 20, 50, 100] {
        let mut packetizer =
            Packetizer::new(PacketizerConfig { fec_percent: percent, ..config(256) }).unwrap();
        for data_shards in 1..=212 {
            let data = access_unit(data_shards * 240 - 8 - data_shards % 50);
            packetizer.packetize(predicted(), &data, &mut batch).unwrap();
            let blocks = blocks_of(&batch);
            let received = assemble(blocks.iter().flat_map(|block| recover(block)));
            assert_eq!(received.1, data, "{data_shards} data shards at {percent} %");
        }
    }
}

#[test]
fn large_frames_have_four_blocks_and_then_no_parity() {
    let mut packetizer = Packetizer::new(config(256)).unwrap();
    let mut batch = ShardBatch::new();
    for (chunks, parity) in [(801, 41 + 41 + 41 + 40), (848, 4 * 43), (849, 0)] {
        let data = access_unit(chunks * 240 - 8);
        let info = packetizer.packetize(predicted(), &data, &mut batch).unwrap();
        assert_eq!((info.blocks, info.packets, info.parity_packets), (4, chunks + parity, parity));
        let blocks = blocks_of(&batch);
        assert!(blocks.iter().flatten().all(|packet| packet.percent() == if parity > 0 { 20 } else { 0 }));
        assert_eq!(assemble(blocks.iter().flat_map(|block| recover(block))).1, data);
    }
}

#[test]
fn too_large_a_frame_leaves_no_trace() {
    let mut packetizer = Packetizer::new(config(256)).unwrap();
    let mut batch = ShardBatch::new();
    let limit = packetizer.max_access_unit();
    let info = packetizer.packetize(predicted(), &access_unit(limit), &mut batch).unwrap();
    assert_eq!((info.packets, info.blocks), (4092, 4));
    let refused = packetizer.packetize(predicted(), &access_unit(limit + 1), &mut batch);
    assert_eq!(refused, Err(TooLarge { access_unit: limit + 1, limit }));
    assert!(batch.is_empty());
    assert_eq!((packetizer.next_frame_index(), packetizer.counter), (2, 4092));
}

#[test]
fn the_share_of_parity_follows_from_the_next_frame() {
    let mut packetizer = Packetizer::new(config(1392)).unwrap();
    let mut batch = ShardBatch::new();
    for (percent, parity) in [(20, 7), (50, 16), (0, 0), (5, 2)] {
        packetizer.set_fec_percent(percent);
        assert_eq!(packetizer.fec_percent(), percent);
        let info = packetizer.packetize(predicted(), &access_unit(42_000), &mut batch).unwrap();
        assert_eq!((info.packets - info.parity_packets, info.parity_packets), (31, parity));
    }
}

#[test]
fn a_reused_batch_shows_nothing_of_earlier_frames() {
    let mut reused = ShardBatch::new();
    let (mut one, mut other) =
        (Packetizer::new(config(1392)).unwrap(), Packetizer::new(config(1392)).unwrap());
    for length in [200_000, 3000, 42_001, 1] {
        let mut fresh = ShardBatch::new();
        one.packetize(predicted(), &access_unit(length), &mut reused).unwrap();
        other.packetize(predicted(), &access_unit(length), &mut fresh).unwrap();
        assert_eq!(reused.bytes(), fresh.bytes());
    }
}

#[test]
fn packet_sizes_of_no_client_are_refused() {
    assert_eq!(Packetizer::new(config(1400)).err(), Some(PacketizerError::PacketSize(PacketSizeError(1400))));
    assert!(format!("{:?}", encrypted(1392)).len() < 150, "the key is not shown");
}
