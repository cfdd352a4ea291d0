//! The rules of `docs/design/outputs.md`, with the real supervisor, pipeline and encoder on a desktop that dies on command.

mod fake;

use super::*;
use crate::clients::PairedClient;
use crate::control_stream::ControlStreams;
use crate::processes::{HOST_MARK, marked, signal_all};
use crate::runtime::RuntimeView;
use fake::{Answer, Fake};
use lumen_gamestream::crypto::SessionKey;
use lumen_gamestream::launch::{AudioLayout, RequestedMode};
use lumen_gamestream::sdp::{AudioQuality, Encryption};
use lumen_gamestream::serverinfo::CodecModes;
use lumen_gamestream::session::{RtspEncryption, State};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering;

/// For things that take milliseconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Host {
    supervisor: Supervisor,
    fake: Arc<Fake>,
    client: ClientId,
    dir: tempfile::TempDir,
    unique_id: String,
    refresh_x100: std::sync::atomic::AtomicU32,
    // Takes what is sent.
    viewer: UdpSocket,
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = clock::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(clock::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Host {
    fn start(fake: Fake) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let fake = Arc::new(fake);
        let clients = ClientStore::load(dir.path()).expect("empty");
        let key = rcgen::generate_simple_self_signed(["client".to_owned()]).expect("a certificate");
        let paired = PairedClient { name: "test".into(), certificate: key.cert.pem(), paired_at: 0 };
        let client = clients.add(paired).expect("kept");
        let mut config = Config::parse(
            "[display]\nlinger_seconds = 0\n[[apps]]\ntitle = \"game\"\ncommand = [\"/bin/sleep\", \"1000\"]\n",
            std::path::Path::new("test.toml"),
        )
        .expect("valid");
        config.video.preset = lumen_config::Preset::Fast;
        let unique_id = uuid::Uuid::new_v4().to_string();
        let features = HostFeatures {
            codecs: CodecModes::H264,
            pen_touch: false,
            controller_touch: false,
            encryption_supported: Encryption::ALL,
            encryption_requested: Encryption::NONE,
            encryption_required: Encryption::NONE,
            ref_pic_invalidation: false,
        };
        let parts = Parts {
            config,
            unique_id: unique_id.clone(),
            clients: Arc::new(clients),
            display: fake.clone(),
            probe: ProbeReport { codecs: Vec::new(), cores: 1, ffmpeg: String::new(), took: Duration::ZERO },
            video_port: Arc::new(UdpPort::bind(0).expect("a port")),
            audio_port: Arc::new(UdpPort::bind(0).expect("a port")),
            search_path: dir.path().display().to_string(),
            log_dir: dir.path().join("logs"),
            home: None,
            session_dir: None,
            system_bus: Some("unix:path=/nonexistent".into()),
            features,
            policy: Policy { max_sessions: 2, rtsp_encryption: RtspEncryption::Never },
        };
        let control = Arc::new(UdpPort::bind(0).expect("a port"));
        let supervisor =
            Supervisor::start(parts, |_| ControlStreams::start(control, |_| {})).expect("started");
        let viewer = UdpSocket::bind("127.0.0.1:0").expect("a port");
        Self { supervisor, fake, client, dir, unique_id, refresh_x100: 6000.into(), viewer }
    }

    fn install_terminal(&self) {
        let terminal = self.dir.path().join("foot");
        std::fs::write(&terminal, "#!/bin/sh\nexec /bin/sleep 1000\n").expect("written");
        std::fs::set_permissions(&terminal, std::fs::Permissions::from_mode(0o755)).expect("executable");
    }

    fn shared(&self) -> &Arc<Shared> {
        self.supervisor.shared()
    }

    fn request(&self, app: Option<&str>, size: (u32, u32)) -> LaunchRequest {
        let config = self.shared().config();
        let id = app.map(|title| {
            let entry = config.apps.iter().find(|entry| entry.title == title).expect("configured");
            AppId::new(entry.id.as_i32() as u32).expect("not zero")
        });
        LaunchRequest {
            app: id,
            mode: Some(RequestedMode { width: size.0, height: size.1, refresh_mhz: Some(60_000) }),
            key: SessionKey::new([7; 16]),
            key_id: 0,
            hdr: false,
            optimise: false,
            host_audio: None,
            audio: AudioLayout::STEREO,
            gamepads: 0,
            keep_gamepads: false,
            core_version: 0,
            continuous_audio: false,
        }
    }

    fn launch(&self, app: &str, size: (u32, u32)) -> SessionId {
        let peer = IpAddr::from([127, 0, 0, 1]);
        let connection =
            self.shared().launch(self.client, self.request(Some(app), size), peer).expect("launched");
        self.announce(connection.id, size);
        connection.id
    }

    fn resume(&self, size: (u32, u32)) -> SessionId {
        let peer = IpAddr::from([127, 0, 0, 1]);
        let connection = self.shared().resume(self.client, self.request(None, size), peer).expect("resumed");
        self.announce(connection.id, size);
        connection.id
    }

    fn announce(&self, session: SessionId, (width, height): (u32, u32)) {
        let attributes = [
            ("x-nv-video[0].clientViewportWd", width),
            ("x-nv-video[0].clientViewportHt", height),
            ("x-nv-video[0].maxFPS", 60),
            ("x-nv-video[0].clientRefreshRateX100", self.refresh_x100.load(Ordering::Relaxed)),
            ("x-nv-video[0].packetSize", 1024),
            ("x-nv-video[0].videoEncoderSlicesPerFrame", 1),
            ("x-nv-video[0].maxNumReferenceFrames", 0),
            ("x-nv-video[0].encoderCscMode", 2),
            ("x-nv-vqos[0].bitStreamFormat", 0),
            ("x-nv-vqos[0].bw.maximumBitrateKbps", 2000),
            ("x-nv-audio.surround.numChannels", 2),
            ("x-nv-audio.surround.channelMask", 3),
            ("x-nv-audio.surround.AudioQuality", 0),
            ("x-nv-general.useReliableUdp", 13),
            ("x-ml-general.featureFlags", 3),
        ];
        let body: String = attributes.map(|(name, value)| format!("a={name}:{value}\r\n")).concat();
        let features = &self.shared().parts.features;
        let parameters = StreamParameters::parse(body.as_bytes(), features, AudioQuality::Normal);
        self.shared().announced(session, parameters.expect("valid")).expect("a stream");
    }

    /// Everything that a client does between ANNOUNCE and its first picture.
    fn connect(&self, session: SessionId) {
        let route = self.shared().routes(session).expect("connected").video;
        route.learn(Path::to(self.viewer.local_addr().expect("bound")));
        self.shared().transition(|table, now| table.played(session, now));
        self.shared().transition(|table, now| table.control_connected(session, now));
        self.shared().event(Event::Ping(session, StreamKind::Video));
    }

    fn stream(&self, app: &str) -> SessionId {
        let session = self.launch(app, (320, 180));
        self.connect(session);
        self.wait_frames(session, 1);
        session
    }

    fn view(&self) -> Option<RuntimeView> {
        let runtime = self.shared().tables().runtimes.get(&self.client).cloned();
        runtime.and_then(|runtime| runtime.view())
    }

    /// Frames and key frames sent by this session's stream.
    fn frames(&self) -> Option<(u64, u64)> {
        let stats = self.view()?.stats?;
        Some((stats.frames, stats.idrs))
    }

    fn wait_frames(&self, session: SessionId, more: u64) {
        let start = wait_for("a stream", || self.frames()).0;
        wait_for("frames", || {
            assert!(self.shared().connection(session).is_some(), "the stream ended");
            self.frames().filter(|(frames, _)| *frames >= start + more)
        });
    }

    fn wait_lost(&self) {
        wait_for("the loss to be noticed", || self.view().filter(|view| view.recovering));
    }

    fn paused(&self) -> bool {
        let tables = self.shared().tables();
        let session = tables.sessions.of_client(self.client);
        session.is_some_and(|session| matches!(session.state(), State::Paused { .. }))
    }

    fn is_over(&self) -> bool {
        self.shared().tables().sessions.of_client(self.client).is_none()
    }

    fn connection(&self) -> Option<SessionId> {
        let tables = self.shared().tables();
        tables.sessions.of_client(self.client)?.connection().map(|connection| connection.id)
    }

    fn wait_alive(&self, outputs: usize) {
        wait_for("outputs to go", || (self.fake.alive() == outputs).then_some(()));
    }
}

