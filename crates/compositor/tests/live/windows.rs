//! Windows, popups, input.

use crate::client::Client;
use crate::{Host, pixel};
use lumen_media::{InputEvent, Pen, PenContact, TouchPhase};
use smithay::input::keyboard::xkb;
use wayland_client::Proxy;
use wayland_client::protocol::wl_keyboard::WlKeyboard;
use wayland_client::protocol::wl_pointer::WlPointer;
use wayland_client::protocol::wl_seat::WlSeat;
use wayland_client::protocol::wl_touch::WlTouch;
use wayland_protocols::wp::tablet::zv2::client::zwp_tablet_manager_v2::ZwpTabletManagerV2;
use wayland_protocols::xdg::shell::client::xdg_positioner::{
    Anchor, ConstraintAdjustment, Gravity, XdgPositioner,
};

const RED: [u8; 4] = [0, 0, 255, 0];
const GREEN: [u8; 4] = [0, 255, 0, 0];
const BLUE: [u8; 4] = [255, 0, 0, 0];

#[test]
fn a_second_toplevel_floats_centred_above_and_is_configured_freely() {
    let mut host = Host::new(640, 360, 60_000);
    let mut client = Client::connect(&host.socket());
    let shell = client.shell();
    let main = client.toplevel(&shell, None);
    let _main = client.show(&shell, &main, (640, 360), RED);
    let dialog = client.toplevel(&shell, Some(&main));
    assert_eq!(client.seen.configures[&dialog.role_id()], (0, 0, false));
    let _dialog = client.show(&shell, &dialog, (100, 60), GREEN);
    let frame = host.frame(|frame| pixel(frame, 320, 180) == GREEN[..3]);
    assert_eq!(pixel(&frame, 270, 150), GREEN[..3]);
    assert_eq!(pixel(&frame, 369, 209), GREEN[..3]);
    for (x, y) in [(269, 180), (370, 180), (320, 149), (320, 210), (0, 0)] {
        assert_eq!(pixel(&frame, x, y), RED[..3], "at {x},{y}");
    }
    drop(frame);
    // A click on the main window gives it the keyboard, but its dialog stays above.
    host.send(InputEvent::PointerAbsolute { x: 0.05, y: 0.05 });
    host.send(InputEvent::Button { code: 0x110, pressed: true });
    host.send(InputEvent::Button { code: 0x110, pressed: false });
    let frame = host.frame(|frame| pixel(frame, 32, 19) != RED[..3]);
    assert_eq!(pixel(&frame, 320, 180), GREEN[..3]);
}

#[test]
fn when_the_main_window_goes_the_next_one_fills_the_output() {
    let mut host = Host::new(640, 360, 60_000);
    let mut client = Client::connect(&host.socket());
    let shell = client.shell();
    let splash = client.toplevel(&shell, None);
    let _splash = client.show(&shell, &splash, (640, 360), RED);
    let second = client.toplevel(&shell, None);
    let _second = client.show(&shell, &second, (100, 60), GREEN);
    host.frame(|frame| pixel(frame, 320, 180) == GREEN[..3] && pixel(frame, 0, 0) == RED[..3]);
    splash.role.destroy();
    splash.xdg.destroy();
    splash.surface.destroy();
    let id = second.role_id();
    client.wait("full-screen", |seen| seen.configures[&id] == (640, 360, true));
    let _filled = client.show(&shell, &second, (640, 360), BLUE);
    host.frame(|frame| pixel(frame, 0, 0) == BLUE[..3] && pixel(frame, 639, 359) == BLUE[..3]);
    // And when all are gone, there is a plain background and nothing crashes.
    second.role.destroy();
    second.xdg.destroy();
    second.surface.destroy();
    client.flush();
    let frame = host.frame(|frame| pixel(frame, 0, 0) != BLUE[..3]);
    assert_eq!(pixel(&frame, 0, 0), pixel(&frame, 639, 359));
    drop(client);
    let mut again = Client::connect(&host.socket());
    let shell = again.shell();
    let main = again.toplevel(&shell, None);
    assert_eq!(again.seen.configures[&main.role_id()], (640, 360, true));
}

#[test]
fn a_client_that_dies_takes_its_windows_along() {
    let mut host = Host::new(640, 360, 60_000);
    let mut client = Client::connect(&host.socket());
    let shell = client.shell();
    let main = client.toplevel(&shell, None);
    let _main = client.show(&shell, &main, (640, 360), RED);
    host.frame(|frame| pixel(frame, 9, 9) == RED[..3]);
    drop((shell, main, _main, client));
    host.frame(|frame| pixel(frame, 9, 9) != RED[..3]);
}

