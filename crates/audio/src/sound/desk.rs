//! What the daemon has: sinks, the default one, programs that play.

use super::moves::{BEFORE, KEY, Player, Target};
use pipewire::metadata::{Metadata, MetadataListener};
use pipewire::node::Node;
use pipewire::registry::{GlobalObject, Listener, RegistryRc};
use pipewire::types::ObjectType;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// The subject of settings that belong to no object.
const GLOBAL: u32 = 0;

/// What was seen of the daemon's objects; everything happens on the loop's thread.
#[derive(Default)]
pub(super) struct Desk {
    /// Names of sinks by id.
    pub(super) sinks: RefCell<HashMap<u32, String>>,
    /// Programs' streams by id.
    pub(super) players: RefCell<HashMap<u32, Player>>,
    /// What the session manager is told about each stream's target.
    pub(super) targets: RefCell<HashMap<u32, Target>>,
    /// What stood there before a session of ours moved the stream; in the notebook, so that it outlives a host that is killed.
    pub(super) before: RefCell<HashMap<u32, Target>>,
    /// The default sink's name.
    pub(super) default: RefCell<Option<String>>,
    /// The session manager's notebook, and who listens to it; the listener goes first.
    pub(super) notebook: RefCell<Option<(MetadataListener, Metadata)>>,
    /// Its id.
    notebook_id: Cell<Option<u32>>,
}

impl Desk {
    /// Watches the registry until the listener is dropped.
    pub(super) fn watch(desk: &Rc<Self>, registry: &RegistryRc) -> Listener {
        let (came, went, owner) = (desk.clone(), desk.clone(), registry.clone());
        registry
            .add_listener_local()
            .global(move |object| Self::appeared(&came, &owner, object))
            .global_remove(move |id| went.gone(id))
            .register()
    }

    /// Whether a sink of this name is there.
    pub(super) fn has_sink(&self, name: &str) -> bool {
        self.sinks.borrow().values().any(|sink| sink == name)
    }

    /// Keeps what stands in the notebook under [`KEY`] or [`BEFORE`].
    pub(super) fn noted(&self, subject: u32, key: &str, target: Option<Target>) {
        let notes = if key == KEY { &self.targets } else { &self.before };
        let mut notes = notes.borrow_mut();
        match target {
            Some(target) => drop(notes.insert(subject, target)),
            None => drop(notes.remove(&subject)),
        }
    }

    fn appeared(
        desk: &Rc<Self>,
        registry: &RegistryRc,
        object: &GlobalObject<&libspa::utils::dict::DictRef>,
    ) {
        let text = |key| object.props.and_then(|properties| properties.get(key)).unwrap_or_default();
        match object.type_ {
            ObjectType::Metadata if text("metadata.name") == "default" => {
                if let Ok(metadata) = registry.bind::<Metadata, _>(object) {
                    // Of a session manager that was started again: what stood in the old one is gone, our moves too.
                    desk.targets.borrow_mut().clear();
                    desk.before.borrow_mut().clear();
                    desk.players.borrow_mut().values_mut().for_each(Player::forget_move);
                    let listener = Self::read(desk, &metadata);
                    desk.notebook_id.set(Some(object.id));
                    let old = desk.notebook.borrow_mut().replace((listener, metadata));
                    drop(old);
                }
            }
            ObjectType::Node if text("media.class").starts_with("Audio/Sink") => {
                desk.sinks.borrow_mut().insert(object.id, text("node.name").to_owned());
            }
            ObjectType::Node if text("media.class") == "Stream/Output/Audio" => {
                if let Ok(node) = registry.bind::<Node, _>(object) {
                    let player = Player::new(node, object.id);
                    desk.players.borrow_mut().insert(object.id, player);
                }
            }
            _ => {}
        }
    }

    fn gone(&self, id: u32) {
        self.sinks.borrow_mut().remove(&id);
        // Dropped after the borrow has ended: its listener may say something.
        let player = self.players.borrow_mut().remove(&id);
        self.targets.borrow_mut().remove(&id);
        self.before.borrow_mut().remove(&id);
        drop(player);
        if self.notebook_id.get() == Some(id) {
            self.notebook_id.set(None);
            let old = self.notebook.borrow_mut().take();
            drop(old);
        }
    }

    fn read(desk: &Rc<Self>, metadata: &Metadata) -> MetadataListener {
        // Not a reference that counts: the listener is kept there.
        let desk = Rc::downgrade(desk);
        metadata
            .add_listener_local()
            .property(move |subject, key, kind, value| {
                let Some(desk) = desk.upgrade() else { return 0 };
                match (subject, key, value) {
                    (GLOBAL, Some("default.audio.sink"), value) => {
                        *desk.default.borrow_mut() = value.and_then(name_of).map(str::to_owned);
                    }
                    (subject, None, _) => {
                        // Everything about the subject is forgotten.
                        desk.targets.borrow_mut().remove(&subject);
                        desk.before.borrow_mut().remove(&subject);
                    }
                    (subject, Some(key @ (KEY | BEFORE)), value) => {
                        let target = value
                            .map(|value| Target { kind: kind.map(str::to_owned), value: value.to_owned() });
                        if key == KEY
                            && let Some(target) = &target
                            && let Some(player) = desk.players.borrow_mut().get_mut(&subject)
                        {
                            player.told(target);
                        }
                        desk.noted(subject, key, target);
                    }
                    _ => {}
                }
                0
            })
            .register()
    }
}

/// The name in `{"name":"…"}`; names of nodes hold no quotes.
fn name_of(value: &str) -> Option<&str> {
    let after = value.split_once("\"name\"")?.1;
    after.split('"').nth(1).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn the_default_sink_is_read() {
        assert_eq!(name_of(r#"{"name":"alsa_output.pci"}"#), Some("alsa_output.pci"));
        assert_eq!(name_of(r#"{ "name": "x" }"#), Some("x"));
        for nothing in ["", "{}", "null", r#"{"name":""}"#, r#"{"name"}"#] {
            assert_eq!(name_of(nothing), None, "{nothing}");
        }
    }
}
