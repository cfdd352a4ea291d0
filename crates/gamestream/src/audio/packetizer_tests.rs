use super::*;
use crate::crypto::SessionKey;
use fec_rs::ReedSolomon;

const KEY: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// The four payloads of protocol text §7.3.
fn payload(index: u8) -> Vec<u8> {
    [0xfc].into_iter().chain(16 * index + 1..=16 * index + 7).collect()
}

/// The datagrams of one Opus packet, in hexadecimal.
fn packets(packetizer: &mut AudioPacketizer, opus: &[u8]) -> Vec<String> {
    let mut out = AudioPackets::new();
    packetizer.packetize(opus, &mut out).unwrap();
    out.iter().map(hex::encode).collect()
}

fn encrypted() -> AudioPacketizer {
    let key = AudioKey { key: SessionKey::new(KEY), key_id: 0x0102_0304 };
    AudioPacketizer::new(PacketDuration::FiveMs, Some(key))
}

#[test]
fn packets_of_the_protocol_text() {
    let mut packetizer = AudioPacketizer::new(PacketDuration::FiveMs, None);
    assert_eq!(packets(&mut packetizer, &payload(0)), ["806100000000000000000000fc01020304050607"]);
    assert_eq!(packets(&mut packetizer, &payload(1)), ["806100010000000500000000fc11121314151617"]);
    assert_eq!(packets(&mut packetizer, &payload(2)), ["806100020000000a00000000fc21222324252627"]);
    assert_eq!(
        packets(&mut packetizer, &payload(3)),
        [
            "806100030000000f00000000fc31323334353637",
            "807f00040000000000000000006100000000000000000000fc1b18191e1f1c1d",
            "807f00050000000000000000016100000000000000000000fc91929394959697",
        ]
    );
    // The next block goes on with 4: parity takes no number of the data's.
    let next = packets(&mut packetizer, &payload(0));
    assert_eq!(next, ["806100040000001400000000fc01020304050607"]);
    assert_eq!(packetizer.next_sequence(), 5);
}

#[test]
fn ciphertexts_of_the_protocol_text() {
    let mut packetizer = encrypted();
    let ciphertexts = [
        "d13a0034f0d2cd42e138a84d4640e8f3",
        "a02a29b33455ac3d3e66c734e00483aa",
        "d366f9998fc2d113481e5d2daaa632d3",
        "12688d720c7b1069f43614d75e4e9304",
    ];
    let mut parity = Vec::new();
    for (index, ciphertext) in ciphertexts.iter().enumerate() {
        let mut made = packets(&mut packetizer, &payload(index as u8));
        assert_eq!(made[0][24..], **ciphertext);
        parity = made.split_off(1);
    }
    let payloads: Vec<_> = parity.iter().map(|packet| &packet[48..]).collect();
    assert_eq!(payloads, ["562961ea01df607209b1974cbdf03280", "97278c4abf070340d22ddc3d125cd338"]);
}

#[test]
fn sequences_wrap_and_timestamps_run_on() {
    let mut packetizer = AudioPacketizer::new(PacketDuration::TenMs, None);
    packetizer.counter = 0xfffc;
    for index in 0..3 {
        packets(&mut packetizer, &payload(index));
    }
    let made = packets(&mut packetizer, &payload(3));
    assert_eq!(made[0][..16], *"8061ffff0009fff6");
    // Sequence 0 and 1 after the wrap; base 0xfffc at 655,320 ms.
    assert_eq!(made[1][..40], *"807f000000000000000000000061fffc0009ffd8");
    assert_eq!(made[2][..40], *"807f000100000000000000000161fffc0009ffd8");
    let next = packets(&mut packetizer, &payload(0));
    assert_eq!(next[0][..16], *"80610000000a0000", "the time goes on where the number starts over");
    packetizer.counter = u32::MAX;
    let made = packets(&mut packetizer, &payload(0));
    assert_eq!(made[0][..8], *"8061ffff");
    assert_eq!(packetizer.next_sequence(), 0);
}

#[test]
fn any_two_lost_packets_of_a_block_can_be_recovered() {
    let mut codec = ReedSolomon::new(4, 2).unwrap();
    codec.set_parity_matrix(&PARITY_MATRIX).unwrap();
    let mut packetizer = encrypted();
    let mut out = AudioPackets::new();
    let mut shards = Vec::new();
    for index in 0..4 {
        packetizer.packetize(&[index * 3; 61], &mut out).unwrap();
        for (packet, header) in out.iter().zip([12, 24, 24]) {
            shards.push(packet[header..].to_vec());
        }
    }
    assert_eq!(shards.len(), 6);
    for first in 0..6 {
        for second in 0..6 {
            let mut received: Vec<_> = shards.iter().cloned().map(Some).collect();
            received[first] = None;
            received[second] = None;
            codec.reconstruct(&mut received).unwrap();
            assert_eq!(received.into_iter().flatten().collect::<Vec<_>>(), shards);
        }
    }
}

#[test]
fn a_block_of_unequal_packets_has_no_parity() {
    let mut packetizer = AudioPacketizer::new(PacketDuration::FiveMs, None);
    for lengths in [[60, 60, 61, 60], [61, 60, 60, 60], [60, 60, 60, 61]] {
        let made: usize =
            lengths.iter().map(|length| packets(&mut packetizer, &vec![1; *length]).len()).sum();
        assert_eq!(made, 4);
    }
    let made: usize = [60; 4].iter().map(|length| packets(&mut packetizer, &vec![1; *length]).len()).sum();
    assert_eq!(made, 6, "the next block is whole again");
}

#[test]
fn parity_packets_fit_too_and_larger_payloads_are_refused() {
    let mut out = AudioPackets::new();
    for (mut packetizer, most) in
        [(AudioPacketizer::new(PacketDuration::FiveMs, None), 1376), (encrypted(), 1375)]
    {
        for _ in 0..3 {
            packetizer.packetize(&vec![9; most], &mut out).unwrap();
        }
        let refused = packetizer.packetize(&vec![9; most + 1], &mut out);
        assert_eq!(refused, Err(PayloadTooLarge(most + 1)));
        assert_eq!(out.iter().count(), 0);
        assert_eq!(packetizer.next_sequence(), 3, "a refused packet takes no number");
        packetizer.packetize(&vec![9; most], &mut out).unwrap();
        assert_eq!(out.iter().map(<[u8]>::len).collect::<Vec<_>>(), [1388, MAX_DATAGRAM, MAX_DATAGRAM]);
    }
}

#[test]
fn the_longest_packet_fits_either_way() {
    let mut out = AudioPackets::new();
    for mut packetizer in [AudioPacketizer::new(PacketDuration::TenMs, None), encrypted()] {
        for _ in 0..4 {
            packetizer.packetize(&[3; MAX_OPUS], &mut out).unwrap();
            assert!(out.iter().all(|packet| packet.len() <= MAX_DATAGRAM));
        }
    }
}

#[test]
fn an_empty_packet_is_a_packet() {
    let mut packetizer = AudioPacketizer::new(PacketDuration::FiveMs, None);
    let made: Vec<_> = (0..4).map(|_| packets(&mut packetizer, &[]).len()).collect();
    assert_eq!(made, [1, 1, 1, 3]);
}
