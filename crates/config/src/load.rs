//! From text to settings: default file, then the user's file, then the environment.

use crate::apps::{App, AppEntry, Command, list};
use crate::environment::{Environment, Overrides};
use crate::error::ConfigError;
use crate::paths::Paths;
use crate::reader::{Choice, Field, Section, Source, is_plain};
use crate::settings::*;
use std::io::ErrorKind;
use std::path::Path;

/// The default file, with a comment on every key.
pub const DEFAULT_FILE: &str = include_str!("default.toml");

impl Default for Config {
    /// What [`DEFAULT_FILE`] says.
    fn default() -> Self {
        Config {
            server: Server { name: None, ports: Ports::default(), mdns: true, state_dir: None },
            display: Display {
                compositor: CompositorChoice::Auto,
                topology: Topology::Primary,
                linger_seconds: 10,
                source: VideoSource::Virtual,
            },
            capture: Capture {
                zero_copy: false,
                dmabuf: false,
                gamescope_node: None,
                fixed_pod: false,
                answer_seconds: 2,
            },
            video: Video {
                codecs: Codecs::Auto,
                idle_fps: 15,
                fec_percent: 20,
                encryption: Encryption::Supported,
                qp_floor: 18,
                preset: Preset::Auto,
                threads: None,
            },
            audio: Audio { gain: 1.0 },
            input: Input {
                keyboard: true,
                pointer: true,
                touch: true,
                gamepads: Gamepads::Auto,
                keyboard_layout: None,
                keyboard_variant: None,
            },
            apps: list(Vec::new()),
            debug: Debug { ffmpeg: false },
        }
    }
}

impl Config {
    /// Default file, user's file, environment. `file` is the one that was asked for on the command line and must exist;
    /// without it the usual one ([`Paths::config_file`]) is read if it is there.
    ///
    /// # Errors
    /// [`ConfigError`] names the file or variable, the line and what would be right.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self, ConfigError> {
        let path = file.map_or_else(|| Paths::config_file(environment), Path::to_path_buf);
        let mut config = Self::default();
        config.input.take_keyboard(environment)?;
        match std::fs::read_to_string(&path) {
            Ok(text) => config.read(&text, &path)?,
            Err(error) if error.kind() == ErrorKind::NotFound && file.is_none() => {}
            Err(source) => return Err(ConfigError::Read { file: path, source }),
        }
        config.apply(&environment.overrides)?;
        Ok(config)
    }

    /// Default file and the text of a user's file, which is called `file` in messages.
    ///
    /// # Errors
    /// [`ConfigError`] names the line and what would be right.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        config.read(text, file)?;
        Ok(config)
    }

    /// Lays a file over the settings.
    fn read(&mut self, text: &str, file: &Path) -> Result<(), ConfigError> {
        let source = Source { file, text };
        let document = source.parse()?;
        let mut root = Section::root(source, document.get_ref());
        self.server.read(root.section("server")?)?;
        self.display.read(root.section("display")?)?;
        self.capture.read(root.section("capture")?)?;
        self.video.read(root.section("video")?)?;
        self.audio.read(root.section("audio")?)?;
        self.input.read(root.section("input")?)?;
        root.read("apps", &mut self.apps, apps)?;
        self.debug.read(root.section("debug")?)?;
        root.finish().map_err(|error| match error {
            // A key without its section.
            ConfigError::UnknownKey { place, key, nearest, valid } => {
                let nearest = in_its_section(&key).or(nearest);
                ConfigError::UnknownKey { place, key, nearest, valid }
            }
            error => error,
        })
    }

    /// Lays the environment over the settings.
    ///
    /// # Errors
    /// [`ConfigError::Variable`]; what came before the bad variable is applied.
    pub fn apply(&mut self, overrides: &Overrides) -> Result<(), ConfigError> {
        let Overrides {
            compositor,
            video_source,
            zero_copy,
            gamescope_node,
            fixed_pod,
            answer_seconds,
            audio_gain,
            ffmpeg_debug,
        } = overrides;
        word("LUMEN_COMPOSITOR", compositor, &mut self.display.compositor)?;
        word("LUMEN_VIDEO_SOURCE", video_source, &mut self.display.source)?;
        switch("LUMEN_ZEROCOPY", zero_copy, &mut self.capture.zero_copy)?;
        variable("LUMEN_GAMESCOPE_NODE", gamescope_node, &mut self.capture.gamescope_node, |text| {
            text.parse().map(Some).map_err(|_| "the number of a PipeWire node".into())
        })?;
        switch("LUMEN_PW_FIXED_POD", fixed_pod, &mut self.capture.fixed_pod)?;
        variable("LUMEN_ANSWER_SECONDS", answer_seconds, &mut self.capture.answer_seconds, |text| {
            let seconds = text.parse().ok().filter(|seconds| ANSWER_SECONDS.contains(seconds));
            seconds.ok_or_else(|| {
                format!("a whole number from {} to {}", ANSWER_SECONDS.start(), ANSWER_SECONDS.end())
            })
        })?;
        variable("LUMEN_AUDIO_GAIN", audio_gain, &mut self.audio.gain, |text| {
            let gain = text.parse().ok().filter(|gain| GAIN.contains(gain));
            gain.ok_or_else(|| format!("a number from {} to {}", GAIN.start(), GAIN.end()))
        })?;
        switch("LUMEN_FFMPEG_DEBUG", ffmpeg_debug, &mut self.debug.ffmpeg)
    }
}

