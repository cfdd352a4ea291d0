use super::*;

/// Encoder of the test, straight from the formula of protocol text §6.5: byte by byte, no tables of the decoder but
/// its definition of the product.
fn encode(code: Code, data: &[Vec<u8>], parity: usize) -> Vec<Vec<u8>> {
    let inverses: Vec<u8> = (0..=255).map(|a| if a == 0 { 0 } else { slow_inverse(a) }).collect();
    (0..parity)
        .map(|row| {
            (0..data[0].len())
                .map(|byte| {
                    data.iter().enumerate().fold(0, |sum, (column, shard)| {
                        let coefficient = match code {
                            Code::Cauchy { parity } => inverses[(parity + column) ^ row],
                            Code::Audio => [[0x77, 0x40, 0x38, 0x0e], [0xc7, 0xa7, 0x0d, 0x6c]][row][column],
                        };
                        sum ^ multiply(coefficient, shard[byte])
                    })
                })
                .collect()
        })
        .collect()
}

fn slow_inverse(a: u8) -> u8 {
    (1..=255).find(|&b| multiply(a, b) == 1).expect("every element but 0 has an inverse")
}

/// xorshift64*: the tests need reproducible chance, not good chance.
struct Chance(u64);
impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }
}

fn cauchy_rows(field: &Field, data: usize, parity: usize) -> Vec<String> {
    let code = Code::Cauchy { parity };
    (0..parity)
        .map(|row| hex::encode((0..data).map(|i| code.coefficient(field, row, i)).collect::<Vec<_>>()))
        .collect()
}

#[test]
fn field_and_matrix_match_the_text() {
    let field = Field::new();
    assert_eq!((field.inverse(2), field.inverse(3), field.inverse(0x53)), (0x8e, 0xf4, 0x8c));
    assert_eq!(cauchy_rows(&field, 1, 2), ["8e", "f4"]);
    assert_eq!(cauchy_rows(&field, 2, 2), ["8ef4", "f48e"]);
    assert_eq!(cauchy_rows(&field, 3, 2), ["8ef447", "f48ea7"]);
    assert_eq!(cauchy_rows(&field, 4, 2), ["8ef447a7", "f48ea747"]);
    assert_eq!(cauchy_rows(&field, 5, 2), ["8ef447a77a", "f48ea747ba"]);
    assert_eq!(cauchy_rows(&field, 10, 2), ["8ef447a77abaad9ddd98", "f48ea747ba7a9dad98dd"]);
    for a in 1..=255u8 {
        assert_eq!(field.inverse(a), slow_inverse(a));
    }
}

/// Golden shard vectors of §6.5: with the golden parity, every pair of data shards must come back.
fn check_golden(code: Code, data: &[&str], parity: &[&str]) {
    let field = Field::new();
    let data: Vec<Vec<u8>> = data.iter().map(|shard| hex::decode(shard).unwrap()).collect();
    let parity: Vec<Vec<u8>> = parity.iter().map(|shard| hex::decode(shard).unwrap()).collect();
    assert_eq!(encode(code, &data, parity.len()), parity);
    let all: Vec<Option<Vec<u8>>> = data.iter().chain(&parity).cloned().map(Some).collect();
    for a in 0..all.len() {
        for b in 0..all.len() {
            let mut shards = all.clone();
            shards[a] = None;
            shards[b] = None;
            recover(&field, code, &mut shards, data.len()).unwrap();
            for (shard, original) in shards.iter().zip(&data) {
                assert_eq!(shard.as_ref(), Some(original));
            }
        }
    }
}

#[test]
fn golden_shard_vectors_recover() {
    let cauchy = Code::Cauchy { parity: 2 };
    check_golden(
        cauchy,
        &["0001020304050607", "08090a0b0c0d0e0f", "1011121314151617", "18191a1b1c1d1e1f"],
        &["049e2db756cc7fe5", "a03a8913f268db41"],
    );
    check_golden(cauchy, &["01000000ff8011a5"], &["8e000000f14086dc", "f4000000558b0f63"]);
    check_golden(
        cauchy,
        &["0000000000000000", "ffffffffffffffff", "deadbeefcafe0102"],
        &["ec39f4a7e9e412db", "3c81d760386556a2"],
    );
    let ten: Vec<String> =
        (0..10u32).map(|i| hex::encode((0..8).map(|k| (17 * i + k) as u8).collect::<Vec<_>>())).collect();
    let ten: Vec<&str> = ten.iter().map(String::as_str).collect();
    check_golden(cauchy, &ten, &["36a892be590a337e", "d3e97790bc85d697"]);
}