#[test]
fn a_popup_at_the_edge_is_flipped_onto_the_output_and_its_grab_ends_outside() {
    let mut host = Host::new(640, 360, 60_000);
    let mut client = Client::connect(&host.socket());
    let seat: WlSeat = client.bind(7);
    let _pointer: WlPointer = seat.get_pointer(&client.handle, ());
    let _keyboard: WlKeyboard = seat.get_keyboard(&client.handle, ());
    let shell = client.shell();
    let main = client.toplevel(&shell, None);
    let _main = client.show(&shell, &main, (640, 360), RED);
    host.frame(|frame| pixel(frame, 0, 0) == RED[..3]);
    host.send(InputEvent::PointerAbsolute { x: 0.95, y: 0.95 });
    host.send(InputEvent::Button { code: 0x111, pressed: true });
    client.wait("button", |seen| seen.buttons == [(0x111, true)]);

    let positioner = shell.base.create_positioner(&client.handle, ());
    anchor_at(&positioner, (600, 340), (120, 80));
    let surface = shell.compositor.create_surface(&client.handle, ());
    let xdg = shell.base.get_xdg_surface(&surface, &client.handle, ());
    let popup = xdg.get_popup(Some(&main.xdg), &positioner, &client.handle, ());
    popup.grab(&seat, client.seen.button_serial);
    surface.commit();
    let (id, popup_id) = (xdg.id().protocol_id(), popup.id().protocol_id());
    client.wait("popup configure", |seen| {
        seen.configured.contains_key(&id) && seen.popups.contains_key(&popup_id)
    });
    assert_eq!(client.seen.popups[&popup_id], (481, 261, 120, 80), "flipped to the upper left");
    let menu = client.buffer(&shell, (120, 80), |_, _| GREEN);
    client.ack(&xdg);
    surface.attach(Some(&menu.buffer), 0, 0);
    surface.damage_buffer(0, 0, 120, 80);
    surface.commit();
    client.flush();
    let frame = host.frame(|frame| pixel(frame, 482, 262) == GREEN[..3]);
    assert_eq!(pixel(&frame, 480, 262), RED[..3]);
    drop(frame);
    let menu_id = surface.id().protocol_id();
    client.wait("keyboard on the menu", |seen| seen.keyboard_focus == Some(menu_id));
    host.send(InputEvent::Button { code: 0x111, pressed: false });
    host.send(InputEvent::PointerAbsolute { x: 0.1, y: 0.1 });
    host.send(InputEvent::Button { code: 0x110, pressed: true });
    host.send(InputEvent::Button { code: 0x110, pressed: false });
    // A click on another window of the same program is the program's business: it closes its menu itself.
    popup.destroy();
    xdg.destroy();
    surface.destroy();
    let main_id = main.surface_id();
    client.wait("keyboard back", |seen| seen.keyboard_focus == Some(main_id));
    host.frame(|frame| pixel(frame, 482, 262) == RED[..3]);
}

fn anchor_at(positioner: &XdgPositioner, at: (i32, i32), size: (i32, i32)) {
    positioner.set_size(size.0, size.1);
    positioner.set_anchor_rect(at.0, at.1, 1, 1);
    positioner.set_anchor(Anchor::TopLeft);
    positioner.set_gravity(Gravity::BottomRight);
    positioner.set_constraint_adjustment(ConstraintAdjustment::FlipX | ConstraintAdjustment::FlipY);
}

