//! The whole client against the host in miniature.
use std::time::Duration;

use crate::PairVariant;
use crate::client::{Client, ClientError};
use crate::control::HostMessage;
use crate::identity::Identity;
use crate::input::InputPacket;
use crate::netem::Profile;
use crate::request::{EncryptionWish, Generation, StreamRequest};
use crate::stream::{Ending, Stream, StreamOptions, WaitError};
use crate::testhost::{CONNECT_DATA, PING, TestHost};
use crate::video::FrameType;

const WAIT: Duration = Duration::from_secs(15);

fn paired(host: &TestHost) -> Client {
    let mut client = Client::new(Identity::test_key(0), host.address);
    client.pair("1234", WAIT).unwrap();
    client
}

fn request() -> StreamRequest {
    StreamRequest::new(640, 360, 60)
}

fn take_frames(stream: &Stream, count: u32) {
    for _ in 0..count {
        stream.next_frame(WAIT).unwrap();
    }
}

#[test]
fn pairs_lists_launches_streams_and_is_terminated() {
    let host = TestHost::start("1234");
    host.log.lock().unwrap().encrypt_video = true;
    let client = paired(&host);
    assert!(client.server_info().unwrap().paired);
    assert!(!client.server_info_http().unwrap().paired);
    let apps = client.app_list().unwrap();
    assert_eq!((apps[1].id, apps[1].title.as_str(), apps[1].hdr), (77, "A & B", true));
    assert_eq!(client.app_asset(1).unwrap(), b"PNG");

    let mut wanted = request();
    wanted.encryption = EncryptionWish { video: true, audio: true };
    let options = StreamOptions { prove_parity: true, ..StreamOptions::default() };
    let stream = client.launch(77, &wanted, &options).unwrap();
    let first = stream.next_frame(WAIT).unwrap();
    assert_eq!((first.index, first.kind), (1, FrameType::Idr));
    for expected in 2..30 {
        assert_eq!(stream.next_frame(WAIT).unwrap().index, expected);
    }
    assert_eq!(stream.negotiated().announcement.packet_size, 1360);

    stream.request_idr().unwrap();
    while stream.next_frame(WAIT).unwrap().kind != FrameType::Idr {}
    stream.send_input(InputPacket::key(true, 0x41)).unwrap();
    let key = InputPacket::key(true, 0x41).encode();
    host.wait("the key", |log| log.control.iter().any(|m| *m == (2, 0x0206, key.clone())));
    host.log.lock().unwrap().to_client.push((0x010b, vec![0, 0, 0, 0, 1, 0, 2, 0, 3, 0]));
    let rumble = HostMessage::Rumble { controller: 1, low: 2, high: 3 };
    assert_eq!(stream.next_message(WAIT), Ok(rumble));

    {
        let log = host.log.lock().unwrap();
        assert_eq!(log.connects, [CONNECT_DATA]);
        let kinds: Vec<u16> = log.control.iter().map(|message| message.1).collect();
        assert_eq!(kinds[..3], [0x0302, 0x0307, 0x0200]);
        let input: Vec<&[u8]> = log
            .control
            .iter()
            .filter(|message| message.1 == 0x0206)
            .map(|message| message.2.as_slice())
            .collect();
        assert_eq!(input[0], InputPacket::EnableHaptics.encode());
        assert_eq!(input[2], InputPacket::MouseMove { dx: -1, dy: -1 }.encode());
        for pings in [&log.video_pings, &log.audio_pings] {
            assert_eq!(pings[0], [PING.as_bytes(), &[0, 0, 0, 1]].concat());
        }
        assert_eq!(log.rtsp.len(), 7);
    }

    host.log.lock().unwrap().to_client.push((0x0109, vec![0x80, 0x03, 0x00, 0x23]));
    assert_eq!(stream.wait_end(WAIT), Some(Ending::Graceful));
    host.wait("the client's disconnect", |log| log.disconnects == 1);
    let statistics = stream.statistics();
    assert_eq!(statistics.video.violations, 0, "{:?}", stream.violations());
    assert_eq!(statistics.video.frames_lost, 0);
    assert!(statistics.idr_requests >= 2);
    let timings = statistics.timings;
    assert!(timings.launch_sent < timings.launch_answered);
    assert!(
        timings.control_connected < timings.first_datagram && timings.first_datagram <= timings.first_frame
    );
    while stream.next_frame(WAIT).is_ok() {}
    assert_eq!(stream.next_frame(WAIT).unwrap_err(), WaitError::Ended(Ending::Graceful));
    assert!(stream.disconnect(WAIT).is_clean());
    client.cancel().unwrap();
}

