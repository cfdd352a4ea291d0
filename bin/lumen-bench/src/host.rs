//! The host under test: a `lumen serve` of its own, with its own folders and ports, gone when the bench is.

use crate::args::{Row, codec_name};
use anyhow::{Context, bail};
use lumen_testkit::{Client, HostAddress, Identity, Time, clock};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// The probe of all encoders on a slow machine takes a while.
const START_LIMIT: Duration = Duration::from_secs(120);
const PAIR_LIMIT: Duration = Duration::from_secs(30);
/// After SIGTERM the host ends its sessions and apps.
const STOP_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
const PIN: &str = "4711";

/// Programs that take part.
#[derive(Debug)]
pub struct Programs {
    pub lumen: PathBuf,
    pub testcard: PathBuf,
}

impl Programs {
    /// Beside this program, unless named.
    pub fn find(lumen: Option<PathBuf>, testcard: Option<PathBuf>) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("finding this program's folder")?;
        let find = |given: Option<PathBuf>, name: &str| {
            let path = given.unwrap_or_else(|| own.with_file_name(name));
            match path.canonicalize() {
                Ok(path) if path.is_file() => Ok(path),
                _ => Err(anyhow::anyhow!(
                    "{} is missing: build it, or name it with --{name} PATH",
                    path.display()
                )),
            }
        };
        Ok(Self { lumen: find(lumen, "lumen")?, testcard: find(testcard, "testcard")? })
    }
}

/// A running host. Dropping it ends the host and removes its folder.
pub struct Host {
    child: Child,
    folder: Option<TempDir>,
    program: PathBuf,
    base_port: u16,
    /// From the start of the process to its first answer.
    pub start_time: Duration,
}

impl Host {
    /// Starts a host whose apps are the rows' test cards, and waits until it answers.
    pub fn start(programs: &Programs, rows: &[Row]) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("lumen-bench-").tempdir().context("making a folder")?;
        for name in ["config/lumen", "state", "run", "home"] {
            std::fs::create_dir_all(folder.path().join(name)).context("making the host's folders")?;
        }
        rustix::fs::chmod(folder.path().join("run"), rustix::fs::Mode::RWXU)
            .context("closing the runtime folder")?;
        let base_port = free_base_port()?;
        let config = configuration(base_port, programs, rows, folder.path())?;
        std::fs::write(folder.path().join("config/lumen/config.toml"), config)
            .context("writing the settings")?;
        let log = File::create(folder.path().join("host.log")).context("creating the host's log")?;

        let started = clock::now();
        let child = command(&programs.lumen, folder.path())
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("sharing the log")?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", programs.lumen.display()))?;
        let program = programs.lumen.clone();
        let mut host = Self { child, folder: Some(folder), program, base_port, start_time: Duration::ZERO };
        host.start_time = host.wait_until_up(started)?;
        Ok(host)
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where the row's test card writes its log.
    pub fn card_log(&self, row: usize) -> PathBuf {
        card_log(self.path(), row)
    }

    /// Pairs a new client through the host's own command.
    pub fn pair(&mut self) -> anyhow::Result<Client> {
        let mut client = Client::new(Identity::test_key(0), self.address());
        let started = clock::now();
        let waiting = std::thread::spawn(move || client.pair(PIN, PAIR_LIMIT).map(|()| client));
        // The client shows up at the host when its first request has arrived: until then the PIN finds nobody.
        while !waiting.is_finished() {
            let given = self.lumen(["pair", "--pin", PIN, "--name", "bench"]);
            if given.is_ok() {
                break;
            }
            if clock::now().since(started) > PAIR_LIMIT {
                given.context("giving the PIN")?;
            }
            self.check_alive()?;
            std::thread::sleep(POLL);
        }
        match waiting.join() {
            Ok(result) => Ok(result.context("pairing")?),
            Err(_) => bail!("the client's pairing panicked"),
        }
    }

    /// `lumen status --json`.
    pub fn status(&self) -> anyhow::Result<serde_json::Value> {
        let text = self.lumen(["status", "--json"])?;
        serde_json::from_str(&text).context("reading the host's status")
    }