/// The full name of a key that stands in one of the sections of the default file, which shows them all.
fn in_its_section(key: &str) -> Option<String> {
    let mut section = "";
    for line in DEFAULT_FILE.lines() {
        let bare = line.trim_start_matches(['#', ' ']);
        if bare.starts_with("[[") {
            // Apps come last, as examples.
            break;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
        } else if bare.strip_prefix(key).is_some_and(|rest| rest.starts_with(" = ")) && !section.is_empty() {
            return Some(format!("{section}.{key}"));
        }
    }
    None
}

const GAIN: std::ops::RangeInclusive<f32> = 0.0..=Audio::MAX_GAIN;
const ANSWER_SECONDS: std::ops::RangeInclusive<u32> = 1..=Capture::MAX_ANSWER_SECONDS;
const MAX_LINGER_SECONDS: u32 = 86_400;

impl Server {
    fn read(&mut self, mut section: Section<'_>) -> Result<(), ConfigError> {
        section.read("name", &mut self.name, |field| field.text().map(Some))?;
        section.read("base_port", &mut self.ports, |field| {
            let base = field.as_integer().and_then(|base| u16::try_from(base).ok());
            base.and_then(Ports::new).ok_or_else(|| {
                let (first, last) = (Ports::VALID_BASES.start(), Ports::VALID_BASES.end());
                field.refuse(format!(
                    "a port from {first} to {last}: the other ports lie from 5 below to 21 above it"
                ))
            })
        })?;
        section.read("mdns", &mut self.mdns, Field::boolean)?;
        section.read("state_dir", &mut self.state_dir, |field| match field.as_text().map(Path::new) {
            Some(path) if path.is_absolute() => Ok(Some(path.to_path_buf())),
            _ => Err(field.refuse("an absolute path")),
        })?;
        section.finish()
    }
}

impl Display {
    fn read(&mut self, mut section: Section<'_>) -> Result<(), ConfigError> {
        section.read("compositor", &mut self.compositor, Field::choice)?;
        section.read("topology", &mut self.topology, Field::choice)?;
        section.read("linger_seconds", &mut self.linger_seconds, |field| {
            field.integer(0..=MAX_LINGER_SECONDS)
        })?;
        section.read("source", &mut self.source, Field::choice)?;
        section.finish()
    }
}

