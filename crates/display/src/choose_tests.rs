use super::*;

fn found(kind: DisplayKind, state: State) -> Finding {
    Finding { kind, state, version: String::new() }
}

fn obstructed() -> State {
    State::Obstructed { cause: "too old".into(), remedy: "Update it".into() }
}

fn config(desktop: &str) -> DisplayConfig {
    let mut config = DisplayConfig::new("/nowhere");
    config.session.variables.insert("XDG_CURRENT_DESKTOP".into(), desktop.into());
    config
}

fn kinds(ladder: &Ladder) -> Vec<DisplayKind> {
    ladder.rungs.iter().map(|rung| rung.kind).collect()
}

#[test]
fn without_a_desktop_the_built_in_compositor_serves_and_no_portal_is_asked() {
    let findings = [found(DisplayKind::Portal, State::Ready), found(DisplayKind::Kwin, State::Absent)];
    let ladder = ladder(DisplayKind::Auto, &config(""), &findings);
    assert_eq!(kinds(&ladder), [DisplayKind::Builtin]);
    assert!(ladder.passed_over.is_empty());
    assert_eq!(ladder.rungs[0].reason, "no desktop runs here");
}

#[test]
fn a_ready_desktop_comes_first_then_its_portal_then_the_built_in() {
    let findings = [found(DisplayKind::Mutter, State::Ready), found(DisplayKind::Portal, State::Ready)];
    let ladder = ladder(DisplayKind::Auto, &config("ubuntu:GNOME"), &findings);
    assert_eq!(kinds(&ladder), [DisplayKind::Mutter, DisplayKind::Portal, DisplayKind::Builtin]);
    assert!(ladder.rungs[0].reason.contains("XDG_CURRENT_DESKTOP"));
}

#[test]
fn the_named_desktop_wins_over_another_that_answers() {
    let findings = [found(DisplayKind::Kwin, State::Ready), found(DisplayKind::Wlroots, State::Ready)];
    let ladder = ladder(DisplayKind::Auto, &config("sway"), &findings);
    assert_eq!(kinds(&ladder), [DisplayKind::Wlroots, DisplayKind::Kwin, DisplayKind::Builtin]);
}

#[test]
fn an_obstructed_desktop_is_passed_over_with_cause_and_remedy() {
    let findings = [found(DisplayKind::Kwin, obstructed()), found(DisplayKind::Portal, State::Ready)];
    let ladder = ladder(DisplayKind::Auto, &config("KDE"), &findings);
    assert_eq!(kinds(&ladder), [DisplayKind::Portal, DisplayKind::Builtin]);
    assert_eq!(ladder.passed_over, ["kwin: too old. Update it"]);
}

#[test]
fn a_desktop_that_is_named_but_does_not_answer_is_told() {
    let ladder = ladder(DisplayKind::Auto, &config("KDE"), &[]);
    assert_eq!(kinds(&ladder), [DisplayKind::Builtin]);
    assert_eq!(ladder.passed_over, ["XDG_CURRENT_DESKTOP names kwin, but it does not answer"]);
}

#[test]
fn a_configured_backend_is_never_replaced_by_the_built_in_compositor() {
    let findings = [found(DisplayKind::Kwin, obstructed()), found(DisplayKind::Portal, State::Ready)];
    let with_portal = ladder(DisplayKind::Kwin, &config(""), &findings);
    assert_eq!(kinds(&with_portal), [DisplayKind::Kwin, DisplayKind::Portal]);
    let absent = ladder(DisplayKind::Kwin, &config(""), &[found(DisplayKind::Kwin, State::Absent)]);
    assert_eq!(kinds(&absent), [DisplayKind::Kwin]);
}

#[test]
fn gamescope_is_taken_when_it_is_the_session_or_its_node_is_set() {
    let findings = [found(DisplayKind::Gamescope, State::Ready), found(DisplayKind::Kwin, State::Ready)];
    let mut config = config("KDE");
    assert!(!kinds(&ladder(DisplayKind::Auto, &config, &findings)).contains(&DisplayKind::Gamescope));
    config.gamescope_node = Some(42);
    assert_eq!(kinds(&ladder(DisplayKind::Auto, &config, &findings))[0], DisplayKind::Gamescope);
    let session = self::config("gamescope");
    assert_eq!(kinds(&ladder(DisplayKind::Auto, &session, &findings))[0], DisplayKind::Gamescope);
}

#[test]
fn a_monitor_that_exists_is_shown_by_the_portal_only() {
    let findings = [found(DisplayKind::Kwin, State::Ready)];
    let mut by_source = config("KDE");
    by_source.source = VideoSource::Portal;
    assert_eq!(kinds(&ladder(DisplayKind::Auto, &by_source, &findings)), [DisplayKind::Portal]);
    let mut by_topology = config("KDE");
    by_topology.topology = Topology::Mirror;
    assert_eq!(kinds(&ladder(DisplayKind::Auto, &by_topology, &findings)), [DisplayKind::Portal]);
}

#[test]
fn without_any_desktop_an_output_comes_from_the_built_in_compositor_and_says_so() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let chooser = Chooser::new(DisplayKind::Auto, DisplayConfig::new(dir.path())).expect("opens");
    let mode = Mode::new(320, 180, 60_000).expect("valid");
    let output = chooser.create(mode, &AppLaunch::default()).expect("made");
    assert_eq!(output.path.requested, "auto");
    assert_eq!(output.path.effective, "built-in");
    assert_eq!(output.path.reason, "no desktop runs here");
}