#[test]
fn a_lost_output_is_made_again_while_the_stream_repeats_its_last_picture() {
    let host = Host::start(Fake::new("fake"));
    let session = host.stream("Desktop");
    host.fake.answer(Answer::Refusal);
    host.fake.die();
    host.wait_lost();
    let (_, idrs) = host.frames().expect("streaming");
    host.wait_frames(session, 5);
    assert_eq!(host.frames().expect("streaming").1, idrs, "repeats are no key frames");
    assert_eq!(host.fake.alive(), 0, "the dead output goes first");
    host.fake.answer(Answer::Output);
    wait_for("the output to be back", || host.view().filter(|view| !view.recovering));
    wait_for("a key frame of the new output", || host.frames().filter(|(_, now)| *now == idrs + 1));
    host.wait_frames(session, 3);
    assert_eq!((host.fake.made(), host.fake.alive()), (2, 1));
    // And once more: nothing of the first time is left over.
    host.fake.die();
    wait_for("a third output", || (host.fake.made() == 3).then_some(()));
    wait_for("another key frame", || host.frames().filter(|(_, now)| *now == idrs + 2));
    host.shared().cancel(host.client);
    host.wait_alive(0);
}

#[test]
fn without_a_desktop_the_stream_ends_in_time_and_the_next_resume_has_a_new_output() {
    let host = Host::start(Fake::new("fake"));
    host.stream("Desktop");
    host.fake.answer(Answer::Refusal);
    let died = clock::now();
    host.fake.die();
    wait_for("the verdict", || host.paused().then_some(()));
    let verdict = clock::now().since(died);
    assert!(verdict >= crate::recovery::LIMIT, "{verdict:?}: given up too early");
    assert!(host.fake.asked.load(Ordering::Acquire) > 3, "it was tried more than once");
    wait_for("nothing to be left", || host.view().filter(|view| view.output.is_none() && !view.recovering));
    host.fake.answer(Answer::Output);
    let session = host.resume((320, 180));
    host.connect(session);
    host.wait_frames(session, 3);
    assert_eq!(host.fake.alive(), 1);
}

