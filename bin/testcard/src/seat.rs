//! Keyboard, pointer and touch: everything they say goes to the log.

use crate::client::App;
use crate::log::{Event, Modifiers};
use crate::typing::Typing;
use wayland_client::protocol::{wl_keyboard, wl_pointer, wl_seat, wl_touch};
use wayland_client::{Connection, Dispatch, QueueHandle, WEnum, delegate_noop};
use wayland_protocols::wp::cursor_shape::v1::client::wp_cursor_shape_device_v1::{
    Shape, WpCursorShapeDeviceV1,
};
use wayland_protocols::wp::cursor_shape::v1::client::wp_cursor_shape_manager_v1::WpCursorShapeManagerV1;

/// The seat and what it has at the moment.
pub struct Seat {
    /// Kept alive for its events.
    _seat: Option<wl_seat::WlSeat>,
    cursors: Option<WpCursorShapeManagerV1>,
    keyboard: Option<wl_keyboard::WlKeyboard>,
    pointer: Option<wl_pointer::WlPointer>,
    cursor: Option<WpCursorShapeDeviceV1>,
    touch: Option<wl_touch::WlTouch>,
    modifiers: Modifiers,
    typing: Typing,
    position: Option<(f64, f64)>,
}

impl Seat {
    pub fn new(seat: Option<wl_seat::WlSeat>, cursors: Option<WpCursorShapeManagerV1>) -> Self {
        Self {
            _seat: seat,
            cursors,
            keyboard: None,
            pointer: None,
            cursor: None,
            touch: None,
            modifiers: Modifiers::default(),
            typing: Typing::default(),
            position: None,
        }
    }

    /// Where the pointer is over the window, in whole pixels.
    pub fn pointer_position(&self) -> Option<(u32, u32)> {
        self.position.map(|(x, y)| (x.max(0.0) as u32, y.max(0.0) as u32))
    }
}

impl Dispatch<wl_seat::WlSeat, ()> for App {
    fn event(
        app: &mut Self,
        seat: &wl_seat::WlSeat,
        event: wl_seat::Event,
        (): &(),
        _: &Connection,
        queue: &QueueHandle<Self>,
    ) {
        let wl_seat::Event::Capabilities { capabilities: WEnum::Value(capabilities) } = event else { return };
        let devices = &mut app.seat;
        match capabilities.contains(wl_seat::Capability::Keyboard) {
            true if devices.keyboard.is_none() => devices.keyboard = Some(seat.get_keyboard(queue, ())),
            false => devices.keyboard = None,
            true => {}
        }
        match capabilities.contains(wl_seat::Capability::Pointer) {
            true if devices.pointer.is_none() => {
                let pointer = seat.get_pointer(queue, ());
                devices.cursor =
                    devices.cursors.as_ref().map(|shapes| shapes.get_pointer(&pointer, queue, ()));
                devices.pointer = Some(pointer);
            }
            false => {
                devices.pointer = None;
                devices.cursor = None;
                devices.position = None;
            }
            true => {}
        }
        match capabilities.contains(wl_seat::Capability::Touch) {
            true if devices.touch.is_none() => devices.touch = Some(seat.get_touch(queue, ())),
            false => devices.touch = None,
            true => {}
        }
    }
}

impl Dispatch<wl_keyboard::WlKeyboard, ()> for App {
    fn event(
        app: &mut Self,
        _: &wl_keyboard::WlKeyboard,
        event: wl_keyboard::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let mut typed = String::new();
        let event = match event {
            wl_keyboard::Event::Keymap { fd, size, .. } => {
                Event::Keymap { layouts: app.seat.typing.learn(fd, size) }
            }
            wl_keyboard::Event::Enter { keys, .. } => {
                let pressed =
                    keys.as_chunks::<4>().0.iter().map(|bytes| u32::from_ne_bytes(*bytes)).collect();
                Event::KeyboardEnter { pressed }
            }
            wl_keyboard::Event::Leave { .. } => Event::KeyboardLeave,
            wl_keyboard::Event::Key { time, key, state, .. } => Event::Key {
                code: key,
                state: match state {
                    WEnum::Value(wl_keyboard::KeyState::Pressed) => {
                        typed = app.seat.typing.text(key);
                        "pressed"
                    }
                    WEnum::Value(wl_keyboard::KeyState::Released) => "released",
                    _ => "repeated",
                },
                modifiers: app.seat.modifiers,
                wayland_ms: time,
            },
            wl_keyboard::Event::Modifiers { mods_depressed, mods_latched, mods_locked, group, .. } => {
                let modifiers = Modifiers {
                    depressed: mods_depressed,
                    latched: mods_latched,
                    locked: mods_locked,
                    group,
                };
                app.seat.modifiers = modifiers;
                app.seat.typing.modify(mods_depressed, mods_latched, mods_locked, group);
                Event::Modifiers { modifiers }
            }
            wl_keyboard::Event::RepeatInfo { rate, delay } => Event::RepeatInfo { rate, delay_ms: delay },
            _ => return,
        };
        app.log.write(&event);
        if !typed.is_empty() {
            app.log.write(&Event::Typed { text: typed });
        }
    }
}

