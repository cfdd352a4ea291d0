use super::*;
use crate::Time;
use crate::api::ApiError;
use crate::crypto::SessionKey;
use crate::launch::{AudioLayout, LaunchRequest};
use crate::sdp::{AudioQuality, ClientFeatures, Encryption, HostFeatures, StreamParameters};
use crate::serverinfo::CodecModes;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

const POLICY: Policy = Policy { max_sessions: 3, rtsp_encryption: RtspEncryption::WhenPossible };

fn client(n: u8) -> ClientId {
    ClientId::of_certificate(&[n])
}

fn app(n: u32) -> AppId {
    AppId::new(n).unwrap()
}

fn secs(seconds: u64) -> Time {
    Duration::from_secs(seconds)
}

fn order(app_number: Option<u32>, random: u8) -> LaunchOrder {
    LaunchOrder {
        request: LaunchRequest {
            app: app_number.map(app),
            mode: None,
            key: SessionKey::new([random; 16]),
            key_id: 0,
            hdr: false,
            optimise: false,
            host_audio: None,
            audio: AudioLayout::STEREO,
            gamepads: 0,
            keep_gamepads: false,
            core_version: 1,
            continuous_audio: false,
        },
        peer: IpAddr::from([192, 168, 1, random]),
        random: [random; 20],
    }
}

fn parameters() -> StreamParameters {
    let features = HostFeatures {
        codecs: CodecModes::H264,
        pen_touch: false,
        controller_touch: false,
        encryption_supported: Encryption::ALL,
        encryption_requested: Encryption::NONE,
        encryption_required: Encryption::NONE,
        ref_pic_invalidation: false,
    };
    let body = crate::sdp::tests::captured();
    StreamParameters::parse(body.as_bytes(), &features, AudioQuality::Normal).unwrap()
}

/// A table with client 1 streaming app 5.
fn streaming() -> (SessionTable, SessionId) {
    let mut table = SessionTable::new(POLICY);
    let (id, _) = table.launch(client(1), order(Some(5), 1), secs(0)).unwrap();
    table.ping_learned(id, StreamKind::Audio);
    table.announced(id, parameters(), secs(0));
    table.played(id, secs(0));
    table.control_connected(id, secs(0));
    table.ping_learned(id, StreamKind::Video);
    (table, id)
}

fn stop(session: SessionId, reason: StopReason) -> Effect {
    Effect::StopStream { session, reason, keep_gamepads: false }
}

fn goodbye(session: SessionId) -> Effect {
    Effect::TerminateClient { session, termination: Termination::Graceful }
}

#[test]
fn from_launch_to_picture() {
    let mut table = SessionTable::new(POLICY);
    assert_eq!(table.current_game(client(1)), None);
    let (id, effects) = table.launch(client(1), order(Some(5), 1), secs(0)).unwrap();
    let run = table.of_client(client(1)).unwrap().run();
    assert_eq!(effects, [Effect::StartApp { client: client(1), session: id, app: app(5), run }]);
    assert_eq!(table.current_game(client(1)), Some(app(5)));
    assert_eq!(table.current_game(client(2)), None, "others see nothing of it");

    let connection = table.session(id).unwrap().connection().unwrap().clone();
    assert_eq!(connection.rtsp_token, "0101010101010101");
    assert_eq!(table.by_ping(&connection.ping_payload), Some(id));
    assert_eq!(table.by_connect_data(0x0101_0101), Some(id));
    let peer = "::ffff:192.168.1.1".parse().unwrap();
    assert_eq!(table.by_peer(peer, StreamKind::Audio), Some(id), "it may be an old client");
    assert_eq!(table.by_peer(peer, StreamKind::Video), None, "nothing says so yet");

    assert_eq!(table.ping_learned(id, StreamKind::Audio), [], "remembered, but too early");
    assert_eq!(table.announced(id, parameters(), secs(1)), [Effect::StartStream { session: id }]);
    assert_eq!(table.played(id, secs(2)), [Effect::SendAudio { session: id }]);
    assert_eq!(table.control_connected(id, secs(3)), []);
    assert!(matches!(table.session(id).unwrap().state(), State::Streaming { .. }));
    assert_eq!(table.next_deadline(), Some(secs(13)), "the video ping is due");
    assert_eq!(table.ping_learned(id, StreamKind::Video), [Effect::SendVideo { session: id }]);
    assert_eq!(table.ping_learned(id, StreamKind::Video), [], "a ping from elsewhere is no news here");
    assert_eq!(table.next_deadline(), None);
}

