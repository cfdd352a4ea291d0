//! Prints the formats that a PipeWire node offers, one parameter a line in hexadecimal: how the fixtures in
//! `src/pipewire/offers` are recorded.
//!
//! `offers SOCKET NODE` with the daemon's socket and the node's id.

use anyhow::Context;
use libspa::param::ParamType;
use pipewire::context::ContextRc;
use pipewire::main_loop::MainLoopRc;
use pipewire::node::Node;
use pipewire::properties::PropertiesBox;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let socket = arguments.next().context("which socket?")?;
    let wanted: u32 = arguments.next().context("which node?")?.parse()?;
    pipewire::init();
    let main_loop = MainLoopRc::new(None)?;
    let context = ContextRc::new(&main_loop, None)?;
    let mut properties = PropertiesBox::new();
    properties.insert("remote.name", socket);
    let core = context.connect_rc(Some(properties))?;
    let registry = core.get_registry_rc()?;
    let bound = Rc::new(RefCell::new(None));
    let round = Rc::new(Cell::new(0));
    let _globals = {
        let (owner, bound) = (registry.clone(), bound.clone());
        let bind = move |object: &pipewire::registry::GlobalObject<&libspa::utils::dict::DictRef>| {
            if object.id != wanted {
                return;
            }
            let Ok(node) = owner.bind::<Node, _>(object) else { return };
            let listener = node
                .add_listener_local()
                .param(|_, kind, _, _, pod| {
                    if let Some(pod) = pod.filter(|_| kind == ParamType::EnumFormat) {
                        let bytes = pod.as_bytes().iter().map(|byte| format!("{byte:02x}"));
                        println!("{}", bytes.collect::<String>());
                    }
                })
                .register();
            node.enum_params(0, Some(ParamType::EnumFormat), 0, u32::MAX);
            *bound.borrow_mut() = Some((listener, node));
        };
        registry.add_listener_local().global(bind).register()
    };
    // The first answer comes after all objects, the second after the parameters that were asked for meanwhile.
    let _done = {
        let (main_loop, again) = (main_loop.clone(), core.clone());
        core.add_listener_local()
            .done(move |id, _| {
                if id == pipewire::core::PW_ID_CORE && round.replace(1) == 1 {
                    main_loop.quit();
                } else {
                    let _ = again.sync(0);
                }
            })
            .register()
    };
    core.sync(0)?;
    main_loop.run();
    anyhow::ensure!(bound.borrow().is_some(), "there is no node {wanted}");
    Ok(())
}
