//! The announcement in the local network (protocol text §1.2).

use mdns_sd::{ServiceDaemon, ServiceInfo};
use std::time::Duration;

/// What clients browse for.
pub const SERVICE: &str = "_nvstream._tcp.local.";
/// Longest label of DNS, in bytes.
const LABEL: usize = 63;
/// How long leaving may take.
const FAREWELL: Duration = Duration::from_millis(500);

/// Why the host could not be announced. Clients can still be given its address by hand.
#[derive(Debug, thiserror::Error)]
#[error("cannot announce the host in the local network: {source}; clients find it by its address instead")]
pub struct AnnounceError {
    #[from]
    source: mdns_sd::Error,
}

/// An announced host. Dropping it withdraws the announcement.
pub struct Announcement {
    daemon: ServiceDaemon,
    name: String,
    full_name: String,
}

impl Announcement {
    /// Announces `name`, as [`instance_name`] makes it, with the **HTTP** port, on all interfaces. Serve HTTP first:
    /// clients ask at once.
    ///
    /// # Errors
    /// [`AnnounceError`], which is worth a warning, not an end.
    pub fn publish(name: &str, http_port: u16) -> Result<Self, AnnounceError> {
        let name = instance_name(name);
        let daemon = ServiceDaemon::new()?;
        let properties: [(&str, &str); 0] = [];
        let info = ServiceInfo::new(SERVICE, &name, &host_name(&name), "", http_port, &properties[..])?
            .enable_addr_auto();
        let full_name = info.get_fullname().to_owned();
        daemon.register(info)?;
        tracing::info!(%name, port = http_port, "announced in the local network");
        Ok(Self { daemon, name, full_name })
    }

    /// The name that clients see first.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        if let Ok(done) = self.daemon.unregister(&self.full_name) {
            // Whether the farewell went out or not, the announcement expires by itself.
            let _ = done.recv_timeout(FAREWELL);
        }
        if let Ok(done) = self.daemon.shutdown() {
            let _ = done.recv_timeout(FAREWELL);
        }
    }
}

/// The SRV target. Not the machine's own name: its mDNS daemon, if it runs one, would defend that against us.
fn host_name(instance: &str) -> String {
    const SUFFIX: &str = "-lumen";
    let kept = &instance[..instance.len().min(LABEL - SUFFIX.len())];
    format!("{kept}{SUFFIX}.local.")
}

/// A name that every client's mDNS library takes: letters, digits and hyphens, at most 63 bytes. One with an underscore
/// is never found by the Qt client.
pub fn instance_name(name: &str) -> String {
    let mut cleaned = String::with_capacity(LABEL);
    for character in name.chars() {
        match character {
            c if c.is_ascii_alphanumeric() => cleaned.push(c),
            _ if cleaned.is_empty() || cleaned.ends_with('-') => {}
            _ => cleaned.push('-'),
        }
        if cleaned.len() == LABEL {
            break;
        }
    }
    let cleaned = cleaned.trim_end_matches('-');
    if cleaned.is_empty() { "Lumen".to_owned() } else { cleaned.to_owned() }
}

#[cfg(test)]
mod tests;
