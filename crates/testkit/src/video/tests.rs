use super::reference::Packetizer;
use super::*;
use crate::request::Codec;
use proptest::prelude::*;

const KEY: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

fn golden() -> Vec<Vec<u8>> {
    include_str!("../../fixtures/golden_video.txt").lines().map(|line| hex::decode(line).unwrap()).collect()
}

fn golden_data() -> Vec<u8> {
    [&[0, 0, 0, 1, 0x65][..], &(1..=0x5f).collect::<Vec<u8>>()].concat()
}

/// An H.264 key picture of `length` bytes that keeps the rules of §6.11.
pub(crate) fn key_picture(length: usize) -> Vec<u8> {
    let mut data = vec![0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 1, 0, 0, 0, 1, 0x65];
    data.resize(length.max(18), 0x55);
    data
}

pub(crate) fn predicted_picture(length: usize) -> Vec<u8> {
    let mut data = vec![0, 0, 0, 1, 0x41];
    data.resize(length.max(6), 0xaa);
    data
}

struct Bench {
    host: Packetizer,
    client: Depacketizer,
    timestamp: u32,
    at: u64,
}

impl Bench {
    fn new() -> Self {
        Bench::with(Settings::new(64, Codec::H264))
    }

    fn with(settings: Settings) -> Self {
        let mut host = Packetizer::new(settings.packet_size);
        host.key = settings.key;
        Bench { host, client: Depacketizer::new(settings), timestamp: 0, at: 0 }
    }

    fn packets(&mut self, data: &[u8], kind: u8) -> Vec<Vec<u8>> {
        self.timestamp = self.timestamp.wrapping_add(1500);
        self.host.frame(data, kind, 10, self.timestamp)
    }

    fn push(&mut self, packets: impl IntoIterator<Item = Vec<u8>>) -> Vec<Event> {
        let mut events = Vec::new();
        for packet in packets {
            self.at += 1000;
            events.extend(self.client.push(&packet, Time(self.at)));
        }
        events
    }

    fn whole(&mut self, data: &[u8], kind: u8) -> Vec<Event> {
        let packets = self.packets(data, kind);
        self.push(packets)
    }

    fn assert_clean(&self) {
        assert_eq!(self.client.violations(), []);
    }
}

fn frames(events: &[Event]) -> Vec<u32> {
    let index = |event: &Event| match event {
        Event::Frame(frame) => Some(frame.index),
        _ => None,
    };
    events.iter().filter_map(index).collect()
}

fn requests(events: &[Event]) -> Vec<Event> {
    let is_request = |e: &&Event| matches!(e, Event::RequestIdr | Event::RequestInvalidation { .. });
    events.iter().filter(is_request).cloned().collect()
}

fn rules(client: &Depacketizer) -> Vec<Rule> {
    client.violations().iter().map(|violation| violation.rule).collect()
}

#[test]
fn golden_packets_make_the_golden_frame_under_every_loss_of_two() {
    let golden = golden();
    let data = golden_data();
    for a in 0..5 {
        for b in 0..5 {
            let mut client = Depacketizer::new(Settings::new(64, Codec::H264));
            let mut events = Vec::new();
            for (index, packet) in golden[..5].iter().enumerate() {
                if index != a && index != b {
                    events.extend(client.push(packet, Time(index as u64)));
                }
            }
            // The golden frame is typed IDR but has no parameter sets: a client that asks the bitstream waits on.
            assert_eq!(frames(&events), [] as [u32; 0]);
            assert_eq!(client.statistics().frames_discarded, 1);
            assert!(rules(&client).contains(&Rule::FrameType));
            let mut av1 = Depacketizer::new(Settings::new(64, Codec::Av1));
            let frame = golden[..5]
                .iter()
                .enumerate()
                .filter(|(index, _)| *index != a && *index != b)
                .flat_map(|(index, packet)| av1.push(packet, Time(index as u64)))
                .find_map(|event| match event {
                    Event::Frame(frame) => Some(frame),
                    _ => None,
                })
                .expect("by the frame type it is a key frame");
            assert_eq!(frame.data, data);
            assert_eq!(frame.kind, FrameType::Idr);
            assert_eq!(frame.rtp_timestamp, 0x1234_5678);
            assert_eq!(frame.host_latency, Some(Duration::from_micros(12_300)));
            assert_eq!(frame.recovered as usize, usize::from(a < 3) + usize::from(b < 3 && b != a));
        }
    }
}

