//! Where monitors go: pure arithmetic on layouts.

use super::display_config::{Head, Layout, Placed, State};
use crate::Topology;

/// The layout with our outputs in it. `baseline` is what the user had, `ours` are oldest first.
///
/// The user's monitors keep their places; ours stand to the right of all of them, top edges in line with the rightmost.
/// The newest of ours that wants to be primary is.
pub(super) fn arrange(baseline: &Layout, ours: &[(Head, Topology)]) -> Layout {
    let exclusive = ours.iter().any(|(_, topology)| *topology == Topology::Exclusive);
    let mut placed = if exclusive { Vec::new() } else { baseline.placed.clone() };
    let physical = baseline.physical;
    for (head, _) in ours {
        let (x, y) = right_of(&placed, physical);
        let heads = vec![head.clone()];
        placed.push(Placed { x, y, scale: 1.0, transform: 0, primary: false, heads });
    }
    let leads = |topology: &Topology| matches!(topology, Topology::Primary | Topology::Exclusive);
    if let Some((head, _)) = ours.iter().rev().find(|(_, topology)| leads(topology)) {
        for place in &mut placed {
            place.primary = place.shows(&head.connector);
        }
    }
    // Exactly one must be primary, whatever the monitors were.
    if !placed.iter().any(|place| place.primary)
        && let Some(first) = placed.first_mut()
    {
        first.primary = true;
    }
    Layout { placed, physical }
}

/// The user's part of what is shown now: without `ours`, moved back to the origin, one monitor primary.
pub(super) fn without(state: &State, ours: &[String]) -> Layout {
    let mut layout = state.layout.clone();
    layout.placed.retain(|placed| !ours.iter().any(|connector| placed.shows(connector)));
    let left = layout.placed.iter().map(|placed| placed.x).min().unwrap_or(0);
    let top = layout.placed.iter().map(|placed| placed.y).min().unwrap_or(0);
    for placed in &mut layout.placed {
        placed.x -= left;
        placed.y -= top;
    }
    if !layout.placed.iter().any(|placed| placed.primary)
        && let Some(first) = layout.placed.first_mut()
    {
        first.primary = true;
    }
    layout
}

fn right_of(placed: &[Placed], physical: bool) -> (i32, i32) {
    let ends = placed.iter().map(|placed| (placed.x + placed.size(physical).0, placed.y));
    ends.max_by_key(|(end, top)| (*end, -top)).unwrap_or((0, 0))
}

/// A relative motion of the pointer.
pub(super) type Motion = (f64, f64);

/// Relative motions that bring the pointer to the middle of the monitor `connector` from wherever it is. Empty when
/// there is no such monitor.
///
/// A position on our output can only be asked for once pictures flow, which is after the app has opened its window; so it
/// is done by relative motions, though nobody tells where the pointer is. It helps that Mutter stops a motion that
/// would leave all monitors at the edge of the one where it began: a long way to the bottom right ends in the corner of
/// the monitor that the pointer is on, and from that corner the way is known. Each monitor is tried in turn, by its
/// right edge. As ours is to the right of all others, a pointer that is on it stays there, and one that is on a monitor
/// which is yet to come cannot get onto one that was tried. The long way is gone twice, since the shell's barriers hold
/// up a pointer that rests at one (as at the start, in the top left corner). That corner would not do as the goal: it
/// opens the overview.
pub(super) fn way_to(layout: &Layout, connector: &str) -> Vec<Motion> {
    const FAR: f64 = 100_000.0;
    let Some(target) = layout.placed.iter().find(|placed| placed.shows(connector)) else {
        return Vec::new();
    };
    let (width, height) = target.size(layout.physical);
    let (x, y) = (target.x + width / 2, target.y + height / 2);
    let others = layout.placed.iter().filter(|placed| !placed.shows(connector));
    let mut corners: Vec<_> = others
        .map(|placed| {
            let (width, height) = placed.size(layout.physical);
            (placed.x + width - 1, placed.y + height - 1)
        })
        .collect();
    corners.sort_unstable();
    // At last from ours itself: from its corner back to its middle.
    corners.push((target.x + width - 1, target.y + height - 1));
    let motions = corners.iter().map(|corner| (f64::from(x - corner.0), f64::from(y - corner.1)));
    motions.flat_map(|motion| [(FAR, FAR), (FAR, FAR), motion]).collect()
}

#[cfg(test)]
mod tests {
    use super::super::display_config::{MonitorMode, Settings};
    use super::*;

    fn head(connector: &str, width: i32, height: i32) -> Head {
        let mode = MonitorMode { id: format!("{width}x{height}@60.000"), width, height, refresh: 60.0 };
        Head { connector: connector.into(), mode, settings: Settings::default() }
    }

    fn place(connector: &str, (x, y): (i32, i32), (width, height): (i32, i32), primary: bool) -> Placed {
        Placed { x, y, scale: 1.0, transform: 0, primary, heads: vec![head(connector, width, height)] }
    }

    fn desk() -> Layout {
        let placed =
            vec![place("DP-1", (0, 0), (1920, 1080), true), place("DP-2", (1920, 300), (800, 600), false)];
        Layout { placed, physical: false }
    }