impl Dispatch<wl_pointer::WlPointer, ()> for App {
    fn event(
        app: &mut Self,
        _: &wl_pointer::WlPointer,
        event: wl_pointer::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let event = match event {
            wl_pointer::Event::Enter { serial, surface_x, surface_y, .. } => {
                if let Some(cursor) = &app.seat.cursor {
                    cursor.set_shape(serial, Shape::Crosshair);
                }
                app.seat.position = Some((surface_x, surface_y));
                Event::PointerEnter { x: surface_x, y: surface_y }
            }
            wl_pointer::Event::Leave { .. } => {
                app.seat.position = None;
                Event::PointerLeave
            }
            wl_pointer::Event::Motion { time, surface_x, surface_y } => {
                app.seat.position = Some((surface_x, surface_y));
                Event::PointerMotion { x: surface_x, y: surface_y, wayland_ms: time }
            }
            wl_pointer::Event::Button { time, button, state, .. } => Event::Button {
                code: button,
                state: match state {
                    WEnum::Value(wl_pointer::ButtonState::Pressed) => "pressed",
                    _ => "released",
                },
                wayland_ms: time,
            },
            wl_pointer::Event::Axis { time, axis, value } => {
                Event::Axis { axis: axis_name(axis), value, wayland_ms: time }
            }
            wl_pointer::Event::AxisDiscrete { axis, discrete } => {
                Event::AxisDiscrete { axis: axis_name(axis), steps: discrete }
            }
            wl_pointer::Event::AxisValue120 { axis, value120 } => {
                Event::AxisValue120 { axis: axis_name(axis), v120: value120 }
            }
            wl_pointer::Event::AxisStop { axis, .. } => Event::AxisStop { axis: axis_name(axis) },
            wl_pointer::Event::AxisSource { axis_source } => Event::AxisSource {
                source: match axis_source {
                    WEnum::Value(wl_pointer::AxisSource::Wheel) => "wheel",
                    WEnum::Value(wl_pointer::AxisSource::Finger) => "finger",
                    WEnum::Value(wl_pointer::AxisSource::Continuous) => "continuous",
                    WEnum::Value(wl_pointer::AxisSource::WheelTilt) => "wheel_tilt",
                    _ => "unknown",
                },
            },
            // `frame` groups events; the order of lines is enough here.
            _ => return,
        };
        app.log.write(&event);
    }
}

impl Dispatch<wl_touch::WlTouch, ()> for App {
    fn event(
        app: &mut Self,
        _: &wl_touch::WlTouch,
        event: wl_touch::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let event = match event {
            wl_touch::Event::Down { time, id, x, y, .. } => Event::TouchDown { id, x, y, wayland_ms: time },
            wl_touch::Event::Motion { time, id, x, y } => Event::TouchMotion { id, x, y, wayland_ms: time },
            wl_touch::Event::Up { time, id, .. } => Event::TouchUp { id, wayland_ms: time },
            wl_touch::Event::Cancel => Event::TouchCancel,
            _ => return,
        };
        app.log.write(&event);
    }
}

fn axis_name(axis: WEnum<wl_pointer::Axis>) -> &'static str {
    match axis {
        WEnum::Value(wl_pointer::Axis::VerticalScroll) => "vertical",
        WEnum::Value(wl_pointer::Axis::HorizontalScroll) => "horizontal",
        _ => "unknown",
    }
}

delegate_noop!(App: WpCursorShapeManagerV1);
delegate_noop!(App: WpCursorShapeDeviceV1);
