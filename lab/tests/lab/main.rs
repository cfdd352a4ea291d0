//! Each desktop of the lab comes up, says its version, and leaves nothing behind.

mod desktops;
mod session;

use std::path::PathBuf;

/// What is left of a session whose runtime directory was `runtime_dir`: the directory, and processes that carry it.
fn remains(runtime_dir: &std::path::Path) -> (bool, Vec<String>) {
    let wanted = runtime_dir.display().to_string();
    let entries = std::fs::read_dir("/proc").expect("Linux").flatten();
    let processes = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok()))
        .filter(|entry| {
            let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            String::from_utf8_lossy(&environ).contains(&wanted)
        })
        .map(|entry| std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default())
        .collect();
    (runtime_dir.exists(), processes)
}

/// Runs `test` in a session if `programs` are installed; then nothing of it may remain.
fn in_session(name: &str, programs: &[&str], test: impl FnOnce(&lumen_lab::Session)) {
    let Some(session) = lumen_lab::session_for(name, programs) else { return };
    let runtime_dir: PathBuf = session.runtime_dir().to_owned();
    assert!(!session.processes().is_empty(), "the bus carries the session's environment");
    test(&session);
    drop(session);
    assert_eq!(remains(&runtime_dir), (false, Vec::new()));
}