#[test]
fn a_compositor_that_never_answers_delays_neither_verdict_nor_cancel() {
    let host = Host::start(Fake::new("fake"));
    host.stream("Desktop");
    host.fake.answer(Answer::Silence);
    host.fake.die();
    wait_for("the question", || (host.fake.asked.load(Ordering::Acquire) == 2).then_some(()));
    // The compositor keeps silent until after this has returned.
    host.shared().cancel(host.client);
    assert!(host.is_over());
    host.fake.answer(Answer::Output);
    wait_for("the late answer", || (host.fake.made() == 2).then_some(()));
    host.wait_alive(0);

    host.stream("Desktop");
    host.fake.answer(Answer::Silence);
    host.fake.die();
    wait_for("the verdict", || host.paused().then_some(()));
    host.fake.answer(Answer::Output);
    host.wait_alive(0);
    let session = host.resume((320, 180));
    host.connect(session);
    host.wait_frames(session, 1);
}

#[test]
fn what_a_recovery_gets_too_late_is_dropped_unopened() {
    for too_late in [false, true] {
        let host = Host::start(Fake::new("fake"));
        host.stream("Desktop");
        host.fake.answer(Answer::Silence);
        host.fake.die();
        wait_for("the question", || (host.fake.asked.load(Ordering::Acquire) == 2).then_some(()));
        if too_late {
            host.shared().cancel(host.client);
        }
        host.fake.answer(Answer::Blind);
        wait_for("the answer", || (host.fake.made() >= 2).then_some(()));
        if !too_late {
            wait_for("its pictures", || (host.fake.distrusted.load(Ordering::Acquire) > 0).then_some(()));
            host.shared().cancel(host.client);
        }
        host.wait_alive(0);
        assert_eq!(host.fake.distrusted.load(Ordering::Acquire) > 0, !too_late);
    }
}

#[test]
fn the_same_mode_reuses_the_output_and_another_one_retires_it() {
    let host = Host::start(Fake::new("fake"));
    let first = host.stream("Desktop");
    let second = host.resume((320, 180));
    host.connect(second);
    host.wait_frames(second, 1);
    assert!(host.shared().connection(first).is_none());
    assert_eq!((host.fake.made(), host.fake.alive()), (1, 1));
    let third = host.resume((400, 300));
    assert_eq!((host.fake.made(), host.fake.alive()), (2, 2), "the old one stays until the new one shows");
    wait_for("the new mode", || host.view()?.output.filter(|output| output.mode.width() == 400));
    host.connect(third);
    host.wait_frames(third, 1);
    host.wait_alive(1);
    host.shared().cancel(host.client);
    host.wait_alive(0);
}

