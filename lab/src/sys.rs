//! Children that do not outlive the test.

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};

type Order = (Command, Sender<io::Result<Child>>);

/// Starts `command` in its own process group, to be killed by the kernel when this process dies.
///
/// The death signal follows the *thread* that forked, and tests run on threads that end. So one thread, which lives as
/// long as the process, starts every child.
pub(crate) fn spawn(mut command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let parent = getpid();
    command.process_group(0);
    // SAFETY: between fork and exec the closure makes two system calls and touches no memory of this process: no lock,
    // no allocation.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The test may have died before the line above.
            if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
        });
    }
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, orders) = channel::<Order>();
        std::thread::Builder::new()
            .name("lumen-lab".into())
            .spawn(move || {
                for (mut command, reply) in orders {
                    // An asker that went away drops the child's handle; the session's end finds the process.
                    let _ = reply.send(command.spawn());
                }
            })
            .expect("a machine that cannot start a thread cannot run the lab");
        Mutex::new(sender)
    });
    let (reply, answer) = channel();
    let gone = |_| io::Error::other("the thread that starts children is gone");
    spawner.lock().map_err(|_| gone(()))?.send((command, reply)).map_err(|_| gone(()))?;
    answer.recv().map_err(|_| gone(()))?
}
