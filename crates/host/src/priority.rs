//! Asks RealtimeKit for the threads that must not be late, where the user may not put them first (`lumen_media::priority`):
//! its service does so for desktop programs.

use lumen_media::priority::{NICE, Priority, REAL_TIME};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::Path;
use std::time::Duration;

/// Where the system bus is when the environment does not say.
const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";
/// For all questions together.
const LIMIT: Duration = Duration::from_secs(3);
/// By the names that they have in the system. The service makes only sound real-time: it wants the process killed when a
/// real-time thread computes for too long, and what clients send must not be able to bring that about.
const THREADS: [(&str, Priority); 7] = [
    ("lumen-audio", Priority::RealTime),
    ("lumen-sound", Priority::High),
    ("lumen-pads", Priority::High),
    ("lumen-input", Priority::High),
    ("lumen-send", Priority::High),
    ("lumen-control", Priority::High),
    ("lm-compositor", Priority::High),
];

#[zbus::proxy(
    interface = "org.freedesktop.RealtimeKit1",
    default_service = "org.freedesktop.RealtimeKit1",
    default_path = "/org/freedesktop/RealtimeKit1"
)]
trait RealtimeKit {
    /// Real-time scheduling in turns; the lower the number the later.
    fn make_thread_realtime(&self, thread: u64, priority: u32) -> zbus::Result<()>;

    /// A nice level below zero.
    fn make_thread_high_priority(&self, thread: u64, nice: i32) -> zbus::Result<()>;

    #[zbus(property)]
    fn max_realtime_priority(&self) -> zbus::Result<i32>;

    #[zbus(property)]
    fn min_nice_level(&self) -> zbus::Result<i32>;

    /// Microseconds for which a real-time thread may compute without a pause; the process has to limit itself to that.
    #[zbus(property, name = "RTTimeUSecMax")]
    fn time_max(&self) -> zbus::Result<i64>;
}

/// A thread of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Thread {
    id: u64,
    name: String,
    nice: i32,
    real_time: bool,
}

impl Thread {
    /// From the lines of its `comm` and `stat` (proc(5)).
    fn read(id: u64, name: &str, stat: &str) -> Option<Self> {
        // The fields after the name begin with the third; nice is the 19th, the policy the 41st.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let policy: u32 = fields.get(38)?.parse().ok()?;
        // SCHED_FIFO and SCHED_RR
        let real_time = matches!(policy, 1 | 2);
        Some(Self { id, name: name.trim_end().to_owned(), nice: fields.get(16)?.parse().ok()?, real_time })
    }

    /// What it should be asked for.
    fn wanted(&self) -> Option<Priority> {
        let (_, wanted) = THREADS.iter().find(|(name, _)| *name == self.name)?;
        let has = match (self.real_time, self.nice < 0) {
            (true, _) => Priority::RealTime,
            (false, true) => Priority::High,
            (false, false) => Priority::Usual,
        };
        (has == Priority::Usual || (*wanted == Priority::RealTime && has == Priority::High))
            .then_some(*wanted)
    }
}

fn threads() -> Vec<Thread> {
    let entries = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let read = |path: &Path| {
        let id = path.file_name()?.to_str()?.parse().ok()?;
        let text = |name| std::fs::read_to_string(path.join(name)).ok();
        Thread::read(id, &text("comm")?, &text("stat")?)
    };
    entries.filter_map(|entry| read(&entry.path())).collect()
}

/// Asks for all threads that are not what they should be; waits for the answers, some seconds at most. `system_bus` is
/// a D-Bus address.
pub fn ask(system_bus: Option<&str>) {
    let late: Vec<_> = threads().into_iter().filter_map(|thread| Some((thread.wanted()?, thread))).collect();
    if late.is_empty() {
        return;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::debug!(%error, "RealtimeKit is not asked"),
    };
    let asked = async {
        tokio::time::timeout(LIMIT, ask_for(system_bus.unwrap_or(SYSTEM_BUS), &late))
            .await
            .unwrap_or_else(|_| Err(zbus::Error::Failure("it does not answer".into())))
    };
    match runtime.block_on(asked) {
        Ok(()) => tracing::debug!(threads = late.len(), "RealtimeKit put threads first"),
        Err(error) => tracing::debug!(%error, "RealtimeKit does not put threads first"),
    }
}

async fn ask_for(system_bus: &str, threads: &[(Priority, Thread)]) -> zbus::Result<()> {
    let bus = zbus::connection::Builder::address(system_bus)?.build().await?;
    let kit = RealtimeKitProxy::new(&bus).await?;
    // The service may allow less.
    let nice = kit.min_nice_level().await?.max(NICE);
    let mut result = Ok(());
    for (wanted, thread) in threads {
        let asked = match wanted {
            Priority::RealTime => {
                limit_computing(kit.time_max().await?);
                let priority = kit.max_realtime_priority().await?.clamp(1, REAL_TIME.into()).unsigned_abs();
                kit.make_thread_realtime(thread.id, priority).await
            }
            Priority::High | Priority::Usual => kit.make_thread_high_priority(thread.id, nice).await,
        };
        result = result.and(asked);
    }
    result
}

