//! Where the outputs stand and which is the primary one: as pure rules.

use crate::Topology;
use serde::{Deserialize, Serialize};

/// One output of a layout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub name: String,
    /// KWin's own name of the monitor; survives another connector.
    pub uuid: String,
    pub enabled: bool,
    /// In logical pixels.
    pub position: (i32, i32),
    /// Width, height in pixels, rate in millihertz.
    pub mode: Option<(i32, i32, i32)>,
    pub scale: f64,
    /// Numbered like `wl_output.transform`.
    pub transform: i32,
}

impl Place {
    /// Whether both mean the same monitor.
    pub fn is(&self, other: &Place) -> bool {
        if self.uuid.is_empty() || other.uuid.is_empty() {
            self.name == other.name
        } else {
            self.uuid == other.uuid
        }
    }

    /// Left edge of what lies right of it, in logical pixels.
    fn right(&self) -> i32 {
        let (width, height, _) = self.mode.unwrap_or((0, 0, 0));
        let turned = self.transform % 2 == 1;
        let width = if turned { height } else { width };
        // Rounded up: a gap of one pixel harms nobody, an overlap moves the others.
        self.position.0 + (f64::from(width) / self.scale.max(0.1)).ceil() as i32
    }
}

/// All outputs: the primary one first, disabled ones last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Layout {
    pub places: Vec<Place>,
}

/// How an output is to be changed. What is `None` stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Change {
    pub name: String,
    pub enable: Option<bool>,
    pub position: Option<(i32, i32)>,
    pub mode: Option<(i32, i32, i32)>,
    pub scale: Option<f64>,
    pub transform: Option<i32>,
    /// Place in the order, the primary one is 1.
    pub priority: Option<u32>,
}

impl Layout {
    fn find(&self, place: &Place) -> Option<&Place> {
        self.places.iter().find(|candidate| candidate.is(place))
    }

    /// What the layout should be.
    ///
    /// `self` is how it is now, `before` how it was without our outputs. `ours` are all our outputs, the newest last;
    /// where `placed` of them already had their place, those keep it.
    pub fn goal(&self, before: &Layout, ours: &[String], placed: usize, topology: Topology) -> Layout {
        let alone = topology == Topology::Exclusive && !ours.is_empty();
        let mut others: Vec<Place> = Vec::new();
        // In the order of before, then what was plugged in since.
        let known = before.places.iter().filter_map(|place| Some((self.find(place)?, Some(place))));
        let since =
            self.places.iter().filter(|place| before.find(place).is_none()).map(|place| (place, None));
        for (now, then) in known.chain(since).filter(|(now, _)| !ours.contains(&now.name)) {
            let mut place = then.cloned().unwrap_or_else(|| now.clone());
            place.name.clone_from(&now.name);
            place.enabled &= !alone;
            others.push(place);
        }
        let mut edge = others.iter().filter(|place| place.enabled).map(Place::right).max().unwrap_or(0);
        let mut own = Vec::new();
        for (index, name) in ours.iter().enumerate() {
            let Some(now) = self.places.iter().find(|place| place.name == *name) else { continue };
            let mut place = Place { enabled: true, scale: 1.0, transform: 0, ..now.clone() };
            if index >= placed {
                place.position = (edge, 0);
            }
            edge = edge.max(place.right());
            own.push(place);
        }
        own.reverse();
        let mut places = Vec::new();
        if topology == Topology::Extend {
            places.append(&mut others);
            places.append(&mut own);
        } else {
            places.append(&mut own);
            places.append(&mut others);
        }
        // Stable: keeps the order among the enabled.
        places.sort_by_key(|place| !place.enabled);
        Layout { places }
    }

