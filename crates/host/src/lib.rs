//! The host: ties display, encoder, protocol and network together.
//!
//! [`Host::start`] brings everything up, [`Host::stop`] takes it down; in between the session table (in
//! `lumen-gamestream`) decides, and the supervisor has its effects carried out by the runtime of each client.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod api;
pub mod apps;
mod asset;
pub mod clients;
pub mod control_socket;
mod control_stream;
mod displays;
pub mod doctor;
mod event;
pub mod files;
pub mod identity;
pub mod m0;
mod network;
mod output;
mod pairing;
mod priority;
mod probe_cache;
pub mod processes;
mod recovery;
mod resources;
mod runtime;
pub mod setup;
mod sound;
pub mod status;
pub mod stream;
mod supervisor;

use anyhow::{Context, bail};
use api::GameStreamApi;
use clients::ClientStore;
use control_socket::{ControlSocket, Request, Response};
use control_stream::{ControlNews, ControlStreams};
use event::Event;
use identity::Identity;
use lumen_capture::CaptureConfig;
use lumen_config::{Config, Environment, Paths};
use lumen_display::DisplayKind;
use lumen_encode::ProbeReport;
use lumen_gamestream::pairing::HostIdentity;
use lumen_gamestream::ping::Ping;
use lumen_gamestream::rtsp::{Assembler, Progress as Assembly};
use lumen_gamestream::sdp::{Encryption, HostFeatures};
use lumen_gamestream::serverinfo::CodecModes;
use lumen_gamestream::session::{Policy, RtspEncryption, StreamKind};
use lumen_media::{AppLaunch, Codec, Timestamp};
use lumen_net::Path;
use lumen_net::mdns::Announcement;
use lumen_net::rtsp::{Ends, Progress, RtspConfig, RtspServer};
use lumen_net::udp::{Reader, UdpPort};
use pairing::Pairings;
use rsa::pkcs8::EncodePrivateKey;
use std::sync::Arc;
use std::time::Duration;
use supervisor::{Parts, Shared, Supervisor};

/// Where programs are looked for when the environment does not say.
pub const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// Sessions at once, paused ones included.
const MAX_SESSIONS: usize = 8;
/// Threads for HTTP, RTSP and supervision; nothing of a frame's path runs on them.
const RUNTIME_THREADS: usize = 2;
/// How long answers may take to finish when the host stops.
const WEB_GRACE: Duration = Duration::from_millis(500);

/// A running host.
pub struct Host {
    // In the order in which they go: nobody asks any more, then the streams, then what they used.
    announcement: Option<Announcement>,
    control_socket: Option<ControlSocket>,
    rtsp: Option<RtspServer>,
    web: Option<lumen_web::Server>,
    readers: Vec<Reader>,
    supervisor: Option<Supervisor>,
    runtime: Option<tokio::runtime::Runtime>,
    reloader: Arc<Reloader>,
    displays: Arc<displays::Displays>,
    name: String,
    _lock: files::InstanceLock,
}

/// Reads the configuration again.
struct Reloader {
    file: Option<std::path::PathBuf>,
    search_path: String,
    /// The settings that the host was started with.
    started: Config,
    environment: Environment,
    shared: Arc<Shared>,
}

