//! Who makes the outputs of this host, from its configuration: the desktops' chooser, or the test pattern.

use lumen_capture::TestPattern;
use lumen_config::{Config, Environment, Paths};
use lumen_display::{Chooser, DisplayConfig, DisplayKind, Finding, SessionEnvironment};
use lumen_media::{
    AppLaunch, DisplayError, InputEvent, InputSink, Mode, OutputSource, PathReport, Timestamp,
    VirtualDisplay, VirtualOutput, clock,
};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Name of the test pattern where others have the name of their compositor.
const TEST_PATTERN: &str = "test-pattern";
/// A look at all desktops may take two seconds, so the status repeats what it saw for so long.
const FRESH: Duration = Duration::from_secs(10);

/// Makes outputs as the configuration wishes, and tells what desktops there are.
pub struct Displays {
    chooser: Chooser,
    pattern: bool,
    seen: Mutex<Option<(Timestamp, Vec<Finding>)>>,
}

impl Displays {
    /// Starts nothing yet.
    ///
    /// # Errors
    /// A keyboard that does not exist.
    pub fn new(kind: DisplayKind, config: DisplayConfig) -> Result<Self, DisplayError> {
        let pattern = config.source == lumen_display::VideoSource::TestPattern;
        Ok(Self { chooser: Chooser::new(kind, config)?, pattern, seen: Mutex::default() })
    }

    /// What is asked for, in the configuration's words.
    pub fn requested(&self) -> String {
        if self.pattern { TEST_PATTERN.to_owned() } else { self.chooser.requested().to_string() }
    }

    /// The desktops of this machine; a look takes up to two seconds and is repeated after ten.
    pub fn survey(&self) -> Vec<Finding> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match &*seen {
            Some((at, findings)) if clock::now().since(*at) < FRESH => findings.clone(),
            _ => {
                let findings = self.chooser.survey();
                *seen = Some((clock::now(), findings.clone()));
                findings
            }
        }
    }

    /// Which way the next output is tried first, by what [`Displays::survey`] found.
    pub fn plan(&self, findings: &[Finding]) -> PathReport {
        let mut plan = self.chooser.plan(findings);
        if self.pattern {
            plan.effective = TEST_PATTERN.into();
            plan.reason = "as asked for".into();
        }
        plan
    }

    /// Takes back what a desktop asks a person: the host stops.
    pub fn withdraw_questions(&self) {
        self.chooser.withdraw_questions();
    }

    /// Removes what a host that was killed left in the desktops.
    pub fn clean_up(&self) {
        self.chooser.clean_up();
    }
}

impl VirtualDisplay for Displays {
    fn name(&self) -> &'static str {
        if self.pattern { TEST_PATTERN } else { self.chooser.name() }
    }

    fn create(&self, mode: Mode, launch: &AppLaunch) -> Result<VirtualOutput, DisplayError> {
        if self.pattern { pattern(mode) } else { self.chooser.create(mode, launch) }
    }

    fn recreate(
        &self,
        lost: &PathReport,
        mode: Mode,
        launch: &AppLaunch,
    ) -> Result<VirtualOutput, DisplayError> {
        if self.pattern { pattern(mode) } else { self.chooser.recreate(lost, mode, launch) }
    }

    fn distrust(&self, path: &PathReport) {
        self.chooser.distrust(path);
    }

    fn keep_awake(&self, path: &PathReport) -> Option<Box<dyn Send>> {
        if self.pattern { None } else { self.chooser.keep_awake(path) }
    }
}

/// A moving pattern as an output.
fn pattern(mode: Mode) -> Result<VirtualOutput, DisplayError> {
    struct Nowhere;
    impl InputSink for Nowhere {
        fn send(&self, _event: InputEvent) {}
    }
    let pattern = TestPattern::new(mode)
        .map_err(|error| DisplayError::Other(format!("the test pattern has no thread: {error}")))?;
    Ok(VirtualOutput {
        path: PathReport {
            requested: TEST_PATTERN.into(),
            effective: TEST_PATTERN.into(),
            reason: "as asked for".into(),
        },
        source: OutputSource::Frames(Box::new(pattern)),
        effective_mode: mode,
        pulse: None,
        input: Arc::new(Nowhere),
        env: Vec::new(),
        set_mode: None,
        lasting: false,
        contained_app: None,
        keepalive: Box::new(()),
    })
}

/// Whether programs have nowhere to open.
pub fn shows_no_programs(path: &PathReport) -> bool {
    path.effective == TEST_PATTERN
}

/// Whether Lumen's own compositor made it, where a desktop without programs is an empty one.
pub fn is_builtin(path: &PathReport) -> bool {
    path.effective == DisplayKind::Builtin.to_string()
}

/// What the backends need to know, from the settings. Sockets go to `sockets`, journals and tokens to `state`.
pub fn display_config(
    config: &Config,
    environment: &Environment,
    sockets: &Path,
    state: &Path,
) -> DisplayConfig {
    use lumen_config::{Topology, VideoSource};
    DisplayConfig {
        runtime_dir: sockets.to_path_buf(),
        state_dir: state.to_path_buf(),
        session: SessionEnvironment {
            runtime_dir: environment.runtime_dir.clone().unwrap_or_else(|| sockets.to_path_buf()),
            variables: environment.desktop.clone(),
        },
        keyboard_layout: config.input.keyboard_layout.clone(),
        keyboard_variant: config.input.keyboard_variant.clone(),
        topology: match config.display.topology {
            Topology::Primary => lumen_display::Topology::Primary,
            Topology::Extend => lumen_display::Topology::Extend,
            Topology::Exclusive => lumen_display::Topology::Exclusive,
            Topology::Mirror => lumen_display::Topology::Mirror,
        },
        source: match config.display.source {
            VideoSource::Virtual => lumen_display::VideoSource::Virtual,
            VideoSource::Portal => lumen_display::VideoSource::Portal,
            VideoSource::TestPattern => lumen_display::VideoSource::TestPattern,
        },
        gamescope_node: config.capture.gamescope_node,
        questions: lumen_display::Questions::default(),
    }
}

/// The same for a host with these paths.
pub fn of_host(config: &Config, environment: &Environment, paths: &Paths) -> Result<Displays, DisplayError> {
    let outputs = display_config(config, environment, &paths.runtime_dir, &paths.state_dir);
    Displays::new(crate::display_kind(config.display.compositor), outputs)
}
