//! The layout of one Mutter's monitors while outputs of ours are among them: one lock, one journal entry.
//!
//! Mutter forgets the user's layout as soon as a virtual monitor comes, and does not find it again when it goes. So the
//! layout before the first output is written down, and restored once the last one is really gone: a layout that is
//! applied while a monitor goes away can take GNOME Shell down.

use super::arrangement::{arrange, way_to, without};
use super::display_config::{self, Head, Layout, State, apply, until};
use super::peer::Peer;
use super::session::Session;
use crate::Topology;
use crate::journal;
use lumen_media::{DisplayError, Mode};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;
use zbus::MessageStream;

/// How long a monitor may take to come or go.
const MONITOR_LIMIT: Duration = Duration::from_secs(2);

/// How the names of our journal entries begin.
pub(super) const JOURNAL: &str = "mutter-";

/// One of our outputs.
#[derive(Debug)]
struct Ours {
    id: u64,
    /// `None` until its monitor is there.
    connector: Option<String>,
    topology: Topology,
}

/// What the user had, as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Baseline {
    /// Which process of Mutter's; a layout that was not saved ends with it.
    pub instance: String,
    /// All monitors, on or off, sorted. The layout fits these and no others.
    pub connectors: Vec<String>,
    pub layout: Layout,
}

/// What this process has in one Mutter. Locked while monitors change, and so everything that changes them is serialised.
#[derive(Debug, Default)]
pub(super) struct Desk {
    outputs: Vec<Ours>,
    next_id: u64,
    baseline: Option<Baseline>,
    entry: Option<journal::Entry>,
}

/// The desk of the Mutter that is named `instance`.
pub(super) fn desk_of(instance: &str) -> Arc<tokio::sync::Mutex<Desk>> {
    type Desks = HashMap<String, Weak<tokio::sync::Mutex<Desk>>>;
    static DESKS: LazyLock<Mutex<Desks>> = LazyLock::new(Mutex::default);
    let mut desks = DESKS.lock().unwrap_or_else(PoisonError::into_inner);
    desks.retain(|_, desk| desk.strong_count() > 0);
    if let Some(desk) = desks.get(instance).and_then(Weak::upgrade) {
        return desk;
    }
    let desk = Arc::default();
    desks.insert(instance.to_owned(), Arc::downgrade(&desk));
    desk
}

