use super::*;

fn start() -> Timestamp {
    Timestamp::from_nanos(5_000_000_000)
}

fn client(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

/// Sends runs of four datagrams and of 100 bytes each with made-up results.
struct Bench {
    runs: Runs,
    now: Timestamp,
}

impl Bench {
    fn new() -> Self {
        Self { runs: Runs::new(1, 64), now: start() }
    }

    /// What became of a run when the kernel says `together` to runs and `single` to datagrams; and whether it was
    /// tried as a run.
    fn send(&self, to: IpAddr, together: Option<i32>, single: Option<i32>) -> (RunReport, bool) {
        let mut tried = false;
        let report = self.runs.send(to, (&[0; 400], 100), self.now, |_, segment| {
            tried |= segment.is_some();
            let error = if segment.is_some() { together } else { single };
            error.map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(code)))
        });
        (report, tried)
    }

    fn refuse(&self, to: IpAddr) -> bool {
        let (report, tried) = self.send(to, Some(libc::EINVAL), None);
        assert_eq!(report, SINGLY, "every datagram went all the same");
        tried
    }
}

const TOGETHER: RunReport = RunReport { calls: 1, lost: 0 };
const SINGLY: RunReport = RunReport { calls: 4, lost: 0 };

#[test]
fn a_destination_that_refuses_three_runs_gets_them_singly_for_ten_seconds() {
    for code in [libc::EINVAL, libc::EIO, libc::EMSGSIZE, libc::EOPNOTSUPP] {
        let mut bench = Bench::new();
        for _ in 0..TRIES {
            assert!(bench.runs.all_in_one_call(bench.now));
            assert_eq!(bench.send(client(1), Some(code), None), (SINGLY, true));
        }
        assert!(!bench.runs.all_in_one_call(bench.now));
        assert_eq!(bench.send(client(1), None, None), (SINGLY, false));
        assert_eq!(bench.send(client(2), None, None), (TOGETHER, true), "others are not concerned");
        bench.now = start() + PAUSE - Duration::from_nanos(1);
        assert_eq!(bench.send(client(1), None, None), (SINGLY, false));
        bench.now = start() + PAUSE;
        assert!(bench.refuse(client(1)), "tried again");
        assert!(!bench.refuse(client(1)), "but only once");
        bench.now = bench.now + PAUSE;
        assert_eq!(bench.send(client(1), None, None), (TOGETHER, true));
        assert!(bench.runs.all_in_one_call(bench.now));
        assert!(bench.refuse(client(1)) && bench.refuse(client(1)), "all is forgiven");
        assert!(bench.refuse(client(1)) && !bench.refuse(client(1)));
    }
}

#[test]
fn only_refusals_in_a_row_count() {
    let bench = Bench::new();
    for _ in 0..10 {
        assert!(bench.refuse(client(1)) && bench.refuse(client(1)));
        assert!(bench.refuse(client(2)), "refusals of one do not add to those of another");
        assert_eq!(bench.send(client(1), None, None), (TOGETHER, true));
        assert_eq!(bench.send(client(2), None, None), (TOGETHER, true));
    }
}

#[test]
fn errors_that_single_datagrams_share_or_that_pass_do_not_count() {
    let bench = Bench::new();
    for _ in 0..10 {
        // An address of ours that is gone: EINVAL whatever is sent.
        let report = RunReport { calls: 0, lost: 4 };
        assert_eq!(bench.send(client(1), Some(libc::EINVAL), Some(libc::EINVAL)), (report, true));
        for code in [libc::ENOBUFS, libc::EPERM, libc::ECONNREFUSED, libc::ENETUNREACH] {
            assert_eq!(bench.send(client(1), Some(code), None), (SINGLY, true));
        }
    }
    assert!(bench.runs.all_in_one_call(bench.now));
}

#[test]
fn no_run_is_tried_without_gso_or_for_a_single_datagram() {
    let without = Bench { runs: Runs::new(1, 1), now: start() };
    assert_eq!(without.send(client(1), None, None), (SINGLY, false));
    assert!(!without.runs.all_in_one_call(without.now));
    let report = Bench::new().runs.send(client(1), (&[0; 100], 100), start(), |bytes, segment| {
        assert_eq!((bytes.len(), segment), (100, None));
        Ok(())
    });
    assert_eq!(report, TOGETHER);
}

#[test]
fn what_stays_full_is_not_waited_for_again() {
    for (segments, expected) in
        [(1, (RunReport { calls: 1, lost: 199 }, 2)), (64, (RunReport { calls: 1, lost: 136 }, 2))]
    {
        let mut calls = 0;
        let report = Runs::new(1, segments).send(client(1), (&[0; 20_000], 100), start(), |_, _| {
            calls += 1;
            if calls == 2 { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
        });
        assert_eq!((report, calls), expected);
    }
}

#[test]
fn few_destinations_are_remembered_and_the_newest_are() {
    let mut gate = GsoGate::default();
    for last in 0..=255 {
        let meanings: Vec<_> = (0..TRIES).map(|_| gate.refused(client(last), start())).collect();
        assert_eq!(meanings, [Refused::Noted, Refused::Noted, Refused::Closed]);
        assert!(!gate.is_open(client(last), start()));
    }
    assert_eq!(gate.refusing.len(), REMEMBERED);
    assert!(gate.is_open(client(0), start()) && !gate.is_open(client(255), start()));
    assert_eq!(gate.refused(client(255), start()), Refused::StillClosed);
}
