//! Threads that must not be late on a machine whose processors are all taken.

use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// Below the threads of PipeWire (83 and up), which ours wait for.
pub const REAL_TIME: u8 = 10;
/// Of a thread that goes before the programs that compute, but not before what is real-time.
pub const NICE: i32 = -10;

/// How much before others a thread runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// As every thread.
    Usual,
    /// Before programs that compute.
    High,
    /// Before everything that is not real-time. For threads that work for microseconds at a time.
    RealTime,
}

/// Has the calling thread run before others from now on, as much as `wanted` or as far as the user may (`RLIMIT_RTPRIO`,
/// `RLIMIT_NICE`, `CAP_SYS_NICE`). Not for threads that start others, which would inherit it.
pub fn raise(wanted: Priority) -> Priority {
    let has = match wanted {
        Priority::RealTime if real_time() => Priority::RealTime,
        Priority::RealTime | Priority::High if high() => Priority::High,
        _ => Priority::Usual,
    };
    tracing::debug!(thread = std::thread::current().name(), ?wanted, ?has, "priority");
    has
}

fn real_time() -> bool {
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    ThreadPriorityValue::try_from(REAL_TIME).is_ok_and(|value| {
        let priority = ThreadPriority::Crossplatform(value);
        set_thread_priority_and_policy(thread_native_id(), priority, policy).is_ok()
    })
}

fn high() -> bool {
    rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_so() {
        std::thread::spawn(|| {
            assert_eq!(raise(Priority::Usual), Priority::Usual);
            let stat = || {
                let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("proc");
                let fields: Vec<i128> = stat
                    .rsplit(')')
                    .next()
                    .expect("after the name")
                    .split_whitespace()
                    .filter_map(|word| word.parse().ok())
                    .collect();
                // Without the state's letter: nice is the 19th field of the line, the policy the 41st.
                (fields[15], fields[37])
            };
            assert_eq!(stat(), (0, 0));
            let high = raise(Priority::High);
            assert_eq!(stat().0, if high == Priority::High { i128::from(NICE) } else { 0 });
            const ROUND_ROBIN: i128 = 2;
            let raised = raise(Priority::RealTime);
            assert_eq!(stat().1, if raised == Priority::RealTime { ROUND_ROBIN } else { 0 });
        })
        .join()
        .expect("no panic");
    }
}
