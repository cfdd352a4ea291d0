//! Whether a gamepad has a device, why not, and when it is tried again (`docs/design/pads.md`).

use super::kind::PadKind;
use lumen_media::Timestamp;
use std::io;
use std::time::Duration;

/// Before a gamepad without a device is tried again: the kernel's modules may be loaded, or rights given, meanwhile. The
/// last one repeats.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5), LONGEST_PAUSE];
/// A device that lasted as long as this has not failed in a row with the one before.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Why a gamepad is not there, or not what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum PlugError {
    /// PlayStation gamepads need it.
    #[error("/dev/uhid cannot be used: {0}")]
    Hid(io::Error),
    /// All others need it.
    #[error("/dev/uinput cannot be used: {0}")]
    Input(io::Error),
    /// It was there, and could be read or written no longer.
    #[error("its device failed: {0}")]
    Failed(io::Error),
}

/// What became of a gamepad that was plugged in.
#[derive(Debug)]
pub struct Plugged {
    /// What games see.
    pub kind: PadKind,
    /// Why it is not what was asked for.
    pub fallback: Option<PlugError>,
}

/// A gamepad for the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PadView {
    /// 0 to 15.
    pub number: u8,
    /// What was asked for.
    pub requested: PadKind,
    /// What games see; `None` while there is no device.
    pub effective: Option<PadKind>,
    /// Why these differ.
    pub reason: Option<String>,
}

/// Whether there is a device. `pause` is the last one that was made because there was none, zero when there always was.
#[derive(Debug)]
pub(super) enum Presence {
    Plugged { plugged: Plugged, since: Timestamp, pause: Duration },
    Absent { cause: PlugError, retry_at: Timestamp, pause: Duration },
}

impl Presence {
    /// After a first attempt.
    pub fn new(attempt: Result<Plugged, PlugError>, now: Timestamp) -> Self {
        Self::after(Duration::ZERO, attempt, now)
    }

    /// After another attempt.
    pub fn tried(&mut self, attempt: Result<Plugged, PlugError>, now: Timestamp) {
        let (Self::Plugged { pause, .. } | Self::Absent { pause, .. }) = self;
        *self = Self::after(*pause, attempt, now);
    }

    /// The device failed. True if it is not one of several that did so in a row.
    pub fn lost(&mut self, cause: PlugError, now: Timestamp) -> bool {
        // It was lost already; the pause goes on.
        let Self::Plugged { since, pause, .. } = *self else { return false };
        let lasted = now.since(since) >= LONGEST_PAUSE;
        let pause = if lasted { Duration::ZERO } else { pause };
        *self = Self::after(pause, Err(cause), now);
        pause.is_zero()
    }

    fn after(pause: Duration, attempt: Result<Plugged, PlugError>, now: Timestamp) -> Self {
        match attempt {
            Ok(plugged) => Self::Plugged { plugged, since: now, pause },
            Err(cause) => {
                let pause = PAUSES.into_iter().find(|next| *next > pause).unwrap_or(LONGEST_PAUSE);
                Self::Absent { cause, retry_at: now + pause, pause }
            }
        }
    }

    /// What games see.
    pub fn kind(&self) -> Option<PadKind> {
        match self {
            Self::Plugged { plugged, .. } => Some(plugged.kind),
            Self::Absent { .. } => None,
        }
    }

    /// When to try again.
    pub fn retry_at(&self) -> Option<Timestamp> {
        match self {
            Self::Plugged { .. } => None,
            Self::Absent { retry_at, .. } => Some(*retry_at),
        }
    }

    /// Why it is not what was asked for.
    pub fn reason(&self) -> Option<&PlugError> {
        match self {
            Self::Plugged { plugged, .. } => plugged.fallback.as_ref(),
            Self::Absent { cause, .. } => Some(cause),
        }
    }
}