#[test]
fn input_arrives_with_its_values() {
    let mut host = Host::new(800, 600, 60_000);
    let mut client = Client::connect(&host.socket());
    let seat: WlSeat = client.bind(8);
    let _pointer: WlPointer = seat.get_pointer(&client.handle, ());
    let _keyboard: WlKeyboard = seat.get_keyboard(&client.handle, ());
    let _touch: WlTouch = seat.get_touch(&client.handle, ());
    let shell = client.shell();
    let main = client.toplevel(&shell, None);
    let _main = client.show(&shell, &main, (800, 600), RED);
    let id = main.surface_id();
    client.wait("keyboard focus", |seen| seen.keyboard_focus == Some(id) && seen.keymaps >= 1);

    host.send(InputEvent::Key { code: 30, pressed: true });
    host.send(InputEvent::Key { code: 30, pressed: true });
    host.send(InputEvent::Key { code: 30, pressed: false });
    host.send(InputEvent::Key { code: 48, pressed: false });
    client.wait("keys", |seen| seen.keys.len() >= 2);
    assert_eq!(client.seen.keys, [(30, true), (30, false)], "repeats and releases of nothing are dropped");

    for (count, event) in [
        InputEvent::PointerAbsolute { x: 0.5, y: 0.25 },
        InputEvent::PointerMotion { dx: -10.5, dy: 3.0 },
        InputEvent::PointerMotion { dx: f64::NAN, dy: 1e300 },
        InputEvent::PointerAbsolute { x: 2.0, y: -1.0 },
    ]
    .into_iter()
    .enumerate()
    {
        host.send(event);
        client.wait("motion", |seen| seen.motions.len() >= 2 + count);
    }
    assert_eq!(
        client.seen.motions[..3],
        [(0.0, 0.0), (400.0, 150.0), (389.5, 153.0)],
        "the first is where it began"
    );
    let last = client.seen.motions[4];
    assert!(last.0 > 799.9 && last.0 < 800.0 && last.1 == 0.0, "{last:?} is on the output");

    host.send(InputEvent::Button { code: 0x110, pressed: true });
    host.send(InputEvent::Button { code: 0x110, pressed: false });
    host.send(InputEvent::Scroll { horizontal_v120: 0, vertical_v120: 120 });
    client.wait("buttons and wheel", |seen| !seen.axis.is_empty());
    host.send(InputEvent::Scroll { horizontal_v120: -30, vertical_v120: 0 });
    client.wait("the other wheel", |seen| seen.axis.len() >= 2);
    assert_eq!(client.seen.buttons, [(0x110, true), (0x110, false)]);
    assert_eq!(client.seen.axis, [(true, 120), (false, -30)]);

    let touch = |id, phase, x, y| InputEvent::Touch { id, phase, x, y };
    host.send(touch(7, TouchPhase::Down, 0.25, 0.5));
    host.send(touch(7, TouchPhase::Move, 0.5, 0.5));
    host.send(touch(9, TouchPhase::Up, 0.0, 0.0));
    host.send(touch(7, TouchPhase::Up, 0.0, 0.0));
    client.wait("touch", |seen| seen.touches.len() >= 3);
    let phases: Vec<_> = client.seen.touches.iter().map(|(_, phase, x, y)| (*phase, *x, *y)).collect();
    assert_eq!(phases, [("down", 200.0, 300.0), ("move", 400.0, 300.0), ("up", 0.0, 0.0)]);

    // What is held is let go of when nobody watches any more.
    host.send(InputEvent::Key { code: 42, pressed: true });
    client.wait("held key", |seen| seen.keys.len() == 3);
    host.source.set_active(false);
    client.wait("released key", |seen| seen.keys.len() == 4);
    assert_eq!(client.seen.keys[2..], [(42, true), (42, false)]);
}

