//! One output in Hyprland, from its making to the layout as it was before.

use super::ipc::{Dialect, Instance, Monitor};
use super::rule::{self, Rule};
use super::{ANSWER, JOURNAL, NAME, arranging};
use crate::journal::Entry;
use crate::{DisplayConfig, Topology, undo};
use lumen_media::display::SetMode;
use lumen_media::{DisplayError, Mode, Timestamp, clock};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// For a monitor to take its mode, or to go dark: Hyprland answers first and acts between two frames.
const TAKES_EFFECT: Duration = Duration::from_secs(5);
/// When a rule is sent again: one that arrives while a monitor is being made gets lost.
const AGAIN: Duration = Duration::from_secs(1);
/// Between two looks at the monitors.
const LOOK: Duration = Duration::from_millis(20);

/// Outputs of this process.
static LIVE: Mutex<BTreeMap<String, Before>> = Mutex::new(BTreeMap::new());

/// What the journal keeps of one output.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Before {
    /// Which Hyprland.
    pub instance: String,
    /// The output's name.
    pub name: String,
    /// How the Hyprland wants to be spoken to.
    lua: bool,
    /// The monitor that had the focus and gets it back.
    focused: Option<String>,
    /// Monitors that were switched off, as they were.
    off: Vec<Monitor>,
}

impl Before {
    fn dialect(&self) -> Dialect {
        if self.lua { Dialect::Lua } else { Dialect::Keywords }
    }

    fn key(&self) -> String {
        format!("{}/{}", self.instance, self.name)
    }
}

/// Whether it is one of this process's, alive.
pub(super) fn is_live(before: &Before) -> bool {
    live(|outputs| outputs.contains_key(&before.key()))
}

