//! Targets of HTTP requests, and whole sequences of pairing requests.
#![no_main]

use lumen_gamestream::fuzz;
use lumen_gamestream::pairing::HostIdentity;
use rsa::pkcs8::EncodePrivateKey;
use rsa::{BigUint, RsaPrivateKey};
use std::sync::LazyLock;

const SERVER_PEM: &str = include_str!("../../crates/gamestream/src/pairing/golden/server.pem");
const RUN: &str = include_str!("../../crates/gamestream/src/pairing/golden/run.txt");

static IDENTITY: LazyLock<HostIdentity> = LazyLock::new(|| {
    let number = |name: &str| {
        let digits = RUN.lines().find_map(|line| line.strip_prefix(name)).expect("in run.txt");
        BigUint::parse_bytes(digits.as_bytes(), 16).expect("hex")
    };
    let exponent = BigUint::from(65_537u32);
    let key = RsaPrivateKey::from_p_q(number("server_p "), number("server_q "), exponent).expect("primes");
    HostIdentity::new(SERVER_PEM, key.to_pkcs8_der().expect("encodes").as_bytes()).expect("they fit")
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzz::query(data);
    fuzz::pairing(&IDENTITY, data);
});