#[test]
fn a_pen_is_a_tablet_for_programs_that_know_tablets_and_the_pointer_for_others() {
    let host = Host::new(800, 600, 60_000);
    let pen = |contact, x: f64| Pen { contact, x, y: 0.5, ..Pen::default() };
    let near = Pen { distance: Some(0.2), ..pen(PenContact::Near, 0.25) };
    let touching = Pen {
        pressure: Some(0.5),
        tilt: Some((-30.0, 10.0)),
        buttons: [true, false, false],
        ..pen(PenContact::Touching, 0.5)
    };
    let away = Pen::default();
    let play = |pens: &[Pen]| pens.iter().for_each(|pen| host.send(InputEvent::Pen(*pen)));

    let mut plain = Client::connect(&host.socket());
    let seat: WlSeat = plain.bind(8);
    let _pointer: WlPointer = seat.get_pointer(&plain.handle, ());
    let shell = plain.shell();
    let main = plain.toplevel(&shell, None);
    let below = plain.show(&shell, &main, (800, 600), RED);
    plain.roundtrip();
    play(&[near, touching, pen(PenContact::Near, 0.5), away]);
    plain.wait("the pen as a pointer", |seen| seen.buttons.len() >= 2);
    assert_eq!(plain.seen.buttons, [(0x111, true), (0x111, false)]);
    let places: Vec<_> = plain.seen.motions.iter().map(|(x, y)| (x.round(), y.round())).collect();
    assert!(places.ends_with(&[(200.0, 300.0), (400.0, 300.0)]), "{places:?}");

    let mut painter = Client::connect(&host.socket());
    let seat: WlSeat = painter.bind(8);
    let tablets: ZwpTabletManagerV2 = painter.bind(1);
    let _tablets = tablets.get_tablet_seat(&seat, &painter.handle, ());
    let shell = painter.shell();
    let main = painter.toplevel(&shell, None);
    let _above = painter.show(&shell, &main, (800, 600), BLUE);
    painter.roundtrip();
    let eraser = Pen { eraser: true, ..near };
    play(&[near, touching, Pen { contact: PenContact::Near, pressure: None, ..touching }, eraser, away]);
    painter.wait("the eraser to leave", |seen| seen.pens.iter().filter(|said| *said == "away").count() == 2);
    let said: Vec<_> = painter.seen.pens.iter().map(String::as_str).collect();
    assert_eq!(
        said,
        [
            "Pen",
            "near",
            "at 200 300",
            "at 200 300",
            "distance 13107",
            "at 400 300",
            "pressure 32768",
            "distance 0",
            "tilt -30 10",
            "down",
            "0x14b Pressed",
            "at 400 300",
            "pressure 0",
            "distance 0",
            "tilt -30 10",
            "up",
            "0x14b Released",
            "away",
            "Eraser",
            "near",
            "at 200 300",
            "at 200 300",
            "distance 13107",
            "away",
        ]
    );
    assert_eq!(plain.seen.buttons.len(), 2, "what is below feels nothing");
    drop(below);
}

#[test]
fn what_a_pen_touches_first_feels_the_whole_stroke() {
    let mut host = Host::new(800, 600, 60_000);
    let socket = host.socket();
    let at = |contact, x, y| InputEvent::Pen(Pen { contact, x, y, ..Pen::default() });
    let painter = || {
        let mut painter = Client::connect(&socket);
        let seat: WlSeat = painter.bind(8);
        let tablets: ZwpTabletManagerV2 = painter.bind(1);
        let tablets = tablets.get_tablet_seat(&seat, &painter.handle, ());
        let shell = painter.shell();
        let main = painter.toplevel(&shell, None);
        let shown = painter.show(&shell, &main, (800, 600), RED);
        (painter, shell, main, tablets, shown)
    };
    let (mut first, shell, main, _tablets, _main) = painter();
    let dialog = first.toplevel(&shell, Some(&main));
    let _dialog = first.show(&shell, &dialog, (200, 100), GREEN);
    drop(host.frame(|frame| pixel(frame, 400, 300) == GREEN[..3]));
    // Down in the dialog, which begins at 300, 250, out of it, and up.
    host.send(at(PenContact::Touching, 0.5, 0.5));
    host.send(at(PenContact::Touching, 0.25, 0.5));
    host.send(at(PenContact::Near, 0.25, 0.5));
    first.wait("the end of the stroke", |seen| seen.pens.iter().any(|said| said == "up"));
    let seen = &mut first.seen.pens;
    let place = |said: &str| said.starts_with("at") || said == "down" || said == "up";
    let stroke: Vec<_> = seen.iter().map(String::as_str).filter(|said| place(said)).collect();
    assert_eq!(stroke, ["at 100 50", "at 100 50", "down", "at -100 50", "at -100 50", "up"]);
    seen.clear();
    // Whoever is touched dies, and the next one is touched.
    host.send(at(PenContact::Touching, 0.1, 0.1));
    first.wait("another stroke", |seen| seen.pens.iter().any(|said| said == "down"));
    drop((dialog, main, shell));
    drop(first);
    let (mut second, _shell, _top, _tablets, _shown) = painter();
    host.send(at(PenContact::Touching, 0.2, 0.1));
    host.send(InputEvent::Pen(Pen::default()));
    second.roundtrip();
    assert_eq!(second.seen.pens.iter().filter(|said| *said == "down" || *said == "up").count(), 0);
    host.send(at(PenContact::Touching, 0.5, 0.5));
    second.wait("a stroke of its own", |seen| seen.pens.iter().any(|said| said == "down"));
}

