//! Makes an output in a running sway.

use super::SWAY;
use super::instance::{Instance, ProcessId};
use super::ipc::{CurrentMode, Ipc, IpcError, Output, quoted};
use super::layout::{Layout, free_place, place_for};
use super::removal::{Leaving, PREFIX, Record, claimed, remove_unnamed, run_all, take_away};
use crate::journal::Entry;
use crate::{DisplayConfig, SessionEnvironment, Topology, pulse, undo};
use lumen_media::display::SetMode;
use lumen_media::{DisplayError, Mode, OutputSource, PathReport, VirtualOutput, WaylandTarget, clock};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// For the whole creation.
const LIMIT: Duration = Duration::from_secs(4);
/// Beginning of the names of outputs without a monitor.
pub(super) const HEADLESS: &str = "HEADLESS-";

/// Outputs of this process in one sway, and the layout before the first of them.
struct Group {
    sway: ProcessId,
    before: Layout,
    outputs: HashSet<String>,
}

/// Held while an output is made: its name is known only by comparing before and after, and its place by what is there.
static CREATING: Mutex<()> = Mutex::new(());

/// Locked after [`CREATING`], and for itself when an output goes.
static GROUPS: Mutex<Vec<Group>> = Mutex::new(Vec::new());

fn groups() -> MutexGuard<'static, Vec<Group>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An output that lives. Dropping it removes it and restores the layout.
struct Live {
    instance: Instance,
    name: String,
    focused: Option<String>,
    entry: Option<Entry>,
}

/// For a sway to say what it is when an output is wanted: it may be busy.
const GREETING: Duration = Duration::from_secs(2);

/// Makes an output at `mode`.
pub(super) fn create(config: &DisplayConfig, mode: Mode) -> Result<VirtualOutput, DisplayError> {
    let _creating = CREATING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut groups = groups();
    groups.retain(|group| group.sway.is_alive() && !group.outputs.is_empty());
    let instance = Instance::find(&config.session, GREETING)?;
    let socket = instance.wayland_socket(&config.session).ok_or_else(|| DisplayError::Unsupported {
        backend: SWAY,
        cause: format!("its Wayland socket is not in {}", config.session.runtime_dir.display()),
        remedy: "Start Lumen with sway's XDG_RUNTIME_DIR and WAYLAND_DISPLAY".to_owned(),
    })?;
    let deadline = clock::now() + LIMIT;
    let said = |error: IpcError| error.into_display(LIMIT);
    let mut ipc = instance.connect(deadline).map_err(said)?;
    let outputs = ipc.outputs().map_err(said)?;
    let index = groups.iter().position(|group| group.sway == instance.process).unwrap_or_else(|| {
        let before = Layout::of(&outputs);
        groups.push(Group { sway: instance.process, before, outputs: HashSet::new() });
        groups.len() - 1
    });
    let group = &mut groups[index];
    let focused = outputs.iter().find(|output| output.focused).map(|output| output.name.clone());
    let mut record = Record {
        host: ProcessId::own(),
        sway: instance.process,
        ipc: instance.ipc.clone(),
        output: None,
        before: group.before.clone(),
        focused: focused.clone(),
    };
    let journal_name = next_journal_name();
    let journal = |record: &Record| {
        Entry::write(&config.state_dir, &journal_name, record).map_err(|error| {
            let dir = config.state_dir.display();
            DisplayError::Other(format!(
                "the layout cannot be journalled in {dir}: {error}. Make it writable"
            ))
        })
    };
    let entry = journal(&record)?;
    let name = match appear(&mut ipc, &instance, &outputs, &group.outputs) {
        Ok(name) => name,
        Err(error @ (DisplayError::Timeout { .. } | DisplayError::Gone { .. })) => {
            // It may come all the same, when sway has time again.
            retry_unnamed(config.state_dir.clone(), instance, Layout::of(&outputs), entry);
            return Err(error);
        }
        Err(error) => {
            entry.done();
            return Err(error);
        }
    };
    group.outputs.insert(name.clone());
    record.output = Some(name.clone());
    let before = group.before.clone();
    let others: HashSet<_> = group.outputs.clone();
    // From here on the layout is restored also when a step fails; the lock must be free for that.
    drop(groups);
    let mut live = Live { instance, name, focused, entry: Some(entry) };
    live.entry = Some(journal(&record)?);
    let making = Making { config, mode, socket, before, ours: others };
    making.finish(live, &mut ipc, free_place(&outputs))
}

