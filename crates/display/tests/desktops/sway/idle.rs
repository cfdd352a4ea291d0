//! Whether a compositor takes its user for idle, as a screen locker would ask it.

use super::*;
use std::os::unix::net::UnixStream;
use wayland_client::protocol::{wl_registry, wl_seat};
use wayland_client::{Connection, Dispatch, EventQueue, QueueHandle, delegate_noop};
use wayland_protocols::ext::idle_notify::v1::client::ext_idle_notification_v1::{
    Event, ExtIdleNotificationV1,
};
use wayland_protocols::ext::idle_notify::v1::client::ext_idle_notifier_v1::ExtIdleNotifierV1;

/// After so long without input a desktop is idle here.
const IDLE_MS: u32 = 300;

#[derive(Default)]
struct Locker {
    seat: Option<wl_seat::WlSeat>,
    notifier: Option<ExtIdleNotifierV1>,
    idle: bool,
}

impl Dispatch<wl_registry::WlRegistry, ()> for Locker {
    fn event(
        state: &mut Self,
        registry: &wl_registry::WlRegistry,
        event: wl_registry::Event,
        (): &(),
        _: &Connection,
        handle: &QueueHandle<Self>,
    ) {
        let wl_registry::Event::Global { name, interface, .. } = event else { return };
        match interface.as_str() {
            "wl_seat" => state.seat = Some(registry.bind(name, 1, handle, ())),
            "ext_idle_notifier_v1" => state.notifier = Some(registry.bind(name, 1, handle, ())),
            _ => {}
        }
    }
}

impl Dispatch<ExtIdleNotificationV1, ()> for Locker {
    fn event(
        state: &mut Self,
        _: &ExtIdleNotificationV1,
        event: Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            Event::Idled => state.idle = true,
            Event::Resumed => state.idle = false,
            _ => {}
        }
    }
}

delegate_noop!(Locker: ignore wl_seat::WlSeat);
delegate_noop!(Locker: ExtIdleNotifierV1);

fn locker(socket: &Path) -> (EventQueue<Locker>, Locker) {
    let connection =
        Connection::from_socket(UnixStream::connect(socket).expect("it listens")).expect("a connection");
    let mut queue = connection.new_event_queue();
    let mut locker = Locker::default();
    connection.display().get_registry(&queue.handle(), ());
    queue.roundtrip(&mut locker).expect("an answer");
    let notifier = locker.notifier.as_ref().expect("ext_idle_notifier_v1");
    let seat = locker.seat.as_ref().expect("a seat");
    notifier.get_idle_notification(IDLE_MS, seat, &queue.handle(), ());
    queue.roundtrip(&mut locker).expect("an answer");
    (queue, locker)
}

#[test]
fn the_desktop_stays_awake_while_somebody_watches() {
    let Some(lab) = Lab::start("sway-awake", &[(1280, 720)]) else { return };
    let socket = lab.session.runtime_dir().join(lab.sway.wayland_display().expect("a Wayland display"));
    let (mut queue, mut state) = locker(&socket);
    let mut idle = |wanted: bool| {
        wait_for("the word of an idle desktop", SOON, || {
            queue.roundtrip(&mut state).expect("an answer");
            (state.idle == wanted).then_some(())
        })
    };
    idle(true).expect("nobody touches this machine");
    let output = lab.create(Topology::Primary, mode(640, 360, 60_000));
    idle(true).expect("nobody watches yet");
    let awake = lab.chooser(Topology::Primary).keep_awake(&output.path);
    idle(false).expect("somebody watches");
    // A locker that comes later is not told either, for several times its patience.
    let (mut queue, mut state) = locker(&socket);
    let end = clock::now() + Duration::from_millis(u64::from(IDLE_MS) * 5);
    while clock::now() < end {
        queue.roundtrip(&mut state).expect("an answer");
        assert!(!state.idle);
        std::thread::sleep(Duration::from_millis(20));
    }
    // The pixel takes nothing away from the windows.
    let card = lab.testcard("card", &output, &["--size", "320x180"]);
    wait_for("the window", SOON, || lab.output_of(&card)).expect("a window");
    let tree = lab.sway.tree().expect("an answer");
    let shown = tree["nodes"]
        .as_array()
        .expect("outputs")
        .iter()
        .find(|node| node["name"] == target(&output).output.as_str());
    let workspace = &shown.expect("the output")["nodes"][0]["rect"];
    assert_eq!((workspace["width"].as_u64(), workspace["height"].as_u64()), (Some(640), Some(360)));
    drop(card);
    drop(awake);
    let mut idle = |wanted: bool| {
        wait_for("the word of an idle desktop", SOON, || {
            queue.roundtrip(&mut state).expect("an answer");
            (state.idle == wanted).then_some(())
        })
    };
    idle(true).expect("nobody watches any more");
    drop(output);
}
