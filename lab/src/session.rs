//! A private desktop session: directories, buses, PipeWire.

use crate::{FOLDERS, LabError, Process, find, wait_for};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// Sockets lie below the runtime directory, and their paths may have 107 bytes, of which Hyprland needs 80: a short place,
/// whatever `TMPDIR` says, and a short name.
const PLACE: &str = "/tmp";
const PREFIX: &str = "lumlab-";
/// For a daemon to open its socket or take its name.
pub(crate) const START: Duration = Duration::from_secs(10);

/// Which daemons a session starts with.
#[derive(Clone, Copy, Debug)]
pub struct SessionOptions {
    /// PipeWire and WirePlumber, where installed.
    pub pipewire: bool,
    /// A second D-Bus daemon in the place of the system's.
    pub system_bus: bool,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { pipewire: true, system_bus: false }
    }
}

/// A private session. Clones share it; the last one ends it.
#[derive(Clone, Debug)]
pub struct Session {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    place: TempDir,
    /// Locked while the session lives; closed by the kernel when this process is killed.
    _lock: fs::File,
    env: BTreeMap<String, String>,
    daemons: Mutex<Daemons>,
}

/// Ended in this order: who speaks to the others first.
#[derive(Debug, Default)]
struct Daemons {
    wireplumber: Option<Process>,
    pipewire: Option<Process>,
    system_bus: Option<Process>,
    bus: Option<Process>,
}

impl Session {
    /// A session with a bus, and PipeWire and WirePlumber where they are installed.
    ///
    /// # Errors
    /// When a daemon does not start.
    pub fn start(name: &str) -> Result<Self, LabError> {
        Self::start_with(name, SessionOptions::default())
    }

    /// A session with the daemons of `options`; always with a session bus.
    ///
    /// # Errors
    /// When a daemon does not start.
    pub fn start_with(name: &str, options: SessionOptions) -> Result<Self, LabError> {
        remove_abandoned();
        let place = tempfile::Builder::new().prefix(PREFIX).rand_bytes(5).tempdir_in(PLACE);
        let place = place.map_err(LabError::file(PLACE))?;
        let lock = lock(place.path())?;
        let env = environment(place.path());
        for folder in
            ["XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"]
        {
            let path = &env[folder];
            fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(LabError::file(path))?;
        }
        for folder in [place.path().join("log"), place.path().join("services")] {
            fs::create_dir(&folder).map_err(LabError::file(folder))?;
        }
        let inner = Inner { name: name.to_owned(), place, _lock: lock, env, daemons: Mutex::default() };
        let session = Self { inner: Arc::new(inner) };
        session.start_bus()?;
        if options.system_bus {
            session.start_system_bus()?;
        }
        if options.pipewire && find("pipewire").is_some() {
            session.start_pipewire()?;
        }
        Ok(session)
    }

    /// The name that it was started under.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// `XDG_RUNTIME_DIR` of the session.
    pub fn runtime_dir(&self) -> &Path {
        Path::new(&self.inner.env["XDG_RUNTIME_DIR"])
    }

    /// `HOME` of the session.
    pub fn home(&self) -> &Path {
        Path::new(&self.inner.env["HOME"])
    }

    /// `XDG_CONFIG_HOME` of the session.
    pub fn config_dir(&self) -> &Path {
        Path::new(&self.inner.env["XDG_CONFIG_HOME"])
    }

    /// `XDG_DATA_HOME` of the session.
    pub fn data_dir(&self) -> &Path {
        Path::new(&self.inner.env["XDG_DATA_HOME"])
    }

    /// Folder of the session bus's service files (empty at first): what a test puts there can be activated by name.
    pub fn services_dir(&self) -> PathBuf {
        self.inner.place.path().join("services")
    }

    /// The whole environment of a program of this session that needs no desktop.
    pub fn env(&self) -> BTreeMap<String, String> {
        self.inner.env.clone()
    }

