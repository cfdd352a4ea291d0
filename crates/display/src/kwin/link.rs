//! A connection to KWin on which every wait has a deadline.

use super::protocol::outputs::kde_mode_list_v2::KdeModeListV2;
use super::protocol::outputs::kde_output_configuration_v2::{self, KdeOutputConfigurationV2};
use super::protocol::outputs::kde_output_device_mode_v2::{self, KdeOutputDeviceModeV2};
use super::protocol::outputs::kde_output_device_registry_v2::{self, KdeOutputDeviceRegistryV2};
use super::protocol::outputs::kde_output_device_v2::{self, KdeOutputDeviceV2};
use super::protocol::outputs::kde_output_management_v2::KdeOutputManagementV2;
use super::protocol::screencast::zkde_screencast_stream_unstable_v1::{self, ZkdeScreencastStreamUnstableV1};
use super::protocol::screencast::zkde_screencast_unstable_v1::ZkdeScreencastUnstableV1;
use lumen_media::{DisplayError, NodeTarget, clock};
use lumen_wayland::Turned;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;
use wayland_client::backend::ObjectId;
use wayland_client::protocol::{wl_callback, wl_registry};
use wayland_client::{
    Connection, Dispatch, EventQueue, Proxy, QueueHandle, delegate_noop, event_created_child,
};
use wayland_protocols_plasma::output_order::v1::client::kde_output_order_v1::{self, KdeOutputOrderV1};

/// Name in errors.
pub(crate) const KWIN: &str = "KWin";

/// A global of KWin's registry.
#[derive(Clone, Debug)]
struct Global {
    name: u32,
    interface: String,
    version: u32,
}

/// A mode of a device.
#[derive(Clone, Debug)]
pub(crate) struct DeviceMode {
    pub proxy: KdeOutputDeviceModeV2,
    /// Pixels.
    pub width: i32,
    /// Pixels.
    pub height: i32,
    /// Millihertz.
    pub refresh: i32,
}

/// An output as KWin describes it to programs that configure outputs.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub proxy: KdeOutputDeviceV2,
    /// Number of its global, in versions that have no registry of devices.
    global: Option<u32>,
    pub name: String,
    pub uuid: String,
    pub enabled: bool,
    pub position: (i32, i32),
    pub scale: f64,
    pub transform: i32,
    pub capabilities: u32,
    pub current: Option<ObjectId>,
    pub modes: Vec<DeviceMode>,
}

impl Device {
    fn new(proxy: KdeOutputDeviceV2, global: Option<u32>) -> Self {
        Self {
            proxy,
            global,
            name: String::new(),
            uuid: String::new(),
            enabled: false,
            position: (0, 0),
            scale: 1.0,
            transform: 0,
            capabilities: 0,
            current: None,
            modes: Vec::new(),
        }
    }

    /// The mode it has now.
    pub fn mode(&self) -> Option<&DeviceMode> {
        self.modes.iter().find(|mode| Some(mode.proxy.id()) == self.current)
    }
}

/// What KWin said about a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    serial: Option<u64>,
    node: Option<u32>,
    /// KWin's text, in the user's language: for people only.
    pub failed: Option<String>,
    /// KWin ended the stream.
    pub closed: bool,
}

impl Stream {
    /// The node once it is certain: KWin sends the serial, where it has one, before the id.
    pub fn node(&self) -> Option<NodeTarget> {
        let id = self.node?;
        Some(self.serial.map_or(NodeTarget::Id(id), NodeTarget::Serial))
    }
}

/// What KWin told on one connection.
#[derive(Debug, Default)]
pub(crate) struct State {
    globals: Vec<Global>,
    syncs: u32,
    pub devices: Vec<Device>,
    /// New devices are globals, and are bound when they come.
    follows_devices: bool,
    /// Names of the enabled outputs, the primary one first.
    pub order: Vec<String>,
    fresh_order: Vec<String>,
    /// Answer to the last configuration.
    pub applied: Option<bool>,
    /// KWin's reason for refusing it: for people only.
    pub refusal: Option<String>,
    pub stream: Stream,
}

impl State {
    /// The version of a global; `None` when it is not there or hidden.
    pub fn version(&self, interface: &str) -> Option<u32> {
        self.globals.iter().find(|global| global.interface == interface).map(|global| global.version)
    }

    /// Whether this is KWin at all.
    pub fn is_kwin(&self) -> bool {
        [
            "kde_output_management_v2",
            "zkde_screencast_unstable_v1",
            "org_kde_plasma_virtual_desktop_management",
        ]
        .iter()
        .any(|interface| self.version(interface).is_some())
    }

    fn bind_device(
        &mut self,
        registry: &wl_registry::WlRegistry,
        global: &Global,
        handle: &QueueHandle<Self>,
    ) {
        let device = registry.bind(global.name, global.version.min(20), handle, ());
        self.devices.push(Device::new(device, Some(global.name)));
    }

    fn device(&mut self, proxy: &KdeOutputDeviceV2) -> Option<&mut Device> {
        self.devices.iter_mut().find(|device| device.proxy == *proxy)
    }
}