impl Host {
    /// Brings the host up. Every failure names its cause and what to do.
    ///
    /// # Errors
    /// A port or directory that cannot be had, a damaged state folder, no usable encoder, another host on the same state.
    pub fn start(config: Config, environment: Environment, paths: Paths) -> anyhow::Result<Self> {
        apply_debug(&config);
        for sentence in config.without_effect() {
            tracing::warn!("{sentence}");
        }
        raise_descriptor_limit();
        files::ensure_private_dir(&paths.state_dir)?;
        files::ensure_private_dir(&paths.runtime_dir)?;
        let Some(lock) = files::InstanceLock::acquire(&paths.state_dir)? else {
            bail!(
                "another Lumen host uses {}; stop it, or give this one another server.state_dir and server.base_port",
                paths.state_dir.display()
            );
        };
        // The encoders are tried while the rest is made ready.
        let probing = std::thread::Builder::new()
            .name("lumen-probe".into())
            .spawn({
                let state_dir = paths.state_dir.clone();
                move || probe_cache::load_or_probe(&state_dir, since_epoch())
            })
            .context("starting a thread")?;

        let identity = Identity::load_or_create(&paths.state_dir, since_epoch())?;
        let clients = Arc::new(ClientStore::load(&paths.state_dir)?);
        let unique_id = identity.unique_id.to_string();
        let left = apps::end_leftovers(&unique_id);
        if left > 0 {
            tracing::warn!(processes = left, "ended what a host that was killed had left behind");
        }
        let displays = Arc::new(displays::of_host(&config, &environment, &paths)?);
        let cleaning = std::thread::Builder::new()
            .name("lumen-cleanup".into())
            .spawn({
                let displays = displays.clone();
                move || displays.clean_up()
            })
            .context("starting a thread")?;

        let ports = config.server.ports;
        let video = Arc::new(UdpPort::bind(ports.video())?);
        let audio = Arc::new(UdpPort::bind(ports.audio())?);
        let control = Arc::new(UdpPort::bind(ports.control())?);
        let rtsp_listener = lumen_net::bind::tcp(ports.rtsp())?;
        let web_listeners = lumen_web::Listeners {
            http: lumen_net::bind::tcp(ports.http())?,
            https: lumen_net::bind::tcp(ports.https())?,
        };

        let probed = probing.join().map_err(|_| anyhow::anyhow!("trying the encoders failed"))?;
        let codecs = offered_codecs(&config, &probed);
        log_codecs(&probed, &codecs);
        if codecs.is_empty() {
            let reasons: Vec<_> =
                probed.codecs.iter().map(|report| format!("{}: {}", report.codec, report.reason)).collect();
            bail!(
                "no codec can be offered ({}). Install FFmpeg's libavcodec with libx264, or name a codec that works in video.codecs",
                reasons.join("; ")
            );
        }
        let name = config.server.name.clone().unwrap_or_else(network::host_name);
        let facts = Arc::new(status::Facts {
            name: name.clone(),
            displays: displays.clone(),
            codecs: codecs.clone(),
            gso: video.gso(),
        });

        let supervisor = Supervisor::start(
            Parts {
                unique_id,
                clients: clients.clone(),
                display: displays.clone(),
                probe: probed,
                video_port: video.clone(),
                audio_port: audio.clone(),
                search_path: environment.path.clone().unwrap_or_else(|| DEFAULT_PATH.into()),
                log_dir: paths.state_dir.join("logs"),
                home: environment.home.clone(),
                session_dir: environment.runtime_dir.clone(),
                system_bus: environment.desktop.get("DBUS_SYSTEM_BUS_ADDRESS").cloned(),
                features: features(&config, codec_modes(&codecs)),
                policy: Policy { max_sessions: MAX_SESSIONS, rtsp_encryption: rtsp_encryption(&config) },
                config: config.clone(),
            },
            |events| {
                ControlStreams::start(control, move |news| {
                    let event = match news {
                        ControlNews::Connected(id) => Event::ControlConnected(id),
                        ControlNews::Disconnected(id) => Event::ControlDisconnected(id),
                    };
                    event::report(&events, event);
                })
            },
        )
        .context("starting the supervisor")?;
        let shared = supervisor.shared().clone();
        // Before anybody is let in: what an older host left must not be undone under a new output.
        let _ = cleaning.join();
        let readers = vec![
            ping_reader(video, "lumen-video-in", StreamKind::Video, shared.clone())?,
            ping_reader(audio, "lumen-audio-in", StreamKind::Audio, shared.clone())?,
        ];

        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(RUNTIME_THREADS)
            .thread_name("lumen-web")
            .enable_all()
            .build()
            .context("starting the runtime")?;
        let key = identity.key.to_pkcs8_der().context("encoding the host's key")?;
        let host_identity = HostIdentity::new(&identity.certificate_pem, key.as_bytes())
            .context("the host's key and certificate do not fit; remove key.pem and certificate.pem from the state folder and pair again")?;
        let pairings = Arc::new(Pairings::new(host_identity, clients, || since_epoch().as_secs()));
        let api = Arc::new(GameStreamApi {
            shared: shared.clone(),
            pairings: pairings.clone(),
            name: name.clone(),
            codecs: codec_modes(&codecs),
        });
        let (rtsp, web) = runtime.block_on(async {
            let rtsp = RtspServer::spawn(rtsp_listener, RtspConfig::default(), rtsp_handler(shared.clone()))
                .context("serving RTSP")?;
            let tls = lumen_web::Identity {
                certificate: identity.certificate_der.clone(),
                private_key: key.as_bytes().to_vec(),
            };
            let web = lumen_web::Server::start(web_listeners, lumen_web::Limits::default(), &tls, api)?;
            anyhow::Ok((rtsp, web))
        })?;
        let reloader = Arc::new(Reloader {
            file: Some(paths.config_file.clone()).filter(|file| file.exists()),
            search_path: environment.path.clone().unwrap_or_else(|| DEFAULT_PATH.into()),
            started: config.clone(),
            environment,
            shared: shared.clone(),
        });
        let control_socket = ControlSocket::open(
            &paths.control_socket,
            command_handler(
                shared,
                pairings,
                facts,
                reloader.clone(),
                control_socket::Identity { config_file: paths.config_file, base_port: ports.http() },
            ),
        )?;
        // Last: clients ask at once.
        let announcement = if config.server.mdns {
            match Announcement::publish(&name, ports.http()) {
                Ok(announcement) => Some(announcement),
                Err(error) => {
                    tracing::warn!("{error}");
                    None
                }
            }
        } else {
            None
        };
        // A look at the desktops takes a while, and nobody has to wait for it.
        std::thread::Builder::new()
            .name("lumen-outlook".into())
            .spawn({
                let (displays, reloader) = (displays.clone(), reloader.clone());
                move || tell_outlook(&displays, &reloader)
            })
            .context("starting a thread")?;
        Ok(Self {
            announcement,
            control_socket: Some(control_socket),
            rtsp: Some(rtsp),
            web: Some(web),
            readers,
            supervisor: Some(supervisor),
            runtime: Some(runtime),
            reloader,
            displays,
            name,
            _lock: lock,
        })
    }

