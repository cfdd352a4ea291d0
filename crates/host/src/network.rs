//! What the host has to know of the machine's network.

use std::net::{IpAddr, SocketAddr};
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

/// Most addresses that a person is offered.
const MOST_ADDRESSES: usize = 3;

/// Addresses of this machine as Moonlight takes them, the port with them where it is not the usual one. IPv4 first: people
/// type it more easily.
pub fn addresses_to_type(base_port: u16) -> Vec<String> {
    let found = if_addrs::get_if_addrs().unwrap_or_default();
    let mut addresses: Vec<IpAddr> = found
        .iter()
        .filter(|interface| !interface.is_loopback() && !interface.is_link_local())
        .map(if_addrs::Interface::ip)
        .collect();
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses.truncate(MOST_ADDRESSES);
    addresses.into_iter().map(|address| to_type(address, base_port)).collect()
}

fn to_type(address: IpAddr, base_port: u16) -> String {
    match base_port {
        lumen_config::Ports::DEFAULT_BASE => address.to_string(),
        // With brackets around IPv6.
        port => SocketAddr::new(address, port).to_string(),
    }
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
    fn addresses_have_their_port_where_it_is_an_unusual_one() {
        let [v4, v6]: [IpAddr; 2] =
            ["192.168.1.5", "2001:db8::5"].map(|text| text.parse().expect("an address"));
        assert_eq!(to_type(v4, 47989), "192.168.1.5");
        assert_eq!(to_type(v4, 50000), "192.168.1.5:50000");
        assert_eq!(to_type(v6, 47989), "2001:db8::5");
        assert_eq!(to_type(v6, 50000), "[2001:db8::5]:50000");
        assert!(addresses_to_type(47989).len() <= MOST_ADDRESSES);
    }

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
