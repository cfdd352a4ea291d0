//! Devices that a server of libei lends: they come, pause, resume and go as it likes.

use super::Place;
use crate::keyboard::{Keyboard, keymap_text};
use reis::event::{self, Device, DeviceCapability as Capability, EiEvent};
use std::collections::BTreeSet;

/// The right and bottom edges belong to the next monitor, and KWin rounds: positions end a logical pixel before them.
const EDGE: f64 = 1.0;

/// A device, and whether it takes events.
#[derive(Debug)]
struct Lent {
    device: Device,
    resumed: bool,
}

/// Where positions of an output land, in logical pixels of the desktop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Region {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl Region {
    /// A place given in parts of the output.
    pub fn locate(&self, x: f64, y: f64) -> (f32, f32) {
        let at = |start: f64, length: f64, part: f64| {
            (start + (part.clamp(0.0, 1.0) * length).min(length - EDGE)) as f32
        };
        (at(self.x, self.width, x), at(self.y, self.height, y))
    }
}

/// All devices of a connection.
#[derive(Default)]
pub(super) struct Devices {
    lent: Vec<Lent>,
    /// Counts the times that we began to send events.
    sequence: u32,
    /// Keymap of the keyboard, with the modifiers in force.
    pub keyboard: Option<Keyboard>,
    /// Fingers that are down on the touchscreen.
    pub fingers: BTreeSet<u32>,
}

impl Devices {
    /// Takes news from the server; the cause when it ended the connection.
    pub fn handle(&mut self, event: EiEvent, serial: u32) -> Option<String> {
        match event {
            EiEvent::SeatAdded(added) => added.seat.bind_capabilities(
                Capability::Pointer
                    | Capability::PointerAbsolute
                    | Capability::Keyboard
                    | Capability::Touch
                    | Capability::Scroll
                    | Capability::Button
                    | Capability::Text,
            ),
            EiEvent::DeviceAdded(added) => self.added(added.device),
            EiEvent::DeviceRemoved(removed) => {
                tracing::debug!(device = removed.device.name(), "an input device went");
                self.forget(&removed.device);
                self.lent.retain(|lent| lent.device != removed.device);
            }
            EiEvent::DeviceResumed(resumed) => self.resumed(&resumed.device, serial),
            EiEvent::DevicePaused(paused) => {
                tracing::debug!(device = paused.device.name(), "an input device paused");
                self.forget(&paused.device);
                if let Some(lent) = self.lent.iter_mut().find(|lent| lent.device == paused.device) {
                    lent.resumed = false;
                }
            }
            EiEvent::KeyboardModifiers(told) => {
                if let Some(keyboard) = &mut self.keyboard {
                    keyboard.told(told.depressed, told.latched, told.locked, told.group);
                }
            }
            EiEvent::Disconnected(ended) => {
                let why = ended.explanation.unwrap_or_default();
                return Some(format!("it ended the connection ({:?}) {why}", ended.reason));
            }
            _ => {}
        }
        None
    }

    fn added(&mut self, device: Device) {
        tracing::debug!(device = device.name(), regions = ?device.regions(), "an input device came");
        let told = device.keymap().and_then(|keymap| keymap_text(keymap.fd.try_clone().ok()?, keymap.size));
        if let Some(keyboard) = told.and_then(Keyboard::of_text) {
            self.keyboard = Some(keyboard);
        }
        // Whoever knows version 3 waits for this before it resumes the device.
        if device.device().version() >= 3 {
            device.device().ready();
        }
        self.lent.push(Lent { device, resumed: false });
    }

    fn resumed(&mut self, device: &Device, serial: u32) {
        self.sequence += 1;
        if let Some(lent) = self.lent.iter_mut().find(|lent| lent.device == *device) {
            lent.resumed = true;
            lent.device.device().start_emulating(serial, self.sequence);
        }
    }

    /// A device that pauses or goes holds nothing any more.
    fn forget(&mut self, device: &Device) {
        if device.has_capability(Capability::Touch) {
            self.fingers.clear();
        }
    }

    /// No more events will come.
    pub fn stop(&mut self, serial: u32) {
        for lent in self.lent.iter_mut().filter(|lent| lent.resumed) {
            lent.device.device().stop_emulating(serial);
            lent.resumed = false;
        }
    }

    fn ready(&self) -> impl Iterator<Item = &Device> {
        self.lent.iter().filter(|lent| lent.resumed).map(|lent| &lent.device)
    }

