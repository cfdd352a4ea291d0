//! A host in a directory of its own, and what tests need to look at it.

use lumen_testcard::code::{Code, decode_luma};
use lumen_testkit::video::Frame;
use lumen_testkit::{
    Client, Codec, Decoder, HostAddress, Identity, Picture, Stream, StreamOptions, StreamRequest,
};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Longest wait for anything that should come at once; generous because the machine is shared.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Streams share two cores: one test at a time.
static MACHINE: Mutex<()> = Mutex::new(());
static NEXT_BASE: AtomicU16 = AtomicU16::new(0);

/// A running host.
pub struct Lab {
    pub dir: tempfile::TempDir,
    pub base_port: u16,
    host: Option<Child>,
    extra_config: String,
    /// Of the desktop session that the host belongs to; empty where none runs.
    session: BTreeMap<String, String>,
    _machine: MutexGuard<'static, ()>,
}

/// Time now, for deadlines of tests.
#[expect(clippy::disallowed_methods, reason = "tests wait for real programs with real deadlines")]
pub fn now() -> Instant {
    Instant::now()
}

/// Asks `probe` again and again until it answers, or fails the test with `what`.
pub fn wait_for<T>(what: &str, patience: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    // The virtual machine of the lab is slow.
    let patience = lumen_lab::patient(patience);
    let deadline = now() + patience;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(now() < deadline, "waited {patience:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn free_base_port() -> u16 {
    const FIRST: u16 = 21_000;
    const STEP: u16 = 40;
    for _ in 0..500 {
        let base = FIRST
            + (NEXT_BASE.fetch_add(STEP, Ordering::Relaxed) + (std::process::id() % 100) as u16 * STEP)
                % 20_000;
        let tcp = [base - 5, base, base + 21];
        let udp = [base + 9, base + 10, base + 11];
        let free = tcp.iter().all(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok())
            && udp.iter().all(|port| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok());
        if free {
            return base;
        }
    }
    panic!("no free ports");
}

/// The test card program, which cargo builds beside this test's own programs.
pub fn testcard() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_lumen")).with_file_name("testcard");
    assert!(path.exists(), "{} is missing: run cargo build -p lumen-testcard (./check does)", path.display());
    path
}

impl Lab {
    /// Starts a host that offers the test card, where no desktop runs; `extra` is added to its configuration.
    pub fn start(extra: &str) -> Self {
        Self::start_in(BTreeMap::new(), extra)
    }

    /// Starts a host in a desktop session with this environment.
    pub fn start_in(session: BTreeMap<String, String>, extra: &str) -> Self {
        let machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut lab = Self {
            dir,
            base_port: free_base_port(),
            host: None,
            extra_config: extra.to_owned(),
            session,
            _machine: machine,
        };
        // What the first host measured of the encoders, and the key that it made, serve the others: both take seconds,
        // and in the virtual machine minutes.
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let kept = ["encoders.json", "key.pem", "certificate.pem"];
        std::fs::create_dir_all(lab.path("state")).expect("writable");
        if kept.iter().all(|name| cache.join(name).is_file()) {
            for name in kept {
                std::fs::copy(cache.join(name), lab.path("state").join(name)).expect("copied");
            }
            if lumen_lab::in_vm() {
                lab.take_measurements_for_this_machine();
            }
        }
        lab.start_host();
        for name in kept {
            // At once, for whoever reads it in another run of these tests.
            let fresh = cache.join(format!("{name}.{}", std::process::id()));
            let _ = std::fs::copy(lab.path("state").join(name), &fresh)
                .and_then(|_| std::fs::rename(&fresh, cache.join(name)));
        }
        lab
    }

    /// The measurement was made outside, on another processor: trying all encoders in an emulated one takes minutes.
    fn take_measurements_for_this_machine(&self) {
        let path = self.path("state/encoders.json");
        let text = std::fs::read_to_string(&path).expect("copied");
        let mut measured: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let processor = std::fs::read_to_string("/proc/cpuinfo").expect("proc");
        let model = processor.lines().find(|line| line.starts_with("model name")).unwrap_or_default();
        let machine = measured["machine"].as_str().expect("a text");
        let (before, _) = machine.rsplit_once("model name").expect("it names the processor");
        measured["machine"] = format!("{before}{model}").into();
        std::fs::write(&path, measured.to_string()).expect("writable");
    }