    /// How to call this program: by its name where the search path leads to it, else by where it lies.
    fn program(&self) -> String {
        let path = self.reloader.environment.path.as_deref().unwrap_or(DEFAULT_PATH);
        let found = processes::find_program("lumen", path).and_then(|found| found.canonicalize().ok());
        match std::env::current_exe() {
            Ok(own) if found.as_ref() != Some(&own) => own.display().to_string(),
            _ => "lumen".into(),
        }
    }

    /// What to tell a person who just started the host; `prompt` when PINs are taken where it runs.
    pub fn greeting(&self, prompt: bool) -> String {
        let addresses = network::addresses_to_type(self.reloader.shared.config().server.ports.http());
        let address = match addresses.as_slice() {
            [] => "its address".to_owned(),
            addresses => format!("its address: {}", addresses.join(" or ")),
        };
        // Not found where it is not announced.
        let choose =
            if self.announcement.is_some() { "choose this machine, or add it by" } else { "add it by" };
        format!(
            "Lumen is ready as \"{}\". In Moonlight {choose} {address}. Moonlight then shows a PIN: {} {} pair PIN",
            self.name,
            if prompt { "type it here, or run:" } else { "let it in with:" },
            self.program()
        )
    }

    /// Reads the configuration again; running streams keep theirs. What is wrong with the file is logged; the old settings
    /// stay then.
    pub fn reload(&self) {
        // Both are in the log.
        let (Ok(_) | Err(_)) = self.reloader.reload();
    }

