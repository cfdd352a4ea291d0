//! Starting and ending the app of a session.

use crate::processes::{self, HOST_MARK, SESSION_MARK};
use lumen_media::{AppLaunch, clock};
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::HashSet;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// Terminals that "Desktop" opens on the built-in compositor when the configuration names nothing better, best first.
pub const TERMINALS: [&str; 7] =
    ["foot", "alacritty", "kitty", "wezterm", "ghostty", "weston-terminal", "konsole"];

/// The desktop's terminal gets letters so large that about this many rows fit, to be read from a sofa.
const TERMINAL_ROWS: u32 = 45;

/// How long an app may take to end by itself before it is killed.
const GRACE: Duration = Duration::from_secs(2);
/// How long the group gets after its marked processes are gone.
const HIDDEN_GRACE: Duration = Duration::from_millis(200);
/// An app that fails within this time most likely could not start.
const EARLY: Duration = Duration::from_secs(5);
/// When to look again for orphans once none was found.
const SECOND_LOOK: Duration = Duration::from_millis(50);
/// How often a launcher's orphans are looked for.
const ORPHAN_POLL: Duration = Duration::from_secs(1);

/// Why an app could not be started.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The program does not exist.
    #[error(
        "\"{title}\" needs the program {program}, which is not installed. Install it or name another program in its command"
    )]
    Missing {
        /// Title of the app.
        title: String,
        /// Program that was looked for.
        program: String,
    },
    /// No terminal for the desktop.
    #[error("Desktop has nothing to show: none of {} is installed. Install foot, or give the app \"Desktop\" a command", TERMINALS.join(", "))]
    NoTerminal,
    /// The system refused.
    #[error("cannot start \"{title}\" ({}): {source}", program.display())]
    Spawn {
        /// Title of the app.
        title: String,
        /// Program.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What an app inherits.
#[derive(Clone, Debug)]
pub struct AppContext {
    /// Unique id of this host, for [`HOST_MARK`].
    pub host_mark: String,
    /// Search path for programs.
    pub path: String,
    /// Folder for the app's output.
    pub log_dir: PathBuf,
    /// Where apps start: the user's home.
    pub home: Option<PathBuf>,
    /// Rows of pixels of the output, for the size of letters.
    pub output_height: u32,
}

/// A running app. Dropping it ends every process of it.
pub struct RunningApp {
    session: String,
    group: Pid,
    /// The leader was waited for: its number, and the group's, may belong to somebody else.
    reaped: Arc<AtomicBool>,
    stop: Option<mpsc::Sender<()>>,
    /// Disconnected once the watcher is done.
    done: mpsc::Receiver<()>,
    watcher: Option<JoinHandle<()>>,
}

/// The command that `app` means: its own, or a terminal for a bare desktop.
pub fn resolve(app: &AppLaunch, path: &str) -> Result<(PathBuf, Vec<String>), AppError> {
    match app.command.split_first() {
        Some((program, arguments)) => {
            let found = processes::find_program(program, path)
                .ok_or_else(|| AppError::Missing { title: app.title.clone(), program: program.clone() })?;
            Ok((found, arguments.to_vec()))
        }
        None => TERMINALS
            .iter()
            .find_map(|terminal| processes::find_program(terminal, path))
            .map(|program| (program, Vec::new()))
            .ok_or(AppError::NoTerminal),
    }
}

impl RunningApp {
    /// Starts `app` with `env` on top of the host's environment; an empty value removes a variable. `ended` is called
    /// once, from another thread, when the app and everything it started are gone by themselves.
    pub fn start(
        app: &AppLaunch,
        env: &[(String, String)],
        context: &AppContext,
        ended: impl FnOnce() + Send + 'static,
    ) -> Result<Self, AppError> {
        let (program, mut arguments) = resolve(app, &context.path)?;
        if app.command.is_empty() && program.ends_with("foot") {
            arguments.push(format!("--font=monospace:pixelsize={}", context.output_height / TERMINAL_ROWS));
        }
        let session = uuid::Uuid::new_v4().to_string();
        let mut command = Command::new(&program);
        command.args(arguments).stdin(Stdio::null()).process_group(0);
        if let Some(home) = context.home.as_deref().filter(|home| home.is_dir()) {
            command.current_dir(home);
        }
        for (name, value) in env.iter().chain(&app.env) {
            if value.is_empty() {
                command.env_remove(name);
            } else {
                command.env(name, value);
            }
        }
        command.env(HOST_MARK, &context.host_mark).env(SESSION_MARK, &session);
        match log_file(&context.log_dir, &app.title) {
            Ok((out, err)) => command.stdout(out).stderr(err),
            Err(_) => command.stdout(Stdio::null()).stderr(Stdio::null()),
        };
        let child = command.spawn().map_err(|source| AppError::Spawn {
            title: app.title.clone(),
            program: program.clone(),
            source,
        })?;
        tracing::info!(app = app.title, program = %program.display(), pid = child.id(), "app started");
        let group = Pid::from_child(&child);
        let (stop, stopped) = mpsc::channel();
        let (finished, done) = mpsc::channel();
        let reaped = Arc::new(AtomicBool::new(false));
        let watch = Watch {
            child,
            session: session.clone(),
            started: clock::now(),
            log: log_path(&context.log_dir, &app.title),
            reaped: reaped.clone(),
            stopped,
        };
        let watcher = std::thread::Builder::new()
            .name("lumen-app".into())
            .spawn(move || {
                watch.run(ended);
                drop(finished);
            })
            .map_err(|source| AppError::Spawn { title: app.title.clone(), program, source })?;
        Ok(Self { session, group, reaped, stop: Some(stop), done, watcher: Some(watcher) })
    }
}

impl RunningApp {
    /// Whether the watcher is done, or will be in so much time.
    fn is_over_within(&self, patience: Duration) -> bool {
        // The watcher never sends: its end of the channel goes with it.
        self.done.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Disconnected)
    }

    fn signal_group(&self, signal: Signal) {
        if !self.reaped.load(Ordering::Acquire) {
            let _ = kill_process_group(self.group, signal);
        }
    }
}

