//! Lumen's settings.
//!
//! Three layers, later ones win: the commented default file that is compiled in ([`DEFAULT_FILE`]), the user's file, and
//! the environment variables that [`Overrides`] names. This crate is the only one that reads the environment: the host
//! takes what it needs of it from [`Environment`], and [`Paths`] says where things lie on disk.
//!
//! ```no_run
//! # fn main() -> Result<(), lumen_config::ConfigError> {
//! use lumen_config::{Config, Environment, Paths};
//! let environment = Environment::of_process();
//! let config = Config::load(None, &environment)?;
//! let paths = Paths::new(None, &environment, &config);
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod apps;
mod environment;
mod error;
mod load;
mod paths;
mod reader;
mod settings;
mod without_effect;

pub use apps::{App, AppId, Command};
pub use environment::{DESKTOP_VARIABLES, Environment, Overrides, process_environment};
pub use error::{ConfigError, Place};
pub use load::DEFAULT_FILE;
pub use paths::Paths;
pub use settings::{
    Audio, Capture, Codec, Codecs, CompositorChoice, Config, Debug, Display, Encryption, Gamepads, Input,
    Ports, Preset, Server, Topology, Video, VideoSource,
};
