use super::exchange::{Secrets, challenge_response, client_hash, key};
use super::*;
use crate::Time;
use crate::crypto::Ecb;
use proptest::prelude::*;
use rsa::pkcs8::EncodePrivateKey;
use rsa::{BigUint, Pkcs1v15Sign, RsaPrivateKey};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::Duration;

const SERVER_PEM: &str = include_str!("golden/server.pem");
const CLIENT_PEM: &str = include_str!("golden/client.pem");
const RUN: &str = include_str!("golden/run.txt");
const SALT: &str = "000102030405060708090a0b0c0d0e0f";

static IDENTITY: LazyLock<HostIdentity> = LazyLock::new(|| {
    let key = private_key("server").to_pkcs8_der().unwrap();
    HostIdentity::new(SERVER_PEM, key.as_bytes()).unwrap()
});

fn golden(name: &str) -> &'static str {
    let line = RUN.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is in run.txt"))
}

fn private_key(owner: &str) -> RsaPrivateKey {
    let number =
        |name: &str| BigUint::parse_bytes(golden(&format!("{owner}_{name}")).as_bytes(), 16).unwrap();
    RsaPrivateKey::from_p_q(number("p"), number("q"), BigUint::from(65_537u32)).unwrap()
}

fn array<const N: usize>(hex: &str) -> [u8; N] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

fn counting<const N: usize>(from: u8) -> [u8; N] {
    std::array::from_fn(|n| from + n as u8)
}

fn secs(seconds: u64) -> Time {
    Duration::from_secs(seconds)
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 168, 1, last])
}

fn query(text: &str) -> Query {
    Query::parse(format!("uniqueid=0123456789ABCDEF&devicename=roth&updateState=1&{text}")).unwrap()
}

fn begin_query(pem: &str) -> Query {
    query(&format!("phrase=getservercert&salt={SALT}&clientcert={}", hex::encode_upper(pem)))
}

/// The golden client for 0, else its certificate with another signature: another client, as far as the table sees.
fn other_client(n: u8) -> String {
    if n == 0 {
        return CLIENT_PEM.to_owned();
    }
    let base64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef".as_bytes()[usize::from(n % 32)];
    // The last characters belong to the signature, which nobody checks.
    CLIENT_PEM.replace("hSB7nV", &format!("hSB7{}V", char::from(base64)))
}

fn field<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(value, _)| value)
}

struct Host {
    table: PairingTable,
    now: Time,
}

impl Host {
    fn new() -> Self {
        Self { table: PairingTable::new(), now: secs(1000) }
    }

    fn begin(&mut self, peer: IpAddr, pem: &str) -> AttemptId {
        match self.table.begin(&begin_query(pem), peer, self.now) {
            Begin::Waiting { id, .. } => id,
            Begin::Refused { response_xml } => panic!("{response_xml}"),
        }
    }

    fn is_in_progress(&mut self, peer: IpAddr, pem: &str) -> bool {
        match self.table.begin(&begin_query(pem), peer, self.now) {
            Begin::Waiting { .. } => false,
            Begin::Refused { response_xml } => response_xml == in_progress(),
        }
    }

    fn pin(&mut self, id: AttemptId, pin: &str) -> Result<String, PinError> {
        self.table.provide_pin(id, pin, "Sofa", &IDENTITY, self.now)
    }

    fn phase(&mut self, peer: IpAddr, text: &str) -> PhaseOutcome {
        // Server secret 20…2f, server challenge 30…3f.
        self.table.phase(&query(text), peer, &IDENTITY, counting(0x20), self.now)
    }

    /// Phases 1 to 3 with the golden values.
    fn up_to_phase_4(&mut self, peer: IpAddr, pem: &str) {
        let id = self.begin(peer, pem);
        self.pin(id, "1234").unwrap();
        assert!(self.phase(peer, PHASE_2).response_xml.contains("challengeresponse"));
        assert!(self.phase(peer, PHASE_3).response_xml.contains("pairingsecret"));
    }
}

const PHASE_2: &str = "clientchallenge=5febcdc985b2baddd65925da162380eb";
const PHASE_3: &str = "serverchallengeresp=cd08a9ecdde0e09a90ce1f0827c25645b52e47980cd8dc0087eb2b76bb45052f";

fn phase_4() -> String {
    format!("clientpairingsecret={}", golden("clientpairingsecret"))
}