/// Unique in this process and, with the old ones that are cleaned up first, in the journal.
fn next_journal_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let host = ProcessId::own().pid();
    format!("{PREFIX}{host}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Lets sway make an output and learns its name.
fn appear(
    ipc: &mut Ipc,
    instance: &Instance,
    before: &[Output],
    ours: &HashSet<String>,
) -> Result<String, DisplayError> {
    let unsupported = |cause: String, remedy: &str| DisplayError::Unsupported {
        backend: SWAY,
        cause,
        remedy: remedy.to_owned(),
    };
    if !instance.version.can_unplug()
        && let Some(spare) = spare(before, ours)
    {
        return Ok(spare.to_owned());
    }
    ipc.run("create_output").map_err(|error| match error {
        IpcError::Refused { answer, .. } => unsupported(
            answer,
            "Start sway with its headless backend beside the others, such as WLR_BACKENDS=drm,libinput,headless",
        ),
        other => other.into_display(LIMIT),
    })?;
    let is_new = |output: &&Output| !before.iter().any(|known| known.name == output.name);
    let name = ipc
        .wait_for("the new output", |now| now.iter().find(is_new).map(|output| output.name.clone()))
        .map_err(|error| error.into_display(LIMIT))?;
    if !name.starts_with(HEADLESS) {
        if let Err(error) = take_away(ipc, instance, &name) {
            tracing::warn!(%error, name, "an output that is of no use stays in sway");
        }
        return Err(unsupported(
            format!("it runs inside another desktop and makes windows there ({name})"),
            "Stream that desktop, or start sway with WLR_BACKENDS=headless",
        ));
    }
    Ok(name)
}

/// An output that an earlier stream left turned off where sway cannot remove it.
fn spare<'a>(outputs: &'a [Output], ours: &HashSet<String>) -> Option<&'a str> {
    let is_spare = |output: &&Output| {
        !output.active && output.name.starts_with(HEADLESS) && !ours.contains(&output.name)
    };
    outputs.iter().find(is_spare).map(|output| output.name.as_str())
}

/// The steps after an output has its name.
struct Making<'a> {
    config: &'a DisplayConfig,
    mode: Mode,
    /// sway's Wayland socket.
    socket: PathBuf,
    before: Layout,
    /// Outputs of this process, the new one among them.
    ours: HashSet<String>,
}

impl Making<'_> {
    fn finish(self, live: Live, ipc: &mut Ipc, (x, y): (i32, i32)) -> Result<VirtualOutput, DisplayError> {
        let said = |error: IpcError| error.into_display(LIMIT);
        let wanted = self.mode;
        ipc.run(&format!(
            "output {} enable {} position {x} {y} scale 1 transform normal",
            quoted(&live.name),
            in_words(wanted)
        ))
        .map_err(said)?;
        let effective_mode = effective_mode(ipc, &live.name, wanted)?;
        // sway moves monitors whose place it chose itself.
        let outputs = ipc.outputs().map_err(said)?;
        run_all(ipc, &self.before.placing(&outputs)).map_err(said)?;
        self.arrange(ipc, &live).map_err(said)?;
        let mut reasons = Vec::new();
        if effective_mode != wanted {
            reasons.push(format!("sway made {effective_mode} of {wanted}"));
        }
        tracing::info!(
            output = live.name, mode = %effective_mode, position = ?(x, y), topology = ?self.config.topology,
            version = %live.instance.version, "output made in sway"
        );
        let target = WaylandTarget { socket: self.socket.clone(), output: live.name.clone() };
        Ok(VirtualOutput {
            path: PathReport {
                effective: "wlroots".into(),
                reason: reasons.join("; "),
                ..PathReport::default()
            },
            source: OutputSource::Wayland(target),
            effective_mode,
            input: lumen_input::wlroots(lumen_input::WlrootsTarget {
                desktop: SWAY,
                socket: self.socket.clone(),
                output: lumen_input::WlrootsOutput::Named(live.name.clone()),
                keyboard: self.config.named_keyboard(),
            }),
            pulse: pulse::of(&self.socket),
            env: environment(&self.config.session, &live.instance, &self.socket),
            set_mode: Some(mode_setter(live.instance.clone(), live.name.clone())),
            lasting: false,
            contained_app: None,
            keepalive: Box::new(live),
        })
    }

    /// Gives the output its place among the others.
    fn arrange(&self, ipc: &mut Ipc, live: &Live) -> Result<(), IpcError> {
        let focus = |name: &str| format!("focus output {}", quoted(name));
        match self.config.topology {
            Topology::Primary => ipc.run(&focus(&live.name)),
            Topology::Extend | Topology::Mirror => match &live.focused {
                Some(before) => run_all(ipc, &[focus(before)]),
                None => Ok(()),
            },
            Topology::Exclusive => {
                ipc.run(&focus(&live.name))?;
                let is_other = |output: &&Output| output.active && !self.ours.contains(&output.name);
                let others: Vec<_> = ipc
                    .outputs()?
                    .iter()
                    .filter(is_other)
                    .map(|output| format!("output {} disable", quoted(&output.name)))
                    .collect();
                run_all(ipc, &others)?;
                ipc.wait_for("the other monitors to turn off", |now| {
                    (!now.iter().any(|output| is_other(&output))).then_some(())
                })
            }
        }
    }
}

