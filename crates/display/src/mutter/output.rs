//! One virtual monitor, from the request to its end.

use super::display_config::{self, Head, until};
use super::peer::{DESKTOP, Peer};
use super::session::{self, Offer, Session};
use super::topology::{Desk, desk_of};
use super::{CREATE_LIMIT, NAME, find, input, mend, surroundings};
use crate::{DisplayConfig, bus, pulse, undo};
use lumen_media::{
    AppLaunch, DisplayError, Mode, NodeTarget, OutputSource, PathReport, PipeWireTarget, RateRequest,
    VirtualOutput, clock,
};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use zbus::MessageStream;
use zbus::export::ordered_stream::OrderedStreamExt;

/// How long a monitor with `modes` may take to come after its node; without `modes` it comes later.
const MONITOR_LIMIT: Duration = Duration::from_millis(1200);
/// The whole of removing an output and restoring the layout.
const REMOVE_LIMIT: Duration = Duration::from_secs(5);
/// What is left of [`CREATE_LIMIT`] for the last steps.
const SPARE: Duration = Duration::from_millis(200);
/// The first GNOME that takes `modes`.
const KNOWS_MODES: u32 = 47;

/// Makes an output at `mode`, for `launch`.
///
/// # Errors
/// Whatever is in the way. The connection is closed then, and with it goes what Mutter had made.
pub(super) async fn make(
    config: &DisplayConfig,
    mode: Mode,
    launch: &AppLaunch,
) -> Result<VirtualOutput, DisplayError> {
    let started = clock::now();
    let peer = find(config).await?;
    let version = peer.shell_version().await;
    let desk = desk_of(&peer.instance());
    let mut held = desk.lock().await;
    let mut changes = display_config::changes(&peer).await?;
    let before = display_config::state(&peer).await?;
    // Before anything is changed: whoever is locked refuses here.
    let remote = session::create(&peer).await?;
    held.remember(&config.state_dir, peer.instance(), &before);

    let offer = offer_to(version.as_deref());
    let (session, closed) = Session::start(&peer, remote, mode, offer).await?;
    let session = Arc::new(session);
    let head = match offer {
        Offer::Modes => monitor_of(&peer, &mut changes, &held, &before.connectors(), mode).await?,
        Offer::Negotiation => None,
    };
    let env = surroundings::env(&peer, &config.session).await;

    // From here on nothing fails any more.
    if !launch.command.is_empty() {
        let peer = peer.clone();
        bus::spawn(async move { peer.leave_overview().await });
    }
    let id = held.add(head.as_ref().map(|head| head.connector.clone()), config.topology);
    let mut reason = String::new();
    if let Some(head) = &head {
        let settled = held.settle(&peer, &mut changes, Some((&session, &head.connector)));
        // It must not be what the whole runs out of time in: the output is there, and nobody would take it out.
        let left = CREATE_LIMIT.saturating_sub(clock::now().since(started) + SPARE);
        let settled = tokio::time::timeout(left, settled).await.unwrap_or_else(|_| {
            let waited_for = "the place of the virtual monitor".to_owned();
            Err(DisplayError::Timeout { backend: DESKTOP, waited_for, limit: left })
        });
        if let Err(error) = settled {
            tracing::warn!(%error, "the virtual monitor stays where GNOME put it");
            reason = format!("display.topology is not followed: {error}");
        }
    } else {
        reason =
            "this GNOME takes the mode from PipeWire, and shows the monitor with its first picture".into();
    }
    let effective_mode = head.as_ref().and_then(mode_of).unwrap_or(mode);
    drop(held);
    tracing::info!(
        connector = head.as_ref().map_or("(to come)", |head| &head.connector), node = session.node,
        width = effective_mode.width(), height = effective_mode.height(),
        refresh_mhz = effective_mode.refresh_mhz(), topology = ?config.topology,
        "GNOME has a virtual monitor for the client"
    );

    let display = env.iter().find(|(name, _)| name == "WAYLAND_DISPLAY");
    let pulse = display.and_then(|(_, name)| pulse::of(&config.session.runtime_dir.join(name)));
    let node = session.node;
    let size = (effective_mode.width(), effective_mode.height());
    let input = input::sink(&peer, &session, size);
    let pending = head.is_none().then(|| Pending { id, mode, before: before.connectors() });
    let keepalive = Keepalive {
        watch: bus::spawn(watch(peer.clone(), session.clone(), desk.clone(), closed, changes, pending)),
        parts: Some(Parts { config: config.clone(), peer, session, desk, id }),
    };
    Ok(VirtualOutput {
        path: PathReport { effective: NAME.into(), reason, ..PathReport::default() },
        source: OutputSource::PipeWire(PipeWireTarget {
            remote_fd: None,
            node: NodeTarget::Id(node),
            size: Some(size),
            rate: RateRequest::UpTo(effective_mode),
            cursor_metadata: true,
        }),
        effective_mode,
        input,
        pulse,
        env,
        set_mode: None,
        lasting: false,
        contained_app: None,
        keepalive: Box::new(keepalive),
    })
}

/// How this version of GNOME Shell wants to be told the mode. Mutter without a shell is taken for a new one.
fn offer_to(version: Option<&str>) -> Offer {
    let major = version.and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    if major.is_some_and(|major| major < KNOWS_MODES) { Offer::Negotiation } else { Offer::Modes }
}

