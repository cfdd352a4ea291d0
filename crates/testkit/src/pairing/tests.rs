use super::*;
use rsa::{BigUint, RsaPrivateKey};

fn bytes16(start: u8) -> [u8; 16] {
    std::array::from_fn(|i| start + i as u8)
}

fn golden(name: &str) -> Vec<u8> {
    let line = include_str!("../../fixtures/golden_pairing.txt")
        .lines()
        .find_map(|line| line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' ')))
        .expect("the fixture holds every value of Appendix A");
    hex::decode(line).unwrap()
}

fn golden_identity(side: &str, certificate: &str) -> Identity {
    let prime = |name: &str| BigUint::from_bytes_be(&golden(&format!("{side}_{name}")));
    let key = RsaPrivateKey::from_p_q(prime("p"), prime("q"), BigUint::from(65_537u32)).unwrap();
    use rsa::pkcs8::EncodePrivateKey;
    let pem = key.to_pkcs8_pem(rsa::pkcs8::LineEnding::LF).unwrap();
    Identity::from_pem(&format!("{}{certificate}", pem.as_str())).unwrap()
}

fn client() -> Identity {
    golden_identity("client", include_str!("../../fixtures/golden_client.cert.pem"))
}

fn secrets() -> Secrets {
    Secrets { salt: bytes16(0), challenge: bytes16(0x10), client_secret: bytes16(0x40) }
}

const PHASE2: &str = "5febcdc985b2baddd65925da162380eb";
const CHALLENGE_RESPONSE: &str = "085a7c53482b8104f10497d2f105c90c89014fcb145ebf6dd05a07d89fc337f9\
                                  58f1c991a85a76c2526eb7cf9453b7e7";

/// Hosts of generations before 7 hashed with SHA-1; Lumen never says that it is one, so only the text itself is checked.
#[test]
fn the_sha1_vectors_of_section_3_follow_from_its_rules() {
    use sha1::{Digest, Sha1};
    let digest = Sha1::new().chain_update(bytes16(0)).chain_update("1234").finalize();
    let key: [u8; 16] = digest[..16].try_into().unwrap();
    assert_eq!(hex::encode(key), "0cd2f00b23437ed6adc97cd8f7dbf3ed");
    let rising: Vec<u8> = (0..=255).collect();
    let hash =
        Sha1::new().chain_update(bytes16(0x10)).chain_update(rising).chain_update(bytes16(0x20)).finalize();
    // 20 + 16 bytes, filled with zeros up to whole blocks.
    let mut response = hash.to_vec();
    response.extend_from_slice(&bytes16(0x30));
    response.resize(48, 0);
    assert_eq!(
        hex::encode(ecb_encrypt(&key, &response)),
        "93e995025d25e57503c6c107a0f5a6492a57e9a5eeadae72098e6c543463e5c46af3048b2e97c56a5fc5ed7244bfe3d1"
    );
}

#[test]
fn synthetic_vectors_of_section_3() {
    let key = pin_key(&bytes16(0), "1234");
    assert_eq!(hex::encode(key), "bad0b4f7cae08eb7c1b5acc763a8ed25");
    assert_eq!(hex::encode(pin_key(&bytes16(0), "4321")), "b1b7da29d5d5015fa7243dd2c4198934");
    assert_eq!(hex::encode(ecb_encrypt(&key, &bytes16(0x10))), PHASE2);
    let rising: Vec<u8> = (0..=255).collect();
    let falling: Vec<u8> = (0..=255).rev().collect();
    let host_hash = challenge_hash(&bytes16(0x10), &rising, &bytes16(0x20));
    assert_eq!(hex::encode(host_hash), "640f81e6099bb076b3b3f317b3662dce6bd7b5bbb81b77649e1269a8ff441110");
    let mut response = host_hash.to_vec();
    response.extend_from_slice(&bytes16(0x30));
    let encrypted = "efcb94d6a587f0ceebb9b3d4fca6c37c8505f87c521bcec09c3369d7b0258337\
                     58f1c991a85a76c2526eb7cf9453b7e7";
    assert_eq!(hex::encode(ecb_decrypt(&key, &hex::decode(encrypted).unwrap())), hex::encode(&response));
    assert_eq!(hex::encode(ecb_encrypt(&key, &response)), encrypted);
    let client_hash = challenge_hash(&bytes16(0x30), &falling, &bytes16(0x40));
    assert_eq!(hex::encode(client_hash), "d2751fb0a8ee058701d4c6f0a5a1427d31cb5321b25a157be5a59d1320b6f01c");
    assert_eq!(
        hex::encode(ecb_encrypt(&key, &client_hash)),
        "be16b48a273260d616a4ef44874acd4be2dc7ebadcb8ffab14bab095373e1c7a"
    );
}