    /// A command that sees the session's environment and nothing else. Not started by the lab: ends with the session,
    /// but outlives a test that is killed.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let program = program.as_ref();
        // Not every program of a desktop stands on the test's own PATH.
        let found = program.to_str().and_then(find);
        let mut command = Command::new(found.as_deref().map_or(program, Path::as_os_str));
        command.env_clear().envs(&self.inner.env).current_dir(self.home());
        command
    }

    /// Starts a command (of [`Self::command`] or a desktop's) with a log under `name`.
    ///
    /// # Errors
    /// [`LabError::Spawn`] and [`LabError::File`].
    pub fn spawn(&self, name: &str, command: Command) -> Result<Process, LabError> {
        Process::spawn(name, command, self.log_file(name))
    }

    /// Where the log of the process `name` is, also after its end.
    pub fn log_file(&self, name: &str) -> PathBuf {
        self.inner.place.path().join("log").join(format!("{name}.log"))
    }

    /// Writes `text` to a file below the configuration folder, which is made.
    ///
    /// # Errors
    /// [`LabError::File`].
    pub fn write_config(&self, path: &str, text: &str) -> Result<PathBuf, LabError> {
        let path = self.config_dir().join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(LabError::file(folder))?;
        }
        fs::write(&path, text).map_err(LabError::file(&path))?;
        Ok(path)
    }

    /// Address of the session bus.
    pub fn bus_address(&self) -> &str {
        &self.inner.env["DBUS_SESSION_BUS_ADDRESS"]
    }

    /// A connection to the session bus.
    ///
    /// # Errors
    /// [`LabError::Bus`].
    pub fn bus(&self) -> Result<zbus::blocking::Connection, LabError> {
        Ok(zbus::blocking::connection::Builder::address(self.bus_address())?.build()?)
    }

    /// Whether somebody owns `name` on the session bus.
    pub fn has_name(&self, name: &str) -> bool {
        self.bus().and_then(|bus| Ok(owned(&bus, name)?)).unwrap_or_default()
    }

    /// Waits until somebody owns `name` on the session bus, while `owner` runs.
    ///
    /// # Errors
    /// [`LabError::Ended`] or [`LabError::Timeout`] with the end of the owner's log.
    pub fn wait_for_name(&self, name: &str, owner: &Process, limit: Duration) -> Result<(), LabError> {
        let bus = self.bus()?;
        owner.wait_until(&format!("{name} on the bus"), limit, || owned(&bus, name).ok()?.then_some(()))
    }

    /// Waits until nobody owns `name` on the session bus any more.
    ///
    /// # Errors
    /// [`LabError::Timeout`].
    pub fn wait_for_no_name(&self, name: &str, limit: Duration) -> Result<(), LabError> {
        let bus = self.bus()?;
        wait_for(&format!("release of {name} on the bus"), limit, || (!owned(&bus, name).ok()?).then_some(()))
    }

    /// Starts the daemon that stands in for the system bus, unless it runs.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_system_bus(&self) -> Result<(), LabError> {
        let mut daemons = self.daemons();
        if daemons.system_bus.as_ref().is_none_or(|bus| !bus.is_running()) {
            daemons.system_bus = Some(self.bus_daemon("system-bus", "sysbus")?);
        }
        Ok(())
    }

    /// Starts PipeWire and WirePlumber (where installed) unless they run.
    ///
    /// # Errors
    /// When one does not start.
    pub fn start_pipewire(&self) -> Result<(), LabError> {
        let mut daemons = self.daemons();
        if daemons.pipewire.as_ref().is_none_or(|daemon| !daemon.is_running()) {
            // After a kill the socket is still there, and nobody behind it.
            for name in ["pipewire-0", "pipewire-0-manager"] {
                let _ = fs::remove_file(self.runtime_dir().join(name));
            }
            let process = self.spawn("pipewire", self.command("pipewire"))?;
            process.wait_until("socket of PipeWire", START, || self.socket("pipewire-0"))?;
            daemons.pipewire = Some(process);
        }
        if daemons.wireplumber.as_ref().is_none_or(|daemon| !daemon.is_running())
            && find("wireplumber").is_some()
        {
            daemons.wireplumber = Some(self.spawn("wireplumber", self.command("wireplumber"))?);
        }
        Ok(())
    }

    /// Ends PipeWire and WirePlumber.
    pub fn stop_pipewire(&self) {
        let mut daemons = self.daemons();
        daemons.wireplumber = None;
        daemons.pipewire = None;
    }

    /// Ends PipeWire and WirePlumber and starts them again.
    ///
    /// # Errors
    /// When one does not start.
    pub fn restart_pipewire(&self) -> Result<(), LabError> {
        self.stop_pipewire();
        self.start_pipewire()
    }

    /// Restarts PipeWire with a node of this name whose formats (packed RGB of 24 bits, UYVY) no capture of a screen has,
    /// and answers its id.
    ///
    /// # Errors
    /// When PipeWire does not start, or does not make it.
    pub fn odd_producer(&self, name: &str) -> Result<u32, LabError> {
        let config = format!(
            "context.spa-libs = {{ videotestsrc = videotestsrc/libspa-videotestsrc }}\n\
            context.objects = [ {{ factory = adapter args = {{\n\
            factory.name = videotestsrc node.name = {name} media.class = Video/Source }} }} ]\n"
        );
        self.write_config("pipewire/pipewire.conf.d/odd.conf", &config)?;
        self.restart_pipewire()?;
        wait_for("the odd producer", Duration::from_secs(15), || {
            let nodes = self.video_nodes().ok()?;
            nodes.into_iter().find_map(|(id, found)| (found == name).then_some(id))
        })
    }

    /// Ends WirePlumber: nodes are no longer linked.
    pub fn stop_wireplumber(&self) {
        self.daemons().wireplumber = None;
    }

    /// Ends the session bus; everything on it loses its connection.
    pub fn stop_bus(&self) {
        self.daemons().bus = None;
    }

    /// Starts the session bus unless it runs.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_bus(&self) -> Result<(), LabError> {
        let mut daemons = self.daemons();
        if daemons.bus.as_ref().is_none_or(|bus| !bus.is_running()) {
            daemons.bus = Some(self.bus_daemon("bus", "bus")?);
        }
        Ok(())
    }

    /// The object that PipeWire's registry shows, by `pw-dump`.
    ///
    /// # Errors
    /// When `pw-dump` does not run or does not answer JSON.
    pub fn pipewire_objects(&self) -> Result<Vec<serde_json::Value>, LabError> {
        let failed = |answer: String| LabError::Answer { program: "pw-dump".into(), answer };
        let output = self.command("pw-dump").output().map_err(|cause| failed(cause.to_string()))?;
        serde_json::from_slice(&output.stdout)
            .map_err(|cause| failed(format!("{cause}; {}", String::from_utf8_lossy(&output.stderr))))
    }

    /// Ids and names of PipeWire's video nodes (`media.class` with `Video` in it).
    ///
    /// # Errors
    /// As [`Self::pipewire_objects`].
    pub fn video_nodes(&self) -> Result<Vec<(u32, String)>, LabError> {
        let nodes = self.pipewire_objects()?;
        let text = |node: &serde_json::Value, key| {
            node["info"]["props"][key].as_str().unwrap_or_default().to_owned()
        };
        Ok(nodes
            .iter()
            .filter(|node| text(node, "media.class").contains("Video"))
            .map(|node| (node["id"].as_u64().unwrap_or_default() as u32, text(node, "node.name")))
            .collect())
    }

    /// Ids and names (as in `/proc/…/comm`) of all processes that carry this session's environment, whoever started
    /// them; this process is not among them.
    pub fn processes(&self) -> Vec<(u32, String)> {
        processes_of(self.runtime_dir())
    }

    /// Socket `name` in the runtime directory, once it is there.
    pub(crate) fn socket(&self, name: &str) -> Option<PathBuf> {
        let path = self.runtime_dir().join(name);
        path.exists().then_some(path)
    }

    /// Names in the runtime directory that `wanted` picks.
    pub(crate) fn names(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let entries = fs::read_dir(self.runtime_dir()).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| wanted(name)).collect()
    }

    /// Wayland sockets in the runtime directory.
    pub(crate) fn wayland_displays(&self) -> Vec<String> {
        self.names(|name| name.starts_with("wayland-") && !name.ends_with(".lock"))
    }

    fn daemons(&self) -> MutexGuard<'_, Daemons> {
        self.inner.daemons.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A bus of our own configuration: the machine's service files would start the user's portals by themselves.
    fn bus_daemon(&self, name: &str, socket: &str) -> Result<Process, LabError> {
        let path = self.runtime_dir().join(socket);
        let _ = fs::remove_file(&path);
        let text = format!(
            "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\"\n \
             \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n<busconfig>\n\
             <type>session</type>\n<listen>unix:path={}</listen>\n<servicedir>{}</servicedir>\n\
             <policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>\
             <allow eavesdrop=\"true\"/><allow own=\"*\"/></policy>\n</busconfig>\n",
            path.display(),
            self.services_dir().display()
        );
        let config = self.write_config(&format!("{name}.conf"), &text)?;
        let mut command = self.command("dbus-daemon");
        command.arg("--nofork").arg(format!("--config-file={}", config.display()));
        let process = self.spawn(name, command)?;
        process.wait_until(&format!("socket of {name}"), START, || self.socket(socket))?;
        Ok(process)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.print_logs();
        }
        {
            let daemons = self.daemons.get_mut().unwrap_or_else(PoisonError::into_inner);
            daemons.wireplumber = None;
            daemons.pipewire = None;
            daemons.system_bus = None;
            daemons.bus = None;
        }
        // What programs of the session started and left.
        let runtime_dir = PathBuf::from(&self.env["XDG_RUNTIME_DIR"]);
        for signal in [Signal::TERM, Signal::KILL] {
            for (pid, _) in processes_of(&runtime_dir) {
                if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                    let _ = kill_process(pid, signal);
                }
            }
            let gone = wait_for("end of the session", Duration::from_secs(1), || {
                processes_of(&runtime_dir).is_empty().then_some(())
            });
            if gone.is_ok() {
                break;
            }
        }
        // Folders that a program locked to itself would stay.
        if let Ok(entries) = fs::read_dir(self.place.path()) {
            for entry in entries.flatten() {
                let _ = fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o700));
            }
        }
    }
}

