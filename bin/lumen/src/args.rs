//! The command line.

use lexopt::prelude::*;
use lumen_host::{m0, setup};
use std::path::PathBuf;

/// What the user asked for.
#[derive(Debug, PartialEq)]
pub struct Arguments {
    /// `--config FILE`
    pub config: Option<PathBuf>,
    /// The command.
    pub command: Command,
}

/// One of the commands.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// `serve`
    Serve,
    /// `pair [PIN] [--address A] [--name N]`
    Pair {
        /// Four digits; asked for when absent.
        pin: Option<String>,
        /// Which of several that wait.
        address: Option<String>,
        /// Name to keep it under.
        name: Option<String>,
    },
    /// `clients`
    Clients,
    /// `unpair CLIENT`
    Unpair {
        /// Short id or name.
        client: String,
    },
    /// `status [--json]`
    Status {
        /// Machine-readable.
        json: bool,
    },
    /// `reload`
    Reload,
    /// `doctor`
    Doctor,
    /// `setup [--portal] [--remove]`
    Setup(setup::Request),
    /// `m0`
    M0(m0::Request),
    /// `bench …`, handed on to the `lumen-bench` program.
    Bench(Vec<std::ffi::OsString>),
    /// `default-config`
    DefaultConfig,
    /// `--help`, of one command or of all
    Help(Option<&'static str>),
    /// `--version`
    Version,
}

/// What every command is for and takes.
const COMMANDS: [(&str, &str); 11] = [
    ("serve", "  serve                    run the host; Ctrl+C stops it"),
    (
        "pair",
        "  pair [PIN]               list who waits for a PIN, or let a client in
       --address ADDRESS   which one, when several wait
       --name NAME         how to call it",
    ),
    ("clients", "  clients                  list paired clients"),
    ("unpair", "  unpair CLIENT            forget a client (name or id)"),
    ("status", "  status [--json]          what the host is doing"),
    ("reload", "  reload                   let the host read the settings again"),
    ("doctor", "  doctor                   what this machine can do, and what is in the way"),
    (
        "setup",
        "  setup                    let Lumen make outputs in KDE Plasma
       --portal            and show monitors through its portal unasked
       --remove            take all of that back",
    ),
    ("default-config", "  default-config           print all settings, their defaults and what they mean"),
    (
        "m0",
        "  m0 --out FILE            capture, encode, write a file (.mkv, .mp4, .h264, ...)
       --source SOURCE     built-in (default), virtual (what serve would use),
                           kwin-virtual, mutter-virtual, sway-virtual, hyprland,
                           gamescope, portal, test-pattern
       --mode MODE         for example 1920x1080@60 (default 1280x720@60)
       --codec CODEC       h264 (default), hevc, av1
       --seconds N         default 5
       --bitrate KBPS      default 10000
       -- PROGRAM ...      what to show on the output",
    ),
    ("bench", "  bench ...                measure this machine; see lumen bench --help"),
];

/// The help text: of one command, or of all.
pub fn help(about: Option<&str>) -> String {
    let of_one = about.and_then(|about| COMMANDS.iter().find(|(name, _)| *name == about));
    if let Some((_, text)) = of_one {
        return format!("Usage: lumen [--config FILE] COMMAND\n\n{text}");
    }
    let commands: Vec<&str> = COMMANDS.iter().map(|(_, text)| *text).collect();
    format!(
        "Lumen: stream this machine's desktop and games to Moonlight

Usage: lumen [--config FILE] COMMAND

{}

Settings are read from ~/.config/lumen/config.toml; lumen default-config explains
them all. RUST_LOG sets how much is logged.",
        commands.join("\n")
    )
}

/// Reads the command line.
pub fn parse(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Arguments, lexopt::Error> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut config = None;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("config") => config = Some(PathBuf::from(parser.value()?)),
            Short('h') | Long("help") => return Ok(Arguments { config, command: Command::Help(None) }),
            Short('V') | Long("version") => return Ok(Arguments { config, command: Command::Version }),
            Value(name) => {
                let command = command(&name.string()?, &mut parser, &mut config)?;
                return Ok(Arguments { config, command });
            }
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Arguments { config, command: Command::Help(None) })
}

/// The name of a command, if it is one.
fn known(name: &str) -> Option<&'static str> {
    COMMANDS.iter().map(|(known, _)| *known).find(|known| *known == name)
}