impl Drop for RunningApp {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.signal_group(Signal::TERM);
        end_marked(SESSION_MARK, &self.session);
        // What hides its environment, or gave it up, is still in the group.
        if !self.is_over_within(HIDDEN_GRACE) {
            self.signal_group(Signal::KILL);
        }
        let over = self.is_over_within(GRACE);
        let Some(watcher) = self.watcher.take() else { return };
        if over {
            let _ = watcher.join();
        } else {
            // A process that even SIGKILL does not end hangs in the kernel; nobody else shall wait for it.
            tracing::error!(group = ?self.group, "an app cannot be ended and is left behind");
        }
    }
}

/// What the watching thread needs.
struct Watch {
    child: Child,
    session: String,
    started: lumen_media::Timestamp,
    log: PathBuf,
    reaped: Arc<AtomicBool>,
    stopped: mpsc::Receiver<()>,
}

impl Watch {
    /// Waits for the leader, then for what it left behind.
    fn run(mut self, ended: impl FnOnce()) {
        let status = self.child.wait();
        self.reaped.store(true, Ordering::Release);
        let mut nobody_before = false;
        loop {
            let orphans = processes::marked(SESSION_MARK, &self.session);
            let being_stopped = matches!(self.stopped.try_recv(), Err(mpsc::TryRecvError::Disconnected));
            if being_stopped {
                return;
            }
            // Twice: a process that is just starting a program has no environment to show for a moment.
            if orphans.is_empty() && nobody_before {
                self.report(&status);
                return ended();
            }
            nobody_before = orphans.is_empty();
            let pause = if nobody_before { SECOND_LOOK } else { ORPHAN_POLL };
            if self.stopped.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Disconnected) {
                return;
            }
        }
    }

    fn report(&self, status: &std::io::Result<std::process::ExitStatus>) {
        let log = self.log.display();
        match status {
            Ok(status) if !status.success() && clock::now().since(self.started) < EARLY => {
                tracing::warn!(%status, "the app ended at once; what it said is in {log}");
            }
            Ok(status) => tracing::info!(%status, %log, "app ended"),
            Err(error) => tracing::warn!(%error, %log, "app ended, its status is unknown"),
        }
    }
}

/// Ends what a host that was killed left behind: everything that carries this host's mark.
pub fn end_leftovers(host_mark: &str) -> usize {
    let left = processes::marked(HOST_MARK, host_mark).len();
    if left > 0 {
        end_marked(HOST_MARK, host_mark);
    }
    left
}