impl Inner {
    /// For whoever looks at a failed test.
    fn print_logs(&self) {
        let entries = fs::read_dir(self.place.path().join("log")).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            let log = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
            let lines: Vec<_> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(15)..].join("\n    ");
            eprintln!("log of {} in session {}:\n    {tail}", path.display(), self.name);
        }
    }
}

/// Marks `place` as that of a living session.
fn lock(place: &Path) -> Result<fs::File, LabError> {
    let (early, path) = (place.join("lock.new"), place.join("lock"));
    let file = fs::File::create(&early).map_err(LabError::file(&early))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(std::io::Error::from)
        .map_err(LabError::file(&early))?;
    // Only under this name is it looked at, so nobody finds it unlocked in between.
    fs::rename(&early, &path).map_err(LabError::file(&path))?;
    Ok(file)
}

/// Removes the places of sessions whose tests were killed: nobody holds their locks.
fn remove_abandoned() {
    let entries = fs::read_dir(PLACE).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let abandoned = fs::File::open(entry.path().join("lock"))
            .is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok());
        if abandoned {
            // Another test may be at it too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn owned(bus: &zbus::blocking::Connection, name: &str) -> zbus::Result<bool> {
    let body = bus
        .call_method(
            Some("org.freedesktop.DBus"),
            "/org/freedesktop/DBus",
            Some("org.freedesktop.DBus"),
            "NameHasOwner",
            &name,
        )?
        .body();
    body.deserialize()
}