/// Why a wait ended without what was waited for.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// Time is up.
    Deadline,
    /// We were asked to end.
    Ended,
    /// The connection broke.
    Lost(String),
}

impl Stopped {
    /// As an error of the seam.
    pub fn into_error(self, waited_for: &str, limit: Duration) -> DisplayError {
        match self {
            Stopped::Deadline => {
                DisplayError::Timeout { backend: KWIN, waited_for: waited_for.to_owned(), limit }
            }
            Stopped::Ended => {
                DisplayError::Gone { backend: KWIN, cause: format!("ended while waiting: {waited_for}") }
            }
            Stopped::Lost(cause) => DisplayError::Gone { backend: KWIN, cause },
        }
    }
}

/// How long a wait may last, and what ends it early.
#[derive(Clone, Copy)]
pub(crate) struct Until<'a> {
    /// `None` waits for ever.
    pub deadline: Option<clock::Timestamp>,
    /// Readable when we are to end.
    pub end: Option<BorrowedFd<'a>>,
}

impl Until<'_> {
    /// At most `limit` from now.
    pub fn within(limit: Duration) -> Until<'static> {
        Until { deadline: Some(clock::now() + limit), end: None }
    }
}

/// One connection.
pub(crate) struct Link {
    connection: Connection,
    queue: EventQueue<State>,
    registry: wl_registry::WlRegistry,
    pub state: State,
}

impl Link {
    /// Connects to the socket at `path` and learns its globals.
    pub fn open(path: &Path, until: Until<'_>) -> Result<Self, Stopped> {
        let lost = |cause: &dyn std::fmt::Display| Stopped::Lost(format!("{}: {cause}", path.display()));
        let connection = lumen_wayland::open(path).map_err(|error| match error.kind() {
            // It is there, and hangs.
            std::io::ErrorKind::WouldBlock => Stopped::Deadline,
            _ => lost(&error),
        })?;
        let queue = connection.new_event_queue();
        let registry = connection.display().get_registry(&queue.handle(), ());
        let mut link = Self { connection, queue, registry, state: State::default() };
        link.roundtrip(until)?;
        Ok(link)
    }

    /// Waits until KWin has answered all that was asked before.
    pub fn roundtrip(&mut self, until: Until<'_>) -> Result<(), Stopped> {
        let before = self.state.syncs;
        self.connection.display().sync(&self.queue.handle(), ());
        self.wait(until, |state| (state.syncs != before).then_some(()))
    }

    /// Handles events until `done` has its answer.
    pub fn wait<T>(
        &mut self,
        until: Until<'_>,
        mut done: impl FnMut(&State) -> Option<T>,
    ) -> Result<T, Stopped> {
        loop {
            self.queue.dispatch_pending(&mut self.state).map_err(|error| Stopped::Lost(error.to_string()))?;
            if let Some(answer) = done(&self.state) {
                return Ok(answer);
            }
            match lumen_wayland::turn(&mut self.queue, &mut self.state, until.end, until.deadline) {
                Ok(Turned::On) => {}
                Ok(Turned::Woken) => return Err(Stopped::Ended),
                Ok(Turned::Late) => return Err(Stopped::Deadline),
                Err(error) => return Err(Stopped::Lost(error.to_string())),
            }
        }
    }

    /// Binds the first global called after `P`'s interface, at `up_to` at most.
    pub fn bind<P>(&self, up_to: u32) -> Option<P>
    where
        P: Proxy + 'static,
        State: Dispatch<P, ()>,
    {
        let interface = P::interface().name;
        let global = self.state.globals.iter().find(|global| global.interface == interface)?;
        let version = global.version.min(up_to);
        Some(self.registry.bind(global.name, version, &self.queue.handle(), ()))
    }

    /// Binds all devices, by the registry of new versions or the globals of old ones, and learns them.
    pub fn learn_devices(&mut self, until: Until<'_>) -> Result<(), Stopped> {
        let handle = self.queue.handle();
        if self.bind::<KdeOutputDeviceRegistryV2>(21).is_none() {
            let interface = KdeOutputDeviceV2::interface().name;
            let found: Vec<_> =
                self.state.globals.iter().filter(|global| global.interface == interface).cloned().collect();
            for global in found {
                self.state.bind_device(&self.registry, &global, &handle);
            }
            self.state.follows_devices = true;
        }
        let _order: Option<KdeOutputOrderV1> = self.bind(1);
        self.roundtrip(until)
    }

    /// The handle for requests that make objects.
    pub fn handle(&self) -> QueueHandle<State> {
        self.queue.handle()
    }
}

impl Dispatch<wl_registry::WlRegistry, ()> for State {
    fn event(
        state: &mut Self,
        registry: &wl_registry::WlRegistry,
        event: wl_registry::Event,
        _: &(),
        _: &Connection,
        handle: &QueueHandle<Self>,
    ) {
        match event {
            wl_registry::Event::Global { name, interface, version } => {
                let global = Global { name, interface, version };
                if state.follows_devices && global.interface == KdeOutputDeviceV2::interface().name {
                    state.bind_device(registry, &global, handle);
                }
                state.globals.push(global);
            }
            wl_registry::Event::GlobalRemove { name } => {
                state.globals.retain(|global| global.name != name);
                state.devices.retain(|device| device.global != Some(name));
            }
            _ => {}
        }
    }
}