impl Capture {
    fn read(&mut self, mut section: Section<'_>) -> Result<(), ConfigError> {
        section.read("zero_copy", &mut self.zero_copy, Field::boolean)?;
        section.read("dmabuf", &mut self.dmabuf, Field::boolean)?;
        section.read("gamescope_node", &mut self.gamescope_node, |field| {
            field.integer(0..=u32::MAX).map(Some)
        })?;
        section.read("fixed_pod", &mut self.fixed_pod, Field::boolean)?;
        section.read("answer_seconds", &mut self.answer_seconds, |field| field.integer(ANSWER_SECONDS))?;
        section.finish()
    }
}

impl Video {
    fn read(&mut self, mut section: Section<'_>) -> Result<(), ConfigError> {
        section.read("codecs", &mut self.codecs, codecs)?;
        section.read("idle_fps", &mut self.idle_fps, |field| field.integer(1..=Self::MAX_IDLE_FPS))?;
        section
            .read("fec_percent", &mut self.fec_percent, |field| field.integer(0..=Self::MAX_FEC_PERCENT))?;
        section.read("encryption", &mut self.encryption, Field::choice)?;
        section.read("qp_floor", &mut self.qp_floor, |field| {
            // The range fits the smaller type.
            field.integer(0..=u32::from(Self::MAX_QP)).map(|qp| qp as u8)
        })?;
        section.read("preset", &mut self.preset, Field::choice)?;
        section.read("threads", &mut self.threads, |field| match field.as_integer() {
            _ if field.is("auto") => Ok(None),
            Some(threads) if (1..=Self::MAX_THREADS).contains(&threads) => Ok(Some(threads)),
            _ => Err(field.refuse(format!("\"auto\" or a whole number from 1 to {}", Self::MAX_THREADS))),
        })?;
        section.finish()
    }
}

impl Audio {
    fn read(&mut self, mut section: Section<'_>) -> Result<(), ConfigError> {
        section.read("gain", &mut self.gain, |field| field.float(GAIN))?;
        section.finish()
    }
}

impl Input {
    fn read(&mut self, mut section: Section<'_>) -> Result<(), ConfigError> {
        section.read("keyboard", &mut self.keyboard, Field::boolean)?;
        section.read("pointer", &mut self.pointer, Field::boolean)?;
        section.read("touch", &mut self.touch, Field::boolean)?;
        section.read("gamepads", &mut self.gamepads, Field::choice)?;
        let mut layout = None;
        section.read("keyboard_layout", &mut layout, |field| xkb_word(field, "us").map(Some))?;
        if layout.is_some() {
            // A variant belongs to the layout that it was named with.
            self.keyboard_layout = layout;
            self.keyboard_variant = None;
        }
        section.read("keyboard_variant", &mut self.keyboard_variant, |field| {
            xkb_word(field, "nodeadkeys").map(Some)
        })?;
        section.finish()
    }

    /// The keyboard of the environment, which the file may replace.
    fn take_keyboard(&mut self, environment: &Environment) -> Result<(), ConfigError> {
        let word = |text: &str, example| match is_xkb_word(text) {
            true => Ok(text.to_owned()),
            false => Err(xkb_expected(example)),
        };
        variable("XKB_DEFAULT_LAYOUT", &environment.xkb_layout, &mut self.keyboard_layout, |text| {
            word(text, "us").map(Some)
        })?;
        variable("XKB_DEFAULT_VARIANT", &environment.xkb_variant, &mut self.keyboard_variant, |text| {
            word(text, "nodeadkeys").map(Some)
        })
    }
}

/// Whether `text` can be the name of an XKB layout or variant, or a list of them.
fn is_xkb_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "_,()-".contains(letter))
}

fn xkb_expected(example: &str) -> String {
    format!("a name as XKB knows it, such as {example:?}: letters, digits and _,()- only")
}

fn xkb_word(field: Field<'_>, example: &str) -> Result<String, ConfigError> {
    match field.as_text() {
        Some(text) if is_xkb_word(text) => Ok(text.to_owned()),
        _ => Err(field.refuse(xkb_expected(example))),
    }
}

impl Debug {
    fn read(&mut self, mut section: Section<'_>) -> Result<(), ConfigError> {
        section.read("ffmpeg", &mut self.ffmpeg, Field::boolean)?;
        section.finish()
    }
}

