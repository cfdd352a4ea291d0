//! The devices of one client, in the kernel.

use super::feedback::DeviceFeedback;
use super::hid::dualsense::DualSense;
use super::hid::dualshock4::DualShock4;
use super::hid::{Address, Model, uhid};
use super::kind::PadKind;
use super::manager::{Devices, MAX_PADS};
use super::presence::{PlugError, Plugged};
use super::report::PadReport;
use super::{PadMark, uinput};
use lumen_media::{Timestamp, clock};
use rustix::fs::Access as Mode;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// One device node that gamepads need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It can be used.
    Granted,
    /// It exists, but not for this user.
    Denied,
    /// The kernel's module is not loaded.
    Missing,
}

/// Whether `/dev/uinput` and `/dev/uhid` can be used.
pub fn access() -> [(&'static str, Access); 2] {
    ["/dev/uinput", "/dev/uhid"].map(|path| {
        let access = match rustix::fs::access(path, Mode::READ_OK | Mode::WRITE_OK) {
            Ok(()) => Access::Granted,
            Err(rustix::io::Errno::NOENT) => Access::Missing,
            Err(_) => Access::Denied,
        };
        (path, access)
    })
}

enum Device {
    Input(uinput::Gamepad),
    /// Its address is free once it is gone.
    Hid(uhid::Gamepad, #[expect(dead_code, reason = "held")] Address),
}

impl Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Input(gamepad) => gamepad.as_fd(),
            Self::Hid(gamepad, _) => gamepad.as_fd(),
        }
    }

    fn serve(&mut self, now: Timestamp, feedback: &mut dyn FnMut(DeviceFeedback)) -> io::Result<()> {
        match self {
            Self::Input(gamepad) => gamepad.serve(now, feedback),
            Self::Hid(gamepad, _) => gamepad.serve(feedback),
        }
    }

    fn turn(
        &mut self,
        now: Timestamp,
        feedback: &mut dyn FnMut(DeviceFeedback),
    ) -> io::Result<Option<Timestamp>> {
        match self {
            Self::Input(gamepad) => Ok(gamepad.turn(now, feedback)),
            Self::Hid(gamepad, _) => gamepad.turn(now).map(Some),
        }
    }

    fn update(&mut self, report: &PadReport) -> io::Result<()> {
        match self {
            Self::Input(gamepad) => gamepad.update(report),
            Self::Hid(gamepad, _) => gamepad.update(report, clock::now()),
        }
    }
}

/// The devices of one client.
pub struct Plugs {
    owner: String,
    devices: [Option<Device>; MAX_PADS],
    /// Why a device is gone that nobody unplugged.
    lost: [Option<io::Error>; MAX_PADS],
    /// What was said already, and is still so: the causes are the same for every gamepad.
    said_no_hid: bool,
    said_no_input: bool,
}

impl Plugs {
    /// None yet; `owner` marks them.
    pub fn new(owner: String) -> Self {
        Self {
            owner,
            devices: Default::default(),
            lost: Default::default(),
            said_no_hid: false,
            said_no_input: false,
        }
    }

    /// What to wait for.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.devices.iter().flatten().map(Device::as_fd)
    }

    /// Answers what games asked.
    pub fn serve(&mut self, now: Timestamp, mut feedback: impl FnMut(u8, DeviceFeedback)) {
        self.each(|number, device| device.serve(now, &mut |said| feedback(number, said)));
    }

    /// Lets time pass; says when it has to again.
    pub fn turn(
        &mut self,
        now: Timestamp,
        mut feedback: impl FnMut(u8, DeviceFeedback),
    ) -> Option<Timestamp> {
        let mut next: Option<Timestamp> = None;
        self.each(|number, device| {
            let due = device.turn(now, &mut |said| feedback(number, said))?;
            next = [next, due].into_iter().flatten().min();
            Ok(())
        });
        next
    }

    /// Which devices failed since the last call, and why; they are pulled out already.
    pub fn take_lost(&mut self) -> impl Iterator<Item = (u8, PlugError)> {
        let lost = (0u8..).zip(&mut self.lost);
        lost.filter_map(|(number, lost)| Some((number, PlugError::Failed(lost.take()?))))
    }

    /// Calls `each` with every device; one that fails is void, and pulled out so that nobody waits for it in a circle.
    fn each(&mut self, mut each: impl FnMut(u8, &mut Device) -> io::Result<()>) {
        for ((number, slot), lost) in (0u8..).zip(&mut self.devices).zip(&mut self.lost) {
            let Some(device) = slot else { continue };
            if let Err(error) = each(number, device) {
                *lost = Some(error);
                *slot = None;
            }
        }
    }

    fn open(&mut self, number: u8, kind: PadKind) -> io::Result<Device> {
        let mark = PadMark::new(&self.owner, number);
        let address = Address::of(&mark.phys);
        let model: Box<dyn Model> = match kind {
            PadKind::DualSense => Box::new(DualSense::new(address.bytes())),
            PadKind::DualShock4 => Box::new(DualShock4::new(address.bytes())),
            kind => return uinput::Gamepad::new(kind, &mark).map(Device::Input),
        };
        Ok(Device::Hid(uhid::Gamepad::new(model, &mark, clock::now())?, address))
    }
}

impl Devices for Plugs {
    fn plug(&mut self, number: u8, kind: PadKind) -> Result<Plugged, PlugError> {
        let (mut plugged, mut opened) = (Plugged { kind, fallback: None }, self.open(number, kind));
        if kind.is_hid() {
            match opened {
                Ok(_) => self.said_no_hid = false,
                Err(error) => {
                    let instead = kind.without_hid();
                    if !std::mem::replace(&mut self.said_no_hid, true) {
                        tracing::warn!(
                            %error,
                            "no {kind} without /dev/uhid, so gamepads become {instead}: without touchpad, motion and light. {REMEDY}"
                        );
                    }
                    plugged = Plugged { kind: instead, fallback: Some(PlugError::Hid(error)) };
                    opened = self.open(number, instead);
                }
            }
        }
        let device = opened.map_err(|error| {
            if !std::mem::replace(&mut self.said_no_input, true) {
                tracing::warn!(%error, "no gamepads: /dev/uinput cannot be used; it is tried again. {REMEDY}");
            }
            PlugError::Input(error)
        })?;
        if !plugged.kind.is_hid() {
            self.said_no_input = false;
        }
        tracing::info!(number, kind = %plugged.kind, "gamepad plugged in");
        let at = usize::from(number);
        if let (Some(slot), Some(lost)) = (self.devices.get_mut(at), self.lost.get_mut(at)) {
            (*slot, *lost) = (Some(device), None);
        }
        Ok(plugged)
    }

    fn unplug(&mut self, number: u8) {
        let at = usize::from(number);
        if let (Some(slot), Some(lost)) = (self.devices.get_mut(at), self.lost.get_mut(at)) {
            *lost = None;
            if slot.take().is_some() {
                tracing::info!(number, "gamepad unplugged");
            }
        }
    }

    fn update(&mut self, number: u8, report: &PadReport) {
        let at = usize::from(number);
        if let (Some(slot), Some(lost)) = (self.devices.get_mut(at), self.lost.get_mut(at))
            && let Some(device) = slot
            && let Err(error) = device.update(report)
        {
            (*slot, *lost) = (None, Some(error));
        }
    }
}

/// How to make gamepads possible.
pub(crate) const REMEDY: &str = "Load the modules uinput and uhid and install packaging/60-lumen.rules as README.md says; lumen doctor checks it";
