//! The command line.

use anyhow::{Context, bail};
use lexopt::prelude::*;
use lumen_testcard::card::Style;
use std::path::PathBuf;
use std::time::Duration;

pub const HELP: &str = "\
testcard [--backend auto|wayland|x11] [--style scroll|box|static] [--clock own|callback] [--fps N] [--size WxH] [--log FILE] [--frames N] [--seconds N]
    Shows the card on $WAYLAND_DISPLAY, else on $DISPLAY.
    --backend  which of the two (auto)
    --style    what moves: the whole picture, a small box, nothing (scroll)
    --clock    draw at --fps whatever the compositor says, or on its frame callbacks (own)
    --fps      pictures a second for --clock own, with up to three decimals (60)
    --size     a window of that size instead of the whole screen
    --log      JSON lines: every input event received, start and end
    --frames   end after so many pictures
    --seconds  end after so many seconds
testcard decode FILE|- [--raw-luma WxH]
    Reads a binary PPM or PGM (or bare luma), prints {frame, time_ns, bars} as JSON; fails when there is no block.
";

#[derive(Debug, PartialEq)]
pub enum Command {
    Help,
    Show(Show),
    Decode(Decode),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// An absolute schedule at so many millihertz.
    Own { rate_mhz: u32 },
    /// `wl_surface.frame`.
    Callback,
}

/// Window systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Wayland where its variable is set, else X11.
    Auto,
    Wayland,
    X11,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Show {
    pub backend: Backend,
    pub style: Style,
    pub clock: Clock,
    /// A window of that size; full-screen without.
    pub size: Option<(u32, u32)>,
    pub log: Option<PathBuf>,
    pub frames: Option<u32>,
    pub seconds: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Decode {
    /// `None` is standard input.
    pub file: Option<PathBuf>,
    pub raw_luma: Option<(u32, u32)>,
}

pub fn parse(mut parser: lexopt::Parser) -> anyhow::Result<Command> {
    let mut show = Show {
        backend: Backend::Auto,
        style: Style::Scroll,
        clock: Clock::Own { rate_mhz: 60_000 },
        size: None,
        log: None,
        frames: None,
        seconds: None,
    };
    let (mut rate_mhz, mut callback) = (60_000, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Command::Help),
            Value(command) if command == "decode" => return parse_decode(parser),
            Long("backend") => show.backend = backend(&parser.value()?.string()?)?,
            Long("style") => show.style = style(&parser.value()?.string()?)?,
            Long("clock") => callback = is_callback(&parser.value()?.string()?)?,
            Long("fps") => rate_mhz = millihertz(&parser.value()?.string()?)?,
            Long("size") => show.size = Some(size(&parser.value()?.string()?)?),
            Long("log") => show.log = Some(parser.value()?.into()),
            Long("frames") => show.frames = Some(parser.value()?.parse()?),
            Long("seconds") => show.seconds = Some(seconds(&parser.value()?.string()?)?),
            other => return Err(other.unexpected().into()),
        }
    }
    show.clock = if callback { Clock::Callback } else { Clock::Own { rate_mhz } };
    Ok(Command::Show(show))
}

fn parse_decode(mut parser: lexopt::Parser) -> anyhow::Result<Command> {
    let (mut file, mut raw_luma) = (None, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("raw-luma") => raw_luma = Some(size(&parser.value()?.string()?)?),
            Value(path) if file.is_none() => file = Some(path),
            other => return Err(other.unexpected().into()),
        }
    }
    let file = file.context("decode needs a file, or - for standard input")?;
    Ok(Command::Decode(Decode { file: (file != "-").then(|| file.into()), raw_luma }))
}

fn backend(text: &str) -> anyhow::Result<Backend> {
    Ok(match text {
        "auto" => Backend::Auto,
        "wayland" => Backend::Wayland,
        "x11" => Backend::X11,
        _ => bail!("unknown backend {text:?}; there are auto, wayland and x11"),
    })
}

fn style(text: &str) -> anyhow::Result<Style> {
    Ok(match text {
        "scroll" => Style::Scroll,
        "box" => Style::Box,
        "static" => Style::Static,
        _ => bail!("unknown style {text:?}; there are scroll, box and static"),
    })
}

fn is_callback(text: &str) -> anyhow::Result<bool> {
    match text {
        "own" => Ok(false),
        "callback" => Ok(true),
        _ => bail!("unknown clock {text:?}; there are own and callback"),
    }
}

/// `59.94` to 59940. Digits only, so that no rate is rounded on its way.
fn millihertz(text: &str) -> anyhow::Result<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let rate = if digits(whole) && digits(fraction) && fraction.len() <= 3 && whole.len() <= 4 {
        let whole: u32 = whole.parse().unwrap_or(0);
        let fraction: u32 = format!("{fraction:0<3}").parse().unwrap_or(0);
        whole * 1000 + fraction
    } else {
        0
    };
    if !(1_000..=1_000_000).contains(&rate) {
        bail!("--fps {text:?} is not a rate between 1 and 1000 with at most three decimals");
    }
    Ok(rate)
}

fn size(text: &str) -> anyhow::Result<(u32, u32)> {
    let (width, height) = text.split_once('x').with_context(|| format!("{text:?} is not WIDTHxHEIGHT"))?;
    let side = |text: &str| text.parse().ok().filter(|side| (1..=16384).contains(side));
    side(width).zip(side(height)).with_context(|| format!("{text:?} is not WIDTHxHEIGHT"))
}

fn seconds(text: &str) -> anyhow::Result<Duration> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .with_context(|| format!("--seconds {text:?} is not a number of seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &str) -> anyhow::Result<Command> {
        parse(lexopt::Parser::from_args(arguments.split_whitespace()))
    }

    #[test]
    fn a_full_command_line() {
        let command = parsed(
            "--backend x11 --style box --clock own --fps 59.94 --log /tmp/x --frames 9 --seconds 1.5 --size 640x360",
        );
        let expected = Show {
            backend: Backend::X11,
            style: Style::Box,
            clock: Clock::Own { rate_mhz: 59_940 },
            size: Some((640, 360)),
            log: Some("/tmp/x".into()),
            frames: Some(9),
            seconds: Some(Duration::from_millis(1500)),
        };
        assert_eq!(command.expect("valid"), Command::Show(expected));
        let Command::Show(show) = parsed("--clock callback --fps 30").expect("valid") else {
            panic!("not a show")
        };
        assert_eq!((show.clock, show.backend), (Clock::Callback, Backend::Auto));
    }

    #[test]
    fn rates_keep_their_fraction() {
        for (text, rate) in [("60", 60_000), ("119.5", 119_500), ("23.976", 23_976), ("60.", 60_000)] {
            assert_eq!(millihertz(text).expect("valid"), rate);
        }
        for text in ["", "0", "-60", "1e3", "60.0001", "99999", "1001", "6 0"] {
            assert!(millihertz(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn decode_takes_a_file_or_standard_input() {
        let decode = |file, raw_luma| Command::Decode(Decode { file, raw_luma });
        assert_eq!(parsed("decode -").expect("valid"), decode(None, None));
        let raw = parsed("decode --raw-luma 640x360 a.y").expect("valid");
        assert_eq!(raw, decode(Some("a.y".into()), Some((640, 360))));
        for wrong in [
            "decode",
            "decode a b",
            "decode a --raw-luma 640",
            "--style tartan",
            "--clock sun",
            "--backend fb",
            "--nope",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
