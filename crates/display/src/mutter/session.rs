//! A RemoteDesktop session of Mutter's with a virtual monitor in it: picture now, input through the same session.

use super::arrangement::Motion;
use super::peer::{Address, DESKTOP, Peer, read, value, within};
use lumen_media::{DisplayError, Mode};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::Duration;
use zbus::MessageStream;
use zbus::export::ordered_stream::OrderedStreamExt;
use zbus::zvariant::{OwnedObjectPath, OwnedValue, Value};

const SCREEN_CAST: Address<'_> =
    Address { path: "/org/gnome/Mutter/ScreenCast", interface: "org.gnome.Mutter.ScreenCast" };
pub(super) const REMOTE_DESKTOP: Address<'_> =
    Address { path: "/org/gnome/Mutter/RemoteDesktop", interface: "org.gnome.Mutter.RemoteDesktop" };
const SCREEN_CAST_SESSION: &str = "org.gnome.Mutter.ScreenCast.Session";
const REMOTE_DESKTOP_SESSION: &str = "org.gnome.Mutter.RemoteDesktop.Session";
const STREAM: &str = "org.gnome.Mutter.ScreenCast.Stream";

/// The pointer is not painted but told of in each buffer: a painted one is missing on virtual monitors as soon as a
/// graphics card draws the pointer of another monitor by itself.
const CURSOR_AS_METADATA: u32 = 2;

/// Mutter answers `Start` at once and makes the node within some tens of milliseconds; slow machines need longer.
const NODE_LIMIT: Duration = Duration::from_secs(3);

/// How a virtual monitor gets its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// By `modes`, since Mutter 47: the monitor is there at once.
    Modes,
    /// By the size and rate that PipeWire negotiates: the monitor comes with the first reader.
    Negotiation,
}

/// A running session. Mutter ends it when it is told to or when the connection closes, and its monitor with it.
#[derive(Debug)]
pub(super) struct Session {
    /// Object of the RemoteDesktop session, where input goes to.
    remote: OwnedObjectPath,
    /// PipeWire node of the monitor's pictures, on the default daemon.
    pub node: u32,
    /// The id by which libei names the region of this monitor.
    pub mapping_id: Option<String>,
}

impl Session {
    /// Makes a virtual monitor at `mode` in the session `remote`, and starts that. With it comes the signal of its end.
    ///
    /// # Errors
    /// Whatever Mutter answers.
    pub async fn start(
        peer: &Peer,
        remote: OwnedObjectPath,
        mode: Mode,
        offer: Offer,
    ) -> Result<(Self, MessageStream), DisplayError> {
        let remote_session = Address { path: remote.as_str(), interface: REMOTE_DESKTOP_SESSION };
        let closed = peer.signals(remote_session, "Closed").await?;
        let id: String = text(peer.property(remote_session, "SessionId").await?)?;

        let options = HashMap::from([("remote-desktop-session-id", value(id))]);
        let cast: OwnedObjectPath = read(&peer.call(SCREEN_CAST, "CreateSession", &(options,)).await?)?;
        let cast_session = Address { path: cast.as_str(), interface: SCREEN_CAST_SESSION };
        let recorded = peer.call(cast_session, "RecordVirtual", &(monitor(mode, offer),)).await;
        let stream: OwnedObjectPath = read(&recorded.map_err(unsupported)?)?;
        let stream = Address { path: stream.as_str(), interface: STREAM };

        // Before the start: the signal comes once.
        let mut added = peer.signals(stream, "PipeWireStreamAdded").await?;
        peer.call(remote_session, "Start", &()).await?;
        let node = async {
            match added.next().await {
                Some(Ok(signal)) => read::<u32>(&signal),
                _ => Err(DisplayError::Gone {
                    backend: DESKTOP,
                    cause: "it left before the virtual monitor was there".into(),
                }),
            }
        };
        let node = within("the PipeWire node of the virtual monitor", NODE_LIMIT, node).await?;
        let parameters = peer.property(stream, "Parameters").await;
        let mapping_id = parameters.as_ref().ok().and_then(mapping_id);
        tracing::debug!(
            node, session = %remote, stream = stream.path, ?parameters, "the virtual monitor's session has started"
        );
        Ok((Self { remote, node, mapping_id }, closed))
    }