fn codecs(field: Field<'_>) -> Result<Codecs, ConfigError> {
    if field.is("auto") {
        return Ok(Codecs::Auto);
    }
    let mut codecs: Vec<Codec> = Vec::new();
    for entry in field.list().unwrap_or_default() {
        let codec = entry.as_choice().ok_or_else(|| entry.refuse(Codec::expected()))?;
        if codecs.contains(&codec) {
            return Err(entry.refuse("a codec that is not in the list yet"));
        }
        codecs.push(codec);
    }
    match codecs.is_empty() {
        true => Err(field.refuse("\"auto\" or a list such as [\"h264\", \"hevc\"]")),
        false => Ok(Codecs::Forced(codecs)),
    }
}

fn apps(field: Field<'_>) -> Result<Vec<App>, ConfigError> {
    let Some(fields) = field.list() else {
        return Err(field.refuse("a list of sections: [[apps]]"));
    };
    let mut entries: Vec<AppEntry> = Vec::new();
    for field in fields {
        let no_title = field.refuse("an app with a `title`");
        let no_command = field.refuse("an app with a `command`, a list or a line for the shell");
        let mut section = field.section()?;
        let title_field = section.field("title").ok_or(no_title)?;
        let twice = title_field.refuse("different from the titles before it");
        let title = title_field.text()?;
        if entries.iter().any(|entry| entry.title == title) {
            return Err(twice);
        }
        let command = match section.field("command") {
            Some(field) => command(field)?,
            // An entry for the desktop may change its environment only.
            None if title == App::DESKTOP => Command::Desktop,
            None => return Err(no_command),
        };
        let mut env = Vec::new();
        section.read("env", &mut env, environment)?;
        section.finish()?;
        entries.push(AppEntry { title, command, env });
    }
    Ok(list(entries))
}

fn command(field: Field<'_>) -> Result<Command, ConfigError> {
    let Some(arguments) = field.list() else {
        return match field.as_text() {
            // Lines of a multi-line text are lines of a script.
            Some(line) if !line.trim().is_empty() && !line.contains('\0') => Ok(Command::Shell(line.into())),
            _ => Err(field.refuse("a list (program and arguments) or a line for the shell")),
        };
    };
    let mut texts = Vec::with_capacity(arguments.len());
    for argument in arguments {
        match argument.as_text() {
            Some(text) if !text.contains('\0') => texts.push(text.to_owned()),
            _ => return Err(argument.refuse("a text")),
        }
    }
    match texts.first() {
        Some(program) if is_plain(program) => Ok(Command::Arguments(texts)),
        _ => Err(field.refuse("a list that starts with a program")),
    }
}

fn environment(field: Field<'_>) -> Result<Vec<(String, String)>, ConfigError> {
    let mut env = Vec::new();
    for (name, field) in field.pairs()? {
        if name.contains('=') || !is_plain(&name) {
            return Err(field.refuse("named like an environment variable"));
        }
        match field.as_text() {
            Some(value) if !value.contains('\0') => env.push((name, value.to_owned())),
            _ => return Err(field.refuse("a text")),
        }
    }
    Ok(env)
}

/// Replaces `target` when the variable is set.
fn variable<T>(
    name: &'static str,
    value: &Option<String>,
    target: &mut T,
    convert: impl FnOnce(&str) -> Result<T, String>,
) -> Result<(), ConfigError> {
    if let Some(value) = value {
        *target = convert(value.trim()).map_err(|expected| ConfigError::Variable {
            variable: name,
            value: value.clone(),
            expected,
        })?;
    }
    Ok(())
}

fn word<T: Choice>(name: &'static str, value: &Option<String>, target: &mut T) -> Result<(), ConfigError> {
    variable(name, value, target, |text| T::of_word(text).ok_or_else(T::expected))
}

fn switch(name: &'static str, value: &Option<String>, target: &mut bool) -> Result<(), ConfigError> {
    variable(name, value, target, |text| match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("1 or 0".into()),
    })
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
