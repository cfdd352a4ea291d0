//! The layout of the monitors: as it was, and what has to be said to sway to have it back.

use super::ipc::{CurrentMode, Output, Workspace, quoted};
use lumen_media::Mode;
use serde::{Deserialize, Serialize};

/// A monitor that is not ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Monitor {
    name: String,
    active: bool,
    mode: Option<CurrentMode>,
    position: (i32, i32),
    scale: Option<f64>,
    transform: Option<String>,
    workspace: Option<String>,
}

/// All monitors that are not ours, and which has the focus.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Layout {
    monitors: Vec<Monitor>,
    focused: Option<String>,
}

impl Layout {
    /// As sway tells it, before there is any output of ours.
    pub fn of(outputs: &[Output]) -> Self {
        let monitor = |output: &Output| Monitor {
            name: output.name.clone(),
            active: output.active,
            mode: output.current_mode,
            position: (output.rect.x, output.rect.y),
            scale: output.scale,
            transform: output.transform.clone(),
            workspace: output.current_workspace.clone(),
        };
        let focused = outputs.iter().find(|output| output.focused).map(|output| output.name.clone());
        Self { monitors: outputs.iter().map(monitor).collect(), focused }
    }

    /// Whether a monitor was there.
    pub fn has(&self, name: &str) -> bool {
        self.monitors.iter().any(|monitor| monitor.name == name)
    }

    /// Commands that enable again what was enabled, with its mode and place.
    pub fn enabling(&self, now: &[Output]) -> Vec<String> {
        let is_off = |name: &str| now.iter().any(|output| output.name == name && !output.active);
        let monitors = self.monitors.iter().filter(|monitor| monitor.active && is_off(&monitor.name));
        monitors
            .map(|Monitor { name, position: (x, y), scale, transform, .. }| {
                let scale = scale.map(|scale| format!(" scale {scale}")).unwrap_or_default();
                let transform =
                    transform.as_ref().map(|transform| format!(" transform {transform}")).unwrap_or_default();
                format!("output {} enable position {x} {y}{scale}{transform}", quoted(name))
            })
            .collect()
    }

    /// Commands that give back modes that a while of being disabled lost. A real monitor has the mode in its list; one
    /// without a list takes any.
    pub fn modes(&self, now: &[Output]) -> Vec<[String; 2]> {
        let lost = |monitor: &Monitor| {
            let found = now.iter().find(|output| output.name == monitor.name && output.active)?;
            let mode = monitor.mode.filter(|mode| monitor.active && Some(*mode) != found.current_mode)?;
            let same_size =
                found.current_mode.is_some_and(|now| (now.width, now.height) == (mode.width, mode.height));
            (!(same_size && mode.refresh == 0)).then_some(mode)
        };
        self.monitors
            .iter()
            .filter_map(|monitor| {
                let CurrentMode { width, height, refresh } = lost(monitor)?;
                let rate = match refresh {
                    0 => String::new(),
                    rate => format!("@{}.{:03}Hz", rate / 1000, rate % 1000),
                };
                let name = quoted(&monitor.name);
                Some(
                    ["", "--custom "]
                        .map(|custom| format!("output {name} mode {custom}{width}x{height}{rate}")),
                )
            })
            .collect()
    }

    /// Commands that put those back in their places that sway moved.
    pub fn placing(&self, now: &[Output]) -> Vec<String> {
        let moved = |monitor: &&Monitor| {
            let place = |output: &Output| (output.rect.x, output.rect.y);
            now.iter().any(|output| {
                output.name == monitor.name && output.active && place(output) != monitor.position
            })
        };
        let monitors = self.monitors.iter().filter(|monitor| monitor.active).filter(moved);
        monitors
            .map(|Monitor { name, position: (x, y), .. }| format!("output {} position {x} {y}", quoted(name)))
            .collect()
    }
}