fn live<T>(change: impl FnOnce(&mut BTreeMap<String, Before>) -> T) -> T {
    change(&mut LIVE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A live output. Dropping it removes it and restores the layout.
pub(super) struct Output {
    instance: Instance,
    before: Before,
    monitor: Monitor,
    /// As asked for last.
    mode: Arc<Mutex<Mode>>,
    entry: Option<Entry>,
    watch: Option<Watch>,
    /// Until then the creating thread holds the lock of all arrangements, also when this is dropped.
    made: bool,
}

impl Output {
    /// Makes an output at `mode` and gives it its place.
    pub fn create(config: &DisplayConfig, instance: &Instance, mode: Mode) -> Result<Self, DisplayError> {
        let dialect = instance.dialect(ANSWER)?;
        let monitors = instance.monitors(ANSWER)?;
        let name = free_name(&monitors);
        let others = || monitors.iter().filter(|monitor| !monitor.disabled);
        let focused = others().find(|monitor| monitor.focused).map(|monitor| monitor.name.clone());
        let exclusive = config.topology == Topology::Exclusive;
        // What another exclusive output switched off is dark already, and stays to be lit by the last of them.
        let inherited = live(|outputs| {
            let mut all = outputs.values();
            let other = all.find(|other| other.instance == instance.signature() && !other.off.is_empty());
            other.map(|other| other.off.clone())
        });
        let lit = || {
            // What another of our outputs shows is somebody's picture, not a monitor on the desk.
            others().filter(|monitor| !is_ours(&monitor.name)).cloned().collect()
        };
        let before = Before {
            instance: instance.signature().to_owned(),
            name: name.clone(),
            lua: dialect == Dialect::Lua,
            focused: focused.filter(|_| config.topology != Topology::Extend),
            off: if exclusive { inherited.unwrap_or_else(lit) } else { Vec::new() },
        };
        let entry = Entry::write(&config.state_dir, &format!("{JOURNAL}{name}"), &before)
            .inspect_err(|error| {
                tracing::warn!(%error, "the layout cannot be written down; if Lumen is killed, it stays as it is then");
            })
            .ok();
        live(|outputs| outputs.insert(before.key(), before.clone()));
        // From here on a drop undoes everything.
        let monitor = Monitor { name: name.clone(), ..Monitor::unknown() };
        let mut output = Self {
            instance: instance.clone(),
            before,
            monitor,
            mode: Arc::new(Mutex::new(mode)),
            entry,
            watch: None,
            made: false,
        };
        // The rule first: the output is then made at its mode at once.
        output.order(&Rule::Mode(mode).request(dialect, &name))?;
        output.order(&format!("output create headless {name}"))?;
        output.monitor = settle(instance, &output.before, mode)?;
        output.take_place(config.topology)?;
        let rules = Rules { mode: output.mode.clone(), dialect, before: output.before.clone() };
        output.watch = Watch::start(instance, rules)
            .inspect_err(|error| {
                tracing::warn!(%error, "Hyprland's events cannot be heard; a reload of its configuration changes the output's mode");
            })
            .ok();
        output.made = true;
        tracing::info!(output = name, %mode, topology = ?config.topology, "output made in Hyprland");
        Ok(output)
    }

    /// As Hyprland described it when it was made.
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// Changes the mode in place, so that the windows on the output stay there: what Hyprland takes away with a removed
    /// output, it moves to the user's monitors.
    pub fn mode_setter(&self) -> SetMode {
        let (instance, before, current) = (self.instance.clone(), self.before.clone(), self.mode.clone());
        Box::new(move |mode| {
            let _one = arranging();
            // Before the rule, so that a reload of the configuration in between says the new one.
            let last = std::mem::replace(&mut *lock(&current), mode);
            let changed = instance
                .order(&Rule::Mode(mode).request(before.dialect(), &before.name), ANSWER)
                .and_then(|()| settle(&instance, &before, mode));
            match changed {
                Ok(monitor) if monitor.shows(mode) => {
                    tracing::info!(output = before.name, %mode, "output in Hyprland changed its mode");
                    Ok(())
                }
                Ok(_) => {
                    *lock(&current) = last;
                    Err(DisplayError::Other(format!("{} does not take {mode}", before.name)))
                }
                Err(error) => {
                    *lock(&current) = last;
                    Err(error)
                }
            }
        })
    }

    fn order(&self, request: &str) -> Result<(), DisplayError> {
        self.instance.order(request, ANSWER)
    }

    fn take_place(&self, topology: Topology) -> Result<(), DisplayError> {
        let dialect = self.before.dialect();
        for monitor in &self.before.off {
            self.order(&Rule::Off.request(dialect, &monitor.name))?;
        }
        if !self.before.off.is_empty() {
            let dark = |monitors: &[Monitor]| {
                let is_dark =
                    |name: &str| !monitors.iter().any(|monitor| monitor.name == name && !monitor.disabled);
                self.before.off.iter().all(|monitor| is_dark(&monitor.name))
            };
            if !wait_for(&self.instance, deadline(), dark)? {
                tracing::warn!("Hyprland leaves other monitors on");
            }
        }
        match topology {
            Topology::Extend | Topology::Mirror => Ok(()),
            Topology::Primary | Topology::Exclusive => self.order(&rule::focus(dialect, &self.before.name)),
        }
    }
}

/// Waits until the output has its mode; what it has then, where it takes another.
fn settle(instance: &Instance, before: &Before, mode: Mode) -> Result<Monitor, DisplayError> {
    let deadline = clock::now() + TAKES_EFFECT;
    let mut again = clock::now() + AGAIN;
    loop {
        let monitors = instance.monitors(ANSWER)?;
        let found = monitors.into_iter().find(|monitor| monitor.name == before.name);
        let now = clock::now();
        match found {
            Some(monitor) if monitor.shows(mode) => return Ok(monitor),
            Some(monitor) if now >= deadline => return Ok(monitor),
            None if now >= deadline => {
                return Err(DisplayError::Timeout {
                    backend: NAME,
                    waited_for: format!("output {}", before.name),
                    limit: TAKES_EFFECT,
                });
            }
            _ => {}
        }
        if now >= again {
            instance.order(&Rule::Mode(mode).request(before.dialect(), &before.name), ANSWER)?;
            again = now + AGAIN;
        }
        std::thread::sleep(LOOK);
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.watch = None;
        let restored = {
            let _one = self.made.then(arranging);
            live(|outputs| outputs.remove(&self.before.key()));
            let others = others_are_off(&self.before);
            restore_beside(&self.instance, &self.before, others)
        };
        match restored {
            Ok(()) => {
                if let Some(entry) = self.entry.take() {
                    entry.done();
                }
            }
            // With it its outputs are gone, and its monitors begin anew.
            Err(_) if !self.instance.is_alive() => {
                if let Some(entry) = self.entry.take() {
                    entry.done();
                }
            }
            Err(error) => {
                tracing::warn!(output = self.before.name, %error, "an output stays in Hyprland until that answers");
                retry(self.instance.clone(), self.before.clone(), self.entry.take());
            }
        }
    }
}

/// Whether another output of this host wants the monitors dark.
fn others_are_off(before: &Before) -> bool {
    live(|outputs| outputs.values().any(|other| other.instance == before.instance && !other.off.is_empty()))
}

/// [`restore`]; with `others`, monitors stay dark for another output, which lights them in its turn.
fn restore_beside(instance: &Instance, before: &Before, others: bool) -> Result<(), DisplayError> {
    let off = if others { Vec::new() } else { before.off.clone() };
    restore(instance, &Before { off, ..before.clone() })
}

/// Tries until Hyprland answers or is gone.
fn retry(instance: Instance, before: Before, mut entry: Option<Entry>) {
    undo::later(format!("the output {} stays in Hyprland", before.name), move || {
        let one = arranging();
        let others = others_are_off(&before);
        let over = restore_beside(&instance, &before, others).is_ok() || !instance.is_alive();
        drop(one);
        if over {
            tracing::info!(output = before.name, "the output is removed from Hyprland");
            entry.take().into_iter().for_each(Entry::done);
        }
        over
    });
}

/// Puts the monitors back and removes the output. Done again it changes nothing.
pub(super) fn restore(instance: &Instance, before: &Before) -> Result<(), DisplayError> {
    let dialect = before.dialect();
    // The others first: windows of the output then have somewhere to go.
    for monitor in &before.off {
        instance.order(&Rule::Restored(monitor).request(dialect, &monitor.name), ANSWER)?;
    }
    let lit = |monitors: &[Monitor]| {
        before.off.iter().all(|off| monitors.iter().any(|now| now.name == off.name && !now.disabled))
    };
    if !before.off.is_empty() && !wait_for(instance, deadline(), lit)? {
        tracing::warn!("Hyprland leaves monitors dark; `hyprctl reload` restores them");
    }
    let monitors = instance.monitors(ANSWER)?;
    // Whoever has moved on meanwhile, to another monitor or another client's output, stays there.
    let has_focus = monitors.iter().any(|monitor| monitor.focused && monitor.name == before.name);
    if monitors.iter().any(|monitor| monitor.name == before.name) {
        instance.order(&format!("output remove {}", before.name), ANSWER)?;
        let gone = |monitors: &[Monitor]| !monitors.iter().any(|monitor| monitor.name == before.name);
        if !wait_for(instance, deadline(), gone)? {
            return Err(DisplayError::Timeout {
                backend: NAME,
                waited_for: format!("the end of output {}", before.name),
                limit: TAKES_EFFECT,
            });
        }
    }
    if let Some(focused) = before.focused.as_ref().filter(|_| has_focus) {
        // It may have been unplugged meanwhile.
        if let Err(error) = instance.order(&rule::focus(dialect, focused), ANSWER) {
            tracing::debug!(%error, "focus");
        }
    }
    Ok(())
}

fn lock(mode: &Mutex<Mode>) -> MutexGuard<'_, Mode> {
    mode.lock().unwrap_or_else(PoisonError::into_inner)
}

fn deadline() -> Timestamp {
    clock::now() + TAKES_EFFECT
}

/// Looks until `met`, by `deadline`; tells whether it came to that.
fn wait_for(
    instance: &Instance,
    deadline: Timestamp,
    met: impl Fn(&[Monitor]) -> bool,
) -> Result<bool, DisplayError> {
    loop {
        if met(&instance.monitors(ANSWER)?) {
            return Ok(true);
        }
        if clock::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(LOOK);
    }
}

fn is_ours(name: &str) -> bool {
    name.strip_prefix("lumen-").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn free_name(monitors: &[Monitor]) -> String {
    (1_u32..)
        .map(|number| format!("lumen-{number}"))
        .find(|name| monitors.iter().all(|monitor| monitor.name != *name))
        .expect("there are fewer monitors than numbers")
}

/// What a reload of the configuration undoes and is said again.
struct Rules {
    mode: Arc<Mutex<Mode>>,
    dialect: Dialect,
    before: Before,
}

impl Rules {
    fn say(&self, instance: &Instance) {
        let own = Rule::Mode(*lock(&self.mode)).request(self.dialect, &self.before.name);
        let off = self.before.off.iter().map(|monitor| Rule::Off.request(self.dialect, &monitor.name));
        for request in std::iter::once(own).chain(off) {
            if let Err(error) = instance.order(&request, ANSWER) {
                tracing::warn!(%error, "after a reload of Hyprland's configuration");
            }
        }
    }
}

/// Listens to Hyprland's events until dropped.
struct Watch {
    events: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    fn start(instance: &Instance, rules: Rules) -> std::io::Result<Self> {
        let events = instance.events()?;
        let (reader, instance) = (events.try_clone()?, instance.clone());
        let listen = move || {
            for line in BufReader::new(reader).lines() {
                match line {
                    Ok(line) if line.starts_with("configreloaded>>") => {
                        tracing::info!(
                            "Hyprland's configuration was reloaded; the output gets its mode again"
                        );
                        rules.say(&instance);
                    }
                    Ok(_) => {}
                    Err(_) => return,
                }
            }
        };
        let thread = std::thread::Builder::new().name("lumen-hyprland".into()).spawn(listen)?;
        Ok(Self { events, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // The thread reads the end then.
        let _ = self.events.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_free_and_told_from_real_monitors() {
        let taken = |name: &str| Monitor { name: name.into(), ..Monitor::unknown() };
        assert_eq!(free_name(&[taken("DP-1")]), "lumen-1");
        assert_eq!(free_name(&[taken("lumen-1"), taken("lumen-3")]), "lumen-2");
        assert!(is_ours("lumen-12") && !is_ours("lumen-screen") && !is_ours("DP-1"));
    }
}
