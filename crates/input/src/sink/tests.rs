use super::*;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// A desktop that tells what it got, and takes nothing while it is told to hang.
struct Fake {
    got: SyncSender<InputEvent>,
    hangs: Arc<Mutex<bool>>,
    keyboard: bool,
}

impl Driver for Fake {
    fn path(&self) -> &'static str {
        "fake"
    }

    fn apply(&mut self, event: &InputEvent) -> Applied {
        if !self.keyboard && matches!(event, InputEvent::Key { .. }) {
            return Applied::Never;
        }
        self.got.try_send(event.clone()).expect("room");
        Applied::Sent
    }

    fn flush(&mut self) -> Result<bool, InputError> {
        Ok(!*self.hangs.lock().expect("no panic while held"))
    }

    fn turn(&mut self, wake: BorrowedFd<'_>, deadline: Option<Timestamp>) -> Result<(), InputError> {
        let timeout = deadline.map(|deadline| timespec(deadline.since(clock::now())));
        let _ = poll(&mut [PollFd::from_borrowed_fd(wake, PollFlags::IN)], timeout.as_ref());
        Ok(())
    }
}

fn fake(keyboard: bool) -> (ThreadSink, Receiver<InputEvent>, Arc<Mutex<bool>>) {
    let (got, receiver) = sync_channel(100_000);
    let hangs = Arc::new(Mutex::new(false));
    let shared = hangs.clone();
    let connect = Box::new(move || -> Result<Box<dyn Driver>, InputError> {
        Ok(Box::new(Fake { got: got.clone(), hangs: shared.clone(), keyboard }))
    });
    (ThreadSink::start("fake", connect).expect("a thread"), receiver, hangs)
}

fn key(code: u16, pressed: bool) -> InputEvent {
    InputEvent::Key { code, pressed }
}

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn a_flood_loses_no_key_and_no_button() {
    let (sink, receiver, _) = fake(true);
    let mut sent = Vec::new();
    for round in 0..10_000_u32 {
        let event = match round % 4 {
            0 => key((round / 4 % 100) as u16, true),
            2 => key((round / 4 % 100) as u16, false),
            _ => InputEvent::PointerMotion { dx: 1.0, dy: 0.0 },
        };
        if let InputEvent::Key { .. } = event {
            sent.push(event.clone());
        }
        sink.send(event);
        // What a network does: bursts, not a loop as fast as a processor.
        if round % 100 == 99 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let (mut keys, mut moved) = (Vec::new(), 0.0);
    while keys.len() < sent.len() || moved < 5000.0 {
        match receiver.recv_timeout(PATIENCE).expect("an event") {
            InputEvent::PointerMotion { dx, .. } => moved += dx,
            event => keys.push(event),
        }
    }
    assert_eq!((keys, moved), (sent, 5000.0));
    let report = sink.report();
    println!("p50 {} µs, p99 {} µs", report.p50_us, report.p99_us);
    assert_eq!((report.path, report.dropped), ("fake", 0));
}

#[test]
fn what_is_held_is_let_go_at_the_end() {
    let (sink, receiver, _) = fake(true);
    sink.send(key(30, true));
    assert_eq!(receiver.recv_timeout(PATIENCE).expect("connected"), key(30, true));
    sink.send(InputEvent::Button { code: 0x110, pressed: true });
    drop(sink);
    let got: Vec<_> = receiver.iter().collect();
    let button = |pressed| InputEvent::Button { code: 0x110, pressed };
    assert_eq!(got, [button(true), button(false), key(30, false)]);
}

#[test]
fn a_desktop_that_hangs_stops_nobody() {
    let (sink, receiver, hangs) = fake(true);
    sink.send(key(30, true));
    receiver.recv_timeout(PATIENCE).expect("it works");
    *hangs.lock().expect("no panic while held") = true;
    for _ in 0..20_000 {
        sink.send(key(31, true));
        sink.send(key(31, false));
        sink.send(InputEvent::PointerMotion { dx: 1.0, dy: 1.0 });
    }
    sink.send(key(30, false));
    assert!(sink.report().dropped > 0);
    // It wakes up: what fits in the queue came in pairs.
    *hangs.lock().expect("no panic while held") = false;
    let mut down = std::collections::BTreeSet::from([30]);
    while !down.is_empty() {
        if let InputEvent::Key { code, pressed } = receiver.recv_timeout(PATIENCE).expect("an event") {
            assert!(if pressed { down.insert(code) } else { down.remove(&code) });
        }
    }
    *hangs.lock().expect("no panic while held") = true;
    let before = clock::now();
    drop(sink);
    assert!(clock::now().since(before) < PATIENCE, "its end has a deadline");
}

#[test]
fn what_no_device_takes_is_counted() {
    let (sink, receiver, _) = fake(false);
    sink.send(key(30, true));
    sink.send(InputEvent::Scroll { horizontal_v120: 0, vertical_v120: 120 });
    receiver.recv_timeout(PATIENCE).expect("the wheel");
    assert_eq!(sink.report().dropped, 1);
}

#[test]
fn a_desktop_without_input_is_named_in_the_report() {
    let connect = Box::new(|| {
        Err(InputError::Unsupported {
            desktop: "weston",
            cause: "nothing there".into(),
            remedy: "None.".into(),
        })
    });
    let sink = ThreadSink::start("weston", connect).expect("a thread");
    let deadline = clock::now() + PATIENCE;
    while sink.report().fallback.is_empty() {
        assert!(clock::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
    sink.send(key(30, true));
    let report = sink.report();
    assert!(report.fallback.contains("nothing there") && report.path.is_empty(), "{report:?}");
    assert!(report.dropped >= 1);
}