/// What stands on the monitors while an output of ours goes: the user may have changed it since.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct View {
    shown: Vec<(String, String)>,
    focused: Option<String>,
}

impl View {
    /// Right before `leaving` goes. Monitors that are off show again what `before` says; the focus that goes with
    /// `leaving` goes to `fallback`, where it was before, else to where it was before any output of ours.
    pub fn before(leaving: &str, now: &[Output], before: &Layout, fallback: Option<&str>) -> Self {
        let mut shown = Vec::new();
        for output in now.iter().filter(|output| output.name != leaving) {
            let remembered = || before.monitors.iter().find(|monitor| monitor.name == output.name);
            let workspace = match output.active {
                true => output.current_workspace.clone(),
                false => remembered().and_then(|monitor| monitor.workspace.clone()),
            };
            shown.extend(workspace.map(|workspace| (output.name.clone(), workspace)));
        }
        let mut stays = now.iter().filter(|output| output.name != leaving);
        let exists = |name: &&str| *name != leaving && now.iter().any(|output| output.name == **name);
        let focused = stays.find(|output| output.focused).map(|output| output.name.as_str());
        let focused = focused.or(fallback.filter(exists)).or(before.focused.as_deref().filter(exists));
        Self { shown, focused: focused.map(str::to_owned) }
    }

    /// The next commands that show it again; none when nothing is left to do. Asked again after each: an empty workspace
    /// ends when another one takes its place, and its name is free then. One that stands on another output stays there.
    pub fn showing(&self, now: &[Output], workspaces: &[Workspace]) -> Vec<String> {
        let found = |name: &str| now.iter().find(|output| output.name == name && output.active);
        let focus = |name: &str| format!("focus output {}", quoted(name));
        let missing = self.shown.iter().find(|(output, workspace)| {
            let elsewhere = |there: &Workspace| there.name == *workspace && there.output != *output;
            found(output).is_some_and(|output| output.current_workspace.as_ref() != Some(workspace))
                && !workspaces.iter().any(elsewhere)
        });
        if let Some((output, workspace)) = missing {
            // A workspace that is gone opens anew where the focus is.
            return vec![focus(output), format!("workspace --no-auto-back-and-forth {}", quoted(workspace))];
        }
        let unfocused = self.focused.as_deref().and_then(found).filter(|output| !output.focused);
        unfocused.map(|output| focus(&output.name)).into_iter().collect()
    }

    /// How often [`View::showing`] has something to say at most.
    pub fn steps(&self) -> usize {
        self.shown.len() * 2 + 1
    }
}

/// Where a further output goes: right of all, at the height of the rightmost, so that no other one moves.
pub(super) fn free_place(outputs: &[Output]) -> (i32, i32) {
    let rightmost = outputs
        .iter()
        .filter(|output| output.active)
        .max_by_key(|output| output.rect.x.saturating_add(output.rect.width));
    rightmost.map_or((0, 0), |output| (output.rect.x.saturating_add(output.rect.width), output.rect.y))
}