/// A mode as sway's `output` command takes it.
fn in_words(mode: Mode) -> String {
    let rate = mode.refresh_mhz();
    format!("mode --custom {}x{}@{}.{:03}Hz", mode.width(), mode.height(), rate / 1000, rate % 1000)
}

/// Waits until the output has the size of `wanted`, and reads its mode back.
fn effective_mode(ipc: &mut Ipc, name: &str, wanted: Mode) -> Result<Mode, DisplayError> {
    let applied = |now: &[Output]| -> Option<CurrentMode> {
        let output = now.iter().find(|output| output.name == name && output.active)?;
        let size = (wanted.width(), wanted.height());
        output.current_mode.filter(|mode| (mode.width, mode.height) == size && mode.refresh > 0)
    };
    let found = ipc.wait_for("the mode of the output", applied);
    let found = found.map_err(|error| error.into_display(LIMIT))?;
    Mode::new(found.width, found.height, found.refresh).map_err(|error| DisplayError::Unsupported {
        backend: SWAY,
        cause: format!("it set {}x{} at {} mHz: {error}", found.width, found.height, found.refresh),
        remedy: "Ask for another mode".to_owned(),
    })
}

/// Changes the mode of an output in place, so that the windows on it stay there: what sway takes away with a removed
/// output, it moves to the user's monitors.
fn mode_setter(instance: Instance, name: String) -> SetMode {
    Box::new(move |mode| {
        let said = |error: IpcError| error.into_display(LIMIT);
        // The place found free must stay so.
        let _creating = CREATING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ipc = instance.connect(clock::now() + LIMIT).map_err(said)?;
        let outputs = ipc.outputs().map_err(said)?;
        let place =
            place_for(&outputs, &name, mode).map(|(x, y)| format!(" position {x} {y}")).unwrap_or_default();
        ipc.run(&format!("output {} {}{place}", quoted(&name), in_words(mode))).map_err(said)?;
        let effective = effective_mode(&mut ipc, &name, mode)?;
        tracing::info!(output = name, mode = %effective, "output in sway changed its mode");
        Ok(())
    })
}

/// What is needed to take an output out of sway.
struct Place {
    instance: Instance,
    name: String,
    focused: Option<String>,
}

/// How it went.
enum Left {
    /// It is gone, and the layout is as before.
    Removed,
    /// sway is gone, and everything with it.
    Dead,
    /// sway does not do it, now.
    Stays(IpcError),
}

impl Place {
    /// Takes it out of sway. As long as that fails its group keeps it, and with it the layout without any of ours.
    fn leave(&self) -> Left {
        let mut groups = groups();
        let group = groups.iter_mut().find(|group| group.sway == self.instance.process);
        let removed = group.as_ref().map_or(Ok(()), |group| {
            let last = group.outputs.iter().all(|name| *name == self.name);
            let focused = self.focused.as_deref();
            Leaving { instance: &self.instance, name: &self.name, before: &group.before, focused, last }
                .remove()
        });
        let left = match removed {
            Ok(()) => Left::Removed,
            Err(_) if !self.instance.process.is_alive() => Left::Dead,
            Err(error) => return Left::Stays(error),
        };
        if let Some(group) = group {
            group.outputs.remove(&self.name);
        }
        groups.retain(|group| !group.outputs.is_empty());
        left
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let place = Place {
            instance: self.instance.clone(),
            name: std::mem::take(&mut self.name),
            focused: self.focused.take(),
        };
        let entry = self.entry.take();
        match place.leave() {
            Left::Stays(error) => {
                tracing::warn!(%error, output = place.name, "an output stays in sway until that answers");
                retry(place, entry);
            }
            left => left.conclude(&place.name, entry),
        }
    }
}