/// Everything that a program may look at, with the user's own session out of reach.
fn environment(place: &Path) -> BTreeMap<String, String> {
    let below = |name: &str| place.join(name).display().to_string();
    let bus = |name: &str| format!("unix:path={}", place.join("run").join(name).display());
    [
        ("PATH", FOLDERS.join(":")),
        ("HOME", below("home")),
        ("XDG_RUNTIME_DIR", below("run")),
        ("XDG_CONFIG_HOME", below("home/.config")),
        ("XDG_DATA_HOME", below("home/.local/share")),
        ("XDG_STATE_HOME", below("home/.local/state")),
        ("XDG_CACHE_HOME", below("home/.cache")),
        ("XDG_DATA_DIRS", "/usr/local/share:/usr/share".into()),
        ("DBUS_SESSION_BUS_ADDRESS", bus("bus")),
        ("DBUS_SYSTEM_BUS_ADDRESS", bus("sysbus")),
        ("LC_ALL", "C.UTF-8".into()),
        // No seat, no device, no GPU, no helper daemons of GNOME.
        ("LIBSEAT_BACKEND", "noop".into()),
        ("WLR_LIBINPUT_NO_DEVICES", "1".into()),
        ("LIBGL_ALWAYS_SOFTWARE", "1".into()),
        ("NO_AT_BRIDGE", "1".into()),
        ("GTK_A11Y", "none".into()),
        ("GIO_USE_VFS", "local".into()),
        ("GSETTINGS_BACKEND", "memory".into()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn processes_of(runtime_dir: &Path) -> Vec<(u32, String)> {
    let wanted = format!("XDG_RUNTIME_DIR={}", runtime_dir.display()).into_bytes();
    let own = std::process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own)
        // The environment of a zombie reads as empty.
        .filter(|pid| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.split(|byte| *byte == 0).any(|variable| variable == wanted.as_slice())
        })
        .map(|pid| {
            (pid, fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned())
        })
        .collect()
}