#[test]
fn pings_without_payload_only_reach_clients_that_cannot_send_one() {
    let mut table = SessionTable::new(POLICY);
    let old = StreamParameters { client_features: ClientFeatures::from_bits(0), ..parameters() };
    let (legacy, _) = table.launch(client(1), order(Some(5), 1), secs(0)).unwrap();
    table.announced(legacy, old, secs(0));
    // A newer client at the same address, as behind a NAT.
    let mut newer = order(Some(5), 2);
    newer.peer = IpAddr::from([192, 168, 1, 1]);
    let (modern, _) = table.launch(client(2), newer, secs(1)).unwrap();
    table.announced(modern, parameters(), secs(1));
    let peer = IpAddr::from([192, 168, 1, 1]);
    assert_eq!(table.by_peer(peer, StreamKind::Video), Some(legacy));
    assert_eq!(table.by_peer(peer, StreamKind::Audio), Some(legacy));
    table.cancel(client(1), secs(2));
    assert_eq!(table.by_peer(peer, StreamKind::Video), None);
}

#[test]
fn play_and_control_may_come_in_any_order_and_late_pings_count() {
    let mut table = SessionTable::new(POLICY);
    let (id, _) = table.launch(client(1), order(Some(5), 1), secs(0)).unwrap();
    table.announced(id, parameters(), secs(0));
    assert_eq!(table.ping_learned(id, StreamKind::Video), []);
    assert_eq!(table.control_connected(id, secs(0)), []);
    assert_eq!(table.played(id, secs(0)), [Effect::SendVideo { session: id }]);
    assert_eq!(table.played(id, secs(0)), []);
    assert_eq!(table.ping_learned(id, StreamKind::Audio), [Effect::SendAudio { session: id }]);
}

#[test]
fn a_lost_client_pauses_and_resumes_with_a_new_key() {
    let (mut table, first) = streaming();
    let effects = table.control_disconnected(first, secs(20));
    assert_eq!(effects, [stop(first, StopReason::ClientLeft), Effect::Forget { session: first }]);
    assert_eq!(table.current_game(client(1)), Some(app(5)), "the app runs on");
    assert_eq!(table.control_disconnected(first, secs(20)), [], "and what comes late is ignored");

    let (second, effects) = table.resume(client(1), order(None, 2), secs(30)).unwrap();
    assert_eq!(effects, []);
    assert_ne!(first, second);
    let connection = table.session(second).unwrap().connection().unwrap();
    assert_eq!(connection.request.key, SessionKey::new([2; 16]));
    assert_eq!(table.announced(first, parameters(), secs(30)), []);
}

#[test]
fn resuming_a_stream_that_looks_alive_ends_it_first() {
    let (mut table, first) = streaming();
    let (second, effects) = table.resume(client(1), order(None, 2), secs(5)).unwrap();
    assert_eq!(
        effects,
        [goodbye(first), stop(first, StopReason::Replaced), Effect::Forget { session: first }]
    );
    assert!(table.session(first).is_none());
    assert!(table.session(second).is_some());
}

#[test]
fn launches_replace_what_is_pending_but_not_what_runs() {
    let mut table = SessionTable::new(POLICY);
    let (first, _) = table.launch(client(1), order(Some(5), 1), secs(0)).unwrap();
    let run = table.of_client(client(1)).unwrap().run();
    let (second, effects) = table.launch(client(1), order(Some(5), 2), secs(1)).unwrap();
    assert_eq!(effects, [Effect::Forget { session: first }], "the same app keeps running");
    assert_eq!(table.of_client(client(1)).unwrap().run(), run);

    let (third, effects) = table.launch(client(1), order(Some(6), 3), secs(2)).unwrap();
    let new_run = table.of_client(client(1)).unwrap().run();
    assert_eq!(
        effects,
        [
            Effect::Forget { session: second },
            Effect::EndApp { client: client(1), run },
            Effect::StartApp { client: client(1), session: third, app: app(6), run: new_run },
        ]
    );
    assert_eq!(table.app_ended(run, secs(2)), [], "the end of the old run is no end of the new");

    let (mut table, _) = streaming();
    let error = table.launch(client(1), order(Some(5), 2), secs(1)).unwrap_err();
    assert_eq!(error, ApiError::bad_request("An app is already running on this host"));
}

