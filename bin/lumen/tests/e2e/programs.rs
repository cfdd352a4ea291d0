//! Real programs on the built-in compositor, seen through the decoded stream.

use crate::lab::{Lab, PATIENCE, Viewer, now};
use lumen_testkit::{Codec, InputPacket, Picture, Stream, StreamRequest};
use std::path::Path;
use std::time::Duration;

/// Shows frames until `enough` says so; returns the picture then.
fn watch_until(
    stream: &Stream,
    viewer: &mut Viewer,
    what: &str,
    mut enough: impl FnMut(&Picture) -> bool,
) -> Picture {
    let deadline = now() + PATIENCE;
    loop {
        assert!(now() < deadline, "waited in vain for {what}");
        if let Ok(frame) = stream.next_frame(Duration::from_millis(500)) {
            viewer.show(&frame);
        }
        if let Some(picture) = viewer.last.as_ref().filter(|picture| enough(picture)) {
            return picture.clone();
        }
    }
}

/// Shows frames until the picture has that much ink and has not changed for a while.
fn watch_until_settled(stream: &Stream, viewer: &mut Viewer, what: &str, least: usize) -> Picture {
    const QUIET: Duration = Duration::from_millis(700);
    let mut last = (0, now());
    watch_until(stream, viewer, what, |picture| {
        let seen = ink(picture);
        if seen.abs_diff(last.0) > 20 {
            last = (seen, now());
        }
        seen > least && now() - last.1 > QUIET
    })
}

/// How many pixels differ clearly from the picture's most common luma.
fn ink(picture: &Picture) -> usize {
    let luma = picture.luma8();
    let mut histogram = [0usize; 256];
    luma.iter().for_each(|value| histogram[usize::from(*value)] += 1);
    let ground = (0..256).max_by_key(|value| histogram[*value]).unwrap_or(0);
    luma.iter().filter(|value| usize::from(**value).abs_diff(ground) > 40).count()
}

fn keep(picture: &Picture, name: &str) {
    // For people who want to look: target/seen/*.png.
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("seen");
    std::fs::create_dir_all(&dir).expect("writable");
    picture.write_png(&dir.join(name)).expect("written");
}

fn type_text(stream: &Stream, keys: &[u8]) {
    for key in keys {
        stream.send_input(InputPacket::key(true, *key)).expect("queued");
        stream.send_input(InputPacket::key(false, *key)).expect("queued");
    }
}

#[test]
fn the_desktop_is_a_terminal_that_takes_typing() {
    let lab = Lab::start("");
    let client = lab.paired(0);
    // Without the pointer, whatever shows on the dark ground is the terminal's.
    let request = StreamRequest { wake_pointer: false, ..StreamRequest::new(960, 540, 30) };
    let stream = lab.launch(&client, "Desktop", &request);
    let mut viewer = Viewer::new(Codec::H264);
    let prompt = watch_until_settled(&stream, &mut viewer, "a prompt", 50);
    let before = ink(&prompt);
    // "echo hellohellohello" and Enter, by position of the keys.
    type_text(&stream, b"ECHO");
    type_text(&stream, &[0x20]);
    type_text(&stream, b"HELLOHELLOHELLO");
    type_text(&stream, &[0x0d]);
    let typed = watch_until(&stream, &mut viewer, "the typed line and its echo", |picture| {
        ink(picture) > before + 400
    });
    keep(&typed, "terminal.png");
    // The shell obeys: "exit" ends the app and with it the stream.
    type_text(&stream, b"EXIT");
    type_text(&stream, &[0x0d]);
    assert!(stream.wait_end(PATIENCE).is_some_and(|ending| ending.is_clean()));
}

#[test]
fn a_gtk_program_opens_its_menus() {
    const PROGRAM: &str = "/usr/bin/gtk3-demo-application";
    if !Path::new(PROGRAM).exists() {
        println!("left out: gtk-3-examples is not installed (./check installs it)");
        return;
    }
    let lab = Lab::start(&format!(
        "[[apps]]\ntitle = \"menus\"\ncommand = [\"{PROGRAM}\"]\nenv = {{ GDK_BACKEND = \"wayland\" }}\n"
    ));
    let client = lab.paired(0);
    let stream = lab.launch(&client, "menus", &StreamRequest::new(960, 540, 30));
    let mut viewer = Viewer::new(Codec::H264);
    let shown = watch_until_settled(&stream, &mut viewer, "the window", 1000);
    let before = ink(&shown);
    let click = |x: i16, y: i16| {
        for packet in [
            InputPacket::MousePosition { x, y, width: 959, height: 539 },
            InputPacket::MouseButton { down: true, button: 1 },
            InputPacket::MouseButton { down: false, button: 1 },
        ] {
            stream.send_input(packet).expect("queued");
        }
    };
    // "Preferences" in the menu bar.
    click(50, 13);
    let open = watch_until(&stream, &mut viewer, "the menu", |picture| ink(picture) > before + 300);
    keep(&open, "gtk-menu.png");
    type_text(&stream, &[0x1b]);
    watch_until(&stream, &mut viewer, "the menu to close", |picture| ink(picture) < before + 150);
}