    /// Fails when the host has ended by itself.
    pub fn check_alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait().context("looking at the host")? {
            None => Ok(()),
            Some(status) => {
                bail!("the host ended by itself ({status}); its last words:\n{}", self.last_words())
            }
        }
    }

    /// The end of the host's log.
    pub fn last_words(&self) -> String {
        let log = std::fs::read(self.path().join("host.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Ends the host, keeps its folder and says where that is.
    pub fn keep(mut self) -> PathBuf {
        self.stop();
        match self.folder.take() {
            Some(folder) => folder.keep(),
            None => PathBuf::new(),
        }
    }

    fn path(&self) -> &Path {
        self.folder.as_ref().map_or(Path::new(""), TempDir::path)
    }

    fn address(&self) -> HostAddress {
        HostAddress { ip: Ipv4Addr::LOCALHOST.into(), http_port: self.base_port }
    }

    fn wait_until_up(&mut self, started: Time) -> anyhow::Result<Duration> {
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, self.base_port));
        loop {
            if TcpStream::connect_timeout(&http, POLL).is_ok() && self.status().is_ok() {
                return Ok(clock::now().since(started));
            }
            self.check_alive()?;
            if clock::now().since(started) > START_LIMIT {
                bail!(
                    "the host did not answer within {START_LIMIT:?}; its last words:\n{}",
                    self.last_words()
                );
            }
            std::thread::sleep(POLL);
        }
    }

    /// Runs another command of the same program against the host and gives its output.
    fn lumen<const N: usize>(&self, arguments: [&str; N]) -> anyhow::Result<String> {
        let output = command(&self.program, self.path()).args(arguments).output().context("running lumen")?;
        if !output.status.success() {
            bail!("lumen {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        String::from_utf8(output.stdout).context("reading what lumen printed")
    }

    fn stop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            // It may have ended in this very moment.
            let _ = kill_process(pid, Signal::TERM);
        }
        let asked = clock::now();
        while clock::now().since(asked) < STOP_LIMIT {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(POLL);
        }
        eprintln!("lumen-bench: the host did not end within {STOP_LIMIT:?} of SIGTERM; killing it");
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A command with the folders of the host under test, blind to the desktop that the bench may run on.
fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("HOME", folder.join("home"))
        .env("XDG_CONFIG_HOME", folder.join("config"))
        .env("XDG_STATE_HOME", folder.join("state"))
        .env("XDG_RUNTIME_DIR", folder.join("run"));
    for name in [
        "WAYLAND_DISPLAY",
        "DISPLAY",
        "XDG_CURRENT_DESKTOP",
        "NOTIFY_SOCKET",
        "LUMEN_COMPOSITOR",
        "LUMEN_VIDEO_SOURCE",
        "LUMEN_ZEROCOPY",
        "LUMEN_FFMPEG_DEBUG",
    ] {
        command.env_remove(name);
    }
    command
}

/// Title of the row's app.
pub fn app_title(row: usize) -> String {
    format!("Test card {}", row + 1)
}

fn card_log(folder: &Path, row: usize) -> PathBuf {
    folder.join(format!("card-{}.jsonl", row + 1))
}

fn configuration(base_port: u16, programs: &Programs, rows: &[Row], folder: &Path) -> anyhow::Result<String> {
    use toml::{Table, Value};
    let text = |value: &Path| value.to_str().map(String::from).context("a path is not UTF-8");
    let mut apps = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let rate = row.mode.refresh_mhz();
        let rate = format!("{}.{:03}", rate / 1000, rate % 1000);
        let log = text(&card_log(folder, index))?;
        let card = text(&programs.testcard)?;
        let arguments =
            [&card, "--style", row.style.name(), "--clock", row.clock.name(), "--fps", &rate, "--log", &log];
        let arguments = arguments.into_iter().map(Value::from).collect::<Vec<_>>();
        apps.push(Value::Table(Table::from_iter([
            ("title".into(), Value::from(app_title(index))),
            ("command".into(), Value::Array(arguments)),
        ])));
    }
    // H.264 as the host itself decides; what it would not offer on this machine is forced.
    let mut video = Table::new();
    let mut codecs: Vec<_> = rows.iter().map(|row| codec_name(row.codec)).collect();
    codecs.sort_unstable();
    codecs.dedup();
    if codecs != ["h264"] {
        video.insert("codecs".into(), Value::from(codecs));
    }
    let server = Table::from_iter([
        ("base_port".into(), Value::from(i64::from(base_port))),
        ("mdns".into(), Value::from(false)),
        ("name".into(), Value::from("Lumen bench")),
    ]);
    let display = Table::from_iter([("compositor".into(), Value::from("built-in"))]);
    let config = Table::from_iter([
        ("server".into(), Value::Table(server)),
        ("display".into(), Value::Table(display)),
        ("video".into(), Value::Table(video)),
        ("apps".into(), Value::Array(apps)),
    ]);
    toml::to_string(&config).context("writing the settings")
}

