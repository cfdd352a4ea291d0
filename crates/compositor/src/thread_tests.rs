//! The loop in the test's own thread, so that what it has kept can be looked at afterwards.

#[expect(dead_code, reason = "shared with the tests of the whole crate, which need more of it")]
#[path = "../tests/live/client.rs"]
mod client;

use super::*;
use client::{Client, Shell, Toplevel};
use lumen_media::slot::Wait;
use lumen_media::{FrameSource, Timestamp};
use std::path::PathBuf;
use std::time::Duration;
use wayland_protocols::wp::presentation_time::client::wp_presentation::WpPresentation;

const COMMITS: u8 = 100;

fn deadline() -> Timestamp {
    clock::now() + Duration::from_secs(20)
}

/// A client's side of a test.
struct Side {
    client: Client,
    shell: Shell,
    toplevel: Toplevel,
    source: Source,
}

impl Side {
    fn new(socket: PathBuf, mut source: Source) -> Self {
        source.set_active(true);
        let mut client = Client::connect(&socket);
        let shell = client.shell();
        let toplevel = client.toplevel(&shell, None);
        Self { client, shell, toplevel, source }
    }

    /// Commits one colour and waits until it was composed.
    fn show(&mut self, shade: u8) {
        let buffer = self.client.show(&self.shell, &self.toplevel, (320, 180), [shade; 4]);
        let deadline = deadline();
        loop {
            match self.source.wait_latest(Some(deadline)) {
                Wait::Value(frame) if frame.pixels.bytes()[0] == shade => break,
                Wait::Value(_) | Wait::Nudged => {}
                Wait::Deadline | Wait::Closed => panic!("commit {shade} is not shown"),
            }
        }
        buffer.buffer.destroy();
        buffer.pool.destroy();
    }
}

/// Runs a compositor until `play` is through, which may hold the client's side longer by giving it back.
fn run_with<T: Send>(play: impl FnOnce(Side) -> T + Send) -> (OutputThread, T) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (socket, listener) = Socket::bind(dir.path()).expect("writable");
    let path = dir.path().join(socket.name());
    let (wake, woken) = make_ping().expect("eventfd");
    let (came, input) = make_ping().expect("eventfd");
    let (_sink, inbox) = way(came);
    let (sender, frames) = slot();
    let wishes = Arc::new(Wishes::new(wake.clone()));
    let source = Source { frames, wishes: wishes.clone() };
    let mut output = set_up(Start {
        mode: Mode::new(320, 180, 480_000).expect("valid"),
        layout: Layout::new("us", None).expect("known"),
        socket,
        listener,
        frames: sender,
        input,
        inbox,
        wake,
        woken,
        wishes: wishes.clone(),
    })
    .expect("starts");
    let kept = std::thread::scope(|scope| {
        let player = scope.spawn(move || {
            let stop = StopOnDrop(wishes);
            let kept = play(Side::new(path, source));
            drop(stop);
            kept
        });
        output.run().expect("no error");
        player.join().expect("no panic")
    });
    (output, kept)
}

/// Ends the loop also when a test's assertion fails.
struct StopOnDrop(Arc<Wishes>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

#[test]
fn a_client_that_wants_no_callbacks_leaves_nothing_behind() {
    let (output, _side) = run_with(|mut side| {
        (1..=COMMITS).for_each(|shade| side.show(shade));
        side
    });
    assert_eq!(output.state.untold(), 0, "after {COMMITS} commits");
}

#[test]
fn feedback_without_frame_callbacks_is_given_and_not_kept() {
    let (output, _side) = run_with(|mut side| {
        let presentation: WpPresentation = side.client.bind(1);
        for shade in 1..=COMMITS {
            presentation.feedback(&side.toplevel.surface, &side.client.handle, ());
            side.show(shade);
        }
        // Every commit was composed before the next one was made, so none is overtaken.
        side.client.wait("feedback", |seen| seen.presented >= u32::from(COMMITS));
        assert_eq!(side.client.seen.discarded, 0);
        side
    });
    assert_eq!(output.state.untold(), 0);
}