/// The monitor that came with the session; `None` when it does not come before somebody reads the node.
async fn monitor_of(
    peer: &Peer,
    changes: &mut MessageStream,
    desk: &Desk,
    before: &[String],
    mode: Mode,
) -> Result<Option<Head>, DisplayError> {
    let what = ("the virtual monitor", MONITOR_LIMIT);
    match until(peer, changes, what, |state| desk.newcomer(before, mode, state)).await {
        Ok(head) => Ok(Some(head)),
        Err(DisplayError::Timeout { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The mode that a monitor has.
pub(super) fn mode_of(head: &Head) -> Option<Mode> {
    let width = u32::try_from(head.mode.width).ok()?;
    let height = u32::try_from(head.mode.height).ok()?;
    Mode::new(width, height, (head.mode.refresh * 1000.0).round() as u32).ok()
}

/// An output whose monitor is yet to come.
struct Pending {
    id: u64,
    mode: Mode,
    before: Vec<String>,
}

/// Puts a late monitor to its place, then waits for the end of the session to tell of it.
async fn watch(
    peer: Peer,
    session: Arc<Session>,
    desk: Arc<Mutex<Desk>>,
    mut closed: MessageStream,
    mut changes: MessageStream,
    pending: Option<Pending>,
) {
    let arrived = async {
        if let Some(pending) = pending {
            arrival(&peer, &session, &desk, &mut changes, &pending).await;
        }
        // Nothing is to be done at later changes.
        drop(changes);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = closed.next() => tracing::warn!(
            node = session.node, "GNOME ended the session of the virtual monitor: it was locked, or left"
        ),
        () = arrived => {}
    }
}

async fn arrival(
    peer: &Peer,
    session: &Session,
    desk: &Mutex<Desk>,
    changes: &mut MessageStream,
    pending: &Pending,
) {
    while let Some(Ok(_)) = changes.next().await {
        let mut held = desk.lock().await;
        let Ok(now) = display_config::state(peer).await else { return };
        let Some(head) = held.newcomer(&pending.before, pending.mode, &now) else { continue };
        held.arrived(pending.id, head.connector.clone());
        tracing::info!(connector = head.connector, mode = head.mode.id, "the virtual monitor has come");
        if let Err(error) = held.settle(peer, changes, Some((session, &head.connector))).await {
            tracing::warn!(%error, "the virtual monitor stays where GNOME put it");
        }
        return;
    }
}

/// What an output holds on to. The session is also the way for input (`ConnectToEIS`).
struct Parts {
    config: DisplayConfig,
    peer: Peer,
    session: Arc<Session>,
    desk: Arc<Mutex<Desk>>,
    id: u64,
}

/// Removes the monitor and restores the layout when dropped.
struct Keepalive {
    watch: AbortHandle,
    parts: Option<Parts>,
}

impl Drop for Keepalive {
    fn drop(&mut self) {
        self.watch.abort();
        let Some(parts) = self.parts.take() else { return };
        let (done, wait) = mpsc::sync_channel(1);
        // Not waited for by the runtime's own means: whoever drops an output may be inside of another runtime.
        bus::spawn(async move {
            remove(parts).await;
            let _ = done.send(());
        });
        if wait.recv_timeout(REMOVE_LIMIT + Duration::from_secs(1)).is_err() {
            tracing::warn!("{DESKTOP} takes long to remove the virtual monitor");
        }
    }
}

async fn remove(parts: Parts) {
    let Parts { config, peer, session, desk, id } = parts;
    let removed = async {
        let mut held = desk.lock().await;
        if let Err(error) = session.stop(&peer).await {
            tracing::debug!(%error, "the session of the virtual monitor had already ended");
        }
        match display_config::changes(&peer).await {
            Ok(mut changes) => held.release(id, &peer, &mut changes).await,
            Err(DisplayError::Gone { .. }) => {
                held.forget(id);
                held.lost();
                Ok(())
            }
            Err(error) => {
                held.forget(id);
                Err(error)
            }
        }
    };
    let mended = match tokio::time::timeout(REMOVE_LIMIT, removed).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the layout of the monitors is not as before; it is restored when {DESKTOP} answers");
            false
        }
        Err(_) => {
            tracing::warn!(
                "{DESKTOP} does not answer; its monitor goes with our connection, and the layout is restored when it does"
            );
            desk.lock().await.forget(id);
            false
        }
    };
    peer.close().await;
    if !mended {
        bus::spawn(mend_later(config));
    }
}

/// Tries again and again to restore the layout, until Mutter answers or is gone, or the host ends: its next start finds the
/// journal.
async fn mend_later(config: DisplayConfig) {
    for _ in 0..undo::RETRIES {
        tokio::time::sleep(undo::RETRY).await;
        match tokio::time::timeout(REMOVE_LIMIT, mend(config.clone())).await {
            Ok(Ok(())) => return,
            Ok(Err(error @ DisplayError::Absent { .. })) => {
                return tracing::debug!(%error, "the layout went with its desktop");
            }
            Ok(Err(error)) => tracing::debug!(%error, "the layout of the monitors is still not as before"),
            Err(_) => tracing::debug!("{DESKTOP} still does not answer"),
        }
    }
    tracing::warn!("the layout of the monitors stays as it is until the next start");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_before_47_get_their_mode_by_negotiation() {
        assert_eq!(offer_to(Some("46.10")), Offer::Negotiation);
        assert_eq!(offer_to(Some("47.0")), Offer::Modes);
        assert_eq!(offer_to(Some("50.5")), Offer::Modes);
        assert_eq!(offer_to(Some("48.beta")), Offer::Modes);
        assert_eq!(offer_to(Some("odd")), Offer::Modes);
        assert_eq!(offer_to(None), Offer::Modes);
    }
}
