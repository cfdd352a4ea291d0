use super::client::{closed, connect, connect_from, exchange, get, get_keep_alive, read_answer};
use super::{BIG, Host, Scripted, Seen, counted, soon};
use crate::{Limits, Server};
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::interval;

const NOT_FOUND: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?><root status_code=\"404\" status_message=\"Not found\"></root>";

#[tokio::test]
async fn a_request_and_its_answer() {
    let mut host = Host::start(Limits::default());
    let stream = connect(host.http()).await;
    let (client, server) = (stream.local_addr().expect("bound"), host.http());
    let answer = exchange(stream, &get("/serverinfo?uniqueid=01%20&a=b?c")).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let head = head.to_lowercase();
    assert!(head.starts_with("http/1.1 200 ok\r\n"), "{head}");
    assert!(head.contains("\r\ncontent-type: application/xml; charset=utf-8"), "{head}");
    assert!(head.contains("\r\nconnection: close"), "{head}");
    assert!(head.contains("\r\ncontent-length: 24"), "{head}");
    assert_eq!(body, "<root>/serverinfo</root>");

    let request = host.request().await;
    assert_eq!(request.path, "/serverinfo");
    assert_eq!(request.query, "uniqueid=01%20&a=b?c");
    assert_eq!((request.secure, request.client_certificate), (false, None));
    assert_eq!((request.peer, request.local), (client, server), "IPv4 peers of the IPv6 socket are IPv4");
}

#[tokio::test]
async fn real_ipv6_stays_ipv6() {
    let mut host = Host::start(Limits::default());
    if !host.server.http_address().is_ipv6() {
        println!("left out: this machine has no IPv6");
        return;
    }
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, host.http().port()));
    exchange(connect(address).await, &get("/x")).await.expect("an answer");
    let request = host.request().await;
    assert_eq!((request.peer.ip(), request.local), (Ipv6Addr::LOCALHOST.into(), address));
}

#[tokio::test]
async fn a_connection_stays_only_when_the_client_asks() {
    let mut host = Host::start(Limits::default());
    let mut stream = connect(host.http()).await;
    for path in ["/one", "/two"] {
        stream.write_all(get_keep_alive(path).as_bytes()).await.expect("open");
        assert!(read_answer(&mut stream).await.ends_with(&format!("<root>{path}</root>")));
        assert_eq!(host.request().await.path, path);
    }
    let last = exchange(stream, &get("/three")).await.expect("an answer");
    assert!(last.ends_with("<root>/three</root>"));
}

#[tokio::test]
async fn what_is_no_get_is_not_found_with_status_200() {
    let mut host = Host::start(Limits::default());
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "HEAD", "BREW"] {
        let request = format!("{method} /pair HTTP/1.1\r\nHost: lumen\r\nConnection: keep-alive\r\n\r\n");
        let answer = exchange(connect(host.http()).await, &request).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{method}: {answer}");
        assert!(
            answer.ends_with(if method == "HEAD" { "\r\n\r\n" } else { NOT_FOUND }),
            "{method}: {answer}"
        );
    }
    assert!(host.saw_nothing_more());
}

#[tokio::test]
async fn small_bodies_are_read_past_and_large_ones_refused() {
    let mut host = Host::start(Limits { body: 1000, ..Limits::default() });
    let request = |length: usize| {
        format!("GET /x HTTP/1.1\r\nHost: lumen\r\nContent-Length: {length}\r\n\r\n{}", "b".repeat(length))
    };
    let answer = exchange(connect(host.http()).await, &request(1000)).await.expect("an answer");
    assert!(answer.ends_with("<root>/x</root>"), "{answer}");
    host.request().await;
    let mut stream = connect(host.http()).await;
    stream.write_all(request(1001).as_bytes()).await.expect("open");
    assert!(read_answer(&mut stream).await.ends_with(NOT_FOUND));
    // Chunks without an end, and a body that never comes.
    let mut chunked = connect(host.http()).await;
    let head = "GET /x HTTP/1.1\r\nHost: lumen\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("258\r\n{}\r\n", "c".repeat(600));
    chunked.write_all(format!("{head}{chunk}{chunk}").as_bytes()).await.expect("open");
    assert!(read_answer(&mut chunked).await.ends_with(NOT_FOUND));
    assert!(host.saw_nothing_more());
}

#[tokio::test]
async fn a_body_that_never_comes_does_not_hold_the_connection() {
    let mut host = Host::start(Limits { header: Duration::from_millis(100), ..Limits::default() });
    let request = "GET /x HTTP/1.1\r\nHost: lumen\r\nContent-Length: 9\r\n\r\nshort";
    let answer = exchange(connect(host.http()).await, request).await.expect("an answer");
    assert!(answer.ends_with(NOT_FOUND), "{answer}");
    assert!(host.saw_nothing_more());
    counted(&host, |counts| counts.slow == 1).await;
}

