//! Mutter's monitors and their layout, as `org.gnome.Mutter.DisplayConfig` tells and takes them.

use super::peer::{Address, Peer, read, within};
use lumen_media::DisplayError;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::Duration;
use zbus::MessageStream;
use zbus::export::ordered_stream::OrderedStreamExt;
use zbus::zvariant::{OwnedValue, Value};

const DISPLAY_CONFIG: Address<'_> =
    Address { path: "/org/gnome/Mutter/DisplayConfig", interface: "org.gnome.Mutter.DisplayConfig" };

/// The only way that we ever apply a layout: not written to the user's monitors.xml, no question asked on the screen.
const TEMPORARY: u32 = 1;

/// `layout-mode` where positions and sizes are in physical pixels.
const PHYSICAL: u32 = 2;

/// How long after a change the monitors are looked at again when no signal came.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

type Properties = HashMap<String, OwnedValue>;
type RawMode = (String, i32, i32, f64, f64, Vec<f64>, Properties);
type RawName = (String, String, String, String);
type RawMonitor = (RawName, Vec<RawMode>, Properties);
type RawPlaced = (i32, i32, f64, u32, bool, Vec<RawName>, Properties);
type RawState = (u32, Vec<RawMonitor>, Vec<RawPlaced>, Properties);

/// A mode that a monitor has. Serialised for the journal, as all of a layout is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct MonitorMode {
    /// Mutter's name of it, such as `1264x720@120.000`.
    pub id: String,
    /// Pixels.
    pub width: i32,
    /// Pixels.
    pub height: i32,
    /// Hertz.
    pub refresh: f64,
}

/// What of a monitor's settings has to be said again whenever a layout is applied, or is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    underscanning: Option<bool>,
    colour_mode: Option<u32>,
    rgb_range: Option<u32>,
}

/// A monitor, on or off.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Monitor {
    pub connector: String,
    /// The current one; `None` when the monitor is off.
    pub mode: Option<MonitorMode>,
    settings: Settings,
}

/// A monitor that shows something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Head {
    pub connector: String,
    pub mode: MonitorMode,
    pub settings: Settings,
}

/// A place in the layout and the monitors that show it (several when they mirror each other).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Placed {
    pub x: i32,
    pub y: i32,
    pub scale: f64,
    /// As `wl_output.transform`.
    pub transform: u32,
    pub primary: bool,
    pub heads: Vec<Head>,
}

/// What is shown where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Layout {
    pub placed: Vec<Placed>,
    /// Positions and sizes are in physical pixels, whatever the scale.
    pub physical: bool,
}

/// Everything that Mutter tells of its monitors at one time.
#[derive(Clone, Debug)]
pub(super) struct State {
    serial: u32,
    states_layout_mode: bool,
    pub monitors: Vec<Monitor>,
    pub layout: Layout,
}

impl Placed {
    /// Width and height in the layout.
    pub fn size(&self, physical: bool) -> (i32, i32) {
        let Some(head) = self.heads.first() else { return (0, 0) };
        let (width, height) = (head.mode.width, head.mode.height);
        let (width, height) = if self.transform % 2 == 1 { (height, width) } else { (width, height) };
        let scale = if physical { 1.0 } else { self.scale };
        let scaled = |pixels: i32| (f64::from(pixels) / scale).round() as i32;
        (scaled(width), scaled(height))
    }

    pub fn shows(&self, connector: &str) -> bool {
        self.heads.iter().any(|head| head.connector == connector)
    }
}

impl Layout {
    /// Whether both put the same monitors in the same modes at the same places.
    pub fn same_as(&self, other: &Self) -> bool {
        let same = |one: &Placed, two: &Placed| {
            let heads = |placed: &Placed| {
                let mut heads: Vec<_> =
                    placed.heads.iter().map(|head| (head.connector.clone(), head.mode.id.clone())).collect();
                heads.sort();
                heads
            };
            (one.x, one.y, one.transform, one.primary) == (two.x, two.y, two.transform, two.primary)
                && (one.scale - two.scale).abs() < 0.005
                && heads(one) == heads(two)
        };
        self.placed.len() == other.placed.len()
            && self.placed.iter().all(|one| other.placed.iter().any(|two| same(one, two)))
    }
}

impl State {
    /// Whether there is such a monitor, on or off.
    pub fn has(&self, connector: &str) -> bool {
        self.monitors.iter().any(|monitor| monitor.connector == connector)
    }

    /// The connectors of all monitors, sorted.
    pub fn connectors(&self) -> Vec<String> {
        let mut names: Vec<_> = self.monitors.iter().map(|monitor| monitor.connector.clone()).collect();
        names.sort();
        names
    }

    fn from_raw((serial, monitors, placed, properties): RawState) -> Self {
        let monitors: Vec<_> = monitors.into_iter().map(Monitor::from_raw).collect();
        let physical = number(&properties, "layout-mode") == Some(PHYSICAL);
        let placed = placed.into_iter().map(|(x, y, scale, transform, primary, names, _)| {
            let shown = |name: &RawName| {
                let monitor = monitors.iter().find(|monitor| monitor.connector == name.0)?;
                let mode = monitor.mode.clone()?;
                Some(Head { connector: name.0.clone(), mode, settings: monitor.settings.clone() })
            };
            Placed { x, y, scale, transform, primary, heads: names.iter().filter_map(shown).collect() }
        });
        let layout = Layout { placed: placed.collect(), physical };
        let states_layout_mode = truth(&properties, "supports-changing-layout-mode") == Some(true);
        Self { serial, states_layout_mode, monitors, layout }
    }
}

