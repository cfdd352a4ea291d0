//! Loss, several addresses, old clients, many requests.

use crate::lab::{Lab, PATIENCE, Viewer, now};
use lumen_testkit::netem::Profile;
use lumen_testkit::{Client, Codec, Generation, Identity, StreamOptions, StreamRequest};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};
use std::time::Duration;

#[test]
fn ten_percent_loss_reordering_and_duplication_do_not_stall_the_stream() {
    let lab = Lab::start("");
    let client = lab.paired(0);
    let options = StreamOptions { network: Some(Profile::rough(7, 0.1)), ..StreamOptions::default() };
    let request = StreamRequest::new(1280, 720, 60);
    let stream = client.launch(lab.app(&client, "scroll"), &request, &options).expect("launches");
    let end = now() + Duration::from_secs(10);
    let mut longest = Duration::ZERO;
    let mut last = now();
    let mut frames = 0;
    while now() < end {
        stream.next_frame(Duration::from_secs(5)).expect("the stream goes on");
        longest = longest.max(now() - last);
        last = now();
        frames += 1;
    }
    let statistics = stream.statistics();
    println!(
        "{frames} frames, {} lost, {} recovered, {} IDR requests, longest gap {longest:?}",
        statistics.video.frames_lost, statistics.video.frames_recovered, statistics.idr_requests
    );
    assert!(statistics.video.frames_recovered > 0, "parity was needed");
    assert!(frames > 100, "{frames} frames in ten seconds");
}

#[test]
fn an_idr_request_is_answered_within_two_frames() {
    let lab = Lab::start("");
    let client = lab.paired(0);
    let stream = lab.launch(&client, "testcard", &StreamRequest::new(1280, 720, 60));
    Viewer::new(Codec::H264).watch(&stream, 3);
    for _ in 0..5 {
        // Drain what came before the request.
        while stream.next_frame(Duration::from_millis(1)).is_ok() {}
        let before = stream.statistics().video.frames;
        stream.request_idr().expect("queued");
        let mut later = 0;
        loop {
            let frame = stream.next_frame(PATIENCE).expect("a frame");
            later += 1;
            if frame.kind == lumen_testkit::video::FrameType::Idr {
                break;
            }
            assert!(later < 10, "no IDR among ten frames after {before}");
        }
        // One on its way already, one being encoded, and the network's own delay on a loaded machine.
        assert!(later <= 4, "the IDR was frame {later} after the request");
    }
}

#[test]
fn a_blackout_is_survived() {
    let lab = Lab::start("");
    let client = lab.paired(0);
    let options = StreamOptions { network: Some(Profile::default()), ..StreamOptions::default() };
    let request = StreamRequest::new(640, 360, 60);
    let stream = client.launch(lab.app(&client, "testcard"), &request, &options).expect("launches");
    Viewer::new(Codec::H264).watch(&stream, 3);
    stream.set_network(Profile { blackout: true, ..Profile::default() });
    let quiet = now() + Duration::from_millis(1500);
    while now() < quiet {
        let _ = stream.next_frame(Duration::from_millis(50));
    }
    stream.set_network(Profile::default());
    let mut viewer = Viewer::new(Codec::H264);
    // Decoding starts anew: an IDR has to come.
    loop {
        let frame = stream.next_frame(PATIENCE).expect("the stream goes on");
        if frame.kind == lumen_testkit::video::FrameType::Idr {
            viewer.show(&frame);
            break;
        }
    }
    viewer.watch(&stream, 5);
}

#[test]
fn a_client_that_roams_keeps_its_picture() {
    let lab = Lab::start("");
    let client = lab.paired(0);
    let stream = lab.launch(&client, "testcard", &StreamRequest::new(640, 360, 60));
    Viewer::new(Codec::H264).watch(&stream, 3);
    stream.roam_video();
    let deadline = now() + PATIENCE;
    let before = stream.statistics().video.frames;
    while stream.statistics().video.frames < before + 60 {
        assert!(now() < deadline, "no picture at the new place");
        let _ = stream.next_frame(Duration::from_millis(100));
    }
}

#[test]
fn clients_of_an_older_generation_stream_too() {
    let lab = Lab::start("");
    let mut client = Client::new(Identity::test_key(0), lab.address()).with_generation(Generation::Legacy61);
    lab.pair(&mut client, 0);
    let stream = lab.launch(&client, "testcard", &StreamRequest::new(640, 360, 30));
    Viewer::new(Codec::H264).watch(&stream, 10);
    assert_eq!(stream.violations(), []);
}

#[test]
fn over_ipv6_and_at_the_second_address() {
    let lab = Lab::start("");
    let second = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    for (identity, ip) in [(0, IpAddr::V6(Ipv6Addr::LOCALHOST)), (1, second)] {
        let mut client = Client::new(Identity::test_key(identity), lab.address_at(ip));
        lab.pair(&mut client, identity);
        let info = client.server_info().expect("answers");
        let expected = if ip.is_ipv6() { "127.0.0.1" } else { "127.0.0.2" };
        assert_eq!(info.local_ip, expected);
        let stream = lab.launch(&client, "testcard", &StreamRequest::new(640, 360, 30));
        // The client takes packets only from the address that it asked.
        Viewer::new(Codec::H264).watch(&stream, 5);
        assert_eq!(stream.violations(), []);
        stream.disconnect(PATIENCE);
        client.cancel().expect("cancelled");
    }
}

#[test]
fn no_request_waits_for_another() {
    let lab = Lab::start("");
    let [streaming, polling, third] = [0, 1, 0].map(|identity| match identity {
        0 => lab.paired(0),
        other => lab.paired(other),
    });
    let stream = lab.launch(&streaming, "testcard", &StreamRequest::new(640, 360, 30));
    Viewer::new(Codec::H264).watch(&stream, 3);
    // Idle connections on both ports, as stock clients hold them.
    let mut idle = Vec::new();
    for port in [lab.base_port, lab.base_port - 5] {
        for _ in 0..4 {
            idle.push(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connects"));
        }
    }
    let mut kept = TcpStream::connect((Ipv4Addr::LOCALHOST, lab.base_port)).expect("connects");
    kept.write_all(b"GET /serverinfo HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n").expect("sent");
    let mut some = [0; 64];
    assert!(kept.read(&mut some).expect("answered") > 0);

    let slowest = std::thread::scope(|scope| {
        let pollers: Vec<_> = [&polling, &third]
            .map(|client| {
                scope.spawn(move || {
                    let mut slowest = Duration::ZERO;
                    for _ in 0..20 {
                        let started = now();
                        client.server_info().expect("answers");
                        slowest = slowest.max(now() - started);
                    }
                    slowest
                })
            })
            .into_iter()
            .collect();
        pollers.into_iter().map(|poller| poller.join().expect("no panic")).max()
    });
    // A client gives up after two seconds.
    assert!(slowest.expect("polled") < Duration::from_secs(2), "{slowest:?}");
    drop(idle);
    assert_eq!(stream.violations(), []);
}