#[test]
fn refusals() {
    let mut table = SessionTable::new(POLICY);
    assert_eq!(table.resume(client(1), order(None, 1), secs(0)).unwrap_err().status, 503);
    assert_eq!(table.launch(client(1), order(None, 1), secs(0)).unwrap_err().status, 400);
    for n in 1..=3 {
        table.launch(client(n), order(Some(5), n), secs(0)).unwrap();
    }
    assert_eq!(table.launch(client(4), order(Some(5), 4), secs(0)).unwrap_err().status, 503, "full");
    assert!(table.launch(client(3), order(Some(5), 5), secs(0)).is_ok(), "but not for who is in it");

    let mut table = SessionTable::new(Policy { rtsp_encryption: RtspEncryption::Required, ..POLICY });
    let mut old = order(Some(5), 1);
    old.request.core_version = 0;
    assert_eq!(table.launch(client(1), old.clone(), secs(0)).unwrap_err().status, 403);
    let mut table = SessionTable::new(POLICY);
    let (id, _) = table.launch(client(1), old, secs(0)).unwrap();
    assert!(!table.session(id).unwrap().connection().unwrap().encrypted_rtsp);
}

#[test]
fn cancel_ends_everything_once() {
    let (mut table, id) = streaming();
    let run = table.of_client(client(1)).unwrap().run();
    assert_eq!(table.cancel(client(2), secs(9)), [], "not another's");
    assert_eq!(
        table.cancel(client(1), secs(9)),
        [
            goodbye(id),
            stop(id, StopReason::Cancelled),
            Effect::Forget { session: id },
            Effect::EndApp { client: client(1), run },
            Effect::Ended { client: client(1), run },
        ]
    );
    assert_eq!(table.current_game(client(1)), None);
    assert_eq!(table.cancel(client(1), secs(9)), []);
}

#[test]
fn an_app_that_ends_ends_its_session() {
    let (mut table, id) = streaming();
    let run = table.of_client(client(1)).unwrap().run();
    assert_eq!(
        table.app_ended(run, secs(9)),
        [
            goodbye(id),
            stop(id, StopReason::AppEnded),
            Effect::Forget { session: id },
            Effect::Ended { client: client(1), run },
        ]
    );
    assert_eq!(table.current_game(client(1)), None);
}

#[test]
fn a_failed_stream_tells_its_code_and_pauses() {
    let (mut table, id) = streaming();
    let effects = table.stream_failed(id, Termination::FrameConversion, secs(9));
    let termination = Termination::FrameConversion;
    assert_eq!(effects[0], Effect::TerminateClient { session: id, termination });
    assert!(matches!(table.of_client(client(1)).unwrap().state(), State::Paused { .. }));
}

#[test]
fn pending_connections_expire_without_killing_the_app() {
    let mut table = SessionTable::new(POLICY);
    let (id, _) = table.launch(client(1), order(Some(5), 1), secs(0)).unwrap();
    table.rtsp_progress(id, secs(8));
    assert_eq!(table.next_deadline(), Some(secs(18)));
    assert_eq!(table.tick(secs(17)), []);
    assert_eq!(table.tick(secs(18)), [Effect::Forget { session: id }]);
    assert_eq!(table.current_game(client(1)), Some(app(5)));

    let (id, _) = table.resume(client(1), order(None, 2), secs(100)).unwrap();
    for at in (100..160).step_by(5) {
        table.rtsp_progress(id, secs(at));
        assert_eq!(table.tick(secs(at)), []);
    }
    assert_eq!(table.tick(secs(160)), [Effect::Forget { session: id }], "talking does not help for ever");
}