impl Monitor {
    fn from_raw((name, modes, properties): RawMonitor) -> Self {
        let current = modes.into_iter().find(|mode| truth(&mode.6, "is-current") == Some(true));
        let mode = current.map(|(id, width, height, refresh, ..)| MonitorMode { id, width, height, refresh });
        let settings = Settings {
            underscanning: truth(&properties, "is-underscanning"),
            colour_mode: number(&properties, "color-mode"),
            rgb_range: number(&properties, "rgb-range"),
        };
        Self { connector: name.0, mode, settings }
    }

    /// The monitor as it would stand in a layout; `None` when it is off.
    pub fn head(&self) -> Option<Head> {
        let mode = self.mode.clone()?;
        Some(Head { connector: self.connector.clone(), mode, settings: self.settings.clone() })
    }
}

fn truth(properties: &Properties, name: &str) -> Option<bool> {
    properties.get(name).and_then(|value| bool::try_from(value).ok())
}

fn number(properties: &Properties, name: &str) -> Option<u32> {
    properties.get(name).and_then(|value| u32::try_from(value).ok())
}

/// Signals when monitors or their layout change, from now on.
pub(super) async fn changes(peer: &Peer) -> Result<MessageStream, DisplayError> {
    peer.signals(DISPLAY_CONFIG, "MonitorsChanged").await
}

/// The monitors as they are now.
pub(super) async fn state(peer: &Peer) -> Result<State, DisplayError> {
    let answer = peer.call(DISPLAY_CONFIG, "GetCurrentState", &()).await?;
    Ok(State::from_raw(read::<RawState>(&answer)?))
}

/// Waits until `wanted` finds what it looks for, looking again at each change.
///
/// # Errors
/// [`DisplayError::Timeout`], naming `waited_for`, after `limit`.
pub(super) async fn until<T>(
    peer: &Peer,
    changes: &mut MessageStream,
    (waited_for, limit): (&str, Duration),
    mut wanted: impl FnMut(&State) -> Option<T>,
) -> Result<T, DisplayError> {
    let found = async {
        loop {
            if let Some(found) = wanted(&state(peer).await?) {
                return Ok(found);
            }
            let _ = tokio::time::timeout(LOOK_AGAIN, changes.next()).await;
        }
    };
    within(waited_for, limit, found).await
}

/// Makes `layout` the current one, for as long as the monitors stay the same, and waits until Mutter tells so. Does
/// nothing when it is already.
///
/// # Errors
/// What Mutter says against it; [`DisplayError::Timeout`] when it says nothing.
pub(super) async fn apply(
    peer: &Peer,
    changes: &mut MessageStream,
    layout: &Layout,
) -> Result<(), DisplayError> {
    const TRIES: u32 = 3;
    const LIMIT: Duration = Duration::from_secs(2);
    let mut now = state(peer).await?;
    for tried in 1.. {
        if now.layout.same_as(layout) {
            return Ok(());
        }
        let Err(error) = ask_for(peer, &now, layout).await else { break };
        // A monitor that came or went in between makes the request stale, which reads like any other refusal.
        let before = now.serial;
        now = state(peer).await?;
        if tried == TRIES || now.serial == before {
            return Err(error);
        }
    }
    let settled = until(peer, changes, ("the new layout of the monitors", LIMIT), |state| {
        state.layout.same_as(layout).then_some(())
    });
    settled.await
}

async fn ask_for(peer: &Peer, now: &State, layout: &Layout) -> Result<(), DisplayError> {
    let placed: Vec<_> = layout.placed.iter().map(to_raw).collect();
    let mut properties = HashMap::new();
    if now.states_layout_mode {
        properties.insert("layout-mode", Value::from(if layout.physical { PHYSICAL } else { 1 }));
    }
    peer.call(DISPLAY_CONFIG, "ApplyMonitorsConfig", &(now.serial, TEMPORARY, placed, properties)).await?;
    Ok(())
}

type AskedHead<'a> = (&'a str, &'a str, HashMap<&'a str, Value<'a>>);

fn to_raw(placed: &Placed) -> (i32, i32, f64, u32, bool, Vec<AskedHead<'_>>) {
    let heads = placed.heads.iter().map(|head| {
        let mut properties = HashMap::new();
        let Settings { underscanning, colour_mode, rgb_range } = head.settings;
        properties.extend(underscanning.map(|on| ("underscanning", Value::from(on))));
        properties.extend(colour_mode.map(|mode| ("color-mode", Value::from(mode))));
        properties.extend(rgb_range.map(|range| ("rgb-range", Value::from(range))));
        (head.connector.as_str(), head.mode.id.as_str(), properties)
    });
    (placed.x, placed.y, placed.scale, placed.transform, placed.primary, heads.collect())
}
