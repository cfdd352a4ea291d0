use super::certificates::Credentials;
use super::client::{closed, connect, connect_tls, exchange, get, tls};
use super::{Host, Seen, counted, soon};
use crate::{Identity, Limits, Server, StartError};
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A whole request over TLS; the error if it did not come through.
async fn request(host: &Host, config: rustls::ClientConfig) -> std::io::Result<String> {
    let stream = connect_tls(host.https(), Arc::new(config)).await?;
    exchange(stream, &get("/x?y=z")).await
}

#[tokio::test]
async fn any_certificate_is_taken_and_handed_on_as_it_is() {
    let mut host = Host::start(Limits::default());
    let clients = [
        ("RSA", Credentials::rsa()),
        ("RSA, serial 0, expired", Credentials::rsa_serial_zero_expired()),
        ("P-256", Credentials::p256()),
        ("P-384", Credentials::p384()),
        ("Ed25519", Credentials::ed25519()),
        ("not yet valid", Credentials::not_yet_valid()),
        ("X.509 v1", Credentials::version_1()),
    ];
    for (name, client) in clients {
        for version in [&TLS12, &TLS13] {
            let answer = request(&host, tls(version, Some(&client))).await;
            let answer = answer.unwrap_or_else(|error| panic!("{name}, {version:?}: {error}"));
            assert!(answer.ends_with("<root>/x</root>"), "{name}: {answer}");
            let request = host.request().await;
            assert_eq!(request.client_certificate.as_ref(), Some(&client.certificate), "{name}");
            assert!(request.secure);
            assert_eq!(request.query, "y=z");
        }
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_served_and_known_as_such() {
    let mut host = Host::start_as(&Credentials::rsa(), Limits::default());
    for version in [&TLS12, &TLS13] {
        assert!(request(&host, tls(version, None)).await.expect("served").starts_with("HTTP/1.1 200 OK\r\n"));
        assert_eq!(host.request().await.client_certificate, None);
    }
}

#[tokio::test]
async fn a_certificate_without_its_key_is_refused() {
    let mut host = Host::start(Limits::default());
    let (victim, thief) = (Credentials::p256(), Credentials::p256());
    let rsa = Credentials::rsa();
    let garbage = Credentials { certificate: vec![0x30, 0x03, 1, 2, 3], key: thief.key.clone() };
    let forgeries = [
        ("same kind of key", Credentials::stolen(&victim, &thief)),
        ("another kind of key", Credentials::stolen(&rsa, &thief)),
        ("another kind of key", Credentials::stolen(&victim, &rsa)),
        ("another curve", Credentials::stolen(&victim, &Credentials::p384())),
        ("not a certificate", garbage),
    ];
    for (name, forged) in forgeries {
        for version in [&TLS12, &TLS13] {
            // In TLS 1.3 the client learns of the refusal with its first read only.
            let answer = request(&host, tls(version, Some(&forged))).await;
            assert!(answer.is_err(), "{name}, {version:?}: {answer:?}");
        }
    }
    assert!(host.saw_nothing_more(), "no handler was called");
    counted(&host, |counts| counts.bad_handshakes == 10).await;
}

#[tokio::test]
async fn one_certificate_no_http2_no_resumption() {
    let credentials = Credentials::rsa();
    let host = Host::start_as(&credentials, Limits::default());
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(tls(version, Some(&Credentials::p256())));
        for _ in 0..3 {
            let mut stream = connect_tls(host.https(), config.clone()).await.expect("a handshake");
            // Tickets would come behind the handshake, so read something before asking.
            stream.write_all(get("/x").as_bytes()).await.expect("open");
            soon(stream.read_u8()).await.expect("an answer");
            let connection = stream.get_ref().1;
            let chain = connection.peer_certificates().expect("the host's certificate");
            assert_eq!(chain.len(), 1);
            assert_eq!(chain[0].as_ref(), credentials.certificate);
            assert_eq!(connection.alpn_protocol(), None);
            // The second connection may differ from the first by key share only.
            assert_ne!(connection.handshake_kind(), Some(HandshakeKind::Resumed));
        }
    }
}

#[tokio::test]
async fn a_silent_peer_on_the_tls_port_is_dropped() {
    let limits = Limits { handshake: Duration::from_millis(100), ..Limits::default() };
    let mut host = Host::start(limits);
    let silent = connect(host.https()).await;
    let mut babbling = connect(host.https()).await;
    babbling.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("open");
    closed(silent).await;
    closed(babbling).await;
    // A port probe: open and close.
    drop(connect(host.https()).await);
    counted(&host, |counts| (counts.accepted, counts.slow, counts.bad_handshakes) == (3, 1, 2)).await;
    assert!(host.saw_nothing_more());
    request(&host, tls(&TLS13, None)).await.expect("others are served");
}

#[tokio::test]
async fn a_handler_ends_with_its_tls_client() {
    let mut host = Host::start(Limits::default());
    let mut stream = connect_tls(host.https(), Arc::new(tls(&TLS13, None))).await.expect("a handshake");
    stream.write_all(get("/wait").as_bytes()).await.expect("open");
    host.request().await;
    drop(stream);
    assert!(matches!(soon(host.seen.recv()).await, Some(Seen::Gone)));
}

#[tokio::test]
async fn an_identity_that_is_none_is_refused() {
    let (one, other) = (Credentials::p256(), Credentials::p256());
    let bad = [
        Identity { certificate: vec![1, 2, 3], private_key: one.key.clone() },
        Identity { certificate: one.certificate.clone(), private_key: vec![1, 2, 3] },
        Identity { certificate: one.certificate, private_key: other.key },
    ];
    for identity in bad {
        let (sender, _seen) = tokio::sync::mpsc::unbounded_channel();
        let error = Server::start(
            super::listeners(0, 0),
            Limits::default(),
            &identity,
            Arc::new(super::Scripted(sender)),
        );
        let error = error.expect_err("must be refused");
        assert!(matches!(error, StartError::Identity(_)), "{error}");
        assert!(error.to_string().contains("Restore"), "{error}");
    }
}
