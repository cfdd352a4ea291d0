//! Modes, pictures, rates, lifetime.

use crate::client::Client;
use crate::{Host, deadline, pixel};
use lumen_compositor::{BuiltinConfig, BuiltinDisplay};
use lumen_media::slot::Wait;
use lumen_media::{AppLaunch, DisplayError, Mode, VirtualDisplay, clock};
use std::time::Duration;
use wayland_client::protocol::wl_output::WlOutput;
use wayland_protocols::wp::presentation_time::client::wp_presentation::WpPresentation;

#[test]
fn the_exact_mode_is_announced() {
    for (width, height, refresh) in
        [(1112, 834, 90_000), (1364, 768, 59_940), (1111, 667, 60_000), (320, 180, 480_000)]
    {
        let mut host = Host::new(width, height, refresh);
        assert_eq!(host.mode, Mode::new(width, height, refresh).expect("valid"));
        let mut client = Client::connect(&host.socket());
        let _output: WlOutput = client.bind(4);
        client.wait("mode", |seen| seen.mode.is_some());
        assert_eq!(client.seen.mode, Some((width as i32, height as i32, refresh as i32)));
        let shell = client.shell();
        let toplevel = client.toplevel(&shell, None);
        assert_eq!(client.seen.configures[&toplevel.role_id()], (width as i32, height as i32, true));
        let frame = host.frame(|_| true);
        assert_eq!((frame.width, frame.height, frame.stride % 64), (width, height, 0));
    }
}

#[test]
fn a_mode_changes_in_place_and_full_screen_windows_follow() {
    let mut host = Host::new(1280, 720, 60_000);
    let mut client = Client::connect(&host.socket());
    let _output: WlOutput = client.bind(4);
    let shell = client.shell();
    let toplevel = client.toplevel(&shell, None);
    let _first = client.show(&shell, &toplevel, (1280, 720), [10, 20, 30, 0]);
    host.frame(|frame| pixel(frame, 640, 360) == [10, 20, 30]);

    let mode = Mode::new(1112, 834, 90_000).expect("valid");
    (host.set_mode)(mode).expect("changes");
    client.wait("the new mode", |seen| seen.mode == Some((1112, 834, 90_000)));
    client.wait("the new size", |seen| seen.configures[&toplevel.role_id()] == (1112, 834, true));
    let _second = client.show(&shell, &toplevel, (1112, 834), [40, 50, 60, 0]);
    let frame = host
        .frame(|frame| (frame.width, frame.height) == (1112, 834) && pixel(frame, 1111, 833) == [40, 50, 60]);
    assert_eq!(frame.stride % 64, 0);
}

#[test]
fn the_environment_leads_an_app_here_and_not_to_x11() {
    let host = Host::new(640, 360, 60_000);
    let value = |name: &str| host.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    assert_eq!(value("WAYLAND_DISPLAY"), Some("lumen-0"));
    assert_eq!(value("XDG_RUNTIME_DIR"), host.dir.path().to_str());
    assert_eq!(value("XDG_SESSION_TYPE"), Some("wayland"));
    assert_eq!(value("XDG_CURRENT_DESKTOP"), Some("Lumen"));
    assert_eq!(value("DISPLAY"), Some(""));
}

#[test]
fn pixels_arrive_unchanged() {
    let mut host = Host::new(1111, 667, 60_000);
    let mut client = Client::connect(&host.socket());
    let shell = client.shell();
    let toplevel = client.toplevel(&shell, None);
    let paint = |x: i32, y: i32| [x as u8, y as u8, (x * 31 + y * 17) as u8, 0];
    let buffer = client.buffer(&shell, (1111, 667), paint);
    client.ack(&toplevel.xdg);
    toplevel.surface.attach(Some(&buffer.buffer), 0, 0);
    toplevel.surface.damage_buffer(0, 0, 1111, 667);
    toplevel.surface.commit();
    client.flush();
    let before = clock::now();
    let frame = host.frame(|frame| pixel(frame, 1110, 666) == paint(1110, 666)[..3]);
    assert!(frame.captured <= clock::now() && frame.captured + Duration::from_secs(60) > before);
    for y in 0..667 {
        for x in 0..1111 {
            assert_eq!(pixel(&frame, x, y), paint(x as i32, y as i32)[..3], "at {x},{y}");
        }
    }
}