#[test]
fn reference_packetizer_gives_the_golden_bytes() {
    let golden = golden();
    let mut host = Packetizer::new(64);
    assert_eq!(host.frame(&golden_data(), 2, 123, 0x1234_5678), golden[..5]);
    let mut host = Packetizer::new(64);
    host.key = Some(KEY);
    let sealed = host.frame(&golden_data(), 2, 123, 0x1234_5678);
    assert_eq!(sealed[0], golden[5]);
    assert_eq!(hex::encode(&sealed[1][..12]), "010000000000000000000056");
    assert_eq!(hex::encode(&sealed[1][16..32]), "4d2bea3243f9a1161a311082f2e56d60");
}

#[test]
fn golden_encrypted_packet_opens() {
    let golden = golden();
    let prefix = crypt::Prefix::parse(&golden[5]).unwrap();
    let opener = crypt::Opener::new(&KEY);
    assert_eq!(opener.open(&prefix, &golden[5]).unwrap(), golden[0]);
    assert_eq!((prefix.counter(), prefix.frame), (Some(0), 1));
    let mut broken = golden[5].clone();
    broken[40] ^= 1;
    assert_eq!(opener.open(&prefix, &broken), Err(crypt::DecryptError::Tag));
}

#[test]
fn a_clean_stream_of_all_shapes_is_clean() {
    for key in [None, Some(KEY)] {
        for prove_parity in [false, true] {
            let mut bench = Bench::with(Settings { key, prove_parity, ..Settings::new(64, Codec::H264) });
            assert_eq!(frames(&bench.whole(&key_picture(100), 2)), [1]);
            // One packet, an exact multiple, two blocks, four blocks, no FEC.
            let mut index = 1;
            for length in [20, 40, 88, 48 * 213 - 8, 48 * 801 - 9, 48 * 849 - 8] {
                let packets = bench.packets(&predicted_picture(length), 1);
                index += 1;
                let events = bench.push(packets);
                assert_eq!(frames(&events), [index], "{length}");
                assert_eq!(requests(&events), []);
            }
            bench.assert_clean();
            assert_eq!(bench.client.statistics().frames, 7);
            assert_eq!(bench.client.statistics().frames_recovered, 0);
        }
    }
}

#[test]
fn block_shapes_follow_appendix_b() {
    for (chunks, sizes) in
        [(206, vec![206]), (213, vec![107, 106]), (301, vec![151, 150]), (801, vec![201, 201, 201, 198])]
    {
        let mut bench = Bench::new();
        let packets = bench.packets(&key_picture(48 * chunks - 8), 2);
        let mut seen = vec![0; sizes.len()];
        for packet in &packets {
            let header = Header::parse(packet).unwrap();
            seen[usize::from(header.block)] = header.data_shards;
            assert_eq!(header.parity_shards(), (header.data_shards * 20).div_ceil(100));
        }
        assert_eq!(seen, sizes);
        assert_eq!(frames(&bench.push(packets)), [1]);
        bench.assert_clean();
    }
    let fields = |info: u32| {
        let mut packet = vec![0; 32];
        packet[28..].copy_from_slice(&info.to_le_bytes());
        let header = Header::parse(&packet).unwrap();
        (header.data_shards, header.shard, header.percentage, header.parity_shards())
    };
    assert_eq!(fields(0x00c0_4420), (3, 4, 66, 2));
    assert_eq!(fields(0x3380_0140), (206, 0, 20, 42));
    assert_eq!(fields((121 << 22) | (20 << 4)).3, 25);
    assert_eq!(fields((126 << 22) | (20 << 4)).3, 26);
    assert_eq!(fields((212 << 22) | (20 << 4)).3, 43);
    assert_eq!(fields((1 << 22) | (200 << 4)).3, 2);
}

#[test]
fn loss_within_parity_recovers_and_is_reported() {
    let mut bench = Bench::with(Settings { key: Some(KEY), ..Settings::new(64, Codec::H264) });
    let mut packets = bench.packets(&key_picture(48 * 50), 2);
    assert_eq!(packets.len(), 51 + 11);
    for index in (0..11).rev() {
        packets.remove(index * 4);
    }
    let events = bench.push(packets);
    assert_eq!(frames(&events), [1]);
    let report = events.iter().find_map(|event| match event {
        Event::Report(report) => Some(*report),
        _ => None,
    });
    let report = report.expect("a recovered block is reported");
    assert_eq!((report.data, report.parity, report.received_data, report.received_parity), (51, 11, 40, 11));
    assert_eq!((report.next_contiguous_sequence, report.missing_before_highest), (0, 11));
    bench.assert_clean();
}

