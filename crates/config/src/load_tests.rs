use super::*;
use crate::apps::AppId;
use crate::error::Place;
use std::path::PathBuf;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("lumen.toml"))
}

/// The message for a file that must be refused.
fn message(text: &str) -> String {
    parse(text).expect_err("must be refused").to_string()
}

fn overridden(variable: &str, value: &str) -> Result<Config, ConfigError> {
    let environment = Environment::read(|name| (name == variable).then(|| value.to_owned()));
    let mut config = Config::default();
    config.apply(&environment.overrides).map(|()| config)
}

/// The default file with its commented keys made real.
fn everything() -> String {
    let uncomment = |line: &str| match line.strip_prefix("# ") {
        Some(rest)
            if rest.starts_with("[[") || rest.split_once(" = ").is_some_and(|(key, _)| is_key(key)) =>
        {
            rest.to_owned()
        }
        _ => line.to_owned(),
    };
    DEFAULT_FILE.lines().map(uncomment).collect::<Vec<_>>().join("\n")
}

fn is_key(text: &str) -> bool {
    text.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_')
}

#[test]
fn the_default_file_says_what_the_defaults_are() {
    assert_eq!(parse(DEFAULT_FILE).expect("valid"), Config::default());
    assert_eq!(parse("").expect("valid"), Config::default());
}

#[test]
fn the_default_file_shows_every_key() {
    let valid = parse(&everything()).expect("valid");
    assert_eq!(valid.server.name.as_deref(), Some("Living room"));
    assert_eq!(valid.capture.gamescope_node, Some(42));
    assert_eq!(valid.apps.len(), 2);
    // A key that is not shown would be missing from this list, which is what a wrong key is answered with.
    for section in ["server", "display", "capture", "video", "audio", "input", "debug"] {
        let ConfigError::UnknownKey { valid, .. } =
            parse(&format!("[{section}]\nqqqqqqqq = 1")).expect_err("must be refused")
        else {
            panic!("the key is unknown")
        };
        for key in &valid {
            let shown = everything().lines().any(|line| line.starts_with(&format!("{key} = ")));
            assert!(shown, "{section}.{key} is not in the default file");
        }
        assert!(!valid.is_empty());
    }
}

#[test]
fn the_full_parse() {
    let config = parse(
        r#"
        [server]
        name = "Büro"
        base_port = 48_000
        mdns = false
        state_dir = "/srv/lumen"
        [display]
        compositor = "built-in"
        topology = "exclusive"
        linger_seconds = 0
        source = "test-pattern"
        [capture]
        zero_copy = true
        dmabuf = true
        gamescope_node = 0x2a
        fixed_pod = true
        answer_seconds = 60
        [video]
        codecs = ["hevc", "h264"]
        idle_fps = 60
        fec_percent = 0
        encryption = "required"
        qp_floor = 51
        preset = "better"
        threads = 3
        [audio]
        gain = 2
        [input]
        keyboard = false
        pointer = false
        touch = false
        gamepads = "dualshock-4"
        keyboard_layout = "de,us"
        keyboard_variant = "nodeadkeys,"
        [debug]
        ffmpeg = true
        [[apps]]
        title = "Terminal"
        command = ["foot", "-e", ""]
        env = { B = "2", A = "" }
        [[apps]]
        title = "Desktop"
        command = "sway -d 2>&1"
        "#,
    )
    .expect("valid");
    let ids: Vec<AppId> = config.apps.iter().map(|app| app.id).collect();
    let expected = Config {
        server: Server {
            name: Some("Büro".into()),
            ports: Ports::new(48_000).expect("valid"),
            mdns: false,
            state_dir: Some("/srv/lumen".into()),
        },
        display: Display {
            compositor: CompositorChoice::BuiltIn,
            topology: Topology::Exclusive,
            linger_seconds: 0,
            source: VideoSource::TestPattern,
        },
        capture: Capture {
            zero_copy: true,
            dmabuf: true,
            gamescope_node: Some(42),
            fixed_pod: true,
            answer_seconds: 60,
        },
        video: Video {
            codecs: Codecs::Forced(vec![Codec::Hevc, Codec::H264]),
            idle_fps: 60,
            fec_percent: 0,
            encryption: Encryption::Required,
            qp_floor: 51,
            preset: Preset::Better,
            threads: Some(3),
        },
        audio: Audio { gain: 2.0 },
        input: Input {
            keyboard: false,
            pointer: false,
            touch: false,
            gamepads: Gamepads::DualShock4,
            keyboard_layout: Some("de,us".into()),
            keyboard_variant: Some("nodeadkeys,".into()),
        },
        apps: vec![
            App {
                title: "Desktop".into(),
                id: ids[0],
                command: Command::Shell("sway -d 2>&1".into()),
                env: vec![],
            },
            App {
                title: "Terminal".into(),
                id: ids[1],
                command: Command::Arguments(vec!["foot".into(), "-e".into(), String::new()]),
                env: vec![("A".into(), String::new()), ("B".into(), "2".into())],
            },
        ],
        debug: Debug { ffmpeg: true },
    };
    assert_eq!(config, expected);
    assert_eq!(config.apps[0].command.to_arguments(), ["/bin/sh", "-c", "sway -d 2>&1"]);
    assert_eq!(config.apps[1].command.to_arguments(), ["foot", "-e", ""]);
}

