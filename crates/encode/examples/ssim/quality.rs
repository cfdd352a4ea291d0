//! How much of a picture an encoder kept.

/// One luma plane.
#[derive(Clone, Copy)]
pub struct Luma<'a> {
    pub bytes: &'a [u8],
    pub stride: usize,
    pub width: usize,
    pub height: usize,
}

/// Structural similarity: mean over 8×8 windows that overlap by half, with the constants of the original paper.
pub fn ssim(one: Luma<'_>, other: Luma<'_>) -> f64 {
    const WINDOW: usize = 8;
    const STEP: usize = 4;
    let (c1, c2) = ((0.01f64 * 255.0).powi(2), (0.03f64 * 255.0).powi(2));
    let mut total = 0.0;
    let mut windows = 0u32;
    for top in (0..=one.height - WINDOW).step_by(STEP) {
        for left in (0..=one.width - WINDOW).step_by(STEP) {
            let (mut sum_a, mut sum_b, mut sum_aa, mut sum_bb, mut sum_ab) = (0u32, 0u32, 0u32, 0u32, 0u32);
            for y in top..top + WINDOW {
                let a = &one.bytes[y * one.stride + left..][..WINDOW];
                let b = &other.bytes[y * other.stride + left..][..WINDOW];
                for (&a, &b) in a.iter().zip(b) {
                    let (a, b) = (u32::from(a), u32::from(b));
                    sum_a += a;
                    sum_b += b;
                    sum_aa += a * a;
                    sum_bb += b * b;
                    sum_ab += a * b;
                }
            }
            let count = (WINDOW * WINDOW) as f64;
            let (mean_a, mean_b) = (f64::from(sum_a) / count, f64::from(sum_b) / count);
            let variance_a = f64::from(sum_aa) / count - mean_a * mean_a;
            let variance_b = f64::from(sum_bb) / count - mean_b * mean_b;
            let covariance = f64::from(sum_ab) / count - mean_a * mean_b;
            total += (2.0 * mean_a * mean_b + c1) * (2.0 * covariance + c2)
                / ((mean_a * mean_a + mean_b * mean_b + c1) * (variance_a + variance_b + c2));
            windows += 1;
        }
    }
    total / f64::from(windows)
}

/// Mean squared error.
pub fn squared_error(one: Luma<'_>, other: Luma<'_>) -> f64 {
    let mut sum = 0u64;
    for y in 0..one.height {
        let a = &one.bytes[y * one.stride..][..one.width];
        let b = &other.bytes[y * other.stride..][..one.width];
        sum += a.iter().zip(b).map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2)).sum::<u64>();
    }
    sum as f64 / (one.width * one.height) as f64
}

/// Peak signal-to-noise ratio of a mean squared error, in decibels.
pub fn psnr(squared_error: f64) -> f64 {
    10.0 * (255.0 * 255.0 / squared_error.max(1e-6)).log10()
}