/// Making an output may wait for a person at the portal; a client is patient for two minutes.
#[test]
fn the_hosts_own_work_does_not_count_as_the_clients_silence() {
    let mut table = SessionTable::new(POLICY);
    let (id, _) = table.launch(client(1), order(Some(5), 1), secs(0)).unwrap();
    assert_eq!(table.tick(secs(45)), []);
    table.answered(id, secs(45));
    assert_eq!(table.next_deadline(), Some(secs(55)));
    table.announced(id, parameters(), secs(50));
    assert_eq!(table.tick(secs(70)), []);
    table.answered(id, secs(70));
    assert_eq!(table.tick(secs(79)), []);
    assert_eq!(table.tick(secs(80)), [stop(id, StopReason::Timeout), Effect::Forget { session: id }]);
}

#[test]
fn a_start_without_control_or_ping_expires() {
    let mut table = SessionTable::new(POLICY);
    let (id, _) = table.launch(client(1), order(Some(5), 1), secs(0)).unwrap();
    table.announced(id, parameters(), secs(5));
    table.played(id, secs(9));
    assert_eq!(table.next_deadline(), Some(secs(19)));
    assert_eq!(table.tick(secs(19)), [stop(id, StopReason::Timeout), Effect::Forget { session: id }]);

    let (id, _) = table.resume(client(1), order(None, 2), secs(20)).unwrap();
    table.announced(id, parameters(), secs(20));
    table.played(id, secs(20));
    table.control_connected(id, secs(21));
    assert_eq!(
        table.tick(secs(31)),
        [goodbye(id), stop(id, StopReason::Timeout), Effect::Forget { session: id }]
    );
}

#[test]
fn gamepads_stay_if_the_client_asked_for_it() {
    let mut table = SessionTable::new(POLICY);
    let mut persistent = order(Some(5), 1);
    persistent.request.keep_gamepads = true;
    let (session, _) = table.launch(client(1), persistent, secs(0)).unwrap();
    table.announced(session, parameters(), secs(0));
    let effects = table.torn_down(session, secs(1));
    let reason = StopReason::ClientLeft;
    assert_eq!(effects[0], Effect::StopStream { session, reason, keep_gamepads: true });
}

#[test]
fn host_audio_of_the_launch_holds_for_resumes_that_do_not_say() {
    let mut table = SessionTable::new(POLICY);
    let mut loud = order(Some(5), 1);
    loud.request.host_audio = Some(true);
    table.launch(client(1), loud, secs(0)).unwrap();
    table.resume(client(1), order(None, 2), secs(1)).unwrap();
    assert!(table.of_client(client(1)).unwrap().host_audio());
}

#[test]
fn connect_data_is_never_zero_or_shared() {
    let mut table = SessionTable::new(POLICY);
    for n in 1..=3 {
        let order = LaunchOrder { random: [0; 20], ..order(Some(5), n) };
        table.launch(client(n), order, secs(0)).unwrap();
    }
    let data: BTreeSet<u32> =
        table.sessions().filter_map(|session| Some(session.connection()?.connect_data)).collect();
    assert_eq!(data, BTreeSet::from([1, 2, 3]));
}

#[test]
fn client_ids_survive_text() {
    let id = client(7);
    assert_eq!(ClientId::from_hex(&id.to_hex()), Some(id));
    assert_eq!(ClientId::from_hex("abc"), None);
    assert_eq!(id.to_string(), id.to_hex()[..12]);
}

