//! Kernels on byte shuffles: two look-ups of 16 products, by low and by high nibble.

use super::kernel;
use crate::encoder::Job;
use crate::galois::NIBBLES;
use std::arch::x86_64::*;

kernel!(encode_256, tiles_256, strip_256, "avx2", vector: 32, rows: 1 2 3 4 5);
kernel!(encode_128, tiles_128, strip_128, "ssse3", vector: 16, rows: 1 2 3 4);

/// Parity rows `first..first + ROWS`, `VECTORS × 32` bytes from `position`.
///
/// # Safety
/// Those rows and bytes must exist in the job.
#[target_feature(enable = "avx2")]
unsafe fn strip_256<const ROWS: usize, const VECTORS: usize>(
    job: &mut Job<'_>,
    first: usize,
    position: usize,
) {
    let nibble = _mm256_set1_epi8(0x0f);
    let mut sums = [[_mm256_setzero_si256(); VECTORS]; ROWS];
    for shard in 0..job.data_shards {
        let halves: [(__m256i, __m256i); VECTORS] = std::array::from_fn(|vector| {
            let start = shard * job.stride + position + vector * 32;
            // SAFETY: the shard's bytes from `position` lie inside the slice, the caller promises.
            let value = unsafe { _mm256_loadu_si256(job.data.as_ptr().add(start).cast()) };
            (_mm256_and_si256(value, nibble), _mm256_and_si256(_mm256_srli_epi64::<4>(value), nibble))
        });
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: there is a coefficient for each shard and row.
            let coefficient =
                unsafe { *job.coefficients.get_unchecked(shard * job.parity_shards + first + row) };
            let products = NIBBLES[usize::from(coefficient)].0.as_ptr();
            // SAFETY: an entry holds twice 16 bytes, aligned to 32.
            let (by_low, by_high) = unsafe {
                let (low, high) = (_mm_load_si128(products.cast()), _mm_load_si128(products.add(16).cast()));
                (_mm256_broadcastsi128_si256(low), _mm256_broadcastsi128_si256(high))
            };
            for (sum, (low, high)) in sums.iter_mut().zip(halves) {
                let product =
                    _mm256_xor_si256(_mm256_shuffle_epi8(by_low, low), _mm256_shuffle_epi8(by_high, high));
                *sum = _mm256_xor_si256(*sum, product);
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        for (vector, sum) in sums.iter().enumerate() {
            let start = (first + row) * job.stride + position + vector * 32;
            // SAFETY: the row's bytes from `position` lie inside the slice, the caller promises.
            unsafe { _mm256_storeu_si256(job.parity.as_mut_ptr().add(start).cast(), *sum) };
        }
    }
}

/// Parity rows `first..first + ROWS`, `VECTORS × 16` bytes from `position`.
///
/// # Safety
/// Those rows and bytes must exist in the job.
#[target_feature(enable = "ssse3")]
unsafe fn strip_128<const ROWS: usize, const VECTORS: usize>(
    job: &mut Job<'_>,
    first: usize,
    position: usize,
) {
    let nibble = _mm_set1_epi8(0x0f);
    let mut sums = [[_mm_setzero_si128(); VECTORS]; ROWS];
    for shard in 0..job.data_shards {
        let halves: [(__m128i, __m128i); VECTORS] = std::array::from_fn(|vector| {
            let start = shard * job.stride + position + vector * 16;
            // SAFETY: the shard's bytes from `position` lie inside the slice, the caller promises.
            let value = unsafe { _mm_loadu_si128(job.data.as_ptr().add(start).cast()) };
            (_mm_and_si128(value, nibble), _mm_and_si128(_mm_srli_epi64::<4>(value), nibble))
        });
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: there is a coefficient for each shard and row.
            let coefficient =
                unsafe { *job.coefficients.get_unchecked(shard * job.parity_shards + first + row) };
            let products = NIBBLES[usize::from(coefficient)].0.as_ptr();
            // SAFETY: an entry holds twice 16 bytes, aligned to 32.
            let (by_low, by_high) =
                unsafe { (_mm_load_si128(products.cast()), _mm_load_si128(products.add(16).cast())) };
            for (sum, (low, high)) in sums.iter_mut().zip(halves) {
                let product = _mm_xor_si128(_mm_shuffle_epi8(by_low, low), _mm_shuffle_epi8(by_high, high));
                *sum = _mm_xor_si128(*sum, product);
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        for (vector, sum) in sums.iter().enumerate() {
            let start = (first + row) * job.stride + position + vector * 16;
            // SAFETY: the row's bytes from `position` lie inside the slice, the caller promises.
            unsafe { _mm_storeu_si128(job.parity.as_mut_ptr().add(start).cast(), *sum) };
        }
    }
}
