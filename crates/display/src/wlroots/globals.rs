//! What a Wayland compositor offers, to tell compositors apart.

use lumen_media::Timestamp;
use lumen_wayland::{GlobalsOnly, open, roundtrip};
use std::path::Path;

/// Names of the globals of the compositor at `path`; `None` when it does not answer by `deadline`.
pub(super) fn offered(path: &Path, deadline: Timestamp) -> Option<Vec<String>> {
    let connection = open(path).ok()?;
    let mut globals = GlobalsOnly::default();
    let complete = roundtrip(&connection, &mut connection.new_event_queue(), &mut globals, deadline);
    complete.unwrap_or_default().then(|| globals.0.interfaces().map(str::to_owned).collect())
}

/// Whether these are the globals of a compositor of the wlroots family that has no backend of its own here.
pub(super) fn is_wlroots(globals: &[String]) -> bool {
    let has = |prefix: &str| globals.iter().any(|name| name.starts_with(prefix));
    has("zwlr_output_manager_v1")
        && has("zwlr_screencopy_manager_v1")
        && !["hyprland_", "org_kde_plasma_", "kde_output_", "zkde_", "gamescope_"].into_iter().any(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_told_apart() {
        let is = |names: &[&str]| is_wlroots(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        let labwc = [
            "wl_output",
            "zwlr_output_manager_v1",
            "zwlr_screencopy_manager_v1",
            "org_kde_kwin_server_decoration_manager",
        ];
        assert!(is(&labwc));
        assert!(!is(&[&labwc[..], &["hyprland_toplevel_export_manager_v1"]].concat()));
        assert!(!is(&["wl_output", "kde_output_management_v2"]));
        assert!(!is(&["wl_output", "xdg_wm_base"]));
    }
}
