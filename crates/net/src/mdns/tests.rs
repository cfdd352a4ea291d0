use super::*;
use mdns_sd::ServiceEvent;
use proptest::prelude::*;

#[test]
fn names_keep_what_clients_understand() {
    assert_eq!(instance_name("living-room"), "living-room");
    assert_eq!(instance_name("my_pc"), "my-pc");
    assert_eq!(instance_name("Büro PC (2).local"), "B-ro-PC-2-local");
    assert_eq!(instance_name("__"), "Lumen");
    assert_eq!(instance_name(""), "Lumen");
    assert_eq!(instance_name(&"a".repeat(100)).len(), 63);
    assert_eq!(host_name("pc"), "pc-lumen.local.");
    assert_eq!(host_name(&"a".repeat(63)).len(), 63 + ".local.".len());
}

proptest! {
    #[test]
    fn any_name_becomes_a_valid_label(name in ".{0,100}") {
        let label = instance_name(&name);
        prop_assert!((1..=63).contains(&label.len()));
        prop_assert!(label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
        prop_assert!(!label.starts_with('-') && !label.ends_with('-'));
        prop_assert_eq!(instance_name(&label), label.clone());
    }
}

/// Needs an interface that carries multicast; says so when there is none.
#[test]
fn an_announced_host_is_found_and_withdrawn() {
    let name = format!("lumen-test-{}", std::process::id());
    let announcement = match Announcement::publish(&name, 47989) {
        Ok(announcement) => announcement,
        Err(error) => {
            eprintln!("left out: {error}");
            return;
        }
    };
    let browser = ServiceDaemon::new().expect("a second daemon, as the first one started");
    let events = browser.browse(SERVICE).expect("browsing");
    let deadline = lumen_media::clock::now() + Duration::from_secs(8);
    let wait_for = |what: &mut dyn FnMut(&ServiceEvent) -> bool| {
        loop {
            let left = deadline.since(lumen_media::clock::now());
            match events.recv_timeout(left) {
                Ok(event) if what(&event) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    };
    let full_name = format!("{name}.{SERVICE}");
    let found = wait_for(&mut |event| match event {
        ServiceEvent::ServiceResolved(service) if service.fullname == full_name => {
            assert_eq!(service.port, 47989);
            assert_eq!(service.txt_properties.len(), 0);
            true
        }
        _ => false,
    });
    if !found {
        eprintln!("left out: no interface of this machine carries multicast back");
        return;
    }
    drop(announcement);
    let withdrawn =
        wait_for(&mut |event| matches!(event, ServiceEvent::ServiceRemoved(_, gone) if *gone == full_name));
    assert!(withdrawn, "the farewell arrives before the record expires");
    if let Ok(done) = browser.shutdown() {
        let _ = done.recv_timeout(FAREWELL);
    }
}
