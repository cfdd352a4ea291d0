//! What a compositor offers, and waiting for its answers.

use crate::turn;
use lumen_media::{Timestamp, clock};
use wayland_client::protocol::wl_callback::{self, WlCallback};
use wayland_client::protocol::wl_registry::{self, WlRegistry};
use wayland_client::{
    Connection, Dispatch, DispatchError, EventQueue, Proxy, QueueHandle, delegate_dispatch,
};

/// The globals of a compositor. A queue's state holds it (`AsMut`) and passes the registry's events and the callbacks of
/// [`roundtrip`] on to it by `delegate_dispatch!`.
#[derive(Debug, Default)]
pub struct Globals {
    registry: Option<WlRegistry>,
    list: Vec<Global>,
    asked: u64,
    answered: u64,
}

#[derive(Debug)]
struct Global {
    name: u32,
    interface: String,
    version: u32,
}

/// Mark of the callbacks of [`roundtrip`].
#[derive(Clone, Copy, Debug)]
pub struct Answer;

impl Globals {
    /// Names of the interfaces, in the compositor's order.
    pub fn interfaces(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|global| global.interface.as_str())
    }

    /// Binds the first global that is a `P`, of a version up to `up_to`.
    pub fn bind<P, S>(&self, queue: &QueueHandle<S>, up_to: u32) -> Option<P>
    where
        P: Proxy + 'static,
        S: Dispatch<P, ()> + 'static,
    {
        self.bind_all(queue, up_to).next()
    }

    /// Binds every global that is a `P`, of a version up to `up_to`, as they are taken.
    pub fn bind_all<P, S>(&self, queue: &QueueHandle<S>, up_to: u32) -> impl Iterator<Item = P>
    where
        P: Proxy + 'static,
        S: Dispatch<P, ()> + 'static,
    {
        let all = self.list.iter().filter(|global| global.interface == P::interface().name);
        all.filter_map(move |global| {
            Some(self.registry.as_ref()?.bind(global.name, global.version.min(up_to), queue, ()))
        })
    }
}

/// The state of a queue on which nothing else is asked for.
#[derive(Debug, Default)]
pub struct GlobalsOnly(pub Globals);

impl AsMut<Globals> for GlobalsOnly {
    fn as_mut(&mut self) -> &mut Globals {
        &mut self.0
    }
}

delegate_dispatch!(GlobalsOnly: [WlRegistry: ()] => Globals);
delegate_dispatch!(GlobalsOnly: [WlCallback: Answer] => Globals);

/// Waits until the compositor has answered everything that was sent; the first time that is its globals. `false` when it
/// did not by `deadline`.
///
/// # Errors
/// As [`crate::turn`].
pub fn roundtrip<S>(
    connection: &Connection,
    queue: &mut EventQueue<S>,
    state: &mut S,
    deadline: Timestamp,
) -> Result<bool, DispatchError>
where
    S: AsMut<Globals> + Dispatch<WlRegistry, ()> + Dispatch<WlCallback, Answer> + 'static,
{
    let handle = queue.handle();
    let globals = state.as_mut();
    globals.registry.get_or_insert_with(|| connection.display().get_registry(&handle, ()));
    globals.asked += 1;
    let asked = globals.asked;
    connection.display().sync(&handle, Answer);
    while state.as_mut().answered < asked {
        if clock::now() >= deadline {
            return Ok(false);
        }
        turn(queue, state, None, Some(deadline))?;
    }
    Ok(true)
}

impl<S> Dispatch<WlRegistry, (), S> for Globals
where
    S: AsMut<Globals> + Dispatch<WlRegistry, ()>,
{
    fn event(
        state: &mut S,
        _: &WlRegistry,
        event: wl_registry::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<S>,
    ) {
        let list = &mut state.as_mut().list;
        match event {
            wl_registry::Event::Global { name, interface, version } => {
                list.push(Global { name, interface, version });
            }
            wl_registry::Event::GlobalRemove { name } => list.retain(|global| global.name != name),
            _ => {}
        }
    }
}

impl<S> Dispatch<WlCallback, Answer, S> for Globals
where
    S: AsMut<Globals> + Dispatch<WlCallback, Answer>,
{
    fn event(
        state: &mut S,
        _: &WlCallback,
        _: wl_callback::Event,
        _: &Answer,
        _: &Connection,
        _: &QueueHandle<S>,
    ) {
        state.as_mut().answered += 1;
    }
}