#[test]
fn vectors_without_keys() {
    let salt = counting::<16>(0);
    assert_eq!(hex::encode(key(&salt, "1234")), "bad0b4f7cae08eb7c1b5acc763a8ed25");
    assert_eq!(hex::encode(key(&salt, "4321")), "b1b7da29d5d5015fa7243dd2c4198934");

    let key = Ecb::new(&key(&salt, "1234"));
    let challenge = array::<16>("5febcdc985b2baddd65925da162380eb");
    assert_eq!(key.decrypt(challenge), counting::<16>(0x10));
    let host_signature: Vec<u8> = (0..=255).collect();
    let secrets = Secrets::from_random(counting(0x20));
    assert_eq!(
        hex::encode(challenge_response(&key, challenge, &host_signature, &secrets)),
        "efcb94d6a587f0ceebb9b3d4fca6c37c8505f87c521bcec09c3369d7b025833758f1c991a85a76c2526eb7cf9453b7e7"
    );
    let response = array::<32>("be16b48a273260d616a4ef44874acd4be2dc7ebadcb8ffab14bab095373e1c7a");
    assert_eq!(
        hex::encode(client_hash(&key, response)),
        "d2751fb0a8ee058701d4c6f0a5a1427d31cb5321b25a157be5a59d1320b6f01c"
    );
}

#[test]
fn a_whole_run_with_real_keys_is_the_golden_one() {
    let mut host = Host::new();
    let id = host.begin(address(7), CLIENT_PEM);
    let waiting = host.table.waiting(host.now + secs(3));
    assert_eq!(waiting, [Waiting { id, peer: address(7), age: secs(3), failures: 0 }]);

    let reply = host.pin(id, "1234").unwrap();
    assert_eq!(field(&reply, "paired"), Some("1"));
    assert_eq!(field(&reply, "plaincert"), Some(hex::encode(SERVER_PEM).as_str()));
    assert!(reply.contains("<plaincert>2d2d2d2d2d424547494e204345525449464943415445"));

    let reply = host.phase(address(7), PHASE_2);
    assert_eq!(
        field(&reply.response_xml, "challengeresponse"),
        Some(
            "085a7c53482b8104f10497d2f105c90c89014fcb145ebf6dd05a07d89fc337f958f1c991a85a76c2526eb7cf9453b7e7"
        )
    );
    let reply = host.phase(address(7), PHASE_3);
    assert_eq!(field(&reply.response_xml, "pairingsecret"), Some(golden("pairingsecret")));

    let reply = host.phase(address(7), &phase_4());
    assert_eq!(field(&reply.response_xml, "paired"), Some("1"));
    let client = reply.paired.unwrap();
    assert_eq!((client.name.as_str(), client.cert_pem.as_str()), ("Sofa", CLIENT_PEM));
    let stored = identity::Certificate::from_pem(client.cert_pem.as_bytes()).unwrap();
    assert_eq!(stored.der, client.cert_der);
    assert_eq!(Step::of(&query("phrase=pairchallenge")), Step::Confirm);
    assert_eq!(field(&confirmed(), "paired"), Some("1"));
    // One shot: the same phase again is out of order.
    assert_eq!(host.phase(address(7), &phase_4()).response_xml, refused());
}

#[test]
fn the_golden_client_blob_is_what_a_client_computes() {
    let secret = counting::<16>(0x40);
    let key = private_key("client");
    let signature = key.sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(secret)).unwrap();
    assert_eq!(hex::encode([&secret[..], &signature].concat()), golden("clientpairingsecret"));
}

#[test]
fn identity_needs_the_right_key() {
    let wrong = private_key("client").to_pkcs8_der().unwrap();
    assert_eq!(HostIdentity::new(SERVER_PEM, wrong.as_bytes()).unwrap_err(), CertificateError::Mismatch);
    assert_eq!(HostIdentity::new(SERVER_PEM, b"no key").unwrap_err(), CertificateError::Key);
    assert_eq!(HostIdentity::new("no pem", wrong.as_bytes()).unwrap_err(), CertificateError::Certificate);
    assert_eq!(IDENTITY.cert_pem(), SERVER_PEM);
    assert!(!format!("{:?}", *IDENTITY).contains("KeyPair"));
}