#[test]
fn the_ports_follow_the_base_port() {
    let ports = Ports::default();
    assert_eq!(
        [ports.https(), ports.http(), ports.video(), ports.control(), ports.audio(), ports.rtsp()],
        [47984, 47989, 47998, 47999, 48000, 48010]
    );
    assert_eq!(Ports::new(5), None);
    assert_eq!(Ports::new(6).map(Ports::https), Some(1));
    assert_eq!(Ports::new(65_514).map(Ports::rtsp), Some(65_535));
    assert_eq!(Ports::new(65_515), None);
}

#[test]
fn an_unknown_key_is_answered_with_the_nearest() {
    assert_eq!(
        message("# mine\n[video]\n  codec = \"h264\"\n"),
        "lumen.toml:3:3: unknown key `video.codec`; did you mean `video.codecs`?"
    );
    assert_eq!(
        message("[vidoe]\nidle_fps = 1\n"),
        "lumen.toml:1:2: unknown key `vidoe`; did you mean `video`?"
    );
    assert_eq!(
        message("[audio]\nbitrate = 1\n"),
        "lumen.toml:2:1: unknown key `audio.bitrate`; valid here: gain"
    );
    assert_eq!(
        message(
            "[[apps]]\ntitle = \"a\"\ncommand = \"a\"\n[[apps]]\ntitle = \"b\"\ncommand = \"b\"\nnev = {}\n"
        ),
        "lumen.toml:7:1: unknown key `apps[1].nev`; did you mean `apps[1].env`?"
    );
    // Keys without their section, also those that the default file only shows.
    assert!(message("mdns = false\n").contains("unknown key `mdns`; did you mean `server.mdns`?"));
    assert!(message("name = \"tv\"\n").contains("did you mean `server.name`?"));
    assert!(message("title = \"tv\"\n").contains("valid here: server, "));
    // The first in the file is named, not the first in the alphabet.
    assert!(message("[input]\nzzz = 1\naaa = 1\n").contains("input.zzz"));
}