    /// Takes the host down: tells the clients, ends apps and outputs, closes the ports.
    pub fn stop(mut self) {
        self.displays.withdraw_questions();
        drop(self.announcement.take());
        drop(self.control_socket.take());
        drop(self.supervisor.take());
        self.readers.clear();
        drop(self.rtsp.take());
        if let (Some(runtime), Some(web)) = (self.runtime.take(), self.web.take()) {
            runtime.block_on(web.shutdown(WEB_GRACE));
            runtime.shutdown_timeout(WEB_GRACE);
        }
    }
}

impl Reloader {
    /// Says what was taken in, or what is wrong; logs it too.
    fn reload(&self) -> Result<String, String> {
        let said = match Config::load(self.file.as_deref(), &self.environment) {
            Ok(config) => Ok(self.take(config)),
            Err(error) => Err(format!("the settings stay as they were: {error}")),
        };
        match &said {
            Ok(text) => tracing::info!("{text}"),
            Err(text) => tracing::warn!("{text}"),
        }
        said
    }

    fn take(&self, mut config: Config) -> String {
        let waiting = self.until_restart(&config);
        let mut said = vec![format!("Settings read, apps: {}.", config.apps.len())];
        if !waiting.is_empty() {
            said.push(format!("From the host's next start on: {}.", waiting.join(", ")));
        }
        for launch in config.apps.iter().map(app_launch).filter(|launch| !launch.command.is_empty()) {
            if let Err(error) = apps::resolve(&launch, &self.search_path) {
                said.push(format!("Note: {error}."));
            }
        }
        said.extend(config.without_effect().into_iter().map(|sentence| format!("Note: {sentence}.")));
        // Ports are bound and codecs advertised: those stay until a restart, also in what the rest of the host reads.
        config.server = self.shared.config().server.clone();
        self.shared.set_config(config);
        said.join(" ")
    }

    /// Settings that differ from those of the running host and need a restart.
    fn until_restart(&self, new: &Config) -> Vec<&'static str> {
        // As the host was started, not as it was last told.
        let old = &self.started;
        [
            ("server.name", old.server.name != new.server.name),
            ("server.base_port", old.server.ports != new.server.ports),
            ("server.mdns", old.server.mdns != new.server.mdns),
            ("server.state_dir", old.server.state_dir != new.server.state_dir),
            ("display.compositor", old.display.compositor != new.display.compositor),
            ("display.topology", old.display.topology != new.display.topology),
            ("display.source", old.display.source != new.display.source),
            ("capture.gamescope_node", old.capture.gamescope_node != new.capture.gamescope_node),
            ("video.codecs", old.video.codecs != new.video.codecs),
            ("video.encryption", old.video.encryption != new.video.encryption),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
    }
}

/// Logs what the next client gets, and what of it is in the way.
fn tell_outlook(displays: &displays::Displays, reloader: &Reloader) {
    for finding in doctor::outlook(displays, &reloader.started, &reloader.environment).0 {
        match finding.grade {
            doctor::Grade::Good => tracing::info!("{}", finding.text),
            doctor::Grade::Notice | doctor::Grade::Problem => tracing::warn!("{}", finding.text),
        }
    }
}

fn ping_reader(
    port: Arc<UdpPort>,
    name: &str,
    kind: StreamKind,
    shared: Arc<Shared>,
) -> anyhow::Result<Reader> {
    let handler = move |path: Path, bytes: &[u8], _now: Timestamp| {
        if let Some(ping) = Ping::parse(bytes) {
            shared.ping(kind, &ping, path);
        }
    };
    Reader::spawn(port, name, handler).context("starting a thread")
}