#[test]
fn pairing_fails_as_it_should() {
    let host = TestHost::start("9999");
    let mut client = Client::new(Identity::test_key(0), host.address);
    assert!(matches!(client.app_list(), Err(ClientError::NotPaired)));
    assert!(matches!(client.pair("1234", WAIT), Err(ClientError::WrongPin)));
    assert!(host.log.lock().unwrap().requests.last().unwrap().starts_with("/unpair"));
    for (variant, phase) in [
        (PairVariant::IgnoreWrongPin, 4),
        (PairVariant::ShortSalt, 1),
        (PairVariant::Phase3First, 3),
        (PairVariant::RepeatPhase2, 2),
        (PairVariant::SkipPhase3, 4),
    ] {
        match client.pair_as("1234", WAIT, variant) {
            Err(ClientError::PairingRefused(found)) => assert_eq!(found, phase, "{variant:?}"),
            other => panic!("{variant:?}: {other:?}"),
        }
    }
    for variant in [PairVariant::TamperedSignature, PairVariant::TamperedSecret, PairVariant::ShortSecret] {
        let refused = client.pair_as("9999", WAIT, variant);
        assert!(matches!(refused, Err(ClientError::PairingRefused(4))), "{variant:?}: {refused:?}");
    }
    assert!(host.log.lock().unwrap().paired.is_empty());
    client.pair_as("9999", WAIT, PairVariant::UppercaseHex).unwrap();
    // Another certificate is not authorised, and a wrong pin on the host's certificate ends TLS.
    let pinned = client.host_certificate().unwrap().to_vec();
    let stranger = Client::new(Identity::test_key(1), host.address).with_host_certificate(pinned);
    assert!(matches!(stranger.app_list(), Err(ClientError::Status { code: 401, .. })));
    let misled = Client::new(Identity::test_key(0), host.address)
        .with_host_certificate(Identity::test_key(0).certificate_der().to_vec());
    assert!(matches!(misled.app_list(), Err(ClientError::Io { .. })));
}

#[test]
fn the_older_generation_streams_plain() {
    let host = TestHost::start("1234");
    host.log.lock().unwrap().encrypt_video = true;
    let client = paired(&host).with_generation(Generation::Legacy61);
    let mut wanted = request();
    wanted.encryption.video = true;
    let stream = client.launch(1, &wanted, &StreamOptions::default()).unwrap();
    take_frames(&stream, 10);
    {
        let log = host.log.lock().unwrap();
        assert_eq!(log.connects, [0]);
        assert_eq!(log.video_pings[0], b"PING");
        assert!(log.rtsp[0].starts_with("OPTIONS rtsp://"));
        assert!(!log.announce.contains("x-ml-general"));
    }
    assert_eq!(stream.violations(), []);
    assert_eq!(stream.disconnect(WAIT), Ending::Left);
    host.wait("the disconnect", |log| log.disconnects == 1);
}

#[test]
fn through_a_rough_network_the_stream_never_stalls() {
    let host = TestHost::start("1234");
    let client = paired(&host);
    let options = StreamOptions { network: Some(Profile::rough(42, 0.1)), ..StreamOptions::default() };
    let stream = client.launch(1, &request(), &options).unwrap();
    take_frames(&stream, 150);
    let statistics = stream.statistics();
    let network = statistics.network.unwrap();
    assert!(network.dropped > 0 && network.duplicated > 0 && network.reordered > 0);
    assert!(statistics.video.frames_recovered > 0);
    assert_eq!(statistics.video.violations, 0, "{:?}", stream.violations());
    // A blackout loses frames for sure; an IDR brings the picture back.
    let before = statistics.video;
    stream.set_network(Profile { blackout: true, ..Profile::default() });
    host.wait("pings stop for a moment", {
        let start = crate::clock::now();
        move |_| crate::clock::now().since(start) > Duration::from_millis(200)
    });
    stream.set_network(Profile::default());
    let deadline = crate::clock::now() + WAIT;
    while stream.statistics().video.idr_frames == before.idr_frames {
        assert!(crate::clock::now() < deadline, "no IDR after the blackout");
        stream.next_frame(WAIT).unwrap();
    }
    assert!(stream.statistics().video.frames_lost > before.frames_lost);
    stream.disconnect(WAIT);
}

#[test]
fn a_roaming_client_is_followed_and_a_killed_one_says_nothing() {
    let host = TestHost::start("1234");
    let client = paired(&host);
    let stream = client.launch(1, &request(), &StreamOptions::default()).unwrap();
    take_frames(&stream, 5);
    let old = *host.log.lock().unwrap().video_peers.last().unwrap();
    stream.roam_video();
    host.wait("a ping from a new port", |log| *log.video_peers.last().unwrap() != old);
    take_frames(&stream, 20);
    stream.kill();
    assert_eq!(host.log.lock().unwrap().disconnects, 0);
    let again = client.resume(&request(), &StreamOptions::default()).unwrap();
    assert_eq!(again.next_frame(WAIT).unwrap().index, 1);
    drop(again);
    host.wait("the disconnect of the dropped stream", |log| log.disconnects == 1);
}

#[test]
fn a_host_that_answers_nothing_more_is_reported() {
    let host = TestHost::start("1234");
    let client = paired(&host);
    host.log.lock().unwrap().silent_video = true;
    let stream = client.launch(1, &request(), &StreamOptions::default()).unwrap();
    assert_eq!(stream.next_frame(Duration::from_millis(50)).unwrap_err(), WaitError::Timeout);
    host.log.lock().unwrap().to_client.push((0x0109, vec![0x80, 0x03, 0x00, 0x23]));
    assert_eq!(stream.wait_end(WAIT), Some(Ending::Early));
    assert_eq!(stream.ending().map(Ending::client_result), Some(-102));
    drop(stream);
    let stream = client.resume(&request(), &StreamOptions::default()).unwrap();
    assert_eq!(stream.wait_end(Duration::from_secs(20)), Some(Ending::NoVideoTraffic));
}
