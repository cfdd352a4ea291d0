//! Gamepads as games find and use them: input devices by their nodes, light and battery by sysfs, raw reports by hidraw.

use evdev::{AbsoluteAxisCode, Device, KeyCode, PropType};
use std::io;
use std::path::{Path, PathBuf};

/// One of the input devices that the kernel makes of one gamepad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Buttons, sticks and triggers.
    Buttons,
    /// The touchpad.
    Touchpad,
    /// Gyroscope and accelerometer.
    Motion,
}

/// Why nothing can be tried with gamepads here; `None` where it can.
pub fn obstacle() -> Option<String> {
    for path in ["/dev/uinput", "/dev/uhid", "/dev/input"] {
        if let Err(error) =
            rustix::fs::access(path, rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK)
        {
            return Some(format!("{path}: {error}"));
        }
    }
    None
}

/// Where every input device of a gamepad is plugged in, for those that begin like this.
pub fn plugged(phys: &str) -> Vec<String> {
    let mut all: Vec<_> = nodes().filter_map(|node| phys_of(&node)).collect();
    all.retain(|path| path.starts_with(phys));
    all
}

/// The part of the gamepad with this `phys`.
pub fn find(phys: &str, part: Part) -> Option<Device> {
    let own = nodes().filter(|node| phys_of(node).as_deref() == Some(phys));
    own.filter_map(|node| Device::open(node).ok()).find(|device| part_of(device) == Some(part))
}

fn nodes() -> impl Iterator<Item = PathBuf> {
    let all = std::fs::read_dir("/dev/input").into_iter().flatten().flatten().map(|entry| entry.path());
    all.filter(|path| path.to_string_lossy().contains("/event"))
}

/// The input device's own, or that of the HID device which it is a part of: not every driver passes it on.
fn phys_of(node: &Path) -> Option<String> {
    let device = Path::new("/sys/class/input").join(node.file_name()?).join("device");
    let own = std::fs::read_to_string(device.join("phys")).unwrap_or_default();
    if !own.trim().is_empty() {
        return Some(own.trim().to_owned());
    }
    let about = std::fs::read_to_string(device.join("device/uevent")).ok()?;
    about.lines().find_map(|line| line.strip_prefix("HID_PHYS=")).map(str::to_owned)
}

fn part_of(device: &Device) -> Option<Part> {
    let axis = |axis| device.supported_absolute_axes().is_some_and(|axes| axes.contains(axis));
    if device.properties().contains(PropType::ACCELEROMETER) {
        Some(Part::Motion)
    } else if axis(AbsoluteAxisCode::ABS_MT_SLOT) {
        Some(Part::Touchpad)
    } else {
        device.supported_keys().is_some_and(|keys| keys.contains(KeyCode::BTN_SOUTH)).then_some(Part::Buttons)
    }
}

/// Current value of an axis.
pub fn axis(device: &Device, axis: AbsoluteAxisCode) -> i32 {
    device.get_abs_state().map_or(i32::MIN, |state| state[usize::from(axis.0)].value)
}

/// Keys that are down.
pub fn keys(device: &Device) -> Vec<KeyCode> {
    device.get_key_state().map(|state| state.iter().collect()).unwrap_or_default()
}

/// Entries of `/sys/class/CLASS` that belong to the gamepad with this `phys`.
pub fn sysfs(class: &str, phys: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(Path::new("/sys/class").join(class)).into_iter().flatten().flatten();
    let mark = format!("HID_PHYS={phys}");
    entries
        .map(|entry| entry.path())
        .filter(|path| {
            let about = std::fs::read_to_string(path.join("device/uevent")).unwrap_or_default();
            about.lines().any(|line| line == mark)
        })
        .collect()
}

/// Writes a report to the gamepad with this `phys`, as programs do that know its format.
///
/// # Errors
/// Those of finding and writing its hidraw node.
pub fn write_raw(phys: &str, report: &[u8]) -> io::Result<()> {
    let node = sysfs("hidraw", phys).pop().ok_or(io::ErrorKind::NotFound)?;
    let name = node.file_name().ok_or(io::ErrorKind::NotFound)?;
    std::fs::write(Path::new("/dev").join(name), report)
}
