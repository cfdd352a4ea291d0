//! Where things lie on disk.

use crate::{Config, Environment, Ports};
use std::path::{Path, PathBuf};

/// Where things lie on disk. Nothing is created here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The settings; need not exist.
    pub config_file: PathBuf,
    /// The host's identity, the paired clients and journals: `server.state_dir`, else `$XDG_STATE_HOME/lumen`, else
    /// `~/.local/state/lumen`, else `/var/lib/lumen`.
    pub state_dir: PathBuf,
    /// Sockets: `$XDG_RUNTIME_DIR`, else the state folder.
    pub runtime_dir: PathBuf,
    /// The control socket of the host with this base port, in the runtime folder.
    pub control_socket: PathBuf,
}

impl Paths {
    /// `config_file` is the one that was asked for on the command line.
    pub fn new(config_file: Option<&Path>, environment: &Environment, config: &Config) -> Self {
        let state_dir = match (&config.server.state_dir, &environment.state_home, &environment.home) {
            (Some(dir), _, _) => dir.clone(),
            (None, Some(state), _) => state.join("lumen"),
            (None, None, Some(home)) => home.join(".local/state/lumen"),
            (None, None, None) => PathBuf::from("/var/lib/lumen"),
        };
        let runtime_dir = environment.runtime_dir.clone().unwrap_or_else(|| state_dir.clone());
        // Hosts on other ports are hosts of their own; their sockets may share the folder.
        let socket = match config.server.ports.http() {
            Ports::DEFAULT_BASE => "lumen.sock".into(),
            base => format!("lumen-{base}.sock"),
        };
        Self {
            config_file: config_file.map_or_else(|| Self::config_file(environment), PathBuf::from),
            control_socket: runtime_dir.join(socket),
            state_dir,
            runtime_dir,
        }
    }

    /// `$XDG_CONFIG_HOME/lumen/config.toml`, else `~/.config/lumen/config.toml`, else `/etc/lumen/config.toml`.
    pub fn config_file(environment: &Environment) -> PathBuf {
        match (&environment.config_home, &environment.home) {
            (Some(config), _) => config.join("lumen/config.toml"),
            (None, Some(home)) => home.join(".config/lumen/config.toml"),
            (None, None) => PathBuf::from("/etc/lumen/config.toml"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_without_xdg_variables() {
        let environment = Environment { home: Some("/home/ada".into()), ..Environment::default() };
        let paths = Paths::new(None, &environment, &Config::default());
        assert_eq!(paths.config_file, Path::new("/home/ada/.config/lumen/config.toml"));
        assert_eq!(paths.state_dir, Path::new("/home/ada/.local/state/lumen"));
        assert_eq!(paths.control_socket, Path::new("/home/ada/.local/state/lumen/lumen.sock"));
    }

    #[test]
    fn a_service_without_a_home() {
        let paths = Paths::new(None, &Environment::default(), &Config::default());
        assert_eq!(paths.config_file, Path::new("/etc/lumen/config.toml"));
        assert_eq!(paths.state_dir, Path::new("/var/lib/lumen"));
        assert_eq!(paths.runtime_dir, Path::new("/var/lib/lumen"));
    }

    #[test]
    fn xdg_variables_settings_and_arguments_win_in_this_order() {
        let environment = Environment {
            home: Some("/home/ada".into()),
            runtime_dir: Some("/run/user/7".into()),
            state_home: Some("/s".into()),
            config_home: Some("/c".into()),
            ..Environment::default()
        };
        let mut config = Config::default();
        let paths = Paths::new(None, &environment, &config);
        assert_eq!(paths.config_file, Path::new("/c/lumen/config.toml"));
        assert_eq!(paths.state_dir, Path::new("/s/lumen"));
        assert_eq!(paths.control_socket, Path::new("/run/user/7/lumen.sock"));
        config.server.state_dir = Some("/elsewhere".into());
        config.server.ports = Ports::new(50_000).expect("valid");
        let paths = Paths::new(Some(Path::new("/my.toml")), &environment, &config);
        assert_eq!(paths.config_file, Path::new("/my.toml"));
        assert_eq!(paths.state_dir, Path::new("/elsewhere"));
        assert_eq!(paths.control_socket, Path::new("/run/user/7/lumen-50000.sock"));
    }
}