#[test]
fn complete_run_of_appendix_a() {
    let identity = client();
    assert_eq!(identity.certificate_pem().len(), 1127);
    assert_eq!(identity.certificate_signature(), golden("client_signature"));
    let mut exchange = Exchange::new(&identity, "1234", secrets(), PairVariant::Stock);
    let phase1 = exchange.phase1_query();
    assert!(
        phase1.starts_with("phrase=getservercert&salt=000102030405060708090a0b0c0d0e0f&clientcert=2d2d2d")
    );

    let host_pem = include_str!("../../fixtures/golden_host.cert.pem");
    assert_eq!(host_pem.len(), 1094);
    let host = exchange.plain_cert(&hex::encode(host_pem)).unwrap().to_vec();
    assert_eq!(identity::certificate_signature(&host).unwrap(), golden("server_signature"));
    assert_eq!(exchange.phase2_query(), format!("clientchallenge={PHASE2}"));
    exchange.challenge_response(CHALLENGE_RESPONSE).unwrap();
    assert_eq!(
        hex::encode(exchange.host_hash),
        "6d46063ab168c37fb36c2d200d35c163e000d85c632ee12b62a473bd8f5fa89f"
    );
    assert_eq!(exchange.host_challenge, bytes16(0x30));
    assert_eq!(
        exchange.phase3_query(),
        "serverchallengeresp=cd08a9ecdde0e09a90ce1f0827c25645b52e47980cd8dc0087eb2b76bb45052f"
    );
    exchange.pairing_secret(&hex::encode(golden("pairingsecret"))).unwrap();
    let expected = format!("clientpairingsecret={}", hex::encode(golden("clientpairingsecret")));
    assert_eq!(exchange.phase4_query().unwrap(), expected);
}

fn golden_exchange(pin: &str, variant: PairVariant) -> Exchange {
    let mut exchange = Exchange::new(&client(), pin, secrets(), variant);
    exchange.plain_cert(&hex::encode(include_str!("../../fixtures/golden_host.cert.pem"))).unwrap();
    exchange.challenge_response(CHALLENGE_RESPONSE).unwrap();
    exchange
}

#[test]
fn a_wrong_pin_shows_after_phase_3() {
    let mut exchange = golden_exchange("4321", PairVariant::Stock);
    let error = exchange.pairing_secret(&hex::encode(golden("pairingsecret"))).unwrap_err();
    assert!(matches!(error, PairingError::WrongPin));
}

#[test]
fn a_host_without_the_key_is_found_out() {
    let mut exchange = golden_exchange("1234", PairVariant::Stock);
    let mut secret = golden("pairingsecret");
    secret[20] ^= 1;
    let error = exchange.pairing_secret(&hex::encode(secret)).unwrap_err();
    assert!(matches!(error, PairingError::Field { field: "pairingsecret", .. }));
}

#[test]
fn variants_differ_where_they_say() {
    let stock = golden_exchange("1234", PairVariant::Stock).phase4_query().unwrap();
    for variant in [PairVariant::TamperedSignature, PairVariant::TamperedSecret, PairVariant::ShortSecret] {
        assert_ne!(golden_exchange("1234", variant).phase4_query().unwrap(), stock, "{variant:?}");
    }
    let upper = golden_exchange("1234", PairVariant::UppercaseHex);
    assert_eq!(upper.phase2_query(), format!("clientchallenge={}", PHASE2.to_uppercase()));
    let short = Exchange::new(&client(), "1234", secrets(), PairVariant::ShortSalt);
    assert!(short.phase1_query().contains("salt=0001020304050607&"));
}

#[test]
fn malformed_answers_are_errors() {
    let mut exchange = Exchange::new(&client(), "1234", secrets(), PairVariant::Stock);
    assert!(exchange.plain_cert("zz").is_err());
    assert!(exchange.plain_cert(&hex::encode("-----BEGIN CERTIFICATE-----\nAAAA\n")).is_err());
    assert!(exchange.challenge_response("00").is_err());
    assert!(exchange.pairing_secret("00").is_err());
}