impl Left {
    fn conclude(self, output: &str, entry: Option<Entry>) {
        match self {
            Self::Removed => tracing::info!(output, "output removed from sway"),
            Self::Dead => tracing::debug!(output, "sway is gone, and the output with it"),
            // The journal stays for the next start.
            Self::Stays(error) => {
                return tracing::warn!(%error, output, "an output stays in sway until the next start");
            }
        }
        if let Some(entry) = entry {
            entry.done();
        }
    }
}

/// Tries until sway answers or is gone.
fn retry(place: Place, mut entry: Option<Entry>) {
    undo::later(format!("the output {} stays in sway", place.name), move || match place.leave() {
        Left::Stays(error) => {
            tracing::debug!(%error, output = place.name, "still in sway");
            false
        }
        left => {
            left.conclude(&place.name, entry.take());
            true
        }
    });
}

/// Removes an output that sway made after it was given up: one that was not there `before` and that nobody has claimed.
fn retry_unnamed(state_dir: PathBuf, instance: Instance, before: Layout, entry: Entry) {
    let mut entry = Some(entry);
    undo::later("an output that sway may have made too late stays".into(), move || {
        // No output of ours is without its name meanwhile.
        let _creating = CREATING.lock().unwrap_or_else(PoisonError::into_inner);
        match remove_unnamed(&instance, &before, &claimed(&state_dir)) {
            Err(error) if instance.process.is_alive() => {
                tracing::debug!(%error, "sway still does not answer");
                false
            }
            _ => {
                entry.take().into_iter().for_each(Entry::done);
                true
            }
        }
    });
}

/// What an app needs to open there.
fn environment(session: &SessionEnvironment, instance: &Instance, socket: &Path) -> Vec<(String, String)> {
    let in_runtime_dir = socket.parent() == Some(session.runtime_dir.as_path());
    let display = socket.file_name().filter(|_| in_runtime_dir).map_or(socket, Path::new);
    let pairs = [
        ("WAYLAND_DISPLAY", Some(display.display().to_string())),
        ("DISPLAY", instance.x_display()),
        ("SWAYSOCK", Some(instance.ipc.display().to_string())),
        ("XDG_CURRENT_DESKTOP", Some("sway".to_owned())),
        ("XDG_SESSION_TYPE", Some("wayland".to_owned())),
        ("XDG_RUNTIME_DIR", Some(session.runtime_dir.display().to_string())),
        ("DBUS_SESSION_BUS_ADDRESS", session.bus_address()),
    ];
    pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_sway_gets_back_its_spare_output() {
        let output = |name: &str, active| Output { name: name.into(), active, ..Output::default() };
        let ours = HashSet::from(["HEADLESS-2".to_owned()]);
        let outputs = [output("DP-1", false), output("HEADLESS-1", true), output("HEADLESS-2", false)];
        assert_eq!(spare(&outputs, &ours), None);
        assert_eq!(spare(&outputs, &HashSet::new()), Some("HEADLESS-2"));
    }

    /// Against the sway that is installed, told that it is an old one.
    #[test]
    fn an_old_sway_keeps_one_output_for_the_next_client() {
        let Some(session) = lumen_lab::session_for("sway-old", &["sway"]) else { return };
        let sway = lumen_lab::Sway::start(&session, &lumen_lab::SwayOptions::default()).expect("sway");
        let environment = SessionEnvironment {
            runtime_dir: session.runtime_dir().to_owned(),
            ..SessionEnvironment::default()
        };
        let found = Instance::find(&environment, GREETING).expect("the sway");
        let version = crate::wlroots::ipc::Version { major: 1, minor: 7, ..found.version.clone() };
        let old = Instance { version, ..found };
        let mut ipc = old.connect(clock::now() + LIMIT).expect("connected");
        let before = ipc.outputs().expect("an answer");
        let mut appear = || {
            let outputs = ipc.outputs().expect("an answer");
            let name = appear(&mut ipc, &old, &outputs, &HashSet::new()).expect("an output");
            let command = format!("output {name} enable mode --custom 800x600@75.000Hz");
            ipc.run(&command).expect("a mode");
            ipc.wait_for("its mode", |now| {
                now.iter().any(|output| output.name == name && output.active).then_some(())
            })
            .expect("it shows");
            take_away(&mut ipc, &old, &name).expect("turned off");
            name
        };
        assert_eq!([appear(), appear()], ["HEADLESS-2", "HEADLESS-2"]);
        let outputs = sway.outputs().expect("an answer");
        assert_eq!(outputs.len(), before.len() + 1);
        assert_eq!(outputs.iter().filter(|output| output["active"] == true).count(), 1);
    }
}
