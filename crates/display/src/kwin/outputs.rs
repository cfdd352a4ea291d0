//! Reading and changing KWin's outputs, on a connection that lives for a moment only.
//!
//! KWin numbers the objects of its devices and modes itself and uses the numbers again. A connection that is held for
//! the length of a stream would have to keep up with that over every plugged monitor; a short one need not.

use super::layout::{Layout, Place};
use super::link::{Device, DeviceMode, Link, Stopped, Until};
use super::protocol::outputs::kde_output_management_v2::KdeOutputManagementV2;
use lumen_media::Mode;
use std::path::Path;
use wayland_client::Proxy;

/// First version of `kde_output_management_v2` with custom modes (KWin 6.6).
const CUSTOM_MODES: u32 = 18;
/// The capability of a device that takes them.
const TAKES_CUSTOM_MODES: u32 = 0x2000;

/// KWin's outputs.
pub(crate) struct Outputs {
    link: Link,
    management: Option<KdeOutputManagementV2>,
}

/// How changes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// All is as wished.
    Yes,
    /// KWin refused, or cannot be asked.
    No,
}

impl Outputs {
    /// Connects and reads them.
    pub fn open(socket: &Path, until: Until<'_>) -> Result<Self, Stopped> {
        let mut link = Link::open(socket, until)?;
        let management = link.bind(CUSTOM_MODES);
        link.learn_devices(until)?;
        Ok(Self { link, management })
    }

    /// Hears what changed since.
    pub fn refresh(&mut self, until: Until<'_>) -> Result<(), Stopped> {
        self.link.roundtrip(until)
    }

    /// The output of this name.
    pub fn device(&self, name: &str) -> Option<&Device> {
        self.link.state.devices.iter().find(|device| device.name == name)
    }

    /// Names of all outputs.
    pub fn names(&self) -> Vec<String> {
        self.link.state.devices.iter().map(|device| device.name.clone()).collect()
    }

    /// Whether KWin can be asked for modes of our own.
    pub fn knows_custom_modes(&self) -> bool {
        self.management.as_ref().is_some_and(|management| management.version() >= CUSTOM_MODES)
    }

    /// How the outputs stand now.
    pub fn layout(&self) -> Layout {
        let state = &self.link.state;
        let rank = |device: &Device| {
            let listed = state.order.iter().position(|name| *name == device.name);
            (!device.enabled, listed.unwrap_or(usize::MAX))
        };
        let mut devices: Vec<_> = state.devices.iter().collect();
        devices.sort_by_key(|device| rank(device));
        let place = |device: &&Device| Place {
            name: device.name.clone(),
            uuid: device.uuid.clone(),
            enabled: device.enabled,
            position: device.position,
            mode: device.mode().map(|mode| (mode.width, mode.height, mode.refresh)),
            scale: device.scale,
            transform: device.transform,
        };
        Layout { places: devices.iter().map(place).collect() }
    }

    /// Changes the outputs until they are as in `goal`. Nothing is asked when they are.
    pub fn arrange(&mut self, goal: &Layout, until: Until<'_>) -> Result<Applied, Stopped> {
        let changes = self.layout().changes_to(goal);
        if changes.is_empty() {
            return Ok(Applied::Yes);
        }
        let Some(management) = self.management.clone() else { return Ok(Applied::No) };
        tracing::debug!(?changes, "arranging KWin's outputs");
        let configuration = management.create_configuration(&self.link.handle(), ());
        let version = configuration.version();
        for change in changes {
            let Some(device) = self.device(&change.name) else { continue };
            let proxy = &device.proxy;
            if let Some(enable) = change.enable {
                configuration.enable(proxy, i32::from(enable));
            }
            if let Some(wanted) = change.mode {
                let mode = device.modes.iter().find(|mode| (mode.width, mode.height, mode.refresh) == wanted);
                if let Some(mode) = mode {
                    configuration.mode(proxy, &mode.proxy);
                }
            }
            if let Some((x, y)) = change.position {
                configuration.position(proxy, x, y);
            }
            if let Some(scale) = change.scale {
                configuration.scale(proxy, scale);
            }
            if let Some(transform) = change.transform {
                configuration.transform(proxy, transform);
            }
            match change.priority {
                Some(priority) if version >= 3 => configuration.set_priority(proxy, priority),
                Some(1) if version >= 2 => configuration.set_primary_output(proxy),
                _ => {}
            }
        }
        self.apply(configuration, until)
    }

