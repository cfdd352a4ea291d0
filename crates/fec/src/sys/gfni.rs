//! Kernels on GFNI: one instruction multiplies a whole vector by a coefficient.

use super::kernel;
use crate::encoder::Job;
use crate::galois::AFFINE;
use std::arch::x86_64::*;

kernel!(encode_512, tiles_512, strip_512, "gfni,avx512f,avx512bw", vector: 64, rows: 1 2 3 4 5 6 7 8 9 10 11 12);
kernel!(encode_256, tiles_256, strip_256, "gfni,avx2", vector: 32, rows: 1 2 3 4 5 6);

/// Parity rows `first..first + ROWS`, `VECTORS × 64` bytes from `position`.
///
/// # Safety
/// Those rows and bytes must exist in the job.
#[target_feature(enable = "gfni,avx512f,avx512bw")]
unsafe fn strip_512<const ROWS: usize, const VECTORS: usize>(
    job: &mut Job<'_>,
    first: usize,
    position: usize,
) {
    let mut sums = [[_mm512_setzero_si512(); VECTORS]; ROWS];
    for shard in 0..job.data_shards {
        // SAFETY: the shard's bytes from `position` lie inside the slice, the caller promises.
        let values: [__m512i; VECTORS] = std::array::from_fn(|vector| unsafe {
            let start = shard * job.stride + position + vector * 64;
            _mm512_loadu_si512(job.data.as_ptr().add(start).cast())
        });
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: there is a coefficient for each shard and row.
            let coefficient =
                unsafe { *job.coefficients.get_unchecked(shard * job.parity_shards + first + row) };
            let matrix = _mm512_set1_epi64(AFFINE[usize::from(coefficient)].cast_signed());
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum = _mm512_xor_si512(*sum, _mm512_gf2p8affine_epi64_epi8::<0>(value, matrix));
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        for (vector, sum) in sums.iter().enumerate() {
            let start = (first + row) * job.stride + position + vector * 64;
            // SAFETY: the row's bytes from `position` lie inside the slice, the caller promises.
            unsafe { _mm512_storeu_si512(job.parity.as_mut_ptr().add(start).cast(), *sum) };
        }
    }
}

/// Parity rows `first..first + ROWS`, `VECTORS × 32` bytes from `position`.
///
/// # Safety
/// Those rows and bytes must exist in the job.
#[target_feature(enable = "gfni,avx2")]
unsafe fn strip_256<const ROWS: usize, const VECTORS: usize>(
    job: &mut Job<'_>,
    first: usize,
    position: usize,
) {
    let mut sums = [[_mm256_setzero_si256(); VECTORS]; ROWS];
    for shard in 0..job.data_shards {
        // SAFETY: the shard's bytes from `position` lie inside the slice, the caller promises.
        let values: [__m256i; VECTORS] = std::array::from_fn(|vector| unsafe {
            let start = shard * job.stride + position + vector * 32;
            _mm256_loadu_si256(job.data.as_ptr().add(start).cast())
        });
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: there is a coefficient for each shard and row.
            let coefficient =
                unsafe { *job.coefficients.get_unchecked(shard * job.parity_shards + first + row) };
            let matrix = _mm256_set1_epi64x(AFFINE[usize::from(coefficient)].cast_signed());
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum = _mm256_xor_si256(*sum, _mm256_gf2p8affine_epi64_epi8::<0>(value, matrix));
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