    /// Starts the host again, after [`Lab::stop_host`] or [`Lab::kill_host`].
    pub fn start_host(&mut self) {
        assert!(self.host.is_none(), "one host at a time");
        std::fs::write(self.config_file(), self.config()).expect("writable");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("host.log"))
            .expect("writable");
        let host = self
            .command(&["serve"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("duplicated"))
            .stderr(log)
            .spawn()
            .expect("the host starts");
        self.host = Some(host);
        wait_for("the host to be ready", PATIENCE, || {
            let running = self.host.as_mut().is_some_and(|host| host.try_wait().is_ok_and(|s| s.is_none()));
            assert!(running, "the host ended:\n{}", self.log());
            let ready =
                self.command(&["status", "--json"]).output().is_ok_and(|output| output.status.success());
            ready.then_some(())
        });
    }

    fn config(&self) -> String {
        let testcard = testcard();
        let app = |title: &str, arguments: &str| {
            format!(
                "[[apps]]\ntitle = \"{title}\"\ncommand = [\"{}\", {arguments}, \"--log\", \"{}\"]\n",
                testcard.display(),
                self.input_log_file().display()
            )
        };
        format!(
            "[server]\nname = \"lab\"\nbase_port = {}\nmdns = false\nstate_dir = \"{}\"\n{}\n{}{}{}",
            self.base_port,
            self.path("state").display(),
            self.extra_config,
            app("testcard", "\"--style\", \"box\", \"--clock\", \"callback\""),
            app("scroll", "\"--style\", \"scroll\", \"--clock\", \"callback\""),
            app("static", "\"--style\", \"static\", \"--clock\", \"callback\""),
        )
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config_file(&self) -> PathBuf {
        self.path("config.toml")
    }

    /// `lumen` with this lab's configuration and an environment of its own.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lumen"));
        std::fs::create_dir_all(self.path("run")).expect("writable");
        command
            .arg("--config")
            .arg(self.config_file())
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.dir.path())
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("LC_ALL", "C.UTF-8")
            // The machine's own services are nobody's business here.
            .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent")
            .envs(&self.session)
            .env("RUST_LOG", "info,smithay=warn");
        if lumen_lab::in_vm() {
            // A desktop on an emulated processor lives although it does not answer in two seconds.
            command.env("LUMEN_ANSWER_SECONDS", "60");
        }
        command
    }

    /// Runs a `lumen` command to its end.
    pub fn lumen(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().expect("lumen starts")
    }

    pub fn status(&self) -> serde_json::Value {
        let output = self.lumen(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).expect("the status is JSON")
    }

    /// State of the only session; `None` when there is none.
    pub fn session_state(&self) -> Option<String> {
        self.status()["sessions"][0]["state"].as_str().map(str::to_owned)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("host.log")).unwrap_or_default()
    }

    /// Where test cards log what they get.
    pub fn input_log_file(&self) -> PathBuf {
        self.path("input.jsonl")
    }

    /// Lines that the test card logged.
    pub fn input_log(&self) -> Vec<serde_json::Value> {
        std::fs::read_to_string(self.input_log_file())
            .unwrap_or_default()
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    pub fn address(&self) -> HostAddress {
        self.address_at(Ipv4Addr::LOCALHOST.into())
    }

    pub fn address_at(&self, ip: IpAddr) -> HostAddress {
        HostAddress { ip, http_port: self.base_port }
    }

    /// A client that is paired, the PIN typed by `lumen pair`.
    pub fn paired(&self, identity: usize) -> Client {
        let mut client = Client::new(Identity::test_key(identity), self.address());
        self.pair(&mut client, identity);
        client
    }

    /// A third device beside the two embedded ones; its key is made once per target folder, since that takes a while.
    pub fn third_paired(&self) -> Client {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("third-client.pem");
        let mut client = Client::new(Identity::load_or_create(&path).expect("an identity"), self.address());
        self.pair(&mut client, 2);
        client
    }

    pub fn pair(&self, client: &mut Client, identity: usize) {
        let pin = format!("{:04}", 1230 + identity);
        std::thread::scope(|scope| {
            let pairing = scope.spawn(|| client.pair(&pin, PATIENCE));
            self.enter_pin(&pin, &format!("client {identity}"));
            pairing.join().expect("no panic").expect("pairs");
        });
    }

    /// Types a PIN as soon as somebody waits for it; says whether the client found it right.
    pub fn enter_pin(&self, pin: &str, name: &str) -> bool {
        wait_for("a client that waits for its PIN", PATIENCE, || {
            let output = self.lumen(&["pair", pin, "--name", name]);
            let wrong = String::from_utf8_lossy(&output.stderr).contains("The PIN was wrong");
            (output.status.success() || wrong).then_some(!wrong)
        })
    }

    pub fn app(&self, client: &Client, title: &str) -> u32 {
        let apps = client.app_list().expect("app list");
        apps.iter().find(|app| app.title == title).unwrap_or_else(|| panic!("no app {title}")).id
    }

    pub fn launch(&self, client: &Client, title: &str, request: &StreamRequest) -> Stream {
        client.launch(self.app(client, title), request, &StreamOptions::default()).unwrap_or_else(|error| {
            panic!("launch of {title}: {error}\n{}", self.log());
        })
    }

    /// Process id of the host.
    pub fn host_pid(&self) -> u32 {
        self.host.as_ref().expect("running").id()
    }

    /// Sends the host a signal, as kill(1) names it.
    pub fn signal(&self, signal: &str) {
        let pid = self.host_pid().to_string();
        let status = Command::new("kill").args([signal, &pid]).status().expect("kill is there");
        assert!(status.success());
    }

    /// SIGTERM, and its end.
    pub fn stop_host(&mut self) {
        self.signal("-TERM");
        let mut host = self.host.take().expect("running");
        let status = wait_for("the host to stop", PATIENCE, || host.try_wait().expect("waitable"));
        assert!(status.success(), "the host ended with {status}:\n{}", self.log());
    }

    /// SIGKILL.
    pub fn kill_host(&mut self) {
        let mut host = self.host.take().expect("running");
        host.kill().expect("killed");
        host.wait().expect("reaped");
    }

    /// Wayland sockets in the runtime directory.
    pub fn wayland_sockets(&self) -> Vec<String> {
        std::fs::read_dir(self.path("run"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with("lumen-") && !name.contains(".sock"))
            .collect()
    }

    /// Processes that this lab's host started, found by its mark.
    pub fn app_processes(&self) -> Vec<u32> {
        let id = std::fs::read_to_string(self.path("state/unique-id")).unwrap_or_default();
        let mark = format!("LUMEN_HOST={}", id.trim());
        std::fs::read_dir("/proc")
            .expect("proc")
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid: &u32| {
                std::fs::read(format!("/proc/{pid}/environ"))
                    .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|e| e == mark.as_bytes()))
            })
            .collect()
    }

    /// Command lines of [`Lab::app_processes`].
    pub fn app_commands(&self) -> Vec<String> {
        let command = |pid| std::fs::read(format!("/proc/{pid}/cmdline")).ok();
        let commands = self.app_processes().into_iter().filter_map(command);
        commands.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).collect()
    }

    pub fn assert_nothing_left(&self) {
        wait_for("apps and sockets to be gone", PATIENCE, || {
            (self.app_processes().is_empty() && self.wayland_sockets().is_empty()).then_some(())
        });
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(40).collect();
            eprintln!("--- end of the host's log ---");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
        if let Some(mut host) = self.host.take() {
            let _ = Command::new("kill").args(["-TERM", &host.id().to_string()]).status();
            let deadline = now() + Duration::from_secs(5);
            while host.try_wait().is_ok_and(|status| status.is_none()) && now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = host.kill();
            let _ = host.wait();
        }
    }
}

