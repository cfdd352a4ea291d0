//! The one place where the environment is read.

use std::path::PathBuf;

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
    /// `USER`, else `LOGNAME`
    pub user: Option<String>,
    /// `SHELL`
    pub shell: Option<PathBuf>,
    /// `PATH`
    pub path: Option<String>,
    /// `LC_ALL`, else `LC_CTYPE`, else `LANG`
    pub locale: Option<String>,
    /// `TERM`
    pub term: Option<String>,
    /// `TMPDIR`, when absolute.
    pub temporary_dir: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`, when absolute.
    pub runtime_dir: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`, when absolute.
    pub config_home: Option<PathBuf>,
    /// `XDG_STATE_HOME`, when absolute.
    pub state_home: Option<PathBuf>,
    /// `XDG_DATA_HOME`, when absolute.
    pub data_home: Option<PathBuf>,
    /// `XDG_DATA_DIRS`, the absolute ones; the specification's own default when unset.
    pub data_dirs: Vec<PathBuf>,
    /// `XDG_CURRENT_DESKTOP`, split at the colons.
    pub current_desktop: Vec<String>,
    /// `WAYLAND_DISPLAY`
    pub wayland_display: Option<String>,
    /// `DISPLAY`
    pub x11_display: Option<String>,
    /// `DBUS_SESSION_BUS_ADDRESS`
    pub session_bus: Option<String>,
    /// `XKB_DEFAULT_LAYOUT`
    pub xkb_layout: Option<String>,
    /// `XKB_DEFAULT_VARIANT`
    pub xkb_variant: Option<String>,
    /// `XCURSOR_THEME`
    pub cursor_theme: Option<String>,
    /// `XCURSOR_SIZE`
    pub cursor_size: Option<String>,
    /// `RUST_LOG`
    pub log_filter: Option<String>,
    /// `NO_COLOR` is set.
    pub no_colour: bool,
    /// `NOTIFY_SOCKET`: systemd wants to know when the host is up.
    pub notify_socket: Option<String>,
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
            user: text("USER").or_else(|| text("LOGNAME")),
            shell: dir("SHELL"),
            path: text("PATH"),
            locale: text("LC_ALL").or_else(|| text("LC_CTYPE")).or_else(|| text("LANG")),
            term: text("TERM"),
            temporary_dir: dir("TMPDIR"),
            runtime_dir: dir("XDG_RUNTIME_DIR"),
            config_home: dir("XDG_CONFIG_HOME"),
            state_home: dir("XDG_STATE_HOME"),
            data_home: dir("XDG_DATA_HOME"),
            data_dirs: text("XDG_DATA_DIRS")
                .unwrap_or_else(|| "/usr/local/share:/usr/share".into())
                .split(':')
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
                .collect(),
            current_desktop: text("XDG_CURRENT_DESKTOP")
                .map(|names| names.split(':').filter(|name| !name.is_empty()).map(String::from).collect())
                .unwrap_or_default(),
            wayland_display: text("WAYLAND_DISPLAY"),
            x11_display: text("DISPLAY"),
            session_bus: text("DBUS_SESSION_BUS_ADDRESS"),
            xkb_layout: text("XKB_DEFAULT_LAYOUT"),
            xkb_variant: text("XKB_DEFAULT_VARIANT"),
            cursor_theme: text("XCURSOR_THEME"),
            cursor_size: text("XCURSOR_SIZE"),
            log_filter: text("RUST_LOG"),
            no_colour: text("NO_COLOR").is_some(),
            notify_socket: text("NOTIFY_SOCKET"),
            overrides: Overrides {
                compositor: text("LUMEN_COMPOSITOR"),
                video_source: text("LUMEN_VIDEO_SOURCE"),
                zero_copy: text("LUMEN_ZEROCOPY"),
                gamescope_node: text("LUMEN_GAMESCOPE_NODE"),
                fixed_pod: text("LUMEN_PW_FIXED_POD"),
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
            "XDG_DATA_DIRS" => Some("share:/opt/share".into()),
            "XDG_CURRENT_DESKTOP" => Some("ubuntu:GNOME".into()),
            "LOGNAME" => Some("ada".into()),
            _ => None,
        });
        assert_eq!(environment.runtime_dir, None);
        assert_eq!(environment.state_home, None);
        assert_eq!(environment.data_dirs, [PathBuf::from("/opt/share")]);
        assert_eq!(environment.current_desktop, ["ubuntu", "GNOME"]);
        assert_eq!(environment.user.as_deref(), Some("ada"));
    }

    #[test]
    fn the_process_has_a_path() {
        assert!(!Environment::of_process().path_dirs().is_empty());
    }
}