/// A base port whose whole family is free: HTTP, HTTPS −5, video +9, control +10, audio +11, RTSP +21.
fn free_base_port() -> anyhow::Result<u16> {
    // Two benches at once start looking at different places.
    let first = 20_000 + (std::process::id() % 200) as u16 * 40;
    (0..100)
        .map(|step| first + step * 40)
        .find(|base| {
            let tcp = [0, -5, 21].map(|offset| base.checked_add_signed(offset).is_some_and(tcp_is_free));
            let udp = [9, 10, 11].map(|offset| base.checked_add(offset).is_some_and(udp_is_free));
            tcp.into_iter().chain(udp).all(|free| free)
        })
        .context("no free ports between 20000 and 32000")
}

fn tcp_is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

fn udp_is_free(port: u16) -> bool {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;

    fn rows(line: &str) -> Vec<Row> {
        match args::parse(lexopt::Parser::from_args(line.split_whitespace())).expect("valid") {
            args::Command::Run(options) => options.rows,
            args::Command::Help => panic!("no help asked"),
        }
    }

    #[test]
    fn settings_hold_ports_apps_and_forced_codecs() {
        let programs =
            Programs { lumen: "/opt/lumen".into(), testcard: "/opt/with \"quotes\"/testcard".into() };
        let rows = rows("--mode 640x360@29.97 --codec hevc --clock callback");
        let text = configuration(23_000, &programs, &rows, Path::new("/tmp/bench")).expect("plain values");
        let config: toml::Table = text.parse().expect("TOML");
        assert_eq!(config["server"]["base_port"].as_integer(), Some(23_000));
        assert_eq!(config["video"]["codecs"], toml::Value::from(vec!["hevc"]));
        let app = &config["apps"][0];
        assert_eq!(app["title"].as_str(), Some("Test card 1"));
        let words: Vec<_> =
            app["command"].as_array().expect("a list").iter().filter_map(|word| word.as_str()).collect();
        assert_eq!(words[0], "/opt/with \"quotes\"/testcard");
        assert_eq!(words[1..7], ["--style", "scroll", "--clock", "callback", "--fps", "29.970"]);
        assert_eq!(words[7..], ["--log", "/tmp/bench/card-1.jsonl"]);
    }

    #[test]
    fn h264_is_left_to_the_host() {
        let programs = Programs { lumen: "/l".into(), testcard: "/t".into() };
        let text =
            configuration(23_000, &programs, &rows("--all"), Path::new("/tmp/b")).expect("plain values");
        let config: toml::Table = text.parse().expect("TOML");
        assert!(config["video"].get("codecs").is_none());
        assert_eq!(config["apps"].as_array().map(Vec::len), Some(4));
    }

    #[test]
    fn a_host_that_dies_at_once_is_reported_and_leaves_nothing() {
        let programs = Programs { lumen: "/bin/false".into(), testcard: "/bin/true".into() };
        let error = Host::start(&programs, &rows("")).err().expect("false is no host");
        assert!(error.to_string().contains("ended by itself"), "{error:#}");
    }

    #[test]
    fn dropping_a_host_ends_its_process() {
        let child = Command::new("/bin/sleep").arg("600").spawn().expect("sleep runs");
        let pid = child.id();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_owned();
        drop(Host {
            child,
            folder: Some(folder),
            program: "/bin/false".into(),
            base_port: 1,
            start_time: Duration::ZERO,
        });
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
        assert!(!path.exists());
    }

    #[test]
    fn free_ports_can_be_bound() {
        let base = free_base_port().expect("some are free");
        assert!(tcp_is_free(base) && udp_is_free(base + 9));
    }
}