/// Decodes frames and reads their time codes.
pub struct Viewer {
    decoder: Decoder,
    pub pictures: u32,
    pub codes: Vec<Code>,
    pub last: Option<Picture>,
}

impl Viewer {
    pub fn new(codec: Codec) -> Self {
        Self { decoder: Decoder::new(codec).expect("decoder"), pictures: 0, codes: Vec::new(), last: None }
    }

    pub fn show(&mut self, frame: &Frame) {
        for picture in self.decoder.decode(&frame.data).expect("decodes") {
            self.pictures += 1;
            let luma = picture.luma8();
            let code = decode_luma(&luma, picture.width as usize, picture.width, picture.height);
            if let Some(code) = code
                && self.codes.last().is_none_or(|last| last.frame != code.frame)
            {
                self.codes.push(code);
            }
            self.last = Some(picture);
        }
    }

    /// Watches until so many distinct codes were read.
    pub fn watch(&mut self, stream: &Stream, codes: usize) {
        let deadline = now() + PATIENCE * 2;
        while self.codes.len() < codes {
            assert!(
                now() < deadline,
                "only {} of {codes} codes in {} pictures",
                self.codes.len(),
                self.pictures
            );
            let frame = stream.next_frame(PATIENCE).expect("a frame");
            self.show(&frame);
        }
    }
}
