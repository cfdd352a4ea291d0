use crate::in_session;
use lumen_lab::{
    Desktop, Gamescope, GamescopeOptions, GnomeShell, Hyprland, HyprlandOptions, Kwin, KwinOptions,
    KwinRenderer, Labwc, Mode, Mutter, MutterOptions, PortalKind, Portals, Sway, SwayOptions, Weston,
    left_out,
};
use std::time::Duration;

/// Kills the compositor and sees that its name of the bus goes with it.
fn dies(desktop: &impl Desktop) {
    assert!(desktop.process().is_running());
    desktop.kill();
    assert!(!desktop.process().is_running());
}

#[test]
fn sway() {
    in_session("sway", &["sway"], |session| {
        let outputs = vec![Mode::new(1280, 720, 60.0), Mode::new(800, 600, 59.94)];
        let sway = Sway::start(session, &SwayOptions { outputs, ..SwayOptions::default() }).unwrap();
        eprintln!("{}", sway.version().unwrap());
        let mut modes: Vec<_> = sway
            .outputs()
            .unwrap()
            .iter()
            .map(|output| {
                let mode = &output["current_mode"];
                let name = output["name"].as_str().unwrap().to_owned();
                (
                    name,
                    [&mode["width"], &mode["height"], &mode["refresh"]]
                        .map(|number| number.as_u64().unwrap()),
                )
            })
            .collect();
        modes.sort();
        let wanted =
            [("HEADLESS-1".to_owned(), [1280, 720, 60_000]), ("HEADLESS-2".to_owned(), [800, 600, 59_940])];
        assert_eq!(modes, wanted);
        sway.run("no such command").unwrap_err();
        dies(&sway);
        // A second one in the same session finds what the first left and takes no notice.
        let sway = Sway::start(session, &SwayOptions::default()).unwrap();
        assert_eq!(sway.outputs().unwrap().len(), 1);
    });
}

#[test]
fn sway_with_its_portal() {
    in_session("sway-portal", &["sway", "pipewire", "xdg-desktop-portal-wlr"], |session| {
        let sway = Sway::start(session, &SwayOptions::default()).unwrap();
        let portals =
            Portals::start(&sway, PortalKind::Wlr { output: "HEADLESS-1".into(), max_fps: 120 }).unwrap();
        assert!(session.has_name("org.freedesktop.portal.Desktop"));
        portals.backend.as_ref().unwrap().kill();
        session.wait_for_no_name("org.freedesktop.impl.portal.desktop.wlr", Duration::from_secs(5)).unwrap();
    });
}

#[test]
fn mutter() {
    in_session("mutter", &["mutter", "pipewire"], |session| {
        let monitors = vec![Mode::new(1024, 768, 60.0)];
        let mutter = Mutter::start(session, &MutterOptions { monitors }).unwrap();
        eprintln!("{}", mutter.version().unwrap());
        dies(&mutter);
        session.wait_for_no_name("org.gnome.Mutter.ScreenCast", Duration::from_secs(5)).unwrap();
    });
}

#[test]
fn gnome_shell() {
    in_session("gnome-shell", &["gnome-shell", "pipewire"], |session| {
        let shell = GnomeShell::start(session, Mode::new(1024, 768, 60.0)).unwrap();
        eprintln!("{}", shell.version().unwrap());
        assert_eq!(shell.eval("Main.overview.visible").unwrap(), "true");
        dies(&shell);
        session.wait_for_no_name("org.gnome.Shell", Duration::from_secs(5)).unwrap();
    });
}

#[test]
fn mutter_with_its_portal() {
    in_session("mutter-portal", &["mutter", "pipewire", "xdg-desktop-portal-gnome"], |session| {
        let mutter = Mutter::start(session, &MutterOptions::default()).unwrap();
        Portals::start(&mutter, PortalKind::Gnome).unwrap();
    });
}

#[test]
fn kwin() {
    in_session("kwin", &["kwin_wayland", "pipewire"], |session| {
        let kwin = Kwin::start(session, &KwinOptions { outputs: 2, ..KwinOptions::default() }).unwrap();
        eprintln!("{}", kwin.version().unwrap());
        dies(&kwin);
        session.wait_for_no_name("org.kde.KWin", Duration::from_secs(5)).unwrap();
    });
}

#[test]
fn kwin_with_its_portal_and_a_grant() {
    in_session("kwin-portal", &["kwin_wayland", "pipewire"], |session| {
        let kwin = Kwin::start(session, &KwinOptions::default()).unwrap();
        let portals = Portals::start(&kwin, PortalKind::Kde { authorized: true }).unwrap();
        let grants = portals.grants("kde-authorized", "remote-desktop").unwrap();
        assert_eq!(grants.get("").map(Vec::as_slice), Some(["yes".to_owned()].as_slice()));
    });
}

#[test]
fn labwc() {
    in_session("labwc", &["labwc"], |session| {
        let labwc = Labwc::start(session).unwrap();
        eprintln!("{}", labwc.version().unwrap());
        dies(&labwc);
    });
}

#[test]
fn weston() {
    in_session("weston", &["weston", "pipewire", "wireplumber", "pw-dump"], |session| {
        let weston = Weston::start(session, Mode::new(1264, 720, 60.0)).unwrap();
        eprintln!("{}", weston.version().unwrap());
        assert!(session.video_nodes().unwrap().contains(&(weston.node(), "weston.pipewire".into())));
        dies(&weston);
    });
}

/// These need devices that only the virtual machine has.
mod vm {
    use super::*;

    fn devices(what: &str) -> bool {
        if !lumen_lab::in_vm() {
            left_out(what, "it needs the virtual machine (lab/vm/boot)");
        }
        lumen_lab::in_vm()
    }

    #[test]
    fn kwin_with_opengl() {
        if !devices("KWin with OpenGL") {
            return;
        }
        assert!(lumen_lab::render_node().is_some());
        in_session("kwin-gl", &["kwin_wayland", "pipewire"], |session| {
            let renderer = KwinRenderer::OpenGl;
            let kwin = Kwin::start(session, &KwinOptions { renderer, ..KwinOptions::default() }).unwrap();
            assert!(
                kwin.log().contains("OpenGL compositing has been successfully initialized"),
                "{}",
                kwin.log()
            );
        });
    }

    #[test]
    fn gamescope() {
        if !devices("gamescope") {
            return;
        }
        in_session("gamescope", &["gamescope", "pipewire"], |session| {
            let gamescope =
                Gamescope::start(session, &GamescopeOptions::default(), &["sh", "-c", "sleep 1000"]).unwrap();
            eprintln!("{}", gamescope.version().unwrap());
            assert!(session.video_nodes().unwrap().contains(&(gamescope.node(), "gamescope".into())));
            dies(&gamescope);
        });
    }

    #[test]
    fn hyprland() {
        if !devices("Hyprland") {
            return;
        }
        in_session("hyprland", &["Hyprland", "pipewire"], |session| {
            let hyprland = Hyprland::start(session, &HyprlandOptions::default()).unwrap();
            eprintln!("{}", hyprland.version().unwrap());
            assert!(!hyprland.monitors().unwrap().is_empty());
            dies(&hyprland);
        });
    }
}