    /// Moves the pointer by each of `motions` in turn.
    pub async fn move_pointer(&self, peer: &Peer, motions: &[Motion]) -> Result<(), DisplayError> {
        for motion in motions {
            peer.call(self.address(), "NotifyPointerMotionRelative", motion).await?;
        }
        Ok(())
    }

    /// A socket of libei for this session's devices. The session takes its input there from then on.
    ///
    /// # Errors
    /// Whatever Mutter answers; before GNOME 45 it does not know the method.
    pub async fn connect_input(&self, peer: &Peer) -> Result<OwnedFd, DisplayError> {
        let options: HashMap<&str, Value<'_>> = HashMap::new();
        let answer = peer.call(self.address(), "ConnectToEIS", &(options,)).await?;
        let fd: zbus::zvariant::OwnedFd = read(&answer)?;
        Ok(fd.into())
    }

    /// Ends the session.
    pub async fn stop(&self, peer: &Peer) -> Result<(), DisplayError> {
        peer.call(self.address(), "Stop", &()).await.map(|_| ())
    }

    /// The RemoteDesktop session on the bus.
    pub fn address(&self) -> Address<'_> {
        Address { path: self.remote.as_str(), interface: REMOTE_DESKTOP_SESSION }
    }
}

/// Whether a session could be made now: makes one that is never started, and ends with the connection of `peer`.
pub(super) async fn probe(peer: &Peer) -> Result<(), DisplayError> {
    create(peer).await.map(|_| ())
}

/// Makes a session without a monitor yet.
///
/// # Errors
/// [`DisplayError::Locked`] while the user's session is locked, and whatever Mutter answers.
pub(super) async fn create(peer: &Peer) -> Result<OwnedObjectPath, DisplayError> {
    match peer.call(REMOTE_DESKTOP, "CreateSession", &()).await {
        Ok(created) => read(&created),
        // GNOME Shell inhibits sessions while its lock screen is up. Mutter answers that with the error that it has for
        // everything, and a text which is not translated.
        Err(DisplayError::Other(text)) if text.contains("inhibited") || peer.screen_is_locked().await => {
            Err(DisplayError::Locked { backend: DESKTOP })
        }
        Err(error) => Err(error),
    }
}

/// What `RecordVirtual` is asked for.
fn monitor(mode: Mode, offer: Offer) -> HashMap<&'static str, Value<'static>> {
    let mut asked = HashMap::from([("cursor-mode", value(CURSOR_AS_METADATA))]);
    if offer == Offer::Modes {
        let mode = HashMap::from([
            ("size", value((mode.width(), mode.height()))),
            ("refresh-rate", value(f64::from(mode.refresh_mhz()) / 1000.0)),
            ("is-preferred", value(true)),
            // Since 48; older ones do not look at it. Without it large modes are scaled.
            ("preferred-scale", value(1.0)),
        ]);
        asked.insert("modes", value(vec![mode]));
    }
    asked
}

/// The mapping id among a stream's parameters.
fn mapping_id(parameters: &OwnedValue) -> Option<String> {
    let all = HashMap::<String, OwnedValue>::try_from(parameters.try_clone().ok()?).ok()?;
    String::try_from(all.get("mapping-id")?.try_clone().ok()?).ok()
}

fn unsupported(error: DisplayError) -> DisplayError {
    let DisplayError::Other(cause) = error else { return error };
    DisplayError::Unsupported {
        backend: DESKTOP,
        cause,
        remedy: "Virtual monitors need GNOME 42 or newer on Wayland; or set display.source to `portal`"
            .into(),
    }
}

fn text(value: OwnedValue) -> Result<String, DisplayError> {
    String::try_from(value)
        .map_err(|error| DisplayError::Other(format!("{DESKTOP} named its session oddly: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_asked_for_exactly_and_left_out_for_old_versions() {
        let mode = Mode::new(1264, 720, 59_940).expect("a mode");
        let asked = monitor(mode, Offer::Modes);
        let modes = format!("{:?}", asked["modes"]);
        assert!(modes.contains("59.94") && modes.contains("1264") && modes.contains("720"), "{modes}");
        assert_eq!(asked["modes"].value_signature().to_string(), "aa{sv}");
        assert!(!monitor(mode, Offer::Negotiation).contains_key("modes"));
    }
}