#[test]
fn a_rate_that_announce_fixed_is_what_the_next_launch_begins_with() {
    let host = Host::start(Fake::new("fake"));
    host.refresh_x100.store(5994, Ordering::Relaxed);
    host.stream("Desktop");
    assert_eq!(host.fake.made(), 2, "a launch tells whole rates only");
    host.shared().cancel(host.client);
    host.wait_alive(0);
    host.stream("Desktop");
    assert_eq!(host.fake.made(), 3);
    let output = wait_for("the output", || host.view()?.output);
    assert_eq!(output.mode.refresh_mhz(), 59_940);
}

#[test]
fn a_lasting_output_goes_when_its_client_is_unpaired() {
    let host = Host::start(Fake { lasting: true, ..Fake::new("fake") });
    host.stream("Desktop");
    host.shared().cancel(host.client);
    assert_eq!(host.fake.alive(), 1);
    host.shared().evict(host.client);
    host.wait_alive(0);
}

#[test]
fn an_output_that_another_one_replaces_goes_even_if_that_shows_nothing() {
    let host = Host::start(Fake::new("fake"));
    host.stream("Desktop");
    host.resume((400, 300));
    // Nobody connects.
    host.wait_alive(1);
    assert_eq!(host.fake.made(), 2);
}

#[test]
fn an_output_lost_while_paused_is_made_again_at_the_resume() {
    let host = Host::start(Fake::new("fake"));
    let session = host.stream("Desktop");
    host.shared().event(Event::ControlDisconnected(session));
    wait_for("the pause", || host.paused().then_some(()));
    host.fake.die();
    let session = host.resume((320, 180));
    host.connect(session);
    host.wait_frames(session, 1);
    assert_eq!((host.fake.made(), host.fake.alive()), (2, 1));
}

/// What runs for this host, by its mark.
fn programs(host: &Host) -> Vec<rustix::process::Pid> {
    marked(HOST_MARK, &host.unique_id)
}

#[test]
fn the_terminal_of_the_built_in_desktop_comes_back_with_it() {
    let host = Host::start(Fake::new("built-in"));
    host.install_terminal();
    let session = host.stream("Desktop");
    let before = wait_for("the terminal", || programs(&host).first().copied());
    host.fake.answer(Answer::Refusal);
    host.fake.die();
    host.wait_lost();
    signal_all(&[before], rustix::process::Signal::KILL);
    wait_for("its end", || programs(&host).is_empty().then_some(()));
    host.wait_frames(session, 3);
    host.fake.answer(Answer::Output);
    let after = wait_for("another terminal", || programs(&host).first().copied());
    assert_ne!(before, after);
    host.wait_frames(session, 3);
    host.shared().cancel(host.client);
    assert!(programs(&host).is_empty());
}

#[test]
fn where_the_desktop_went_away_for_good_the_built_in_one_is_not_empty() {
    let host = Host::start(Fake::new("fake"));
    host.install_terminal();
    let session = host.stream("Desktop");
    assert!(programs(&host).is_empty(), "a running desktop needs no terminal");
    host.shared().event(Event::ControlDisconnected(session));
    wait_for("the pause", || host.paused().then_some(()));
    host.fake.die();
    *host.fake.effective.lock().expect("no panic") = "built-in";
    let session = host.resume((320, 180));
    host.connect(session);
    host.wait_frames(session, 1);
    wait_for("the terminal", || programs(&host).first().copied());
}

#[test]
fn an_app_that_dies_with_its_desktop_ends_its_session() {
    let host = Host::start(Fake::new("fake"));
    host.stream("game");
    let game = wait_for("the game", || programs(&host).first().copied());
    host.fake.answer(Answer::Refusal);
    host.fake.die();
    host.wait_lost();
    signal_all(&[game], rustix::process::Signal::KILL);
    wait_for("the end", || host.is_over().then_some(()));
    host.wait_alive(0);
}

