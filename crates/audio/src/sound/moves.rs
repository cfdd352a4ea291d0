//! Programs that play are moved to the session's sink and back.
//!
//! The session manager reads a stream's target from its notebook (the metadata `default`, key `target.object`). What stood
//! there before is put back; what somebody else writes meanwhile is left alone.

use super::SINK_PREFIX;
use super::desk::Desk;
use lumen_media::{Timestamp, clock};
use pipewire::metadata::Metadata;
use pipewire::node::{Node, NodeChangeMask, NodeListener};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

pub(super) const KEY: &str = "target.object";
/// Key of our own: what stood under the other one before. Session managers pass over keys that they do not know.
pub(super) const BEFORE: &str = "lumen.target.before";
/// How the notebook calls values that are no JSON and no numbers of objects.
const TEXT: &str = "Spa:String";
/// For so long after a program's stream came the session manager may write where the user had it last; it does not look whether
/// we wrote something meanwhile.
const RECALL: Duration = Duration::from_secs(1);

/// What the notebook says about a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) kind: Option<String>,
    pub(super) value: String,
}

impl Target {
    /// A sink by its name.
    fn named(sink: &str) -> Self {
        Self { kind: Some(TEXT.to_owned()), value: sink.to_owned() }
    }
}

/// A program's stream.
pub(super) struct Player {
    // The listener goes first.
    _listener: NodeListener,
    _node: Node,
    /// Whether it may be moved; not known before its properties came.
    movable: Rc<Cell<Option<bool>>>,
    /// The session's sink that it plays to by its environment.
    of_session: Rc<RefCell<Option<String>>>,
    /// What stood in the notebook before it was moved; `None` when it was not moved.
    moved: Option<Option<Target>>,
    came: Timestamp,
    /// The session manager has taken it from where it was moved to.
    recalled: bool,
}

impl Player {
    pub(super) fn new(node: Node, id: u32) -> Self {
        let movable = Rc::new(Cell::new(None));
        let of_session = Rc::new(RefCell::new(None));
        let (known, chosen) = (movable.clone(), of_session.clone());
        let listener = node
            .add_listener_local()
            .info(move |info| {
                // Other events come with an empty list.
                if !info.change_mask().contains(NodeChangeMask::PROPS) {
                    return;
                }
                let Some(properties) = info.props() else { return };
                let text = |key| properties.get(key).unwrap_or_default();
                let pinned = ["node.dont-reconnect", "node.dont-move", "stream.monitor"]
                    .iter()
                    .any(|key| text(key) == "true");
                // A filter's or loopback's own output follows the filter.
                let linked = !text("node.link-group").is_empty();
                let wishes = ["target.object", "node.target"].map(text);
                let ours = wishes.into_iter().find(|wish| wish.starts_with(SINK_PREFIX));
                *chosen.borrow_mut() = ours.map(str::to_owned);
                let may = !pinned && !linked;
                if known.replace(Some(may)) != Some(may) {
                    tracing::debug!(id, name = text("node.name"), movable = may, "a program plays");
                }
            })
            .register();
        Self {
            _listener: listener,
            _node: node,
            movable,
            of_session,
            moved: None,
            came: clock::now(),
            recalled: false,
        }
    }

    /// Somebody wrote where it plays.
    pub(super) fn told(&mut self, target: &Target) {
        let foreign = !target.value.starts_with(SINK_PREFIX);
        if foreign && self.moved.is_some() && clock::now().since(self.came) < RECALL {
            self.moved = Some(Some(target.clone()));
            self.recalled = true;
        }
    }

    /// Nobody remembers that it was moved.
    pub(super) fn forget_move(&mut self) {
        self.moved = None;
    }

    fn may_move(&self) -> bool {
        self.movable.get() == Some(true)
    }
}

impl Desk {
    /// Moves what plays to `sink`. Answers how many streams are there now by our doing.
    pub(super) fn move_to(&self, sink: &str) -> usize {
        let notebook = self.notebook.borrow();
        let Some((_, notebook)) = notebook.as_ref() else { return 0 };
        let mut count = 0;
        for (id, player) in self.players.borrow_mut().iter_mut() {
            let current = self.targets.borrow().get(id).cloned();
            let of_session = player.of_session.borrow();
            // Another session's must not be moved away. One of this session's is told all the same: its sink may have
            // been gone meanwhile, and the session manager does not take it back by itself.
            let ours = of_session.as_deref() == Some(sink);
            let away = !ours && of_session.as_ref().is_some_and(|name| self.has_sink(name));
            if player.moved.is_none() && player.may_move() && !away {
                let noted = current.as_ref().filter(|target| target.value.starts_with(SINK_PREFIX));
                // What another session has stays there; what a killed host left is nothing to go back to.
                if noted.is_some_and(|target| self.has_sink(&target.value)) {
                    continue;
                }
                // A killed host's own note is older than what it left.
                let left = current.as_ref().is_some_and(|target| target.value.starts_with(SINK_PREFIX));
                let before = if left { self.before.borrow().get(id).cloned() } else { current };
                self.write(notebook, *id, BEFORE, before.as_ref());
                self.write(notebook, *id, KEY, Some(&Target::named(sink)));
                player.moved = Some(before);
            }
            if let Some(before) = &player.moved
                && std::mem::take(&mut player.recalled)
            {
                self.write(notebook, *id, BEFORE, before.as_ref());
                self.write(notebook, *id, KEY, Some(&Target::named(sink)));
            }
            // One whose own wish was not known at once goes there anyway.
            count += usize::from(player.moved.is_some() && player.may_move() && !ours);
        }
        count
    }

    /// Moves back what was moved to `sink`.
    pub(super) fn move_back(&self, sink: &str) {
        let notebook = self.notebook.borrow();
        let Some((_, notebook)) = notebook.as_ref() else { return };
        for (id, player) in self.players.borrow_mut().iter_mut() {
            let Some(before) = player.moved.take() else { continue };
            let still = self.targets.borrow().get(id).is_none_or(|target| target.value == sink);
            if still {
                self.write(notebook, *id, KEY, before.as_ref());
            }
            self.write(notebook, *id, BEFORE, None);
        }
    }

    /// Puts back targets that are sinks of sessions that are over: of a host that was killed.
    pub(super) fn forget_dead_sinks(&self) {
        let notebook = self.notebook.borrow();
        let Some((_, notebook)) = notebook.as_ref() else { return };
        let (targets, before) = (self.targets.borrow().clone(), self.before.borrow().clone());
        for (id, target) in targets {
            if target.value.starts_with(SINK_PREFIX) && !self.has_sink(&target.value) {
                self.write(notebook, id, KEY, before.get(&id));
                self.write(notebook, id, BEFORE, None);
            }
        }
    }

    /// Writes and keeps in mind: PipeWire 0.3.65 tells nobody of a change while somebody else opens the notebook.
    fn write(&self, notebook: &Metadata, id: u32, key: &str, target: Option<&Target>) {
        let kind = target.and_then(|target| target.kind.as_deref());
        notebook.set_property(id, key, kind, target.map(|target| target.value.as_str()));
        self.noted(id, key, target.cloned());
    }
}
