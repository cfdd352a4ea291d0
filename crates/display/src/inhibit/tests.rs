//! Against small services of our own on a real bus: a lab without a desktop shell has nobody who would idle.

use super::*;
use crate::SessionEnvironment;
use lumen_lab::{Session, SessionOptions, patient, wait_for};
use std::sync::{Arc, Mutex};
use zbus::blocking::{self, connection::Builder};

/// What the services were told, in order.
type Told = Arc<Mutex<Vec<String>>>;

struct ScreenSaver(Told);

#[zbus::interface(name = "org.freedesktop.ScreenSaver")]
impl ScreenSaver {
    fn inhibit(&self, who: &str, why: &str) -> u32 {
        self.0.lock().unwrap().push(format!("screen saver: {who}, {}", !why.is_empty()));
        7
    }

    fn un_inhibit(&self, cookie: u32) {
        self.0.lock().unwrap().push(format!("screen saver: {cookie} taken back"));
    }
}

struct SessionManager(Told);

#[zbus::interface(name = "org.gnome.SessionManager")]
impl SessionManager {
    fn inhibit(&self, who: &str, window: u32, _why: &str, flags: u32) -> u32 {
        self.0.lock().unwrap().push(format!("session manager: {who}, {window}, {flags}"));
        8
    }

    fn uninhibit(&self, cookie: u32) {
        self.0.lock().unwrap().push(format!("session manager: {cookie} taken back"));
    }
}

struct PortalInhibit(Told);

#[zbus::interface(name = "org.freedesktop.portal.Inhibit")]
impl PortalInhibit {
    fn inhibit(&self, _window: &str, flags: u32, _options: HashMap<String, Value<'_>>) -> OwnedObjectPath {
        self.0.lock().unwrap().push(format!("portal: {flags}"));
        OwnedObjectPath::try_from("/request").unwrap()
    }
}

struct Request(Told);

#[zbus::interface(name = "org.freedesktop.portal.Request")]
impl Request {
    fn close(&self) {
        self.0.lock().unwrap().push("portal: closed".into());
    }
}

/// Gives out the writing end of a pipe whose reading end it keeps, as logind does; refuses to block sleep.
struct Logind(Told, Mutex<Vec<OwnedFd>>);

#[zbus::interface(name = "org.freedesktop.login1.Manager")]
impl Logind {
    fn inhibit(
        &self,
        what: &str,
        _who: &str,
        _why: &str,
        mode: &str,
    ) -> zbus::fdo::Result<zvariant::OwnedFd> {
        self.0.lock().unwrap().push(format!("logind: {what}, {mode}"));
        if what.contains("sleep") {
            return Err(zbus::fdo::Error::AccessDenied("not for you".into()));
        }
        let (read, write) = rustix::pipe::pipe().unwrap();
        self.1.lock().unwrap().push(read);
        Ok(write.into())
    }
}

/// Owns `name` on the session bus, with what `serve` puts there.
fn serve(
    session: &Session,
    name: &'static str,
    serve: impl FnOnce(Builder<'static>) -> zbus::Result<Builder<'static>>,
) -> blocking::Connection {
    let address = session.bus_address().to_owned();
    let builder = Builder::address(address.as_str()).and_then(|builder| builder.name(name));
    builder.and_then(serve).and_then(Builder::build).unwrap()
}

fn config(session: &Session) -> DisplayConfig {
    let environment =
        SessionEnvironment { runtime_dir: session.runtime_dir().into(), variables: session.env() };
    DisplayConfig { session: environment, ..DisplayConfig::new(session.runtime_dir()) }
}

fn held(inhibition: &Inhibition) -> Vec<&'static str> {
    wait_for("answers of all services", patient(LIMIT * 5), || inhibition.held()).unwrap()
}

fn session(name: &str) -> Option<Session> {
    if !lumen_lab::available("dbus-daemon") {
        lumen_lab::left_out(name, "dbus-daemon is not installed");
        return None;
    }
    Some(Session::start_with(name, SessionOptions { pipewire: false, system_bus: true }).unwrap())
}

fn told_of(told: &Told, lines: &[&str]) {
    wait_for("the services to be told", patient(LIMIT * 2), || {
        (told.lock().unwrap().len() >= lines.len()).then_some(())
    })
    .unwrap_or_else(|cause| panic!("{cause}: {:?}", told.lock().unwrap()));
    assert_eq!(*told.lock().unwrap(), lines);
}