#[test]
fn an_app_that_survives_its_desktop_is_shown_again() {
    let host = Host::start(Fake::new("fake"));
    let session = host.stream("game");
    let game = wait_for("the game", || programs(&host).first().copied());
    host.fake.die();
    wait_for("another output", || (host.fake.made() == 2).then_some(()));
    host.wait_frames(session, 3);
    assert_eq!(programs(&host), [game]);
}

#[test]
fn a_contained_app_keeps_its_output_at_every_mode_and_takes_it_along() {
    let host = Host::start(Fake { contains_apps: true, ..Fake::new("gamescope") });
    host.stream("game");
    assert!(programs(&host).is_empty(), "its compositor has started it");
    let session = host.resume((400, 300));
    host.connect(session);
    host.wait_frames(session, 1);
    assert_eq!(host.fake.made(), 1, "another output would lose the app");
    wait_for("scaled pictures", || host.view().filter(|view| view.scaled > 0));
    // The app ends by itself.
    let ended = host.fake.contained.ended.lock().expect("no panic").take().expect("somebody listens");
    ended();
    wait_for("the end", || host.is_over().then_some(()));
    host.wait_alive(0);

    host.stream("game");
    host.shared().cancel(host.client);
    assert_eq!(host.fake.contained.terminated.load(Ordering::Acquire), 2);
    assert_eq!(host.fake.alive(), 0, "gone when cancel returns");
}

#[test]
fn a_contained_app_whose_pictures_end_is_not_started_again() {
    let host = Host::start(Fake { contains_apps: true, ..Fake::new("gamescope") });
    host.stream("game");
    host.fake.die();
    wait_for("the end", || host.is_over().then_some(()));
    assert_eq!(host.fake.made(), 1);
    host.wait_alive(0);
    assert_eq!(host.fake.contained.terminated.load(Ordering::Acquire), 1);
}

#[test]
fn stopping_the_host_in_the_middle_of_a_recovery_leaves_nothing() {
    let Host { supervisor, fake, .. } = {
        let host = Host::start(Fake::new("fake"));
        host.stream("Desktop");
        host.fake.answer(Answer::Refusal);
        host.fake.die();
        host.wait_lost();
        host
    };
    fake.answer(Answer::Output);
    drop(supervisor);
    assert_eq!(fake.alive(), 0);
}

#[test]
fn a_launch_that_is_overtaken_by_its_end_is_not_answered_as_if_it_had_succeeded() {
    type End = fn(&Host);
    let quit: End = |host| host.shared().cancel(host.client);
    let stop: End = |host| host.shared().event(Event::Stop);
    for (end, told) in [(quit, "ended"), (stop, "stopping")] {
        let host = Host::start(Fake::new("fake"));
        host.fake.answer(Answer::Silence);
        let peer = IpAddr::from([127, 0, 0, 1]);
        std::thread::scope(|scope| {
            let request = host.request(Some("Desktop"), (320, 180));
            let launch = scope.spawn(|| host.shared().launch(host.client, request, peer));
            wait_for("the question", || (host.fake.asked.load(Ordering::Acquire) == 1).then_some(()));
            scope.spawn(|| end(&host));
            wait_for("the end", || host.is_over().then_some(()));
            host.fake.answer(Answer::Output);
            let refused = launch.join().expect("no panic").expect_err("it is over");
            assert!(refused.message.contains(told), "{}", refused.message);
        });
        host.wait_alive(0);
    }
}

#[test]
fn two_launches_at_once_both_succeed_and_share_the_app() {
    let host = Host::start(Fake::new("fake"));
    host.fake.answer(Answer::Silence);
    let peer = IpAddr::from([127, 0, 0, 1]);
    let launch = || host.shared().launch(host.client, host.request(Some("Desktop"), (320, 180)), peer);
    std::thread::scope(|scope| {
        let first = scope.spawn(launch);
        wait_for("the question", || (host.fake.asked.load(Ordering::Acquire) == 1).then_some(()));
        let earlier = host.connection();
        let second = scope.spawn(launch);
        wait_for("the second", || (host.connection() != earlier).then_some(()));
        host.fake.answer(Answer::Output);
        for launch in [first, second] {
            launch.join().expect("no panic").expect("an impatient user sees no error");
        }
    });
    host.shared().cancel(host.client);
    host.wait_alive(0);
}