impl Desk {
    /// Whether none of our outputs is there.
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }

    /// Writes down what the user has now, unless that was done and still fits.
    pub fn remember(&mut self, state_dir: &Path, instance: String, now: &State) {
        let ours = self.connectors();
        let mut connectors = now.connectors();
        connectors.retain(|connector| !ours.contains(connector));
        if self.baseline.as_ref().is_some_and(|baseline| baseline.connectors == connectors) {
            return;
        }
        let name = format!("{JOURNAL}{instance}");
        if self.baseline.is_none()
            && let Some((entry, kept)) = journal::left_over_at::<Baseline>(state_dir, &name)
            && (&kept.instance, &kept.connectors) == (&instance, &connectors)
        {
            // The layout of now is not the user's: that could not be restored when our last output went.
            (self.baseline, self.entry) = (Some(kept), Some(entry));
            return;
        }
        let baseline = Baseline { instance, connectors, layout: without(now, &ours) };
        match journal::Entry::write(state_dir, &name, &baseline) {
            Ok(entry) => self.entry = Some(entry),
            Err(error) => tracing::warn!(
                folder = %state_dir.display(), %error,
                "the layout of the monitors cannot be written down; after a crash it has to be set by hand"
            ),
        }
        self.baseline = Some(baseline);
    }

    /// Takes an output in, and names it.
    pub fn add(&mut self, connector: Option<String>, topology: Topology) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.outputs.push(Ours { id, connector, topology });
        id
    }

    /// The monitor of the output `id` has come.
    pub fn arrived(&mut self, id: u64, connector: String) {
        if let Some(ours) = self.outputs.iter_mut().find(|ours| ours.id == id) {
            ours.connector = Some(connector);
        }
    }

    /// The newest monitor that neither was among `before` nor belongs to another output; one of `mode`, if there is.
    pub fn newcomer(&self, before: &[String], mode: Mode, now: &State) -> Option<Head> {
        let ours = self.connectors();
        let fresh = |head: &Head| !before.contains(&head.connector) && !ours.contains(&head.connector);
        let heads: Vec<_> = now.monitors.iter().filter_map(|m| m.head()).filter(fresh).collect();
        let exact = heads.iter().find(|head| super::output::mode_of(head) == Some(mode));
        exact.or(heads.last()).cloned()
    }

    /// Puts our outputs to their places, and the pointer on `lead` if that is to be where windows open.
    ///
    /// # Errors
    /// What Mutter says against it; the outputs are there all the same.
    pub async fn settle(
        &self,
        peer: &Peer,
        changes: &mut MessageStream,
        lead: Option<(&Session, &str)>,
    ) -> Result<(), DisplayError> {
        let Some(baseline) = &self.baseline else { return Ok(()) };
        let now = display_config::state(peer).await?;
        let heads = self.outputs.iter().filter_map(|ours| {
            let connector = ours.connector.as_deref()?;
            let monitor = now.monitors.iter().find(|monitor| monitor.connector == connector)?;
            Some((monitor.head()?, ours.topology))
        });
        let heads: Vec<_> = heads.collect();
        if heads.is_empty() {
            return Ok(());
        }
        let wanted = arrange(&baseline.layout, &heads);
        apply(peer, changes, &wanted).await?;
        let Some((session, connector)) = lead else { return Ok(()) };
        let leads = |(head, topology): &(Head, Topology)| {
            head.connector == connector && matches!(topology, Topology::Primary | Topology::Exclusive)
        };
        if heads.iter().any(leads) {
            // Mutter opens windows where the pointer is; which monitor is primary only decides where the panel is.
            session.move_pointer(peer, &way_to(&wanted, connector)).await?;
        }
        Ok(())
    }

    /// The output `id` is gone, and so is its monitor if Mutter lives: the rest is arranged anew, or all is as before.
    ///
    /// # Errors
    /// Why it is not; the journal keeps how it was.
    pub async fn release(
        &mut self,
        id: u64,
        peer: &Peer,
        changes: &mut MessageStream,
    ) -> Result<(), DisplayError> {
        let gone = self.forget(id);
        let left = match gone {
            None => Ok(()),
            Some(connector) => {
                let what = ("the virtual monitor to go", MONITOR_LIMIT);
                until(peer, changes, what, |state| (!state.has(&connector)).then_some(())).await
            }
        };
        let done = match left {
            Ok(()) if self.outputs.is_empty() => self.restore(peer, changes).await,
            Ok(()) => self.settle(peer, changes, None).await,
            Err(error) => Err(error),
        };
        match done {
            Err(DisplayError::Gone { .. }) => {
                self.lost();
                Ok(())
            }
            done => done,
        }
    }

    /// Takes an output out, and tells its connector.
    pub fn forget(&mut self, id: u64) -> Option<String> {
        let at = self.outputs.iter().position(|ours| ours.id == id)?;
        self.outputs.remove(at).connector
    }

    /// Forgets what the user had; the journal keeps it.
    pub fn give_up(&mut self) {
        self.baseline = None;
        self.entry = None;
    }

    /// Mutter ended, and its layout with it.
    pub fn lost(&mut self) {
        if self.outputs.is_empty() {
            self.baseline = None;
            if let Some(entry) = self.entry.take() {
                entry.done();
            }
        }
    }

    async fn restore(&mut self, peer: &Peer, changes: &mut MessageStream) -> Result<(), DisplayError> {
        let Some(baseline) = &self.baseline else { return Ok(()) };
        restore(peer, changes, baseline).await?;
        self.baseline = None;
        if let Some(entry) = self.entry.take() {
            entry.done();
        }
        Ok(())
    }

    fn connectors(&self) -> Vec<String> {
        self.outputs.iter().filter_map(|ours| ours.connector.clone()).collect()
    }
}

/// Gives the user's monitors the layout that they had. Where there are other monitors by now, the layout fits no more and
/// is left as it is.
///
/// # Errors
/// What Mutter says against it, [`DisplayError::Gone`], [`DisplayError::Timeout`].
pub(super) async fn restore(
    peer: &Peer,
    changes: &mut MessageStream,
    baseline: &Baseline,
) -> Result<(), DisplayError> {
    let what = ("the monitors that were there before", MONITOR_LIMIT);
    let back = until(peer, changes, what, |state| (state.connectors() == baseline.connectors).then_some(()));
    match back.await {
        Err(DisplayError::Timeout { .. }) => {
            // Or it did not answer: then it is asked again later.
            display_config::state(peer).await?;
            tracing::info!("other monitors are there than before the stream; their layout is left as it is");
            Ok(())
        }
        Err(error) => Err(error),
        Ok(()) if baseline.layout.placed.is_empty() => Ok(()),
        Ok(()) => apply(peer, changes, &baseline.layout).await,
    }
}