/// Real-time threads of this process may compute for so many microseconds without a pause.
fn limit_computing(microseconds: i64) {
    let Ok(most) = u64::try_from(microseconds) else { return };
    let limit = getrlimit(Resource::Rttime);
    if limit.maximum.is_none_or(|maximum| maximum > most)
        && let Err(error) = setrlimit(Resource::Rttime, Rlimit { current: Some(most), maximum: Some(most) })
    {
        tracing::debug!(%error, "real-time threads cannot be limited");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumen_lab::{Session, SessionOptions};
    use std::sync::mpsc::{Sender, channel};
    use std::sync::{Arc, Mutex};
    use zbus::blocking::connection::Builder;

    const STAT: &str = "7 (a) b (c) S 1 1 1 0 -1 4194368 1 2 3 4 5 6 7 8 20 -11 1 0 12 13 14 18446744073709551615 1 2 3 4 \
                        5 6 7 8 9 10 11 12 17 1 0 2 0 0 0";

    #[test]
    fn a_threads_line_is_read() {
        let thread = Thread::read(7, "lumen-input\n", STAT).expect("valid");
        assert_eq!(thread, Thread { id: 7, name: "lumen-input".into(), nice: -11, real_time: true });
        assert_eq!(Thread::read(7, "x", "7 (x) S 1 2"), None);
        assert_eq!(Thread::read(7, "x", ""), None);
    }

    #[test]
    fn only_what_is_late_is_asked_for() {
        let wanted =
            |name: &str, nice, real_time| Thread { id: 1, name: name.into(), nice, real_time }.wanted();
        assert_eq!(wanted("lumen-audio", 0, false), Some(Priority::RealTime));
        assert_eq!(wanted("lumen-audio", -10, false), Some(Priority::RealTime));
        assert_eq!(wanted("lumen-audio", 0, true), None);
        assert_eq!(wanted("lumen-input", 0, false), Some(Priority::High));
        assert_eq!(wanted("lumen-input", -5, false), None);
        assert_eq!(wanted("lumen-encode", 0, false), None);
    }

    struct Kit(Mutex<Sender<(&'static str, u64, i64)>>);

    #[zbus::interface(name = "org.freedesktop.RealtimeKit1")]
    impl Kit {
        fn make_thread_realtime(&self, thread: u64, priority: u32) {
            let _ = self.0.lock().unwrap().send(("real-time", thread, priority.into()));
        }

        fn make_thread_high_priority(&self, thread: u64, nice: i32) {
            let _ = self.0.lock().unwrap().send(("high", thread, nice.into()));
        }

        #[zbus(property)]
        fn max_realtime_priority(&self) -> i32 {
            5
        }

        #[zbus(property)]
        fn min_nice_level(&self) -> i32 {
            -8
        }

        #[zbus(property, name = "RTTimeUSecMax")]
        fn time_max(&self) -> i64 {
            i64::MAX
        }
    }

    #[test]
    fn the_service_is_asked_within_its_limits() {
        if !lumen_lab::available("dbus-daemon") {
            return lumen_lab::left_out("RealtimeKit", "dbus-daemon is not installed");
        }
        let session =
            Session::start_with("realtime", SessionOptions { pipewire: false, system_bus: true }).unwrap();
        let address = session.env()["DBUS_SYSTEM_BUS_ADDRESS"].clone();
        let (sender, told) = channel();
        let _kit = Builder::address(address.as_str())
            .and_then(|builder| builder.name("org.freedesktop.RealtimeKit1"))
            .and_then(|builder| builder.serve_at("/org/freedesktop/RealtimeKit1", Kit(Mutex::new(sender))))
            .and_then(Builder::build)
            .unwrap();
        // Threads that are late, until the service was asked.
        let done = Arc::new(std::sync::Barrier::new(3));
        let mut late = Vec::new();
        for name in ["lumen-audio", "lumen-send"] {
            let (done, (sender, id)) = (done.clone(), channel());
            let body = move || {
                sender.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
                done.wait();
            };
            std::thread::Builder::new().name(name.into()).spawn(body).unwrap();
            late.push(u64::try_from(id.recv().unwrap()).unwrap());
        }
        ask(Some(&address));
        done.wait();
        // Other tests of this process have threads of these names, too.
        let mut told: Vec<_> = told.try_iter().filter(|(_, thread, _)| late.contains(thread)).collect();
        told.sort_unstable();
        assert_eq!(told, [("high", late[1], -8), ("real-time", late[0], 5)]);
    }
}
