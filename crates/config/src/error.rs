//! Why settings were refused. Every text names the file or variable, the place in it and what would be right.

use std::fmt;
use std::path::PathBuf;

/// Line and column of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named.
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// Why settings were refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the settings in {}: {source}. Make it readable or name another file", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{place}: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the parser said, on one line.
        message: String,
    },
    /// A key or section that does not exist.
    #[error("{place}: unknown key `{key}`; {}", suggestion(.nearest, .valid))]
    UnknownKey {
        /// Where.
        place: Place,
        /// The full key (`video.codec`).
        key: String,
        /// The valid key that resembles it most.
        nearest: Option<String>,
        /// All keys that are valid in its section.
        valid: Vec<&'static str>,
    },
    /// A value of the wrong type or outside its limits.
    #[error("{place}: `{key}` must be {expected}")]
    Value {
        /// Where.
        place: Place,
        /// The full key.
        key: String,
        /// What would be right.
        expected: String,
    },
    /// An environment variable with an impossible value.
    #[error("{variable}={value:?}: the value must be {expected}. Correct or unset the variable")]
    Variable {
        /// Its name.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        expected: String,
    },
}

fn suggestion(nearest: &Option<String>, valid: &[&str]) -> String {
    match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("valid here: {}", valid.join(", ")),
    }
}