#[test]
fn golden_audio_vectors_recover() {
    check_golden(
        Code::Audio,
        &["0001020304050607", "08090a0b0c0d0e0f", "1011121314151617", "18191a1b1c1d1e1f"],
        &["0d0c0f0e09080b0a", "48494a4b4c4d4e4f"],
    );
    check_golden(
        Code::Audio,
        &["fc01020304050607", "fc11121314151617", "fc21222324252627", "fc31323334353637"],
        &["fc1b18191e1f1c1d", "fc91929394959697"],
    );
    check_golden(
        Code::Audio,
        &[
            "d13a0034f0d2cd42e138a84d4640e8f3",
            "a02a29b33455ac3d3e66c734e00483aa",
            "d366f9998fc2d113481e5d2daaa632d3",
            "12688d720c7b1069f43614d75e4e9304",
        ],
        &["562961ea01df607209b1974cbdf03280", "97278c4abf070340d22ddc3d125cd338"],
    );
}

fn random_shards(chance: &mut Chance, count: usize, length: usize) -> Vec<Vec<u8>> {
    (0..count).map(|_| (0..length).map(|_| chance.next() as u8).collect()).collect()
}

#[test]
fn every_loss_pattern_of_small_blocks() {
    let field = Field::new();
    let mut chance = Chance(0x5eed);
    let mut patterns = 0u32;
    for data_count in 1..12usize {
        for parity_count in 1..=(12 - data_count) {
            let data = random_shards(&mut chance, data_count, 5);
            let code = Code::Cauchy { parity: parity_count };
            let parity = encode(code, &data, parity_count);
            let all: Vec<Option<Vec<u8>>> = data.iter().chain(&parity).cloned().map(Some).collect();
            for lost in 0u32..1 << (data_count + parity_count) {
                let mut shards = all.clone();
                for (index, shard) in shards.iter_mut().enumerate() {
                    if lost >> index & 1 == 1 {
                        *shard = None;
                    }
                }
                let result = recover(&field, code, &mut shards, data_count);
                let data_lost = (lost & ((1 << data_count) - 1)).count_ones() as usize;
                let parity_left = parity_count - (lost >> data_count).count_ones() as usize;
                if data_lost <= parity_left {
                    assert_eq!(result, Ok(data_lost));
                    assert!(
                        shards.iter().zip(&data).all(|(shard, original)| shard.as_ref() == Some(original))
                    );
                } else {
                    assert_eq!(result, Err(FecError::TooFew { missing: data_lost, parity: parity_left }));
                }
                patterns += 1;
            }
        }
    }
    assert_eq!(patterns, (2..=12u32).map(|total| (total - 1) << total).sum::<u32>());
}

/// `patterns` random losses of exactly P shards for one shape.
fn random_patterns(field: &Field, chance: &mut Chance, data_count: usize, percent: usize, patterns: usize) {
    let parity_count = (data_count * percent).div_ceil(100);
    if data_count + parity_count > 255 {
        return;
    }
    let data = random_shards(chance, data_count, 4);
    let code = Code::Cauchy { parity: parity_count };
    let parity = encode(code, &data, parity_count);
    let all: Vec<Option<Vec<u8>>> = data.iter().chain(&parity).cloned().map(Some).collect();
    let mut order: Vec<usize> = (0..all.len()).collect();
    for _ in 0..patterns {
        for position in 0..parity_count {
            let other = position + chance.below(order.len() - position);
            order.swap(position, other);
        }
        let mut shards = all.clone();
        for &lost in &order[..parity_count] {
            shards[lost] = None;
        }
        recover(field, code, &mut shards, data_count)
            .unwrap_or_else(|error| panic!("D={data_count} {percent} %: {error}"));
        assert!(
            shards.iter().zip(&data).all(|(shard, original)| shard.as_ref() == Some(original)),
            "D={data_count} {percent} %"
        );
    }
}

/// 10,000 patterns per shape with `LUMEN_LONG_TESTS` set (minutes), 10 without.
#[test]
fn random_losses_for_every_data_count_up_to_212() {
    #[expect(
        clippy::disallowed_methods,
        reason = "the choice of a long run is the test runner's, not the product's"
    )]
    let long = std::env::var_os("LUMEN_LONG_TESTS").is_some_and(|value| value != "0");
    let patterns = if long { 10_000 } else { 10 };
    std::thread::scope(|scope| {
        for percents in [&[5, 10, 20, 50][..], &[100]] {
            scope.spawn(move || {
                let field = Field::new();
                for &percent in percents {
                    let mut chance = Chance(0x1eaf + percent as u64);
                    for data_count in 1..=212 {
                        random_patterns(&field, &mut chance, data_count, percent, patterns);
                    }
                }
            });
        }
    });
}

#[test]
fn impossible_shapes_are_refused() {
    let field = Field::new();
    let mut shards = vec![None; 300];
    assert_eq!(recover(&field, Code::Cauchy { parity: 60 }, &mut shards, 240), Err(FecError::BadShape));
    assert_eq!(recover(&field, Code::Audio, &mut [None, None], 1), Err(FecError::BadShape));
    assert_eq!(recover(&field, Code::Cauchy { parity: 1 }, &mut [None], 3), Err(FecError::BadShape));
    let mut unequal = vec![None, Some(vec![1, 2]), Some(vec![1])];
    assert_eq!(recover(&field, Code::Cauchy { parity: 1 }, &mut unequal, 2), Err(FecError::UnequalLengths));
}
