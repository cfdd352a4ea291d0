//! What KWin says about itself on the session bus, and what it can be asked to do there.

use super::link::KWIN;
use crate::{DisplayConfig, bus};
use lumen_media::DisplayError;
use std::fs;
use std::time::Duration;

const SERVICE: &str = "org.kde.KWin";
/// KWin counts the screens of its shortcuts to here.
const SCREENS: usize = 8;
/// How long KWin gets to move its focus to another screen.
const FOCUS: Duration = Duration::from_millis(300);

/// Version of KWin: major, minor, patch.
pub(crate) type Version = (u32, u32, u32);

/// What KWin says about itself. All of it may be missing: the bus is not always there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub version: Option<Version>,
    /// `gl2`, `qpainter`, `none`, …
    pub compositing: Option<String>,
    /// It runs on X11.
    pub x11: bool,
    /// Its process.
    pub pid: Option<u32>,
}

impl Facts {
    /// Asks KWin, for `limit` at most.
    pub fn ask(config: &DisplayConfig, limit: Duration) -> Self {
        let Some(address) = config.session.bus_address() else { return Self::default() };
        let asked = bus::wait(KWIN, "what KWin says about itself", limit, async {
            let connection = bus::connect(KWIN, &address).await?;
            let information: String = call(&connection, "/KWin", "supportInformation", &()).await?;
            let compositing =
                property(&connection, "/Compositor", "org.kde.kwin.Compositing", "compositingType");
            let compositing = compositing.await.ok();
            let pid = process(&connection).await.ok();
            Ok(Self { compositing, pid, ..Self::read(&information) })
        });
        asked.unwrap_or_else(|error| {
            tracing::debug!(%error, "KWin says nothing about itself");
            Self::default()
        })
    }

    /// Reads KWin's support information: lines of `name: value`.
    fn read(information: &str) -> Self {
        let value = |name: &str| {
            information
                .lines()
                .find_map(|line| line.trim().strip_prefix(name)?.trim().strip_prefix(':'))
                .map(str::trim)
        };
        let x11 = value("Operation Mode").is_some_and(|mode| mode.starts_with("X11"));
        Self { version: value("KWin version").and_then(version), x11, ..Self::default() }
    }

    /// `KWin 6.7.4`, or `KWin` when it does not say.
    pub fn title(&self) -> String {
        self.version
            .map_or_else(|| KWIN.into(), |(major, minor, patch)| format!("KWin {major}.{minor}.{patch}"))
    }

    /// The X11 display that KWin keeps for X11 programs, and its authority file: KWin's wrapper hands them over as
    /// arguments.
    pub fn x11_display(&self) -> Vec<(String, String)> {
        let line = self.pid.and_then(|pid| fs::read(format!("/proc/{pid}/cmdline")).ok()).unwrap_or_default();
        let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        x11_arguments(&words)
    }
}

fn x11_arguments(words: &[impl AsRef<str>]) -> Vec<(String, String)> {
    let wanted = [("--xwayland-display", "DISPLAY"), ("--xwayland-xauthority", "XAUTHORITY")];
    let pairs = words.iter().zip(words.iter().skip(1));
    pairs
        .filter_map(|(word, next)| {
            let (_, name) = wanted.iter().find(|(option, _)| *option == word.as_ref())?;
            Some(((*name).to_owned(), next.as_ref().to_owned()))
        })
        .collect()
}

fn version(text: &str) -> Option<Version> {
    let mut numbers = text.split('.').map(|part| {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    });
    Some((numbers.next()??, numbers.next()??, numbers.next().flatten().unwrap_or(0)))
}

fn failed(error: zbus::Error) -> DisplayError {
    DisplayError::Gone { backend: KWIN, cause: error.to_string() }
}

async fn call<T>(
    connection: &zbus::Connection,
    path: &str,
    method: &str,
    arguments: &(impl serde::Serialize + zbus::zvariant::DynamicType),
) -> Result<T, DisplayError>
where
    T: serde::de::DeserializeOwned + zbus::zvariant::Type,
{
    let reply = connection
        .call_method(Some(SERVICE), path, Some(SERVICE), method, arguments)
        .await
        .map_err(failed)?;
    reply.body().deserialize().map_err(failed)
}