#[test]
fn a_lost_frame_asks_for_an_idr_and_waits_for_it() {
    let mut bench = Bench::new();
    bench.whole(&key_picture(100), 2);
    bench.packets(&predicted_picture(100), 1);
    let events = bench.whole(&predicted_picture(100), 1);
    assert_eq!(requests(&events), [Event::RequestIdr]);
    assert_eq!(frames(&events), [] as [u32; 0]);
    assert_eq!(frames(&bench.whole(&predicted_picture(100), 1)), [] as [u32; 0]);
    let events = bench.whole(&key_picture(100), 2);
    assert_eq!((frames(&events), requests(&events)), (vec![5], vec![]));
    assert_eq!(frames(&bench.whole(&predicted_picture(100), 1)), [6]);
    let statistics = bench.client.statistics();
    assert_eq!((statistics.frames, statistics.frames_lost, statistics.frames_discarded), (3, 1, 2));
    bench.assert_clean();
}

#[test]
fn with_invalidation_the_range_is_sent_and_type_5_recovers() {
    let mut bench = Bench::with(Settings { invalidation: true, ..Settings::new(64, Codec::H264) });
    bench.whole(&key_picture(100), 2);
    bench.packets(&predicted_picture(100), 1);
    bench.packets(&predicted_picture(100), 1);
    let events = bench.whole(&predicted_picture(100), 1);
    assert_eq!(requests(&events), [Event::RequestInvalidation { first: 2, last: 3 }]);
    bench.packets(&predicted_picture(100), 1);
    let events = bench.whole(&predicted_picture(100), 1);
    assert_eq!(requests(&events), [Event::RequestInvalidation { first: 2, last: 5 }]);
    assert_eq!(frames(&bench.whole(&predicted_picture(100), 5)), [7]);
    assert_eq!(frames(&bench.whole(&predicted_picture(100), 1)), [8]);
    bench.assert_clean();
}

#[test]
fn before_the_first_idr_a_loss_asks_for_an_idr_even_with_invalidation() {
    let mut bench = Bench::with(Settings { invalidation: true, ..Settings::new(64, Codec::H264) });
    bench.packets(&key_picture(100), 2);
    let events = bench.whole(&predicted_picture(100), 1);
    assert_eq!(requests(&events), [Event::RequestIdr]);
}

#[test]
fn many_dropped_frames_end_in_an_idr_request() {
    let mut bench = Bench::with(Settings { invalidation: true, ..Settings::new(64, Codec::H264) });
    bench.whole(&key_picture(100), 2);
    bench.packets(&predicted_picture(100), 1);
    let mut events = Vec::new();
    for _ in 0..120 {
        events.extend(bench.whole(&predicted_picture(100), 1));
    }
    assert_eq!(requests(&events), [Event::RequestInvalidation { first: 2, last: 2 }, Event::RequestIdr]);
    assert_eq!(frames(&bench.whole(&predicted_picture(100), 5)), [] as [u32; 0]);
    assert_eq!(frames(&bench.whole(&key_picture(100), 2)).len(), 1);
}

#[test]
fn more_loss_than_parity_is_noticed_before_the_next_frame() {
    let mut bench = Bench::new();
    bench.whole(&key_picture(100), 2);
    let packets = bench.packets(&predicted_picture(48 * 10 - 8), 1);
    let events = bench.push(packets[..2].iter().chain(&packets[5..6]).cloned());
    assert_eq!(requests(&events), [Event::RequestIdr]);
    // The loss itself does not ask again.
    assert_eq!(requests(&bench.whole(&predicted_picture(100), 1)), []);
}

#[test]
fn after_reordering_no_early_conclusions() {
    let mut bench = Bench::new();
    let mut packets = bench.packets(&key_picture(100), 2);
    packets.swap(0, 1);
    assert_eq!(frames(&bench.push(packets)), [1]);
    assert!(bench.client.statistics().out_of_order > 0);
    let packets = bench.packets(&predicted_picture(48 * 10 - 8), 1);
    let late = packets[2..6].to_vec();
    let mut events = bench.push(packets[..2].iter().chain(&packets[6..]).cloned());
    assert_eq!(requests(&events), []);
    events.extend(bench.push(late));
    assert_eq!(frames(&events), [2]);
    bench.assert_clean();
}

#[test]
fn duplicates_and_late_parity_are_counted_not_held_against_the_host() {
    let mut bench = Bench::with(Settings { key: Some(KEY), ..Settings::new(64, Codec::H264) });
    let packets = bench.packets(&key_picture(100), 2);
    let doubled: Vec<Vec<u8>> = packets.iter().flat_map(|packet| [packet.clone(), packet.clone()]).collect();
    assert_eq!(frames(&bench.push(doubled)), [1]);
    let statistics = bench.client.statistics();
    assert_eq!((statistics.duplicates, statistics.stale, statistics.surplus_parity), (2, 1, 4));
    bench.assert_clean();
}