    fn told(layout: &Layout) -> Vec<(&str, i32, i32, bool)> {
        let told = layout
            .placed
            .iter()
            .map(|placed| (placed.heads[0].connector.as_str(), placed.x, placed.y, placed.primary));
        told.collect()
    }

    #[test]
    fn extend_leaves_the_monitors_as_they_are() {
        let layout = arrange(&desk(), &[(head("Meta-0", 1264, 720), Topology::Extend)]);
        assert_eq!(
            told(&layout),
            [("DP-1", 0, 0, true), ("DP-2", 1920, 300, false), ("Meta-0", 2720, 300, false)]
        );
    }

    #[test]
    fn the_newest_output_is_primary_and_nothing_else_moves() {
        let ours = [
            (head("Meta-0", 1264, 720), Topology::Primary),
            (head("Meta-1", 800, 600), Topology::Primary),
            (head("Meta-2", 640, 360), Topology::Extend),
        ];
        let layout = arrange(&desk(), &ours);
        assert_eq!(
            told(&layout),
            [
                ("DP-1", 0, 0, false),
                ("DP-2", 1920, 300, false),
                ("Meta-0", 2720, 300, false),
                ("Meta-1", 3984, 300, true),
                ("Meta-2", 4784, 300, false)
            ]
        );
    }

    #[test]
    fn exclusive_leaves_only_ours() {
        let ours =
            [(head("Meta-0", 1264, 720), Topology::Extend), (head("Meta-1", 800, 600), Topology::Exclusive)];
        assert_eq!(told(&arrange(&desk(), &ours)), [("Meta-0", 0, 0, false), ("Meta-1", 1264, 0, true)]);
    }

    #[test]
    fn alone_an_output_is_primary_whatever_was_asked_for() {
        let layout = arrange(&Layout::default(), &[(head("Meta-0", 1264, 720), Topology::Extend)]);
        assert_eq!(told(&layout), [("Meta-0", 0, 0, true)]);
    }

    #[test]
    fn scale_and_rotation_count_in_the_width() {
        let mut desk = desk();
        desk.placed.remove(1);
        desk.placed[0].scale = 1.5;
        desk.placed[0].transform = 1;
        let ours = [(head("Meta-0", 1264, 720), Topology::Extend)];
        assert_eq!(arrange(&desk, &ours).placed[1].x, 720);
        desk.physical = true;
        assert_eq!(arrange(&desk, &ours).placed[1].x, 1080);
    }

    #[test]
    fn layouts_are_compared_by_what_they_show_not_by_order() {
        let mut other = desk();
        other.placed.reverse();
        assert!(desk().same_as(&other));
        other.placed[0].scale = 1.25;
        assert!(!desk().same_as(&other));
        other = desk();
        other.placed.pop();
        assert!(!desk().same_as(&other) && !other.same_as(&desk()));
    }

    /// The rule of Mutter that [`way_to`] relies on.
    fn moved(layout: &Layout, (x, y): (i32, i32), (dx, dy): Motion) -> (i32, i32) {
        let rects: Vec<_> =
            layout.placed.iter().map(|placed| (placed.x, placed.y, placed.size(layout.physical))).collect();
        let inside = |x: i32, y: i32| {
            rects.iter().find(|(left, top, (width, height))| {
                (*left..left + width).contains(&x) && (*top..top + height).contains(&y)
            })
        };
        let (left, top, (width, height)) = *inside(x, y).expect("the pointer is on a monitor");
        let (x, y) = (x + dx as i32, y + dy as i32);
        if inside(x, y).is_some() {
            return (x, y);
        }
        (x.clamp(left, left + width - 1), y.clamp(top, top + height - 1))
    }

    #[test]
    fn the_pointer_gets_to_the_middle_of_our_output_from_anywhere() {
        let stacked = Layout {
            placed: vec![
                place("DP-1", (0, 0), (1920, 1080), true),
                place("DP-2", (0, 1080), (1920, 1080), false),
                place("DP-3", (-1280, 200), (1280, 1024), false),
                place("DP-4", (1920, 900), (400, 2000), false),
                place("DP-5", (300, 2160), (1200, 700), false),
            ],
            physical: false,
        };
        for desk in [Layout::default(), desk(), stacked] {
            let ours = [
                (head("Meta-0", 1264, 720), Topology::Primary),
                (head("Meta-1", 5120, 2880), Topology::Primary),
            ];
            let layout = arrange(&desk, &ours);
            let target = layout.placed.last().expect("ours");
            let middle = (target.x + 2560, target.y + 1440);
            for from in &layout.placed {
                let (width, height) = from.size(false);
                for (fx, fy) in [(0, 0), (width / 3, height / 2), (width - 1, 0), (0, height - 1)] {
                    let start = (from.x + fx, from.y + fy);
                    let way = way_to(&layout, "Meta-1");
                    let end = way.iter().fold(start, |at, motion| moved(&layout, at, *motion));
                    assert_eq!(end, middle, "from {start:?}");
                }
            }
        }
        assert!(way_to(&desk(), "Meta-9").is_empty());
    }
}