#[test]
fn services_are_told_once_and_again_at_the_end() {
    let Some(session) = session("inhibit") else { return };
    let told = Told::default();
    let _saver = serve(&session, "org.freedesktop.ScreenSaver", |at| {
        at.serve_at("/org/freedesktop/ScreenSaver", ScreenSaver(told.clone()))
    });
    let _manager = serve(&session, "org.gnome.SessionManager", |at| {
        at.serve_at("/org/gnome/SessionManager", SessionManager(told.clone()))
    });
    let inhibition = inhibit(&config(&session));
    assert_eq!(held(&inhibition), ["org.freedesktop.ScreenSaver", "org.gnome.SessionManager"]);
    let asked = ["screen saver: Lumen, true", "session manager: Lumen, 0, 12"];
    told_of(&told, &asked);
    drop(inhibition);
    let [saver, manager] = asked;
    told_of(&told, &[saver, manager, "screen saver: 7 taken back", "session manager: 8 taken back"]);
}

#[test]
fn the_portal_is_the_last_way() {
    let Some(session) = session("inhibit-portal") else { return };
    let told = Told::default();
    let _portal = serve(&session, "org.freedesktop.portal.Desktop", |at| {
        at.serve_at("/org/freedesktop/portal/desktop", PortalInhibit(told.clone()))?
            .serve_at("/request", Request(told.clone()))
    });
    let inhibition = inhibit(&config(&session));
    assert_eq!(held(&inhibition), ["org.freedesktop.portal.Desktop"]);
    drop(inhibition);
    told_of(&told, &["portal: 12", "portal: closed"]);
}

#[test]
fn logind_is_asked_for_less_when_it_refuses() {
    let Some(session) = session("inhibit-logind") else { return };
    let told = Told::default();
    let address = session.env()["DBUS_SYSTEM_BUS_ADDRESS"].clone();
    let system = Builder::address(address.as_str())
        .and_then(|builder| builder.name("org.freedesktop.login1"))
        .and_then(|builder| {
            builder.serve_at("/org/freedesktop/login1", Logind(told.clone(), Mutex::default()))
        })
        .and_then(Builder::build)
        .unwrap();
    let inhibition = inhibit(&config(&session));
    assert_eq!(held(&inhibition), ["org.freedesktop.login1"]);
    assert_eq!(*told.lock().unwrap(), ["logind: idle:sleep, block", "logind: idle, block"]);
    let logind = system.object_server().interface::<_, Logind>("/org/freedesktop/login1").unwrap();
    let read = logind.get().1.lock().unwrap().pop().unwrap();
    rustix::io::ioctl_fionbio(&read, true).unwrap();
    let ended = |read: &OwnedFd| rustix::io::read(read, &mut [0_u8]).is_ok_and(|count| count == 0);
    assert!(!ended(&read));
    drop(inhibition);
    wait_for("the end of the inhibition", patient(LIMIT), || ended(&read).then_some(())).unwrap();
}

#[test]
fn an_empty_bus_and_no_bus_cost_nothing() {
    let Some(session) = session("inhibit-nothing") else { return };
    assert!(held(&inhibit(&config(&session))).is_empty());
    let mut nowhere = config(&session);
    for name in ["DBUS_SESSION_BUS_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS"] {
        nowhere.session.variables.insert(name.into(), "unix:path=/nonexistent".into());
    }
    assert!(held(&inhibit(&nowhere)).is_empty());
}

#[test]
fn kwin_itself_takes_and_gives_back_an_inhibition() {
    let Some(session) = lumen_lab::session_for("inhibit-kwin", &["kwin_wayland"]) else { return };
    // With its lock screen, which the lab's own way to start it leaves out: that is who answers.
    let mut kwin = session.command("kwin_wayland");
    kwin.args(["--virtual", "--width", "320", "--height", "180", "--socket", "wayland-0"]);
    let kwin = session.spawn("kwin_wayland", kwin).unwrap();
    session.wait_for_name("org.freedesktop.ScreenSaver", &kwin, Duration::from_secs(15)).unwrap();
    let inhibition = inhibit(&config(&session));
    assert_eq!(held(&inhibition), ["org.freedesktop.ScreenSaver"]);
}
