use super::{Mode, UP, desktop, variables, version_of};
use crate::{LabError, Process, Session, find};
use std::collections::BTreeMap;
use std::path::Path;

/// How to start gamescope.
#[derive(Clone, Debug)]
pub struct GamescopeOptions {
    /// Size of its output and of the app's screen. Software rendering gets frames through at 320×180.
    pub mode: Mode,
    /// More of its arguments.
    pub arguments: Vec<String>,
}

impl Default for GamescopeOptions {
    fn default() -> Self {
        Self { mode: Mode::new(320, 180, 60.0), arguments: Vec::new() }
    }
}

/// A running gamescope without a screen, with an app inside. Needs a render node and udmabuf.
#[derive(Debug)]
pub struct Gamescope {
    process: Process,
    variables: BTreeMap<String, String>,
    node: u32,
    session: Session,
}

desktop!(Gamescope);

impl Gamescope {
    /// Starts gamescope with `app` (program and arguments) and waits for its PipeWire node.
    ///
    /// # Errors
    /// When it is missing, ends, or brings up no node.
    pub fn start(session: &Session, options: &GamescopeOptions, app: &[&str]) -> Result<Self, LabError> {
        let program = find("gamescope").ok_or_else(|| LabError::Missing("gamescope".into()))?;
        let Mode { width, height, hertz } = options.mode;
        let [width, height, hertz] =
            [f64::from(width), f64::from(height), hertz].map(|number| number.to_string());
        let mut command = session.command(program);
        command
            .args([
                "--backend",
                "headless",
                "-W",
                &width,
                "-H",
                &height,
                "-w",
                &width,
                "-h",
                &height,
                "-r",
                &hertz,
            ])
            .args(&options.arguments)
            .arg("--")
            .args(app)
            .envs(Self::environment());
        let process = session.spawn("gamescope", command)?;
        let line = process.wait_for_log("stream available on node", UP)?;
        let digits = line.rsplit(|letter: char| !letter.is_ascii_digit()).find(|word| !word.is_empty());
        let node = digits.and_then(|word| word.parse().ok());
        let node = node.ok_or(LabError::Answer { program: "gamescope".into(), answer: line })?;
        process.wait_until("socket of gamescope", UP, || session.socket("gamescope-0"))?;
        let variables =
            variables([("GAMESCOPE_WAYLAND_DISPLAY", "gamescope-0"), ("XDG_CURRENT_DESKTOP", "gamescope")]);
        Ok(Self { process, variables, node, session: session.clone() })
    }

    /// What any gamescope of the lab needs in its environment, also one that Lumen starts.
    pub fn environment() -> BTreeMap<String, String> {
        // The software Vulkan driver only, and no layer in the app.
        variables([
            ("VK_DRIVER_FILES", "/usr/share/vulkan/icd.d/lvp_icd.json"),
            ("ENABLE_GAMESCOPE_WSI", "0"),
            ("XDG_CURRENT_DESKTOP", "gamescope"),
        ])
    }

    /// Id of its PipeWire node, from its log.
    pub fn node(&self) -> u32 {
        self.node
    }

    /// `DISPLAY` of its Xwayland, from the environment of a process inside.
    pub fn display(&self) -> Option<String> {
        let pids = self.session.processes();
        pids.iter().find_map(|(pid, _)| {
            let environ = std::fs::read(Path::new("/proc").join(pid.to_string()).join("environ")).ok()?;
            let text = String::from_utf8_lossy(&environ).into_owned();
            let variables: Vec<_> = text.split('\0').collect();
            variables.iter().any(|one| one.starts_with("GAMESCOPE_WAYLAND_DISPLAY=")).then_some(())?;
            variables.iter().find_map(|one| one.strip_prefix("DISPLAY=")).map(str::to_owned)
        })
    }

    /// The line with the number that `gamescope --version` prints.
    ///
    /// # Errors
    /// When it does not run.
    pub fn version(&self) -> Result<String, LabError> {
        version_of(&self.session, "gamescope", &["--version"])
    }
}
