//! Pens: what their tools say goes to the log, a line for each frame.

use crate::client::App;
use crate::log::Event;
use wayland_client::{Connection, Dispatch, Proxy, QueueHandle, WEnum, delegate_noop, event_created_child};
use wayland_protocols::wp::tablet::zv2::client::zwp_tablet_manager_v2::ZwpTabletManagerV2;
use wayland_protocols::wp::tablet::zv2::client::zwp_tablet_seat_v2::{self, ZwpTabletSeatV2};
use wayland_protocols::wp::tablet::zv2::client::zwp_tablet_tool_v2::{self, ZwpTabletToolV2};
use wayland_protocols::wp::tablet::zv2::client::zwp_tablet_v2::ZwpTabletV2;

/// A tool of a tablet, as it was told last.
#[derive(Clone, Debug, Default)]
pub struct Tool {
    id: u32,
    kind: &'static str,
    near: bool,
    down: bool,
    place: (f64, f64),
    /// Of 65535.
    pressure: u32,
    distance: u32,
    tilt: (f64, f64),
    buttons: Vec<u32>,
}

impl Tool {
    fn line(&self, time: u32) -> Event {
        Event::Tablet {
            tool: self.kind,
            near: self.near,
            down: self.down,
            x: self.place.0,
            y: self.place.1,
            pressure: f64::from(self.pressure) / 65535.0,
            distance: f64::from(self.distance) / 65535.0,
            tilt_x: self.tilt.0,
            tilt_y: self.tilt.1,
            buttons: self.buttons.clone(),
            wayland_ms: time,
        }
    }
}

impl Dispatch<ZwpTabletSeatV2, ()> for App {
    fn event(
        _: &mut Self,
        _: &ZwpTabletSeatV2,
        _: zwp_tablet_seat_v2::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
    }

    event_created_child!(App, ZwpTabletSeatV2, [
        zwp_tablet_seat_v2::EVT_TABLET_ADDED_OPCODE => (ZwpTabletV2, ()),
        zwp_tablet_seat_v2::EVT_TOOL_ADDED_OPCODE => (ZwpTabletToolV2, ()),
    ]);
}

impl Dispatch<ZwpTabletToolV2, ()> for App {
    fn event(
        app: &mut Self,
        tool: &ZwpTabletToolV2,
        event: zwp_tablet_tool_v2::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let id = tool.id().protocol_id();
        let tools = &mut app.tools;
        let index = tools.iter().position(|known| known.id == id).unwrap_or_else(|| {
            tools.push(Tool { id, kind: "unknown", ..Tool::default() });
            tools.len() - 1
        });
        let tool = &mut tools[index];
        match event {
            zwp_tablet_tool_v2::Event::Type { tool_type } => {
                tool.kind = match tool_type {
                    WEnum::Value(zwp_tablet_tool_v2::Type::Pen) => "pen",
                    WEnum::Value(zwp_tablet_tool_v2::Type::Eraser) => "eraser",
                    _ => "other",
                }
            }
            zwp_tablet_tool_v2::Event::Removed => {
                tools.remove(index);
            }
            zwp_tablet_tool_v2::Event::ProximityIn { .. } => tool.near = true,
            zwp_tablet_tool_v2::Event::ProximityOut => tool.near = false,
            zwp_tablet_tool_v2::Event::Down { .. } => tool.down = true,
            zwp_tablet_tool_v2::Event::Up => tool.down = false,
            zwp_tablet_tool_v2::Event::Motion { x, y } => tool.place = (x, y),
            zwp_tablet_tool_v2::Event::Pressure { pressure } => tool.pressure = pressure,
            zwp_tablet_tool_v2::Event::Distance { distance } => tool.distance = distance,
            zwp_tablet_tool_v2::Event::Tilt { tilt_x, tilt_y } => tool.tilt = (tilt_x, tilt_y),
            zwp_tablet_tool_v2::Event::Button { button, state, .. } => {
                tool.buttons.retain(|held| *held != button);
                if state == WEnum::Value(zwp_tablet_tool_v2::ButtonState::Pressed) {
                    tool.buttons.push(button);
                }
            }
            zwp_tablet_tool_v2::Event::Frame { time } => {
                let line = tool.line(time);
                app.log.write(&line);
            }
            _ => {}
        }
    }
}

delegate_noop!(App: ZwpTabletManagerV2);
delegate_noop!(App: ignore ZwpTabletV2);