#[tokio::test]
async fn a_request_line_may_carry_a_certificate_but_not_a_book() {
    let mut host = Host::start(Limits::default());
    let long = |length: usize| get(&format!("/pair?clientcert={}", "a".repeat(length)));
    let answer = exchange(connect(host.http()).await, &long(16_000)).await.expect("an answer");
    assert!(answer.ends_with("<root>/pair</root>"), "{answer}");
    assert_eq!(host.request().await.query.len(), "clientcert=".len() + 16_000);
    let answer = exchange(connect(host.http()).await, &long(16_400)).await.expect("an answer");
    assert!(answer.ends_with(NOT_FOUND), "{answer}");
    // Far more than any buffer holds: refused before it is stored.
    let mut stream = connect(host.http()).await;
    let _ = stream.write_all(long(1 << 20).as_bytes()).await;
    assert!(!closed(stream).await.starts_with(b"HTTP/1.1 200"));
    assert!(host.saw_nothing_more());
}

#[tokio::test]
async fn bytes_that_are_not_http_end_the_connection() {
    let mut host = Host::start(Limits::default());
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"\r\n\r\n\0\0\0\0 \r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ] {
        let mut stream = connect(host.http()).await;
        stream.write_all(bytes).await.expect("open");
        stream.shutdown().await.expect("open");
        assert!(!closed(stream).await.starts_with(b"HTTP/1.1 200"));
    }
    assert!(host.saw_nothing_more());
    exchange(connect(host.http()).await, &get("/x")).await.expect("others are served");
}