    /// The first device that takes events and has all of these.
    pub fn with(&self, capabilities: &[Capability]) -> Option<Device> {
        let has_all =
            |device: &&Device| capabilities.iter().all(|capability| device.has_capability(*capability));
        self.ready().find(has_all).cloned()
    }

    /// The device that takes positions on the streamed part of the desktop, and where that is.
    pub fn placed(&self, capability: Capability, place: &Place) -> Option<(Device, Region)> {
        let able = || self.ready().filter(|device| device.has_capability(capability));
        if let Place::Pixels(width, height) = place {
            let whole = Region { x: 0.0, y: 0.0, width: (*width).into(), height: (*height).into() };
            return able().next().map(|device| (device.clone(), whole));
        }
        let all: Vec<_> =
            able().flat_map(|device| device.regions().iter().map(move |region| (device, region))).collect();
        let regions: Vec<_> = all.iter().map(|(_, region)| *region).collect();
        let (device, region) = all.get(streamed(&regions, place)?)?;
        let region = Region {
            x: region.x.into(),
            y: region.y.into(),
            width: region.width.into(),
            height: region.height.into(),
        };
        Some(((*device).clone(), region))
    }
}

/// Which region is the streamed part of the desktop.
fn streamed(regions: &[&event::Region], place: &Place) -> Option<usize> {
    let Place::Region { mapping_id, size, position } = place else { return None };
    let by_id = regions.iter().position(|region| mapping_id.is_some() && region.mapping_id == *mapping_id);
    if mapping_id.is_some() && regions.iter().any(|region| region.mapping_id.is_some()) {
        // Another region is another monitor.
        return by_id;
    }
    let fits = |region: &event::Region| *size == Some((region.width, region.height));
    let begins = |region: &event::Region| {
        let corner = position.and_then(|(x, y)| Some((u32::try_from(x).ok()?, u32::try_from(y).ok()?)));
        corner == Some((region.x, region.y))
    };
    let by_place = || regions.iter().position(|region| begins(region) && (size.is_none() || fits(region)));
    let by_size = || regions.iter().position(|region| fits(region));
    let only = || (regions.len() == 1).then_some(0);
    by_place().or_else(by_size).or_else(only)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_streamed_region_is_found_among_equal_monitors() {
        let region = |x, mapping_id: Option<&str>| event::Region {
            x,
            y: 0,
            width: 1920,
            height: 1080,
            scale: 1.0,
            mapping_id: mapping_id.map(str::to_owned),
        };
        let place = |mapping_id: Option<&str>, size, position| Place::Region {
            mapping_id: mapping_id.map(str::to_owned),
            size,
            position,
        };
        let full = Some((1920, 1080));
        let (left, right) = (region(0, None), region(1920, None));
        let both = [&left, &right];
        assert_eq!(streamed(&both, &place(None, full, Some((1920, 0)))), Some(1));
        assert_eq!(streamed(&both, &place(None, None, Some((1920, 0)))), Some(1));
        assert_eq!(streamed(&both, &place(None, full, Some((-1920, 0)))), Some(0));
        assert_eq!(streamed(&both, &place(None, full, None)), Some(0));
        // A size that no monitor has, and no place: nobody knows.
        assert_eq!(streamed(&both, &place(None, Some((1280, 720)), Some((1920, 0)))), None);
        assert_eq!(streamed(&both[..1], &place(None, None, None)), Some(0));
        let (one, other) = (region(0, Some("one")), region(1920, Some("other")));
        let both = [&one, &other];
        assert_eq!(streamed(&both, &place(Some("other"), full, Some((0, 0)))), Some(1));
        assert_eq!(streamed(&both, &place(Some("third"), full, Some((0, 0)))), None);
        assert_eq!(streamed(&[&left, &right], &place(Some("other"), full, None)), Some(0));
    }

    #[test]
    fn positions_stay_in_their_region() {
        let region = Region { x: 1280.0, y: 0.0, width: 1264.0, height: 720.0 };
        assert_eq!(region.locate(0.0, 0.0), (1280.0, 0.0));
        assert_eq!(region.locate(0.5, 0.25), (1912.0, 180.0));
        let (x, y) = region.locate(1.0, 2.0);
        assert!((x, y) == (2543.0, 719.0), "{x} {y}");
    }
}