#[test]
fn partial_damage_is_right_in_every_buffer_of_the_pool() {
    let mut host = Host::new(640, 360, 240_000);
    let mut client = Client::connect(&host.socket());
    let shell = client.shell();
    let toplevel = client.toplevel(&shell, None);
    let mut shown = vec![[0u8, 0, 0]; 16];
    let mut last = client.show(&shell, &toplevel, (640, 360), [0; 4]);
    let mut kept = std::collections::VecDeque::new();
    host.frame(|frame| pixel(frame, 0, 0) == [0; 3]);
    for step in 0..60u8 {
        // One of sixteen columns changes per step; only that is declared as damage.
        let column = usize::from(step) * 7 % 16;
        shown[column] = [step + 1, 255 - step, column as u8];
        let colours = shown.clone();
        let buffer = client.buffer(&shell, (640, 360), |x, _| {
            let [blue, green, red] = colours[x as usize / 40];
            [blue, green, red, 0]
        });
        toplevel.surface.attach(Some(&buffer.buffer), 0, 0);
        toplevel.surface.damage_buffer(column as i32 * 40, 0, 40, 360);
        toplevel.surface.commit();
        client.flush();
        let old = std::mem::replace(&mut last, buffer);
        let frame = host.frame(|frame| pixel(frame, column * 40 + 20, 200) == shown[column]);
        old.buffer.destroy();
        old.pool.destroy();
        for (column, colour) in shown.iter().enumerate() {
            assert_eq!(pixel(&frame, column * 40 + 39, 359), *colour, "column {column} in step {step}");
        }
        // Holding up to three frames makes buffers of different ages come round.
        kept.push_back(frame);
        if kept.len() > usize::from(step % 4) {
            kept.pop_front();
        }
    }
}

#[test]
fn a_client_drawing_on_callbacks_runs_at_the_rate_of_the_output() {
    let mut host = Host::new(320, 180, 120_000);
    let mut client = Client::connect(&host.socket());
    let presentation: WpPresentation = client.bind(1);
    let shell = client.shell();
    let toplevel = client.toplevel(&shell, None);
    let buffers = [
        client.show(&shell, &toplevel, (320, 180), [9; 4]),
        client.buffer(&shell, (320, 180), |_, _| [1; 4]),
    ];
    host.frame(|frame| pixel(frame, 0, 0) == [9; 3]);
    let begin = clock::now();
    let mut frames = 0u32;
    for n in 1..=120u32 {
        toplevel.surface.frame(&client.handle, ());
        presentation.feedback(&toplevel.surface, &client.handle, ());
        toplevel.surface.attach(Some(&buffers[n as usize % 2].buffer), 0, 0);
        toplevel.surface.damage_buffer(0, 0, 320, 180);
        toplevel.surface.commit();
        client.wait("callback", |seen| seen.callbacks >= n);
        frames += u32::from(host.source.try_latest().is_some());
    }
    let periods = clock::now().since(begin).as_nanos() / host.mode.frame_interval().as_nanos();
    // Only too fast can be told from a busy machine.
    assert!(periods >= 118, "120 callbacks within {periods} periods");
    client.wait("feedback", |seen| seen.presented + seen.discarded >= 119);
    // A commit that the next one overtakes before it is composed is discarded: rare, on a busy machine.
    assert!(client.seen.presented >= 60, "{:?}", client.seen);
    assert!(frames >= 60, "only {frames} of 120 commits were seen as frames");
}

#[test]
fn a_client_that_commits_without_waiting_is_held_to_the_rate() {
    let mut host = Host::new(320, 180, 30_000);
    let mut client = Client::connect(&host.socket());
    let shell = client.shell();
    let toplevel = client.toplevel(&shell, None);
    let _shown = client.show(&shell, &toplevel, (320, 180), [9; 4]);
    let first = host.frame(|frame| pixel(frame, 0, 0) == [9; 3]);
    let begin = first.captured;
    drop(first);
    let end = begin + Duration::from_millis(700);
    let shades = [1u8, 2, 3];
    let buffers = shades.map(|shade| client.buffer(&shell, (320, 180), |_, _| [shade; 4]));
    let mut n = 0u32;
    while clock::now() < end {
        toplevel.surface.attach(Some(&buffers[n as usize % 3].buffer), 0, 0);
        toplevel.surface.damage_buffer(0, 0, 320, 180);
        toplevel.surface.commit();
        client.roundtrip();
        n += 1;
    }
    let last_colour = [shades[(n as usize - 1) % 3]; 3];
    let last = host.frame(|frame| pixel(frame, 100, 100) == last_colour);
    let periods = last.captured.since(begin).as_nanos() / host.mode.frame_interval().as_nanos();
    assert!(u128::from(last.sequence) <= periods + 5, "{} pictures within {periods} periods", last.sequence);
    assert!(u64::from(n) > last.sequence, "the client was faster: {n} commits");
}

#[test]
fn a_static_screen_makes_no_frames() {
    let mut host = Host::new(640, 360, 60_000);
    let mut client = Client::connect(&host.socket());
    let shell = client.shell();
    let toplevel = client.toplevel(&shell, None);
    let _shown = client.show(&shell, &toplevel, (640, 360), [7; 4]);
    let frame = host.frame(|frame| pixel(frame, 0, 0) == [7; 3]);
    // A commit without damage that asks for a callback is answered, and is no picture.
    for n in 1..=10 {
        toplevel.surface.frame(&client.handle, ());
        toplevel.surface.commit();
        client.wait("callback", |seen| seen.callbacks >= n);
    }
    assert!(host.source.try_latest().is_none());
    let buffer = client.show(&shell, &toplevel, (640, 360), [8; 4]);
    let next = host.frame(|frame| pixel(frame, 0, 0) == [8; 3]);
    assert_eq!(next.sequence, frame.sequence + 1);
    drop(buffer);
}