#[tokio::test]
async fn a_header_that_drips_in_is_cut_off() {
    let limits = Limits { header: Duration::from_millis(200), ..Limits::default() };
    let mut host = Host::start(limits);
    let (mut reader, mut writer) = connect(host.http()).await.into_split();
    let dripping = tokio::spawn(async move {
        let mut drops = interval(Duration::from_millis(5));
        for byte in get("/x").bytes().chain(std::iter::repeat(b'x')) {
            drops.tick().await;
            if byte == b'\n' {
                continue;
            }
            if writer.write_all(&[byte]).await.is_err() {
                break;
            }
        }
    });
    let silent = connect(host.http()).await;
    let mut bytes = Vec::new();
    let _ = soon(reader.read_to_end(&mut bytes)).await;
    closed(silent).await;
    counted(&host, |counts| counts.slow == 2).await;
    dripping.abort();
    assert!(host.saw_nothing_more());
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_the_next_header_has_its_own_deadline() {
    let limits =
        Limits { header: Duration::from_millis(200), idle: Duration::from_millis(100), ..Limits::default() };
    let host = Host::start(limits);
    let mut idle = connect(host.http()).await;
    idle.write_all(get_keep_alive("/x").as_bytes()).await.expect("open");
    read_answer(&mut idle).await;
    assert_eq!(closed(idle).await, b"");
    closed(connect(host.http()).await).await;
    // The one that never asked, not the one that idled.
    counted(&host, |counts| counts.accepted == 2 && counts.slow == 1).await;

    let host = Host::start(Limits { idle: super::PATIENCE * 2, ..limits });
    let mut half = connect(host.http()).await;
    half.write_all(get_keep_alive("/x").as_bytes()).await.expect("open");
    read_answer(&mut half).await;
    half.write_all(b"GET /hal").await.expect("open");
    assert_eq!(closed(half).await, b"");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped() {
    let limits = Limits { write: Duration::from_millis(100), connections: 1, ..Limits::default() };
    let mut host = Host::start(limits);
    let mut stuck = connect(host.http()).await;
    stuck.write_all(get("/big").as_bytes()).await.expect("open");
    host.request().await;
    // Its place comes back although it never closes.
    soon(async {
        loop {
            if let Ok(answer) = exchange(connect(host.http()).await, &get("/x")).await
                && answer.ends_with("<root>/x</root>")
            {
                break;
            }
        }
    })
    .await;
    assert!(closed(stuck).await.len() < BIG);
    counted(&host, |counts| counts.slow == 1).await;
}

#[tokio::test]
async fn a_large_answer_arrives_whole() {
    let host = Host::start(Limits::default());
    let mut stream = connect(host.http()).await;
    stream.write_all(get("/big").as_bytes()).await.expect("open");
    let answer = closed(stream).await;
    assert!(answer.len() > BIG && answer.ends_with(&[7; 1000]));
    assert!(String::from_utf8_lossy(&answer[..200]).contains("image/png"));
}

#[tokio::test]
async fn many_idle_connections_and_waiting_handlers_block_nobody() {
    let mut host = Host::start(Limits::default());
    let mut idle = Vec::new();
    for n in 0..150_u8 {
        let mut stream = connect_from([127, 0, 1, n / 25 + 1], host.http()).await;
        match n % 3 {
            0 => {}
            1 => stream.write_all(b"GET /unfini").await.expect("open"),
            _ => {
                stream.write_all(get_keep_alive("/x").as_bytes()).await.expect("open");
                read_answer(&mut stream).await;
                host.request().await;
            }
        }
        idle.push(stream);
    }
    for n in 0..20_u8 {
        let mut stream = connect_from([127, 0, 2, 1], host.http()).await;
        stream.write_all(get("/wait").as_bytes()).await.expect("open");
        assert_eq!(host.request().await.path, "/wait", "{n}");
        idle.push(stream);
    }
    let answer = exchange(connect(host.http()).await, &get("/now")).await.expect("an answer");
    assert!(answer.ends_with("<root>/now</root>"));
}

#[tokio::test]
async fn one_address_cannot_take_all_places() {
    let limits = Limits { connections: 4, connections_per_address: 2, ..Limits::default() };
    let mut host = Host::start(limits);
    let mut open = Vec::new();
    for source in [[127, 0, 0, 2], [127, 0, 0, 2], [127, 0, 0, 3]] {
        let mut stream = connect_from(source, host.http()).await;
        stream.write_all(get("/wait").as_bytes()).await.expect("open");
        host.request().await;
        open.push(stream);
        if open.len() == 2 {
            closed(connect_from(source, host.http()).await).await;
        }
    }
    // Three of four are taken, which is all that HTTP may have; the last one is for HTTPS.
    closed(connect_from([127, 0, 0, 4], host.http()).await).await;
    let last = connect_from([127, 0, 0, 4], host.https()).await;
    // Each was accepted or refused once.
    counted(&host, |counts| counts.accepted == 4 && counts.refused == 2).await;
    closed(connect_from([127, 0, 0, 5], host.https()).await).await;
    drop(last);
    open.remove(0);
    assert!(matches!(soon(host.seen.recv()).await, Some(Seen::Gone)));
    soon(async {
        loop {
            let stream = connect_from([127, 0, 0, 4], host.http()).await;
            if exchange(stream, &get("/x")).await.is_ok_and(|answer| answer.ends_with("</root>")) {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_handler_ends_with_its_client() {
    let mut host = Host::start(Limits::default());
    let mut stream = connect(host.http()).await;
    stream.write_all(get("/wait").as_bytes()).await.expect("open");
    host.request().await;
    drop(stream);
    assert!(matches!(soon(host.seen.recv()).await, Some(Seen::Gone)));
}

#[tokio::test]
async fn a_handler_may_take_longer_than_any_deadline_of_the_peer() {
    let short = Duration::from_millis(50);
    let mut host = Host::start(Limits { header: short, idle: short, write: short, ..Limits::default() });
    let mut waiting = connect(host.http()).await;
    waiting.write_all(get("/wait").as_bytes()).await.expect("open");
    host.request().await;
    // A silent connection sees a deadline pass; the waiting one, older than it, is still there.
    closed(connect(host.http()).await).await;
    assert!(host.saw_nothing_more(), "the handler was not dropped");
    drop(waiting);
    assert!(matches!(soon(host.seen.recv()).await, Some(Seen::Gone)));
}

#[tokio::test]
async fn a_handler_that_panics_takes_only_its_connection_along() {
    let mut host = Host::start(Limits::default());
    let mut stream = connect(host.http()).await;
    stream.write_all(get("/panic").as_bytes()).await.expect("open");
    assert_eq!(closed(stream).await, b"");
    host.request().await;
    counted(&host, |counts| counts.panics == 1).await;
    exchange(connect(host.http()).await, &get("/x")).await.expect("others are served");
}

#[tokio::test]
async fn shutdown_closes_idle_connections_cuts_waiting_ones_and_frees_the_ports() {
    let mut host = Host::start(Limits::default());
    let address = host.http();
    let mut idle = connect(address).await;
    idle.write_all(get_keep_alive("/x").as_bytes()).await.expect("open");
    read_answer(&mut idle).await;
    host.request().await;
    let mut waiting = connect(address).await;
    waiting.write_all(get("/wait").as_bytes()).await.expect("open");
    host.request().await;

    let ports = (address.port(), host.https().port());
    soon(host.server.shutdown(Duration::from_millis(50))).await;
    assert_eq!(closed(idle).await, b"");
    assert_eq!(closed(waiting).await, b"");
    assert!(matches!(soon(host.seen.recv()).await, Some(Seen::Gone)));

    let (sender, _seen) = tokio::sync::mpsc::unbounded_channel();
    let identity = super::Credentials::p256().identity();
    let listeners = super::listeners(ports.0, ports.1);
    let again = Server::start(listeners, Limits::default(), &identity, Arc::new(Scripted(sender)));
    let again = again.expect("the ports are free");
    assert_eq!(again.http_address().port(), address.port());
}

#[tokio::test]
async fn dropping_the_server_closes_everything() {
    let mut host = Host::start(Limits::default());
    let mut waiting = connect(host.http()).await;
    waiting.write_all(get("/wait").as_bytes()).await.expect("open");
    host.request().await;
    drop(host.server);
    assert_eq!(closed(waiting).await, b"");
}