async fn property(
    connection: &zbus::Connection,
    path: &str,
    interface: &str,
    name: &str,
) -> Result<String, DisplayError> {
    let properties = Some("org.freedesktop.DBus.Properties");
    let reply = connection
        .call_method(Some(SERVICE), path, properties, "Get", &(interface, name))
        .await
        .map_err(failed)?;
    let value: zbus::zvariant::OwnedValue = reply.body().deserialize().map_err(failed)?;
    String::try_from(value).map_err(|error| failed(error.into()))
}

async fn process(connection: &zbus::Connection) -> Result<u32, DisplayError> {
    let bus = "org.freedesktop.DBus";
    let reply = connection
        .call_method(Some(bus), "/org/freedesktop/DBus", Some(bus), "GetConnectionUnixProcessID", &SERVICE)
        .await
        .map_err(failed)?;
    reply.body().deserialize().map_err(failed)
}

/// Whether the session is locked.
pub(crate) fn locked(config: &DisplayConfig, limit: Duration) -> bool {
    let Some(address) = config.session.bus_address() else { return false };
    let asked = bus::wait(KWIN, "whether the session is locked", limit, async {
        let connection = bus::connect(KWIN, &address).await?;
        let name = "org.freedesktop.ScreenSaver";
        let reply = connection
            .call_method(Some(name), "/ScreenSaver", Some(name), "GetActive", &())
            .await
            .map_err(failed)?;
        reply.body().deserialize::<bool>().map_err(failed)
    });
    asked.unwrap_or(false)
}

/// Makes `output` the one where KWin opens windows; `count` is the number of outputs. KWin opens windows where its focus
/// is, whatever output is the primary one, and moves the focus by its shortcuts only. Returns whether it is there.
pub(crate) fn focus(config: &DisplayConfig, output: &str, count: usize, limit: Duration) -> bool {
    let Some(address) = config.session.bus_address() else { return false };
    let moved = bus::wait(KWIN, "the focus to move to the client's output", limit, async {
        let connection = bus::connect(KWIN, &address).await?;
        let mut active: String = call(&connection, "/KWin", "activeOutputName", &()).await?;
        // The newest output has the highest number, as a rule.
        for screen in (0..count.min(SCREENS)).rev() {
            if active == output {
                return Ok(true);
            }
            let component = Some("org.kde.kglobalaccel.Component");
            let shortcut = format!("Switch to Screen {screen}");
            connection
                .call_method(
                    Some("org.kde.kglobalaccel"),
                    "/component/kwin",
                    component,
                    "invokeShortcut",
                    &shortcut,
                )
                .await
                .map_err(failed)?;
            let before = active.clone();
            let begun = lumen_media::clock::now();
            while active == before && lumen_media::clock::now().since(begun) < FOCUS {
                tokio::time::sleep(Duration::from_millis(5)).await;
                active = call(&connection, "/KWin", "activeOutputName", &()).await?;
            }
        }
        Ok(active == output)
    });
    moved.unwrap_or_else(|error| {
        tracing::debug!(%error, output, "the focus did not move");
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn support_information_tells_version_and_session() {
        let facts = Facts::read(
            "KWin Support Information:\n\nVersion\n=======\nKWin version: 6.7.4\nQt Version: 6.11.2\n\nOperation Mode: Wayland\n",
        );
        assert_eq!(facts.version, Some((6, 7, 4)));
        assert_eq!(facts.title(), "KWin 6.7.4");
        assert!(!facts.x11);
        let facts = Facts::read("KWin version: 5.27.11-1ubuntu\nOperation Mode: X11 only\n");
        assert_eq!((facts.version, facts.x11), (Some((5, 27, 11)), true));
        assert_eq!(Facts::read("something else").title(), "KWin");
        assert_eq!(version("6.90"), Some((6, 90, 0)));
        assert_eq!(version("six"), None);
    }

    #[test]
    fn the_x11_display_is_read_from_the_arguments() {
        let words =
            ["kwin_wayland", "--xwayland-display", ":1", "--xwayland-xauthority", "/run/x", "--xwayland"];
        assert_eq!(
            x11_arguments(&words),
            [("DISPLAY".into(), ":1".into()), ("XAUTHORITY".into(), "/run/x".into())]
        );
        assert!(x11_arguments(&["kwin_wayland", "--xwayland-display"]).is_empty());
    }
}