#[test]
fn text_is_typed_through_keymaps_of_its_own() {
    let host = Host::new(640, 360, 60_000);
    let mut client = Client::connect(&host.socket());
    let seat: WlSeat = client.bind(7);
    let _keyboard: WlKeyboard = seat.get_keyboard(&client.handle, ());
    let shell = client.shell();
    let main = client.toplevel(&shell, None);
    let _main = client.show(&shell, &main, (640, 360), RED);
    let id = main.surface_id();
    client.wait("keyboard focus", |seen| seen.keyboard_focus == Some(id));
    let keymaps = client.seen.keymaps;
    host.send(InputEvent::Text("é🎉é".to_owned()));
    client.wait("the layout back", |seen| seen.keymaps >= keymaps + 2);
    assert_eq!(
        client.seen.keys,
        [(195, true), (195, false), (196, true), (196, false), (195, true), (195, false)]
    );
}

/// What the key types without modifiers.
fn typed(keymap: &str, code: u32) -> String {
    let context = xkb::Context::new(xkb::CONTEXT_NO_FLAGS);
    let flags = xkb::KEYMAP_COMPILE_NO_FLAGS;
    let keymap = xkb::Keymap::new_from_string(&context, keymap.to_owned(), xkb::KEYMAP_FORMAT_TEXT_V1, flags)
        .expect("a valid keymap");
    xkb::State::new(&keymap).key_get_utf8(xkb::Keycode::new(code + 8))
}

#[test]
fn programs_get_the_configured_keyboard_also_after_typed_text() {
    // KEY_Y, KEY_EQUAL: the latter is a dead accent in German unless the variant forbids it.
    let (key_y, key_equal) = (21, 13);
    for (layout, variant, y, equal) in
        [("us", None, "y", "="), ("de", None, "z", ""), ("de", Some("nodeadkeys"), "z", "\u{b4}")]
    {
        let host = Host::configured(640, 360, 60_000, |config| {
            config.keyboard_layout = layout.to_owned();
            config.keyboard_variant = variant.map(str::to_owned);
        });
        let mut client = Client::connect(&host.socket());
        let seat: WlSeat = client.bind(7);
        let _keyboard: WlKeyboard = seat.get_keyboard(&client.handle, ());
        let shell = client.shell();
        let main = client.toplevel(&shell, None);
        let _main = client.show(&shell, &main, (640, 360), RED);
        let id = main.surface_id();
        client.wait("keyboard focus", |seen| seen.keyboard_focus == Some(id) && seen.keymaps >= 1);
        assert_eq!(typed(&client.seen.keymap, key_y), y, "{layout}");
        assert_eq!(typed(&client.seen.keymap, key_equal), equal, "{layout} {variant:?}");
        let keymaps = client.seen.keymaps;
        host.send(InputEvent::Text("x".to_owned()));
        client.wait("the layout back", |seen| seen.keymaps >= keymaps + 2);
        assert_eq!(typed(&client.seen.keymap, key_y), y, "{layout}");
        assert_eq!(typed(&client.seen.keymap, key_equal), equal, "{layout} {variant:?}");
    }
}

#[test]
fn the_pointer_is_drawn_once_it_was_moved() {
    let mut host = Host::new(640, 360, 60_000);
    let mut client = Client::connect(&host.socket());
    let shell = client.shell();
    let main = client.toplevel(&shell, None);
    let _main = client.show(&shell, &main, (640, 360), RED);
    let frame = host.frame(|frame| pixel(frame, 0, 0) == RED[..3]);
    drop(frame);
    host.send(InputEvent::PointerAbsolute { x: 100.0 / 640.0, y: 100.0 / 360.0 });
    let frame = host.frame(|frame| pixel(frame, 100, 100) == [0; 3]);
    assert_eq!(pixel(&frame, 101, 103), [255; 3], "white inside");
    assert_eq!(pixel(&frame, 99, 100), RED[..3]);
    drop(frame);
    host.send(InputEvent::PointerAbsolute { x: 300.0 / 640.0, y: 100.0 / 360.0 });
    let frame = host.frame(|frame| pixel(frame, 300, 100) == [0; 3]);
    assert_eq!(pixel(&frame, 100, 100), RED[..3], "gone where it was");
}