#[test]
fn a_wrong_value_is_answered_with_what_would_be_right() {
    for (text, expected) in [
        (
            "[server]\nbase_port = 65520",
            "lumen.toml:2:13: `server.base_port` must be a port from 6 to 65514: the other ports lie from 5 below to 21 above it",
        ),
        ("[server]\nbase_port = 3", "`server.base_port` must be a port from 6"),
        ("[server]\nbase_port = 113525", "`server.base_port` must be a port from 6"),
        ("[server]\nbase_port = -1", "`server.base_port` must be a port from 6"),
        ("[server]\nname = \"\"", "`server.name` must be a text that is not empty"),
        ("[server]\nname = \"a\\u0007\"", "no control characters"),
        ("[server]\nstate_dir = \"here\"", "`server.state_dir` must be an absolute path"),
        ("[server]\nmdns = 1", "`server.mdns` must be true or false"),
        ("server = 1", "lumen.toml:1:10: `server` must be a section: [server]"),
        (
            "[display]\nlinger_seconds = 86401",
            "`display.linger_seconds` must be a whole number from 0 to 86400",
        ),
        ("[display]\nlinger_seconds = 1.5", "a whole number from 0 to 86400"),
        (
            "[display]\ntopology = \"Primary\"",
            "lumen.toml:2:12: `display.topology` must be one of \"primary\", \"extend\", \"exclusive\", \"mirror\"",
        ),
        ("[display]\ncompositor = 1", "must be one of \"auto\", \"built-in\", \"kwin\""),
        ("[video]\nidle_fps = 0", "`video.idle_fps` must be a whole number from 1 to 60"),
        ("[video]\nidle_fps = 61", "`video.idle_fps` must be a whole number from 1 to 60"),
        ("[video]\nfec_percent = 101", "a whole number from 0 to 100"),
        ("[video]\nqp_floor = 52", "a whole number from 0 to 51"),
        ("[video]\npreset = \"ultrafast\"", "`video.preset` must be one of \"auto\", \"fast\", \"better\""),
        (
            "[input]\nkeyboard_layout = \"de/../x\"",
            "`input.keyboard_layout` must be a name as XKB knows it, such as \"us\": letters, digits and _,()- only",
        ),
        ("[input]\nkeyboard_layout = \"\"", "`input.keyboard_layout` must be a name as XKB knows it"),
        ("[input]\nkeyboard_variant = \"a\\u0000\"", "`input.keyboard_variant` must be a name"),
        ("[video]\nthreads = 0", "`video.threads` must be \"auto\" or a whole number from 1 to 64"),
        ("[video]\ncodecs = []", "`video.codecs` must be \"auto\" or a list such as"),
        ("[video]\ncodecs = \"h264\"", "`video.codecs` must be \"auto\" or a list such as"),
        (
            "[video]\ncodecs = [\"h264\", \"vp9\"]",
            "lumen.toml:2:19: `video.codecs[1]` must be one of \"h264\", \"hevc\", \"av1\"",
        ),
        ("[video]\ncodecs = [\"h264\", \"h264\"]", "a codec that is not in the list yet"),
        ("[audio]\ngain = nan", "`audio.gain` must be a number from 0 to 16"),
        ("[audio]\ngain = -0.5", "`audio.gain` must be a number from 0 to 16"),
        ("[audio]\ngain = 0x10", "`audio.gain` must be a number from 0 to 16"),
        ("[apps]\ntitle = \"a\"", "`apps` must be a list of sections: [[apps]]"),
        ("apps = [1]", "`apps[0]` must be a section"),
        ("[[apps]]\ncommand = \"a\"", "`apps[0]` must be an app with a `title`"),
        ("[[apps]]\ntitle = \"a\"", "`apps[0]` must be an app with a `command`"),
        ("[[apps]]\ntitle = \"a\"\ncommand = []", "a list that starts with a program"),
        ("[[apps]]\ntitle = \"a\"\ncommand = [\"a\", 1]", "`apps[0].command[1]` must be a text"),
        (
            "[[apps]]\ntitle = \"a\"\ncommand = \" \"",
            "a list (program and arguments) or a line for the shell",
        ),
        ("[[apps]]\ntitle = \"a\"\ncommand = \"b\"\nenv = { A = 1 }", "`apps[0].env.A` must be a text"),
        (
            "[[apps]]\ntitle = \"a\"\ncommand = \"b\"\nenv = { \"A=\" = \"\" }",
            "named like an environment variable",
        ),
        ("[[apps]]\ntitle = \"a\"\ncommand = \"b\"\nenv = 1", "`apps[0].env` must be a table"),
        (
            "[[apps]]\ntitle = \"a\"\ncommand = \"b\"\n[[apps]]\ntitle = \"a\"\ncommand = \"c\"",
            "lumen.toml:5:9: `apps[1].title` must be different from the titles before it",
        ),
    ] {
        let message = message(text);
        assert!(message.contains(expected), "{text}\ngave: {message}\nnot:  {expected}");
    }
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_its_place() {
    let error = parse("[server]\nname = \n").expect_err("must be refused");
    let ConfigError::Syntax { place, message } = error else { panic!("not {error:?}") };
    assert_eq!((place.line, message.contains('\n')), (2, false));
    assert!(matches!(parse("[server]\n[server]\n"), Err(ConfigError::Syntax { .. })));
}

#[test]
fn an_entry_for_the_desktop_may_change_its_environment_only() {
    let config = parse("[[apps]]\ntitle = \"Desktop\"\nenv = { A = \"1\" }").expect("valid");
    assert_eq!(config.apps.len(), 1);
    assert_eq!(config.apps[0].command, Command::Desktop);
    assert_eq!(config.apps[0].env, [("A".to_owned(), "1".to_owned())]);
}

#[test]
fn the_environment_overrides_the_file() {
    let get = |variable, value| overridden(variable, value).expect("valid");
    assert_eq!(get("LUMEN_COMPOSITOR", "kwin").display.compositor, CompositorChoice::Kwin);
    assert_eq!(get("LUMEN_VIDEO_SOURCE", "portal").display.source, VideoSource::Portal);
    assert!(get("LUMEN_ZEROCOPY", "1").capture.zero_copy);
    assert!(!get("LUMEN_ZEROCOPY", "off").capture.zero_copy);
    assert_eq!(get("LUMEN_GAMESCOPE_NODE", "57").capture.gamescope_node, Some(57));
    assert!(get("LUMEN_PW_FIXED_POD", "yes").capture.fixed_pod);
    assert_eq!(get("LUMEN_ANSWER_SECONDS", "30").capture.answer_seconds, 30);
    assert_eq!(get("LUMEN_AUDIO_GAIN", "0.25").audio.gain, 0.25);
    assert!(get("LUMEN_FFMPEG_DEBUG", "TRUE").debug.ffmpeg);
    assert_eq!(get("LUMEN_ZEROCOPY", ""), Config::default(), "empty is unset");
    assert_eq!(get("LUMEN_SOMETHING", "1"), Config::default());
}

#[test]
fn a_wrong_variable_is_named() {
    let message = |variable, value| overridden(variable, value).expect_err("must be refused").to_string();
    assert_eq!(
        message("LUMEN_ZEROCOPY", "maybe"),
        "LUMEN_ZEROCOPY=\"maybe\": the value must be 1 or 0. Correct or unset the variable"
    );
    assert!(message("LUMEN_AUDIO_GAIN", "17").contains("a number from 0 to 16"));
    assert!(message("LUMEN_AUDIO_GAIN", "NaN").contains("a number from 0 to 16"));
    assert!(message("LUMEN_GAMESCOPE_NODE", "-1").contains("the number of a PipeWire node"));
    assert!(message("LUMEN_COMPOSITOR", "x11").contains("one of \"auto\", \"built-in\""));
}

#[test]
fn files_are_found_read_and_missed() {
    let dir = tempfile::tempdir().expect("a folder");
    let environment = Environment {
        config_home: Some(dir.path().to_path_buf()),
        overrides: Overrides { audio_gain: Some("3".into()), ..Overrides::default() },
        ..Environment::default()
    };
    let config = Config::load(None, &environment).expect("no file is fine");
    assert_eq!((config.audio.gain, config.video.idle_fps), (3.0, 15));

    std::fs::create_dir(dir.path().join("lumen")).expect("writable");
    std::fs::write(dir.path().join("lumen/config.toml"), "[audio]\ngain = 2\n[video]\nidle_fps = 7\n")
        .expect("writable");
    let config = Config::load(None, &environment).expect("valid");
    assert_eq!((config.audio.gain, config.video.idle_fps), (3.0, 7), "the environment wins over the file");

    let asked_for = dir.path().join("other.toml");
    let error = Config::load(Some(&asked_for), &environment).expect_err("the file was asked for");
    assert!(error.to_string().contains("other.toml"), "{error}");
    assert!(matches!(error, ConfigError::Read { .. }));
    // A folder in the place of the file is no missing file.
    assert!(matches!(Config::load(Some(dir.path()), &environment), Err(ConfigError::Read { .. })));
}

#[test]
fn the_keyboard_comes_from_the_file_else_the_environment_else_it_is_american() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("lumen.toml");
    let keyboard = |text: &str, layout: Option<&str>, variant: Option<&str>| {
        std::fs::write(&file, text).expect("writable");
        let environment = Environment {
            xkb_layout: layout.map(String::from),
            xkb_variant: variant.map(String::from),
            ..Environment::default()
        };
        Config::load(Some(&file), &environment)
            .map(|config| {
                (
                    config.input.keyboard_layout.unwrap_or_default(),
                    config.input.keyboard_variant.unwrap_or_default(),
                )
            })
            .map_err(|error| error.to_string())
    };
    let is = |layout: &str, variant: &str| Ok((layout.to_owned(), variant.to_owned()));
    assert_eq!(keyboard("", None, None), is("", ""), "the desktop's own");
    assert_eq!(keyboard("", Some("de"), Some("neo")), is("de", "neo"));
    let file_layout = "[input]\nkeyboard_layout = \"fr\"";
    assert_eq!(keyboard(file_layout, Some("de"), Some("neo")), is("fr", ""), "neo is no variant of fr");
    let file_variant = "[input]\nkeyboard_variant = \"nodeadkeys\"";
    assert_eq!(keyboard(file_variant, Some("de"), Some("neo")), is("de", "nodeadkeys"));
    let error = keyboard("", Some("de;"), None).expect_err("no name of a layout");
    assert!(error.contains("XKB_DEFAULT_LAYOUT=\"de;\"") && error.contains("Correct or unset"), "{error}");
    let error = keyboard("", None, Some("neo/x")).expect_err("no name of a variant");
    assert!(error.contains("XKB_DEFAULT_VARIANT"), "{error}");
}

#[test]
fn words_stand_for_themselves() {
    fn check<T: Choice + std::fmt::Display>() {
        for (word, value) in T::WORDS {
            assert_eq!(value.to_string(), *word);
        }
    }
    check::<CompositorChoice>();
    check::<Topology>();
    check::<VideoSource>();
    check::<Codec>();
    check::<Encryption>();
    check::<Preset>();
    assert_eq!(Place { file: PathBuf::from("a"), line: 1, column: 2 }.to_string(), "a:1:2");
}