    /// Gives the output `name` exactly the size of `mode`, at the rate nearest to it that KWin makes. Returns the mode it
    /// has then, or `None` when KWin does not do it.
    pub fn rerate(&mut self, name: &str, mode: Mode, until: Until<'_>) -> Result<Option<Mode>, Stopped> {
        let Some(device) = self.device(name).map(|device| device.proxy.clone()) else { return Ok(None) };
        let takes = self.device(name).is_some_and(|device| device.capabilities & TAKES_CUSTOM_MODES != 0);
        let Some(management) = self.management.clone() else { return Ok(None) };
        if !takes || !self.knows_custom_modes() {
            return Ok(None);
        }
        let handle = self.link.handle();
        let list = management.create_mode_list(&handle, ());
        list.set_resolution(mode.width(), mode.height());
        for (rate, reduced) in wishes(mode) {
            list.set_refresh_rate(rate);
            list.set_reduced_blanking(u32::from(reduced));
            list.add_mode();
        }
        let configuration = management.create_configuration(&handle, ());
        configuration.set_custom_modes(&device, &list);
        let applied = self.apply(configuration, until);
        list.destroy();
        if applied? == Applied::No {
            return Ok(None);
        }
        let modes = self.device(name).into_iter().flat_map(|device| &device.modes);
        let modes: Vec<_> = modes.map(|mode| (mode.width, mode.height, mode.refresh)).collect();
        tracing::debug!(?modes, "modes that KWin made");
        let Some(best) = self.nearest(name, mode).cloned() else { return Ok(None) };
        let configuration = management.create_configuration(&handle, ());
        configuration.mode(&device, &best.proxy);
        if self.apply(configuration, until)? == Applied::No {
            return Ok(None);
        }
        Ok(self.mode(name))
    }

    /// Of the modes of an output the one that has the size of `mode` and the nearest rate.
    pub fn nearest(&self, name: &str, mode: Mode) -> Option<&DeviceMode> {
        let size = (mode.width().cast_signed(), mode.height().cast_signed());
        let fitting = self.device(name)?.modes.iter().filter(|offer| (offer.width, offer.height) == size);
        fitting.min_by_key(|offer| distance(offer.refresh, mode))
    }

    /// Waits until there is no output of this name any more.
    pub fn wait_gone(&mut self, name: &str, until: Until<'_>) -> Result<(), Stopped> {
        self.link.wait(until, |state| (!state.devices.iter().any(|device| device.name == name)).then_some(()))
    }

    /// The mode that an output has now; `None` when it is off or its mode is none of ours.
    pub fn mode(&self, name: &str) -> Option<Mode> {
        let mode = self.device(name).filter(|device| device.enabled)?.mode()?;
        let size = (u32::try_from(mode.width).ok()?, u32::try_from(mode.height).ok()?);
        Mode::new(size.0, size.1, u32::try_from(mode.refresh).ok()?).ok()
    }

    fn apply(
        &mut self,
        configuration: super::protocol::outputs::kde_output_configuration_v2::KdeOutputConfigurationV2,
        until: Until<'_>,
    ) -> Result<Applied, Stopped> {
        self.link.state.applied = None;
        self.link.state.refusal = None;
        configuration.apply();
        let applied = self.link.wait(until, |state| state.applied);
        configuration.destroy();
        let applied = applied?;
        if !applied {
            tracing::debug!(reason = ?self.link.state.refusal, "KWin refused to change its outputs");
        }
        // The order is told after the answer.
        self.link.roundtrip(until)?;
        Ok(if applied { Applied::Yes } else { Applied::No })
    }
}

/// What to ask for to get near the rate of `mode`: KWin computes modes by VESA's CVT, which rounds the pixel clock down to
/// 0.25 MHz. So the rate itself, and one and a half steps above it; each with long and short blanking, whose steps differ.
fn wishes(mode: Mode) -> impl Iterator<Item = (u32, bool)> {
    let pixels = u64::from(mode.width()) * u64::from(mode.height());
    // 250 kHz, as millihertz per pixel; blanking makes the true step some 10 to 40 % smaller.
    let step = u32::try_from(250_000_000 / pixels.max(1)).unwrap_or(0);
    let rate = mode.refresh_mhz();
    [rate, rate + step / 2, rate + step].into_iter().flat_map(|rate| [(rate, false), (rate, true)])
}

/// How far a rate is from the asked one; of two as far, the faster one is better.
fn distance(refresh: i32, mode: Mode) -> (u32, bool) {
    let asked = mode.refresh_mhz().cast_signed();
    (refresh.abs_diff(asked), refresh < asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_rate_wins_and_the_faster_of_two() {
        let mode = Mode::new(1600, 900, 120_000).expect("a mode");
        let nearest = |rates: &[i32]| rates.iter().copied().min_by_key(|rate| distance(*rate, mode));
        assert_eq!(nearest(&[60_000, 119_948, 120_068]), Some(119_948));
        assert_eq!(nearest(&[119_940, 120_060]), Some(120_060));
    }

    #[test]
    fn wishes_begin_with_the_rate_itself() {
        let mode = Mode::new(1600, 900, 59_940).expect("a mode");
        let wishes: Vec<_> = wishes(mode).collect();
        assert_eq!(wishes[..2], [(59_940, false), (59_940, true)]);
        assert!(wishes.iter().all(|(rate, _)| (59_940..60_200).contains(rate)), "{wishes:?}");
    }
}