#[test]
fn between_streams_nothing_is_composed_and_a_new_one_begins_with_the_whole_picture() {
    let mut host = Host::new(640, 360, 60_000);
    let mut client = Client::connect(&host.socket());
    let shell = client.shell();
    let toplevel = client.toplevel(&shell, None);
    let _first = client.show(&shell, &toplevel, (640, 360), [7; 4]);
    let before = host.frame(|frame| pixel(frame, 0, 0) == [7; 3]).sequence;
    host.source.set_active(false);
    toplevel.surface.frame(&client.handle, ());
    let _second = client.show(&shell, &toplevel, (640, 360), [8; 4]);
    client.wait("a callback without a stream", |seen| seen.callbacks >= 1);
    assert!(host.source.try_latest().is_none());
    host.source.set_active(true);
    let after = host.frame(|_| true);
    assert_eq!(after.sequence, before + 1);
    assert_eq!(pixel(&after, 639, 359), [8; 3]);
    // Again, with nothing changed.
    drop(after);
    host.source.set_active(false);
    host.source.set_active(true);
    assert_eq!(pixel(&host.frame(|_| true), 320, 180), [8; 3]);
}

#[test]
fn a_reader_that_keeps_every_buffer_gets_the_newest_picture_later() {
    let mut host = Host::new(320, 180, 480_000);
    let mut client = Client::connect(&host.socket());
    let shell = client.shell();
    let toplevel = client.toplevel(&shell, None);
    let mut kept = Vec::new();
    let mut buffers = Vec::new();
    for n in 1..=4u8 {
        buffers.push(client.show(&shell, &toplevel, (320, 180), [n; 4]));
        kept.push(host.frame(|frame| pixel(frame, 5, 5) == [n; 3]));
    }
    for n in 5..=9u8 {
        buffers.push(client.show(&shell, &toplevel, (320, 180), [n; 4]));
    }
    client.roundtrip();
    assert!(host.source.try_latest().is_none());
    for (frame, n) in kept.iter().zip(1..) {
        assert_eq!(pixel(frame, 319, 179), [n; 3], "a lent picture does not change");
    }
    kept.remove(0);
    assert_eq!(pixel(&host.frame(|_| true), 5, 5), [9; 3]);
}

#[test]
fn nothing_is_left_when_the_output_goes() {
    let mut host = Host::new(640, 360, 60_000);
    let socket = host.socket();
    let mut client = Client::connect(&socket);
    let shell = client.shell();
    let toplevel = client.toplevel(&shell, None);
    let _shown = client.show(&shell, &toplevel, (640, 360), [7; 4]);
    let frame = host.frame(|frame| pixel(frame, 0, 0) == [7; 3]);
    host.keepalive = None;
    assert!(!socket.exists());
    assert_eq!(std::fs::read_dir(host.dir.path()).expect("readable").count(), 0);
    client.wait_for_end();
    assert_eq!(host.source.wait_latest(Some(deadline())).map_value(), Ending::Closed);
    assert_eq!(pixel(&frame, 639, 0), [7; 3], "a frame outlives its compositor");
}

#[derive(Debug, PartialEq)]
enum Ending {
    Closed,
    Other,
}

trait MapValue {
    fn map_value(self) -> Ending;
}

impl<T> MapValue for Wait<T> {
    fn map_value(self) -> Ending {
        if matches!(self, Wait::Closed) { Ending::Closed } else { Ending::Other }
    }
}

#[test]
fn outputs_stand_side_by_side_and_a_bad_directory_is_refused() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let display = BuiltinDisplay::new(BuiltinConfig::new(dir.path())).expect("writable");
    let mode = Mode::new(640, 360, 60_000).expect("valid");
    let outputs: Vec<_> =
        (0..3).map(|_| display.create(mode, &AppLaunch::default()).expect("starts")).collect();
    let names: Vec<_> = outputs.iter().map(|output| output.env[0].1.clone()).collect();
    assert_eq!(names, ["lumen-0", "lumen-1", "lumen-2"]);
    let missing = dir.path().join("missing");
    assert!(matches!(BuiltinDisplay::new(BuiltinConfig::new(&missing)), Err(DisplayError::Socket { .. })));
}

#[test]
fn an_unknown_keyboard_layout_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut config = BuiltinConfig::new(dir.path());
    config.keyboard_layout = "nowhere".to_owned();
    let error = BuiltinDisplay::new(config).expect_err("must be refused");
    assert!(error.to_string().contains("nowhere"), "{error}");
}
