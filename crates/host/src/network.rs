//! What the host has to know of the machine's network.

use std::path::Path;

/// Hardware address of the first interface that is up, for Wake-on-LAN; zeros when there is none.
pub fn hardware_address() -> [u8; 6] {
    addresses(Path::new("/sys/class/net")).into_iter().next().unwrap_or_default()
}

fn addresses(class: &Path) -> Vec<[u8; 6]> {
    let Ok(entries) = std::fs::read_dir(class) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .flatten()
        .filter(|entry| {
            std::fs::read_to_string(entry.path().join("operstate")).is_ok_and(|state| state.trim() == "up")
        })
        .filter_map(|entry| {
            // A real card has a device behind it; bridges and tunnels come last.
            let virtual_interface = !entry.path().join("device").exists();
            let text = std::fs::read_to_string(entry.path().join("address")).ok()?;
            Some((virtual_interface, entry.file_name(), parse(text.trim())?))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, _, address)| address).collect()
}

fn parse(text: &str) -> Option<[u8; 6]> {
    let mut address = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut address {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    (parts.next().is_none() && address != [0; 6]).then_some(address)
}

/// The machine's name, for clients to show.
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "Lumen".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_cards_come_before_bridges_and_interfaces_that_are_down_do_not_count() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let interface = |name: &str, state: &str, address: &str, card: bool| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.join(if card { "device" } else { "bridge" })).expect("writable");
            std::fs::write(path.join("operstate"), state).expect("writable");
            std::fs::write(path.join("address"), address).expect("writable");
        };
        interface("br0", "up\n", "02:00:00:00:00:01\n", false);
        interface("eth1", "up\n", "02:00:00:00:00:02\n", true);
        interface("eth0", "down\n", "02:00:00:00:00:03\n", true);
        interface("tun0", "up\n", "00:00:00:00:00:00\n", false);
        assert_eq!(addresses(dir.path()), [[2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]]);
        assert_eq!(addresses(Path::new("/nonexistent")), [[0; 6]; 0]);
    }
}
