//! Percentiles of a list of numbers.

use serde::Serialize;

/// Nearest-rank percentiles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

impl Percentiles {
    /// `None` without values.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let max = *values.last()?;
        let at = |percent: usize| values[(values.len() * percent).div_ceil(100).max(1) - 1];
        Some(Self { p50: at(50), p95: at(95), p99: at(99), max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rank() {
        let percentiles = Percentiles::of((1..=200).rev().map(f64::from).collect()).expect("values");
        assert_eq!(percentiles, Percentiles { p50: 100.0, p95: 190.0, p99: 198.0, max: 200.0 });
        let one = Percentiles::of(vec![7.0]).expect("a value");
        assert_eq!(one, Percentiles { p50: 7.0, p95: 7.0, p99: 7.0, max: 7.0 });
        assert_eq!(Percentiles::of(Vec::new()), None);
    }
}
