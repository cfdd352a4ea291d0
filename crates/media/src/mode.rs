//! The mode a client asks for: width, height and refresh rate.

use std::fmt;
use std::time::Duration;

/// A display mode. The refresh rate is in millihertz, as Wayland counts it, so that 59.94 Hz is exact enough to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mode {
    width: u32,
    height: u32,
    refresh_mhz: u32,
}

/// Why a mode was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModeError {
    /// Width or height lies outside 320×180 to 7680×4320.
    #[error("{width}x{height} is outside 320x180 to 7680x4320")]
    Size {
        /// Asked width in pixels.
        width: u32,
        /// Asked height in pixels.
        height: u32,
    },
    /// The refresh rate lies outside 10 to 480 Hz.
    #[error("{}.{:03} Hz is outside 10 to 480 Hz", .refresh_mhz / 1000, .refresh_mhz % 1000)]
    Refresh {
        /// Asked rate in millihertz.
        refresh_mhz: u32,
    },
}

impl Mode {
    /// Smallest size accepted, in pixels.
    pub const MIN_SIZE: (u32, u32) = (320, 180);
    /// Largest size accepted, in pixels.
    pub const MAX_SIZE: (u32, u32) = (7680, 4320);
    /// Accepted refresh rates, in millihertz.
    pub const REFRESH_MHZ: std::ops::RangeInclusive<u32> = 10_000..=480_000;

    /// Checks the limits. `refresh_mhz` is in millihertz.
    ///
    /// # Errors
    /// [`ModeError`] names the value that lies outside.
    pub fn new(width: u32, height: u32, refresh_mhz: u32) -> Result<Self, ModeError> {
        let (min_width, min_height) = Self::MIN_SIZE;
        let (max_width, max_height) = Self::MAX_SIZE;
        if !(min_width..=max_width).contains(&width) || !(min_height..=max_height).contains(&height) {
            return Err(ModeError::Size { width, height });
        }
        if !Self::REFRESH_MHZ.contains(&refresh_mhz) {
            return Err(ModeError::Refresh { refresh_mhz });
        }
        Ok(Self { width, height, refresh_mhz })
    }

    /// Width in pixels.
    pub fn width(self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(self) -> u32 {
        self.height
    }

    /// Refresh rate in millihertz.
    pub fn refresh_mhz(self) -> u32 {
        self.refresh_mhz
    }

    /// Time between two frames.
    pub fn frame_interval(self) -> Duration {
        Duration::from_nanos(1_000_000_000_000 / u64::from(self.refresh_mhz))
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}@{}", self.width, self.height, self.refresh_mhz / 1000)?;
        match self.refresh_mhz % 1000 {
            0 => Ok(()),
            rest => write!(f, ".{}", format!("{rest:03}").trim_end_matches('0')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_inclusive() {
        assert!(Mode::new(320, 180, 10_000).is_ok());
        assert!(Mode::new(7680, 4320, 480_000).is_ok());
        assert_eq!(Mode::new(319, 180, 60_000), Err(ModeError::Size { width: 319, height: 180 }));
        assert_eq!(Mode::new(1280, 4321, 60_000), Err(ModeError::Size { width: 1280, height: 4321 }));
        assert_eq!(Mode::new(1280, 720, 9_999), Err(ModeError::Refresh { refresh_mhz: 9_999 }));
        assert_eq!(Mode::new(1280, 720, 480_001), Err(ModeError::Refresh { refresh_mhz: 480_001 }));
    }

    #[test]
    fn shown_as_people_write_it() {
        assert_eq!(Mode::new(1364, 768, 59_940).expect("valid").to_string(), "1364x768@59.94");
        assert_eq!(Mode::new(1280, 720, 120_000).expect("valid").to_string(), "1280x720@120");
    }

    #[test]
    fn interval_follows_the_fraction() {
        let mode = Mode::new(1364, 768, 59_940).expect("valid");
        assert_eq!(mode.frame_interval().as_nanos(), 16_683_350);
    }
}