#[test]
fn a_client_may_hide_or_replace_the_pointer() {
    let mut host = Host::new(640, 360, 60_000);
    let mut client = Client::connect(&host.socket());
    let seat: WlSeat = client.bind(7);
    let pointer: WlPointer = seat.get_pointer(&client.handle, ());
    let shell = client.shell();
    let main = client.toplevel(&shell, None);
    let _main = client.show(&shell, &main, (640, 360), RED);
    host.frame(|frame| pixel(frame, 0, 0) == RED[..3]);
    host.send(InputEvent::PointerAbsolute { x: 0.5, y: 0.5 });
    let id = main.surface_id();
    client.wait("enter", |seen| seen.pointer_focus == Some(id));
    host.frame(|frame| pixel(frame, 320, 180) == [0; 3]);
    let picture = client.buffer(&shell, (8, 8), |_, _| BLUE);
    let surface = shell.compositor.create_surface(&client.handle, ());
    let serial = client.seen.enter_serial;
    pointer.set_cursor(serial, Some(&surface), 4, 4);
    surface.attach(Some(&picture.buffer), 0, 0);
    surface.damage_buffer(0, 0, 8, 8);
    surface.commit();
    client.flush();
    let frame = host.frame(|frame| pixel(frame, 320, 180) == BLUE[..3]);
    assert_eq!(pixel(&frame, 316, 176), BLUE[..3], "the hotspot is in its middle");
    assert_eq!(pixel(&frame, 315, 180), RED[..3]);
    drop(frame);
    pointer.set_cursor(serial, None, 0, 0);
    client.flush();
    host.frame(|frame| pixel(frame, 320, 180) == RED[..3]);
}

#[test]
fn a_window_that_hides_and_returns_is_configured_anew() {
    let mut host = Host::new(640, 360, 60_000);
    let mut client = Client::connect(&host.socket());
    let shell = client.shell();
    let main = client.toplevel(&shell, None);
    let _main = client.show(&shell, &main, (640, 360), RED);
    host.frame(|frame| pixel(frame, 0, 0) == RED[..3]);
    main.surface.attach(None, 0, 0);
    main.surface.commit();
    client.flush();
    host.frame(|frame| pixel(frame, 0, 0) != RED[..3]);
    client.seen.configures.clear();
    main.surface.commit();
    let id = main.role_id();
    client.wait("configure", |seen| seen.configures.get(&id) == Some(&(640, 360, true)));
    let _again = client.show(&shell, &main, (640, 360), BLUE);
    host.frame(|frame| pixel(frame, 639, 359) == BLUE[..3]);
}

#[test]
fn a_menu_is_dismissed_by_a_click_on_another_program() {
    let mut host = Host::new(640, 360, 60_000);
    let mut other = Client::connect(&host.socket());
    let other_shell = other.shell();
    let background = other.toplevel(&other_shell, None);
    let _background = other.show(&other_shell, &background, (640, 360), BLUE);
    host.frame(|frame| pixel(frame, 0, 0) == BLUE[..3]);
    let mut client = Client::connect(&host.socket());
    let seat: WlSeat = client.bind(7);
    let _pointer: WlPointer = seat.get_pointer(&client.handle, ());
    let shell = client.shell();
    let window = client.toplevel(&shell, None);
    let _window = client.show(&shell, &window, (100, 100), RED);
    host.frame(|frame| pixel(frame, 320, 180) == RED[..3]);
    host.send(InputEvent::PointerAbsolute { x: 0.5, y: 0.5 });
    host.send(InputEvent::Button { code: 0x110, pressed: true });
    client.wait("button", |seen| seen.buttons.len() == 1);
    let positioner = shell.base.create_positioner(&client.handle, ());
    anchor_at(&positioner, (50, 50), (20, 20));
    let surface = shell.compositor.create_surface(&client.handle, ());
    let xdg = shell.base.get_xdg_surface(&surface, &client.handle, ());
    let popup = xdg.get_popup(Some(&window.xdg), &positioner, &client.handle, ());
    popup.grab(&seat, client.seen.button_serial);
    surface.commit();
    let id = xdg.id().protocol_id();
    client.wait("popup configure", |seen| seen.configured.contains_key(&id));
    let menu = client.buffer(&shell, (20, 20), |_, _| GREEN);
    client.ack(&xdg);
    surface.attach(Some(&menu.buffer), 0, 0);
    surface.commit();
    client.flush();
    host.frame(|frame| pixel(frame, 338, 182) == GREEN[..3]);
    host.send(InputEvent::Button { code: 0x110, pressed: false });
    host.send(InputEvent::PointerAbsolute { x: 0.01, y: 0.01 });
    host.send(InputEvent::Button { code: 0x110, pressed: true });
    client.wait("dismissal", |seen| seen.popups_done == 1);
    drop(popup);
}
