//! The kernel for every CPU: 64-bit words, in groups that compilers turn into whatever vectors the target has.

use crate::encoder::Job;

/// Words that travel together.
const WORDS: usize = 4;
/// Bytes of a group.
const GROUP: usize = WORDS * 8;
/// Parity rows computed at once, so that the powers of a data group are made once for all of them.
const ROWS: usize = 4;

/// Eight field elements per word.
type Group = [u64; WORDS];

/// Computes all parity shards of a job.
pub(crate) fn encode(job: &mut Job<'_>) {
    for position in (0..job.shard_len).step_by(GROUP) {
        let length = GROUP.min(job.shard_len - position);
        for first in (0..job.parity_shards).step_by(ROWS) {
            let rows = ROWS.min(job.parity_shards - first);
            let mut sums = [[0; WORDS]; ROWS];
            for shard in 0..job.data_shards {
                let start = shard * job.stride + position;
                let coefficients = &job.coefficients[shard * job.parity_shards + first..][..rows];
                let powers = powers(load(&job.data[start..start + length]));
                for (sum, coefficient) in sums.iter_mut().zip(coefficients) {
                    add_product(sum, &powers, *coefficient);
                }
            }
            for (row, sum) in sums.iter().take(rows).enumerate() {
                let start = (first + row) * job.stride + position;
                store(&mut job.parity[start..start + length], sum);
            }
        }
    }
}

/// The group times 1, 2, 4, …, 128.
#[inline]
fn powers(group: Group) -> [Group; 8] {
    let mut powers = [group; 8];
    for bit in 1..8 {
        powers[bit] = powers[bit - 1].map(double);
    }
    powers
}

/// Adds the product with a coefficient: the sum of those powers whose bit the coefficient has.
#[inline]
fn add_product(sum: &mut Group, powers: &[Group; 8], coefficient: u8) {
    for (bit, power) in powers.iter().enumerate() {
        let chosen = u64::from(coefficient >> bit & 1).wrapping_neg();
        for (sum, power) in sum.iter_mut().zip(power) {
            *sum ^= power & chosen;
        }
    }
}

/// Each of the eight elements times 2.
#[inline]
fn double(elements: u64) -> u64 {
    let carry = elements >> 7 & 0x0101_0101_0101_0101;
    // The polynomial's 0x1d, once for each element that overflows.
    let reduction = carry ^ carry << 2 ^ carry << 3 ^ carry << 4;
    (elements << 1 & 0xfefe_fefe_fefe_fefe) ^ reduction
}

#[inline]
fn load(bytes: &[u8]) -> Group {
    let padded = bytes.first_chunk().copied().unwrap_or_else(|| {
        let mut padded = [0; GROUP];
        padded[..bytes.len()].copy_from_slice(bytes);
        padded
    });
    let mut group = [0; WORDS];
    for (word, bytes) in group.iter_mut().zip(padded.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    group
}

#[inline]
fn store(bytes: &mut [u8], group: &Group) {
    let mut padded = [0; GROUP];
    for (word, bytes) in group.iter().zip(padded.as_chunks_mut::<8>().0) {
        *bytes = word.to_le_bytes();
    }
    bytes.copy_from_slice(&padded[..bytes.len()]);
}
