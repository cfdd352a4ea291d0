//! The commands.

use crate::lab::{Lab, testcard};
use std::path::Path;
use std::process::Command;

#[test]
fn m0_writes_files_that_ffprobe_reads() {
    if Command::new("ffprobe").arg("-version").output().is_err() {
        println!("left out: ffprobe is not installed (./check installs it)");
        return;
    }
    let lab = Lab::start("");
    for (codec, mode) in [("h264", "1280x720@60"), ("hevc", "640x360@30"), ("av1", "640x360@30")] {
        let report = lab.status()["encoders"].as_array().and_then(|all| {
            all.iter()
                .find(|e| e["codec"].as_str().is_some_and(|c| c.to_lowercase().replace('.', "") == codec))
                .cloned()
        });
        for (ending, source) in [("mkv", "built-in"), ("mp4", "test-pattern")] {
            let file = lab.path(&format!("{codec}.{ending}"));
            let out = file.to_string_lossy().into_owned();
            let card = testcard().to_string_lossy().into_owned();
            let mut arguments = vec![
                "m0",
                "--codec",
                codec,
                "--mode",
                mode,
                "--source",
                source,
                "--seconds",
                "1.5",
                "--out",
                &out,
            ];
            if source == "built-in" {
                arguments.extend(["--", &card, "--style", "scroll"]);
            }
            let output = lab.lumen(&arguments);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if !output.status.success()
                && report
                    .as_ref()
                    .is_some_and(|r| r["reason"].as_str().is_some_and(|t| t.contains("keeps pictures back")))
            {
                println!("left out: {codec}: {said}");
                continue;
            }
            assert!(output.status.success(), "{codec}: {said}");
            let (width, frames) = width_and_frames(&file);
            assert_eq!(mode.split('x').next(), Some(width.as_str()));
            assert!(frames >= 10, "{out}: {frames} frames");
        }
    }
}

/// What ffprobe counts in a file that it reads without complaint.
pub fn width_and_frames(file: &Path) -> (String, u32) {
    let entries = ["-count_frames", "-show_entries", "stream=width,nb_read_frames", "-of", "csv=p=0"];
    let probe = Command::new("ffprobe").args(["-v", "error"]).args(entries).arg(file).output();
    let probe = probe.expect("ffprobe runs");
    assert!(probe.stderr.is_empty(), "{}: {}", file.display(), String::from_utf8_lossy(&probe.stderr));
    let said = String::from_utf8_lossy(&probe.stdout).into_owned();
    let (width, frames) = said.trim().split_once(',').expect("two fields");
    (width.to_owned(), frames.trim_end_matches(',').parse().expect("a count"))
}

#[test]
fn mistakes_end_in_one_sentence_with_a_remedy() {
    let lab = Lab::start("");
    // A second host on the same ports, with a state folder of its own.
    let second = lab.path("second.toml");
    std::fs::write(
        &second,
        format!(
            "[server]\nbase_port = {}\nmdns = false\nstate_dir = \"{}\"\n",
            lab.base_port,
            lab.path("second").display()
        ),
    )
    .expect("writable");
    let refused = |config: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_lumen"))
            .args(["--config", config, "serve"])
            .env("XDG_RUNTIME_DIR", lab.path("run"))
            .env("RUST_LOG", "off")
            .output()
            .expect("starts");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).trim().to_owned()
    };
    let said = refused(&second.to_string_lossy());
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("port") && said.contains("base"), "{said}");

    // The same state folder.
    let said = refused(&lab.path("config.toml").to_string_lossy());
    assert!(said.contains("another Lumen host"), "{said}");

    // A directory that cannot be written.
    std::fs::write(&second, "[server]\nmdns = false\nstate_dir = \"/proc/lumen\"\n").expect("writable");
    let said = refused(&second.to_string_lossy());
    assert!(said.contains("/proc/lumen") && said.contains("state_dir"), "{said}");

    // A key that does not exist.
    std::fs::write(&second, "[video]\nidel_fps = 15\n").expect("writable");
    let said = refused(&second.to_string_lossy());
    assert!(said.contains("idel_fps") && said.contains("idle_fps"), "{said}");

    let output = Command::new(env!("CARGO_BIN_EXE_lumen"))
        .args(["--config", "/nonexistent.toml", "status"])
        .output()
        .expect("starts");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nonexistent.toml"));
}