#[derive(Clone, Debug)]
enum Op {
    Launch { client: u8, app: u32 },
    Resume { client: u8 },
    Cancel { client: u8 },
    Rtsp { back: usize },
    Announce { back: usize },
    Play { back: usize },
    Connect { back: usize },
    Disconnect { back: usize },
    TearDown { back: usize },
    Fail { back: usize },
    Ping { back: usize, video: bool },
    AppEnds { back: usize },
    Pass { millis: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let back = 0usize..4;
    prop_oneof![
        3 => (0u8..5, 1u32..3).prop_map(|(client, app)| Op::Launch { client, app }),
        3 => (0u8..5).prop_map(|client| Op::Resume { client }),
        1 => (0u8..5).prop_map(|client| Op::Cancel { client }),
        1 => back.clone().prop_map(|back| Op::Rtsp { back }),
        4 => back.clone().prop_map(|back| Op::Announce { back }),
        4 => back.clone().prop_map(|back| Op::Play { back }),
        4 => back.clone().prop_map(|back| Op::Connect { back }),
        1 => back.clone().prop_map(|back| Op::Disconnect { back }),
        1 => back.clone().prop_map(|back| Op::TearDown { back }),
        1 => back.clone().prop_map(|back| Op::Fail { back }),
        4 => (back.clone(), any::<bool>()).prop_map(|(back, video)| Op::Ping { back, video }),
        1 => back.prop_map(|back| Op::AppEnds { back }),
        2 => (0u64..12_000).prop_map(|millis| Op::Pass { millis }),
    ]
}

/// What the host would hold after carrying out the effects so far.
#[derive(Default)]
struct Host {
    /// Connections that were handed out and not forgotten, with what runs on each.
    connections: BTreeMap<SessionId, Stream>,
    owners: BTreeMap<SessionId, ClientId>,
    /// Apps that run, by client.
    apps: BTreeMap<AppRun, ClientId>,
    /// Sessions that did not end.
    sessions: BTreeSet<ClientId>,
    known_runs: Vec<AppRun>,
    known_sessions: Vec<SessionId>,
}

#[derive(Default)]
struct Stream {
    started: bool,
    audio: bool,
    video: bool,
}

impl Host {
    /// Carries out effects, each of which must make sense. `cause` is the client that an event was about.
    fn carry_out(&mut self, effects: &[Effect], cause: Option<ClientId>) -> Result<(), TestCaseError> {
        for effect in effects {
            let owner = match *effect {
                Effect::StartApp { client, run, session, .. } => {
                    prop_assert!(!self.known_runs.contains(&run), "a run is never used twice");
                    prop_assert!(self.apps.values().all(|other| *other != client), "one app per client");
                    prop_assert!(!self.known_sessions.contains(&session));
                    self.known_runs.push(run);
                    self.apps.insert(run, client);
                    self.sessions.insert(client);
                    client
                }
                Effect::EndApp { client, run } => {
                    prop_assert_eq!(self.apps.remove(&run), Some(client));
                    client
                }
                Effect::Ended { client, run } => {
                    prop_assert!(!self.apps.contains_key(&run));
                    prop_assert!(self.sessions.remove(&client));
                    prop_assert!(!self.connections.keys().any(|id| self.owners[id] == client));
                    client
                }
                Effect::Forget { session } => {
                    let stream = self.connections.remove(&session);
                    prop_assert!(stream.is_some_and(|stream| !stream.started), "{:?}", effect);
                    self.owners[&session]
                }
                Effect::StartStream { session }
                | Effect::SendAudio { session }
                | Effect::SendVideo { session }
                | Effect::TerminateClient { session, .. }
                | Effect::StopStream { session, .. } => {
                    self.stream_effect(effect, session)?;
                    self.owners[&session]
                }
            };
            prop_assert!(cause.is_none_or(|cause| cause == owner), "{:?} concerns another client", effect);
        }
        Ok(())
    }

    fn stream_effect(&mut self, effect: &Effect, session: SessionId) -> Result<(), TestCaseError> {
        let Some(stream) = self.connections.get_mut(&session) else {
            return Err(TestCaseError::fail(format!("{effect:?} for nobody")));
        };
        let wants_start = matches!(effect, Effect::StartStream { .. });
        prop_assert_eq!(stream.started, !wants_start, "{:?}", effect);
        match effect {
            Effect::StartStream { .. } => stream.started = true,
            Effect::StopStream { .. } => stream.started = false,
            Effect::SendAudio { .. } => prop_assert!(!std::mem::replace(&mut stream.audio, true)),
            Effect::SendVideo { .. } => prop_assert!(!std::mem::replace(&mut stream.video, true)),
            _ => {}
        }
        Ok(())
    }

    fn handed_out(&mut self, session: SessionId, client: ClientId) {
        self.connections.insert(session, Stream::default());
        self.owners.insert(session, client);
        self.known_sessions.push(session);
    }