#[test]
fn sequence_wraps_are_survived() {
    let mut bench = Bench::new();
    bench.whole(&key_picture(100), 2);
    for _ in 0..(0x1_0010 / 5) {
        let count = frames(&bench.whole(&predicted_picture(100), 1)).len();
        assert_eq!(count, 1);
    }
    assert!(bench.host.sequence > 0x1_0000);
    bench.assert_clean();
}

/// One change to one packet of a clean frame, and the rule it breaks.
#[test]
fn every_deviation_is_named() {
    let change = |at: usize, value: u8| move |packet: &mut Vec<u8>| packet[at] = value;
    #[expect(clippy::type_complexity, reason = "a table of this one test")]
    let cases: Vec<(usize, Box<dyn Fn(&mut Vec<u8>)>, Rule)> = vec![
        (0, Box::new(|packet| packet.truncate(60)), Rule::DatagramLength),
        (1, Box::new(|packet| packet.push(0)), Rule::DatagramLength),
        (0, Box::new(change(0, 0x80)), Rule::RtpHeader),
        (1, Box::new(change(1, 97)), Rule::RtpHeader),
        (1, Box::new(change(11, 1)), Rule::RtpHeader),
        (1, Box::new(change(15, 1)), Rule::RtpHeader),
        (1, Box::new(change(3, 9)), Rule::Sequence),
        (1, Box::new(change(7, 9)), Rule::Timestamp),
        (1, Box::new(change(17, 9)), Rule::StreamPacketIndex),
        (0, Box::new(change(20, 0)), Rule::FrameIndex),
        (0, Box::new(change(20, 7)), Rule::FrameIndex),
        (0, Box::new(change(24, 1)), Rule::Flags),
        (2, Box::new(change(24, 1)), Rule::Flags),
        (1, Box::new(change(25, 2)), Rule::Flags),
        (1, Box::new(change(26, 0)), Rule::MultiFec),
        (1, Box::new(change(27, 0x10)), Rule::MultiFec),
        (1, Box::new(change(31, 1)), Rule::FecInfo),
        (0, Box::new(change(32, 0x81)), Rule::FrameHeader),
        (0, Box::new(change(35, 9)), Rule::FrameHeader),
        (0, Box::new(change(34, 0xff)), Rule::Latency),
        (0, Box::new(change(35, 1)), Rule::FrameType),
        (0, Box::new(change(36, 0)), Rule::LastPayloadLength),
        (2, Box::new(change(79, 1)), Rule::Padding),
        (0, Box::new(change(42, 9)), Rule::Bitstream),
    ];
    for (number, (index, alter, rule)) in cases.into_iter().enumerate() {
        let mut bench = Bench::new();
        let mut packets = bench.packets(&key_picture(100), 2);
        alter(&mut packets[index]);
        bench.push(packets);
        bench.whole(&key_picture(100), 2);
        assert!(rules(&bench.client).contains(&rule), "case {number}: {:?}", bench.client.violations());
    }
}

#[test]
fn deviations_across_frames_are_named() {
    let mut bench = Bench::new();
    bench.host.sequence = 0x9000;
    let packets = bench.packets(&key_picture(100), 2);
    bench.push(packets);
    assert_eq!(rules(&bench.client), [Rule::StartSequence; 5]);
    assert_eq!(bench.client.statistics().frames, 0);

    let mut bench = Bench::new();
    bench.host.sequence = 32_767;
    assert_eq!(frames(&bench.whole(&key_picture(100), 2)), [1]);
    bench.host.sequence += 3;
    bench.whole(&predicted_picture(100), 1);
    bench.timestamp -= 2500;
    bench.whole(&predicted_picture(100), 1);
    assert_eq!(rules(&bench.client), [Rule::Sequence, Rule::Timestamp]);

    let mut bench = Bench::new();
    bench.whole(&predicted_picture(100), 1);
    assert_eq!(rules(&bench.client), [Rule::FirstFrame]);

    let mut bench = Bench::new();
    let mut data = key_picture(100);
    data.splice(6..6, [7; 40]);
    bench.whole(&data, 2);
    assert_eq!(rules(&bench.client), [Rule::FirstPacket]);

    let mut bench = Bench::new();
    bench.host.min_parity = 0;
    bench.whole(&key_picture(100), 2);
    assert_eq!(rules(&bench.client)[0], Rule::MinimumParity);
}