fn command(
    name: &str,
    parser: &mut lexopt::Parser,
    config: &mut Option<PathBuf>,
) -> Result<Command, lexopt::Error> {
    if name == "bench" {
        return Ok(Command::Bench(parser.raw_args()?.collect()));
    }
    let mut command = match name {
        "help" => {
            let about = parser.raw_args()?.next();
            return Ok(Command::Help(about.and_then(|name| known(&name.to_string_lossy()))));
        }
        "default-config" => Command::DefaultConfig,
        "serve" => Command::Serve,
        "pair" => Command::Pair { pin: None, address: None, name: None },
        "clients" => Command::Clients,
        "unpair" => Command::Unpair { client: String::new() },
        "status" => Command::Status { json: false },
        "reload" => Command::Reload,
        "doctor" => Command::Doctor,
        "setup" => Command::Setup(setup::Request::default()),
        "m0" => Command::M0(m0::Request {
            source: "built-in".into(),
            mode: "1280x720@60".into(),
            codec: "h264".into(),
            seconds: 5.0,
            bitrate_kbps: 10_000,
            out: PathBuf::new(),
            app: Vec::new(),
        }),
        other => return Err(format!("there is no command \"{other}\"; see lumen --help").into()),
    };
    while let Some(argument) = parser.next()? {
        match (argument, &mut command) {
            (Short('h') | Long("help"), _) => return Ok(Command::Help(known(name))),
            (Long("config"), _) => *config = Some(PathBuf::from(parser.value()?)),
            (Long("pin"), Command::Pair { pin, .. }) => *pin = Some(parser.value()?.string()?),
            (Long("address"), Command::Pair { address, .. }) => *address = Some(parser.value()?.string()?),
            (Long("name"), Command::Pair { name, .. }) => *name = Some(parser.value()?.string()?),
            (Value(value), Command::Pair { pin, .. }) if pin.is_none() => *pin = Some(value.string()?),
            (Value(value), Command::Unpair { client }) if client.is_empty() => *client = value.string()?,
            (Long("json"), Command::Status { json }) => *json = true,
            (Long("remove"), Command::Setup(setup)) => setup.remove = true,
            (Long("portal"), Command::Setup(setup)) => setup.portal = true,
            (Long("source"), Command::M0(m0)) => m0.source = parser.value()?.string()?,
            (Long("mode"), Command::M0(m0)) => m0.mode = parser.value()?.string()?,
            (Long("codec"), Command::M0(m0)) => m0.codec = parser.value()?.string()?,
            (Long("seconds"), Command::M0(m0)) => m0.seconds = parser.value()?.parse()?,
            (Long("bitrate"), Command::M0(m0)) => m0.bitrate_kbps = parser.value()?.parse()?,
            (Long("out"), Command::M0(m0)) => m0.out = parser.value()?.into(),
            // Everything after `--`, or from the first word that is no option.
            (Value(program), Command::M0(m0)) => {
                m0.app.push(program.string()?);
                for rest in parser.raw_args()? {
                    m0.app.push(rest.string()?);
                }
            }
            (argument, _) => return Err(argument.unexpected()),
        }
    }
    match &command {
        Command::Unpair { client } if client.is_empty() => {
            Err("unpair: say which client (lumen clients lists them)".into())
        }
        Command::M0(m0) if m0.out.as_os_str().is_empty() => {
            Err("m0: say where to write with --out FILE".into())
        }
        _ => Ok(command),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Arguments, String> {
        parse(line.split_whitespace().map(Into::into)).map_err(|error| error.to_string())
    }

    #[test]
    fn commands_and_their_options() {
        assert_eq!(
            parsed("--config /c.toml serve"),
            Ok(Arguments { config: Some("/c.toml".into()), command: Command::Serve })
        );
        let pair = Command::Pair { pin: Some("0042".into()), address: None, name: Some("tv".into()) };
        assert_eq!(parsed("pair 0042 --name tv").map(|a| a.command), Ok(pair));
        assert_eq!(parsed("status --json").map(|a| a.command), Ok(Command::Status { json: true }));
        assert_eq!(
            parsed("bench --seconds 3").map(|a| a.command),
            Ok(Command::Bench(vec!["--seconds".into(), "3".into()]))
        );
        let setup = setup::Request { remove: true, portal: false };
        assert_eq!(parsed("setup --remove").map(|a| a.command), Ok(Command::Setup(setup)));
        let Ok(Arguments { command: Command::M0(m0), .. }) =
            parsed("m0 --out x.mkv --seconds 2 -- testcard --style box")
        else {
            panic!("m0 parses")
        };
        assert_eq!(m0.app, ["testcard", "--style", "box"]);
        assert_eq!(m0.seconds, 2.0);
    }

    #[test]
    fn every_command_has_its_help() {
        for (name, text) in COMMANDS {
            assert!(text.starts_with(&format!("  {name}")), "{text}");
            assert_eq!(parsed(&format!("help {name}")).map(|a| a.command), Ok(Command::Help(Some(name))));
            assert!(help(None).contains(text) && help(Some(name)).contains(text));
            if name != "bench" {
                let asked = parsed(&format!("{name} --help")).map(|a| a.command);
                assert_eq!(asked, Ok(Command::Help(Some(name))));
            }
        }
        assert_eq!(parsed("--help").map(|a| a.command), Ok(Command::Help(None)));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(parsed("sreve").expect_err("typo").contains("sreve"));
        assert!(parsed("m0").expect_err("no file").contains("--out"));
        assert!(parsed("unpair").expect_err("no client").contains("which client"));
        assert!(parsed("serve --loud").expect_err("option").contains("--loud"));
    }
}
