use super::*;

fn size(bytes: u16) -> PacketSize {
    PacketSize::new(bytes).unwrap()
}

/// A frame of so many packets, and the data shards of its blocks.
fn blocks_of(chunks: usize, percent: u8) -> Vec<usize> {
    let size = size(1392);
    let plan = plan_frame(chunks * size.payload() - FRAME_HEADER, size, percent, 2).unwrap();
    assert_eq!(plan.data(), chunks);
    plan.blocks().iter().map(|block| block.data).collect()
}

#[test]
fn parity_of_appendix_b() {
    for (data, shards) in [(121, 25), (126, 26), (212, 43)] {
        assert_eq!(parity(data, 20, 2), Parity { shards, percent: 20 });
    }
    for (data, percent) in [(1, 200), (2, 100), (3, 66), (4, 50), (5, 40), (6, 20)] {
        assert_eq!(parity(data, 20, 2), Parity { shards: 2, percent }, "D = {data}");
    }
    assert_eq!(parity(3, 0, 2), Parity::default(), "0 switches FEC off");
}

#[test]
fn the_client_counts_the_same_parity() {
    for percent in 1..=255u8 {
        for minimum in [0, 1, 2, 3, 7, MAX_MIN_FEC_PACKETS] {
            for data in 1..=max_block_data(percent, minimum) {
                let parity = parity(data, percent, minimum);
                let expected = (data * usize::from(parity.percent)).div_ceil(100);
                assert_eq!(parity.shards, expected, "{data} at {percent} %, minimum {minimum}");
                assert!(data + parity.shards <= 255, "{data} at {percent} %, minimum {minimum}");
                // One shard cannot have more than 255 % of itself, rounded up.
                let reachable = usize::from(minimum).min((data * 255).div_ceil(100));
                assert!(parity.shards >= reachable, "{data} at {percent} %, minimum {minimum}");
                if minimum <= 2 && (data * usize::from(percent)).div_ceil(100) < usize::from(minimum) {
                    assert_eq!(usize::from(parity.percent), 100 * usize::from(minimum) / data);
                }
            }
        }
    }
}

#[test]
fn largest_blocks_of_the_protocol_text() {
    for (percent, most) in [(20, 212), (10, 231), (50, 170), (100, 127), (0, 253), (255, 71)] {
        assert_eq!(max_block_data(percent, 2), most, "{percent} %");
    }
}

#[test]
fn blocks_of_appendix_b() {
    assert_eq!(blocks_of(1, 20), [1]);
    assert_eq!(blocks_of(206, 20), [206]);
    assert_eq!(blocks_of(212, 20), [212]);
    assert_eq!(blocks_of(213, 20), [107, 106]);
    assert_eq!(blocks_of(301, 20), [151, 150]);
    assert_eq!(blocks_of(801, 20), [201, 201, 201, 198]);
    assert_eq!(blocks_of(848, 20), [212; 4]);
}

#[test]
fn frames_beyond_four_blocks_go_without_parity() {
    let size = size(1392);
    for (chunks, blocks) in [(849, [213, 213, 213, 210]), (4092, [1023; 4])] {
        let plan = plan_frame(chunks * size.payload() - FRAME_HEADER, size, 20, 2).unwrap();
        assert_eq!(plan.blocks().iter().map(|block| block.data).collect::<Vec<_>>(), blocks);
        assert_eq!(plan.parity(), 0);
        assert!(plan.blocks().iter().all(|block| block.parity.percent == 0));
    }
    assert_eq!(plan_frame(4092 * size.payload() - FRAME_HEADER + 1, size, 20, 2), None);
    assert_eq!(plan_frame(usize::MAX, size, 20, 2), None);
}

#[test]
fn every_frame_is_cut_without_empty_blocks() {
    let size = size(256);
    for percent in [0, 1, 5, 20, 100, 255] {
        for chunks in 1..=4092 {
            let plan = plan_frame(chunks * size.payload() - FRAME_HEADER, size, percent, 2).unwrap();
            assert_eq!(plan.data(), chunks);
            let full = plan.blocks()[0].data;
            assert!(
                plan.blocks().iter().all(|block| (1..=full).contains(&block.data)),
                "{chunks} at {percent} %"
            );
            assert!(
                plan.blocks().iter().rev().skip(1).all(|block| block.data == full),
                "{chunks} at {percent} %"
            );
        }
    }
}

#[test]
fn packet_sizes_are_checked() {
    for bytes in [256, 1024, 1184, 1360, 1392, 1456] {
        let size = size(bytes);
        assert_eq!((size.payload(), size.datagram()), (usize::from(bytes) - 16, usize::from(bytes) + 16));
    }
    for bytes in [0, 16, 240, 257, 1393, 1472, u16::MAX] {
        assert_eq!(PacketSize::new(bytes), Err(PacketSizeError(bytes)));
    }
}