#[test]
fn a_configured_desktop_that_is_not_there_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().expect("temporary directory");
    for kind in [DisplayKind::Kwin, DisplayKind::Mutter, DisplayKind::Wlroots, DisplayKind::Hyprland] {
        let chooser = Chooser::new(kind, DisplayConfig::new(dir.path())).expect("opens");
        let mode = Mode::new(320, 180, 60_000).expect("valid");
        let Err(error) = chooser.create(mode, &AppLaunch::default()) else { panic!("nothing runs here") };
        assert!(matches!(error, DisplayError::Absent { .. }), "{kind}: {error}");
    }
}

#[test]
fn an_unknown_keyboard_is_refused_at_once_with_the_remedy() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut config = DisplayConfig::new(dir.path());
    config.keyboard_layout = Some("de".to_owned());
    config.keyboard_variant = Some("neo".to_owned());
    Chooser::new(DisplayKind::Auto, config.clone()).expect("a known one");
    config.keyboard_variant = Some("nowhere".to_owned());
    let Err(error) = Chooser::new(DisplayKind::Auto, config) else { panic!("must be refused") };
    let text = error.to_string();
    assert!(text.contains("`de`") && text.contains("`nowhere`"), "{text}");
    assert!(text.contains("input.keyboard_layout"), "{text}");
}

/// Refuses, and counts how often it was asked.
struct Refusing {
    error: fn() -> DisplayError,
    asked: std::sync::atomic::AtomicU64,
}

impl VirtualDisplay for Refusing {
    fn name(&self) -> &'static str {
        "refusing"
    }

    fn create(&self, _mode: Mode, _launch: &AppLaunch) -> Result<VirtualOutput, DisplayError> {
        self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Err((self.error)())
    }
}

#[test]
fn a_locked_session_ends_the_search_and_another_refusal_does_not() {
    let locked = || DisplayError::Locked { backend: "KWin" };
    let failed = || DisplayError::Other("it failed".into());
    for (error, asked_next) in [(locked as fn() -> DisplayError, 0), (failed, 1)] {
        let dir = tempfile::tempdir().expect("temporary directory");
        let chooser = Chooser::new(DisplayKind::Auto, DisplayConfig::new(dir.path())).expect("a chooser");
        let refusing = |error| Arc::new(Refusing { error, asked: Default::default() });
        let (desktop, next) = (refusing(error), refusing(failed));
        lock(&chooser.opened).insert(DisplayKind::Kwin, desktop);
        lock(&chooser.opened).insert(DisplayKind::Portal, next.clone());
        let rung = |kind| Rung { kind, reason: String::new() };
        let rungs = vec![rung(DisplayKind::Kwin), rung(DisplayKind::Portal)];
        let mode = Mode::new(320, 180, 60_000).expect("valid");
        let climbed = chooser.climb(Ladder { rungs, passed_over: Vec::new() }, mode, &AppLaunch::default());
        let Err(said) = climbed else { panic!("both refuse") };
        assert_eq!(said.to_string(), error().to_string());
        assert_eq!(next.asked.load(std::sync::atomic::Ordering::Relaxed), asked_next);
    }
}

#[test]
fn a_desktop_that_no_backend_knows_is_shown_by_its_portal() {
    let ready = [found(DisplayKind::Portal, State::Ready)];
    let unknown = ladder(DisplayKind::Auto, &config("COSMIC"), &ready);
    assert_eq!(kinds(&unknown), [DisplayKind::Portal, DisplayKind::Builtin]);
    assert!(unknown.rungs[0].reason.contains("no backend knows"));
    assert_eq!(kinds(&ladder(DisplayKind::Auto, &config(""), &ready)), [DisplayKind::Builtin]);
}

#[test]
fn a_desktop_that_did_not_answer_at_a_look_is_asked_all_the_same() {
    let silent = State::Silent { cause: "no answer".into(), remedy: "Look".into() };
    let found = [found(DisplayKind::Wlroots, silent), found(DisplayKind::Portal, State::Ready)];
    let ladder = ladder(DisplayKind::Auto, &config("sway"), &found);
    assert_eq!(kinds(&ladder), [DisplayKind::Wlroots, DisplayKind::Portal, DisplayKind::Builtin]);
    assert!(ladder.rungs[0].reason.contains("busy"));
}

#[test]
fn a_locked_desktop_is_asked_so_that_its_refusal_is_heard() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let found = [Finding { kind: DisplayKind::Mutter, state: State::Locked, version: String::new() }];
    let ladder = ladder(DisplayKind::Auto, &DisplayConfig::new(dir.path()), &found);
    assert_eq!(ladder.rungs[0].kind, DisplayKind::Mutter);
    assert!(ladder.rungs[0].reason.contains("locked"));
}

#[test]
fn a_kind_counts_as_clean_only_when_nothing_is_left() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let config = DisplayConfig::new(dir.path());
    let layout = dir.path().join("layout");
    std::fs::create_dir(&layout).expect("created");
    let chooser = Chooser::new(DisplayKind::Auto, config).expect("a chooser");
    // Of a KWin that is not there yet.
    let left = layout.join("kwin-wayland-0.json");
    std::fs::write(&left, r#"{"places":[],"kwin":null,"before":{"places":[]}}"#).expect("written");
    chooser.clean_up();
    let missing =
        BACKENDS.iter().map(|backend| backend.kind).filter(|kind| !lock(&chooser.cleaned).contains(kind));
    assert_eq!(missing.collect::<Vec<_>>(), [DisplayKind::Kwin]);
    std::fs::remove_file(left).expect("there");
    chooser.clean_up();
    assert_eq!(lock(&chooser.cleaned).len(), BACKENDS.len());
}
