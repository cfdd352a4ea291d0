use super::*;
use fec_rs::ReedSolomon;
use proptest::prelude::*;

/// Encodes data shards that lie back to back and returns the parity shards.
fn parity_of(encoder: &Encoder, data: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let shard_len = data[0].len();
    let mut shards = data.concat();
    shards.resize(shard_len * (encoder.data_shards() + encoder.parity_shards()), 0xaa);
    encoder.encode(&mut shards, shard_len).unwrap();
    assert_eq!(shards[..shard_len * data.len()], data.concat(), "data shards stay");
    shards[shard_len * data.len()..].chunks(shard_len).map(<[u8]>::to_vec).collect()
}

fn reference_parity(data: &[Vec<u8>], parity: usize) -> Vec<Vec<u8>> {
    let mut shards = data.to_vec();
    shards.resize(data.len() + parity, vec![0; data[0].len()]);
    ReedSolomon::new(data.len(), parity).unwrap().encode(&mut shards).unwrap();
    shards.split_off(data.len())
}

fn noise(shards: usize, shard_len: usize, mut seed: u64) -> Vec<Vec<u8>> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    };
    (0..shards).map(|_| (0..shard_len).map(|_| next()).collect()).collect()
}

fn available() -> impl Iterator<Item = Kernel> {
    Kernel::ALL.into_iter().filter(|kernel| kernel.is_available())
}

fn shards(hex_shards: &[&str]) -> Vec<Vec<u8>> {
    hex_shards.iter().map(|shard| hex::decode(shard).unwrap()).collect()
}

#[test]
fn rows_of_the_protocol_text() {
    let rows = [
        (1, ["8e", "f4"]),
        (2, ["8ef4", "f48e"]),
        (3, ["8ef447", "f48ea7"]),
        (4, ["8ef447a7", "f48ea747"]),
        (5, ["8ef447a77a", "f48ea747ba"]),
        (10, ["8ef447a77abaad9ddd98", "f48ea747ba7a9dad98dd"]),
    ];
    for (data, rows) in rows {
        let encoder = Encoder::new(data, 2).unwrap();
        for (row, expected) in rows.iter().enumerate() {
            let coefficients: Vec<_> =
                (0..data).filter_map(|shard| encoder.coefficient(row, shard)).collect();
            assert_eq!(hex::encode(coefficients), *expected, "D = {data}, row {row}");
        }
        assert_eq!(encoder.coefficient(2, 0), None);
        assert_eq!(encoder.coefficient(0, data), None);
    }
}

#[test]
fn shards_of_the_protocol_text() {
    let ramp: Vec<Vec<u8>> =
        (0..10).map(|shard| (0..8).map(|byte| (17 * shard + byte) as u8).collect()).collect();
    let cases = [
        (
            shards(&["0001020304050607", "08090a0b0c0d0e0f", "1011121314151617", "18191a1b1c1d1e1f"]),
            ["049e2db756cc7fe5", "a03a8913f268db41"],
        ),
        (shards(&["01000000ff8011a5"]), ["8e000000f14086dc", "f4000000558b0f63"]),
        (
            shards(&["0000000000000000", "ffffffffffffffff", "deadbeefcafe0102"]),
            ["ec39f4a7e9e412db", "3c81d760386556a2"],
        ),
        (ramp, ["36a892be590a337e", "d3e97790bc85d697"]),
    ];
    for (data, parity) in cases {
        assert_eq!(parity_of(&Encoder::new(data.len(), 2).unwrap(), &data), shards(&parity));
        assert_eq!(reference_parity(&data, 2), shards(&parity), "the reference is one");
    }
}

#[test]
fn audio_matrix_of_the_protocol_text() {
    let encoder = Encoder::with_matrix(4, &[0x77, 0x40, 0x38, 0x0e, 0xc7, 0xa7, 0x0d, 0x6c]).unwrap();
    let data = shards(&["0001020304050607", "08090a0b0c0d0e0f", "1011121314151617", "18191a1b1c1d1e1f"]);
    assert_eq!(parity_of(&encoder, &data), shards(&["0d0c0f0e09080b0a", "48494a4b4c4d4e4f"]));
}

#[test]
fn every_product_in_every_kernel() {
    // One data shard of all 256 bytes, each coefficient as a matrix of one.
    let data = vec![(0..=255).collect::<Vec<u8>>()];
    for kernel in available() {
        for coefficient in 0..=255u8 {
            let encoder = Encoder::with_matrix(1, &[coefficient]).unwrap().on(kernel).unwrap();
            let products: Vec<u8> =
                (0..=255).map(|element| crate::galois::multiply(coefficient, element)).collect();
            assert_eq!(parity_of(&encoder, &data), [products], "{kernel:?}, {coefficient:#x}");
        }
    }
}

/// All data counts that video uses, the parity counts of several percentages, and lengths that end anywhere in a
/// vector: the length changes from shape to shape, so that all are met without trying each with each.
#[test]
fn kernels_equal_the_reference_in_every_shape() {
    let mut lengths = (1..=300).chain([1024, 1392, 1408, 1424, 1472]).cycle();
    for data_shards in 1..=212 {
        for percent in [1, 5, 20, 50, 100] {
            let parity_shards = (data_shards * percent as usize).div_ceil(100).min(255 - data_shards);
            let data = noise(data_shards, lengths.next().unwrap(), data_shards as u64 * percent);
            let reference = reference_parity(&data, parity_shards);
            for kernel in available() {
                let encoder = Encoder::new(data_shards, parity_shards).unwrap().on(kernel).unwrap();
                assert_eq!(
                    parity_of(&encoder, &data),
                    reference,
                    "{kernel:?}, {data_shards} + {parity_shards}, {} bytes",
                    data[0].len()
                );
            }
        }
    }
}

