//! What keeps a running KWin from making outputs, in words that end with the next step.

use super::facts::{Facts, Version};
use super::link::{KWIN, State};
use super::setup::{self, Grant};
use crate::DisplayConfig;
use lumen_media::DisplayError;

/// Virtual outputs came with version 2 of the protocol, in this KWin.
const FIRST: Version = (5, 25, 0);

/// An obstacle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Obstacle {
    /// A permission is missing, rather than an ability.
    pub forbidden: bool,
    pub cause: String,
    pub remedy: String,
}

impl Obstacle {
    fn unable(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { forbidden: false, cause: cause.into(), remedy: remedy.into() }
    }

    fn forbidden(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { forbidden: true, cause: cause.into(), remedy: remedy.into() }
    }

    /// As an error of the seam.
    pub fn into_error(self) -> DisplayError {
        let Self { forbidden, cause, remedy } = self;
        if forbidden {
            DisplayError::Forbidden { backend: KWIN, cause, remedy }
        } else {
            DisplayError::Unsupported { backend: KWIN, cause, remedy }
        }
    }
}

/// Looks for one, by what KWin says on the bus (`facts`) and on the wire (`state`, without devices).
pub(crate) fn find(config: &DisplayConfig, facts: &Facts, state: &State) -> Option<Obstacle> {
    let grant = || setup::grant(config);
    judge(facts, state.version("zkde_screencast_unstable_v1"), grant)
}

fn judge(facts: &Facts, screencast: Option<u32>, grant: impl FnOnce() -> Grant) -> Option<Obstacle> {
    let title = facts.title();
    let update = "Update Plasma to 5.27 or newer, better to 6.6";
    if facts.version.is_some_and(|version| version < FIRST) {
        return Some(Obstacle::unable(format!("{title} has no virtual outputs"), update));
    }
    match screencast {
        None => return Some(hidden(grant())),
        Some(0 | 1) => {
            let cause = format!("{title} has version 1 of the screencast protocol, without virtual outputs");
            return Some(Obstacle::unable(cause, update));
        }
        Some(_) => {}
    }
    match facts.compositing.as_deref() {
        Some("qpainter") => Some(Obstacle::unable(
            format!("{title} draws without OpenGL (QPainter), and shows outputs to others with OpenGL only"),
            "Give it a graphics device (a DRM render node in /dev/dri), and do not set KWIN_COMPOSE=Q",
        )),
        Some("none") => Some(Obstacle::unable(
            format!("{title} composes nothing at the moment"),
            "Turn compositing on in System Settings",
        )),
        _ => None,
    }
}

/// KWin hides the protocol from programs without a permission.
fn hidden(grant: Grant) -> Obstacle {
    match grant {
        Grant::Capabilities(executable) => Obstacle::forbidden(
            "Lumen's program has file capabilities, and KWin cannot tell who such a program is",
            format!("Remove them: sudo setcap -r {}", executable.display()),
        ),
        Grant::Missing => Obstacle::forbidden(
            "KWin shows screens only to programs whose desktop entry asks for it, and Lumen has none",
            "Run `lumen setup` once",
        ),
        Grant::Other(named) => Obstacle::forbidden(
            format!("the permission is for {named}, which is not the program that runs"),
            "Run `lumen setup` again with the program that runs as host",
        ),
        Grant::Written(file) => Obstacle::forbidden(
            format!("KWin has not seen the permission in {} yet", file.display()),
            "Log out of Plasma and in again. If that does not help, KWin has another XDG_DATA_HOME than Lumen",
        ),
        Grant::Unreadable(file) => Obstacle::forbidden(
            format!("the permission in {} cannot be read", file.display()),
            "Run `lumen setup` again",
        ),
    }
}

/// When nothing is known but that it does not go.
pub(crate) fn unknown(config: &DisplayConfig) -> DisplayError {
    hidden(setup::grant(config)).into_error()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(version: Option<Version>, compositing: &str) -> Facts {
        Facts { version, compositing: Some(compositing.into()), ..Facts::default() }
    }

    #[test]
    fn a_missing_permission_is_told_from_an_old_version() {
        let missing = judge(&facts(Some((6, 7, 4)), "gl2"), None, || Grant::Missing).expect("an obstacle");
        assert!(missing.forbidden && missing.remedy.contains("lumen setup"), "{missing:?}");
        let old = judge(&facts(Some((5, 24, 7)), "gl2"), None, || Grant::Missing).expect("an obstacle");
        assert!(!old.forbidden && old.cause.contains("KWin 5.24.7"), "{old:?}");
        let first = judge(&facts(None, "gl2"), Some(1), || Grant::Missing).expect("an obstacle");
        assert!(!first.forbidden && first.cause.contains("version 1"), "{first:?}");
        // Without the bus the version is unknown; the permission is the likelier cause.
        assert!(judge(&Facts::default(), None, || Grant::Missing).expect("an obstacle").forbidden);
    }

    #[test]
    fn qpainter_is_named_and_opengl_is_fine() {
        let painter =
            judge(&facts(Some((6, 7, 4)), "qpainter"), Some(6), || Grant::Missing).expect("an obstacle");
        assert!(
            !painter.forbidden && painter.cause.contains("QPainter") && painter.remedy.contains("/dev/dri")
        );
        assert_eq!(judge(&facts(Some((6, 7, 4)), "gl2"), Some(6), || Grant::Missing), None);
        assert_eq!(judge(&Facts::default(), Some(4), || Grant::Missing), None);
    }

    #[test]
    fn each_grant_has_its_own_remedy() {
        let remedies: std::collections::BTreeSet<_> = [
            Grant::Missing,
            Grant::Capabilities("/usr/bin/lumen".into()),
            Grant::Other("/old/lumen".into()),
            Grant::Written("/x/lumen-host.desktop".into()),
        ]
        .into_iter()
        .map(|grant| hidden(grant).remedy)
        .collect();
        assert_eq!(remedies.len(), 4, "{remedies:?}");
    }
}
