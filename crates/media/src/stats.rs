//! Times that a frame spends in each stage, and their distribution over a window.

use std::time::Duration;

/// How long one frame spent in each stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// Composed until taken by the converter.
    pub wait: Duration,
    /// RGB to planes.
    pub convert: Duration,
    /// Converted until taken by the encoder.
    pub queue: Duration,
    /// Planes to access unit.
    pub encode: Duration,
}

/// The last [`Window::CAPACITY`] values of one stage, in microseconds.
#[derive(Clone, Debug, Default)]
pub struct Window {
    values: Vec<u32>,
    next: usize,
    total: u64,
}

/// Percentiles of a [`Window`], in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Percentiles {
    /// Median.
    pub p50: u32,
    /// 95 % lie below.
    pub p95: u32,
    /// 99 % lie below.
    pub p99: u32,
    /// Largest.
    pub max: u32,
}

impl Window {
    /// Values kept: about a quarter of a minute at 60 frames a second.
    pub const CAPACITY: usize = 1024;

    /// Adds a value; the oldest goes.
    pub fn record(&mut self, value: Duration) {
        let micros = u32::try_from(value.as_micros()).unwrap_or(u32::MAX);
        if self.values.len() < Self::CAPACITY {
            self.values.push(micros);
        } else {
            self.values[self.next] = micros;
        }
        self.next = (self.next + 1) % Self::CAPACITY;
        self.total += 1;
    }

    /// How many values were ever recorded.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Percentiles over the values kept; zeros when there are none.
    pub fn percentiles(&self) -> Percentiles {
        if self.values.is_empty() {
            return Percentiles::default();
        }
        let mut sorted = self.values.clone();
        sorted.sort_unstable();
        let at = |percent: usize| sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)];
        Percentiles { p50: at(50), p95: at(95), p99: at(99), max: sorted[sorted.len() - 1] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_forget_what_fell_out_of_the_window() {
        let mut window = Window::default();
        window.record(Duration::from_secs(9));
        for micros in 0..Window::CAPACITY as u64 {
            window.record(Duration::from_micros(micros));
        }
        let percentiles = window.percentiles();
        assert_eq!(percentiles, Percentiles { p50: 512, p95: 972, p99: 1013, max: 1023 });
        assert_eq!(window.total(), Window::CAPACITY as u64 + 1);
    }
}
