//! Pairing and who may ask what.

use crate::lab::{Lab, PATIENCE, now, wait_for};
use lumen_testkit::{Client, ClientError, Identity, PairVariant};
use std::time::Duration;

#[test]
fn a_client_pairs_once_and_for_ever() {
    let mut lab = Lab::start("");
    let stranger = Client::new(Identity::test_key(0), lab.address());
    let info = stranger.server_info_http().expect("answers anybody");
    assert!(!info.paired);
    assert!(stranger.app_list().is_err(), "strangers see no apps");

    let client = lab.paired(0);
    let info = client.server_info().expect("answers over HTTPS");
    assert!(info.paired);
    assert_eq!(info.current_game, 0);
    let apps = client.app_list().expect("app list");
    assert_eq!(apps[0].title, "Desktop", "the desktop stands first");
    for app in &apps {
        let picture = client.app_asset(app.id).expect("box art");
        assert!(picture.starts_with(b"\x89PNG"), "{}", app.title);
    }

    let before = info.unique_id.clone();
    lab.stop_host();
    lab.start_host();
    let info = client.server_info().expect("known after a restart, with the same certificate");
    assert!(info.paired);
    assert_eq!(info.unique_id, before);

    let list = String::from_utf8(lab.lumen(&["clients"]).stdout).expect("text");
    assert!(list.contains("client 0"), "{list}");
    assert!(lab.lumen(&["unpair", "client 0"]).status.success());
    assert!(client.app_list().is_err(), "unpaired at once");
}

/// One try at pairing for which a person types another PIN than the client shows.
fn mistype(lab: &Lab, client: &mut Client) {
    std::thread::scope(|scope| {
        let pairing = scope.spawn(|| client.pair("1234", PATIENCE));
        assert!(!lab.enter_pin("4321", "guess"), "whoever typed it is told");
        let error = pairing.join().expect("no panic").expect_err("a wrong PIN pairs nobody");
        assert!(matches!(error, ClientError::WrongPin), "{error}");
    });
}

#[test]
fn a_wrong_pin_pairs_nobody_and_slows_the_next_try_down() {
    let lab = Lab::start("");
    let mut client = Client::new(Identity::test_key(0), lab.address());
    mistype(&lab, &mut client);
    let named = |line: &str| line.contains("WARN") && line.contains("PIN") && line.contains("wrong");
    wait_for("the wrong PIN in the log", PATIENCE, || lab.log().lines().any(named).then_some(()));
    let list = String::from_utf8(lab.lumen(&["clients"]).stdout).expect("text");
    assert!(list.contains("No client is paired"), "{list}");

    // Each failure doubles the wait, from one second on. A machine so loaded that the wait is over before the next try
    // is at the host gets another failure, and with it a longer wait.
    let mut failures = 1;
    let error = loop {
        let started = now();
        match client.pair("1234", Duration::from_secs(2)) {
            Err(error @ ClientError::PairingInProgress) => break error,
            other => {
                assert!(other.is_err(), "nobody typed a PIN");
                assert!(failures < 5, "five wrong PINs and no try was held off: {other:?}");
            }
        }
        println!("try {failures} came late ({:?})", now() - started);
        mistype(&lab, &mut client);
        failures += 1;
    };
    println!("held off after {failures} failures: {error}");

    // Later it works.
    std::thread::scope(|scope| {
        let pairing = scope.spawn(|| {
            wait_for("the host to take tries again", PATIENCE * 2, || match client.pair("1234", PATIENCE) {
                Err(ClientError::PairingInProgress) => None,
                other => Some(other),
            })
        });
        lab.enter_pin("1234", "patient");
        pairing.join().expect("no panic").expect("pairs");
    });
    let list = String::from_utf8(lab.lumen(&["clients"]).stdout).expect("text");
    assert!(list.contains("patient"), "{list}");
    assert!(client.server_info().expect("answers over HTTPS").paired);
}

#[test]
fn altered_pairings_are_refused() {
    // One host each: failures of an address slow its next tries down.
    for variant in [
        PairVariant::TamperedSignature,
        PairVariant::TamperedSecret,
        PairVariant::IgnoreWrongPin,
        PairVariant::RepeatPhase2,
        PairVariant::Phase3First,
        PairVariant::SkipPhase3,
        PairVariant::ShortSalt,
        PairVariant::ShortSecret,
    ] {
        let lab = Lab::start("");
        let pin = if matches!(variant, PairVariant::IgnoreWrongPin) { "4321" } else { "1234" };
        let mut client = Client::new(Identity::test_key(1), lab.address());
        std::thread::scope(|scope| {
            let pairing = scope.spawn(|| client.pair_as("1234", PATIENCE, variant));
            wait_for("the pairing to end", PATIENCE, || {
                // Some variants are refused before anybody types a PIN.
                let _ = lab.lumen(&["pair", pin]);
                pairing.is_finished().then_some(())
            });
            assert!(pairing.join().expect("no panic").is_err(), "{variant:?}");
        });
        let list = String::from_utf8(lab.lumen(&["clients"]).stdout).expect("text");
        assert!(list.contains("No client is paired"), "{variant:?}: {list}");
    }
}

#[test]
fn upper_case_hex_is_understood() {
    let lab = Lab::start("");
    let mut client = Client::new(Identity::test_key(1), lab.address());
    std::thread::scope(|scope| {
        let pairing = scope.spawn(|| client.pair_as("0042", PATIENCE, PairVariant::UppercaseHex));
        lab.enter_pin("0042", "phone");
        pairing.join().expect("no panic").expect("pairs");
    });
}
