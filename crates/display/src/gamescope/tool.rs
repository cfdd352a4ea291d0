//! Small programs that answer a question and end (`gamescope --version`, `pw-dump`), each with a deadline.

use crate::SessionEnvironment;
use lumen_media::clock;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Access, access};
use rustix::time::Timespec;
use std::io::{Error, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Where programs are looked for when nobody says; Debian keeps gamescope in the last one.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games";
/// No answer is longer; a full `pw-dump` of a busy desktop has about a megabyte.
const LONGEST: usize = 32 << 20;

/// Where `program` is: as it stands when it holds a slash, else along the session's `PATH`.
pub(super) fn find(session: &SessionEnvironment, program: &str) -> Option<PathBuf> {
    let usable = |path: &Path| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| usable(path));
    }
    let path = session.variable("PATH").unwrap_or_default();
    let folders = path.split(':').chain(DEFAULT_PATH.split(':')).filter(|folder| !folder.is_empty());
    folders.map(|folder| Path::new(folder).join(program)).find(|path| usable(path))
}

/// A command in the session's environment.
pub(super) fn command(session: &SessionEnvironment, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.envs(&session.variables).env("XDG_RUNTIME_DIR", &session.runtime_dir).stdin(Stdio::null());
    command
}

/// Which of its streams hold the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Output,
    OutputAndErrors,
}

/// Runs it to its end and returns what it said, whatever its exit status. What takes longer than `limit` is killed.
pub(super) fn ask(mut command: Command, answer: Answer, limit: Duration) -> std::io::Result<Vec<u8>> {
    let deadline = clock::now() + limit;
    let (mut reader, writer) = std::io::pipe()?;
    match answer {
        Answer::Output => command.stderr(Stdio::null()),
        Answer::OutputAndErrors => command.stderr(writer.try_clone()?),
    };
    command.stdout(writer);
    let mut child = command.spawn()?;
    // It holds the pipe's other end: with it open the answer would never end.
    drop(command);
    let mut said = Vec::new();
    let mut block = vec![0; 64 << 10];
    let outcome = loop {
        let left = deadline.since(clock::now());
        if left.is_zero() {
            break Err(Error::new(ErrorKind::TimedOut, format!("no answer within {limit:?}")));
        }
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&reader, PollFlags::IN)], Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => break Err(error.into()),
        }
        match reader.read(&mut block) {
            Ok(0) => break Ok(()),
            Ok(_) if said.len() > LONGEST => break Err(Error::other("the answer has no end")),
            Ok(read) => said.extend_from_slice(&block[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    // Who closed its output has nothing more to say; waiting for its exit could be waiting for ever.
    let _ = child.kill();
    child.wait()?;
    outcome.map(|()| said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::null());
        command
    }

    #[test]
    fn both_streams_are_heard_when_asked_for() {
        let limit = Duration::from_secs(20);
        let script = "echo out; echo err >&2; exit 3";
        assert_eq!(ask(shell(script), Answer::Output, limit).expect("ran"), b"out\n");
        assert_eq!(ask(shell(script), Answer::OutputAndErrors, limit).expect("ran"), b"out\nerr\n");
    }

    #[test]
    fn who_never_answers_is_ended() {
        let error =
            ask(shell("exec sleep 600"), Answer::Output, Duration::from_millis(50)).expect_err("too late");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}
