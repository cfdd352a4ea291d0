//! x86-64 kernels. Each computes a strip (one or two vectors wide) of several parity rows in registers, so that a data
//! byte is loaded once for all of them; strips go outermost, so that the data of a strip stays in the first-level cache
//! while the remaining rows use it.

mod gfni;
mod shuffle;

use crate::Kernel;
use crate::encoder::Job;

/// Runs `job` on `kernel`, which the CPU must have; false if the shards are shorter than one of its vectors or the
/// kernel is not one of these, and nothing was done.
pub(crate) fn encode(kernel: Kernel, job: &mut Job<'_>) -> bool {
    let (run, vector): (unsafe fn(&mut Job<'_>), usize) = match kernel {
        Kernel::Gfni512 => (gfni::encode_512, 64),
        Kernel::Gfni256 => (gfni::encode_256, 32),
        Kernel::Avx2 => (shuffle::encode_256, 32),
        Kernel::Ssse3 => (shuffle::encode_128, 16),
        Kernel::Portable => return false,
    };
    if job.shard_len < vector {
        return false;
    }
    debug_assert!(kernel.is_available());
    // SAFETY: an encoder only holds kernels that `Kernel::is_available` confirmed on this CPU, `Job` promises that all
    // shards lie inside its slices, and a shard is at least one vector long.
    unsafe { run(job) };
    true
}

/// Writes the drivers of a kernel: `$encode` walks the strips and row tiles and calls `$strip::<ROWS, VECTORS>`.
macro_rules! kernel {
    ($encode:ident, $tiles:ident, $strip:ident, $features:literal, vector: $vector:expr, rows: $($rows:literal)*) => {
        /// Computes all parity shards.
        ///
        /// # Safety
        /// The CPU must have the features, the job must hold its promises and `shard_len` must be at least one vector.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn $encode(job: &mut Job<'_>) {
            let mut position = 0;
            while position + 2 * $vector <= job.shard_len {
                // SAFETY: two vectors fit at this position.
                unsafe { $tiles::<2>(job, position) };
                position += 2 * $vector;
            }
            let rest = job.shard_len - position;
            if rest > $vector {
                // SAFETY: one vector fits here.
                unsafe { $tiles::<1>(job, position) };
            }
            if rest > 0 {
                // The last vector may overlap what is done already: it writes the same bytes again.
                // SAFETY: shards are at least one vector long, and this one ends with the shard.
                unsafe { $tiles::<1>(job, job.shard_len - $vector) };
            }
        }

        /// One strip of all rows, in tiles of nearly equal height.
        #[target_feature(enable = $features)]
        unsafe fn $tiles<const VECTORS: usize>(job: &mut Job<'_>, position: usize) {
            const MAX_ROWS: usize = { let mut max = 0; $(if $rows > max { max = $rows; })* max };
            let mut first = 0;
            for tiles_left in (1..=job.parity_shards.div_ceil(MAX_ROWS)).rev() {
                let rows = (job.parity_shards - first).div_ceil(tiles_left);
                match rows {
                    // SAFETY: rows first..first + rows exist, and the caller promises that the vectors fit.
                    $($rows => unsafe { $strip::<$rows, VECTORS>(job, first, position) },)*
                    _ => unreachable!("tiles have 1 to {MAX_ROWS} rows"),
                }
                first += rows;
            }
        }
    };
}
use kernel;
