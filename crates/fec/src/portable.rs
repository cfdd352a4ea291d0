//! The kernel for every CPU: 64-bit words, in groups that compilers turn into whatever vectors the target has.

use crate::encoder::Job;

/// Words that travel together.
const WORDS: usize = 8;
/// Bytes of a group.
const GROUP: usize = WORDS * 8;

/// Eight field elements per word.
type Group = [u64; WORDS];

/// Computes all parity shards of a job.
pub(crate) fn encode(job: &mut Job<'_>) {
    for row in 0..job.parity_shards {
        for position in (0..job.shard_len).step_by(GROUP) {
            let length = GROUP.min(job.shard_len - position);
            let mut sum = [0; WORDS];
            for shard in 0..job.data_shards {
                let start = shard * job.stride + position;
                let coefficient = job.coefficients[shard * job.parity_shards + row];
                add_product(&mut sum, load(&job.data[start..start + length]), coefficient);
            }
            let start = row * job.stride + position;
            store(&mut job.parity[start..start + length], &sum);
        }
    }
}

/// Adds `coefficient × value`: the sum of value × 2ᵏ over the bits k that the coefficient has.
#[inline]
fn add_product(sum: &mut Group, mut value: Group, coefficient: u8) {
    for bit in 0..8 {
        let chosen = u64::from(coefficient >> bit & 1).wrapping_neg();
        for (sum, value) in sum.iter_mut().zip(&mut value) {
            *sum ^= *value & chosen;
            *value = double(*value);
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
    let mut padded = [0; GROUP];
    padded[..bytes.len()].copy_from_slice(bytes);
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