    /// What has to be changed to get from `self` to `goal`.
    pub fn changes_to(&self, goal: &Layout) -> Vec<Change> {
        let enabled = |layout: &Layout| -> Vec<String> {
            layout.places.iter().filter(|place| place.enabled).map(|place| place.name.clone()).collect()
        };
        let reorder = enabled(self) != enabled(goal);
        let mut changes = Vec::new();
        let mut priority = 0;
        for wanted in &goal.places {
            priority += u32::from(wanted.enabled);
            let Some(now) = self.find(wanted) else { continue };
            let mut change = Change { name: now.name.clone(), ..Change::default() };
            change.enable = (now.enabled != wanted.enabled).then_some(wanted.enabled);
            if wanted.enabled {
                change.position = (now.position != wanted.position).then_some(wanted.position);
                change.mode = wanted.mode.filter(|_| now.mode != wanted.mode);
                change.scale = ((now.scale - wanted.scale).abs() > 0.001).then_some(wanted.scale);
                change.transform = (now.transform != wanted.transform).then_some(wanted.transform);
                change.priority = reorder.then_some(priority);
            }
            if change != (Change { name: now.name.clone(), ..Change::default() }) {
                changes.push(change);
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str, x: i32, mode: (i32, i32, i32)) -> Place {
        Place {
            name: name.into(),
            uuid: format!("uuid-{name}"),
            enabled: true,
            position: (x, 0),
            mode: Some(mode),
            scale: 1.0,
            transform: 0,
        }
    }

    fn desk() -> Layout {
        Layout {
            places: vec![place("DP-1", 0, (1920, 1080, 60_000)), place("DP-2", 1920, (1280, 720, 60_000))],
        }
    }

    fn names(layout: &Layout) -> Vec<&str> {
        layout.places.iter().map(|place| place.name.as_str()).collect()
    }

    #[test]
    fn primary_puts_ours_first_and_leaves_the_rest() {
        let mut now = desk();
        now.places.push(place("Virtual-lumen", 0, (1264, 720, 120_000)));
        let goal = now.goal(&desk(), &["Virtual-lumen".into()], 0, Topology::Primary);
        assert_eq!(names(&goal), ["Virtual-lumen", "DP-1", "DP-2"]);
        assert_eq!(goal.places[0].position, (3200, 0));
        assert_eq!(goal.places[1..], desk().places[..]);
        let changes = now.changes_to(&goal);
        assert_eq!(changes.len(), 3, "each has another priority: {changes:?}");
        assert_eq!(changes[0].priority, Some(1));
        assert_eq!(changes[2], Change { name: "DP-2".into(), priority: Some(3), ..Change::default() });
        assert!(goal.changes_to(&goal).is_empty());
    }

    #[test]
    fn extend_mends_what_the_compositor_remembered() {
        // The last time the first monitor was off, and ours too.
        let mut now = desk();
        now.places[0].enabled = false;
        now.places[1].position = (0, 0);
        let mut ours = place("Virtual-lumen", 0, (1264, 720, 60_000));
        ours.enabled = false;
        now.places.push(ours);
        let goal = now.goal(&desk(), &["Virtual-lumen".into()], 0, Topology::Extend);
        assert_eq!(names(&goal), ["DP-1", "DP-2", "Virtual-lumen"]);
        assert!(goal.places.iter().all(|place| place.enabled));
        let changes = now.changes_to(&goal);
        assert_eq!(changes[0].enable, Some(true));
        assert_eq!(changes[1].position, Some((1920, 0)));
        assert_eq!(changes[2].position, Some((3200, 0)));
    }

    #[test]
    fn exclusive_turns_the_others_off_but_not_our_own() {
        let mut now = desk();
        now.places.push(place("Virtual-lumen", 0, (1264, 720, 60_000)));
        now.places.push(place("Virtual-lumen-2", 0, (640, 360, 60_000)));
        let ours = ["Virtual-lumen".into(), "Virtual-lumen-2".into()];
        let goal = now.goal(&desk(), &ours, 1, Topology::Exclusive);
        assert_eq!(names(&goal), ["Virtual-lumen-2", "Virtual-lumen", "DP-1", "DP-2"]);
        assert_eq!(
            goal.places.iter().map(|place| place.enabled).collect::<Vec<_>>(),
            [true, true, false, false]
        );
        assert_eq!(goal.places[1].position, (0, 0));
        assert_eq!(goal.places[0].position, (1264, 0));
        // Back: without ours everything is as before.
        let back = goal.goal(&desk(), &ours, 2, Topology::Extend);
        assert_eq!(back.places[..2], desk().places[..]);
    }

    #[test]
    fn a_monitor_that_came_later_is_left_alone_and_one_that_went_is_forgotten() {
        let mut now = desk();
        now.places.remove(1);
        now.places.push(place("HDMI-1", 1920, (800, 600, 60_000)));
        now.places.push(place("Virtual-lumen", 2720, (640, 360, 60_000)));
        let goal = now.goal(&desk(), &["Virtual-lumen".into()], 0, Topology::Extend);
        assert_eq!(names(&goal), ["DP-1", "HDMI-1", "Virtual-lumen"]);
        assert!(now.changes_to(&goal).is_empty(), "{:?}", now.changes_to(&goal));
    }

    #[test]
    fn scale_and_rotation_count_for_the_edge() {
        let mut before = Layout { places: vec![place("eDP-1", 0, (2880, 1800, 60_000))] };
        before.places[0].scale = 2.0;
        let mut now = before.clone();
        now.places.push(place("Virtual-lumen", 0, (640, 360, 60_000)));
        let ours = ["Virtual-lumen".into()];
        assert_eq!(now.goal(&before, &ours, 0, Topology::Primary).places[0].position, (1440, 0));
        before.places[0].transform = 1;
        now.places[0].transform = 1;
        assert_eq!(now.goal(&before, &ours, 0, Topology::Primary).places[0].position, (900, 0));
    }
}