#[test]
fn doctor_names_what_is_wrong_and_status_speaks_to_people() {
    let lab = Lab::start("[[apps]]\ntitle = \"gone\"\ncommand = [\"no-such-program\"]\n");
    let output = lab.lumen(&["doctor"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("PROBLEM") && said.contains("no-such-program"), "{said}");
    assert!(said.contains("H.264"), "{said}");
    let output = lab.lumen(&["status"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("no session") && said.contains("built-in"), "{said}");
}

#[test]
fn reload_brings_new_apps() {
    let lab = Lab::start("");
    let client = lab.paired(0);
    let count = client.app_list().expect("list").len();
    let config = std::fs::read_to_string(lab.path("config.toml")).expect("readable");
    std::fs::write(
        lab.path("config.toml"),
        format!("{config}\n[[apps]]\ntitle = \"new\"\ncommand = [\"true\"]\n"),
    )
    .expect("writable");
    assert!(lab.lumen(&["reload"]).status.success());
    assert_eq!(client.app_list().expect("list").len(), count + 1);
    std::fs::write(lab.path("config.toml"), "[[apps]]\ntitle = 7\n").expect("writable");
    let output = lab.lumen(&["reload"]);
    assert!(!output.status.success());
    assert_eq!(client.app_list().expect("list").len(), count + 1, "the old settings stay");
    assert!(lab.log().contains("the settings stay as they were"), "{}", lab.log());

    // The host that runs is still asked, and the mistake is named.
    for command in ["status", "clients"] {
        let output = lab.lumen(&[command]);
        assert!(output.status.success(), "{command}: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("title") && said.contains("keeps the settings"), "{command}: {said}");
    }
    let output = lab.lumen(&["doctor"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("PROBLEM  settings") && said.contains("title"), "{said}");
}

#[test]
fn a_host_is_found_after_its_port_was_edited_and_says_what_waits_for_its_next_start() {
    let lab = Lab::start("");
    let config = std::fs::read_to_string(lab.path("config.toml")).expect("readable");
    let edited = config.replace(&lab.base_port.to_string(), &(lab.base_port - 100).to_string());
    assert_ne!(edited, config);
    let app = "[[apps]]\ntitle = \"gone\"\ncommand = [\"no-such-program\"]\n";
    std::fs::write(lab.path("config.toml"), format!("{edited}\n{app}")).expect("writable");
    let output = lab.lumen(&["reload"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains("next start on: server.base_port."), "{said}");
    assert!(said.contains("no-such-program"), "{said}");
    assert!(!said.contains("video.codecs"), "what did not change is not named: {said}");
    let said = String::from_utf8_lossy(&lab.lumen(&["status"]).stdout).into_owned();
    assert!(said.contains(&format!("ports from {}", lab.base_port)), "{said}");
}

#[test]
fn a_pin_is_four_digits() {
    let lab = Lab::start("");
    for pin in ["12", "abcd", "12345", "１２３４"] {
        let output = lab.lumen(&["pair", pin]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("four digits"), "{pin}: {said}");
    }
}

#[test]
fn a_recording_that_fails_leaves_the_file_as_it_was() {
    let lab = Lab::start("");
    for name in ["old.mkv", "old.h264"] {
        let file = lab.path(name);
        std::fs::write(&file, "precious").expect("writable");
        let file = file.to_string_lossy().into_owned();
        for wrong in [["--source", "portal"], ["--", "no-such-program"]] {
            let output = lab.lumen(&[&["m0", "--out", &file][..], &wrong].concat());
            assert!(!output.status.success(), "{output:?}");
            assert_eq!(std::fs::read_to_string(&file).expect("readable"), "precious");
        }
    }
    let fresh = lab.path("fresh.mkv").to_string_lossy().into_owned();
    assert!(!lab.lumen(&["m0", "--out", &fresh, "--", "no-such-program"]).status.success());
    assert!(!std::path::Path::new(&fresh).exists());
}