#[test]
fn steps_are_told_by_the_query() {
    assert_eq!(Step::of(&begin_query(CLIENT_PEM)), Step::Begin);
    for text in [PHASE_2, PHASE_3, phase_4().as_str()] {
        assert_eq!(Step::of(&query(text)), Step::Phase);
    }
    assert_eq!(Step::of(&query("phrase=other")), Step::Unknown);
}

#[test]
fn malformed_phase_1_is_refused() {
    let mut host = Host::new();
    for text in [
        "phrase=getservercert".to_owned(),
        format!("phrase=getservercert&salt=0011&clientcert={}", hex::encode(CLIENT_PEM)),
        format!("phrase=getservercert&salt={SALT}&clientcert=00ff"),
        format!("phrase=getservercert&salt={SALT}&clientcert=zz"),
        format!("phrase=getservercert&salt={SALT}&clientcert={}", hex::encode(&CLIENT_PEM[..500])),
        format!("phrase=getservercert&salt={SALT}&clientcert={}", "41".repeat(8000)),
    ] {
        let Ok(query) = Query::parse(&text) else { continue };
        assert_eq!(
            host.table.begin(&query, address(1), host.now),
            Begin::Refused { response_xml: refused() }
        );
    }
    assert_eq!(host.table.waiting(host.now), []);
}

#[test]
fn phases_out_of_order_repeated_or_short_end_the_attempt() {
    let fourth = phase_4();
    let runs: [&[&str]; 7] = [
        &[PHASE_3],
        &[fourth.as_str()],
        &[PHASE_2, PHASE_2],
        &[PHASE_2, fourth.as_str()],
        &[PHASE_2, PHASE_3, PHASE_3],
        &["clientchallenge=00"],
        &[PHASE_2, PHASE_3, "clientpairingsecret=40414243444546474849"],
    ];
    for run in runs {
        let mut host = Host::new();
        let id = host.begin(address(1), CLIENT_PEM);
        assert_eq!(host.phase(address(1), PHASE_2).response_xml, refused(), "no phase before the PIN");
        host.pin(id, "1234").unwrap();
        let (last, before) = run.split_last().unwrap();
        for phase in before {
            assert!(host.phase(address(1), phase).response_xml.contains("<paired>1</paired>"));
        }
        let outcome = host.phase(address(1), last);
        assert_eq!((outcome.response_xml, outcome.paired), (refused(), None), "{run:?}");
        assert_eq!(host.phase(address(1), PHASE_2).response_xml, refused(), "the attempt is over");
    }
}

#[test]
fn one_wrong_bit_in_phase_4_stores_nothing_and_slows_down() {
    // In the secret (hash and signature wrong) and in the signature alone.
    for bit in [3, 8 * 100] {
        let mut host = Host::new();
        host.up_to_phase_4(address(1), CLIENT_PEM);
        let mut blob = hex::decode(golden("clientpairingsecret")).unwrap();
        blob[bit / 8] ^= 1 << (bit % 8);
        let outcome = host.phase(address(1), &format!("clientpairingsecret={}", hex::encode(blob)));
        assert_eq!(outcome, PhaseOutcome { response_xml: not_proven(), paired: None, failed: true });
        assert!(host.is_in_progress(address(1), CLIENT_PEM), "slowed down");
        assert!(!host.is_in_progress(address(2), CLIENT_PEM), "others are not");
        host.now += secs(1);
        assert!(!host.is_in_progress(address(1), CLIENT_PEM));
    }
    // A right signature with a wrong hash: the PIN was guessed wrong, or the challenge is another.
    let mut host = Host::new();
    let id = host.begin(address(1), CLIENT_PEM);
    host.pin(id, "4321").unwrap();
    host.phase(address(1), PHASE_2);
    host.phase(address(1), PHASE_3);
    assert_eq!(host.phase(address(1), &phase_4()).response_xml, not_proven());
}

#[test]
fn a_wrong_pin_shows_as_unpair_after_phase_3() {
    let mut host = Host::new();
    for wait in [1, 2, 4] {
        host.up_to_phase_4(address(1), CLIENT_PEM);
        assert!(host.table.unpair(address(1), host.now).is_some());
        host.now += secs(wait) - Duration::from_millis(1);
        assert!(host.is_in_progress(address(1), CLIENT_PEM), "for {wait} s");
        host.now += Duration::from_millis(1);
    }
    // Success forgives.
    host.up_to_phase_4(address(1), CLIENT_PEM);
    assert!(host.phase(address(1), &phase_4()).paired.is_some());
    assert_eq!(host.table.unpair(address(1), host.now), None, "a pairing is not an attempt");
    assert!(!host.is_in_progress(address(1), CLIENT_PEM));
}

