//! Mutter as a backend: a virtual monitor in a RemoteDesktop session, asked for on the session bus, without a question to
//! the user. What Mutter made for us ends with our connection to the bus, so a host that is killed leaves no monitor,
//! only the layout; that is in the journal.

mod arrangement;
mod display_config;
mod input;
mod output;
mod peer;
mod session;
mod surroundings;
mod topology;

use crate::backend::{Backend, Finding, State};
use crate::{DisplayConfig, DisplayKind, bus, journal};
use lumen_media::{AppLaunch, DisplayError, Mode, VirtualDisplay, VirtualOutput};
use peer::{DESKTOP, Peer};
use std::time::Duration;
use topology::{Baseline, JOURNAL, desk_of};

pub(crate) const BACKEND: Backend = Backend { kind: DisplayKind::Mutter, look, open, clean_up };

const NAME: &str = "mutter";

/// A look is for people and for the chooser, who ask several desktops.
const LOOK_LIMIT: Duration = Duration::from_millis(1800);
/// The whole of making an output.
const CREATE_LIMIT: Duration = Duration::from_millis(4800);
/// The whole of restoring what a killed host left.
const MEND_LIMIT: Duration = Duration::from_secs(5);

fn look(config: &DisplayConfig) -> Finding {
    let (state, version) = match bus::wait(DESKTOP, "a look at the session bus", LOOK_LIMIT, examine(config))
    {
        Ok(found) => found,
        Err(DisplayError::Absent { .. }) => return Finding::absent(DisplayKind::Mutter),
        Err(error) => (obstructed(&error), String::new()),
    };
    Finding { kind: DisplayKind::Mutter, state, version }
}

async fn examine(config: &DisplayConfig) -> Result<(State, String), DisplayError> {
    let peer = find(config).await?;
    let version = match peer.shell_version().await {
        Some(version) => format!("GNOME Shell {version}"),
        None => "Mutter".to_owned(),
    };
    let state = if !peer.has(session::REMOTE_DESKTOP.interface).await {
        State::Obstructed {
            cause: "it runs without org.gnome.Mutter.RemoteDesktop".into(),
            remedy: "Log into a Wayland session of GNOME 42 or newer".into(),
        }
    } else {
        // One that hangs stays on the bus, and one that is locked answers all but this.
        session::probe(&peer).await.map_or_else(|error| obstructed(&error), |()| State::Ready)
    };
    peer.close().await;
    Ok((state, version))
}

fn obstructed(error: &DisplayError) -> State {
    let (cause, remedy) = match error {
        DisplayError::Locked { .. } => return State::Locked,
        DisplayError::Timeout { .. } => {
            return State::Silent {
                cause: "it does not answer".to_owned(),
                remedy: "Look whether it hangs; its log may tell why".to_owned(),
            };
        }
        DisplayError::Unsupported { cause, remedy, .. } | DisplayError::Forbidden { cause, remedy, .. } => {
            (cause.clone(), remedy.clone())
        }
        other => (other.to_string(), "Log in again, or set display.compositor to another desktop".to_owned()),
    };
    State::Obstructed { cause, remedy }
}

fn open(config: &DisplayConfig) -> Result<Box<dyn VirtualDisplay>, DisplayError> {
    Ok(Box::new(Mutter { config: config.clone() }))
}

fn clean_up(config: &DisplayConfig) -> bool {
    let nothing_left = || journal::left_over::<Baseline>(&config.state_dir, JOURNAL).is_empty();
    if nothing_left() {
        return true;
    }
    let mended = bus::wait(DESKTOP, "the layout of the monitors", MEND_LIMIT, mend(config.clone()));
    match mended {
        Ok(()) | Err(DisplayError::Absent { .. }) => {}
        Err(error) => tracing::warn!(
            %error, "the layout of the monitors that an earlier run changed cannot be restored now"
        ),
    }
    nothing_left()
}

/// Restores the layout that a host which was killed, or an output that failed, left changed.
async fn mend(config: DisplayConfig) -> Result<(), DisplayError> {
    let peer = find(&config).await?;
    let desk = desk_of(&peer.instance());
    let mut desk = desk.lock().await;
    if !desk.is_empty() {
        // Outputs of this very process live; the last of them restores the layout.
        return Ok(());
    }
    desk.give_up();
    let mut changes = display_config::changes(&peer).await?;
    for (entry, baseline) in journal::left_over::<Baseline>(&config.state_dir, JOURNAL) {
        if baseline.instance == peer.instance() {
            topology::restore(&peer, &mut changes, &baseline).await?;
            tracing::info!(desktop = DESKTOP, "restored the layout of the monitors");
        }
        // That of another Mutter ended with it.
        entry.done();
    }
    peer.close().await;
    Ok(())
}

async fn find(config: &DisplayConfig) -> Result<Peer, DisplayError> {
    let Some(address) = config.session.bus_address() else {
        return Err(DisplayError::Absent {
            backend: DESKTOP,
            looked_for: "DBUS_SESSION_BUS_ADDRESS and a session bus in XDG_RUNTIME_DIR".into(),
        });
    };
    Peer::find(&address).await
}

/// Makes virtual monitors in the user's GNOME session.
struct Mutter {
    config: DisplayConfig,
}

impl VirtualDisplay for Mutter {
    fn name(&self) -> &'static str {
        NAME
    }

    fn create(&self, mode: Mode, launch: &AppLaunch) -> Result<VirtualOutput, DisplayError> {
        let made =
            bus::wait(DESKTOP, "a virtual monitor", CREATE_LIMIT, output::make(&self.config, mode, launch));
        if made.is_err() {
            // The monitor, if there was one, has gone with the connection; the layout may have changed with it.
            let config = self.config.clone();
            bus::spawn(async move {
                if let Err(error) = mend(config).await {
                    tracing::debug!(%error, "nothing to mend after an output that failed");
                }
            });
        }
        made
    }
}