#[test]
fn iv_reuse_and_a_wrong_clear_number_are_named() {
    let mut bench = Bench::with(Settings { key: Some(KEY), ..Settings::new(64, Codec::H264) });
    bench.whole(&key_picture(100), 2);
    bench.host.counter = 2;
    bench.whole(&predicted_picture(100), 1);
    assert!(rules(&bench.client).iter().all(|rule| *rule == Rule::Iv));
    assert!(bench.client.violations()[0].detail.contains("twice"));

    let mut bench = Bench::with(Settings { key: Some(KEY), ..Settings::new(64, Codec::H264) });
    let mut packets = bench.packets(&key_picture(100), 2);
    packets[0][12] = 9;
    packets[1][40] ^= 1;
    assert_eq!(frames(&bench.push(packets)), [1]);
    assert_eq!(rules(&bench.client), [Rule::ClearFrameNumber, Rule::Authentication]);
}

#[test]
fn parity_with_its_index_field_overwritten_is_found() {
    // §6.5 rule 3: a host that writes streamPacketIndex into parity packets breaks recovery.
    let mut bench = Bench::new();
    let mut packets = bench.packets(&key_picture(100), 2);
    for packet in &mut packets[3..] {
        packet[16..20].copy_from_slice(&[0, 3, 0, 0]);
    }
    let proving = Settings { prove_parity: true, ..Settings::new(64, Codec::H264) };
    let mut prover = Depacketizer::new(proving);
    packets.iter().for_each(|packet| drop(prover.push(packet, Time(0))));
    assert_eq!(rules(&prover), [Rule::Parity]);
    packets.remove(1);
    let events = bench.push(packets);
    assert_eq!(frames(&events), [] as [u32; 0]);
    assert!(rules(&bench.client).contains(&Rule::StreamPacketIndex));
    assert_eq!(requests(&events), [Event::RequestIdr]);
}

#[test]
fn long_term_candidates_are_acknowledged() {
    let mut bench = Bench::new();
    bench.host.extra_flags = 1;
    let events = bench.whole(&key_picture(100), 2);
    assert!(events.contains(&Event::AcknowledgeLongTerm(1)));
}

proptest! {
    /// Random bytes, and real packets with random changes, lost, doubled and shuffled: no panic, and what comes out
    /// is in order.
    #[test]
    fn hostile_datagrams_never_panic(
        packets in prop::collection::vec(
            prop_oneof![
                3 => (0usize..40, prop::collection::vec((0usize..80, any::<u8>()), 0..4)).prop_map(Ok),
                1 => prop::collection::vec(any::<u8>(), 0..120).prop_map(Err),
            ],
            0..120,
        ),
        prove_parity: bool,
        invalidation: bool,
    ) {
        let mut host = Packetizer::new(64);
        let mut real = host.frame(&key_picture(100), 2, 0, 1);
        for _ in 0..7 {
            real.extend(host.frame(&predicted_picture(60), 1, 0, 1));
        }
        let settings = Settings { prove_parity, invalidation, ..Settings::new(64, Codec::H264) };
        let mut client = Depacketizer::new(settings);
        let mut last = 0i64;
        for packet in packets {
            let datagram = match packet {
                Ok((index, changes)) => {
                    let mut datagram = real[index % real.len()].clone();
                    for (at, value) in changes {
                        datagram[at] = value;
                    }
                    datagram
                }
                Err(bytes) => bytes,
            };
            for event in client.push(&datagram, Time(0)) {
                if let Event::Frame(frame) = event {
                    prop_assert!((frame.index as i64 - last) as i32 > 0);
                    last = i64::from(frame.index);
                }
            }
        }
        prop_assert!(client.violations().len() <= 1000);
    }

    /// Any loss of at most P packets per block, in any order within the frame, gives the frame.
    #[test]
    fn any_loss_within_parity_is_recovered(length in 20usize..4000, seed: u64, encrypted: bool) {
        let key = encrypted.then_some(KEY);
        let mut bench = Bench::with(Settings { key, ..Settings::new(64, Codec::H264) });
        let data = key_picture(length);
        let mut packets = bench.packets(&data, 2);
        let total = packets.len();
        let parity = total - (length.max(18) + 8).div_ceil(48);
        let mut state = seed | 1;
        for _ in 0..parity {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            packets.remove((state >> 33) as usize % packets.len());
        }
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let middle = (state >> 33) as usize % packets.len();
        packets.rotate_left(middle);
        let events = bench.push(packets);
        let frame = events.iter().find_map(|event| match event {
            Event::Frame(frame) => Some(frame),
            _ => None,
        });
        prop_assert_eq!(frame.map(|frame| &frame.data), Some(&data));
    }
}
