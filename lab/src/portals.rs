//! The desktop portal and one of its backends.

use crate::{Desktop, LabError, Process, Session, find};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

/// For a portal to take its name, before the machine's patience.
const UP: Duration = Duration::from_secs(15);

/// Which backend answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortalKind {
    /// For sway and its kin; shows the `output` without asking.
    Wlr {
        /// Name of the output that every screen cast shows.
        output: String,
        /// Frames a second at most.
        max_fps: u32,
    },
    /// The same, asking a person for whom a shell command speaks.
    WlrAsking {
        /// Prints what is chosen, or nothing.
        chooser: String,
    },
    /// For KWin.
    Kde {
        /// Whether remote desktop sessions are granted before anybody asks.
        authorized: bool,
    },
    /// For Mutter; asks by a dialog that nobody answers here.
    Gnome,
}

impl PortalKind {
    /// In `portals.conf`; the program; on the bus.
    fn names(&self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Wlr { .. } | Self::WlrAsking { .. } => {
                ("wlr", "xdg-desktop-portal-wlr", "org.freedesktop.impl.portal.desktop.wlr")
            }
            Self::Kde { .. } => ("kde", "xdg-desktop-portal-kde", "org.freedesktop.impl.portal.desktop.kde"),
            Self::Gnome => ("gnome", "xdg-desktop-portal-gnome", "org.freedesktop.impl.portal.desktop.gnome"),
        }
    }
}

/// Which pieces run.
#[derive(Clone, Debug)]
pub struct PortalOptions {
    /// The backend.
    pub kind: PortalKind,
    /// Whether the backend is started.
    pub backend: bool,
    /// Whether the portal itself is started.
    pub frontend: bool,
}

/// Running portals. They keep running when the compositor dies, as far as they can.
#[derive(Debug)]
pub struct Portals {
    /// `xdg-desktop-portal`; ended first.
    pub frontend: Option<Process>,
    /// The backend.
    pub backend: Option<Process>,
    /// Where grants are kept.
    pub store: Process,
    session: Session,
}

impl Portals {
    /// Starts the portal with the backend `kind` on `desktop` and waits until both are on the bus.
    ///
    /// # Errors
    /// When one is missing, ends, or does not come up.
    pub fn start(desktop: &impl Desktop, kind: PortalKind) -> Result<Self, LabError> {
        Self::start_with(desktop, &PortalOptions { kind, backend: true, frontend: true })
    }

    /// As [`Self::start`], with only the pieces of `options`.
    ///
    /// # Errors
    /// When one is missing, ends, or does not come up.
    pub fn start_with(desktop: &impl Desktop, options: &PortalOptions) -> Result<Self, LabError> {
        let session = desktop.session().clone();
        let (short, ..) = options.kind.names();
        session
            .write_config("xdg-desktop-portal/portals.conf", &format!("[preferred]\ndefault={short}\n"))?;
        if let PortalKind::Wlr { output, max_fps } = &options.kind {
            let config =
                format!("[screencast]\noutput_name={output}\nchooser_type=none\nmax_fps={max_fps}\n");
            session.write_config("xdg-desktop-portal-wlr/config", &config)?;
        }
        if let PortalKind::WlrAsking { chooser } = &options.kind {
            let config = format!("[screencast]\nchooser_type=simple\nchooser_cmd={chooser}\n");
            session.write_config("xdg-desktop-portal-wlr/config", &config)?;
        }
        let store =
            session.spawn("permission-store", desktop.command(&installed("xdg-permission-store")?))?;
        session.wait_for_name("org.freedesktop.impl.portal.PermissionStore", &store, UP)?;
        let mut portals = Self { frontend: None, backend: None, store, session };
        if options.kind == (PortalKind::Kde { authorized: true }) {
            portals.grant("kde-authorized", "remote-desktop", "", &["yes"])?;
        }
        if options.backend {
            portals.start_backend(desktop, &options.kind)?;
        }
        if options.frontend {
            let mut command = desktop.command(&installed("xdg-desktop-portal")?);
            command.arg("-v");
            let frontend = portals.session.spawn("xdg-desktop-portal", command)?;
            portals.session.wait_for_name("org.freedesktop.portal.Desktop", &frontend, UP)?;
            portals.frontend = Some(frontend);
        }
        Ok(portals)
    }

    /// Kills the backend and starts it again, as the service manager of a user does.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart_backend(&mut self, desktop: &impl Desktop, kind: &PortalKind) -> Result<(), LabError> {
        if let Some(backend) = self.backend.take() {
            backend.kill();
        }
        self.start_backend(desktop, kind)
    }

    fn start_backend(&mut self, desktop: &impl Desktop, kind: &PortalKind) -> Result<(), LabError> {
        let (short, program, name) = kind.names();
        let mut command = desktop.command(&installed(program)?);
        match short {
            "wlr" => command.args(["-l", "DEBUG"]),
            "kde" => command.env("QT_LOGGING_RULES", "xdp*=true;xdg*=true"),
            _ => command.env("G_MESSAGES_DEBUG", "all"),
        };
        let backend = self.session.spawn(program, command)?;
        self.session.wait_for_name(name, &backend, UP)?;
        self.backend = Some(backend);
        Ok(())
    }

    /// Writes a grant into the permission store: `table` and `id` name it, `app` is the one that gets it (empty for
    /// programs that no portal can name).
    ///
    /// # Errors
    /// [`LabError::Bus`].
    pub fn grant(&self, table: &str, id: &str, app: &str, permissions: &[&str]) -> Result<(), LabError> {
        self.store_call("SetPermission", &(table, true, id, app, permissions))?;
        Ok(())
    }

    /// The permissions of a grant, by app.
    ///
    /// # Errors
    /// [`LabError::Bus`], also when there is no such entry.
    pub fn grants(&self, table: &str, id: &str) -> Result<HashMap<String, Vec<String>>, LabError> {
        let body = self.store_call("Lookup", &(table, id))?.body();
        let (grants, _data): (HashMap<String, Vec<String>>, zbus::zvariant::OwnedValue) =
            body.deserialize()?;
        Ok(grants)
    }

    fn store_call<B>(&self, method: &str, body: &B) -> Result<zbus::Message, LabError>
    where
        B: zbus::export::serde::ser::Serialize + zbus::zvariant::DynamicType,
    {
        Ok(self.session.bus()?.call_method(
            Some("org.freedesktop.impl.portal.PermissionStore"),
            "/org/freedesktop/impl/portal/PermissionStore",
            Some("org.freedesktop.impl.portal.PermissionStore"),
            method,
            body,
        )?)
    }
}

/// Path of a portal's program: distributions disagree on the folder.
fn installed(program: &str) -> Result<String, LabError> {
    let folders = [
        "/usr/libexec",
        "/usr/lib/x86_64-linux-gnu/libexec",
        "/usr/lib/aarch64-linux-gnu/libexec",
        "/usr/lib",
    ];
    let mut paths = folders.iter().map(|folder| PathBuf::from(folder).join(program));
    let path = paths.find(|path| path.is_file()).or_else(|| find(program));
    path.map(|path| path.display().to_string()).ok_or_else(|| LabError::Missing(program.to_owned()))
}
