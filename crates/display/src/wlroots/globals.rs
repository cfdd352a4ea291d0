//! What a Wayland compositor offers, to tell compositors apart.

use lumen_media::Timestamp;
use std::path::Path;
use wayland_client::protocol::wl_callback::{self, WlCallback};
use wayland_client::protocol::wl_registry::{self, WlRegistry};
use wayland_client::{Connection, Dispatch, QueueHandle};

#[derive(Default)]
struct Listing {
    names: Vec<String>,
    complete: bool,
}

impl Dispatch<WlRegistry, ()> for Listing {
    fn event(
        listing: &mut Self,
        _: &WlRegistry,
        event: wl_registry::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wl_registry::Event::Global { interface, .. } = event {
            listing.names.push(interface);
        }
    }
}

impl Dispatch<WlCallback, ()> for Listing {
    fn event(
        listing: &mut Self,
        _: &WlCallback,
        _: wl_callback::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        listing.complete = true;
    }
}

/// Names of the globals of the compositor at `path`; `None` when it does not answer by `deadline`.
pub(super) fn offered(path: &Path, deadline: Timestamp) -> Option<Vec<String>> {
    let connection = lumen_wayland::open(path).ok()?;
    let mut queue = connection.new_event_queue();
    let mut listing = Listing::default();
    connection.display().get_registry(&queue.handle(), ());
    connection.display().sync(&queue.handle(), ());
    let complete = lumen_wayland::until(&mut queue, &mut listing, deadline, |listing| listing.complete);
    complete.unwrap_or_default().then_some(listing.names)
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
