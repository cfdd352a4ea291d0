//! Processor time, as /proc tells it.

use anyhow::Context;
use lumen_testkit::{Time, clock};
use std::collections::BTreeMap;

/// Processor time at one moment, in clock ticks.
#[derive(Clone, Debug)]
pub struct Sample {
    at: Time,
    process: u64,
    /// By thread name: threads of one name are one entry.
    threads: BTreeMap<String, u64>,
    machine_busy: u64,
}

/// What was used between two samples, in percent of one core.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Usage {
    pub host_percent: f64,
    /// The whole machine, the host included: tells whether something else was in the way.
    pub machine_percent: f64,
    /// By thread name, the ones that used anything.
    pub threads_percent: BTreeMap<String, f64>,
}

impl Sample {
    /// Looks at process `pid` and the machine now.
    pub fn take(pid: u32) -> anyhow::Result<Self> {
        let read = |path: String| std::fs::read_to_string(&path).with_context(|| format!("reading {path}"));
        let (_, process) =
            parse_stat(&read(format!("/proc/{pid}/stat"))?).context("/proc/PID/stat has another shape")?;
        let at = clock::now();
        let mut threads = BTreeMap::new();
        // Threads come and go while this is read; the sum of the process stays right.
        for entry in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok();
            if let Some((name, ticks)) = stat.as_deref().and_then(parse_stat) {
                *threads.entry(name).or_default() += ticks;
            }
        }
        let machine_busy =
            parse_machine(&read("/proc/stat".into())?).context("/proc/stat has another shape")?;
        Ok(Self { at, process, threads, machine_busy })
    }

    /// When it was taken.
    pub fn at(&self) -> Time {
        self.at
    }

    /// What was used from `earlier` until this sample.
    pub fn since(&self, earlier: &Self) -> Usage {
        let seconds = self.at.since(earlier.at).as_secs_f64().max(f64::EPSILON);
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        let percent =
            |now: u64, before: u64| now.saturating_sub(before) as f64 / ticks_per_second / seconds * 100.0;
        let threads_percent = self
            .threads
            .iter()
            .map(|(name, ticks)| {
                (name.clone(), percent(*ticks, earlier.threads.get(name).copied().unwrap_or(0)))
            })
            .filter(|(_, percent)| *percent > 0.0)
            .collect();
        Usage {
            host_percent: percent(self.process, earlier.process),
            machine_percent: percent(self.machine_busy, earlier.machine_busy),
            threads_percent,
        }
    }
}

/// Name, and user plus system time, of a `stat` line. The name stands in parentheses and may hold anything.
fn parse_stat(line: &str) -> Option<(String, u64)> {
    let (start, end) = (line.find('(')?, line.rfind(')')?);
    let name = line.get(start + 1..end)?.to_owned();
    // After the name: state is field 3, utime 14, stime 15.
    let mut fields = line.get(end + 1..)?.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((name, user + system))
}

/// Ticks that all processors together were busy: the first line's user, nice, system, irq, softirq and steal.
fn parse_machine(text: &str) -> Option<u64> {
    let fields: Vec<u64> = text
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_ascii_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    [0, 1, 2, 5, 6, 7].into_iter().map(|index| fields.get(index)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_name_with_blanks_and_parentheses() {
        let line = "42 (a) b (c) S 1 42 42 0 -1 4194560 97 0 0 0 123 45 0 0 20 0 1 0 5 2 3 4";
        assert_eq!(parse_stat(line), Some(("a) b (c".into(), 168)));
        assert_eq!(parse_stat("42 (x) S 1"), None);
        assert_eq!(parse_stat(""), None);
        assert_eq!(parse_stat(")("), None);
    }

    #[test]
    fn the_machine_is_busy_without_idle_and_waiting() {
        assert_eq!(parse_machine("cpu  1 2 4 1000 1000 8 16 32 64 128\ncpu0 1"), Some(63));
        assert_eq!(parse_machine("cpu0 1 2 3"), None);
    }

    #[test]
    fn this_process_uses_a_core_while_it_spins() {
        let before = Sample::take(std::process::id()).expect("readable");
        let mut work = 1_u64;
        loop {
            for _ in 0..100_000 {
                work = work.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            }
            let now = Sample::take(std::process::id()).expect("readable");
            // A tick is 10 ms; a busy machine only makes it take longer.
            if now.process >= before.process + 5 {
                let usage = now.since(&before);
                assert!(usage.host_percent > 0.0 && usage.machine_percent > 0.0, "{usage:?} {work}");
                break;
            }
            assert!(now.at.since(before.at) < Duration::from_secs(60), "no processor time in a minute");
        }
    }
}