impl Dispatch<wl_callback::WlCallback, ()> for State {
    fn event(
        state: &mut Self,
        _: &wl_callback::WlCallback,
        event: wl_callback::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wl_callback::Event::Done { .. } = event {
            state.syncs = state.syncs.wrapping_add(1);
        }
    }
}

impl Dispatch<KdeOutputDeviceRegistryV2, ()> for State {
    fn event(
        state: &mut Self,
        _: &KdeOutputDeviceRegistryV2,
        event: kde_output_device_registry_v2::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let kde_output_device_registry_v2::Event::Output { output } = event {
            state.devices.push(Device::new(output, None));
        }
    }

    event_created_child!(State, KdeOutputDeviceRegistryV2, [
        kde_output_device_registry_v2::EVT_OUTPUT_OPCODE => (KdeOutputDeviceV2, ()),
    ]);
}

impl Dispatch<KdeOutputDeviceV2, ()> for State {
    fn event(
        state: &mut Self,
        proxy: &KdeOutputDeviceV2,
        event: kde_output_device_v2::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        use kde_output_device_v2::Event;
        if let Event::Removed = event {
            proxy.release();
            state.devices.retain(|device| device.proxy != *proxy);
            return;
        }
        let Some(device) = state.device(proxy) else { return };
        match event {
            Event::Geometry { x, y, transform, .. } => {
                device.position = (x, y);
                device.transform = transform;
            }
            Event::CurrentMode { mode } => device.current = Some(mode.id()),
            Event::Mode { mode } => {
                device.modes.push(DeviceMode { proxy: mode, width: 0, height: 0, refresh: 0 });
            }
            Event::Scale { factor } => device.scale = factor,
            Event::Enabled { enabled } => device.enabled = enabled != 0,
            Event::Uuid { uuid } => device.uuid = uuid,
            Event::Name { name } => device.name = name,
            Event::Capabilities { flags } => device.capabilities = flags,
            _ => {}
        }
    }

    event_created_child!(State, KdeOutputDeviceV2, [
        kde_output_device_v2::EVT_MODE_OPCODE => (KdeOutputDeviceModeV2, ()),
    ]);
}

impl Dispatch<KdeOutputDeviceModeV2, ()> for State {
    fn event(
        state: &mut Self,
        proxy: &KdeOutputDeviceModeV2,
        event: kde_output_device_mode_v2::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        use kde_output_device_mode_v2::Event;
        if let Event::Removed = event {
            for device in &mut state.devices {
                device.modes.retain(|mode| mode.proxy != *proxy);
            }
            return;
        }
        let modes = state.devices.iter_mut().flat_map(|device| &mut device.modes);
        let Some(mode) = modes.into_iter().find(|mode| mode.proxy == *proxy) else { return };
        match event {
            Event::Size { width, height } => (mode.width, mode.height) = (width, height),
            Event::Refresh { refresh } => mode.refresh = refresh,
            _ => {}
        }
    }
}

impl Dispatch<KdeOutputConfigurationV2, ()> for State {
    fn event(
        state: &mut Self,
        _: &KdeOutputConfigurationV2,
        event: kde_output_configuration_v2::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            kde_output_configuration_v2::Event::Applied => state.applied = Some(true),
            kde_output_configuration_v2::Event::Failed => state.applied = Some(false),
            kde_output_configuration_v2::Event::FailureReason { reason } => state.refusal = Some(reason),
        }
    }
}

impl Dispatch<KdeOutputOrderV1, ()> for State {
    fn event(
        state: &mut Self,
        _: &KdeOutputOrderV1,
        event: kde_output_order_v1::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            kde_output_order_v1::Event::Output { output_name } => state.fresh_order.push(output_name),
            kde_output_order_v1::Event::Done => state.order = std::mem::take(&mut state.fresh_order),
            _ => {}
        }
    }
}

impl Dispatch<ZkdeScreencastStreamUnstableV1, ()> for State {
    fn event(
        state: &mut Self,
        _: &ZkdeScreencastStreamUnstableV1,
        event: zkde_screencast_stream_unstable_v1::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        use zkde_screencast_stream_unstable_v1::Event;
        match event {
            Event::Closed => state.stream.closed = true,
            Event::Created { node } => state.stream.node = Some(node),
            Event::Failed { error } => state.stream.failed = Some(error),
            Event::Serial { object_serial_hi, object_serial_low } => {
                state.stream.serial = Some(u64::from(object_serial_hi) << 32 | u64::from(object_serial_low));
            }
        }
    }
}

delegate_noop!(State: ignore ZkdeScreencastUnstableV1);
delegate_noop!(State: ignore KdeOutputManagementV2);
delegate_noop!(State: ignore KdeModeListV2);
