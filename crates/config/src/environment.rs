//! The one place where the environment is read.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Variables of a desktop session that tell where its compositor, its buses and its files are.
pub const DESKTOP_VARIABLES: [&str; 13] = [
    "DBUS_SESSION_BUS_ADDRESS",
    "DBUS_SYSTEM_BUS_ADDRESS",
    "DISPLAY",
    "HOME",
    "HYPRLAND_INSTANCE_SIGNATURE",
    "PATH",
    "SWAYSOCK",
    "WAYLAND_DISPLAY",
    "XDG_CONFIG_HOME",
    "XDG_CURRENT_DESKTOP",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_SESSION_TYPE",
];

/// Looks variables up in the environment of this process.
pub fn process_environment() -> impl Fn(&str) -> Option<String> {
    |name| {
        #[expect(clippy::disallowed_methods, reason = "the one reader of the environment")]
        std::env::var(name).ok()
    }
}

/// The variables that override settings, as they were found; [`Config::load`](crate::Config::load) checks them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `LUMEN_COMPOSITOR`: `display.compositor`
    pub compositor: Option<String>,
    /// `LUMEN_VIDEO_SOURCE`: `display.source`
    pub video_source: Option<String>,
    /// `LUMEN_ZEROCOPY`: `capture.zero_copy`
    pub zero_copy: Option<String>,
    /// `LUMEN_GAMESCOPE_NODE`: `capture.gamescope_node`
    pub gamescope_node: Option<String>,
    /// `LUMEN_PW_FIXED_POD`: `capture.fixed_pod`
    pub fixed_pod: Option<String>,
    /// `LUMEN_ANSWER_SECONDS`: `capture.answer_seconds`
    pub answer_seconds: Option<String>,
    /// `LUMEN_AUDIO_GAIN`: `audio.gain`
    pub audio_gain: Option<String>,
    /// `LUMEN_FFMPEG_DEBUG`: `debug.ffmpeg`
    pub ffmpeg_debug: Option<String>,
}

/// What the host needs of the environment. Variables that are unset, empty or not UTF-8 are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `HOME`, when absolute.
    pub home: Option<PathBuf>,
    /// `PATH`
    pub path: Option<String>,
    /// `TMPDIR`, when absolute.
    pub temporary_dir: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`, when absolute.
    pub runtime_dir: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`, when absolute.
    pub config_home: Option<PathBuf>,
    /// `XDG_STATE_HOME`, when absolute.
    pub state_home: Option<PathBuf>,
    /// `XKB_DEFAULT_LAYOUT`: the default of `input.keyboard_layout`
    pub xkb_layout: Option<String>,
    /// `XKB_DEFAULT_VARIANT`: the default of `input.keyboard_variant`
    pub xkb_variant: Option<String>,
    /// `RUST_LOG`
    pub log_filter: Option<String>,
    /// `NO_COLOR` is set.
    pub no_colour: bool,
    /// Those of [`DESKTOP_VARIABLES`] that are set and not empty, by name, as they were found.
    pub desktop: BTreeMap<String, String>,
    /// `LUMEN_…`
    pub overrides: Overrides,
}

impl Environment {
    /// From a look-up; tests bring their own.
    pub fn read(look_up: impl Fn(&str) -> Option<String>) -> Self {
        let text = |name: &str| look_up(name).filter(|value| !value.is_empty());
        // The base directory specification calls relative paths invalid and wants them ignored.
        let dir = |name: &str| text(name).map(PathBuf::from).filter(|path| path.is_absolute());
        Self {
            home: dir("HOME"),
            path: text("PATH"),
            temporary_dir: dir("TMPDIR"),
            runtime_dir: dir("XDG_RUNTIME_DIR"),
            config_home: dir("XDG_CONFIG_HOME"),
            state_home: dir("XDG_STATE_HOME"),
            xkb_layout: text("XKB_DEFAULT_LAYOUT"),
            xkb_variant: text("XKB_DEFAULT_VARIANT"),
            log_filter: text("RUST_LOG"),
            no_colour: text("NO_COLOR").is_some(),
            desktop: DESKTOP_VARIABLES
                .into_iter()
                .filter_map(|name| Some((name.to_owned(), text(name)?)))
                .collect(),
            overrides: Overrides {
                compositor: text("LUMEN_COMPOSITOR"),
                video_source: text("LUMEN_VIDEO_SOURCE"),
                zero_copy: text("LUMEN_ZEROCOPY"),
                gamescope_node: text("LUMEN_GAMESCOPE_NODE"),
                fixed_pod: text("LUMEN_PW_FIXED_POD"),
                answer_seconds: text("LUMEN_ANSWER_SECONDS"),
                audio_gain: text("LUMEN_AUDIO_GAIN"),
                ffmpeg_debug: text("LUMEN_FFMPEG_DEBUG"),
            },
        }
    }

    /// Of this process.
    pub fn of_process() -> Self {
        Self::read(process_environment())
    }

    /// The directories of `PATH`.
    pub fn path_dirs(&self) -> Vec<PathBuf> {
        self.path.as_deref().map(|path| std::env::split_paths(path).collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_directories_and_empty_values_are_ignored() {
        let environment = Environment::read(|name| match name {
            "XDG_RUNTIME_DIR" => Some("run".into()),
            "XDG_STATE_HOME" => Some(String::new()),
            "XKB_DEFAULT_LAYOUT" => Some("de".into()),
            "XKB_DEFAULT_VARIANT" => Some(String::new()),
            _ => None,
        });
        assert_eq!(environment.runtime_dir, None);
        assert_eq!(environment.state_home, None);
        assert_eq!(environment.xkb_layout.as_deref(), Some("de"));
        assert_eq!(environment.xkb_variant, None);
    }

    #[test]
    fn the_desktop_is_read_by_name() {
        let environment = Environment::read(|name| match name {
            "WAYLAND_DISPLAY" => Some("wayland-1".into()),
            "DISPLAY" => Some(String::new()),
            "XDG_CURRENT_DESKTOP" => Some("KDE".into()),
            "LS_COLORS" => Some("no".into()),
            _ => None,
        });
        let found: Vec<_> = environment.desktop.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        assert_eq!(found, [("WAYLAND_DISPLAY", "wayland-1"), ("XDG_CURRENT_DESKTOP", "KDE")]);
    }

    #[test]
    fn the_process_has_a_path() {
        assert!(!Environment::of_process().path_dirs().is_empty());
    }
}
