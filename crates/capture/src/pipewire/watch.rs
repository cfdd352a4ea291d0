//! What the daemon says about itself and about the producer's node.

use super::pod::Object;
use super::stream::Session;
use crate::CaptureError;
use libspa::param::ParamType;
use lumen_media::NodeTarget;
use pipewire::core::CoreRc;
use pipewire::node::{Node, NodeListener};
use pipewire::registry::RegistryRc;
use pipewire::types::ObjectType;
use std::cell::RefCell;
use std::rc::Rc;

/// The producer's node, once seen, and who listens to it; the listener goes first.
type Bound = Rc<RefCell<Option<(NodeListener, Node)>>>;

/// Keeps an eye on the connection and on the target, until dropped.
pub(crate) struct Watch {
    _core: pipewire::core::Listener,
    _registry: pipewire::registry::Listener,
    _bound: Bound,
}

impl Watch {
    /// Starts to watch for `target`.
    ///
    /// # Errors
    /// What the library says.
    pub(crate) fn new(
        core: &CoreRc,
        session: &Rc<Session>,
        target: NodeTarget,
    ) -> Result<Self, pipewire::Error> {
        let registry = core.get_registry_rc()?;
        let bound = Bound::default();
        let watch = Self {
            _core: watch_core(core, session),
            _registry: watch_registry(&registry, session, target, &bound),
            _bound: bound,
        };
        core.sync(0)?;
        Ok(watch)
    }
}

fn watch_core(core: &CoreRc, session: &Rc<Session>) -> pipewire::core::Listener {
    let (failed, done) = (session.clone(), session.clone());
    core.add_listener_local()
        .error(move |id, _, code, message| {
            // The daemon also complains here about things that went in the meantime; only a broken connection is the end.
            if id == pipewire::core::PW_ID_CORE && code == -rustix::io::Errno::PIPE.raw_os_error() {
                failed.end(CaptureError::NoDaemon(format!("{message} ({code})")));
            } else {
                tracing::debug!(id, code, message, "PipeWire reports an error");
            }
        })
        .done(move |id, _| {
            if id == pipewire::core::PW_ID_CORE {
                done.everything_listed();
            }
        })
        .register()
}

fn watch_registry(
    registry: &RegistryRc,
    session: &Rc<Session>,
    target: NodeTarget,
    bound: &Bound,
) -> pipewire::registry::Listener {
    let (came, went, bound, owner) = (session.clone(), session.clone(), bound.clone(), registry.clone());
    registry
        .add_listener_local()
        .global(move |object| {
            let found = match target {
                NodeTarget::Id(id) => object.id == id,
                NodeTarget::Serial(serial) => {
                    let theirs = object.props.and_then(|properties| properties.get("object.serial"));
                    theirs.and_then(|text| text.parse().ok()) == Some(serial)
                }
            };
            if !found || object.type_ != ObjectType::Node || !came.node_appeared(object.id) {
                return;
            }
            // What it offers is asked for the sake of the error message; it works without.
            if let Ok(node) = owner.bind::<Node, _>(object) {
                let listener = listen(&node, &came);
                *bound.borrow_mut() = Some((listener, node));
            }
        })
        .global_remove(move |id| went.node_removed(id))
        .register()
}

fn listen(node: &Node, session: &Rc<Session>) -> NodeListener {
    let session = session.clone();
    let listener = node
        .add_listener_local()
        .param(move |_, kind, _, _, pod| {
            let object = pod.and_then(|pod| Object::from_bytes(pod.as_bytes()));
            if let Some(object) = object.filter(|_| kind == ParamType::EnumFormat) {
                session.producer_offers(object);
            }
        })
        .register();
    node.enum_params(0, Some(ParamType::EnumFormat), 0, u32::MAX);
    listener
}
