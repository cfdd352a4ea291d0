//! The `lumen` program: arguments, logging, configuration, signals. What it does lives in `lumen-host`.
#![forbid(unsafe_code)]

mod args;

use anyhow::{Context, bail};
use args::{Arguments, Command};
use lumen_config::{Config, Environment, Paths};
use lumen_host::control_socket::{Request, Response, Running};
use lumen_host::doctor::{Finding, Grade};
use std::io::{BufRead, IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

/// What is logged unless `RUST_LOG` says otherwise: our own life, not that of the libraries.
const DEFAULT_FILTER: &str = "info,smithay=warn,mdns_sd=warn";
/// The same for commands that say themselves what they did.
const QUIET_FILTER: &str = "warn";

fn main() -> ExitCode {
    let arguments = match args::parse(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("lumen: {error}");
            return ExitCode::from(2);
        }
    };
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lumen: {}", in_one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// The chain of causes in one line; a cause that the text before it quotes already is not said twice.
fn in_one_line(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.as_str() {
        "" => cause,
        _ if said.contains(&cause) => said,
        _ => format!("{said}: {cause}"),
    })
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Help(about) => {
            println!("{}", args::help(about));
            return Ok(ExitCode::SUCCESS);
        }
        Command::DefaultConfig => {
            print!("{}", lumen_config::DEFAULT_FILE);
            return Ok(ExitCode::SUCCESS);
        }
        Command::Version => {
            println!("lumen {}", env!("CARGO_PKG_VERSION"));
            return Ok(ExitCode::SUCCESS);
        }
        Command::Bench(rest) => return bench(rest),
        _ => {}
    }
    let environment = Environment::of_process();
    // The host's folder is not always ours.
    let file = arguments.config.as_deref().map(std::path::absolute).transpose().context("--config")?;
    let loaded = Config::load(file.as_deref(), &environment);
    let usable = loaded.as_ref().ok().cloned().unwrap_or_default();
    let paths = Paths::new(file.as_deref(), &environment, &usable);
    let serving = matches!(arguments.command, Command::Serve);
    log_to_stderr(&environment, if serving { DEFAULT_FILTER } else { QUIET_FILTER });
    let target = Target { paths: &paths, trouble: loaded.as_ref().err().map(ToString::to_string) };

    match arguments.command {
        Command::Serve => serve(loaded?, environment, paths),
        Command::Pair { pin, address, name } => pair(&target, pin, address, name),
        Command::Clients => target.show(&Request::Clients, clients_table),
        Command::Unpair { client } => target.show(&Request::Unpair { client }, |_| String::new()),
        Command::Reload => target.show(&Request::Reload, |_| String::new()),
        Command::Status { json: true } => target.show(&Request::Status, |status| status.to_string()),
        Command::Status { json: false } => {
            target.show(&Request::Status, |status| lumen_host::status::for_people(&status))
        }
        Command::Doctor => {
            let mut report = lumen_host::doctor::examine(&usable, &environment, &paths);
            if let Some(trouble) = target.trouble {
                let text = format!("{trouble}. Until then all below is by the default settings");
                report.0.insert(0, Finding { grade: Grade::Problem, subject: "settings", text });
            }
            print!("{report}");
            Ok(if report.has_problems() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        Command::Setup(request) => {
            let program = std::env::current_exe().context("finding this program's path")?;
            println!("{}", lumen_host::setup::run(request, &program, &loaded?, &environment, &paths)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::M0(request) => {
            let interrupted = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
                signal_hook::flag::register(signal, interrupted.clone()).context("waiting for signals")?;
            }
            println!("{}", lumen_host::m0::run(&request, &loaded?, &environment, &interrupted)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Help(_) | Command::Version | Command::Bench(_) | Command::DefaultConfig => {
            unreachable!("handled above")
        }
    }
}

fn log_to_stderr(environment: &Environment, default: &str) {
    let filter = environment.log_filter.as_deref().unwrap_or(default);
    let filter = tracing_subscriber::EnvFilter::try_new(filter).unwrap_or_else(|error| {
        eprintln!("lumen: RUST_LOG is not understood ({error}); logging at {default}");
        tracing_subscriber::EnvFilter::new(default)
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && !environment.no_colour)
        .with_target(false)
        .init();
}

fn serve(config: Config, environment: Environment, paths: Paths) -> anyhow::Result<ExitCode> {
    // Before any thread exists, so that all of them leave these signals to this one.
    let mut signals = signal_hook::iterator::Signals::new([
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGHUP,
    ])
    .context("waiting for signals")?;
    let terminal = std::io::stdin().is_terminal() && in_foreground();
    let host = lumen_host::Host::start(config, environment, paths.clone())?;
    println!("{}", host.greeting(terminal));
    if terminal {
        std::thread::Builder::new()
            .name("lumen-prompt".into())
            .spawn(move || prompt(&paths))
            .context("starting the prompt")?;
    }
    for signal in signals.forever() {
        // A service is told to reload by it; on a terminal it means that the terminal is gone.
        if signal == signal_hook::consts::SIGHUP && !terminal {
            host.reload();
            continue;
        }
        tracing::info!("stopping");
        break;
    }
    host.stop();
    Ok(ExitCode::SUCCESS)
}

/// Whether reading from the terminal would not stop this process, as it does one that was sent to the background.
fn in_foreground() -> bool {
    rustix::termios::tcgetpgrp(std::io::stdin())
        .is_ok_and(|foreground| foreground == rustix::process::getpgrp())
}

/// Takes PINs on the terminal that `serve` runs on.
fn prompt(paths: &Paths) {
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some((&pin, rest)) = words.split_first() else { continue };
        let name = (!rest.is_empty()).then(|| rest.join(" "));
        let request = Request::Pair { pin: pin.to_owned(), address: None, name };
        match Running::find(paths, true).and_then(|host| host.call(&request)) {
            Ok(Response::Done(text) | Response::Failed(text)) => println!("{text}"),
            Ok(Response::Data(_)) => {}
            Err(error) => println!("{error}"),
        }
    }
}

fn pair(
    target: &Target<'_>,
    pin: Option<String>,
    address: Option<String>,
    name: Option<String>,
) -> anyhow::Result<ExitCode> {
    let pin = match pin {
        Some(pin) => pin,
        None => {
            let Response::Data(waiting) = target.call(&Request::Waiting)? else {
                bail!("the host does not say who waits");
            };
            let waiting = waiting.as_array().cloned().unwrap_or_default();
            if waiting.is_empty() {
                println!(
                    "No client waits for a PIN. Start pairing on the client first: it shows four digits."
                );
                return Ok(ExitCode::SUCCESS);
            }
            println!("Waiting for a PIN:");
            for client in &waiting {
                println!("  {}   since {} s", text(client, "address"), client["seconds"]);
            }
            if !std::io::stdin().is_terminal() {
                println!("Give the PIN that the client shows: lumen pair PIN");
                return Ok(ExitCode::SUCCESS);
            }
            print!("PIN: ");
            std::io::stdout().flush()?;
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line)?;
            line.trim().to_owned()
        }
    };
    target.show(&Request::Pair { pin, address, name }, |_| String::new())
}

/// The host that a command is for.
struct Target<'a> {
    paths: &'a Paths,
    /// What is wrong with the settings, of which a running host has read better ones.
    trouble: Option<String>,
}

impl Target<'_> {
    fn call(&self, request: &Request) -> anyhow::Result<Response> {
        let found = Running::find(self.paths, self.trouble.is_none());
        // Reading the file again says the same.
        if let (Some(trouble), false) = (&self.trouble, matches!((&found, request), (Ok(_), Request::Reload)))
        {
            eprintln!("lumen: {trouble}");
            if found.is_ok() {
                eprintln!("lumen: the host that runs keeps the settings that it has");
            }
        }
        Ok(found?.call(request)?)
    }

    fn show(
        &self,
        request: &Request,
        format: impl Fn(serde_json::Value) -> String,
    ) -> anyhow::Result<ExitCode> {
        match self.call(request)? {
            Response::Done(text) => println!("{text}"),
            Response::Data(value) => println!("{}", format(value)),
            Response::Failed(text) => bail!(text),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn clients_table(value: serde_json::Value) -> String {
    let clients = value.as_array().cloned().unwrap_or_default();
    if clients.is_empty() {
        return "No client is paired yet.".into();
    }
    let rows: Vec<String> = clients
        .iter()
        .map(|client| {
            format!("{}  {:<24}  {}", text(client, "id"), text(client, "name"), text(client, "state"))
        })
        .collect();
    format!("id        name                      state\n{}", rows.join("\n"))
}

fn text<'a>(value: &'a serde_json::Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("?")
}

/// `lumen bench` is a program of its own, so that the test client is no part of the host.
fn bench(arguments: Vec<std::ffi::OsString>) -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe()?.with_file_name("lumen-bench");
    if !program.exists() {
        bail!(
            "lumen bench needs {} (build it with: cargo build --release -p lumen-bench -p lumen-testcard)",
            program.display()
        );
    }
    let error = std::process::Command::new(&program).args(arguments).exec();
    Err(error).with_context(|| format!("starting {}", program.display()))
}