/// Asks all processes with the mark to end, then kills what has not after [`GRACE`].
fn end_marked(name: &str, value: &str) {
    let mut asked = HashSet::new();
    let deadline = clock::now() + GRACE;
    let mut nobody_before = false;
    loop {
        let left = processes::marked(name, value);
        // Twice, as above; who appears in between has not been asked yet.
        if left.is_empty() && nobody_before {
            return;
        }
        nobody_before = left.is_empty();
        // Each once: to some programs a second request means at once, without saving.
        let newcomers: Vec<Pid> = left.iter().copied().filter(|pid| asked.insert(*pid)).collect();
        processes::signal_all(&newcomers, Signal::TERM);
        // A stopped or interactive shell minds a hang-up more than a request.
        processes::signal_all(&newcomers, Signal::HUP);
        if clock::now() >= deadline {
            processes::signal_all(&left, Signal::KILL);
            return;
        }
        // The kernel has no "wait until these are gone" for processes that are not our children.
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn log_path(dir: &Path, title: &str) -> PathBuf {
    let name: String = title.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    dir.join(format!("app-{name}.log"))
}

fn log_file(dir: &Path, title: &str) -> std::io::Result<(File, File)> {
    std::fs::create_dir_all(dir)?;
    let out = File::create(log_path(dir, title))?;
    let err = out.try_clone()?;
    Ok((out, err))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(dir: &Path) -> AppContext {
        AppContext {
            host_mark: uuid::Uuid::new_v4().to_string(),
            path: "/usr/bin:/bin".into(),
            log_dir: dir.join("logs"),
            home: None,
            output_height: 720,
        }
    }

    fn app(script: &str) -> AppLaunch {
        AppLaunch {
            title: "Test".into(),
            command: vec!["sh".into(), "-c".into(), script.into()],
            env: vec![("LUMEN_TEST_VALUE".into(), "seven".into())],
        }
    }

    fn wait_until(what: &str, is: impl Fn() -> bool) {
        let deadline = clock::now() + Duration::from_secs(10);
        while !is() {
            assert!(clock::now() < deadline, "waited in vain until {what}");
            std::thread::yield_now();
        }
    }

    fn wait_until_there(file: &Path) {
        wait_until("the app gets going", || file.exists());
    }

    #[test]
    fn an_app_that_ends_says_so_and_its_output_is_kept() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let context = context(dir.path());
        let (ended, wait) = mpsc::channel();
        let running = RunningApp::start(&app("echo $LUMEN_TEST_VALUE"), &[], &context, move || {
            ended.send(()).expect("test waits");
        })
        .expect("starts");
        wait.recv_timeout(Duration::from_secs(10)).expect("ended");
        drop(running);
        let log = std::fs::read_to_string(dir.path().join("logs/app-Test.log")).expect("log");
        assert_eq!(log, "seven\n");
    }

    #[test]
    fn dropping_ends_also_what_left_the_group_and_ignores_requests() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let context = context(dir.path());
        let mark = context.host_mark.clone();
        let ready = dir.path().join("ready");
        let script = format!(
            "trap '' TERM HUP; setsid sh -c 'trap \"\" TERM HUP; touch {}; sleep 60' & sleep 60",
            ready.display()
        );
        let running = RunningApp::start(&app(&script), &[], &context, || {}).expect("starts");
        wait_until_there(&ready);
        // A process that is just starting a program has no environment to show for a moment.
        wait_until("two run", || processes::marked(HOST_MARK, &mark).len() >= 2);
        drop(running);
        // What was killed takes a moment to go.
        wait_until("none runs", || processes::marked(HOST_MARK, &mark).is_empty());
    }

    #[test]
    fn an_app_that_hides_its_environment_and_ignores_requests_is_ended_by_its_group() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let context = context(dir.path());
        let ready = dir.path().join("ready");
        let script = format!(
            "exec env -i /bin/sh -c 'trap \"\" TERM HUP; echo $$ > {0}.new; mv {0}.new {0}; while :; do sleep 1; done'",
            ready.display()
        );
        let running = RunningApp::start(&app(&script), &[], &context, || {}).expect("starts");
        wait_until_there(&ready);
        let pid = std::fs::read_to_string(&ready).expect("written").trim().to_owned();
        drop(running);
        assert!(!Path::new("/proc").join(&pid).exists(), "process {pid} is still there");
    }

    #[test]
    fn a_launcher_that_exits_at_once_still_counts_as_running() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let context = context(dir.path());
        let (ended, wait) = mpsc::channel();
        let gate = dir.path().join("gate");
        let script =
            format!("setsid sh -c 'while ! [ -e {} ]; do sleep 0.05; done' & exit 0", gate.display());
        let running =
            RunningApp::start(&app(&script), &[], &context, move || ended.send(()).expect("test waits"))
                .expect("starts");
        assert!(wait.recv_timeout(Duration::from_millis(300)).is_err(), "its child is still there");
        std::fs::write(&gate, "").expect("writable");
        wait.recv_timeout(Duration::from_secs(10)).expect("ended");
        drop(running);
    }

    #[test]
    fn a_missing_program_names_itself_and_the_remedy() {
        let missing = AppLaunch { title: "Game".into(), command: vec!["no-such-game".into()], env: vec![] };
        let error = resolve(&missing, "/usr/bin").expect_err("missing");
        assert!(error.to_string().contains("no-such-game"), "{error}");
        assert!(matches!(resolve(&AppLaunch::default(), "/nonexistent"), Err(AppError::NoTerminal)));
    }
}