#[test]
fn silence_after_phase_3_is_a_failure_too() {
    let mut host = Host::new();
    host.up_to_phase_4(address(1), CLIENT_PEM);
    assert_eq!(host.table.next_deadline(), Some(host.now + secs(15)));
    assert_eq!(host.table.expire(host.now + secs(14)), []);
    host.now += secs(15);
    assert_eq!(host.table.expire(host.now).len(), 1);
    assert!(host.is_in_progress(address(1), CLIENT_PEM));
}

#[test]
fn unanswered_attempts_expire_without_blame() {
    let mut host = Host::new();
    let id = host.begin(address(1), CLIENT_PEM);
    host.now += secs(300);
    assert_eq!(host.table.expire(host.now), [id]);
    assert_eq!(host.pin(id, "1234"), Err(PinError::Unknown));
    let id = host.begin(address(1), CLIENT_PEM);
    assert!(host.table.abandon(id, host.now));
    assert!(!host.table.abandon(id, host.now));
    assert_eq!(host.table.waiting(host.now), []);
}

#[test]
fn pins_are_four_digits_and_leading_zeros_count() {
    let mut host = Host::new();
    let id = host.begin(address(1), CLIENT_PEM);
    for pin in ["", "123", "12345", "12a4", "１２３４"] {
        assert_eq!(host.pin(id, pin), Err(PinError::NotAPin), "{pin}");
    }
    assert!(host.pin(id, "0007").is_ok());
    assert_eq!(host.pin(id, "0007"), Err(PinError::Unknown), "waits no longer");
    assert_ne!(key(&counting(0), "0007"), key(&counting(0), "7"));
}

#[test]
fn the_same_client_again_replaces_its_attempt() {
    let mut host = Host::new();
    let first = host.begin(address(1), CLIENT_PEM);
    let Begin::Waiting { id, replaced } = host.table.begin(&begin_query(CLIENT_PEM), address(1), host.now)
    else {
        panic!()
    };
    assert_eq!(replaced, Some(first));
    assert_eq!(host.pin(first, "1234"), Err(PinError::Unknown));
    assert!(host.pin(id, "1234").is_ok());
}

#[test]
fn clients_with_the_same_unique_id_do_not_disturb_each_other() {
    // From two addresses, interleaved.
    let mut host = Host::new();
    let [one, two] = [address(1), address(2)];
    let (a, b) = (host.begin(one, CLIENT_PEM), host.begin(two, &other_client(1)));
    host.pin(a, "1234").unwrap();
    host.pin(b, "9999").unwrap();
    for phase in [PHASE_2, PHASE_3] {
        host.phase(two, phase);
        assert!(host.phase(one, phase).response_xml.contains("<paired>1</paired>"));
    }
    assert!(host.phase(two, &phase_4()).paired.is_none());
    assert!(host.phase(one, &phase_4()).paired.is_some());

    // From one address: the second PIN has to wait for the first pairing to end.
    let mut host = Host::new();
    let (a, b) = (host.begin(one, CLIENT_PEM), host.begin(one, &other_client(1)));
    host.pin(a, "1234").unwrap();
    assert_eq!(host.pin(b, "9999"), Err(PinError::Busy));
    for phase in [PHASE_2, PHASE_3] {
        host.phase(one, phase);
    }
    assert!(host.phase(one, &phase_4()).paired.is_some());
    assert!(host.pin(b, "9999").is_ok());
}

#[test]
fn attempts_are_bounded_per_address_and_in_all() {
    let mut host = Host::new();
    for n in 0..3 {
        host.begin(address(1), &other_client(n));
    }
    assert!(host.is_in_progress(address(1), &other_client(3)));
    for n in 3..16 {
        host.begin(address(n), &other_client(n));
    }
    assert_eq!(host.table.waiting(host.now).len(), 16);
    assert!(host.is_in_progress(address(99), CLIENT_PEM));
}