    /// Table and host agree.
    fn check(&self, table: &SessionTable, now: Time) -> Result<(), TestCaseError> {
        let in_table: BTreeSet<ClientId> = table.sessions().map(Session::client).collect();
        prop_assert_eq!(&in_table, &self.sessions);
        prop_assert!(in_table.len() <= POLICY.max_sessions);
        let connections: BTreeSet<SessionId> =
            table.sessions().filter_map(|session| Some(session.connection()?.id)).collect();
        prop_assert_eq!(connections, self.connections.keys().copied().collect::<BTreeSet<_>>());
        for session in table.sessions() {
            prop_assert_eq!(self.apps.get(&session.run()), Some(&session.client()));
            prop_assert_eq!(table.current_game(session.client()), Some(session.app()));
            if let Some(connection) = session.connection() {
                prop_assert_eq!(self.connections[&connection.id].started, session.parameters().is_some());
                prop_assert_eq!(table.by_connect_data(connection.connect_data), Some(connection.id));
            }
        }
        prop_assert!(table.next_deadline().is_none_or(|deadline| deadline > now));
        Ok(())
    }
}

proptest! {
    /// The rules of `docs/design/session.md` hold after any sequence of events.
    #[test]
    fn any_sequence_keeps_the_rules(ops in prop::collection::vec(op(), 1..120)) {
        let mut table = SessionTable::new(POLICY);
        let mut host = Host::default();
        let mut now = Time::ZERO;
        let announced = parameters();
        for (step, op) in ops.into_iter().enumerate() {
            let random = step as u8;
            let recent = |back: usize| host.known_sessions.iter().rev().nth(back).copied();
            let (back, launch) = match op {
                Op::Launch { client: c, app } => {
                    (None, Some((client(c), table.launch(client(c), order(Some(app), random), now))))
                }
                Op::Resume { client: c } => {
                    let had = table.of_client(client(c)).is_some();
                    let resumed = table.resume(client(c), order(None, random), now);
                    prop_assert_eq!(resumed.is_ok(), had);
                    (None, Some((client(c), resumed)))
                }
                Op::Cancel { client: c } => {
                    let effects = table.cancel(client(c), now);
                    host.carry_out(&effects, Some(client(c)))?;
                    prop_assert_eq!(table.current_game(client(c)), None);
                    prop_assert_eq!(table.cancel(client(c), now), []);
                    (None, None)
                }
                Op::AppEnds { back } => {
                    if let Some(run) = host.known_runs.iter().rev().nth(back).copied() {
                        let owner = host.apps.remove(&run);
                        let effects = table.app_ended(run, now);
                        prop_assert_eq!(effects.is_empty(), owner.is_none());
                        host.carry_out(&effects, owner)?;
                    }
                    (None, None)
                }
                Op::Pass { millis } => {
                    now += Duration::from_millis(millis);
                    let effects = table.tick(now);
                    host.carry_out(&effects, None)?;
                    (None, None)
                }
                Op::Rtsp { back } => {
                    if let Some(id) = recent(back) {
                        table.rtsp_progress(id, now);
                    }
                    (None, None)
                }
                Op::Announce { back } => (recent(back).map(|id| (id, table.announced(id, announced.clone(), now))), None),
                Op::Play { back } => (recent(back).map(|id| (id, table.played(id, now))), None),
                Op::Connect { back } => (recent(back).map(|id| (id, table.control_connected(id, now))), None),
                Op::Disconnect { back } => (recent(back).map(|id| (id, table.control_disconnected(id, now))), None),
                Op::TearDown { back } => (recent(back).map(|id| (id, table.torn_down(id, now))), None),
                Op::Fail { back } => {
                    (recent(back).map(|id| (id, table.stream_failed(id, Termination::Graceful, now))), None)
                }
                Op::Ping { back, video } => {
                    let kind = if video { StreamKind::Video } else { StreamKind::Audio };
                    (recent(back).map(|id| (id, table.ping_learned(id, kind))), None)
                }
            };
            if let Some((id, effects)) = back {
                prop_assert!(host.connections.contains_key(&id) || effects.is_empty(), "{:?} of the past", effects);
                host.carry_out(&effects, Some(host.owners[&id]))?;
            }
            if let Some((who, Ok((id, effects)))) = launch {
                host.carry_out(&effects, Some(who))?;
                host.handed_out(id, who);
            }
            host.check(&table, now)?;
        }
        host.carry_out(&table.shut_down(now), None)?;
        prop_assert!(host.sessions.is_empty() && host.apps.is_empty() && host.connections.is_empty());
    }
}
