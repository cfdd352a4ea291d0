//! The backend: makes outputs.

use crate::keyboard::Layout;
use crate::{socket, thread};
use lumen_media::{AppLaunch, DisplayError, Mode, OutputSource, PathReport, VirtualDisplay, VirtualOutput};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Settings of the built-in compositor.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BuiltinConfig {
    /// Where the Wayland sockets go. Must exist and be writable.
    pub runtime_dir: PathBuf,
    /// XKB layouts of the keyboard, comma-separated, as `setxkbmap` names them (`us`, `de`, …).
    pub keyboard_layout: String,
    /// XKB variants of the layouts, written like them.
    pub keyboard_variant: Option<String>,
}

impl BuiltinConfig {
    /// Sockets in `runtime_dir`, layout `us`.
    pub fn new(runtime_dir: impl AsRef<Path>) -> Self {
        Self {
            runtime_dir: runtime_dir.as_ref().to_owned(),
            keyboard_layout: "us".to_owned(),
            keyboard_variant: None,
        }
    }
}

/// Makes headless outputs, each a compositor thread of its own.
#[derive(Debug)]
pub struct BuiltinDisplay {
    runtime_dir: PathBuf,
    layout: Layout,
}

impl BuiltinDisplay {
    /// Checks keyboard and runtime directory, and removes what a killed host left there.
    ///
    /// # Errors
    /// [`DisplayError::Socket`] when the directory is missing or not writable; [`DisplayError::Other`] when XKB does
    /// not know the layout.
    pub fn new(config: BuiltinConfig) -> Result<Self, DisplayError> {
        let layout = Layout::new(&config.keyboard_layout, config.keyboard_variant.as_deref())?;
        socket::cleanup_stale(&config.runtime_dir)?;
        Ok(Self { runtime_dir: config.runtime_dir, layout })
    }
}

impl VirtualDisplay for BuiltinDisplay {
    fn name(&self) -> &'static str {
        "built-in"
    }

    /// Starts the output's thread and waits until its socket listens.
    ///
    /// `env` of the result holds `WAYLAND_DISPLAY`, `XDG_RUNTIME_DIR`, `XDG_SESSION_TYPE` and `XDG_CURRENT_DESKTOP`;
    /// an entry with an empty value (`DISPLAY`) is a variable that the app must not inherit. `launch` is not needed.
    fn create(&self, mode: Mode, _launch: &AppLaunch) -> Result<VirtualOutput, DisplayError> {
        let running = thread::start(&self.runtime_dir, mode, &self.layout)?;
        let runtime_dir = self.runtime_dir.display().to_string();
        let env = [
            ("WAYLAND_DISPLAY", running.socket_name.as_str()),
            ("XDG_RUNTIME_DIR", &runtime_dir),
            ("XDG_SESSION_TYPE", "wayland"),
            ("XDG_CURRENT_DESKTOP", "Lumen"),
            // Toolkits try X11 first or second if they see this.
            ("DISPLAY", ""),
        ];
        let wishes = running.source.wishes.clone();
        Ok(VirtualOutput {
            path: PathReport { effective: self.name().to_owned(), ..PathReport::default() },
            source: OutputSource::Frames(Box::new(running.source)),
            effective_mode: mode,
            pulse: None,
            input: Arc::new(running.sink),
            env: env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            set_mode: Some(Box::new(move |mode| wishes.set_mode(mode))),
            lasting: false,
            contained_app: None,
            keepalive: Box::new(running.keepalive),
        })
    }
}