#[test]
fn names_can_be_shown_on_a_terminal() {
    let mut host = Host::new();
    let id = host.begin(address(1), CLIENT_PEM);
    let name = format!("  \u{1b}[31mTV\n{}", "x".repeat(100));
    host.table.provide_pin(id, "1234", &name, &IDENTITY, host.now).unwrap();
    host.phase(address(1), PHASE_2);
    host.phase(address(1), PHASE_3);
    let name = host.phase(address(1), &phase_4()).paired.unwrap().name;
    assert!(name.starts_with("[31mTVxxx") && name.chars().count() == 64, "{name}");
}

#[derive(Clone, Debug)]
enum Op {
    Begin { peer: u8, client: u8 },
    Pin { back: u64 },
    Phase { peer: u8, phase: u8 },
    Unpair { peer: u8 },
    Abandon { back: u64 },
    Pass { seconds: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0u8..4, 0u8..6).prop_map(|(peer, client)| Op::Begin { peer, client }),
        3 => (0u64..4).prop_map(|back| Op::Pin { back }),
        // 0 stands for the phase that is due.
        6 => (0u8..4, prop_oneof![4 => Just(0), 1 => 2u8..6]).prop_map(|(peer, phase)| Op::Phase { peer, phase }),
        1 => (0u8..4).prop_map(|peer| Op::Unpair { peer }),
        1 => (0u64..4).prop_map(|back| Op::Abandon { back }),
        2 => (0u64..400).prop_map(|seconds| Op::Pass { seconds }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// Whatever comes: the table stays within its limits, only a whole run in order pairs, and nothing outlives its time.
    #[test]
    fn any_sequence_keeps_the_rules(ops in prop::collection::vec(op(), 1..60)) {
        let mut host = Host::new();
        let mut newest = 0;
        // Right phases since the PIN, by address; None before it.
        let mut run = [None::<u8>; 4];
        for op in ops {
            match op {
                Op::Begin { peer, client } => {
                    let begin = host.table.begin(&begin_query(&other_client(client)), address(peer), host.now);
                    if let Begin::Waiting { id, replaced } = begin {
                        prop_assert!(id.as_u64() > newest, "names are never used twice");
                        newest = id.as_u64();
                        if replaced.is_some() && host.table.unpair(address(peer), host.now).is_none() {
                            run[usize::from(peer)] = None;
                        }
                    }
                    if host.table.next_deadline().is_none() {
                        run[usize::from(peer)] = None;
                    }
                }
                Op::Pin { back } => {
                    let id = AttemptId::from_u64(newest.saturating_sub(back));
                    let peer = host.table.waiting(host.now).iter().find(|w| w.id == id).map(|w| w.peer);
                    if host.pin(id, "1234").is_ok() {
                        let IpAddr::V4(peer) = peer.expect("it waited") else { panic!() };
                        run[usize::from(peer.octets()[3])] = Some(1);
                    }
                }
                Op::Phase { peer, phase } => {
                    let phase = if phase == 0 { run[usize::from(peer)].unwrap_or(1) + 1 } else { phase };
                    let text = match phase {
                        2 => PHASE_2.to_owned(),
                        3 => PHASE_3.to_owned(),
                        4 => phase_4(),
                        _ => "clientchallenge=00".to_owned(),
                    };
                    let outcome = host.phase(address(peer), &text);
                    let state = &mut run[usize::from(peer)];
                    let in_order = *state == Some(phase - 1);
                    prop_assert!(in_order || outcome.paired.is_none(), "{outcome:?} after {state:?}");
                    *state = (in_order && phase < 4).then_some(phase);
                }
                Op::Unpair { peer } => {
                    host.table.unpair(address(peer), host.now);
                    run[usize::from(peer)] = None;
                }
                Op::Abandon { back } => {
                    host.table.abandon(AttemptId::from_u64(newest.saturating_sub(back)), host.now);
                }
                Op::Pass { seconds } => {
                    host.now += secs(seconds);
                    host.table.expire(host.now);
                }
            }
            let waiting = host.table.waiting(host.now);
            prop_assert!(waiting.len() <= 16);
            for peer in 0..4 {
                prop_assert!(waiting.iter().filter(|w| w.peer == address(peer)).count() <= 3);
            }
            host.table.expire(host.now);
            prop_assert!(host.table.next_deadline().is_none_or(|deadline| deadline > host.now));
        }
    }
}
