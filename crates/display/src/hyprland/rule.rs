//! What Hyprland is told about a monitor, in either of its languages.

use super::ipc::{Dialect, Monitor};
use lumen_media::Mode;

/// A monitor rule.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Rule<'a> {
    /// Exactly this mode, to the right of all others, unscaled.
    Mode(Mode),
    /// Dark, and without a place.
    Off,
    /// As it was.
    Restored(&'a Monitor),
}

impl Rule<'_> {
    /// The request that makes it so for the monitor `name`.
    pub fn request(&self, dialect: Dialect, name: &str) -> String {
        match dialect {
            Dialect::Keywords => format!("keyword monitor {name},{}", self.keywords()),
            Dialect::Lua => format!("eval hl.monitor({{ output = {}, {} }})", quoted(name), self.lua()),
        }
    }

    fn keywords(&self) -> String {
        match self {
            Self::Off => "disable".to_owned(),
            Self::Mode(mode) => format!("{},auto,1", resolution(*mode)),
            Self::Restored(before) => {
                let Monitor { width, height, refresh_rate, x, y, scale, transform, .. } = before;
                let mut rule =
                    format!("{width}x{height}@{refresh_rate:.3},{x}x{y},{scale:.6},transform,{transform}");
                if is_deep(before) {
                    rule.push_str(",bitdepth,10");
                }
                if let Some(mirrored) = mirrored(before) {
                    rule.push_str(&format!(",mirror,{mirrored}"));
                }
                rule
            }
        }
    }

    fn lua(&self) -> String {
        match self {
            Self::Off => "disabled = true".to_owned(),
            Self::Mode(mode) => {
                format!("disabled = false, mode = \"{}\", position = \"auto\", scale = 1", resolution(*mode))
            }
            Self::Restored(before) => {
                let Monitor { width, height, refresh_rate, x, y, scale, transform, .. } = before;
                let mut rule = format!(
                    "disabled = false, mode = \"{width}x{height}@{refresh_rate:.3}\", position = \"{x}x{y}\", scale = {scale:.6}, transform = {transform}"
                );
                if is_deep(before) {
                    rule.push_str(", bitdepth = 10");
                }
                if let Some(mirrored) = mirrored(before) {
                    rule.push_str(&format!(", mirror = {}", quoted(mirrored)));
                }
                rule
            }
        }
    }
}

/// The request that gives the monitor `name` the focus: where it is, new windows open.
pub(super) fn focus(dialect: Dialect, name: &str) -> String {
    match dialect {
        Dialect::Keywords => format!("dispatch focusmonitor {name}"),
        Dialect::Lua => format!("dispatch hl.dsp.focus({{ monitor = {} }})", quoted(name)),
    }
}

fn resolution(mode: Mode) -> String {
    let refresh = mode.refresh_mhz();
    format!("{}x{}@{}.{:03}", mode.width(), mode.height(), refresh / 1000, refresh % 1000)
}

fn is_deep(monitor: &Monitor) -> bool {
    monitor.current_format.contains("2101010")
}

fn mirrored(monitor: &Monitor) -> Option<&str> {
    Some(monitor.mirror_of.as_str()).filter(|name| !name.is_empty() && *name != "none")
}

/// A Lua string. Names of connectors hold neither quotes nor escapes; what does is cut there.
fn quoted(text: &str) -> String {
    let safe: String =
        text.chars().take_while(|letter| !matches!(letter, '"' | '\\') && !letter.is_control()).collect();
    format!("\"{safe}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before() -> Monitor {
        let mut monitors: Vec<Monitor> = serde_json::from_str(include_str!("monitors.json")).expect("valid");
        Monitor { scale: 1.333333, transform: 1, current_format: "XRGB2101010".into(), ..monitors.remove(0) }
    }

    #[test]
    fn rules_in_keywords() {
        let request = |rule: Rule| rule.request(Dialect::Keywords, "lumen-1");
        let mode = Mode::new(1264, 720, 59_940).expect("a mode");
        assert_eq!(request(Rule::Mode(mode)), "keyword monitor lumen-1,1264x720@59.940,auto,1");
        assert_eq!(request(Rule::Off), "keyword monitor lumen-1,disable");
        let restored = "keyword monitor lumen-1,1280x720@60.000,2642x0,1.333333,transform,1,bitdepth,10";
        assert_eq!(request(Rule::Restored(&before())), restored);
        let mirror = Monitor { mirror_of: "DP-1".into(), ..before() };
        assert!(request(Rule::Restored(&mirror)).ends_with(",mirror,DP-1"));
        assert_eq!(focus(Dialect::Keywords, "DP-1"), "dispatch focusmonitor DP-1");
    }

    #[test]
    fn rules_in_lua() {
        let request = |rule: Rule| rule.request(Dialect::Lua, "lumen-1");
        let mode = Mode::new(1264, 720, 120_000).expect("a mode");
        assert_eq!(
            request(Rule::Mode(mode)),
            r#"eval hl.monitor({ output = "lumen-1", disabled = false, mode = "1264x720@120.000", position = "auto", scale = 1 })"#
        );
        assert_eq!(request(Rule::Off), r#"eval hl.monitor({ output = "lumen-1", disabled = true })"#);
        assert!(
            request(Rule::Restored(&before()))
                .contains(r#"position = "2642x0", scale = 1.333333, transform = 1"#)
        );
        assert_eq!(focus(Dialect::Lua, "a\")os.exit("), r#"dispatch hl.dsp.focus({ monitor = "a" })"#);
    }
}