/// Rows are computed in tiles of a few; every count must be covered exactly.
#[test]
fn every_parity_count_and_length() {
    for kernel in available() {
        for parity_shards in 1..=60 {
            let data = noise(3, 200, parity_shards as u64);
            let encoder = Encoder::new(3, parity_shards).unwrap().on(kernel).unwrap();
            assert_eq!(parity_of(&encoder, &data), reference_parity(&data, parity_shards), "{kernel:?}");
        }
        for shard_len in 1..=270 {
            let data = noise(5, shard_len, shard_len as u64);
            let encoder = Encoder::new(5, 3).unwrap().on(kernel).unwrap();
            assert_eq!(
                parity_of(&encoder, &data),
                reference_parity(&data, 3),
                "{kernel:?}, {shard_len} bytes"
            );
        }
    }
}

#[test]
fn the_reference_recovers_what_was_lost() {
    for (data_shards, parity_shards) in [(1, 2), (6, 2), (31, 7), (107, 22), (212, 43)] {
        let data = noise(data_shards, 97, 5);
        let parity = parity_of(&Encoder::new(data_shards, parity_shards).unwrap(), &data);
        let mut received: Vec<Option<Vec<u8>>> = data.iter().chain(&parity).cloned().map(Some).collect();
        for lost in received.iter_mut().step_by(2).take(parity_shards) {
            *lost = None;
        }
        ReedSolomon::new(data_shards, parity_shards).unwrap().reconstruct(&mut received).unwrap();
        let recovered: Vec<_> = received.into_iter().take(data_shards).flatten().collect();
        assert_eq!(recovered, data, "{data_shards} + {parity_shards}");
    }
}

proptest! {
    #[test]
    fn shards_in_slots(
        (data_shards, parity_shards) in (1usize..40, 0usize..20),
        (before, shard_len, behind) in (0usize..70, 0usize..200, 0usize..70),
        seed: u64,
    ) {
        let stride = before + shard_len + behind;
        let layout = Layout { stride, offset: before, shard_len };
        let slots = noise(data_shards + parity_shards, stride, seed);
        let shard_of = |slot: &Vec<u8>| slot[before..before + shard_len].to_vec();
        let data: Vec<_> = slots.iter().take(data_shards).map(shard_of).collect();
        for kernel in available() {
            let mut buffer = slots.concat();
            // The last slot may end with its shard.
            buffer.truncate(buffer.len() - behind);
            let encoder = Encoder::new(data_shards, parity_shards).unwrap().on(kernel).unwrap();
            encoder.encode_strided(&mut buffer, layout).unwrap();
            let mut expected = slots.clone();
            if parity_shards > 0 && shard_len > 0 {
                for (slot, parity) in expected[data_shards..].iter_mut().zip(reference_parity(&data, parity_shards)) {
                    slot[before..before + shard_len].copy_from_slice(&parity);
                }
            }
            let mut expected = expected.concat();
            expected.truncate(buffer.len());
            prop_assert_eq!(&buffer, &expected, "{:?}", kernel);
        }
    }
}

#[test]
fn impossible_shapes_are_refused() {
    for (data, parity) in [(0, 2), (200, 56), (256, 0), (usize::MAX, 1)] {
        assert_eq!(Encoder::new(data, parity).unwrap_err(), ShapeError::Count { data, parity });
    }
    assert!(Encoder::new(255, 0).is_ok());
    assert_eq!(Encoder::with_matrix(3, &[1; 7]).unwrap_err(), ShapeError::Matrix { data: 3, len: 7 });
    assert!(matches!(Encoder::with_matrix(0, &[]), Err(ShapeError::Count { .. })));
    assert!(matches!(Encoder::with_matrix(100, &[1; 20_000]), Err(ShapeError::Count { .. })));
}

#[test]
fn shards_outside_the_buffer_are_refused() {
    let encoder = Encoder::new(4, 2).unwrap();
    let layout = |stride, offset, shard_len| Layout { stride, offset, shard_len };
    for (length, layout) in [
        (599, layout(100, 0, 100)),
        (600, layout(100, 1, 100)),
        (600, layout(100, 101, 0)),
        (600, layout(usize::MAX, 0, 100)),
        (600, layout(100, usize::MAX, 2)),
        (0, layout(1, 0, 1)),
    ] {
        let mut buffer = vec![7; length];
        let error = encoder.encode_strided(&mut buffer, layout).unwrap_err();
        assert_eq!((error.layout, error.shards, error.buffer), (layout, 6, length));
        assert!(buffer.iter().all(|byte| *byte == 7));
    }
    assert!(encoder.encode_strided(&mut [7; 600], layout(100, 50, 50)).is_ok());
    assert!(encoder.encode_strided(&mut [], layout(0, 0, 0)).is_ok());
}

#[test]
fn the_best_kernel_runs_here() {
    let encoder = Encoder::new(2, 2).unwrap();
    assert_eq!(Some(encoder.kernel()), available().next());
}
