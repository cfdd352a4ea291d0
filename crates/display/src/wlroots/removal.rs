//! Takes an output of ours out of sway and puts the layout back, at the end of a stream or after a host that was killed.

use super::creation::HEADLESS;
use super::instance::{Instance, ProcessId};
use super::ipc::{Ipc, IpcError, Output, quoted};
use super::layout::{Layout, View};
use crate::{DisplayConfig, journal};
use lumen_media::clock;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Beginning of the names of our journal's entries.
pub(super) const PREFIX: &str = "sway-";
/// For all that is said to sway when an output goes.
const LIMIT: Duration = Duration::from_secs(3);

/// What a host writes down about an output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub host: ProcessId,
    pub sway: ProcessId,
    pub ipc: PathBuf,
    /// `None` until sway told its name.
    pub output: Option<String>,
    /// Without any output of this host.
    pub before: Layout,
    /// Where the focus was right before this output.
    pub focused: Option<String>,
}

/// An output that goes.
pub(super) struct Leaving<'a> {
    pub instance: &'a Instance,
    pub name: &'a str,
    pub before: &'a Layout,
    pub focused: Option<&'a str>,
    /// Whether no other output of this host is left: only then the others' layout comes back.
    pub last: bool,
}

impl Leaving<'_> {
    /// Removes it and restores what it changed.
    pub fn remove(&self) -> Result<(), IpcError> {
        let mut ipc = self.instance.connect(clock::now() + LIMIT)?;
        let outputs = ipc.outputs()?;
        let view = View::before(self.name, &outputs, self.before, self.focused);
        if self.last {
            // Before ours goes: sway without any output shows nothing to anybody.
            self.enable_others(&mut ipc)?;
        }
        if outputs.iter().any(|output| output.name == self.name) {
            take_away(&mut ipc, self.instance, self.name)?;
        }
        let outputs = ipc.outputs()?;
        run_all(&mut ipc, &self.before.placing(&outputs))?;
        for _ in 0..view.steps() {
            let commands = view.showing(&ipc.outputs()?, &ipc.workspaces()?);
            if commands.is_empty() {
                break;
            }
            run_all(&mut ipc, &commands)?;
        }
        Ok(())
    }

    fn enable_others(&self, ipc: &mut Ipc) -> Result<(), IpcError> {
        let commands = self.before.enabling(&ipc.outputs()?);
        if commands.is_empty() {
            return Ok(());
        }
        run_all(ipc, &commands)?;
        let waited =
            ipc.wait_for("the other monitors", |now| self.before.enabling(now).is_empty().then_some(()));
        if let Err(error) = waited {
            tracing::warn!(%error, "a monitor that was turned off for the stream does not come back");
            return Ok(());
        }
        for [listed, custom] in self.before.modes(&ipc.outputs()?) {
            if let Err(IpcError::Refused { .. }) = ipc.run(&listed) {
                run_all(ipc, &[custom])?;
            }
        }
        Ok(())
    }
}

/// Removes an output; sway before 1.8 cannot, there it is kept, turned off, for the next client.
pub(super) fn take_away(ipc: &mut Ipc, instance: &Instance, name: &str) -> Result<(), IpcError> {
    let verb = if instance.version.can_unplug() { "unplug" } else { "disable" };
    ipc.run(&format!("output {} {verb}", quoted(name)))?;
    ipc.wait_for("the end of the output", |now| {
        (!now.iter().any(|output| output.name == name && output.active)).then_some(())
    })
}

/// Runs each; what sway refuses is left as it is.
pub(super) fn run_all(ipc: &mut Ipc, commands: &[String]) -> Result<(), IpcError> {
    for command in commands {
        match ipc.run(command) {
            Err(error @ IpcError::Refused { .. }) => tracing::debug!(%error, "sway keeps its layout"),
            answer => answer?,
        }
    }
    Ok(())
}

/// Removes what hosts that were killed left behind; says whether nothing of it is left.
pub(super) fn clean_up(config: &DisplayConfig) -> bool {
    let mut nothing_left = true;
    let mut found: Vec<(journal::Entry, Record)> = journal::left_over(&config.state_dir, PREFIX);
    // Outputs of living hosts, this one among them, end with those.
    found.retain(|(_, record)| !record.host.is_alive());
    while let Some((entry, record)) = found.pop() {
        if !record.sway.is_alive() {
            tracing::debug!(ipc = %record.ipc.display(), "the sway of a layout journal is gone, and its layout with it");
            entry.done();
            continue;
        }
        let last = !found.iter().any(|(_, other)| (other.sway, other.host) == (record.sway, record.host));
        match restore(&record, last, &config.state_dir) {
            Ok(()) => {
                tracing::info!(output = record.output, "removed what an earlier run left in sway");
                entry.done();
            }
            Err(error) => {
                nothing_left = false;
                tracing::warn!(
                    %error, output = record.output, "what an earlier run left in sway stays until the next output"
                );
            }
        }
    }
    nothing_left
}

/// Names of all outputs that a host wrote down, whether it lives or not.
pub(super) fn claimed(state_dir: &Path) -> HashSet<String> {
    let records = journal::left_over::<Record>(state_dir, PREFIX);
    records.into_iter().filter_map(|(_, record)| record.output).collect()
}

/// Removes headless outputs that were not there `before` and that nobody claims: sway made them and could not say so in
/// time.
pub(super) fn remove_unnamed(
    instance: &Instance,
    before: &Layout,
    claimed: &HashSet<String>,
) -> Result<(), IpcError> {
    let mut ipc = instance.connect(clock::now() + LIMIT)?;
    let outputs = ipc.outputs()?;
    let is_stray = |output: &&Output| {
        output.active
            && output.name.starts_with(HEADLESS)
            && !before.has(&output.name)
            && !claimed.contains(&output.name)
    };
    for stray in outputs.iter().filter(is_stray) {
        take_away(&mut ipc, instance, &stray.name)?;
        tracing::info!(output = stray.name, "an output that sway made too late is removed");
    }
    let outputs = ipc.outputs()?;
    run_all(&mut ipc, &before.placing(&outputs))
}

fn restore(record: &Record, last: bool, state_dir: &Path) -> Result<(), IpcError> {
    let mut ipc = Ipc::connect(&record.ipc, clock::now() + LIMIT)?;
    let version = ipc.version()?;
    let instance = Instance { ipc: record.ipc.clone(), process: record.sway, version };
    let Some(name) = record.output.as_deref() else {
        return remove_unnamed(&instance, &record.before, &claimed(state_dir));
    };
    let leaving = Leaving {
        instance: &instance,
        name,
        before: &record.before,
        focused: record.focused.as_deref(),
        last,
    };
    leaving.remove()
}