fn rtsp_handler(shared: Arc<Shared>) -> impl Fn(&[u8], Ends) -> Progress + Send + Sync + 'static {
    move |received, ends| {
        // Requests have two kilobytes at most, so starting over costs less than keeping state.
        match Assembler::new().push(received) {
            Assembly::NeedMore => Progress::NeedMore,
            Assembly::Complete(incoming) => {
                // ANNOUNCE opens an encoder, which takes some milliseconds.
                match tokio::task::block_in_place(|| shared.rtsp(&incoming, ends.remote.ip())) {
                    Ok(reply) => Progress::Reply(reply),
                    Err(error) => {
                        tracing::debug!(peer = %ends.remote, %error, "RTSP connection closed");
                        Progress::Close
                    }
                }
            }
            Assembly::Bad(error) => {
                tracing::debug!(peer = %ends.remote, %error, "RTSP connection closed");
                Progress::Close
            }
        }
    }
}

fn command_handler(
    shared: Arc<Shared>,
    pairings: Arc<Pairings>,
    facts: Arc<status::Facts>,
    reloader: Arc<Reloader>,
    identity: control_socket::Identity,
) -> impl Fn(Request) -> Response + Send + Sync + 'static {
    move |request| match request {
        Request::Who => serde_json::to_value(&identity)
            .map_or_else(|error| Response::Failed(error.to_string()), Response::Data),
        Request::Waiting => Response::Data(pairings.waiting()),
        Request::Pair { pin, address, name } => {
            match pairings.enter_pin(&pin, address.as_deref(), name.as_deref()) {
                Ok(text) => Response::Done(text),
                Err(text) => Response::Failed(text),
            }
        }
        Request::Clients => Response::Data(clients_json(&shared)),
        Request::Unpair { client } => unpair(&shared, &client),
        Request::Status => Response::Data(status::collect(&shared, &facts)),
        Request::Reload => match reloader.reload() {
            Ok(text) => Response::Done(text),
            Err(text) => Response::Failed(text),
        },
    }
}

fn unpair(shared: &Arc<Shared>, client: &str) -> Response {
    let named = shared.clients().named(client);
    match named.as_slice() {
        [] => Response::Failed(format!("No paired client is called \"{client}\"; lumen clients lists them.")),
        [id] => match shared.clients().remove(*id) {
            Ok(()) => {
                shared.evict(*id);
                Response::Done(format!("{client} is forgotten."))
            }
            Err(error) => Response::Failed(error.to_string()),
        },
        several => {
            let ids: Vec<_> = several.iter().map(ToString::to_string).collect();
            Response::Failed(format!(
                "Several clients are called \"{client}\"; name one by its id: {}",
                ids.join(", ")
            ))
        }
    }
}

fn clients_json(shared: &Shared) -> serde_json::Value {
    let mut states = std::collections::HashMap::new();
    shared.for_each_session(|session, _| {
        let state = if session.connection().is_some() { "connected" } else { "paused" };
        states.insert(session.client(), state);
    });
    shared
        .clients()
        .all()
        .into_iter()
        .map(|(id, client)| {
            serde_json::json!({
                "id": id.to_string(),
                "name": client.name,
                "paired_at": client.paired_at,
                "state": states.get(&id).copied().unwrap_or("away"),
            })
        })
        .collect()
}

/// The codecs to advertise: those that the configuration forces, else those that the probe found sustainable.
pub fn offered_codecs(config: &Config, probed: &ProbeReport) -> Vec<Codec> {
    match &config.video.codecs {
        lumen_config::Codecs::Auto => probed.offers(),
        lumen_config::Codecs::Forced(codecs) => {
            let working = probed.working();
            codecs
                .iter()
                .map(|codec| match codec {
                    lumen_config::Codec::H264 => Codec::H264,
                    lumen_config::Codec::Hevc => Codec::Hevc,
                    lumen_config::Codec::Av1 => Codec::Av1,
                })
                .filter(|codec| working.contains(codec))
                .collect()
        }
    }
}

