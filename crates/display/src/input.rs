//! What the ways to a desktop's input have in common.

use lumen_input::InputError;
use lumen_media::DisplayError;

/// An error of the display seam, as one of input: what a later attempt may heal is told from what stays.
pub(crate) fn input_error(desktop: &'static str, error: DisplayError) -> InputError {
    match error {
        DisplayError::Unsupported { cause, remedy, .. } | DisplayError::Forbidden { cause, remedy, .. } => {
            InputError::Unsupported { desktop, cause, remedy }
        }
        other => InputError::Lost { desktop, cause: other.to_string() },
    }
}
