//! The client's pen as a tablet (`zwp_tablet_v2`), and as the pointer for programs that know no tablets.

use crate::frame_clock::Damage;
use crate::state::Compositor;
use lumen_media::{Pen, PenContact, PenPointer};
use smithay::backend::input::{ButtonState, TabletToolCapabilities, TabletToolDescriptor, TabletToolType};
use smithay::reexports::wayland_protocols::wp::tablet::zv2::server::zwp_tablet_seat_v2::ZwpTabletSeatV2;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{DisplayHandle, Resource};
use smithay::utils::{IsAlive, Logical, Point, SERIAL_COUNTER};
use smithay::wayland::tablet_manager::{TabletDescriptor, TabletHandle, TabletToolHandle};

/// Buttons of a pen's barrel by their evdev codes: `BTN_STYLUS`, `BTN_STYLUS2`, `BTN_STYLUS3`.
const BARREL: [u32; 3] = [0x14b, 0x14c, 0x149];

/// What the client's pen last was, and for whom.
#[derive(Default)]
pub(crate) struct Tablet {
    last: Pen,
    /// For programs that know no tablets.
    pointer: PenPointer,
    /// The pen is over such a program, or was when it touched.
    as_pointer: bool,
    /// Where it is shown.
    place: Option<Point<f64, Logical>>,
    /// What it touched first, and where that lies: it feels the pen until that is lifted.
    touched: Option<(WlSurface, Point<f64, Logical>)>,
}

impl Tablet {
    /// Where the pen is, if a program's tablet shows it there.
    pub(crate) fn place(&self) -> Option<Point<f64, Logical>> {
        self.place
    }

    /// The pointer was moved otherwise: that is what is looked at now.
    pub(crate) fn yield_to_pointer(&mut self) {
        self.place = None;
    }
}

/// Whether the program of this surface has asked for tablets.
fn knows_tablets(display: &DisplayHandle, surface: &WlSurface) -> bool {
    let Some(client) = surface.client() else { return false };
    let mut knows = false;
    let listed = display.backend_handle().with_all_objects_for(client.id(), |object| {
        knows |= object.interface().name == ZwpTabletSeatV2::interface().name;
    });
    listed.is_ok() && knows
}

impl Compositor {
    /// The pen is like this now.
    pub(crate) fn pen(&mut self, pen: Pen) {
        let pen = if pen.contact == PenContact::Away { Pen::default() } else { pen };
        let place = self.input.absolute(pen.x, pen.y);
        let under = self.desk.surface_under(place);
        // What touches stays where it touched, as a held button does.
        let tablet = &mut self.input.tablet;
        if tablet.last.contact != PenContact::Touching && pen.contact != PenContact::Away {
            let as_pointer =
                !under.as_ref().is_some_and(|(surface, _)| knows_tablets(&self.display, surface));
            if as_pointer != tablet.as_pointer {
                self.pen_goes();
                self.input.tablet.as_pointer = as_pointer;
            }
        }
        if self.input.tablet.as_pointer {
            self.input.tablet.pointer.follow(pen).for_each(|event| self.input(event));
            self.input.tablet.last = pen;
        } else {
            self.stylus(pen, place, under);
        }
    }

    /// The pen is out of sight, for whoever saw it.
    fn pen_goes(&mut self) {
        self.input.tablet.pointer.follow(Pen::default()).for_each(|event| self.input(event));
        let nowhere = Point::default();
        self.stylus(Pen::default(), nowhere, None);
    }

    fn tablet(&self) -> TabletHandle {
        let description = TabletDescriptor { name: "Lumen pen".to_owned(), usb_id: None, syspath: None };
        self.input.tablets.add_tablet::<Compositor>(&self.display, &description)
    }

    /// Clients hear of a tool when it is used first.
    fn tool(&mut self, pen: &Pen) -> TabletToolHandle {
        let description = TabletToolDescriptor {
            tool_type: if pen.eraser { TabletToolType::Eraser } else { TabletToolType::Pen },
            hardware_serial: 0,
            hardware_id_wacom: 0,
            capabilities: TabletToolCapabilities::PRESSURE
                | TabletToolCapabilities::DISTANCE
                | TabletToolCapabilities::TILT,
        };
        let (tablets, display) = (self.input.tablets.clone(), self.display.clone());
        tablets.add_tool::<Compositor>(self, &display, &description)
    }

    fn stylus(
        &mut self,
        pen: Pen,
        place: Point<f64, Logical>,
        under: Option<(WlSurface, Point<f64, Logical>)>,
    ) {
        let time = self.millis();
        let last = std::mem::replace(&mut self.input.tablet.last, pen);
        let (touched, touches) = (last.contact == PenContact::Touching, pen.contact == PenContact::Touching);
        let changed = last.eraser != pen.eraser && last.contact != PenContact::Away;
        if last.contact == PenContact::Away && pen.contact == PenContact::Away {
            return;
        }
        let tool = self.tool(&last);
        if pen.contact == PenContact::Away || changed {
            for (code, held) in BARREL.into_iter().zip(last.buttons) {
                if held {
                    tool.button(code, ButtonState::Released, SERIAL_COUNTER.next_serial(), time);
                }
            }
            // Also where whoever was touched is gone and would not be told: the tool remembers.
            if touched {
                tool.tip_up(time);
            }
            tool.proximity_out(time);
            self.input.tablet.touched = None;
        }
        let shown = self.input.tablet.place;
        if pen.contact == PenContact::Away {
            self.input.tablet.place = None;
            self.cursor.set_pen(None);
        } else {
            self.input.tablet.place = Some(place);
            let fresh = last.contact == PenContact::Away || changed;
            let before = if fresh { Pen::default() } else { last };
            let lands = touches && before.contact != PenContact::Touching;
            let under = match &self.input.tablet.touched {
                Some(touched) if touched.0.alive() => Some(touched.clone()),
                // What it touched is gone: nobody feels the rest of the stroke.
                _ if touches && !lands => None,
                _ => under,
            };
            let (tool, tablet) = (self.tool(&pen), self.tablet());
            if fresh {
                // Coming near is told without the rest.
                tool.motion(place, under.clone(), &tablet, SERIAL_COUNTER.next_serial(), time);
            }
            if let Some(tilt) = pen.tilt {
                tool.tilt(tilt);
            }
            match pen.contact {
                // Of one whose client does not know it: half of what there is, so that it draws.
                PenContact::Touching => tool.pressure(pen.pressure.unwrap_or(0.5)),
                _ if touched => tool.pressure(0.0),
                _ => {}
            }
            tool.distance(pen.distance.filter(|_| !touches).unwrap_or(0.0));
            tool.motion(place, under.clone(), &tablet, SERIAL_COUNTER.next_serial(), time);
            if lands {
                self.clicked(place);
                tool.tip_down(SERIAL_COUNTER.next_serial(), time);
                self.input.tablet.touched = under;
            } else if !touches && before.contact == PenContact::Touching {
                tool.tip_up(time);
                self.input.tablet.touched = None;
            }
            for (code, (now, before)) in BARREL.into_iter().zip(pen.buttons.into_iter().zip(before.buttons)) {
                if now != before {
                    let state = if now { ButtonState::Pressed } else { ButtonState::Released };
                    tool.button(code, state, SERIAL_COUNTER.next_serial(), time);
                }
            }
        }
        if self.input.tablet.place != shown {
            if self.input.tablet.place.is_some() {
                self.cursor.show();
            }
            self.clock.damaged(self.now, Damage::Pointer);
        }
    }
}