/// Where an output of ours, at scale 1, goes when it gets `mode` and would cover another one where it is.
pub(super) fn place_for(outputs: &[Output], name: &str, mode: Mode) -> Option<(i32, i32)> {
    let side = |length: u32| i32::try_from(length).unwrap_or(i32::MAX);
    let (width, height) = (side(mode.width()), side(mode.height()));
    let rect = outputs.iter().find(|output| output.name == name && output.active)?.rect;
    let apart = |start: i32, length: i32, other: i32, other_length: i32| {
        start.saturating_add(length) <= other || other.saturating_add(other_length) <= start
    };
    let is_covered = |output: &Output| {
        let other = output.rect;
        !apart(rect.x, width, other.x, other.width) && !apart(rect.y, height, other.y, other.height)
    };
    let covers = outputs.iter().any(|output| output.active && output.name != name && is_covered(output));
    covers.then(|| free_place(outputs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wlroots::ipc::Rect;

    fn output(name: &str, x: i32, workspace: &str) -> Output {
        Output {
            name: name.into(),
            active: true,
            rect: Rect { x, y: 5, width: 1280, height: 720 },
            current_mode: Some(CurrentMode { width: 1280, height: 720, refresh: 59_940 }),
            current_workspace: Some(workspace.into()),
            scale: Some(1.5),
            transform: Some("90".into()),
            ..Output::default()
        }
    }

    fn off(name: &str) -> Output {
        Output { name: name.into(), ..Output::default() }
    }

    #[test]
    fn the_free_place_is_right_of_all() {
        assert_eq!(free_place(&[]), (0, 0));
        assert_eq!(free_place(&[output("A", 1920, "1"), output("B", 0, "2"), off("C")]), (3200, 5));
    }

    #[test]
    fn one_that_grows_over_another_moves_right_of_all() {
        let mode = |width, height| Mode::new(width, height, 60_000).expect("a mode");
        let outputs = [output("A", 0, "1"), output("B", 1280, "2"), off("C")];
        assert_eq!(place_for(&outputs, "A", mode(1280, 1080)), None, "it grows downwards");
        assert_eq!(place_for(&outputs, "A", mode(1920, 1080)), Some((2560, 5)));
        assert_eq!(place_for(&outputs, "B", mode(1920, 1080)), None, "nothing is right of it");
        assert_eq!(place_for(&outputs, "C", mode(1920, 1080)), None, "it is off");
    }

    #[test]
    fn what_was_on_comes_back_as_it_was_and_the_rest_is_left_alone() {
        let before = Layout::of(&[output("A", 0, "1"), output("B", 1280, "2"), off("C")]);
        assert_eq!(before.monitors.len(), 3);
        let now = [off("A"), output("B", 1280, "2"), output("C", 2560, "3")];
        assert_eq!(before.enabling(&now), [r#"output "A" enable position 0 5 scale 1.5 transform 90"#]);
        assert!(before.enabling(&[]).is_empty(), "a monitor that was unplugged stays away");
        let now = [output("A", 2560, "1"), output("B", 1280, "2")];
        assert_eq!(before.placing(&now), [r#"output "A" position 0 5"#]);
    }

    #[test]
    fn lost_modes_are_given_back() {
        let before = Layout::of(&[output("A", 0, "1")]);
        let mut now = [output("A", 0, "1")];
        assert!(before.modes(&now).is_empty());
        now[0].current_mode = Some(CurrentMode { width: 1280, height: 720, refresh: 60_000 });
        let [plain, custom] = &before.modes(&now)[0];
        assert_eq!(plain, r#"output "A" mode 1280x720@59.940Hz"#);
        assert_eq!(custom, r#"output "A" mode --custom 1280x720@59.940Hz"#);
    }

    #[test]
    fn the_view_survives_an_output_that_goes() {
        let mut ours = output("X", 2560, "9");
        ours.focused = true;
        let before = Layout::of(&[output("A", 0, "1"), output("B", 1280, "2")]);
        let view = View::before("X", &[output("A", 0, "1"), off("B"), ours], &before, Some("B"));
        let mut after = [output("A", 0, "9"), output("B", 1280, "2")];
        after[0].focused = true;
        let there = |name: &str, output: &str| Workspace { name: name.into(), output: output.into() };
        let [nine, two] = [there("9", "A"), there("2", "B")];
        let commands = view.showing(&after, &[nine.clone(), two.clone()]);
        assert_eq!(commands, [r#"focus output "A""#, r#"workspace --no-auto-back-and-forth "1""#]);
        let commands = view.showing(&after, &[nine, two, there("1", "B")]);
        assert_eq!(commands, [r#"focus output "B""#], "its workspace was moved away");
        after[0].current_workspace = Some("1".into());
        (after[0].focused, after[1].focused) = (false, true);
        assert!(view.showing(&after, &[]).is_empty());
    }
}