fn log_codecs(probed: &ProbeReport, offered: &[Codec]) {
    for report in &probed.codecs {
        match (offered.contains(&report.codec), report.offered) {
            (true, true) | (false, false) => tracing::info!("{}: {}", report.codec, report.reason),
            (true, false) => {
                tracing::info!(
                    "{}: offered because the configuration says so. Measured: {}",
                    report.codec,
                    report.reason
                );
            }
            (false, true) => tracing::info!("{}: not offered, by the configuration", report.codec),
        }
    }
}

fn codec_modes(codecs: &[Codec]) -> CodecModes {
    codecs.iter().fold(CodecModes::NONE, |modes, codec| {
        modes
            | match codec {
                Codec::H264 => CodecModes::H264,
                Codec::Hevc => CodecModes::HEVC,
                Codec::Av1 => CodecModes::AV1,
            }
    })
}

fn features(config: &Config, codecs: CodecModes) -> HostFeatures {
    use lumen_config::Encryption as Wish;
    let control = Encryption::CONTROL_V2;
    let (supported, requested, required) = match config.video.encryption {
        Wish::Off => (control | Encryption::AUDIO, control, Encryption::NONE),
        Wish::Supported => (Encryption::ALL, control, Encryption::NONE),
        Wish::Required => (Encryption::ALL, control | Encryption::VIDEO, Encryption::VIDEO),
    };
    HostFeatures {
        codecs,
        pen_touch: true,
        controller_touch: true,
        encryption_supported: supported,
        encryption_requested: requested,
        encryption_required: required,
        // No software encoder can give up single references.
        ref_pic_invalidation: false,
    }
}

fn rtsp_encryption(config: &Config) -> RtspEncryption {
    match config.video.encryption {
        lumen_config::Encryption::Required => RtspEncryption::Required,
        _ => RtspEncryption::WhenPossible,
    }
}

/// The display backend that the configuration asks for.
pub(crate) fn display_kind(choice: lumen_config::CompositorChoice) -> DisplayKind {
    use lumen_config::CompositorChoice as Choice;
    match choice {
        Choice::Auto => DisplayKind::Auto,
        Choice::BuiltIn => DisplayKind::Builtin,
        Choice::Kwin => DisplayKind::Kwin,
        Choice::Mutter => DisplayKind::Mutter,
        Choice::Wlroots => DisplayKind::Wlroots,
        Choice::Hyprland => DisplayKind::Hyprland,
        Choice::Gamescope => DisplayKind::Gamescope,
    }
}

/// How pictures are taken, as the configuration says; PipeWire's socket is in `runtime_dir`.
pub(crate) fn capture_config(config: &Config, runtime_dir: Option<&std::path::Path>) -> CaptureConfig {
    CaptureConfig {
        dmabuf: config.capture.dmabuf,
        fixed_pod: config.capture.fixed_pod,
        runtime_dir: runtime_dir.map(Into::into),
    }
}

/// An entry of the configuration as something to start.
pub(crate) fn app_launch(app: &lumen_config::App) -> AppLaunch {
    AppLaunch { title: app.title.clone(), command: app.command.to_arguments(), env: app.env.clone() }
}

/// Settings that act on the whole process.
pub(crate) fn apply_debug(config: &Config) {
    use lumen_encode::log::{FfmpegLog, install};
    install(if config.debug.ffmpeg { FfmpegLog::Debug } else { FfmpegLog::Quiet });
}

/// Windows hold a descriptor for each of their buffers' pools; the usual 1024 are few for several desktops.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

fn since_epoch() -> Duration {
    #[expect(clippy::disallowed_methods, reason = "dates of certificates and pairings are wall-clock times")]
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}
